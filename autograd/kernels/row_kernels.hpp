// Softmax and its relatives over the rows of a matrix: exponentials of the differences to a row's largest entry, summed
// without that entry's own 1, which would drown the others. Sums run over blocks of fixed size, the blocks in double.
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

// e^(x - largest) for the entries of a row. At most 2 ULP, and 1 exactly for the largest entry itself. To form
// x - largest first would cost |x - largest| / 2 ULP by its rounding alone, so the largest entry is taken apart: all that
// is subtracted before the polynomial is then exact or small.
struct NearTerm {
    F largest, high, low, floor;

    // largest within ±2^12
    static __attribute__((always_inline)) NearTerm of(float largest) {
        const float high = (largest + 0x1.8p14f) - 0x1.8p14f;  // a multiple of 2^-9, as kLn2High is
        return {set(largest), set(high), set(largest - high), set(largest - 105.0f)};
    }
    __attribute__((always_inline)) F operator()(F x) const {
        const F y = at_least(floor, x), magic = set(kRounding);
        const F n = fma(y - largest, set(0x1.715476p+0f), magic) - magic;
        return scale(exp_polynomial((y - fma(n, set(kLn2High), high)) - fma(n, set(kLn2Low), low)), n);
    }
};
// The same for every other largest entry: the difference is exact unless the result is 0 anyway.
struct FarTerm {
    F largest;

    __attribute__((always_inline)) F operator()(F x) const { return exp_in_range(at_least(set(-105.0f), x - largest)); }
};

// A lane adds no more than 16 terms in float: where all are equal, all roundings go the same way.
inline constexpr std::int64_t kTermBlock = 16 * kLanes;

// What a row's terms add up to, and what they do without one of the largest entries, whose 1 would drown the others.
struct RowSum {
    float all, others;
};

// With Keep the terms are stored to y.
template <bool Keep, class Term>
UNROLL_INLINE RowSum sum_terms(const float* x, std::int64_t n, Term term, float* y) {
    double all = 0.0, below = 0.0;
    for (std::int64_t begin = 0; begin < n; begin += kTermBlock) {
        const std::int64_t end = n - begin < kTermBlock ? n : begin + kTermBlock;
        F sum = set(0.0f), sum_below = set(0.0f);
        const auto add = [&](std::int64_t i, auto lanes) UNROLL_INLINE_LAMBDA {
            const F v = lanes.get_or(x + i, term.largest), e = term(v);
            if constexpr (Keep) lanes.put(y + i, e);
            sum = sum + lanes.only(e);
            sum_below = add_where(not_equal(v, term.largest), sum_below, e);
        };
        std::int64_t i = begin;
        for (; i + kLanes <= end; i += kLanes) add(i, WholeVector{});
        if (i < end) add(i, FirstLanes{static_cast<int>(end - i)});
        all += static_cast<double>(sum_lanes(sum));
        below += static_cast<double>(sum_lanes(sum_below));
    }
    // Below 2 there is one largest entry alone; from there on its 1 drowns nothing.
    return {static_cast<float>(all), static_cast<float>(all < 2.0 ? below : all - 1.0)};
}

template <bool Keep>
UNROLL_INLINE RowSum sum_exp(const float* x, std::int64_t n, float largest, float* y) {
    if (largest > -0x1p12f && largest < 0x1p12f) return sum_terms<Keep>(x, n, NearTerm::of(largest), y);
    return sum_terms<Keep>(x, n, FarTerm{set(largest)}, y);
}

// The logarithms of the sums of a few rows are taken together: one by one they cost as much as the rows.
struct LogSums {
    alignas(64) float value[kLanes] = {};

    __attribute__((always_inline)) void finish() { store(value, log1p(load(value))); }
};

static void softmax_rows(std::int64_t M, std::int64_t N, const float* x, std::int64_t ldx, float* y, std::int64_t ldy) {
    for (std::int64_t m = 0; m < M; ++m, x += ldx, y += ldy) {
        const RowSum sum = sum_exp<true>(x, N, row_maximum(x, N), y);
        scale(1.0f / sum.all, y, N);
    }
}

static void log_softmax_rows(std::int64_t M, std::int64_t N, const float* x, std::int64_t ldx, float* y,
                             std::int64_t ldy) {
    const std::int64_t together = N < kSumBlock ? kLanes : 1;  // long rows should still be in the cache
    for (std::int64_t first = 0; first < M; first += together) {
        const std::int64_t rows = M - first < together ? M - first : together;
        float largest[kLanes];
        LogSums log_sums;
        for (std::int64_t r = 0; r < rows; ++r) {
            largest[r] = row_maximum(x + r * ldx, N);
            log_sums.value[r] = sum_exp<false>(x + r * ldx, N, largest[r], nullptr).others;
        }
        log_sums.finish();
        for (std::int64_t r = 0; r < rows; ++r, x += ldx, y += ldy) {
            for (std::int64_t n = 0; n < N; ++n) y[n] = (x[n] - largest[r]) - log_sums.value[r];
        }
    }
}

static void cross_entropy_rows(std::int64_t M, std::int64_t N, const float* x, std::int64_t ldx,
                               const std::int64_t* target, float* loss, float* y, std::int64_t ldy) {
    for (std::int64_t first = 0; first < M; first += kLanes) {
        const std::int64_t rows = M - first < kLanes ? M - first : kLanes;
        LogSums log_sums;
        float below_largest[kLanes];
        for (std::int64_t r = 0; r < rows; ++r, x += ldx) {
            const std::int64_t t = target[first + r];
            const float largest = row_maximum(x, N);
            // Read first: y may be x.
            below_largest[r] = t < 0 ? 0.0f : largest - x[t];
            const RowSum sum = y == nullptr ? sum_exp<false>(x, N, largest, nullptr) : sum_exp<true>(x, N, largest, y);
            if (t >= 0) log_sums.value[r] = sum.others;
            if (y != nullptr) {
                scale(1.0f / sum.all, y, N);
                y += ldy;
            }
        }
        log_sums.finish();
        for (std::int64_t r = 0; r < rows; ++r) loss[first + r] = log_sums.value[r] + below_largest[r];
    }
}

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
