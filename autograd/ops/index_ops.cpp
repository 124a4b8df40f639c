// Choosing by integer: embedding, index_select, gather, one_hot; and masks: masked_fill, where.
#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/ops/pointwise.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace unroll {
namespace {

using Indices = Tensor<std::int64_t>;

/// Positions in pooled memory. @throws IndexError naming the first that is not in [0, length)
Indices checked(std::string_view op, const IntTensor& index, Index length) {
    Indices out = empty<std::int64_t>(shape_of(index));
    for (std::size_t i = 0; i < index.size(); ++i) {
        const std::int64_t at = index.data()[i];
        if (at < 0 || at >= length)
            detail::fail_index(op, fmt::format("index {} at position {} is out of range (allowed: 0 to {})", at, i, length - 1));
        out.data()[i] = at;
    }
    return out;
}

Shape joined(const Shape& first, const Shape& second) {
    Shape all = first;
    for (const Index length : second) all = all.inserted(all.rank(), length);
    return all;
}

/// An array as (outer, length, inner) around one axis.
struct Around {
    Index outer = 1, length, inner = 1;
    Around(const Shape& shape, std::size_t axis) : length(shape[axis]) {
        for (std::size_t i = 0; i < axis; ++i) outer *= shape[i];
        for (std::size_t i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
    }
};

/// y[s] = weight[tokens[s]]. Saves nothing; the gradient goes to the rows that were used.
template <class Real>
struct EmbeddingOp {
    static constexpr std::string_view name = "embedding";
    Indices tokens;
    Index padding_idx;

    void infer(Shapes& s) const { s.output(joined(shape_of(tokens), Shape{s.in(0)[1]})); }
    void forward(Forward<Real>& f) const {
        const Index width = f.in_shape(0)[1];
        Real* y = f.out(0);
        for (std::size_t i = 0; i < tokens.size(); ++i)
            std::copy_n(f.in(0).data + tokens.data()[i] * width, width, y + static_cast<Index>(i) * width);
    }
    void backward(Backward<Real>& b) const {
        // −1 is a row that nothing is added to. The tape reads these positions when the sweep ends, so it keeps them.
        Indices rows = empty<std::int64_t>({static_cast<Index>(tokens.size())});
        for (std::size_t i = 0; i < tokens.size(); ++i)
            rows.data()[i] = tokens.data()[i] == padding_idx ? -1 : tokens.data()[i];
        b.add_rows(0, rows.data(), rows.storage().block().get(), b.gout_operand(0), static_cast<Index>(tokens.size()),
                   b.in_shape(0)[1]);
    }
};

/// y[…, j, …] = x[…, index[j], …]; a position may come more than once.
template <class Real>
struct IndexSelect {
    static constexpr std::string_view name = "index_select";
    Indices index;
    std::size_t axis;

    void infer(Shapes& s) const {
        const Shape& x = s.in(0);
        s.output(index.dimension() == 0 ? x.erased(axis) : x.replaced(axis, static_cast<Index>(index.size())));
    }
    void forward(Forward<Real>& f) const {
        const Around a(f.in_shape(0), axis);
        const auto count = static_cast<Index>(index.size());
        Real* y = f.out(0);
        for (Index o = 0; o < a.outer; ++o)
            for (Index j = 0; j < count; ++j)
                std::copy_n(f.in(0).data + (o * a.length + index.data()[j]) * a.inner, a.inner, y + (o * count + j) * a.inner);
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        if (!gx.adding) std::fill_n(gx.data, gx.size, Real(0));
        const Around a(b.in_shape(0), axis);
        const auto count = static_cast<Index>(index.size());
        for (Index o = 0; o < a.outer; ++o)
            for (Index j = 0; j < count; ++j)
                detail::add_to(gx.data + (o * a.length + index.data()[j]) * a.inner, b.gout(0).data + (o * count + j) * a.inner, a.inner);
    }
};

/// y[…, j, …] = x[…, index[…, j, …], …], torch.gather: other axes of the index are at most as long as x's.
template <class Real>
struct Gather {
    static constexpr std::string_view name = "gather";
    Indices index;
    std::size_t axis;

    void infer(Shapes& s) const {
        const Shape shape = shape_of(index);
        bool fits = shape.rank() == s.in(0).rank();
        for (std::size_t i = 0; fits && i < shape.rank(); ++i) fits = i == axis || shape[i] <= s.in(0)[i];
        if (!fits)
            detail::fail_shape(name, "the index must have x's rank and be no longer than x in any other axis", {s.in(0), shape});
        s.output(shape);
    }
    template <class Visit>
    void each(const Shape& x, Visit visit) const {
        const Shape shape = shape_of(index);
        Index stride[Shape::kMaxRank] = {}, at[Shape::kMaxRank] = {};
        for (std::size_t i = x.rank(), step = 1; i-- > 0; step *= static_cast<std::size_t>(x[i])) stride[i] = static_cast<Index>(step);
        for (Index e = 0; e < shape.size(); ++e) {
            Index from = index.data()[e] * stride[axis];
            for (std::size_t i = 0; i < shape.rank(); ++i)
                if (i != axis) from += at[i] * stride[i];
            visit(e, from);
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
        if (!gx.adding) std::fill_n(gx.data, gx.size, Real(0));
        each(b.in_shape(0), [&](Index to, Index from) { gx.data[from] += b.gout(0)[to]; });
    }
};

template <class Real>
Var<Real> mask_of(const xt::xarray<bool>& mask) {
    Tensor<Real> values = empty<Real>(shape_of(mask));
    std::transform(mask.data(), mask.data() + mask.size(), values.data(), [](bool m) { return Real(m ? 1 : 0); });
    return Var<Real>(std::move(values));
}

}  // namespace

template <class Real>
Var<Real> embedding(Var<Real> weight, const IntTensor& tokens, Index padding_idx) {
    if (!weight) detail::fail_usage("embedding", "operand 0 is an empty Var");
    if (weight.rank() != 2) detail::fail_shape("embedding", "the weight must be (V, E)", {weight.shape()});
    EmbeddingOp<Real> op{checked("embedding", tokens, weight.shape()[0]), padding_idx};
    return apply(std::move(op), std::move(weight));
}

template <class Real>
Var<Real> index_select(Var<Real> x, Index axis, const IntTensor& index) {
    if (!x) detail::fail_usage("index_select", "operand 0 is an empty Var");
    if (index.dimension() > 1) detail::fail_shape("index_select", "the positions must be a list", {x.shape(), shape_of(index)});
    const std::size_t at = detail::normal_axis("index_select", axis, x.rank());
    IndexSelect<Real> op{checked("index_select", index, x.shape()[at]), at};
    return apply(std::move(op), std::move(x));
}

template <class Real>
Var<Real> gather(Var<Real> x, Index axis, const IntTensor& index) {
    if (!x) detail::fail_usage("gather", "operand 0 is an empty Var");
    const std::size_t at = detail::normal_axis("gather", axis, x.rank());
    Gather<Real> op{checked("gather", index, x.shape()[at]), at};
    return apply(std::move(op), std::move(x));
}

/// y = mask ? value : x; gx = 0 where the mask is true.
template <class Real>
Var<Real> masked_fill(Var<Real> x, const xt::xarray<bool>& mask, double value) {
    if (!x) detail::fail_usage("masked_fill", "operand 0 is an empty Var");
    if (!detail::broadcasts_to(shape_of(mask), x.shape()))
        detail::fail_shape("masked_fill", "the mask must broadcast to x", {x.shape(), shape_of(mask)});
    return pointwise([value](auto m, auto v) { return where(m, value, v); }, mask_of<Real>(mask), std::move(x));
}

/// y = mask ? a : b; the gradient goes to the one that was chosen.
template <class Real>
Var<Real> where(const xt::xarray<bool>& mask, Var<Real> a, Var<Real> b) {
    return pointwise([](auto m, auto yes, auto no) { return where(m, yes, no); }, mask_of<Real>(mask), std::move(a), std::move(b));
}

template <class Real>
Tensor<Real> one_hot(const IntTensor& index, Index classes) {
    const Indices at = checked("one_hot", index, classes);
    Tensor<Real> out = zeros<Real>(joined(shape_of(index), Shape{classes}));
    for (std::size_t i = 0; i < at.size(); ++i) out.data()[static_cast<Index>(i) * classes + at.data()[i]] = Real(1);
    return out;
}

#define UNROLL_INSTANTIATE(R)                                               \
    template Var<R> embedding(Var<R>, const IntTensor&, Index);             \
    template Var<R> index_select(Var<R>, Index, const IntTensor&);          \
    template Var<R> gather(Var<R>, Index, const IntTensor&);                \
    template Var<R> masked_fill(Var<R>, const xt::xarray<bool>&, double);   \
    template Var<R> where(const xt::xarray<bool>&, Var<R>, Var<R>);         \
    template Tensor<R> one_hot(const IntTensor&, Index);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
