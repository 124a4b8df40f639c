// Sums, norms and searches over contiguous floats, and the simplest updates of them.
// Sums run over blocks of fixed size, each in vectors, the blocks in double: accurate for millions of elements, and the
// order depends on the length alone.
#pragma once

#include <unroll/autograd/kernels/vec.hpp>

namespace unroll::detail::UNROLL_ISA_NAMESPACE {

inline constexpr std::int64_t kSumBlock = 1024;

// The sum of f(i, lanes) over one block of at most kSumBlock elements, a vector for each i in steps of kLanes.
template <class Function>
UNROLL_INLINE float sum_block(std::int64_t n, Function f) {
    F sum[4] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
    std::int64_t i = 0;
    for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
        for (int u = 0; u < 4; ++u) sum[u] = sum[u] + f(i + u * kLanes, WholeVector{});
    }
    for (; i + kLanes <= n; i += kLanes) sum[0] = sum[0] + f(i, WholeVector{});
    if (i < n) sum[1] = sum[1] + f(i, FirstLanes{static_cast<int>(n - i)});
    return sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

template <class Function>
UNROLL_INLINE float sum_over(std::int64_t n, Function f) {
    double total = 0.0;
    for (std::int64_t begin = 0; begin < n; begin += kSumBlock) {
        const std::int64_t size = n - begin < kSumBlock ? n - begin : kSumBlock;
        total += static_cast<double>(
            sum_block(size, [&](std::int64_t i, auto lanes) UNROLL_INLINE_LAMBDA { return f(begin + i, lanes); }));
    }
    return static_cast<float>(total);
}

static float sum(const float* x, std::int64_t n) {
    return sum_over(n, [x](std::int64_t i, auto lanes) UNROLL_INLINE_LAMBDA { return lanes.get(x + i); });
}

static float dot(const float* x, const float* y, std::int64_t n) {
    return sum_over(n, [x, y](std::int64_t i, auto lanes)
                           UNROLL_INLINE_LAMBDA { return lanes.get(x + i) * lanes.get(y + i); });
}

// Squares are formed in double: neither large nor tiny gradients leave the range.
static double sum_of_squares(const float* x, std::int64_t n) {
    typedef double D __attribute__((vector_size(4 * kLanes)));
    typedef float Half __attribute__((vector_size(2 * kLanes)));
    constexpr int kHalf = kLanes / 2;
    D sum[4] = {};
    std::int64_t i = 0;
    for (; i + 4 * kHalf <= n; i += 4 * kHalf) {
        for (int u = 0; u < 4; ++u) {
            Half h;
            __builtin_memcpy(&h, x + i + u * kHalf, sizeof h);
            const D d = __builtin_convertvector(h, D);
            sum[u] += d * d;
        }
    }
    const D all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    double total = 0.0;
    for (int u = 0; u < kHalf; ++u) total += all[u];
    for (; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return total;
}

// Without their sign, floats order like integers, with NaN above infinity.
static float max_abs(const float* x, std::int64_t n) {
    const I mask = set_int(0x7fffffff);
    I best = set_int(0);
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) best = larger(best, bits_of(load(x + i)) & mask);
    if (i < n) best = larger(best, bits_of(load_first(x + i, static_cast<int>(n - i))) & mask);
    std::int32_t largest = 0;
    for (int u = 0; u < kLanes; ++u) largest = best[u] > largest ? best[u] : largest;
    return __builtin_bit_cast(float, largest);
}

static std::int64_t first_nonfinite(const float* x, std::int64_t n) {
    for (std::int64_t begin = 0; begin < n; begin += kSumBlock) {
        const std::int64_t size = n - begin < kSumBlock ? n - begin : kSumBlock;
        const float largest = max_abs(x + begin, size);
        if (largest < __builtin_inff()) continue;
        for (std::int64_t i = begin; i < begin + size; ++i) {
            if (!(x[i] - x[i] == 0.0f)) return i;
        }
    }
    return -1;
}

static void scale(float a, float* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) x[i] *= a;
}

static void add(const float* __restrict x, float* __restrict y, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) y[i] += x[i];
}

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
