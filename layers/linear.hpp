// Linear, Embedding, Dropout, LayerNorm: layers without a state.
#pragma once

#include <unroll/autograd/ops.hpp>
#include <unroll/layers/init.hpp>
#include <unroll/layers/module.hpp>

namespace unroll {

struct LinearOptions {
    Size in_features;
    Size out_features;
    bool bias = true;
};
/// y = x·W + b for x (…, in). Parameters: weight (in, out) (files: (out, in)), bias (out), both U(−1/√in, 1/√in).
/// @throws ValueError for a size below 1
template <class Real>
class Linear : public Module {
public:
    Linear(Scope<Real> at, const LinearOptions& options);
    Var<Real> operator()(Var<Real> x) const;
    const Scope<Real>& scope() const noexcept { return at_; }

    Parameter<Real> weight, bias;

private:
    Scope<Real> at_;
};

struct EmbeddingOptions {
    Size num_embeddings;
    Size embedding_dim;
    Index padding_idx = -1;  ///< this row starts at zero and gets no gradient; −1: none
};
/// Rows of a table by tokens: tokens of any shape S give (S…, embedding_dim). Parameter: weight (V, E), N(0, 1).
/// The gradient of a large table touches only the rows that were used.
template <class Real>
class Embedding : public Module {
public:
    Embedding(Scope<Real> at, const EmbeddingOptions& options);
    /// @throws IndexError for a token outside [0, num_embeddings)
    Var<Real> operator()(const IntTensor& tokens) const;
    const Scope<Real>& scope() const noexcept { return at_; }

    Parameter<Real> weight;

private:
    Scope<Real> at_;
    Index padding_idx_;
};

struct DropoutOptions {
    double p = 0.5;  ///< probability of a zero, 0 ≤ p ≤ 1
};
/// In training each element is zero with probability p and otherwise scaled by 1/(1 − p), with a new mask at each call;
/// in evaluation nothing happens.
template <class Real>
class Dropout : public Module {
public:
    Dropout(Scope<Real> at, const DropoutOptions& options);
    Var<Real> operator()(Var<Real> x) const;
    const Scope<Real>& scope() const noexcept { return at_; }

private:
    Scope<Real> at_;
    double p_;
    RandomStream* random_ = nullptr;
};

struct LayerNormOptions {
    Size normalized_shape;  ///< length of the last axis
    double eps = 1e-5;
    bool elementwise_affine = true;
};
/// (x − mean)/√(variance + eps)·weight + bias over the last axis. Ba, Kiros, Hinton 2016.
/// @throws ShapeError if the last axis is not normalized_shape long
template <class Real>
class LayerNorm : public Module {
public:
    LayerNorm(Scope<Real> at, const LayerNormOptions& options);
    Var<Real> operator()(Var<Real> x) const;
    const Scope<Real>& scope() const noexcept { return at_; }

    Parameter<Real> weight, bias;

private:
    Scope<Real> at_;
    Index normalized_shape_;
    double eps_;
};

#define UNROLL_DECLARE(R)               \
    extern template class Linear<R>;    \
    extern template class Embedding<R>; \
    extern template class Dropout<R>;   \
    extern template class LayerNorm<R>;
UNROLL_DECLARE(float)
UNROLL_DECLARE(double)
UNROLL_DECLARE(Dual<double>)
#undef UNROLL_DECLARE

}  // namespace unroll
