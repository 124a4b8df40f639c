// Elementary functions of float vectors. Every function states its largest error in ULP (units in the last place of the
// exact result, measured over every float by tests/kernels/accuracy_test.cpp with UNROLL_TEST_SIZE=long), its range,
// and what it gives for special values. None of them depends on the position of an element in its vector.
//
// Reductions: exp splits x = n ln 2 + r with |r| <= ln(2)/2 and takes a minimax polynomial of r; log splits x = 2^k m
// with m in [sqrt(1/2), sqrt(2)) and takes one of m - 1. Coefficients are weighted minimax fits of relative error,
// rounded one after the other with the rest fitted again.
#pragma once

#include <unroll/autograd/kernels/vec.hpp>
#if defined(UNROLL_ISA_AVX512)
#include <unroll/autograd/kernels/tanh_table.hpp>
#endif

namespace unroll::detail::UNROLL_ISA_NAMESPACE {

inline constexpr float kInfinity = __builtin_inff();
// Adding and subtracting it rounds |x| < 2^22 to the nearest integer.
inline constexpr float kRounding = 0x1.8p23f;
inline constexpr float kNan = __builtin_nanf("");

// ln 2 = kLn2High + kLn2Low; the first has 9 bits, so that its product with an exponent is exact without fma too.
inline constexpr float kLn2High = 0x1.63p-1f;
inline constexpr float kLn2Low = -0x1.bd0106p-13f;

// numerator / denominator for a denominator in [1, 2^60) and |numerator| <= 2^60; at most 1 ULP.
UNROLL_INLINE F quotient(F numerator, F denominator) {
#if defined(UNROLL_ISA_AVX512)
    // A reciprocal of 14 bits and one Newton step cost a quarter of the processor's division of 16 lanes.
    F r = _mm512_rcp14_ps(denominator);
    r = fma(r, fnma(denominator, r, set(1.0f)), r);
    return numerator * r;
#else
    return numerator / denominator;
#endif
}

// p * 2^n for p in [0.5, 2], integral n in [-252, 254]; rounds once, so subnormal results are right.
UNROLL_INLINE F scale(F p, F n) {
#if defined(UNROLL_ISA_AVX512)
    return _mm512_scalef_ps(p, n);
#else
    // As an integer by way of the last bits of a large float: NaN has no value to convert.
    const F magic = set(kRounding);
    const I k = minus(bits_of(n + magic), bits_of(magic));
    const I half = shift_right(k, 1);
    const F first = float_of(shift_left(plus(half, set_int(127)), 23));
    const F second = float_of(shift_left(plus(minus(k, half), set_int(127)), 23));
    return p * first * second;
#endif
}

// x = n ln 2 + r, for |x| <= 105.
struct Reduced {
    F n, r;
};
UNROLL_INLINE Reduced reduce(F x) {
    const F magic = set(kRounding);
    const F n = fma(x, set(0x1.715476p+0f), magic) - magic;
    return {n, fnma(n, set(kLn2Low), fnma(n, set(kLn2High), x))};
}

// e^r for |r| <= 0.35.
UNROLL_INLINE F exp_polynomial(F r) {
    F p = fma(r, set(0x1.6a4d6p-10f), set(0x1.12398ep-7f));
    p = fma(p, r, set(0x1.5558bp-5f));
    p = fma(p, r, set(0x1.555492p-3f));
    p = fma(p, r, set(0x1.fffffcp-2f));
    p = fma(p, r, set(1.0f));
    return fma(p, r, set(1.0f));
}

// e^x without the check of range: x in [-105, 89]; NaN gives NaN.
UNROLL_INLINE F exp_in_range(F x) {
    const Reduced s = reduce(x);
    return scale(exp_polynomial(s.r), s.n);
}

// e^x. At most 2 ULP over all floats, subnormal results included; inf from 88.7228, 0 below -103.98; exp(inf) = inf,
// exp(-inf) = 0, exp(NaN) = NaN.
UNROLL_INLINE F exp(F x) { return exp_in_range(at_most(set(89.0f), at_least(set(-105.0f), x))); }

// e^r - 1 for |r| <= 0.35, to 0.6 ULP.
UNROLL_INLINE F expm1_polynomial(F r) {
    F p = fma(r, set(0x1.9e7388p-13f), set(0x1.6d3a4ap-10f));
    p = fma(p, r, set(0x1.1112d8p-7f));
    p = fma(p, r, set(0x1.5554f8p-5f));
    p = fma(p, r, set(0x1.555554p-3f));
    p = fma(p, r, set(0.5f));
    return fma(p, r * r, r);
}

// e^x - 1. At most 2 ULP over all floats; expm1(-0) = -0, expm1(inf) = inf, expm1(-inf) = -1, expm1(NaN) = NaN.
UNROLL_INLINE F expm1(F x) {
    const Reduced s = reduce(at_most(set(89.0f), at_least(set(-30.0f), x)));
    // 2^n (e^r - 1) + (2^n - 1), at half its size because 2^128 is not a float.
    const F half = scale(set(0.5f), s.n);
    const F y = fma(half, expm1_polynomial(s.r), half - set(0.5f));
    return select(equal(x, set(0.0f)), x, y + y);
}

// log(2^k (1 + f)), f in [sqrt(1/2) - 1, sqrt(2) - 1).
UNROLL_INLINE F log_reduced(F f, F k) {
    F p = fma(f, set(0x1.147c5ep-4f), set(-0x1.de0e2p-4f));
    p = fma(p, f, set(0x1.e6c2ap-4f));
    p = fma(p, f, set(-0x1.fc2744p-4f));
    p = fma(p, f, set(0x1.233b68p-3f));
    p = fma(p, f, set(-0x1.555c4ap-3f));
    p = fma(p, f, set(0x1.99a478p-3f));
    p = fma(p, f, set(-0x1.000006p-2f));
    p = fma(p, f, set(0x1.555548p-2f));
    const F f2 = f * f;
    const F tail = fma(f2, set(-0.5f), fma(k, set(kLn2Low), p * f2 * f));
    return fma(k, set(kLn2High), f + tail);
}

UNROLL_INLINE I binary_exponent(F x) { return shift_right(minus(bits_of(x), set_int(0x3f3504f3)), 23); }

// Natural logarithm. At most 2 ULP over all floats, subnormal arguments included; log(0) = -inf, log(inf) = inf, NaN
// for negative numbers and NaN.
UNROLL_INLINE F log(F x) {
    const M subnormal = less(x, set(0x1p-126f));
    const F normal = select(subnormal, x * set(0x1p23f), x);
    const I k = binary_exponent(normal);
    const F f = float_of(minus(bits_of(normal), shift_left(k, 23))) - set(1.0f);
    F y = log_reduced(f, to_float(k) - select(subnormal, set(23.0f), set(0.0f)));
    y = select(equal(x, set(kInfinity)), x, y);
    y = select(equal(x, set(0.0f)), set(-kInfinity), y);
    return select(less_equal(set(0.0f), x), y, set(kNan));
}

// log(1 + x). At most 2 ULP over all floats; log1p(-0) = -0, log1p(-1) = -inf, log1p(inf) = inf, NaN below -1 and for
// NaN.
UNROLL_INLINE F log1p(F x) {
    const F one = set(1.0f);
    const F u = one + x;
    // What the sum lost; the larger addend comes first.
    const F lost = select(less(absolute(x), one), x - (u - one), one - (u - x));
    const I k = binary_exponent(u);
    const F m = float_of(minus(bits_of(u), shift_left(k, 23)));
    const F exponent = to_float(k);
    F y = log_reduced(m - one + scale(lost, -exponent), exponent);
    y = select(either(equal(x, set(kInfinity)), equal(x, set(0.0f))), x, y);
    y = select(equal(x, set(-1.0f)), set(-kInfinity), y);
    return select(less_equal(set(-1.0f), x), y, set(kNan));
}

#if defined(UNROLL_ISA_AVX512)
// The entry of a table of 32 that the five lowest bits of each index select.
UNROLL_INLINE F look_up(const float* table, I index) {
    return _mm512_permutex2var_ps(load(table), (__m512i)index, load(table + 16));
}
#endif

// tanh(x) = (e^2x - 1) / (e^2x + 1). At most 3 ULP over all floats, on AVX-512 1 ULP; tanh(-x) = -tanh(x),
// tanh(-0) = -0, tanh(inf) = 1, tanh(NaN) = NaN.
UNROLL_INLINE F tanh(F x) {
    const F a = absolute(x);
#if defined(UNROLL_ISA_AVX512)
    // A third of the formula's time: polynomials of degree 5 on 32 intervals, without exponential and division.
    const F t = at_most(set(15.0f), a);
    const I interval = shift_right(bits_of(at_least(set(0.0625f), t)), 21);
    const F u = t - look_up(kTanhCentre, interval);
    F p = fma(u, look_up(kTanh5, interval), look_up(kTanh4, interval));
    p = fma(p, u, look_up(kTanh3, interval));
    p = fma(p, u, look_up(kTanh2, interval));
    p = fma(p, u, look_up(kTanh1, interval));
    return flip(fma(p, u, look_up(kTanhValue, interval)), sign_bit(x));
#else
    const F y = at_most(set(10.0f), a);
    const Reduced s = reduce(y + y);
    const F power = scale(set(1.0f), s.n);
    const F e = fma(power, expm1_polynomial(s.r), power - set(1.0f));
    return flip(quotient(e, e + set(2.0f)), sign_bit(x));
#endif
}

// 1 / (1 + e^-x). At most 3 ULP over all floats, subnormal results included: only e^-|x| is formed. sigmoid(inf) = 1,
// sigmoid(-inf) = 0, sigmoid(NaN) = NaN.
UNROLL_INLINE F sigmoid(F x) {
    const F e = exp_in_range(at_least(set(-105.0f), float_of(bits_of(x) | set_int(INT32_MIN))));
    const F positive = quotient(set(1.0f), set(1.0f) + e);
    return select(less(x, set(0.0f)), e * positive, positive);
}

// log(1 + e^x). At most 3 ULP over all floats; softplus(-inf) = 0, softplus(inf) = inf, softplus(NaN) = NaN.
UNROLL_INLINE F softplus(F x) {
    const F e = exp_in_range(at_least(set(-105.0f), float_of(bits_of(x) | set_int(INT32_MIN))));
    return maximum(x, set(0.0f)) + log1p(e);
}

// Error function. At most 2 ULP over all floats; erf(-0) = -0, erf(inf) = 1, erf(NaN) = NaN.
UNROLL_INLINE F erf(F x) {
    const F t = absolute(x);
    // erf(x) = x + x Q(x^2) near 0.
    const F s = t * t;
    F q = fma(s, set(0x1.4d2864p-14f), set(-0x1.a583bcp-11f));
    q = fma(q, s, set(0x1.543f2ap-8f));
    q = fma(q, s, set(-0x1.b80062p-6f));
    q = fma(q, s, set(0x1.ce2d6p-4f));
    q = fma(q, s, set(-0x1.81274p-2f));
    q = fma(q, s, set(0x1.06eba8p-3f));
    const F small = fma(q, t, t);
    // 1 - erfc(t) = 1 - e^(-t G(t)) further out; 1 from 4 on.
    const F u = at_most(set(4.0f), t);
    F g = fma(u, set(-0x1.60cdfcp-19f), set(0x1.5ac65ap-15f));
    g = fma(g, u, set(-0x1.11a2f2p-12f));
    g = fma(g, u, set(0x1.5af696p-11f));
    g = fma(g, u, set(0x1.87f34ap-10f));
    g = fma(g, u, set(-0x1.55d18p-6f));
    g = fma(g, u, set(0x1.a96e64p-4f));
    g = fma(g, u, set(0x1.45bfcp-1f));
    g = fma(g, u, set(0x1.20e174p+0f));
    const F large = set(1.0f) - exp_in_range(-(g * u));
    return flip(select(less(t, set(0.875f)), small, large), sign_bit(x));
}

// 0 where x <= 0, otherwise x; NaN gives NaN.
UNROLL_INLINE F relu(F x) { return select(less_equal(x, set(0.0f)), set(0.0f), x); }

// The rare ones go through the C library lane by lane; its error is below 1 ULP.
UNROLL_INLINE F sin(F x) {
    float v[kLanes];
    store(v, x);
    for (float& e : v) e = __builtin_sinf(e);
    return load(v);
}
UNROLL_INLINE F cos(F x) {
    float v[kLanes];
    store(v, x);
    for (float& e : v) e = __builtin_cosf(e);
    return load(v);
}
UNROLL_INLINE F pow(F x, F y) {
    float v[kLanes], w[kLanes];
    store(v, x);
    store(w, y);
    for (int i = 0; i < kLanes; ++i) v[i] = __builtin_powf(v[i], w[i]);
    return load(v);
}

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
