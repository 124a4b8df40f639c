// Program: an elementwise function of several inputs and outputs as straight-line data.
//
// builder.hpp makes programs, adjoint.hpp derives one from another, kernels/ run them; here they are only held,
// compared, checked and printed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <unroll/autograd/kernels/opcode.hpp>

namespace unroll::detail {

using Register = std::uint16_t;

/// Register r is input r while r < inputs, otherwise the result of code[r - inputs]; every instruction reads earlier
/// registers only. Outputs are registers: inputs, and the same register twice, are allowed.
struct Program {
    int inputs = 0;
    std::vector<Instruction> code;
    std::vector<Register> outputs;

    int registers() const { return inputs + static_cast<int>(code.size()); }
    const Instruction& at(Register r) const { return code[static_cast<std::size_t>(r - inputs)]; }
    bool is_input(Register r) const { return r < inputs; }
};

/// The same instructions on the same registers. Constants are compared as bits (so that -0 is not 0, and NaN is NaN).
bool operator==(const Program& a, const Program& b);
std::uint64_t hash_of(const Program& program);

/// Throws InternalError if a register is read before it is written or is out of range.
void check(const Program& program);

/// Operand registers of an instruction, as many as it has.
inline std::span<const Register> operands(const Instruction& instruction) {
    static_assert(offsetof(Instruction, b) == offsetof(Instruction, a) + sizeof(Register) &&
                  offsetof(Instruction, c) == offsetof(Instruction, b) + sizeof(Register));
    return {&instruction.a, static_cast<std::size_t>(operand_count(instruction.op))};
}

/// One line per output, and one per value that is used more than once:
///     c2 = f * c + i * g
///     h = o * tanh(c2)
/// Inputs are called x0, x1, … and outputs y0, y1, … where no name is given.
std::string to_string(const Program& program, std::span<const std::string> input_names = {},
                      std::span<const std::string> output_names = {});

}  // namespace unroll::detail
