// Runs a pointwise program for any number type, one element after the other, with the meaning that opcode.hpp gives to
// each operation. Used for every Real but float, whose vector executor (kernels.hpp) is tested against this one.
#pragma once

#include <cstddef>
#include <cstdint>

#include <unroll/autograd/kernels/opcode.hpp>
#include <unroll/autograd/pointwise/rules.hpp>

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

// The result of one instruction for one element; the operations themselves are in pointwise/rules.hpp, and fused pairs
// (fuse.hpp) are two of them.
template <class Real>
inline Real apply_instruction(const Instruction& s, const Real* reg) {
    if (s.op == Opcode::constant) return Real(s.value);
    if (s.op == Opcode::mul_tanh_gradient || s.op == Opcode::mul_sigmoid_gradient) {
        const Opcode second = s.op == Opcode::mul_tanh_gradient ? Opcode::tanh_gradient : Opcode::sigmoid_gradient;
        return rules::kValues<Real>[static_cast<std::size_t>(second)](reg[s.a] * reg[s.b], reg[s.c], reg[s.c]);
    }
    return rules::kValues<Real>[static_cast<std::size_t>(s.op)](reg[s.a], reg[s.b], reg[s.c]);
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
