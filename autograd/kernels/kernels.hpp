// The float kernels of this library: elementwise functions, the executor of pointwise programs, matrix-vector products,
// reductions, rows of logits and optimiser steps, each for three instruction sets, chosen once at run time.
// It knows no tensors and checks no arguments: callers pass pointers and sizes that fit. Nothing here allocates.
//
// Conventions: matrices are row-major with a leading dimension (elements from one row to the next) where one is named;
// sizes may be 0; a float `beta` is 0 (overwrite, old content is not read) or 1 (accumulate). Unless said otherwise
// pointers need only the alignment of float. Results do not depend on alignment, and sums run in an order that depends
// on sizes alone; between instruction sets they differ by rounding.
#pragma once

#include <cstdint>

#include <unroll/autograd/kernels/opcode.hpp>
#include <unroll/autograd/kernels/optimizer_steps.hpp>

namespace unroll::detail {

enum class Isa { baseline, avx2, avx512 };

// An input of a pointwise program, of shape (rows, cols). col_stride is 1, or 0 for one value per row; both strides 0
// is a scalar, row_stride 0 and col_stride 1 a row vector that is broadcast over the rows.
struct In {
    const float* data;
    std::int64_t row_stride;
    std::int64_t col_stride;
};

// An output of a pointwise program, of shape (rows, cols), columns contiguous.
struct Out {
    float* data;
    std::int64_t row_stride;
    bool accumulate;  // += instead of =
};

struct FloatKernels {
    Isa isa;
    const char* name;
    int lanes;  // floats in a vector

    // y[i] = f(x[i]); y may be x. Largest errors in ULP, ranges and special values: vec_math.hpp.
    using Map = void (*)(const float* x, float* y, std::int64_t n);
    Map exp, expm1, log, log1p, sin, cos, tanh, sigmoid, softplus, erf, sqrt, relu;

    // Runs a pointwise program over rows x cols elements. outputs[k] is the register that out[k] receives.
    // An output may be an input (same address and strides); otherwise outputs overlap neither inputs nor each other,
    // except that outputs which all accumulate may be the same. Inputs plus instructions: at most kMaxRegisters.
    void (*run)(const Instruction* code, int n_code, int n_inputs, const std::uint16_t* outputs, int n_outputs,
                std::int64_t rows, std::int64_t cols, const In* in, const Out* out);

    // y[N] = beta y + x[K] W(K, N)
    void (*gemv_n)(std::int64_t K, std::int64_t N, const float* x, const float* W, std::int64_t ldw, float beta,
                   float* y);
    // y[K] = beta y + W(K, N) g[N]
    void (*gemv_t)(std::int64_t K, std::int64_t N, const float* g, const float* W, std::int64_t ldw, float beta,
                   float* y);
    // C(K, N) += x[K]^T g[N]
    void (*ger)(std::int64_t K, std::int64_t N, const float* x, const float* g, float* C, std::int64_t ldc);
    // y[N] = beta y + sum of the M rows of A(M, N), from the first to the last
    void (*column_sum)(std::int64_t M, std::int64_t N, const float* A, std::int64_t lda, float beta, float* y);
    // B(N, K) = A(K, N)^T
    void (*transpose)(std::int64_t K, std::int64_t N, const float* A, std::int64_t lda, float* B, std::int64_t ldb);

    float (*sum)(const float* x, std::int64_t n);
    float (*dot)(const float* x, const float* y, std::int64_t n);
    // Sum of squares, accumulated in double: for norms of a whole model's gradient.
    double (*sum_of_squares)(const float* x, std::int64_t n);
    // Largest |x[i]|; 0 for n = 0, NaN if any is NaN.
    float (*max_abs)(const float* x, std::int64_t n);
    // Index of the first infinity or NaN, -1 if there is none.
    std::int64_t (*first_nonfinite)(const float* x, std::int64_t n);

    void (*scale)(float a, float* x, std::int64_t n);                 // x *= a
    void (*axpy)(float a, const float* x, float* y, std::int64_t n);  // y += a x
    void (*add)(const float* x, float* y, std::int64_t n);            // y += x

    // Rows x(M, N) to y(M, N); y may be x with the same leading dimension. N >= 1. The largest entry of a row is
    // subtracted first; a row of -inf alone or with NaN or +inf gives NaN, an entry of -inf beside finite ones 0 (-inf).
    // log_softmax has at most 9 ULP, also where it is tiny: the logarithm is log1p of the sum without the largest entry.
    // (Rows of thousands of equal entries are the worst; on random rows 4. Terms below 2^-126 add 2^-149 each.)
    // tests/kernels/rows_test.cpp measures it, and the error of softmax.
    void (*softmax_rows)(std::int64_t M, std::int64_t N, const float* x, std::int64_t ldx, float* y, std::int64_t ldy);
    void (*log_softmax_rows)(std::int64_t M, std::int64_t N, const float* x, std::int64_t ldx, float* y,
                             std::int64_t ldy);
    // For cross entropy, in one go: loss[m] = -log_softmax(x(m, :))[target[m]], to as many ULP, and y = softmax(x) if y
    // is not null.
    // A target below 0 marks a row without loss: loss[m] = 0; its y is written as for any other.
    void (*cross_entropy_rows)(std::int64_t M, std::int64_t N, const float* x, std::int64_t ldx,
                               const std::int64_t* target, float* loss, float* y, std::int64_t ldy);

    // 128 draws of 16 bits for each group, bit i of bits[0], bits[1], … saying whether draw i is at least `threshold`
    // (0 to 65536). Draw 128 g + 16 (2 w + h) + b is half h (0: low) of word w of random_block(seed, stream, 16 g + b).
    void (*random_mask)(std::uint64_t seed, std::uint64_t stream, std::int64_t groups, std::uint32_t threshold,
                        std::uint64_t* bits);
    // y[i] = (+=) factor x[i] where bit i is set, 0 elsewhere, whatever x[i] is; y may be x. bits holds a multiple of 64.
    void (*masked_scale)(const std::uint64_t* bits, float factor, const float* x, float* y, std::int64_t n,
                         bool accumulate);

    // Optimiser steps over n contiguous elements, g the gradient as accumulated; see optimizer_steps.hpp.
    void (*sgd)(const SgdStep& step, std::int64_t n, float* p, const float* g, float* momentum);
    void (*adagrad)(const AdagradStep& step, std::int64_t n, float* p, const float* g, float* sum);
    void (*rmsprop)(const RmspropStep& step, std::int64_t n, float* p, const float* g, float* square_average,
                    float* gradient_average, float* momentum);
    void (*adadelta)(const AdadeltaStep& step, std::int64_t n, float* p, const float* g, float* square_average,
                     float* accumulated_delta);
    void (*adam)(const AdamStep& step, std::int64_t n, float* p, const float* g, float* average, float* square_average,
                 float* largest_square_average);
    void (*nadam)(const NadamStep& step, std::int64_t n, float* p, const float* g, float* average,
                  float* square_average);
    void (*ema)(double decay, std::int64_t n, float* average, const float* p);
};

// The kernels of the active instruction set.
const FloatKernels& kernels();
// Those of a given one; ValueError where this processor or build does not have it.
const FloatKernels& kernels(Isa isa);

// The best instruction set that processor and build have, or the one that the environment variable UNROLL_ISA names
// (avx512, avx2 or baseline), read at the first call. ValueError, which lists the possible ones, for any other value.
Isa active_isa();
// Overrides the choice; for tests. ValueError where it is not available. Not to be called while kernels run.
void set_isa(Isa isa);
bool isa_available(Isa isa);
const char* isa_name(Isa isa);
// The other way round; ValueError, which lists the possible ones, for a name that is unknown or not available here.
Isa isa_from_name(const char* name);

}  // namespace unroll::detail
