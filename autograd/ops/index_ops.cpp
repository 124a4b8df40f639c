// Choosing by position: embedding, index_select, gather, one_hot; and by masks: masked_fill, where.
// Positions are checked when an op is recorded, and kept on the tape in pooled memory.
#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/ops/detail/indices.hpp>
#include <unroll/autograd/ops/detail/strided.hpp>
#include <unroll/autograd/ops/pointwise.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace unroll {
namespace {

using detail::Indices;

/// y (S…, E): y[s] = weight[tokens[s]], weight (V, E), tokens of any shape S.
/// Saves nothing. gweight[v] = Σ gy[s] over all s with tokens[s] = v, touching only these rows; 0 at padding_idx.
/// Errors: IndexError for a token or padding_idx out of range, ShapeError for a weight that is no matrix.
/// (torch.nn.functional.embedding)
template <class Real>
struct Embedding_ {
    static constexpr std::string_view name = "embedding";
    Indices tokens;
    Index padding_idx;

    Index held_bytes() const noexcept { return detail::bytes_of(tokens); }

    void infer(Shapes& s) const {
        const Shape shape = shape_of(tokens);
        if (shape.rank() == Shape::kMaxRank)
            s.fail(fmt::format("tokens have at most {} axes, but there are {}", Shape::kMaxRank - 1, shape.rank()));
        s.output(shape.inserted(shape.rank(), s.in(0)[1]));
    }
    void forward(Forward<Real>& f) const {
        const Index width = f.in_shape(0)[1], count = static_cast<Index>(tokens.size());
        const Real* weight = f.in(0).data;
        Real* y = f.out(0);
        for (Index i = 0; i < count; ++i) std::copy_n(weight + tokens.data()[i] * width, width, y + i * width);
    }
    void backward(Backward<Real>& b) const {
        // The tape reads these positions when the sweep ends, and so keeps their memory. −1: nothing is added.
        detail::BlockRef block = tokens.storage().block();
        const std::int64_t* rows = tokens.data();
        const auto count = static_cast<Index>(tokens.size());
        if (padding_idx >= 0) {
            Indices copy = tokens;
            std::replace(copy.data(), copy.data() + count, padding_idx, Index{-1});
            block = copy.storage().block();
            rows = copy.data();
        }
        b.add_rows(0, rows, block.get(), b.gout_operand(0), count, b.in_shape(0)[1]);
    }
};

/// y[…, j, …] = x[…, index[j], …] along an axis; a position may come more than once.
/// Saves nothing. gx[…, i, …] = Σ gy[…, j, …] over all j with index[j] = i; along axis 0 only these rows are touched.
/// Errors: IndexError for a position or axis out of range, ShapeError for positions that are no list. (torch.index_select)
template <class Real>
struct IndexSelect {
    static constexpr std::string_view name = "index_select";
    Indices index;
    std::size_t axis;

    Index held_bytes() const noexcept { return detail::bytes_of(index); }
    struct Extents {
        Index outer = 1, length, inner = 1, count;
    };
    Extents extents(const Shape& x) const {
        Extents e{.length = x[axis], .count = static_cast<Index>(index.size())};
        for (std::size_t i = 0; i < axis; ++i) e.outer *= x[i];
        for (std::size_t i = axis + 1; i < x.rank(); ++i) e.inner *= x[i];
        return e;
    }
    void infer(Shapes& s) const { s.output(s.in(0).replaced(axis, static_cast<Index>(index.size()))); }
    void forward(Forward<Real>& f) const {
        const Extents e = extents(f.in_shape(0));
        const Real* x = f.in(0).data;
        Real* y = f.out(0);
        for (Index o = 0; o < e.outer; ++o)
            for (Index j = 0; j < e.count; ++j)
                std::copy_n(x + (o * e.length + index.data()[j]) * e.inner, e.inner, y + (o * e.count + j) * e.inner);
    }
    void backward(Backward<Real>& b) const {
        const Extents e = extents(b.in_shape(0));
        if (axis == 0) {
            b.add_rows(0, index.data(), index.storage().block().get(), b.gout_operand(0), e.count, e.inner);
            return;
        }
        const auto gx = b.grad(0);
        const Real* g = b.gout(0).data;
        if (!gx.adding) std::fill_n(gx.data, gx.size, Real(0));
        for (Index o = 0; o < e.outer; ++o)
            for (Index j = 0; j < e.count; ++j)
                detail::add_to(gx.data + (o * e.length + index.data()[j]) * e.inner, g + (o * e.count + j) * e.inner,
                               e.inner);
    }
};

/// y[…, j, …] = x[…, index[…, j, …], …] along an axis; y has the index' shape, which in other axes is at most as long as x's.
/// Saves nothing. gx = the sum of gy at all places that were read.
/// Errors: IndexError for a position or axis out of range, ShapeError for another rank or a longer axis. (torch.gather)
template <class Real>
struct Gather {
    static constexpr std::string_view name = "gather";
    Indices index;
    std::size_t axis;

    Index held_bytes() const noexcept { return detail::bytes_of(index); }
    void infer(Shapes& s) const {
        const Shape shape = shape_of(index);
        bool fits = shape.rank() == s.in(0).rank();
        for (std::size_t i = 0; fits && i < shape.rank(); ++i) fits = i == axis || shape[i] <= s.in(0)[i];
        if (!fits)
            detail::fail_shape(name, "the index must have x's rank and be no longer than x in any other axis",
                               {s.in(0), shape});
        s.output(shape);
    }
    template <class Visit>
    void each(const Shape& x, Visit visit) const {
        const Shape shape = shape_of(index);
        const detail::Strides step = detail::contiguous(x);
        Index at[Shape::kMaxRank] = {};
        for (Index to = 0; to < shape.size(); ++to) {
            Index from = index.data()[to] * step[axis];
            for (std::size_t i = 0; i < shape.rank(); ++i)
                if (i != axis) from += at[i] * step[i];
            visit(to, from);
            for (std::size_t i = shape.rank(); i-- > 0;) {
                if (++at[i] < shape[i]) break;
                at[i] = 0;
            }
        }
    }
    void forward(Forward<Real>& f) const {
        Real* y = f.out(0);
        const Real* x = f.in(0).data;
        each(f.in_shape(0), [&](Index to, Index from) { y[to] = x[from]; });
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const Real* g = b.gout(0).data;
        if (!gx.adding) std::fill_n(gx.data, gx.size, Real(0));
        each(b.in_shape(0), [&](Index to, Index from) { gx.data[from] += g[to]; });
    }
};

template <class Real>
Var<Real> mask_of(const xt::xarray<bool>& mask) {
    Tensor<Real> values = empty<Real>(shape_of(mask));
    std::transform(mask.data(), mask.data() + mask.size(), values.data(), [](bool m) { return Real(m ? 1 : 0); });
    return Var<Real>(std::move(values));
}

template <class Real>
void need(std::string_view op, const Var<Real>& x) {
    if (!x) detail::fail_usage(op, "operand 0 is an empty Var");
}

}  // namespace

template <class Real>
Var<Real> embedding(Var<Real> weight, const IntTensor& tokens, Index padding_idx) {
    need("embedding", weight);
    if (weight.rank() != 2) detail::fail_shape("embedding", "the weight must be (V, E)", {weight.shape()});
    const Index rows = weight.shape()[0];
    if (padding_idx < -1 || padding_idx >= rows)
        detail::fail_index("embedding", fmt::format("padding_idx {} is out of range (allowed: 0 to {}, or −1 for none)",
                                                    padding_idx, rows - 1));
    Embedding_<Real> op{detail::checked_indices("embedding", "token", tokens, rows), padding_idx};
    Var<Real> out;
    detail::run_op<Real>(op, {&weight, 1}, {&out, 1});
    return out;
}

template <class Real>
Var<Real> index_select(Var<Real> x, Index axis, const IntTensor& index) {
    need("index_select", x);
    const std::size_t at = detail::normal_axis("index_select", axis, x.rank());
    IndexSelect<Real> op{detail::checked_indices("index_select", "index", index, x.shape()[at]), at};
    if (index.dimension() != 1)
        detail::fail_shape("index_select", "the positions must be a list", {x.shape(), shape_of(op.index)});
    return apply(std::move(op), std::move(x));
}

template <class Real>
Var<Real> gather(Var<Real> x, Index axis, const IntTensor& index) {
    need("gather", x);
    const std::size_t at = detail::normal_axis("gather", axis, x.rank());
    Gather<Real> op{detail::checked_indices("gather", "index", index, x.shape()[at]), at};
    return apply(std::move(op), std::move(x));
}

/// y = mask ? value : x. gx = gy where the mask is false, 0 elsewhere.
/// Errors: ShapeError if the mask does not broadcast to x. (torch.masked_fill)
template <class Real>
Var<Real> masked_fill(Var<Real> x, const xt::xarray<bool>& mask, double value) {
    need("masked_fill", x);
    if (!detail::broadcasts_to(shape_of(mask), x.shape()))
        detail::fail_shape("masked_fill", "the mask must broadcast to x", {x.shape(), shape_of(mask)});
    return detail::named_pointwise(
        "masked_fill", [value](auto m, auto v) { return where(m, value, v); }, mask_of<Real>(mask), std::move(x));
}

/// y = mask ? a : b; the gradient goes to the one that was chosen, whatever stands in the other.
/// Errors: ShapeError if the three do not broadcast. (numpy.where)
template <class Real>
Var<Real> detail::choose(const xt::xarray<bool>& mask, Var<Real> a, Var<Real> b) {
    return named_pointwise(
        "where", [](auto m, auto yes, auto no) { return where(m, yes, no); }, mask_of<Real>(mask), std::move(a),
        std::move(b));
}

template <class Real>
Tensor<Real> one_hot(const IntTensor& index, Index classes) {
    if (classes < 0)
        detail::fail_value("one_hot", fmt::format("the number of classes must be 0 or more; got {}", classes));
    const Indices at = detail::checked_indices("one_hot", "index", index, classes);
    const Shape shape = shape_of(at);
    if (shape.rank() == Shape::kMaxRank)
        detail::fail_shape("one_hot", fmt::format("the index has at most {} axes", Shape::kMaxRank - 1), {shape});
    Tensor<Real> out = zeros<Real>(shape.inserted(shape.rank(), classes));
    for (Index i = 0; i < static_cast<Index>(at.size()); ++i) out.data()[i * classes + at.data()[i]] = Real(1);
    return out;
}

#define UNROLL_INSTANTIATE(R)                                                \
    template Var<R> embedding(Var<R>, const IntTensor&, Index);              \
    template Var<R> index_select(Var<R>, Index, const IntTensor&);           \
    template Var<R> gather(Var<R>, Index, const IntTensor&);                 \
    template Var<R> masked_fill(Var<R>, const xt::xarray<bool>&, double);    \
    template Var<R> detail::choose(const xt::xarray<bool>&, Var<R>, Var<R>); \
    template Tensor<R> one_hot(const IntTensor&, Index);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
