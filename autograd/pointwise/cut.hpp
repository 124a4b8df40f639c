// Which values of a program to keep for its derivative, and which to compute again: a minimum cut.
//
// It knows costs and dependencies only; adjoint.cpp says what is needed and by whom.
#pragma once

#include <span>
#include <vector>

#include <unroll/autograd/pointwise/program.hpp>

namespace unroll::detail {

/// One value that the derivative may want. Costs are in tenths of what it costs to store a result of the forward pass
/// and read it back.
struct Keepable {
    int keep_cost;       ///< of having it in the backward pass without computing it
    int recompute_cost;  ///< of computing it there from its operands; kNever where that is impossible
    bool needed;         ///< read by the derivative directly
    std::vector<int> operands;
};

inline constexpr int kNever = 1 << 20;

/// The cost of keeping a value: an input or an output of the program is there anyway and only has to stay alive and be
/// read (an output is what the next operation reads, so it mostly stays alive in any case); any other one has to be
/// written too.
inline constexpr int kKeepOutput = 3, kKeepInput = 6, kKeepResult = 10;

/// The cost of an operation in the same unit. Arithmetic in the first cache costs next to nothing; a transcendental
/// function costs more than going to memory and back.
int recompute_cost(Opcode op);

/// The values to keep such that everything needed is kept or can be computed from what is kept, at least cost in
/// total. (The values are in topological order. The cut nearest to the derivative is taken if several are cheapest.)
std::vector<int> cheapest_to_keep(std::span<const Keepable> values);

}  // namespace unroll::detail
