// The block kernels of pointwise programs: one function per operation, over a tile of rows x cols elements whose
// operands each have a row stride of their own. Which tiles and in what order is pointwise_executor.hpp's business.
#pragma once

#include <unroll/autograd/kernels/opcode.hpp>

#include <unroll/autograd/kernels/vec_math.hpp>

namespace unroll::detail::UNROLL_ISA_NAMESPACE {

// Where a register's values stand for the tile in work: element (r, c) at data[r * stride + c].
struct Operand {
    float* data;
    std::int64_t stride;
};

using TileKernel = void (*)(const Operand& d, const Operand& a, const Operand& b, const Operand& c, int rows, int cols);

// d = f(a, b, c) with as many operands as f takes; d may be any of them.
template <int Operands, class Function>
UNROLL_INLINE void map_tile(const Operand& d, const Operand& a, const Operand& b, const Operand& c, int rows, int cols,
                            Function f) {
    float* to = d.data;
    const float* x = a.data;
    const float* y = Operands > 1 ? b.data : nullptr;
    const float* z = Operands > 2 ? c.data : nullptr;
    const auto at = [&](int i, auto lanes) UNROLL_INLINE_LAMBDA {
        if constexpr (Operands == 1) {
            lanes.put(to + i, f(lanes.get(x + i)));
        } else if constexpr (Operands == 2) {
            lanes.put(to + i, f(lanes.get(x + i), lanes.get(y + i)));
        } else {
            lanes.put(to + i, f(lanes.get(x + i), lanes.get(y + i), lanes.get(z + i)));
        }
    };
    const int whole = cols & -kLanes;
    while (true) {
        for (int i = 0; i < whole; i += kLanes) at(i, WholeVector{});
        if (whole < cols) at(whole, FirstLanes{cols - whole});
        if (--rows == 0) break;
        to += d.stride;
        x += a.stride;
        if constexpr (Operands > 1) y += b.stride;
        if constexpr (Operands > 2) z += c.stride;
    }
}

#define UNROLL_TILE_KERNEL(name, operands, ...)                                                               \
    static void tile_##name(const Operand& d, const Operand& a, const Operand& b, const Operand& c, int rows, \
                            int cols) {                                                                       \
        map_tile<operands>(d, a, b, c, rows, cols, __VA_ARGS__);                                              \
    }
#define UNROLL_UNARY(name, expression) \
    UNROLL_TILE_KERNEL(name, 1, [](F a) UNROLL_INLINE_LAMBDA -> F { return expression; })
#define UNROLL_BINARY(name, expression) \
    UNROLL_TILE_KERNEL(name, 2, [](F a, F b) UNROLL_INLINE_LAMBDA -> F { return expression; })
#define UNROLL_TERNARY(name, expression) \
    UNROLL_TILE_KERNEL(name, 3, [](F a, F b, F c) UNROLL_INLINE_LAMBDA -> F { return expression; })

UNROLL_BINARY(add, a + b)
UNROLL_BINARY(sub, a - b)
UNROLL_BINARY(mul, (a * b))
UNROLL_BINARY(div, a / b)
UNROLL_UNARY(neg, -a)
UNROLL_BINARY(maximum, maximum(a, b))
UNROLL_BINARY(minimum, minimum(a, b))
UNROLL_TERNARY(fma, (a * b + c))
UNROLL_UNARY(square, (a * a))
UNROLL_UNARY(reciprocal, set(1.0f) / a)
UNROLL_UNARY(sqrt, sqrt(a))
UNROLL_UNARY(rsqrt, set(1.0f) / sqrt(a))
UNROLL_UNARY(abs, absolute(a))
UNROLL_UNARY(sign, select(not_equal(a, a), a, truth(less(set(0.0f), a)) - truth(less(a, set(0.0f)))))
UNROLL_UNARY(exp, exp(a))
UNROLL_UNARY(expm1, expm1(a))
UNROLL_UNARY(log, log(a))
UNROLL_UNARY(log1p, log1p(a))
UNROLL_UNARY(sin, sin(a))
UNROLL_UNARY(cos, cos(a))
UNROLL_UNARY(tanh, tanh(a))
UNROLL_UNARY(sigmoid, sigmoid(a))
UNROLL_UNARY(relu, relu(a))
UNROLL_UNARY(softplus, softplus(a))
UNROLL_UNARY(erf, erf(a))
UNROLL_BINARY(pow, pow(a, b))
UNROLL_BINARY(less, truth(less(a, b)))
UNROLL_BINARY(less_equal, truth(less_equal(a, b)))
UNROLL_BINARY(equal, truth(equal(a, b)))
UNROLL_BINARY(not_equal, truth(not_equal(a, b)))
UNROLL_BINARY(logical_and, truth(both(not_equal(a, set(0.0f)), not_equal(b, set(0.0f)))))
UNROLL_BINARY(logical_or, truth(either(not_equal(a, set(0.0f)), not_equal(b, set(0.0f)))))
UNROLL_UNARY(logical_not, truth(equal(a, set(0.0f))))
UNROLL_TERNARY(select, select(not_equal(a, set(0.0f)), b, c))
UNROLL_BINARY(tanh_gradient, (a * (set(1.0f) - b * b)))
UNROLL_BINARY(sigmoid_gradient, (a * (b * (set(1.0f) - b))))
UNROLL_TERNARY(mul_tanh_gradient, (a * b * (set(1.0f) - c * c)))
UNROLL_TERNARY(mul_sigmoid_gradient, (a * b * (c * (set(1.0f) - c))))

#undef UNROLL_TERNARY
#undef UNROLL_BINARY
#undef UNROLL_UNARY
#undef UNROLL_TILE_KERNEL

// In the order of Opcode. Constants have no kernel: the executor writes them once per run.
// clang-format off
static constexpr TileKernel kTileKernels[] = {
    nullptr,       tile_add,     tile_sub,        tile_mul,           tile_div,        tile_neg,
    tile_maximum,  tile_minimum, tile_fma,        tile_square,        tile_reciprocal, tile_sqrt,
    tile_rsqrt,    tile_abs,     tile_sign,       tile_exp,           tile_expm1,      tile_log,
    tile_log1p,    tile_sin,     tile_cos,        tile_tanh,          tile_sigmoid,    tile_relu,
    tile_softplus, tile_erf,     tile_pow,        tile_less,          tile_less_equal, tile_equal,
    tile_not_equal, tile_logical_and, tile_logical_or, tile_logical_not, tile_select,  tile_tanh_gradient,
    tile_sigmoid_gradient, nullptr, tile_mul_tanh_gradient, tile_mul_sigmoid_gradient};
// clang-format on
static_assert(sizeof(kTileKernels) / sizeof(kTileKernels[0]) == static_cast<std::size_t>(Opcode::end));

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
