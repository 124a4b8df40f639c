// Matrix-vector products, rank-one updates, column sums and transposition. Products of matrices with matrices belong to
// oneDNN or the CBLAS; these are what is left when one side has a single row.
#pragma once

#include <unroll/autograd/kernels/vec.hpp>

namespace unroll::detail::UNROLL_ISA_NAMESPACE {

// What is left behind the last whole vector of a row.
enum class Rest { none, few, lanes };  // few: up to four

// y[0 .. Panels * kLanes) of gemv_n, and `rest` < kLanes elements behind them, kept in registers while the rows of W pass by.
template <int Panels, Rest Kind>
UNROLL_INLINE void gemv_n_panel(std::int64_t K, const float* x, const float* W, std::int64_t ldw, float beta, float* y,
                                int rest) {
    constexpr bool kRest = Kind != Rest::none;
    const auto load_rest = [rest](const float* p) UNROLL_INLINE_LAMBDA {
        return Kind == Rest::few ? load_few(p, rest) : load_first(p, rest);
    };
    F sum[Panels > 0 ? Panels : 1], last = set(0.0f);  // apart: g++ would store all of them in every turn
    for (int p = 0; p < Panels; ++p) sum[p] = beta == 0.0f ? set(0.0f) : load(y + p * kLanes);
    if (kRest && beta != 0.0f) last = load_rest(y + Panels * kLanes);
    for (std::int64_t k = 0; k < K; ++k) {
        const F xk = set(x[k]);
        // Rows that begin anywhere in a cache line are not foreseen by the processor.
        for (int p = 0; kRest && p < Panels; ++p) __builtin_prefetch(W + 8 * ldw + p * kLanes);
        for (int p = 0; p < Panels; ++p) sum[p] = fma(xk, load(W + p * kLanes), sum[p]);
        if (kRest) last = fma(xk, load_rest(W + Panels * kLanes), last);
        W += ldw;
    }
    for (int p = 0; p < Panels; ++p) store(y + p * kLanes, sum[p]);
    if (kRest) store_first(y + Panels * kLanes, last, rest);
}

// The last N < (Panels + 1) * kLanes elements of y at once: one panel of few columns would wait for every sum.
template <int Panels>
UNROLL_INLINE void gemv_n_last(std::int64_t K, std::int64_t N, const float* x, const float* W, std::int64_t ldw,
                               float beta, float* y) {
    const int rest = static_cast<int>(N - Panels * kLanes);
    if (rest > 4) {
        gemv_n_panel<Panels, Rest::lanes>(K, x, W, ldw, beta, y, rest);
    } else if (rest > 0) {
        gemv_n_panel<Panels, Rest::few>(K, x, W, ldw, beta, y, rest);
    } else if (rest == 0) {
        gemv_n_panel<Panels, Rest::none>(K, x, W, ldw, beta, y, 0);
    } else if constexpr (Panels > 0) {
        gemv_n_last<Panels - 1>(K, N, x, W, ldw, beta, y);
    }
}

// Adds eight rows of W, in the order of their numbers in two chains, to the whole of y.
UNROLL_INLINE void gemv_n_eight_rows(std::int64_t N, const float* x, const float* W, std::int64_t ldw, float* y) {
    F factor[8];
    for (int r = 0; r < 8; ++r) factor[r] = set(x[r]);
    const auto step = [&](std::int64_t n, auto lanes) UNROLL_INLINE_LAMBDA {
        F sum = lanes.get(y + n), other = set(0.0f);
        for (int r = 0; r < 8; r += 2) {
            sum = fma(factor[r], lanes.get(W + r * ldw + n), sum);
            other = fma(factor[r + 1], lanes.get(W + (r + 1) * ldw + n), other);
        }
        lanes.put(y + n, sum + other);
    };
    std::int64_t n = 0;
    for (; n + kLanes <= N; n += kLanes) step(n, WholeVector{});
    if (n < N) step(n, FirstLanes{static_cast<int>(N - n)});
}

// Above this many elements W comes from beyond the second-level cache, where whole rows are read twice as fast as
// panels of columns; below it, panels keep y in registers.
inline constexpr std::int64_t kGemvPanelElements = 1 << 18;

static void axpy(float a, const float* x, float* y, std::int64_t n);

static void gemv_n(std::int64_t K, std::int64_t N, const float* x, const float* W, std::int64_t ldw, float beta,
                   float* y) {
    if (K * N > kGemvPanelElements) {
        if (beta == 0.0f) __builtin_memset(y, 0, static_cast<std::size_t>(N) * sizeof(float));
        std::int64_t k = 0;
        for (; k + 8 <= K; k += 8) gemv_n_eight_rows(N, x + k, W + k * ldw, ldw, y);
        for (; k < K; ++k) axpy(x[k], W + k * ldw, y, N);
        return;
    }
    std::int64_t n = 0;
    for (; n + 8 * kLanes <= N; n += 8 * kLanes) gemv_n_panel<8, Rest::none>(K, x, W + n, ldw, beta, y + n, 0);
    gemv_n_last<7>(K, N - n, x, W + n, ldw, beta, y + n);
}

// Rows of W times g, several at once, so that a vector of g is loaded once for all of them.
template <int Rows>
UNROLL_INLINE void gemv_t_rows(std::int64_t N, const float* g, const float* W, std::int64_t ldw, float beta, float* y) {
    F sum[Rows];
    for (int r = 0; r < Rows; ++r) sum[r] = set(0.0f);
    std::int64_t n = 0;
    for (; n + kLanes <= N; n += kLanes) {
        const F gn = load(g + n);
        for (int r = 0; r < Rows; ++r) sum[r] = fma(gn, load(W + r * ldw + n), sum[r]);
    }
    if (n < N) {
        const int rest = static_cast<int>(N - n);
        const F gn = load_first(g + n, rest);
        for (int r = 0; r < Rows; ++r) sum[r] = fma(gn, load_first(W + r * ldw + n, rest), sum[r]);
    }
    for (int r = 0; r < Rows; ++r) {
        const float s = sum_lanes(sum[r]);
        y[r] = beta == 0.0f ? s : y[r] + s;
    }
}

static void gemv_t(std::int64_t K, std::int64_t N, const float* g, const float* W, std::int64_t ldw, float beta,
                   float* y) {
    std::int64_t k = 0;
    for (; k + 8 <= K; k += 8) gemv_t_rows<8>(N, g, W + k * ldw, ldw, beta, y + k);
    for (; k + 4 <= K; k += 4) gemv_t_rows<4>(N, g, W + k * ldw, ldw, beta, y + k);
    for (; k < K; ++k) gemv_t_rows<1>(N, g, W + k * ldw, ldw, beta, y + k);
}

static void axpy(float a, const float* x, float* y, std::int64_t n) {
    const F factor = set(a);
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(y + i, fma(factor, load(x + i), load(y + i)));
    if (i < n) {
        const int rest = static_cast<int>(n - i);
        store_first(y + i, fma(factor, load_first(x + i, rest), load_first(y + i, rest)), rest);
    }
}

static void ger(std::int64_t K, std::int64_t N, const float* x, const float* g, float* C, std::int64_t ldc) {
    for (std::int64_t k = 0; k < K; ++k) axpy(x[k], g, C + k * ldc, N);
}

// Rows are summed in groups of 64, these in groups of 64, and these are then added up: the error grows with 128 + M / 4096
// and not with M, and the order depends on M alone.
template <int Panels, class Lanes>
UNROLL_INLINE void column_sum_panel(std::int64_t M, const float* A, std::int64_t lda, float beta, float* y,
                                    Lanes lanes) {
    F total[Panels], middle[Panels];
    for (int p = 0; p < Panels; ++p) total[p] = middle[p] = set(0.0f);
    for (std::int64_t m = 0; m < M;) {
        const std::int64_t end = M - m < 64 ? M : m + 64;
        F group[Panels];
        for (int p = 0; p < Panels; ++p) group[p] = set(0.0f);
        for (; m < end; ++m) {
            for (int p = 0; p < Panels; ++p) group[p] = group[p] + lanes.get(A + p * kLanes);
            A += lda;
        }
        for (int p = 0; p < Panels; ++p) middle[p] = middle[p] + group[p];
        if (m % 4096 != 0 && m < M) continue;
        for (int p = 0; p < Panels; ++p) {
            total[p] = total[p] + middle[p];
            middle[p] = set(0.0f);
        }
    }
    for (int p = 0; p < Panels; ++p) {
        float* to = y + p * kLanes;
        lanes.put(to, beta == 0.0f ? total[p] : lanes.get(to) + total[p]);
    }
}

static void column_sum(std::int64_t M, std::int64_t N, const float* A, std::int64_t lda, float beta, float* y) {
    std::int64_t n = 0;
    for (; n + 8 * kLanes <= N; n += 8 * kLanes) column_sum_panel<8>(M, A + n, lda, beta, y + n, WholeVector{});
    for (; n + kLanes <= N; n += kLanes) column_sum_panel<1>(M, A + n, lda, beta, y + n, WholeVector{});
    if (n < N) column_sum_panel<1>(M, A + n, lda, beta, y + n, FirstLanes{static_cast<int>(N - n)});
}

// 4 x 4 elements; four floats are a vector on every processor this is for.
UNROLL_INLINE void transpose_4x4(const float* A, std::int64_t lda, float* B, std::int64_t ldb) {
    typedef float F4 __attribute__((vector_size(16)));
    F4 a[4];
    for (int i = 0; i < 4; ++i) __builtin_memcpy(&a[i], A + i * lda, sizeof(F4));
    const F4 low01 = __builtin_shufflevector(a[0], a[1], 0, 4, 1, 5);
    const F4 high01 = __builtin_shufflevector(a[0], a[1], 2, 6, 3, 7);
    const F4 low23 = __builtin_shufflevector(a[2], a[3], 0, 4, 1, 5);
    const F4 high23 = __builtin_shufflevector(a[2], a[3], 2, 6, 3, 7);
    const F4 b[4] = {
        __builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
        __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
    for (int i = 0; i < 4; ++i) __builtin_memcpy(B + i * ldb, &b[i], sizeof(F4));
}

// A 16 x 16 block by way of a buffer: whole cache lines are read and whole ones written. Lines of neighbouring rows
// share a cache set when the leading dimension is a power of two, and would not stay until their next use.
UNROLL_INLINE void transpose_16x16(const float* A, std::int64_t lda, float* B, std::int64_t ldb) {
    alignas(64) float block[16 * 16];
    for (int k = 0; k < 16; k += 4) {
        for (int n = 0; n < 16; n += 4) transpose_4x4(A + k * lda + n, lda, block + n * 16 + k, 16);
    }
    for (int n = 0; n < 16; ++n) __builtin_memcpy(B + n * ldb, block + n * 16, 16 * sizeof(float));
}

static void transpose(std::int64_t K, std::int64_t N, const float* A, std::int64_t lda, float* B, std::int64_t ldb) {
    const std::int64_t whole_k = K & -4, whole_n = N & -4;
    for (std::int64_t k0 = 0; k0 < whole_k; k0 += 16) {
        const std::int64_t k1 = k0 + 16 < whole_k ? k0 + 16 : whole_k;
        std::int64_t n = 0;
        if (k1 - k0 == 16) {
            for (; n + 16 <= whole_n; n += 16) transpose_16x16(A + k0 * lda + n, lda, B + n * ldb + k0, ldb);
        }
        for (; n < whole_n; n += 4) {
            for (std::int64_t k = k0; k < k1; k += 4) transpose_4x4(A + k * lda + n, lda, B + n * ldb + k, ldb);
        }
    }
    for (std::int64_t k = 0; k < K; ++k) {
        for (std::int64_t n = k < whole_k ? whole_n : 0; n < N; ++n) B[n * ldb + k] = A[k * lda + n];
    }
}

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
