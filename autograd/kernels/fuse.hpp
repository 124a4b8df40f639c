// Prepares a pointwise program for execution: pairs of instructions become single ones, so that a tile is swept less
// often. The result computes bit for bit the same; it has operations that only the executors know, and so is kept
// beside the program that is derived and printed, not in its place.
#pragma once

#include <cstdint>

#include <unroll/autograd/kernels/opcode.hpp>

namespace unroll::detail {

// Rewrites code and outputs in place and returns the number of instructions left. A product that is used once, as the
// incoming gradient of a tanh_gradient or sigmoid_gradient, becomes one instruction with it: in the adjoint of an
// LSTM's gates that is 7 instructions for 12. At most kMaxRegisters registers.
inline int fuse(Instruction* code, int n_code, int n_inputs, std::uint16_t* outputs, int n_outputs) {
    std::uint16_t uses[kMaxRegisters] = {};
    const auto count_use = [&](std::uint16_t r) {
        if (uses[r] < 2) ++uses[r];
    };
    for (int i = 0; i < n_code; ++i) {
        const std::uint16_t operands[3] = {code[i].a, code[i].b, code[i].c};
        for (int o = 0; o < operand_count(code[i].op); ++o) count_use(operands[o]);
    }
    for (int k = 0; k < n_outputs; ++k) count_use(outputs[k]);

    // Where each register of the old numbering is in the new one.
    std::uint16_t renamed[kMaxRegisters];
    for (int r = 0; r < n_inputs; ++r) renamed[r] = static_cast<std::uint16_t>(r);
    bool absorbed[kMaxRegisters] = {};
    for (int i = 0; i < n_code; ++i) {
        Instruction& s = code[i];
        if (s.op != Opcode::tanh_gradient && s.op != Opcode::sigmoid_gradient) continue;
        if (s.a < n_inputs || uses[s.a] != 1) continue;
        const Instruction& product = code[s.a - n_inputs];
        if (product.op != Opcode::mul) continue;
        absorbed[s.a] = true;
        const bool of_tanh = s.op == Opcode::tanh_gradient;
        s = {of_tanh ? Opcode::mul_tanh_gradient : Opcode::mul_sigmoid_gradient, product.a, product.b, s.b, 0.0};
    }
    int kept = 0;
    for (int i = 0; i < n_code; ++i) {
        if (absorbed[n_inputs + i]) continue;
        Instruction s = code[i];
        std::uint16_t* operands[3] = {&s.a, &s.b, &s.c};
        for (int o = 0; o < operand_count(s.op); ++o) *operands[o] = renamed[*operands[o]];
        renamed[n_inputs + i] = static_cast<std::uint16_t>(n_inputs + kept);
        code[kept++] = s;
    }
    for (int k = 0; k < n_outputs; ++k) outputs[k] = renamed[outputs[k]];
    return kept;
}

}  // namespace unroll::detail
