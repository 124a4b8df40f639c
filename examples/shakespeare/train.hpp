// The command `shakespeare train`.
#pragma once

#include "options.hpp"

#include <string>

namespace shakespeare {

/// Trains, and returns the exit code: 0, or 1 if --check-loss says so, or 128 + signal after a stop that was asked for.
/// @param program what to call this program in the command that is shown at the end
/// @throws unroll::Error in one line; what stood in the folder is then as it was, or as the last checkpoint left it
int run(const TrainOptions& options, const std::string& program);

}  // namespace shakespeare
