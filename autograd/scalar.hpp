// The elementwise functions that <cmath> lacks, for float and double, in the form every `Real` shares.
//
// Generic code writes `using namespace unroll::scalar; using std::exp; … sigmoid(exp(x))`: float and double are found
// here and in <cmath>, Dual by argument-dependent lookup (dual.hpp). Not here: arrays, vector kernels, derivatives.
#pragma once

#include <cmath>
#include <concepts>

namespace unroll::scalar {

/// Larger of two; NaN if either is NaN (unlike std::fmax).
template <std::floating_point Real>
inline Real maximum(Real a, Real b) {
    return a > b || a != a ? a : b;
}

/// Smaller of two; NaN if either is NaN (unlike std::fmin).
template <std::floating_point Real>
inline Real minimum(Real a, Real b) {
    return a < b || a != a ? a : b;
}

/// -1, 0 or 1; NaN stays NaN (NumPy; PyTorch gives 0 there).
template <std::floating_point Real>
inline Real sign(Real x) {
    return x != x ? x : static_cast<Real>((x > 0) - (x < 0));
}

/// max(x, 0); NaN stays NaN.
template <std::floating_point Real>
inline Real relu(Real x) {
    return x <= 0 ? Real(0) : x;
}

template <std::floating_point Real>
inline Real square(Real x) {
    return x * x;
}

template <std::floating_point Real>
inline Real reciprocal(Real x) {
    return Real(1) / x;
}

template <std::floating_point Real>
inline Real rsqrt(Real x) {
    return Real(1) / std::sqrt(x);
}

/// 1/(1 + e^-x). Both tails keep their relative accuracy: the exponential is only taken of -|x|.
template <std::floating_point Real>
inline Real sigmoid(Real x) {
    const Real e = std::exp(-std::fabs(x));
    return (x < 0 ? e : Real(1)) / (Real(1) + e);
}

/// log(1 + e^x), without overflow for large x and with full relative accuracy for very negative x.
template <std::floating_point Real>
inline Real softplus(Real x) {
    return relu(x) + std::log1p(std::exp(-std::fabs(x)));
}

/// The number itself, for code that also meets Dual.
template <std::floating_point Real>
inline Real value_of(Real x) {
    return x;
}

/// Zero: a plain number does not vary.
template <std::floating_point Real>
inline Real derivative_of(Real) {
    return Real(0);
}

}  // namespace unroll::scalar
