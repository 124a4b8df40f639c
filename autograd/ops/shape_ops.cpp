// Other shapes of the same elements: reshape, squeeze, unsqueeze, permute, transpose, broadcast_to, flip. Where the order
// of the elements stays, memory is shared and gradients are handed on. Parts of arrays are in part_ops.cpp.
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/ops/detail/strided.hpp>
#include <unroll/autograd/profile.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace unroll {
namespace {

/// The output is the input under another shape: its memory, taken over if nobody else reads it, otherwise shared.
template <class Real>
void same_elements(Forward<Real>& f) {
    if (!f.take(0, 0)) f.share(0, 0);
}

/// y = x under another shape of the same size (also squeeze and unsqueeze); shares memory. Saves nothing. gx = gy under the shape of x.
/// Errors: ShapeError for another number of elements. (numpy.reshape)
template <class Real>
struct Reshape {
    static constexpr std::string_view name = "reshape";
    Shape shape;
    std::string_view shown = name;

    std::string_view display_name() const noexcept { return shown; }
    void infer(Shapes& s) const {
        if (shape.size() != s.in(0).size())
            s.fail(fmt::format("{} elements do not fit the shape {}", s.in(0).size(), to_string(shape)));
        s.output(shape);
    }
    void forward(Forward<Real>& f) const { same_elements(f); }
    void backward(Backward<Real>& b) const { b.pass(0, 0); }

    /// The shape of a value off the tape that nobody else holds: it may take another one itself. Otherwise nothing.
    static Shape* own_shape(Var<Real>& x) noexcept {
        const bool alone = x && x.reference().unique() && x.internal()->slot < 0;
        return alone && !Tape<Real>::current() && !ProfileSpan::on() ? &x.internal()->shape : nullptr;
    }
    static Var<Real> run(const Shape& shape, Var<Real> x) {
        Shape* own = own_shape(x);
        if (!own || own->size() != shape.size()) return apply(Reshape{shape}, std::move(x));
        *own = shape;
        return x;
    }
};

/// y's axis i is x's axis axes[i] (negative ones count from the end); shares memory where only axes of length 1 move.
/// Saves nothing. gx = gy with the axes put back.
/// Errors: ShapeError unless there is one number for each axis; IndexError, ValueError for a wrong or repeated axis.
/// (numpy.transpose)
template <class Real>
struct Permute {
    static constexpr std::string_view name = "permute";
    std::array<Index, Shape::kMaxRank> axes;
    std::size_t named;
    std::string_view shown = name;

    std::string_view display_name() const noexcept { return shown; }
    void infer(Shapes& s) {
        const Shape& x = s.in(0);
        if (named != x.rank()) s.fail(fmt::format("one number for each axis is needed, but there are {}", named));
        bool used[Shape::kMaxRank] = {};
        Shape y = x;
        for (std::size_t i = 0; i < named; ++i) {
            const std::size_t axis = detail::normal_axis(shown, axes[i], named);
            if (used[axis]) detail::fail_value(shown, fmt::format("axis {} is named twice", axes[i]));
            used[axis] = true;
            axes[i] = static_cast<Index>(axis);
            y[i] = x[axis];
        }
        s.output(y);
    }
    bool moves_nothing(const Shape& y) const noexcept {
        Index before = -1;
        for (std::size_t i = 0; i < named; ++i) {
            if (y[i] == 1) continue;
            if (axes[i] < before) return false;
            before = axes[i];
        }
        return true;
    }
    void forward(Forward<Real>& f) const {
        const Shape& y = f.out_shape(0);
        if (moves_nothing(y)) return same_elements(f);
        const detail::Strides own = detail::contiguous(f.in_shape(0));
        detail::Strides from{};
        for (std::size_t i = 0; i < named; ++i) from[i] = own[static_cast<std::size_t>(axes[i])];
        detail::copy_strided(y, f.in(0).data, from, f.out(0), detail::contiguous(y), false);
    }
    void backward(Backward<Real>& b) const {
        if (moves_nothing(b.out_shape(0))) return b.pass(0, 0);
        const auto gx = b.grad(0);
        const Shape& x = b.in_shape(0);
        const detail::Strides own = detail::contiguous(b.out_shape(0));
        detail::Strides from{};
        for (std::size_t i = 0; i < named; ++i) from[static_cast<std::size_t>(axes[i])] = own[i];
        detail::copy_strided(x, b.gout(0).data, from, gx.data, detail::contiguous(x), gx.adding);
    }
};

/// y = x repeated along axes of length 1 and along new axes in front; shares memory where that repeats nothing.
/// Saves nothing. gx = gy summed over the repeated axes.
/// Errors: ShapeError if x does not broadcast to the shape. (numpy.broadcast_to)
template <class Real>
struct BroadcastTo {
    static constexpr std::string_view name = "broadcast_to";
    Shape shape;

    void infer(Shapes& s) const {
        if (!detail::broadcasts_to(s.in(0), shape))
            s.fail(fmt::format("the operand must broadcast to {}: aligned at the last axis, lengths are equal or the "
                               "operand's is 1",
                               to_string(shape)));
        s.output(shape);
    }
    void forward(Forward<Real>& f) const {
        const Shape& x = f.in_shape(0);
        if (x.size() == shape.size()) return same_elements(f);
        const detail::Strides own = detail::contiguous(x);
        detail::Strides from{};
        for (std::size_t i = 1; i <= x.rank(); ++i)
            from[shape.rank() - i] = x[x.rank() - i] == 1 ? 0 : own[x.rank() - i];
        detail::copy_strided(shape, f.in(0).data, from, f.out(0), detail::contiguous(shape), false);
    }
    void backward(Backward<Real>& b) const { b.pass(0, 0); }
};

/// y = x with the order of elements along the axes reversed; shares memory where these have length 1. Saves nothing.
/// gx = gy reversed again.
/// Errors: IndexError for an axis out of range, ValueError for a repeated one. (numpy.flip)
template <class Real>
struct Flip {
    static constexpr std::string_view name = "flip";
    std::array<bool, Shape::kMaxRank> reversed;

    void infer(Shapes& s) const { s.output(s.in(0)); }
    void copy(const Shape& shape, const Real* from, Real* to, bool add) const {
        if (shape.size() == 0) return;
        const detail::Strides own = detail::contiguous(shape);
        detail::Strides back = own;
        for (std::size_t i = 0; i < shape.rank(); ++i) {
            if (!reversed[i]) continue;
            from += (shape[i] - 1) * own[i];
            back[i] = -own[i];
        }
        detail::copy_strided(shape, from, back, to, own, add);
    }
    bool moves_nothing(const Shape& shape) const noexcept {
        for (std::size_t i = 0; i < shape.rank(); ++i)
            if (reversed[i] && shape[i] > 1) return false;
        return true;
    }
    void forward(Forward<Real>& f) const {
        if (moves_nothing(f.in_shape(0))) return same_elements(f);
        copy(f.in_shape(0), f.in(0).data, f.out(0), false);
    }
    void backward(Backward<Real>& b) const {
        if (moves_nothing(b.in_shape(0))) return b.pass(0, 0);
        const auto gx = b.grad(0);
        copy(b.in_shape(0), b.gout(0).data, gx.data, gx.adding);
    }
};

}  // namespace

template <class Real>
Var<Real> reshape(Var<Real> x, const Axes& lengths) {
    const Index size = x.size();
    const auto shown = [&] { return fmt::format("({})", fmt::join(lengths, ", ")); };
    Index known = 1, open = 0;
    for (const Index length : lengths) {
        if (length < -1)
            detail::fail_value("reshape", fmt::format("a length is 0 or more, or −1 once; got {}", shown()));
        if (length == -1)
            ++open;
        else
            known *= length;
    }
    if (open > 1) detail::fail_value("reshape", fmt::format("only one length may be −1; got {}", shown()));
    if (open == 1 && (known == 0 || size % known != 0))
        detail::fail_shape("reshape", fmt::format("{} elements do not fit the lengths {}", size, shown()), {x.shape()});
    Axes full = lengths;
    std::replace(full.begin(), full.end(), Index{-1}, open ? size / known : 0);
    return Reshape<Real>::run(Shape(full.data(), full.size()), std::move(x));
}

template <class Real, std::same_as<Shape> S>
Var<Real> reshape(Var<Real> x, const S& shape) {
    return Reshape<Real>::run(shape, std::move(x));
}

template <class Real>
Var<Real> squeeze(Var<Real> x, Index axis) {
    const std::size_t at = detail::normal_axis("squeeze", axis, x.rank());
    if (x.shape()[at] != 1) detail::fail_shape("squeeze", fmt::format("axis {} must have length 1", axis), {x.shape()});
    if (Shape* own = Reshape<Real>::own_shape(x)) {
        own->erase(at);
        return x;
    }
    Reshape<Real> op{x.shape().erased(at), "squeeze"};
    return apply(std::move(op), std::move(x));
}

template <class Real>
Var<Real> unsqueeze(Var<Real> x, Index axis) {
    if (x.rank() == Shape::kMaxRank)
        detail::fail_shape("unsqueeze", fmt::format("an array has at most {} axes", Shape::kMaxRank), {x.shape()});
    const std::size_t at = detail::normal_axis("unsqueeze", axis, x.rank() + 1);
    if (Shape* own = Reshape<Real>::own_shape(x)) {
        own->insert(at);
        return x;
    }
    Reshape<Real> op{x.shape().inserted(at, 1), "unsqueeze"};
    return apply(std::move(op), std::move(x));
}

template <class Real>
Var<Real> permute(Var<Real> x, const Axes& axes) {
    Permute<Real> op{{}, axes.size()};
    std::copy_n(axes.begin(), std::min(axes.size(), op.axes.size()), op.axes.begin());
    return apply(std::move(op), std::move(x));
}

template <class Real>
Var<Real> transpose(Var<Real> x, Index axis0, Index axis1) {
    const std::size_t a = detail::normal_axis("transpose", axis0, x.rank());
    const std::size_t b = detail::normal_axis("transpose", axis1, x.rank());
    Permute<Real> op{{}, x.rank(), "transpose"};
    for (std::size_t i = 0; i < x.rank(); ++i) op.axes[i] = static_cast<Index>(i == a ? b : i == b ? a : i);
    return apply(std::move(op), std::move(x));
}

template <class Real>
Var<Real> broadcast_to(Var<Real> x, const Shape& shape) {
    return apply(BroadcastTo<Real>{shape}, std::move(x));
}

template <class Real>
Var<Real> flip(Var<Real> x, const Axes& axes) {
    Flip<Real> op{};
    for (const Index axis : axes) {
        bool& reversed = op.reversed[detail::normal_axis("flip", axis, x.rank())];
        if (reversed) detail::fail_value("flip", fmt::format("axis {} is named twice", axis));
        reversed = true;
    }
    if (axes.empty()) op.reversed.fill(true);
    return apply(std::move(op), std::move(x));
}

#define UNROLL_INSTANTIATE(R)                           \
    template Var<R> reshape(Var<R>, const Axes&);       \
    template Var<R> reshape(Var<R>, const Shape&);      \
    template Var<R> squeeze(Var<R>, Index);             \
    template Var<R> unsqueeze(Var<R>, Index);           \
    template Var<R> permute(Var<R>, const Axes&);       \
    template Var<R> transpose(Var<R>, Index, Index);    \
    template Var<R> broadcast_to(Var<R>, const Shape&); \
    template Var<R> flip(Var<R>, const Axes&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
