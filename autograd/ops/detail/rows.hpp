// Sums and exponentials over contiguous elements, and scratch memory: what reductions, normalisations and losses share.
// Float goes to the kernels of the processor; double and Dual to plain loops, summed in a fixed order.
#pragma once

#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/pool.hpp>
#include <unroll/autograd/shape.hpp>

#include <cmath>

namespace unroll::detail {

/// Memory from the pool for the time of a call; elements not set.
template <class Real>
class Scratch {
public:
    explicit Scratch(Index size)
        : data_(static_cast<Real*>(pool_allocate(static_cast<std::size_t>(size) * sizeof(Real)))) {}
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { pool_free(data_); }
    Real* data() const noexcept { return data_; }
    Real& operator[](Index i) const noexcept { return data_[i]; }

private:
    Real* data_;
};

/// What sums of float are added up in where they run over many elements one by one.
template <class Real>
struct SumOf {
    using type = Real;
};
template <>
struct SumOf<float> {
    using type = double;
};

/// Σ f(i) over 0 ≤ i < n in four partial sums, so that no addition waits for the one before it.
template <class Real, class F>
Real sum_of(Index n, F f) {
    Real sum[4] = {Real(0), Real(0), Real(0), Real(0)};
    Index i = 0;
    for (; i + 4 <= n; i += 4)
        for (Index u = 0; u < 4; ++u) sum[u] += f(i + u);
    for (; i < n; ++i) sum[0] += f(i);
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

template <class Real>
Real row_sum(const Real* x, Index n) {
    if constexpr (std::is_same_v<Real, float>) {
        if (n >= 16) return kernels().sum(x, n);
    }
    return sum_of<Real>(n, [x](Index i) { return x[i]; });
}

template <class Real>
Real row_dot(const Real* x, const Real* y, Index n) {
    if constexpr (std::is_same_v<Real, float>) {
        if (n >= 16) return kernels().dot(x, y, n);
    }
    return sum_of<Real>(n, [x, y](Index i) { return x[i] * y[i]; });
}

/// x[i] = exp(x[i])
template <class Real>
void exp_in_place(Real* x, Index n) {
    if constexpr (std::is_same_v<Real, float>) {
        kernels().exp(x, x, n);
    } else {
        using std::exp;
        for (Index i = 0; i < n; ++i) x[i] = exp(x[i]);
    }
}

/// The larger of a running maximum and x; NaN once either was NaN.
template <class Real>
Real larger(const Real& best, const Real& x) {
    return x > best || x != x ? x : best;
}

/// A row's largest element m, and Σ e^(x − m) over all elements but one that is m: its 1 would drown the others, and the
/// logarithm of the whole sum is log1p(others). NaN if the row is −∞ alone, or holds NaN or +∞.
template <class Real>
struct RowSum {
    Real most, others;
};

/// For n ≥ 1. The terms go to put(i, e^(x[i] − m)).
template <class Real, class Put>
RowSum<Real> sum_exp(const Real* x, Index n, Put put) {
    using std::exp;
    RowSum<Real> sum{x[0], Real(0)};
    for (Index i = 1; i < n; ++i) sum.most = larger(sum.most, x[i]);
    bool left_out = false;
    for (Index i = 0; i < n; ++i) {
        const Real below = x[i] - sum.most, e = exp(below);
        put(i, e);
        if (!left_out && below == 0)
            left_out = true;
        else
            sum.others += e;
    }
    return sum;
}

}  // namespace unroll::detail
