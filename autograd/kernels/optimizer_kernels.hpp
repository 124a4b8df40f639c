// Optimiser steps in one pass over contiguous memory, with PyTorch's formulas in PyTorch's order of operations, for any
// number type. Numbers of a step are computed in double and rounded to Real once, as PyTorch does.
// Included by the kernel sources (float, once for each instruction set, where the loops become vector code) and by
// optim/ (every other type). It knows no parameter groups, schedules or step counts.
//
// Every kernel first forms g = clamp(scale * gradient, -limit, limit), then, with a weight decay w, g = g + w p.
#pragma once

#include <cstdint>

#include <unroll/autograd/kernels/optimizer_steps.hpp>

#if !defined(UNROLL_ISA_NAMESPACE)
#define UNROLL_OPTIMIZER_NAMESPACE generic
#else
#define UNROLL_OPTIMIZER_NAMESPACE UNROLL_ISA_NAMESPACE
#endif

namespace unroll::detail::UNROLL_OPTIMIZER_NAMESPACE {

static inline float square_root(float x) { return __builtin_sqrtf(x); }
static inline double square_root(double x) { return __builtin_sqrt(x); }
template <class Real>
inline Real square_root(const Real& x) {
    return sqrt(x);
}

// Options become types, so that each combination has a loop of its own without branches. The loops are functions with
// restricted pointers as parameters: that is what compilers turn into vector code.
template <bool B>
struct Flag {
    static constexpr bool value = B;
};
template <class Body>
inline void with_flag(bool option, const Body& body) {
    if (option) {
        body(Flag<true>{});
    } else {
        body(Flag<false>{});
    }
}

template <class Real, bool Decay>
struct GradientOf {
    Real scale, limit, decay;

    explicit GradientOf(const GradientScaling& scaling, double weight_decay)
        : scale(Real(scaling.scale)), limit(Real(scaling.limit)), decay(Real(weight_decay)) {}

    Real operator()(const Real& gradient, const Real& p) const {
        Real g = gradient * scale;
        g = g > limit ? limit : g;
        g = g < -limit ? -limit : g;
        if constexpr (Decay) g = g + decay * p;
        return g;
    }
};

template <bool Decay, class Real>
void sgd_plain(const SgdStep& step, std::int64_t n, Real* __restrict p, const Real* __restrict gradient) {
    const GradientOf<Real, Decay> gradient_of(step.gradient, step.weight_decay);
    const Real minus_lr(-step.lr);
    for (std::int64_t i = 0; i < n; ++i) p[i] = p[i] + minus_lr * gradient_of(gradient[i], p[i]);
}

template <bool Decay, bool First, bool Nesterov, class Real>
void sgd_momentum(const SgdStep& step, std::int64_t n, Real* __restrict p, const Real* __restrict gradient,
                  Real* __restrict momentum) {
    const GradientOf<Real, Decay> gradient_of(step.gradient, step.weight_decay);
    const Real minus_lr(-step.lr), m(step.momentum), keep(1.0 - step.dampening);
    for (std::int64_t i = 0; i < n; ++i) {
        const Real g = gradient_of(gradient[i], p[i]);
        Real b = g;
        if constexpr (!First) b = momentum[i] * m + keep * g;
        momentum[i] = b;
        if constexpr (Nesterov) b = g + m * b;
        p[i] = p[i] + minus_lr * b;
    }
}

// b = momentum b + (1 - dampening) g, at the first step b = g; p -= lr b, with Nesterov's p -= lr (g + momentum b);
// without momentum p -= lr g and b may be null. [Sutskever et al. 2013, as PyTorch states it]
template <class Real>
void sgd(const SgdStep& step, std::int64_t n, Real* p, const Real* gradient, Real* momentum) {
    with_flag(step.weight_decay != 0.0, [&](auto decay) {
        if (step.momentum == 0.0) return sgd_plain<decay.value>(step, n, p, gradient);
        with_flag(step.first, [&](auto first) {
            with_flag(step.nesterov, [&](auto nesterov) {
                sgd_momentum<decay.value, first.value, nesterov.value>(step, n, p, gradient, momentum);
            });
        });
    });
}

template <bool Decay, class Real>
void adagrad_loop(const AdagradStep& step, std::int64_t n, Real* __restrict p, const Real* __restrict gradient,
                  Real* __restrict sum) {
    const GradientOf<Real, Decay> gradient_of(step.gradient, step.weight_decay);
    const Real minus_lr(-step.lr), eps(step.eps);
    for (std::int64_t i = 0; i < n; ++i) {
        const Real g = gradient_of(gradient[i], p[i]);
        const Real s = sum[i] + g * g;
        sum[i] = s;
        p[i] = p[i] + minus_lr * g / (square_root(s) + eps);
    }
}

// s += g^2; p -= lr g / (sqrt(s) + eps). [Duchi et al. 2011]
template <class Real>
void adagrad(const AdagradStep& step, std::int64_t n, Real* p, const Real* gradient, Real* sum) {
    with_flag(step.weight_decay != 0.0, [&](auto decay) { adagrad_loop<decay.value>(step, n, p, gradient, sum); });
}

template <bool Decay, bool Centered, bool Momentum, class Real>
void rmsprop_loop(const RmspropStep& step, std::int64_t n, Real* __restrict p, const Real* __restrict gradient,
                  Real* __restrict square_average, Real* __restrict gradient_average, Real* __restrict momentum) {
    const GradientOf<Real, Decay> gradient_of(step.gradient, step.weight_decay);
    const Real minus_lr(-step.lr), alpha(step.alpha), rest(1.0 - step.alpha), eps(step.eps), m(step.momentum);
    for (std::int64_t i = 0; i < n; ++i) {
        const Real g = gradient_of(gradient[i], p[i]);
        Real v = square_average[i] * alpha + rest * g * g;
        square_average[i] = v;
        if constexpr (Centered) {
            const Real a = gradient_average[i] * alpha + rest * g;
            gradient_average[i] = a;
            v = v - a * a;
        }
        const Real divisor = square_root(v) + eps;
        if constexpr (Momentum) {
            const Real b = momentum[i] * m + g / divisor;
            momentum[i] = b;
            p[i] = p[i] + minus_lr * b;
        } else {
            p[i] = p[i] + minus_lr * g / divisor;
        }
    }
}

// v = alpha v + (1 - alpha) g^2; centered: a = alpha a + (1 - alpha) g and v - a^2 takes the place of v under the root;
// d = g / (sqrt(v) + eps); p -= lr d, with momentum b = momentum b + d; p -= lr b. The gradient average is used only
// when centered, the buffer only with momentum; otherwise they may be null. [Tieleman and Hinton 2012; Graves 2013]
template <class Real>
void rmsprop(const RmspropStep& step, std::int64_t n, Real* p, const Real* gradient, Real* square_average,
             Real* gradient_average, Real* momentum) {
    with_flag(step.weight_decay != 0.0, [&](auto decay) {
        with_flag(step.centered, [&](auto centered) {
            with_flag(step.momentum > 0.0, [&](auto with_momentum) {
                rmsprop_loop<decay.value, centered.value, with_momentum.value>(step, n, p, gradient, square_average,
                                                                               gradient_average, momentum);
            });
        });
    });
}

template <bool Decay, class Real>
void adadelta_loop(const AdadeltaStep& step, std::int64_t n, Real* __restrict p, const Real* __restrict gradient,
                   Real* __restrict square_average, Real* __restrict accumulated_delta) {
    const GradientOf<Real, Decay> gradient_of(step.gradient, step.weight_decay);
    const Real minus_lr(-step.lr), rho(step.rho), rest(1.0 - step.rho), eps(step.eps);
    for (std::int64_t i = 0; i < n; ++i) {
        const Real g = gradient_of(gradient[i], p[i]);
        const Real v = square_average[i] * rho + rest * g * g;
        square_average[i] = v;
        const Real u = accumulated_delta[i];
        const Real d = square_root(u + eps) / square_root(v + eps) * g;
        accumulated_delta[i] = u * rho + rest * d * d;
        p[i] = p[i] + minus_lr * d;
    }
}

// v = rho v + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(v + eps) g; u = rho u + (1 - rho) d^2; p -= lr d. [Zeiler 2012]
template <class Real>
void adadelta(const AdadeltaStep& step, std::int64_t n, Real* p, const Real* gradient, Real* square_average,
              Real* accumulated_delta) {
    with_flag(step.weight_decay != 0.0,
              [&](auto decay) { adadelta_loop<decay.value>(step, n, p, gradient, square_average, accumulated_delta); });
}

template <bool Decay, bool Decoupled, bool Amsgrad, class Real>
void adam_loop(const AdamStep& step, std::int64_t n, Real* __restrict p, const Real* __restrict gradient,
               Real* __restrict average, Real* __restrict square_average, Real* __restrict largest_square_average) {
    const GradientOf<Real, Decay> gradient_of(step.gradient, step.weight_decay);
    const Real beta1(step.beta1), rest1(1.0 - step.beta1), beta2(step.beta2), rest2(1.0 - step.beta2), eps(step.eps);
    const Real minus_step(-(step.lr / step.bias_correction1)), root2(__builtin_sqrt(step.bias_correction2));
    const Real shrink(1.0 - step.lr * step.weight_decay);
    for (std::int64_t i = 0; i < n; ++i) {
        Real q = p[i];
        const Real g = gradient_of(gradient[i], q);
        if constexpr (Decoupled) q = q * shrink;
        const Real a = average[i] * beta1 + rest1 * g;
        Real v = square_average[i] * beta2 + rest2 * g * g;
        average[i] = a;
        square_average[i] = v;
        if constexpr (Amsgrad) {
            const Real largest = largest_square_average[i];
            v = v < largest ? largest : v;
            largest_square_average[i] = v;
        }
        p[i] = q + minus_step * a / (square_root(v) / root2 + eps);
    }
}

// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; with AMSGrad the largest v so far takes its place;
// p -= lr / c1 m / (sqrt(v) / sqrt(c2) + eps), c the bias corrections. Decoupled (AdamW): p is first multiplied by
// 1 - lr w and w stays out of g. The largest v may be null without AMSGrad. [Kingma and Ba 2015; Loshchilov and Hutter
// 2019; Reddi et al. 2018]
template <class Real>
void adam(const AdamStep& step, std::int64_t n, Real* p, const Real* gradient, Real* average, Real* square_average,
          Real* largest_square_average) {
    with_flag(step.weight_decay != 0.0 && !step.decoupled, [&](auto decay) {
        with_flag(step.decoupled, [&](auto decoupled) {
            with_flag(step.amsgrad, [&](auto amsgrad) {
                adam_loop<decay.value, decoupled.value, amsgrad.value>(step, n, p, gradient, average, square_average,
                                                                       largest_square_average);
            });
        });
    });
}

template <bool Decay, class Real>
void nadam_loop(const NadamStep& step, std::int64_t n, Real* __restrict p, const Real* __restrict gradient,
                Real* __restrict average, Real* __restrict square_average) {
    const GradientOf<Real, Decay> gradient_of(step.gradient, step.weight_decay);
    const Real beta1(step.beta1), rest1(1.0 - step.beta1), beta2(step.beta2), rest2(1.0 - step.beta2), eps(step.eps);
    const Real of_gradient(-(step.lr * step.gradient_share)), of_average(-(step.lr * step.average_share));
    const Real correction(step.bias_correction2);
    for (std::int64_t i = 0; i < n; ++i) {
        const Real g = gradient_of(gradient[i], p[i]);
        const Real a = average[i] * beta1 + rest1 * g;
        const Real v = square_average[i] * beta2 + rest2 * g * g;
        average[i] = a;
        square_average[i] = v;
        p[i] = p[i] + (of_gradient * g + of_average * a) / (square_root(v / correction) + eps);
    }
}

// m and v as Adam's; p -= lr (s g + t m) / (sqrt(v / c2) + eps), s and t the shares that the momentum schedule gives to
// gradient and average. [Dozat 2016, as PyTorch states it]
template <class Real>
void nadam(const NadamStep& step, std::int64_t n, Real* p, const Real* gradient, Real* average, Real* square_average) {
    with_flag(step.weight_decay != 0.0,
              [&](auto decay) { nadam_loop<decay.value>(step, n, p, gradient, average, square_average); });
}

// a = decay a + (1 - decay) p
template <class Real>
void ema(double decay, std::int64_t n, Real* __restrict average, const Real* __restrict p) {
    const Real keep(decay), rest(1.0 - decay);
    for (std::int64_t i = 0; i < n; ++i) average[i] = average[i] * keep + rest * p[i];
}

}  // namespace unroll::detail::UNROLL_OPTIMIZER_NAMESPACE

#undef UNROLL_OPTIMIZER_NAMESPACE
