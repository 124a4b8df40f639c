// The largest and smallest elements over axes, and where they are: max, min, argmax.
#include <unroll/autograd/ops/detail/reduction.hpp>
#include <unroll/autograd/ops/detail/rows.hpp>

#include <algorithm>
#include <limits>

namespace unroll {
namespace {

using detail::ReducedAxes;

/// Whether an element is the result of its reduction; NaN counts as equal to NaN.
template <class Real>
bool chosen(const Real& x, const Real& y) {
    return x == y || (x != x && y != y);
}

/// y = the largest (smallest) element over the axes; NaN if one of them is NaN.
/// Saves x and y. gx = gy / n at each of the n elements that equal y, 0 elsewhere.
/// Errors: ShapeError over no elements; IndexError for an axis out of range, ValueError for a repeated one. (numpy.max,
/// torch.amax)
template <class Real, bool kLargest>
struct Extreme {
    static constexpr std::string_view name = kLargest ? "max" : "min";
    ReducedAxes over;

    void infer(Shapes& s) {
        const Shape result = over.fit(name, s.in(0));
        s.require(over.count() > 0 || result.size() == 0, "there is no element to choose from");
        s.output(result);
    }
    void forward(Forward<Real>& f) const {
        const Real* x = f.in(0).data;
        Real* y = f.out(0);
        const Index results = f.out_shape(0).size();
        const double worst = std::numeric_limits<double>::infinity() * (kLargest ? -1 : 1);
        std::fill_n(y, results, Real(worst));
        over.each([&](Index i, Index o) {
            if ((kLargest ? x[i] > y[o] : x[i] < y[o]) || x[i] != x[i]) y[o] = x[i];
        });
        if constexpr (is_dual_v<Real>) average_derivatives(x, y, results);
        f.save_in(0);
        f.save_out(0);
    }
    /// The derivative along a direction of what gradients say: ties have equal parts in it.
    void average_derivatives(const Real* x, Real* y, Index results) const {
        const detail::Scratch<double> sum(results), ties(results);
        std::fill_n(sum.data(), results, 0.0);
        std::fill_n(ties.data(), results, 0.0);
        over.each([&](Index i, Index o) {
            if (!chosen(x[i], y[o])) return;
            sum[o] += static_cast<double>(derivative_of(x[i]));
            ties[o] += 1;
        });
        for (Index o = 0; o < results; ++o) y[o] = Real(static_cast<double>(y[o]), sum[o] / ties[o]);
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const auto x = b.in(0), y = b.out(0), gy = b.gout(0);
        const detail::Scratch<Real> share(gy.size);
        std::fill_n(share.data(), gy.size, Real(0));
        over.each([&](Index i, Index o) {
            if (chosen(x[i], y[o])) share[o] += Real(1);
        });
        for (Index o = 0; o < gy.size; ++o) share[o] = gy[o] / share[o];
        over.each([&](Index i, Index o) { gx.add(i, chosen(x[i], y[o]) ? share[o] : Real(0)); });
    }
};

}  // namespace

template <class Real>
Var<Real> max(Var<Real> x, const Axes& axes, bool keep_dims) {
    return apply(Extreme<Real, true>{{axes, keep_dims}}, std::move(x));
}

template <class Real>
Var<Real> min(Var<Real> x, const Axes& axes, bool keep_dims) {
    return apply(Extreme<Real, false>{{axes, keep_dims}}, std::move(x));
}

template <class Real>
IntTensor argmax(const Var<Real>& x, Index axis) {
    const Shape shape = x.shape();
    const std::size_t at = detail::normal_axis("argmax", axis, shape.rank());
    const Index n = shape[at];
    const Shape result = shape.erased(at);
    if (n == 0 && result.size() > 0) detail::fail_shape("argmax", "there is no element to choose from", {shape});
    Index inner = 1;
    for (std::size_t i = at + 1; i < shape.rank(); ++i) inner *= shape[i];
    IntTensor out = IntTensor::from_shape(std::vector<std::size_t>(result.begin(), result.end()));
    for (Index r = 0; r < result.size(); ++r) {
        const Real* first = x.data() + r / inner * inner * n + r % inner;
        Index best = 0;
        for (Index j = 1; j < n && first[best * inner] == first[best * inner]; ++j)
            if (first[j * inner] > first[best * inner] || first[j * inner] != first[j * inner]) best = j;
        out.data()[r] = best;
    }
    return out;
}

#define UNROLL_INSTANTIATE(R)                       \
    template Var<R> max(Var<R>, const Axes&, bool); \
    template Var<R> min(Var<R>, const Axes&, bool); \
    template IntTensor argmax(const Var<R>&, Index);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
