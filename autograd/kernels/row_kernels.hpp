// Softmax and its relatives over the rows of a matrix. The largest entry is subtracted before the exponential, and sums
// of exponentials run over blocks of fixed size, the blocks in double.
#pragma once

#include <unroll/autograd/kernels/reduction_kernels.hpp>
#include <unroll/autograd/kernels/vec_math.hpp>

namespace unroll::detail::UNROLL_ISA_NAMESPACE {

// Largest entry; a NaN may be passed over, since it turns the sum of exponentials into NaN anyway.
UNROLL_INLINE float row_maximum(const float* x, std::int64_t n) {
    F best = set(x[0]);
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) best = at_least(best, load(x + i));
    if (i < n) {
        const int rest = static_cast<int>(n - i);
        best = at_least(best, keep_first(load_first(x + i, rest), rest, best));
    }
    return maximum_lanes(best);
}

// Sum of e^(x - largest); with Keep the terms are also stored to y.
template <bool Keep>
UNROLL_INLINE float sum_exp(const float* x, std::int64_t n, float largest, float* y) {
    const F shift = set(largest);
    double total = 0.0;
    for (std::int64_t begin = 0; begin < n; begin += kSumBlock) {
        const std::int64_t end = n - begin < kSumBlock ? n : begin + kSumBlock;
        F sum = set(0.0f);
        std::int64_t i = begin;
        for (; i + kLanes <= end; i += kLanes) {
            const F e = exp(load(x + i) - shift);
            if constexpr (Keep) store(y + i, e);
            sum = sum + e;
        }
        if (i < end) {
            const int rest = static_cast<int>(end - i);
            const F e = exp(load_first(x + i, rest) - shift);
            if constexpr (Keep) store_first(y + i, e, rest);
            sum = sum + keep_first(e, rest, set(0.0f));
        }
        total += static_cast<double>(sum_lanes(sum));
    }
    return static_cast<float>(total);
}

UNROLL_INLINE float scalar_log(float x) { return log(set(x))[0]; }

static void softmax_rows(std::int64_t M, std::int64_t N, const float* x, std::int64_t ldx, float* y, std::int64_t ldy) {
    for (std::int64_t m = 0; m < M; ++m, x += ldx, y += ldy) {
        const float sum = sum_exp<true>(x, N, row_maximum(x, N), y);
        scale(1.0f / sum, y, N);
    }
}

static void log_softmax_rows(std::int64_t M, std::int64_t N, const float* x, std::int64_t ldx, float* y,
                             std::int64_t ldy) {
    for (std::int64_t m = 0; m < M; ++m, x += ldx, y += ldy) {
        const float largest = row_maximum(x, N);
        const float log_sum = scalar_log(sum_exp<false>(x, N, largest, nullptr));
        for (std::int64_t n = 0; n < N; ++n) y[n] = (x[n] - largest) - log_sum;
    }
}

static void logsumexp_rows(std::int64_t M, std::int64_t N, const float* x, std::int64_t ldx, float* y) {
    for (std::int64_t m = 0; m < M; ++m, x += ldx) {
        const float largest = row_maximum(x, N);
        // A row of -inf alone, or with +inf, has that as its result.
        const bool infinite = largest - largest != 0.0f;
        y[m] = largest + scalar_log(sum_exp<false>(x, N, infinite ? 0.0f : largest, nullptr));
    }
}

static void cross_entropy_rows(std::int64_t M, std::int64_t N, const float* x, std::int64_t ldx,
                               const std::int64_t* target, float* loss, float* y, std::int64_t ldy) {
    for (std::int64_t m = 0; m < M; ++m, x += ldx) {
        const float largest = row_maximum(x, N);
        // Read first: y may be x.
        const float chosen = target[m] < 0 ? 0.0f : x[target[m]];
        const float sum = y == nullptr ? sum_exp<false>(x, N, largest, nullptr) : sum_exp<true>(x, N, largest, y);
        loss[m] = target[m] < 0 ? 0.0f : scalar_log(sum) + (largest - chosen);
        if (y != nullptr) {
            scale(1.0f / sum, y, N);
            y += ldy;
        }
    }
}

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
