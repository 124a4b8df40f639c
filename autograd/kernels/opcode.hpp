// The instruction set of pointwise programs: what an instruction is and what each operation computes.
// It neither builds programs nor runs them: autograd/pointwise/ builds them, kernels.hpp runs them for float,
// pointwise_generic.hpp for every other number type.
#pragma once

#include <cstddef>
#include <cstdint>

namespace unroll::detail {

// One elementwise operation. a, b, c are operand registers; a truth value is 1 or 0, and any operand that is not 0
// counts as true. Unless said otherwise NaN operands give NaN.
enum class Opcode : std::uint8_t {
    constant,          // value (no operands)
    add,               // a + b
    sub,               // a - b
    mul,               // a * b
    div,               // a / b
    neg,               // -a
    maximum,           // the larger of a and b
    minimum,           // the smaller of a and b
    fma,               // a * b + c, rounded after the product and again after the sum
    square,            // a * a
    reciprocal,        // 1 / a
    sqrt,              // square root of a
    rsqrt,             // 1 / sqrt(a)
    abs,               // |a|
    sign,              // 1, 0 or -1
    exp,               // e^a
    expm1,             // e^a - 1, exact near 0
    log,               // natural logarithm
    log1p,             // log(1 + a), exact near 0
    sin,               // a in radians
    cos,               // a in radians
    tanh,              // hyperbolic tangent
    sigmoid,           // 1 / (1 + e^-a)
    relu,              // a <= 0 ? 0 : a
    softplus,          // log(1 + e^a)
    erf,               // error function
    pow,               // a to the power b
    less,              // a < b; false when either is NaN
    less_equal,        // a <= b; false when either is NaN
    equal,             // a == b; false when either is NaN
    not_equal,         // a != b; true when either is NaN
    logical_and,       // a != 0 and b != 0
    logical_or,        // a != 0 or b != 0
    logical_not,       // a == 0
    select,            // a != 0 ? b : c
    tanh_gradient,     // a * (1 - b * b): a is the gradient of the result, b = tanh(x)
    sigmoid_gradient,  // a * (b * (1 - b)): a is the gradient of the result, b = sigmoid(x)
    count,             // how many there are; not an operation
    // Pairs of operations that fuse.hpp makes for execution alone; programs as built, derived and printed have none.
    mul_tanh_gradient,     // (a * b) * (1 - c * c)
    mul_sigmoid_gradient,  // (a * b) * (c * (1 - c))
    end                    // not an operation
};

// Static single assignment: register r is input r while r < number of inputs, and otherwise the result of
// code[r - number of inputs]. Operands that an operation does not have are ignored and should be 0.
struct Instruction {
    Opcode op;
    std::uint16_t a, b, c;
    double value;  // of a constant; ignored otherwise
};

// The most registers (inputs + instructions) a program may have: it bounds the tables that the executors keep on the
// stack. Whoever builds a program checks it.
inline constexpr int kMaxRegisters = 1024;

// Number of operands of an operation: 0 to 3. Always inlined, so that kernel objects do not export it (vec.hpp).
[[gnu::always_inline]] constexpr int operand_count(Opcode op) {
    switch (op) {
    case Opcode::constant:
    case Opcode::count:
    case Opcode::end: return 0;
    case Opcode::add:
    case Opcode::sub:
    case Opcode::mul:
    case Opcode::div:
    case Opcode::maximum:
    case Opcode::minimum:
    case Opcode::pow:
    case Opcode::less:
    case Opcode::less_equal:
    case Opcode::equal:
    case Opcode::not_equal:
    case Opcode::logical_and:
    case Opcode::logical_or:
    case Opcode::tanh_gradient:
    case Opcode::sigmoid_gradient: return 2;
    case Opcode::fma:
    case Opcode::select:
    case Opcode::mul_tanh_gradient:
    case Opcode::mul_sigmoid_gradient: return 3;
    default: return 1;
    }
}

// Name as written above, for dumps and messages.
constexpr const char* opcode_name(Opcode op) {
    // clang-format off
    constexpr const char* kNames[] = {
        "constant", "add", "sub", "mul", "div", "neg", "maximum", "minimum", "fma", "square", "reciprocal", "sqrt",
        "rsqrt", "abs", "sign", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "relu", "softplus",
        "erf", "pow", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not", "select",
        "tanh_gradient", "sigmoid_gradient", "?", "mul_tanh_gradient", "mul_sigmoid_gradient"};
    // clang-format on
    static_assert(sizeof(kNames) / sizeof(kNames[0]) == static_cast<std::size_t>(Opcode::end));
    return op < Opcode::end ? kNames[static_cast<int>(op)] : "?";
}

}  // namespace unroll::detail
