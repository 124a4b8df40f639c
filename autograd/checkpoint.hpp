// Gradient checkpointing: a part of the graph that keeps nothing but its inputs, and runs again when gradients come back.
#pragma once

#include <unroll/autograd/tape.hpp>

#include <functional>

namespace unroll {

/// What a checkpoint runs: pure but for draws from RandomStreams, which are repeated exactly. It may use parameters and other
/// Vars. At most 16 results, or 4,096 of one shape.
template <class Real>
using CheckpointFunction = std::function<Vars<Real>(std::span<const Var<Real>> inputs)>;

/// function(inputs) as one node: values made inside are freed at once; backward runs the function again on a child tape.
/// Whatever the function refers to must live until then. Without a tape it is just called.
/// @throws UsageError for too many results
/// Source: Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost", 2016.
template <class Real>
Vars<Real> checkpoint(CheckpointFunction<Real> function, const Vars<Real>& inputs);

}  // namespace unroll
