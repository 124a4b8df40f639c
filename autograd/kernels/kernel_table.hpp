// Puts the kernels of one instruction set into a table. Included by the three kernels_<isa>.cpp, each compiled with its
// own flags, and by nothing else.
#pragma once

#include <unroll/autograd/kernels/kernels.hpp>

#include <unroll/autograd/kernels/linear_kernels.hpp>
#include <unroll/autograd/kernels/optimizer_kernels.hpp>
#include <unroll/autograd/kernels/pointwise_executor.hpp>
#include <unroll/autograd/kernels/random_kernels.hpp>
#include <unroll/autograd/kernels/reduction_kernels.hpp>
#include <unroll/autograd/kernels/row_kernels.hpp>
#include <unroll/autograd/kernels/vec_math.hpp>

namespace unroll::detail::UNROLL_ISA_NAMESPACE {

template <F (*Function)(F)>
static void map(const float* x, float* y, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(y + i, Function(load(x + i)));
    if (i < n) {
        const int rest = static_cast<int>(n - i);
        store_first(y + i, Function(load_first(x + i, rest)), rest);
    }
}

#if defined(UNROLL_ISA_AVX512)
inline constexpr Isa kIsa = Isa::avx512;
#elif defined(UNROLL_ISA_AVX2)
inline constexpr Isa kIsa = Isa::avx2;
#else
inline constexpr Isa kIsa = Isa::baseline;
#endif

#define UNROLL_STRING_OF(x) #x
#define UNROLL_STRING(x) UNROLL_STRING_OF(x)

extern const FloatKernels kTable;
constinit const FloatKernels kTable = {
    .isa = kIsa,
    .name = UNROLL_STRING(UNROLL_ISA_NAMESPACE),
    .lanes = kLanes,
    .exp = map<exp>,
    .expm1 = map<expm1>,
    .log = map<log>,
    .log1p = map<log1p>,
    .sin = map<sin>,
    .cos = map<cos>,
    .tanh = map<tanh>,
    .sigmoid = map<sigmoid>,
    .softplus = map<softplus>,
    .erf = map<erf>,
    .sqrt = map<sqrt>,
    .relu = map<relu>,
    .run = run_pointwise,
    .gemv_n = gemv_n,
    .gemv_t = gemv_t,
    .ger = ger,
    .column_sum = column_sum,
    .transpose = transpose,
    .sum = sum,
    .dot = dot,
    .sum_of_squares = sum_of_squares,
    .max_abs = max_abs,
    .first_nonfinite = first_nonfinite,
    .scale = scale,
    .axpy = axpy,
    .add = add,
    .softmax_rows = softmax_rows,
    .log_softmax_rows = log_softmax_rows,
    .cross_entropy_rows = cross_entropy_rows,
    .random_mask = random_mask,
    .masked_scale = masked_scale,
    .sgd = sgd<float>,
    .adagrad = adagrad<float>,
    .rmsprop = rmsprop<float>,
    .adadelta = adadelta<float>,
    .adam = adam<float>,
    .nadam = nadam<float>,
    .ema = ema<float>,
};

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
