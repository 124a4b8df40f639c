// Runs a pointwise program for any number type, one element after the other, with the meaning that opcode.hpp gives to
// each operation. Used for every Real but float, whose vector executor (kernels.hpp) is tested against this one.
#pragma once

#include <cmath>
#include <cstdint>

#include <unroll/autograd/kernels/opcode.hpp>
#include <unroll/autograd/scalar.hpp>

namespace unroll::detail {

// As In and Out of kernels.hpp.
template <class Real>
struct GenericIn {
    const Real* data;
    std::int64_t row_stride;
    std::int64_t col_stride;
};

template <class Real>
struct GenericOut {
    Real* data;
    std::int64_t row_stride;
    bool accumulate;
};

// The result of one instruction for one element.
template <class Real>
inline Real apply_instruction(const Instruction& s, const Real* reg) {
    using namespace unroll::scalar;
    using std::abs, std::cos, std::erf, std::exp, std::expm1, std::log, std::log1p, std::pow, std::sin, std::sqrt,
        std::tanh;
    const Real& a = reg[s.a];
    const Real& b = reg[s.b];
    const auto truth = [](bool x) { return x ? Real(1) : Real(0); };
    const Real zero(0), one(1);
    switch (s.op) {
        case Opcode::constant: return Real(s.value);
        case Opcode::add: return a + b;
        case Opcode::sub: return a - b;
        case Opcode::mul: return a * b;
        case Opcode::div: return a / b;
        case Opcode::neg: return -a;
        case Opcode::maximum: return maximum(a, b);
        case Opcode::minimum: return minimum(a, b);
        case Opcode::fma: return a * b + reg[s.c];
        case Opcode::square: return a * a;
        case Opcode::reciprocal: return one / a;
        case Opcode::sqrt: return sqrt(a);
        case Opcode::rsqrt: return rsqrt(a);
        case Opcode::abs: return abs(a);
        case Opcode::sign: return sign(a);
        case Opcode::exp: return exp(a);
        case Opcode::expm1: return expm1(a);
        case Opcode::log: return log(a);
        case Opcode::log1p: return log1p(a);
        case Opcode::sin: return sin(a);
        case Opcode::cos: return cos(a);
        case Opcode::tanh: return tanh(a);
        case Opcode::sigmoid: return sigmoid(a);
        case Opcode::relu: return relu(a);
        case Opcode::softplus: return softplus(a);
        case Opcode::erf: return erf(a);
        case Opcode::pow: return pow(a, b);
        case Opcode::less: return truth(a < b);
        case Opcode::less_equal: return truth(a <= b);
        case Opcode::equal: return truth(a == b);
        case Opcode::not_equal: return truth(a != b);
        case Opcode::logical_and: return truth(a != zero && b != zero);
        case Opcode::logical_or: return truth(a != zero || b != zero);
        case Opcode::logical_not: return truth(a == zero);
        case Opcode::select: return a != zero ? b : reg[s.c];
        case Opcode::tanh_gradient: return a * (one - b * b);
        case Opcode::sigmoid_gradient: return a * (b * (one - b));
        case Opcode::count: break;
    }
    return zero;
}

// As FloatKernels::run, with the same rules for overlap: an element is read completely before it is written.
template <class Real>
void run_generic(const Instruction* code, int n_code, int n_inputs, const std::uint16_t* outputs, int n_outputs,
                 std::int64_t rows, std::int64_t cols, const GenericIn<Real>* in, const GenericOut<Real>* out) {
    Real reg[kMaxRegisters];
    for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t col = 0; col < cols; ++col) {
            for (int j = 0; j < n_inputs; ++j) reg[j] = in[j].data[row * in[j].row_stride + col * in[j].col_stride];
            for (int i = 0; i < n_code; ++i) reg[n_inputs + i] = apply_instruction(code[i], reg);
            for (int k = 0; k < n_outputs; ++k) {
                Real& to = out[k].data[row * out[k].row_stride + col];
                to = out[k].accumulate ? to + reg[outputs[k]] : reg[outputs[k]];
            }
        }
    }
}

}  // namespace unroll::detail
