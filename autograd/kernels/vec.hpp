// One small vocabulary of vector operations for three instruction sets, so that each kernel's mathematics is written
// once: F is a vector of kLanes floats, I one of as many 32-bit integers, M a mask of lanes. It is included by the
// kernel sources alone, once for each instruction set; nothing here is a kernel.
//
// Everything is static and always inlined: a kernel object must not export a symbol that another object, compiled for
// a lesser processor, could be linked to. For the same reason no standard header with functions is included.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(UNROLL_ISA_NAMESPACE)
#error "included from a file that does not say which instruction set it is compiled for"
#endif

#if defined(UNROLL_ISA_AVX512) || defined(UNROLL_ISA_AVX2)
#include <immintrin.h>
#endif

#define UNROLL_INLINE static inline __attribute__((always_inline))
#define UNROLL_INLINE_LAMBDA __attribute__((always_inline))

namespace unroll::detail::UNROLL_ISA_NAMESPACE {

#if defined(UNROLL_ISA_AVX512)

inline constexpr int kLanes = 16;
using F = __m512;
using M = __mmask16;
#elif defined(UNROLL_ISA_AVX2)
inline constexpr int kLanes = 8;
using F = __m256;
using M = __m256;
#else
inline constexpr int kLanes = 4;
typedef float F __attribute__((vector_size(16)));
#endif
typedef std::int32_t I __attribute__((vector_size(4 * kLanes)));
#if !defined(UNROLL_ISA_AVX512) && !defined(UNROLL_ISA_AVX2)
using M = I;
#endif

// Sums and differences of integers wrap around.
typedef std::uint32_t U __attribute__((vector_size(4 * kLanes)));
UNROLL_INLINE I plus(I a, I b) { return (I)((U)a + (U)b); }
UNROLL_INLINE I minus(I a, I b) { return (I)((U)a - (U)b); }

UNROLL_INLINE I bits_of(F x) { return (I)x; }
UNROLL_INLINE F float_of(I x) { return (F)x; }
UNROLL_INLINE F to_float(I x) { return __builtin_convertvector(x, F); }

#if defined(UNROLL_ISA_AVX512)

UNROLL_INLINE F set(float x) { return _mm512_set1_ps(x); }
UNROLL_INLINE I set_int(std::int32_t x) { return (I)_mm512_set1_epi32(x); }
UNROLL_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
UNROLL_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x); }
// The first n lanes, 0 < n < kLanes; the others read as zero and are not written.
UNROLL_INLINE F load_first(const float* p, int n) { return _mm512_maskz_loadu_ps(static_cast<M>((1u << n) - 1), p); }
UNROLL_INLINE void store_first(float* p, F x, int n) { _mm512_mask_storeu_ps(p, static_cast<M>((1u << n) - 1), x); }

// a * b + c, rounded once where the processor can.
UNROLL_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
// c - a * b
UNROLL_INLINE F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
UNROLL_INLINE F sqrt(F x) { return _mm512_sqrt_ps(x); }
// These two return x when it is NaN.
UNROLL_INLINE F at_least(F bound, F x) { return _mm512_max_ps(bound, x); }
UNROLL_INLINE F at_most(F bound, F x) { return _mm512_min_ps(bound, x); }

UNROLL_INLINE M less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
UNROLL_INLINE M less_equal(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
UNROLL_INLINE M equal(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
UNROLL_INLINE M not_equal(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
UNROLL_INLINE M both(M a, M b) { return static_cast<M>(a & b); }
UNROLL_INLINE M either(M a, M b) { return static_cast<M>(a | b); }
UNROLL_INLINE bool any(M m) { return m != 0; }
UNROLL_INLINE bool lane(M m, int i) { return (m >> i) & 1; }
UNROLL_INLINE F select(M m, F yes, F no) { return _mm512_mask_blend_ps(m, no, yes); }
UNROLL_INLINE I larger(I a, I b) { return (I)_mm512_max_epi32((__m512i)a, (__m512i)b); }
UNROLL_INLINE I shift_right(I x, int n) { return (I)_mm512_srai_epi32((__m512i)x, static_cast<unsigned>(n)); }
UNROLL_INLINE I shift_left(I x, int n) { return (I)_mm512_slli_epi32((__m512i)x, static_cast<unsigned>(n)); }

#elif defined(UNROLL_ISA_AVX2)

alignas(64) static const std::int32_t kFirstLanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
UNROLL_INLINE __m256i first_lanes(int n) { return _mm256_loadu_si256((const __m256i*)(kFirstLanes + 8 - n)); }

UNROLL_INLINE F set(float x) { return _mm256_set1_ps(x); }
UNROLL_INLINE I set_int(std::int32_t x) { return (I)_mm256_set1_epi32(x); }
UNROLL_INLINE F load(const float* p) { return _mm256_loadu_ps(p); }
UNROLL_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x); }
UNROLL_INLINE F load_first(const float* p, int n) { return _mm256_maskload_ps(p, first_lanes(n)); }
UNROLL_INLINE void store_first(float* p, F x, int n) { _mm256_maskstore_ps(p, first_lanes(n), x); }

UNROLL_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
UNROLL_INLINE F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
UNROLL_INLINE F sqrt(F x) { return _mm256_sqrt_ps(x); }
UNROLL_INLINE F at_least(F bound, F x) { return _mm256_max_ps(bound, x); }
UNROLL_INLINE F at_most(F bound, F x) { return _mm256_min_ps(bound, x); }

UNROLL_INLINE M less(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
UNROLL_INLINE M less_equal(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
UNROLL_INLINE M equal(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
UNROLL_INLINE M not_equal(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ); }
UNROLL_INLINE M both(M a, M b) { return _mm256_and_ps(a, b); }
UNROLL_INLINE M either(M a, M b) { return _mm256_or_ps(a, b); }
UNROLL_INLINE bool any(M m) { return _mm256_movemask_ps(m) != 0; }
UNROLL_INLINE bool lane(M m, int i) { return (_mm256_movemask_ps(m) >> i) & 1; }
UNROLL_INLINE F select(M m, F yes, F no) { return _mm256_blendv_ps(no, yes, m); }
UNROLL_INLINE I larger(I a, I b) { return (I)_mm256_max_epi32((__m256i)a, (__m256i)b); }
UNROLL_INLINE I shift_right(I x, int n) { return (I)_mm256_srai_epi32((__m256i)x, n); }
UNROLL_INLINE I shift_left(I x, int n) { return (I)_mm256_slli_epi32((__m256i)x, n); }

#else

UNROLL_INLINE F set(float x) { return F{x, x, x, x}; }
UNROLL_INLINE I set_int(std::int32_t x) { return I{x, x, x, x}; }
UNROLL_INLINE F load(const float* p) {
    F x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
}
UNROLL_INLINE void store(float* p, F x) { __builtin_memcpy(p, &x, sizeof x); }
UNROLL_INLINE F load_first(const float* p, int n) { return F{p[0], n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, 0.0f}; }
UNROLL_INLINE void store_first(float* p, F x, int n) {
    p[0] = x[0];
    if (n > 1) p[1] = x[1];
    if (n > 2) p[2] = x[2];
}

UNROLL_INLINE F fma(F a, F b, F c) { return a * b + c; }
UNROLL_INLINE F fnma(F a, F b, F c) { return c - a * b; }
UNROLL_INLINE F sqrt(F x) {
    return F{__builtin_sqrtf(x[0]), __builtin_sqrtf(x[1]), __builtin_sqrtf(x[2]), __builtin_sqrtf(x[3])};
}

UNROLL_INLINE M less(F a, F b) { return a < b; }
UNROLL_INLINE M less_equal(F a, F b) { return a <= b; }
UNROLL_INLINE M equal(F a, F b) { return a == b; }
UNROLL_INLINE M not_equal(F a, F b) { return a != b; }
UNROLL_INLINE M both(M a, M b) { return a & b; }
UNROLL_INLINE M either(M a, M b) { return a | b; }
UNROLL_INLINE bool any(M m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
UNROLL_INLINE bool lane(M m, int i) { return m[i] != 0; }
UNROLL_INLINE F select(M m, F yes, F no) { return (F)((m & (I)yes) | (~m & (I)no)); }
UNROLL_INLINE I larger(I a, I b) {
    const I m = a > b;
    return (m & a) | (~m & b);
}
UNROLL_INLINE I shift_right(I x, int n) { return x >> n; }
UNROLL_INLINE I shift_left(I x, int n) { return (I)((U)x << n); }
UNROLL_INLINE F at_least(F bound, F x) { return select(x < bound, bound, x); }
UNROLL_INLINE F at_most(F bound, F x) { return select(x > bound, bound, x); }

#endif

// a + b where the mask is set, a elsewhere
UNROLL_INLINE F add_where(M m, F a, F b) {
#if defined(UNROLL_ISA_AVX512)
    return _mm512_mask_add_ps(a, m, a, b);
#elif defined(UNROLL_ISA_AVX2)
    return a + _mm256_and_ps(m, b);
#else
    return a + (F)(m & (I)b);
#endif
}

// The first n lanes of x, the others of `rest`; 0 < n < kLanes.
UNROLL_INLINE F keep_first(F x, int n, F rest) {
#if defined(UNROLL_ISA_AVX512)
    return select(static_cast<M>((1u << n) - 1), x, rest);
#elif defined(UNROLL_ISA_AVX2)
    return select(_mm256_castsi256_ps(first_lanes(n)), x, rest);
#else
    return select(I{0, 1, 2, 3} < set_int(n), x, rest);
#endif
}
// The same as load_first for n ≤ 4, by a load that seldom reaches into another cache line.
UNROLL_INLINE F load_few(const float* p, int n) {
#if defined(UNROLL_ISA_AVX512)
    return _mm512_zextps128_ps512(_mm_maskz_loadu_ps(static_cast<__mmask8>((1u << n) - 1), p));
#elif defined(UNROLL_ISA_AVX2)
    return _mm256_zextps128_ps256(_mm_maskload_ps(p, _mm256_castsi256_si128(first_lanes(n))));
#else
    return load_first(p, n);
#endif
}

// How a loop over an array touches memory: whole vectors, and at its end the first n lanes of one.
struct WholeVector {
    __attribute__((always_inline)) F get(const float* p) const { return load(p); }
    __attribute__((always_inline)) F get_or(const float* p, F) const { return load(p); }
    __attribute__((always_inline)) F only(F x) const { return x; }
    __attribute__((always_inline)) void put(float* p, F x) const { store(p, x); }
};
struct FirstLanes {
    int n;
    __attribute__((always_inline)) F get(const float* p) const { return load_first(p, n); }
    // `other` in the lanes that are not read
    __attribute__((always_inline)) F get_or(const float* p, F other) const {
        return keep_first(load_first(p, n), n, other);
    }
    // 0 in those
    __attribute__((always_inline)) F only(F x) const { return keep_first(x, n, set(0.0f)); }
    __attribute__((always_inline)) void put(float* p, F x) const { store_first(p, x, n); }
};

UNROLL_INLINE F absolute(F x) { return float_of(bits_of(x) & set_int(0x7fffffff)); }
UNROLL_INLINE I sign_bit(F x) { return bits_of(x) & set_int(INT32_MIN); }
// x with the sign bit flipped where `sign` has it set
UNROLL_INLINE F flip(F x, I sign) { return float_of(bits_of(x) ^ sign); }
UNROLL_INLINE F truth(M m) { return select(m, set(1.0f), set(0.0f)); }
// The larger and the smaller; NaN if either is.
UNROLL_INLINE F maximum(F a, F b) { return select(either(less(b, a), not_equal(a, a)), a, b); }
UNROLL_INLINE F minimum(F a, F b) { return select(either(less(a, b), not_equal(a, a)), a, b); }

// Sum of all lanes in a fixed order: halves are folded onto each other.
UNROLL_INLINE float sum_lanes(F x) {
#if defined(UNROLL_ISA_AVX512)
    return _mm512_reduce_add_ps(x);
#elif defined(UNROLL_ISA_AVX2)
    const __m128 four = _mm256_castps256_ps128(x) + _mm256_extractf128_ps(x, 1);
    return (four[0] + four[2]) + (four[1] + four[3]);
#else
    return (x[0] + x[2]) + (x[1] + x[3]);
#endif
}
// Largest lane of a vector without NaN.
UNROLL_INLINE float maximum_lanes(F x) {
#if defined(UNROLL_ISA_AVX512)
    return _mm512_reduce_max_ps(x);
#elif defined(UNROLL_ISA_AVX2)
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return two[0] > two[1] ? two[0] : two[1];
#else
    const float a = x[0] > x[2] ? x[0] : x[2], b = x[1] > x[3] ? x[1] : x[3];
    return a > b ? a : b;
#endif
}

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
