// Writing text, one character after another.
#pragma once

#include "model.hpp"

#include <unroll/layers/sampler.hpp>

#include <functional>

namespace shakespeare {

/// Reads `prime`, then draws `length` characters, each from what the model expects after all before it, and hands each to
/// `take` (which may return false to stop). The model's store must be in evaluation mode.
void generate(const CharModel<float>& model, const IntTensor& prime, Index length, const unroll::Sampler& sampler,
              unroll::RandomStream& random, const std::function<bool(Index token)>& take);

/// The command `shakespeare sample`; returns the exit code.
int run(const SampleOptions& options);

}  // namespace shakespeare
