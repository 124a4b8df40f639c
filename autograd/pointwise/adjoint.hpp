// The derivative of a program: again a program, and what it wants to know of the forward pass.
//
// Reverse accumulation over the instructions with the rules of rules.hpp, recorded like a user's function and
// simplified like one. Nothing is run here, and no tensor is known.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <unroll/autograd/pointwise/program.hpp>

namespace unroll::detail {

/// One bit for each input or output.
using Mask = std::uint64_t;
inline constexpr int kMaxOperands = 64;

/// Where an input of a derivative comes from.
struct Source {
    enum class Kind : std::uint8_t {
        input,     ///< of the program
        output,    ///< of the program
        saved,     ///< by the extended forward program, after its outputs
        gradient,  ///< of an output of the program
    };
    Kind kind;
    std::uint16_t index;

    friend bool operator==(const Source&, const Source&) = default;
};

/// From gradients of outputs to gradients of inputs.
struct BackwardProgram {
    Program program;
    Program fused;                       ///< the same for the vector executor (kernels/fuse.hpp), bit for bit
    std::vector<Source> reads;           ///< of each input of the program; inputs first, then outputs, saved, gradients
    std::vector<int> gradient_of_input;  ///< by input: which output of the program; -1: not wanted, or always zero
};

struct Adjoint {
    Program forward;           ///< the program with the saved values as further outputs
    int saved = 0;             ///< how many
    Mask needs_input = 0;      ///< operands that backward reads; the others need not stay alive
    Mask needs_output = 0;     ///< outputs that backward reads
    BackwardProgram backward;  ///< for gradients of all outputs
};

/// Derives the gradients of the wanted inputs. What is saved is the cheapest by the measure of cut.hpp: results of
/// transcendental functions mostly, never what arithmetic gets from kept values. It depends on the program and on
/// `wanted` only. Inputs from number `operands` on are parameters: scalars, which cost nothing to keep and have no
/// gradient.
Adjoint differentiate(const Program& program, Mask wanted, int operands);
inline Adjoint differentiate(const Program& program, Mask wanted) {
    return differentiate(program, wanted, program.inputs);
}

/// The same derivative where some outputs have no gradient: those that are absent count as zero, and what only they
/// needed is gone. It reads nothing that the full one does not.
BackwardProgram without_absent(const BackwardProgram& backward, Mask present);

/// The extended forward program and the derivative as text:
///     h = o * tanh(c)            -- with s0 = tanh(c) saved
/// Saved values are called s0, s1, …, gradients g and the name of the input or output.
std::string to_string(const Adjoint& adjoint, std::span<const std::string> input_names = {},
                      std::span<const std::string> output_names = {});

}  // namespace unroll::detail
