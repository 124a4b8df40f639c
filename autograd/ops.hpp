// Everything that can be done with a Var: one page. Names and broadcasting are NumPy's, semantics PyTorch's.
//
// Contracts (formula, what is saved, range, errors) stand with each op under autograd/ops/ and, for elementwise ops, in
// autograd/pointwise/rules.hpp; every op has a row in the catalogue (catalogue.hpp), where it is checked.
// Elementwise ops and operators are in autograd/ops/elementwise.hpp, which this page includes.
#pragma once

#include <unroll/autograd/ops/elementwise.hpp>
#include <unroll/autograd/random.hpp>
#include <unroll/autograd/tape.hpp>

#include <concepts>
#include <initializer_list>
#include <vector>

namespace unroll {

/// Axes to reduce; empty: all. Negative ones count from the end.
using Axes = std::vector<Index, detail::PoolAllocator<Index>>;

// ---- Products (ops/matmul.cpp) ----

/// a·b: (M,K)·(K,N), batched over leading axes with broadcasting as numpy.matmul; either side may be transposed in its last
/// two axes. Vectors: (K)·(K,N), (M,K)·(K), (K)·(K).
template <class Real>
Var<Real> matmul(Var<Real> a, Var<Real> b, bool transpose_a = false, bool transpose_b = false);
/// y = x·W + b: x (…, K), weight (K, N) or, transposed, (N, K), bias (N) or empty; y (…, N).
template <class Real>
Var<Real> linear(Var<Real> x, Var<Real> weight, Var<Real> bias = {}, bool transposed = false);
/// y = c + x·W: c (…, N), x (…, K), weight (K, N). Reuses the memory of c when it is moved in and nobody else sees it.
template <class Real>
Var<Real> add_linear(Var<Real> c, Var<Real> x, Var<Real> weight);

// ---- Over axes (ops/reduce.cpp; max, min and argmax in ops/extremes.cpp) ----

template <class Real>
Var<Real> sum(Var<Real> x, const Axes& axes = {}, bool keep_dims = false);
template <class Real>
Var<Real> mean(Var<Real> x, const Axes& axes = {}, bool keep_dims = false);
/// The largest element over the axes; the gradient is shared equally among ties.
template <class Real>
Var<Real> max(Var<Real> x, const Axes& axes = {}, bool keep_dims = false);
template <class Real>
Var<Real> min(Var<Real> x, const Axes& axes = {}, bool keep_dims = false);
/// log Σ exp(x), without overflow.
template <class Real>
Var<Real> logsumexp(Var<Real> x, const Axes& axes = {}, bool keep_dims = false);
/// Σ (x − mean)² / (N − correction).
template <class Real>
Var<Real> var(Var<Real> x, const Axes& axes = {}, Index correction = 1, bool keep_dims = false);
/// Positions of the largest elements along an axis; not differentiable.
template <class Real>
IntTensor argmax(const Var<Real>& x, Index axis = -1);

// ---- Shapes (ops/shape_ops.cpp; parts of arrays in ops/part_ops.cpp) ----

/// Another shape of the same size; one length may be −1. Shares memory.
template <class Real>
Var<Real> reshape(Var<Real> x, const Axes& lengths);
template <class Real, std::same_as<Shape> S>
Var<Real> reshape(Var<Real> x, const S& shape);
/// The two axes exchanged.
template <class Real>
Var<Real> transpose(Var<Real> x, Index axis0 = -2, Index axis1 = -1);
/// Axis i of the result is axis axes[i] of x.
template <class Real>
Var<Real> permute(Var<Real> x, const Axes& axes);
/// Without an axis of length 1.
template <class Real>
Var<Real> squeeze(Var<Real> x, Index axis);
/// With a new axis of length 1 at this place of the result.
template <class Real>
Var<Real> unsqueeze(Var<Real> x, Index axis);
template <class Real>
Var<Real> broadcast_to(Var<Real> x, const Shape& shape);
/// Elements begin ≤ i < end along an axis; negative bounds count from the end. Shares memory along axis 0.
/// @throws IndexError for a bound outside −length … length
template <class Real>
Var<Real> slice(Var<Real> x, Index axis, Index begin, Index end);
/// Element `index` along an axis, which disappears.
template <class Real>
Var<Real> select(Var<Real> x, Index axis, Index index);
/// Equal parts along an axis. @throws ShapeError if its length is no multiple of `parts`
template <class Real>
Vars<Real> split(Var<Real> x, Index parts, Index axis = -1);
/// Parts of the given lengths along an axis.
template <class Real>
Vars<Real> split(Var<Real> x, const Axes& lengths, Index axis = -1);
/// All elements along axis 0, as views: x[0], x[1], …
template <class Real>
Vars<Real> unbind(Var<Real> x);
/// One behind the other along an axis.
template <class Real>
Var<Real> concat(const Vars<Real>& parts, Index axis = 0);
template <class Real>
Var<Real> concat(std::initializer_list<Var<Real>> parts, Index axis = 0) {
    return concat(Vars<Real>(parts), axis);
}
/// Along a new axis. Equal slices of one slab are stacked along axis 0 without copying.
template <class Real>
Var<Real> stack(Vars<Real> parts, Index axis = 0);
template <class Real>
Var<Real> stack(std::initializer_list<Var<Real>> parts, Index axis = 0) {
    return stack(Vars<Real>(parts), axis);
}
/// The order of elements reversed along the axes; empty: along all.
template <class Real>
Var<Real> flip(Var<Real> x, const Axes& axes);

// ---- Choosing (ops/index_ops.cpp) ----

/// out[…, j, …] = x[…, index[…, j, …], …] along an axis, as torch.gather.
template <class Real>
Var<Real> gather(Var<Real> x, Index axis, const IntTensor& index);
/// Rows (or slices along an axis) in the order of a list of positions.
template <class Real>
Var<Real> index_select(Var<Real> x, Index axis, const IntTensor& index);
/// x where the mask is false, `value` where it is true; the mask broadcasts to x.
template <class Real>
Var<Real> masked_fill(Var<Real> x, const xt::xarray<bool>& mask, double value);
namespace detail {
template <class Real>
Var<Real> choose(const xt::xarray<bool>& mask, Var<Real> a, Var<Real> b);
}
/// a where the mask is true, otherwise b; all three broadcast. The mask is any array or expression of bool; a Var stands on one
/// side at least, on the other may be an array or a number.
template <ArrayLike Mask, class A, detail::OperandBeside<A> B>
detail::PairVar<A, B> where(Mask&& mask, A&& a, B&& b) {
    using Real = typename detail::PairReal<A, B>::type;
    return detail::choose<Real>(mask, Var<Real>(std::forward<A>(a)), Var<Real>(std::forward<B>(b)));
}
/// Rows of `weight` (V, E) by tokens of any shape S: (S…, E). The row padding_idx (−1: none) gets no gradient.
template <class Real>
Var<Real> embedding(Var<Real> weight, const IntTensor& tokens, Index padding_idx = -1);
/// 1 at the index, 0 elsewhere; not differentiable.
template <class Real>
Tensor<Real> one_hot(const IntTensor& index, Index classes);

// ---- Normalised and random (ops/nn_ops.cpp, ops/dropout.cpp) ----

template <class Real>
Var<Real> softmax(Var<Real> x, Index axis = -1);
template <class Real>
Var<Real> log_softmax(Var<Real> x, Index axis = -1);
/// (x − mean) / sqrt(variance + eps) · weight + bias over the last axis; weight and bias (N) or both empty.
template <class Real>
Var<Real> layer_norm(Var<Real> x, Var<Real> weight = {}, Var<Real> bias = {}, double eps = 1e-5);
/// Elements set to zero with probability p (to 16 bits), the others scaled by 1/(1 − p). Element i is draw i of a call, whatever
/// the shape; the stream advances by one call, and by none for p = 0.
template <class Real>
Var<Real> dropout(Var<Real> x, double p, RandomStream& random);

// ---- Losses (ops/losses.cpp); classes are indices ----

enum class Reduction { none, mean, sum };

template <class Real>
struct CrossEntropyOptions {
    Index ignore_index = -100;
    double label_smoothing = 0;
    Tensor<Real> class_weights = {};  ///< (C); one of rank 0 (the default) stands for none
    Reduction reduction = Reduction::mean;
};
/// −log softmax(logits)[target] in nats, logits (…, C) and targets (…). The mean is over the weights of targets not ignored.
template <class Real>
Var<Real> cross_entropy(Var<Real> logits, const IntTensor& targets, const CrossEntropyOptions<Real>& options = {});
/// −log_probs[target], the same options but smoothing.
template <class Real>
Var<Real> nll_loss(Var<Real> log_probs, const IntTensor& targets, const CrossEntropyOptions<Real>& options = {});
template <class Real>
Var<Real> mse_loss(Var<Real> input, Var<Real> target, Reduction reduction = Reduction::mean);
template <class Real>
Var<Real> l1_loss(Var<Real> input, Var<Real> target, Reduction reduction = Reduction::mean);
template <class Real>
Var<Real> huber_loss(Var<Real> input, Var<Real> target, double delta = 1.0, Reduction reduction = Reduction::mean);
/// Binary cross entropy on logits; pos_weight broadcasts to input or is empty.
template <class Real>
Var<Real> bce_with_logits(Var<Real> input, Var<Real> target, Var<Real> pos_weight = {},
                          Reduction reduction = Reduction::mean);

}  // namespace unroll
