// Parts of arrays and wholes made of parts: slice, select, split, concat. Along the outermost axis of more than one element
// parts are contiguous: memory is shared, and gradients are handed on where they can be.
#include <unroll/autograd/ops.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace unroll {
namespace {

/// A part of an array along one axis: in each of `rows` rows of `stride` elements the `width` elements from `offset` on.
struct Part {
    Index rows = 1, stride = 1, offset = 0, width = 0;

    Part(const Shape& whole, std::size_t axis, Index begin, Index length) {
        Index inner = 1;
        for (std::size_t i = 0; i < axis; ++i) rows *= whole[i];
        for (std::size_t i = axis + 1; i < whole.rank(); ++i) inner *= whole[i];
        stride = whole[axis] * inner;
        offset = begin * inner;
        width = length * inner;
    }
    bool contiguous() const noexcept { return rows == 1; }
    bool everything() const noexcept { return width == stride; }
};

/// to = the part of `whole`
template <class Real>
void take_part(const Part& p, const Real* whole, Real* to) {
    for (Index r = 0; r < p.rows; ++r) std::copy_n(whole + r * p.stride + p.offset, p.width, to + r * p.width);
}

/// The part of `whole` = (+=) from, or zero where there is no `from`.
template <class Real>
void put_part(const Part& p, const Real* from, bool add, Real* whole) {
    for (Index r = 0; r < p.rows; ++r) {
        Real* to = whole + r * p.stride + p.offset;
        if (!from) {
            if (!add) std::fill_n(to, p.width, Real(0));
        } else if (add) {
            for (Index i = 0; i < p.width; ++i) to[i] += from[r * p.width + i];
        } else {
            std::copy_n(from + r * p.width, p.width, to);
        }
    }
}

/// y = the elements begin ≤ i < end of x along an axis; `select` is the one at `begin`, and the axis disappears. Shares
/// memory where the part is contiguous. Saves nothing. gx = gy in that part, 0 elsewhere.
/// Errors: IndexError for an axis or a bound out of range, ValueError for an end before the begin.
template <class Real, bool kSelect>
struct Slice {
    static constexpr std::string_view name = kSelect ? "select" : "slice";
    Index axis, begin, end;

    void infer(Shapes& s) {
        const Shape& x = s.in(0);
        axis = static_cast<Index>(detail::normal_axis(name, axis, x.rank()));
        const auto at = static_cast<std::size_t>(axis);
        const Index n = x[at];
        if (kSelect) {
            if (begin < -n || begin >= n) out_of_range(begin, n, n - 1);
            begin += begin < 0 ? n : 0;
            end = begin + 1;
            s.output(x.erased(at));
            return;
        }
        for (Index* bound : {&begin, &end}) {
            if (*bound < -n || *bound > n) out_of_range(*bound, n, n);
            *bound += *bound < 0 ? n : 0;
        }
        if (end < begin) detail::fail_value(name, fmt::format("the end {} lies before the begin {}", end, begin));
        s.output(x.replaced(at, end - begin));
    }
    [[noreturn]] void out_of_range(Index value, Index n, Index most) const {
        detail::fail_index(name,
                           fmt::format("position {} is out of range along axis {} of length {} (allowed: {} to {})",
                                       value, axis, n, -n, most));
    }
    Part part(const Shape& x) const { return Part(x, static_cast<std::size_t>(axis), begin, end - begin); }
    void forward(Forward<Real>& f) const {
        const Part p = part(f.in_shape(0));
        if (p.contiguous())
            f.share(0, 0, p.offset);
        else
            take_part(p, f.in(0).data, f.out(0));
    }
    void backward(Backward<Real>& b) const {
        const Part p = part(b.in_shape(0));
        if (p.everything()) return b.pass(0, 0);
        const auto gx = b.grad(0);
        if (!gx.adding)
            for (Index r = 0; r < p.rows; ++r) {
                Real* row = gx.data + r * p.stride;
                std::fill_n(row, p.offset, Real(0));
                std::fill(row + p.offset + p.width, row + p.stride, Real(0));
            }
        put_part(p, b.gout(0).data, gx.adding, gx.data);
    }
};

/// y₀, y₁, … = the parts of x of given lengths, one behind the other along an axis. Shares memory where they are contiguous.
/// Saves nothing. gx = the gradients of all parts, one behind the other.
/// Errors: ShapeError unless the lengths are 0 or more and their sum is the axis' length; IndexError for an axis out of
/// range. (numpy.split)
template <class Real>
struct Split {
    static constexpr std::string_view name = "split";
    Index axis;
    Axes lengths;

    bool equal() const noexcept {
        return std::all_of(lengths.begin(), lengths.end(), [this](Index n) { return n == lengths[0]; });
    }
    void infer(Shapes& s) const {
        const auto at = static_cast<std::size_t>(axis);
        if (equal()) return s.outputs(static_cast<Index>(lengths.size()), s.in(0).replaced(at, lengths[0]));
        for (const Index length : lengths) s.output(s.in(0).replaced(at, length));
    }
    template <class F>
    void each(const Shape& x, F f) const {
        Index begin = 0;
        for (std::size_t k = 0; k < lengths.size(); ++k) {
            f(static_cast<Index>(k), Part(x, static_cast<std::size_t>(axis), begin, lengths[k]));
            begin += lengths[k];
        }
    }
    void forward(Forward<Real>& f) const {
        each(f.in_shape(0), [&](Index k, const Part& p) {
            if (p.contiguous())
                f.share(k, 0, p.offset);
            else
                take_part(p, f.in(0).data, f.out(k));
        });
    }
    void backward(Backward<Real>& b) const {
        if (equal() && Part(b.in_shape(0), static_cast<std::size_t>(axis), 0, 0).contiguous()) return b.pass_joined();
        const auto gx = b.grad(0);
        each(b.in_shape(0), [&](Index k, const Part& p) { put_part(p, b.gout(k).data, gx.adding, gx.data); });
    }
};

/// y = the operands one behind the other along an axis. Saves nothing. The gradient of each operand is its part of gy.
/// Errors: ShapeError unless all have the same shape but for that axis; IndexError for an axis out of range.
/// (numpy.concatenate)
template <class Real>
struct Concat {
    static constexpr std::string_view name = "concat";
    Index axis;
    Axes lengths = {};

    void infer(Shapes& s) {
        const Shape& first = s.in(0);
        s.require(first.rank() >= 1, "operands must have at least one axis");
        axis = static_cast<Index>(detail::normal_axis(name, axis, first.rank()));
        const auto at = static_cast<std::size_t>(axis);
        Index total = 0;
        for (Index i = 0; i < s.inputs(); ++i) {
            if (s.in(i).rank() != first.rank() || !(s.in(i).replaced(at, first[at]) == first))
                s.fail(fmt::format("operands must have the same shape but for axis {}", axis));
            lengths.push_back(s.in(i)[at]);
            total += s.in(i)[at];
        }
        s.output(first.replaced(at, total));
    }
    template <class F>
    void each(const Shape& whole, F f) const {
        Index begin = 0;
        for (std::size_t i = 0; i < lengths.size(); ++i) {
            f(static_cast<Index>(i), Part(whole, static_cast<std::size_t>(axis), begin, lengths[i]));
            begin += lengths[i];
        }
    }
    void forward(Forward<Real>& f) const {
        Real* y = f.out(0);
        each(f.out_shape(0), [&](Index i, const Part& p) { put_part(p, f.in(i).data, false, y); });
    }
    void backward(Backward<Real>& b) const {
        const Real* g = b.gout(0).data;
        each(b.out_shape(0), [&](Index i, const Part& p) {
            if (!b.needs(i)) return;
            if (p.contiguous()) return b.pass_slice(i, 0, p.offset);
            const auto gx = b.grad(i);
            for (Index r = 0; r < p.rows; ++r)
                for (Index j = 0; j < p.width; ++j) gx.add(r * p.width + j, g[r * p.stride + p.offset + j]);
        });
    }
};

}  // namespace

template <class Real>
Var<Real> slice(Var<Real> x, Index axis, Index begin, Index end) {
    return apply(Slice<Real, false>{axis, begin, end}, std::move(x));
}

template <class Real>
Var<Real> select(Var<Real> x, Index axis, Index index) {
    return apply(Slice<Real, true>{axis, index, 0}, std::move(x));
}

template <class Real>
Vars<Real> split(Var<Real> x, Index parts, Index axis) {
    const Index n = x.shape()[detail::normal_axis("split", axis, x.rank())];
    if (parts < 1) detail::fail_value("split", fmt::format("the number of parts must be 1 or more; got {}", parts));
    if (n % parts != 0)
        detail::fail_shape("split", fmt::format("axis {} cannot be split into {} equal parts", axis, parts),
                           {x.shape()});
    return split(std::move(x), Axes(static_cast<std::size_t>(parts), n / parts), axis);
}

template <class Real>
Vars<Real> split(Var<Real> x, const Axes& lengths, Index axis) {
    const std::size_t at = detail::normal_axis("split", axis, x.rank());
    const Index n = x.shape()[at];
    Index left = n;
    bool fit = !lengths.empty();
    for (const Index length : lengths) {
        fit = fit && length >= 0 && length <= left;
        if (fit) left -= length;
    }
    if (!fit || left != 0)
        detail::fail_shape("split",
                           fmt::format("the lengths ({}) must be 0 or more, and their sum the length of axis {}",
                                       fmt::join(lengths, ", "), axis),
                           {x.shape()});
    Vars<Real> out(lengths.size());
    Split<Real> op{static_cast<Index>(at), lengths};
    constexpr std::size_t kMostUnequal = 16;  // of one op (Shapes::output)
    if (lengths.size() > kMostUnequal && !op.equal()) {
        Index begin = 0;
        for (std::size_t k = 0; k < out.size(); begin += lengths[k++])
            out[k] = slice(x, static_cast<Index>(at), begin, begin + lengths[k]);
        return out;
    }
    std::array<Var<Real>, 1> in{std::move(x)};
    apply_all<Real>(std::move(op), std::span<Var<Real>>(in), std::span<Var<Real>>(out));
    return out;
}

template <class Real>
Var<Real> concat(const Vars<Real>& parts, Index axis) {
    if (parts.empty()) detail::fail_shape("concat", "at least one operand is needed");
    Vars<Real> in(parts);
    std::array<Var<Real>, 1> out;
    apply_all<Real>(Concat<Real>{axis}, std::span<Var<Real>>(in), std::span<Var<Real>>(out));
    return std::move(out[0]);
}

#define UNROLL_INSTANTIATE(R)                           \
    template Var<R> slice(Var<R>, Index, Index, Index); \
    template Var<R> select(Var<R>, Index, Index);       \
    template Vars<R> split(Var<R>, Index, Index);       \
    template Vars<R> split(Var<R>, const Axes&, Index); \
    template Var<R> concat(const Vars<R>&, Index);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
