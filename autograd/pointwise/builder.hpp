// Builder: turns a sequence of operations into a Program, merging common subexpressions and simplifying as it goes.
//
// It works on register numbers. What the user writes comes through symbols (recorder.hpp); the rules of
// differentiation come through the same door. It allocates nothing once its buffers have grown.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <unroll/autograd/pointwise/program.hpp>

namespace unroll::detail {

/// Which rewritings are allowed.
enum class Simplify {
    /// Only those that leave every value as it is, NaN and infinities included (the sign of a zero may change).
    exact,
    /// Also 0·x = 0/x = 0 for a constant 0, which in a gradient stands for "no contribution".
    zeros,
    /// Also: a gradient that a condition has set to zero stays zero whatever it is multiplied with. This is what keeps
    /// NaN of a branch not taken out of the gradient.
    gradient,
};

class Builder {
public:
    /// Forgets everything and begins with that many inputs.
    void start(int inputs);

    /// One input more, at any time. (Its register follows those so far; finish brings the inputs to the front.)
    Register add_input();
    Register constant(double value);
    /// The register that holds this operation's result: a new one, or an older one that is known to hold the same
    /// value. Throws ValueError if the program gets too long.
    Register emit(Opcode op, Register a, Register b = 0, Register c = 0);

    void set_simplify(Simplify mode) {
        mode_ = mode;
        gradient_begin_ = static_cast<int>(nodes_.size());
    }

    int size() const { return static_cast<int>(nodes_.size()); }
    bool is_input(Register r) const { return nodes_[r].op == Opcode::count; }
    bool is_constant(Register r) const { return nodes_[r].op == Opcode::constant; }
    bool is_constant(Register r, double value) const { return is_constant(r) && nodes_[r].value == value; }
    const Instruction& at(Register r) const { return nodes_[r]; }

    /// The program that computes these outputs: without what they do not need, with its inputs in the given order
    /// (registers of inputs, or any others that the caller will supply), and with a product and the sum that alone
    /// uses it as one instruction.
    void finish(std::span<const Register> inputs, std::span<const Register> outputs, Program& program);

private:
    // simplify.cpp: the register that already holds the result, or that a simpler operation gives; nothing if there is
    // none.
    std::optional<Register> simplified(Opcode op, Register a, Register b, Register c);
    std::optional<Register> simplified_arithmetic(Opcode op, Register a, Register b);
    std::optional<Register> simplified_logic(Opcode op, Register a, Register b, Register c);
    std::optional<Register> simplified_power(Register base, double exponent);
    std::optional<Register> simplified_gradient(Opcode op, Register a, Register b);
    std::optional<Register> sum_of_masked(Register a, Register b);
    bool is_masked_gradient(Register r) const;

    Register emit(Opcode op, Register a, Register b, Register c, double value);
    std::optional<Register> find(const Instruction& instruction) const;
    Register append(const Instruction& instruction);
    void insert(Register r);
    void rehash();

    std::vector<Instruction> nodes_;   // registers in order of creation; Opcode::count: an input
    std::vector<Register> table_;      // registers by the hash of their instruction, open addressing
    std::vector<std::uint16_t> uses_;  // by finish: how often a register is read
    std::vector<Register> number_;     // by finish: its new number
    Simplify mode_ = Simplify::exact;
    int gradient_begin_ = 0;  // registers from here on were made while gradients were being recorded
};

}  // namespace unroll::detail
