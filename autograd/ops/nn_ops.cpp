// Normalised and random: softmax, log_softmax, layer_norm, dropout.
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/ops/detail/rows.hpp>

#include <fmt/format.h>

#include <cmath>

namespace unroll {
namespace {

/// y = exp(x − max)/Σ exp(x − max) along the last axis; saves y. gx = y·(g − Σ g·y).
/// With Log: y = x − logsumexp(x); gx = g − exp(y)·Σ g.
template <class Real, bool Log>
struct Softmax {
    static constexpr std::string_view name = Log ? "log_softmax" : "softmax";

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
            (Log ? detail::kernels().log_softmax_rows : detail::kernels().softmax_rows)(rows, n, x, n, y, n);
            return;
        }
        using std::exp, std::log;
        for (Index r = 0; r < rows; ++r, x += n, y += n) {
            Real most = x[0], sum(0);
            for (Index i = 1; i < n; ++i) most = detail::larger(most, x[i]);
            for (Index i = 0; i < n; ++i) sum += exp(x[i] - most);
            const Real log_sum = most + log(sum);
            for (Index i = 0; i < n; ++i) y[i] = Log ? x[i] - log_sum : exp(x[i] - most) / sum;
        }
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const Index n = b.out_shape(0).back(), rows = n ? gx.size / n : 0;
        const Real *g = b.gout(0).data, *y = b.out(0).data;
        const detail::Scratch<Real> e(n);
        for (Index r = 0; r < rows; ++r, g += n, y += n) {
            Real* to = gx.data + r * n;
            if constexpr (Log) {
                const Real sum = detail::row_sum(g, n);
                std::copy_n(y, n, e.data());
                detail::exp_in_place(e.data(), n);
                for (Index i = 0; i < n; ++i) to[i] = (gx.adding ? to[i] : Real(0)) + (g[i] - e[i] * sum);
            } else {
                const Real sum = detail::row_dot(g, y, n);
                for (Index i = 0; i < n; ++i) to[i] = (gx.adding ? to[i] : Real(0)) + y[i] * (g[i] - sum);
            }
        }
    }
};

template <class Real, bool Log>
Var<Real> softmax_along(Var<Real> x, Index axis) {
    using Op = Softmax<Real, Log>;
    if (!x) detail::fail_usage(Op::name, "operand 0 is an empty Var");
    if (x.rank() == 0) detail::fail_shape(Op::name, "at least one axis is needed", {x.shape()});
    const auto at = static_cast<Index>(detail::normal_axis(Op::name, axis, x.rank()));
    if (at + 1 == static_cast<Index>(x.rank())) return apply(Op{}, std::move(x));
    return transpose(apply(Op{}, transpose(std::move(x), at, -1)), at, -1);
}

/// y = (x − m)·s·weight + bias along the last axis, m the mean, s = 1/√(variance + eps), variance over N.
/// Saves x, weight, m and s. With h = (x − m)·s and u = g·weight: gx = s·(u − mean(u) − h·mean(u·h));
/// gweight = Σ g·h, gbias = Σ g over rows.
template <class Real>
struct LayerNormOp {
    static constexpr std::string_view name = "layer_norm";
    double eps;

    void infer(Shapes& s) const {
        s.require(s.in(0).rank() >= 1 && s.in(0).back() >= 1, "x needs a last axis of at least one element");
        for (Index i = 1; i < s.inputs(); ++i)
            s.require(s.in(i) == Shape{s.in(0).back()}, "weight and bias must have one element for each of the last axis");
        s.output(s.in(0));
    }
    void forward(Forward<Real>& f) const {
        using std::sqrt;
        const Index n = f.in_shape(0).back(), rows = f.in(0).size / n;
        const bool affine = f.inputs() > 1;
        const Real* x = f.in(0).data;
        Real* y = f.out(0);
        Real* moments = f.save({rows, 2});
        for (Index r = 0; r < rows; ++r, x += n, y += n) {
            const Real mean = detail::row_sum(x, n) / Real(static_cast<double>(n));
            const Real variance = detail::sum_of<Real>(n, [&](Index i) { return (x[i] - mean) * (x[i] - mean); }) / Real(static_cast<double>(n));
            const Real scale = Real(1) / sqrt(variance + Real(eps));
            moments[2 * r] = mean;
            moments[2 * r + 1] = scale;
            if (affine)
                for (Index i = 0; i < n; ++i) y[i] = (x[i] - mean) * scale * f.in(1)[i] + f.in(2)[i];
            else
                for (Index i = 0; i < n; ++i) y[i] = (x[i] - mean) * scale;
        }
        f.save_in(0);
        if (affine && f.needs(0)) f.save_in(1);
    }
    void backward(Backward<Real>& b) const {
        const Index n = b.out_shape(0).back(), rows = b.out_shape(0).size() / n;
        const bool affine = b.inputs() > 1;
        const Real *x = b.in(0).data, *g = b.gout(0).data, *moments = b.saved(0).data;
        const Real inverse(1.0 / static_cast<double>(n));
        if (b.needs(0)) {
            const auto gx = b.grad(0);
            const Real* weight = affine ? b.in(1).data : nullptr;
            for (Index r = 0; r < rows; ++r) {
                const Real *xr = x + r * n, *gr = g + r * n, mean = moments[2 * r], scale = moments[2 * r + 1];
                const auto u = [&](Index i) { return weight ? gr[i] * weight[i] : gr[i]; };
                const Real mean_u = detail::sum_of<Real>(n, u) * inverse;
                const Real mean_uh = detail::sum_of<Real>(n, [&](Index i) { return u(i) * (xr[i] - mean) * scale; }) * inverse;
                Real* to = gx.data + r * n;
                for (Index i = 0; i < n; ++i)
                    to[i] = (gx.adding ? to[i] : Real(0)) + scale * (u(i) - mean_u - (xr[i] - mean) * scale * mean_uh);
            }
        }
        if (affine && b.needs(1)) {
            const auto gw = b.grad(1);
            if (!gw.adding) std::fill_n(gw.data, n, Real(0));
            for (Index r = 0; r < rows; ++r)
                for (Index i = 0; i < n; ++i) gw.data[i] += g[r * n + i] * (x[r * n + i] - moments[2 * r]) * moments[2 * r + 1];
        }
        if (affine && b.needs(2)) b.add_reduced(2, g, b.out_shape(0));
    }
};

/// y = x·m/(1 − q), m = 0 with probability q and 1 otherwise, where q is p rounded to a multiple of 2⁻¹⁶; gx = g·m/(1 − q).
/// Element i of call c is the i-th run of 16 bits of the stream's blocks for that call. Keeps a byte for each element.
template <class Real>
struct DropoutOp {
    static constexpr std::string_view name = "dropout";
    std::uint64_t seed, stream;
    std::uint32_t threshold;  // q·2¹⁶
    Tensor<std::uint8_t> kept = {};

    Real scale() const { return Real(65536.0 / static_cast<double>(65536 - threshold)); }

    void infer(Shapes& s) const { s.output(s.in(0)); }
    void forward(Forward<Real>& f) {
        const Index n = f.in(0).size;
        kept = empty<std::uint8_t>({n});
        std::uint8_t* k = kept.data();
        constexpr Index kPerBlock = 8;
        for (Index i = 0; i < n; i += kPerBlock) {
            const auto words = random_block(seed, stream, static_cast<std::uint64_t>(i / kPerBlock));
            std::uint8_t bits[kPerBlock];
            for (std::size_t w = 0; w < 4; ++w) {
                bits[2 * w] = (words[w] & 0xffffu) >= threshold;
                bits[2 * w + 1] = (words[w] >> 16) >= threshold;
            }
            std::copy_n(bits, std::min(kPerBlock, n - i), k + i);
        }
        const Real factors[2] = {Real(0), scale()};
        const Real* x = f.in(0).data;
        Real* y = f.out(0);
        for (Index i = 0; i < n; ++i) y[i] = x[i] * factors[k[i]];
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const Real factors[2] = {Real(0), scale()};
        const Real* g = b.gout(0).data;
        const std::uint8_t* k = kept.data();
        if (gx.adding)
            for (Index i = 0; i < gx.size; ++i) gx.data[i] += g[i] * factors[k[i]];
        else
            for (Index i = 0; i < gx.size; ++i) gx.data[i] = g[i] * factors[k[i]];
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
    if (weight) return apply(LayerNormOp<Real>{eps}, std::move(x), std::move(weight), std::move(bias));
    return apply(LayerNormOp<Real>{eps}, std::move(x));
}

template <class Real>
Var<Real> dropout(Var<Real> x, double p, RandomStream& random) {
    if (!(p >= 0 && p < 1)) detail::fail_value("dropout", fmt::format("p must be 0 or more and less than 1; got {}", p));
    if (!x) detail::fail_usage("dropout", "operand 0 is an empty Var");
    const auto threshold = static_cast<std::uint32_t>(std::min(p * 65536.0 + 0.5, 65535.0));
    if (threshold == 0) return x;
    // Each call has a stream of its own: its number, spread over all bits, is added to the stream's.
    const std::uint64_t stream = random.stream() + (random.next_call() + 1) * 0x9e3779b97f4a7c15u;
    return apply(DropoutOp<Real>{random.seed(), stream, threshold}, std::move(x));
}

#define UNROLL_INSTANTIATE(R)                                               \
    template Var<R> softmax(Var<R>, Index);                                 \
    template Var<R> log_softmax(Var<R>, Index);                             \
    template Var<R> layer_norm(Var<R>, Var<R>, Var<R>, double);             \
    template Var<R> dropout(Var<R>, double, RandomStream&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
