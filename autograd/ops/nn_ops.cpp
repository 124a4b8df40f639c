// Normalised over an axis: softmax, log_softmax, layer_norm.
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/ops/detail/rows.hpp>

#include <fmt/format.h>

#include <cmath>

namespace unroll {
namespace {

/// to = (+=) row
template <class Real>
void put_row(const Real* row, bool add, Real* to, Index n) {
    if (add)
        for (Index i = 0; i < n; ++i) to[i] += row[i];
    else
        std::copy_n(row, n, to);
}

/// Along the last axis, with m the largest element:
///     softmax: y = exp(x − m) / Σ exp(x − m);  log_softmax: y = (x − m) − log Σ exp(x − m)
/// The latter as log1p of the sum without m's own 1, so that small results keep their digits; in float to 9 ULP.
/// Elements of −∞ give 0 (−∞); a row that is −∞ alone, or holds NaN or +∞, gives NaN.
/// Saves y. gx = y·(gy − Σ gy·y);  for log_softmax gy − exp(y)·Σ gy.
/// Errors: ShapeError for a scalar, IndexError for an axis out of range. (torch.softmax, torch.log_softmax)
template <class Real, bool kLog>
struct Softmax {
    static constexpr std::string_view name = kLog ? "log_softmax" : "softmax";

    void infer(Shapes& s) const {
        s.require(s.in(0).rank() >= 1, "at least one axis is needed");
        s.output(s.in(0));
    }
    void forward(Forward<Real>& f) const {
        const Index n = f.in_shape(0).back(), rows = n ? f.in(0).size / n : 0;
        const Real* x = f.in(0).data;
        Real* y = f.out(0);
        f.save_out(0);
        if (n == 0) return;
        if constexpr (std::is_same_v<Real, float>) {
            (kLog ? detail::kernels().log_softmax_rows : detail::kernels().softmax_rows)(rows, n, x, n, y, n);
            return;
        }
        using std::log1p;
        for (Index r = 0; r < rows; ++r, x += n, y += n) {
            if constexpr (kLog) {
                const auto sum = detail::sum_exp(x, n, [](Index, const Real&) {});
                const Real log_sum = log1p(sum.others);
                for (Index i = 0; i < n; ++i) y[i] = (x[i] - sum.most) - log_sum;
            } else {
                const auto sum = detail::sum_exp(x, n, [y](Index i, const Real& e) { y[i] = e; });
                for (Index i = 0; i < n; ++i) y[i] = y[i] / (sum.others + 1);
            }
        }
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const Index n = b.out_shape(0).back(), rows = n ? gx.size / n : 0;
        const Real *g = b.gout(0).data, *y = b.out(0).data;
        const detail::Scratch<Real> row(n);
        for (Index r = 0; r < rows; ++r, g += n, y += n) {
            Real* to = gx.data + r * n;
            if constexpr (kLog) {
                const Real sum = detail::row_sum(g, n);
                std::copy_n(y, n, row.data());
                detail::exp_in_place(row.data(), n);
                for (Index i = 0; i < n; ++i) row[i] = g[i] - row[i] * sum;
            } else {
                const Real sum = detail::row_dot(g, y, n);
                for (Index i = 0; i < n; ++i) row[i] = y[i] * (g[i] - sum);
            }
            put_row(row.data(), gx.adding, to, n);
        }
    }
};

template <class Real, bool kLog>
Var<Real> softmax_along(Var<Real> x, Index axis) {
    using Op = Softmax<Real, kLog>;
    if (!x) detail::fail_usage(Op::name, "operand 0 is an empty Var");
    if (x.rank() == 0) detail::fail_shape(Op::name, "at least one axis is needed", {x.shape()});
    const auto at = static_cast<Index>(detail::normal_axis(Op::name, axis, x.rank()));
    if (at + 1 == static_cast<Index>(x.rank())) return apply(Op{}, std::move(x));
    return transpose(apply(Op{}, transpose(std::move(x), at, -1)), at, -1);
}

/// y = h·weight + bias along the last axis of length N, h = (x − m)·s with m the mean of x, s = 1/√(v + eps), v = Σ (x − m)² / N.
/// Saves x, weight, m and s. With u = gy·weight: gx = s·(u − mean(u) − h·mean(u·h)); gweight = Σ gy·h and gbias = Σ gy over
/// all rows.
/// Errors: ShapeError for an empty last axis, or weight and bias of another shape than (N); UsageError for one without the
/// other; ValueError for a negative eps. (Ba, Kiros, Hinton: "Layer Normalization", 2016; torch.nn.functional.layer_norm)
template <class Real>
struct LayerNorm_ {
    static constexpr std::string_view name = "layer_norm";
    double eps;

    void infer(Shapes& s) const {
        s.require(s.in(0).rank() >= 1 && s.in(0).back() >= 1, "x needs a last axis of at least one element");
        for (Index i = 1; i < s.inputs(); ++i)
            s.require(s.in(i) == Shape{s.in(0).back()},
                      "weight and bias must have one element for each of the last axis");
        s.output(s.in(0));
    }
    /// h = (x − m)·s
    static void normalise(const Real* x, const Real* moments, Real* h, Index n) {
        const Real mean = moments[0], scale = moments[1];
        for (Index i = 0; i < n; ++i) h[i] = (x[i] - mean) * scale;
    }
    void forward(Forward<Real>& f) const {
        using std::sqrt;
        const Index n = f.in_shape(0).back(), rows = f.in(0).size / n;
        const bool affine = f.inputs() > 1;
        const Real* x = f.in(0).data;
        const Real *weight = affine ? f.in(1).data : nullptr, *bias = affine ? f.in(2).data : nullptr;
        Real* y = f.out(0);
        Real* moments = f.save({rows, 2});
        const double inverse = 1.0 / static_cast<double>(n);
        for (Index r = 0; r < rows; ++r, x += n, y += n, moments += 2) {
            const Real mean = detail::row_sum(x, n) * static_cast<Real>(inverse);
            for (Index i = 0; i < n; ++i) y[i] = x[i] - mean;
            const Real variance = detail::row_dot(y, y, n) * static_cast<Real>(inverse);
            moments[0] = mean;
            moments[1] = Real(1) / sqrt(variance + Real(eps));
            const Real scale = moments[1];
            if (affine)
                for (Index i = 0; i < n; ++i) y[i] = y[i] * scale * weight[i] + bias[i];
            else
                for (Index i = 0; i < n; ++i) y[i] = y[i] * scale;
        }
        f.save_in(0);
        if (affine && f.needs(0)) f.save_in(1);
    }
    void backward(Backward<Real>& b) const {
        const Index n = b.out_shape(0).back(), rows = b.out_shape(0).size() / n;
        const bool affine = b.inputs() > 1, to_weight = affine && b.needs(1);
        const Real *x = b.in(0).data, *g = b.gout(0).data, *moments = b.saved(0).data;
        const Real* weight = affine && b.needs(0) ? b.in(1).data : nullptr;
        auto gx = b.needs(0) ? b.grad(0) : Accumulator<Real>();
        if (gx.data && !gx.adding && to_weight && b.same_slot(0, 1)) {
            std::fill_n(gx.data, gx.size, Real(0));
            gx.adding = true;
        }
        const auto gw = to_weight ? b.grad(1) : Accumulator<Real>();
        if (to_weight && !gw.adding) std::fill_n(gw.data, n, Real(0));
        const Real inverse(1.0 / static_cast<double>(n));
        const detail::Scratch<Real> h(n), product(n), row(n);
        for (Index r = 0; r < rows; ++r, x += n, g += n, moments += 2) {
            normalise(x, moments, h.data(), n);
            if (to_weight)
                for (Index i = 0; i < n; ++i) gw.data[i] += g[i] * h[i];
            if (!gx.data) continue;
            const Real* u = g;
            if (weight) {
                for (Index i = 0; i < n; ++i) product[i] = g[i] * weight[i];
                u = product.data();
            }
            const Real mean_u = detail::row_sum(u, n) * inverse, mean_uh = detail::row_dot(u, h.data(), n) * inverse;
            const Real scale = moments[1];
            for (Index i = 0; i < n; ++i) row[i] = scale * (u[i] - mean_u - h[i] * mean_uh);
            put_row(row.data(), gx.adding, gx.data + r * n, n);
        }
        if (affine) b.add_reduced(2, b.gout(0).data, b.out_shape(0));
    }
};

}  // namespace

template <class Real>
Var<Real> softmax(Var<Real> x, Index axis) {
    return softmax_along<Real, false>(std::move(x), axis);
}

template <class Real>
Var<Real> log_softmax(Var<Real> x, Index axis) {
    return softmax_along<Real, true>(std::move(x), axis);
}

template <class Real>
Var<Real> layer_norm(Var<Real> x, Var<Real> weight, Var<Real> bias, double eps) {
    if (!(eps >= 0)) detail::fail_value("layer_norm", fmt::format("eps must be 0 or more; got {}", eps));
    if (static_cast<bool>(weight) != static_cast<bool>(bias))
        detail::fail_usage("layer_norm", "give both weight and bias, or neither");
    if (weight) return apply(LayerNorm_<Real>{eps}, std::move(x), std::move(weight), std::move(bias));
    return apply(LayerNorm_<Real>{eps}, std::move(x));
}

#define UNROLL_INSTANTIATE(R)                   \
    template Var<R> softmax(Var<R>, Index);     \
    template Var<R> log_softmax(Var<R>, Index); \
    template Var<R> layer_norm(Var<R>, Var<R>, Var<R>, double);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
