// Sums over axes: sum, mean, logsumexp, var. The largest and smallest elements are in extremes.cpp.
#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/ops/detail/reduction.hpp>
#include <unroll/autograd/ops/detail/rows.hpp>

#include <algorithm>
#include <limits>

namespace unroll {
namespace {

using detail::ReducedAxes;

/// y += Σ x over the axes.
template <class Real>
void add_sums(const ReducedAxes& over, const Real* x, Real* y) {
    over.each_block([&](Index i, Index o) {
        if (over.runs_reduced())
            y[o] += detail::row_sum(x + i, over.run());
        else
            detail::column_sums(x + i, over.rows(), over.run(), true, y + o);
    });
}

/// y = Σ x over the axes, or that divided by their number of elements N. Over no elements: 0, and NaN for the mean.
/// Saves nothing. gx = gy, or gy / N, at every element.
/// Errors: IndexError for an axis out of range, ValueError for a repeated one. (numpy.sum, numpy.mean)
template <class Real, bool kMean>
struct Sum {
    static constexpr std::string_view name = kMean ? "mean" : "sum";
    ReducedAxes over;

    void infer(Shapes& s) { s.output(over.fit(name, s.in(0))); }
    void forward(Forward<Real>& f) const {
        const Real* x = f.in(0).data;
        Real* y = f.out(0);
        const Index results = f.out_shape(0).size();
        std::fill_n(y, results, Real(0));
        add_sums(over, x, y);
        if (kMean)
            for (Index o = 0; o < results; ++o) y[o] = y[o] / static_cast<double>(over.count());
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const Real share = kMean ? Real(1) / Real(static_cast<double>(over.count())) : Real(1);
        over.spread(b.gout(0).data, [&](Index i, const Real& g) { gx.add(i, kMean ? g * share : g); });
    }
};

/// y = log Σ exp(x) over the axes, as m + log Σ exp(x − m) with m the largest element. Over no elements, or if all are −∞:
/// −∞; +∞ where an element is; NaN stays.
/// Saves x and y. gx = gy·exp(x − y), and 0 where y is −∞.
/// Errors: as for sum. (torch.logsumexp)
template <class Real>
struct LogSumExp {
    static constexpr std::string_view name = "logsumexp";
    ReducedAxes over;

    void infer(Shapes& s) { s.output(over.fit(name, s.in(0))); }
    void forward(Forward<Real>& f) const {
        using std::isfinite;
        using std::log;
        const Real* x = f.in(0).data;
        Real* y = f.out(0);
        const Index results = f.out_shape(0).size();
        const detail::Scratch<Real> shift(results), term(over.run());
        std::fill_n(shift.data(), results, Real(-std::numeric_limits<double>::infinity()));
        over.each([&](Index i, Index o) { shift[o] = detail::larger(shift[o], x[i]); });
        // The shift is a number, not a function of x: the result does not depend on it.
        for (Index o = 0; o < results; ++o) {
            const auto m = static_cast<double>(shift[o]);
            shift[o] = isfinite(m) ? Real(m) : Real(0);
        }
        using Wide = typename detail::SumOf<Real>::type;
        const detail::Scratch<Wide> total(results);
        std::fill_n(total.data(), results, Wide(0));
        over.each_run([&](Index i, Index o) {
            if (over.runs_reduced())
                for (Index j = 0; j < over.run(); ++j) term[j] = x[i + j] - shift[o];
            else
                for (Index j = 0; j < over.run(); ++j) term[j] = x[i + j] - shift[o + j];
            detail::exp_in_place(term.data(), over.run());
            if (over.runs_reduced())
                total[o] += Wide(detail::row_sum(term.data(), over.run()));
            else
                for (Index j = 0; j < over.run(); ++j) total[o + j] += Wide(term[j]);
        });
        for (Index o = 0; o < results; ++o) y[o] = shift[o] + static_cast<Real>(log(total[o]));
        f.save_in(0);
        f.save_out(0);
    }
    void backward(Backward<Real>& b) const {
        using std::exp;
        const auto gx = b.grad(0);
        const auto x = b.in(0), y = b.out(0), gy = b.gout(0);
        const Real none(-std::numeric_limits<double>::infinity());
        over.each([&](Index i, Index o) { gx.add(i, y[o] == none ? Real(0) : gy[o] * exp(x[i] - y[o])); });
    }
};

/// y = Σ (x − mean)² / (N − correction) over the axes; NaN or ∞ if N ≤ correction, as the formula with 0 below.
/// Saves x and the means. gx = gy·2·(x − mean) / (N − correction).
/// Errors: as for sum. (numpy.var with ddof = correction; torch.var)
template <class Real>
struct Variance {
    static constexpr std::string_view name = "var";
    ReducedAxes over;
    Index correction;

    void infer(Shapes& s) { s.output(over.fit(name, s.in(0))); }
    double divisor() const noexcept { return static_cast<double>(std::max<Index>(over.count() - correction, 0)); }
    void forward(Forward<Real>& f) const {
        const Real* x = f.in(0).data;
        Real* y = f.out(0);
        const Shape shape = f.out_shape(0);
        const Index results = shape.size();
        Real* mean = f.save(shape);
        std::fill_n(mean, results, Real(0));
        add_sums(over, x, mean);
        for (Index o = 0; o < results; ++o) mean[o] = mean[o] / static_cast<double>(over.count());
        using Wide = typename detail::SumOf<Real>::type;
        const detail::Scratch<Wide> total(results);
        std::fill_n(total.data(), results, Wide(0));
        const auto square = [](const Real& d) { return Wide(d * d); };
        over.each_run([&](Index i, Index o) {
            if (over.runs_reduced())
                total[o] += detail::sum_of<Wide>(over.run(), [&](Index j) { return square(x[i + j] - mean[o]); });
            else
                for (Index j = 0; j < over.run(); ++j) total[o + j] += square(x[i + j] - mean[o + j]);
        });
        for (Index o = 0; o < results; ++o) y[o] = static_cast<Real>(total[o] / divisor());
        f.save_in(0);
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const auto x = b.in(0), mean = b.saved(0), gy = b.gout(0);
        const Real factor = Real(2) / divisor();
        over.each([&](Index i, Index o) { gx.add(i, gy[o] * factor * (x[i] - mean[o])); });
    }
};

}  // namespace

template <class Real>
Var<Real> sum(Var<Real> x, const Axes& axes, bool keep_dims) {
    return apply(Sum<Real, false>{{axes, keep_dims}}, std::move(x));
}

template <class Real>
Var<Real> mean(Var<Real> x, const Axes& axes, bool keep_dims) {
    return apply(Sum<Real, true>{{axes, keep_dims}}, std::move(x));
}

template <class Real>
Var<Real> logsumexp(Var<Real> x, const Axes& axes, bool keep_dims) {
    return apply(LogSumExp<Real>{{axes, keep_dims}}, std::move(x));
}

template <class Real>
Var<Real> var(Var<Real> x, const Axes& axes, Index correction, bool keep_dims) {
    return apply(Variance<Real>{{axes, keep_dims}, correction}, std::move(x));
}

#define UNROLL_INSTANTIATE(R)                             \
    template Var<R> sum(Var<R>, const Axes&, bool);       \
    template Var<R> mean(Var<R>, const Axes&, bool);      \
    template Var<R> logsumexp(Var<R>, const Axes&, bool); \
    template Var<R> var(Var<R>, const Axes&, Index, bool);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
