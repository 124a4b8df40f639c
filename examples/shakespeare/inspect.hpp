// What a model file or checkpoint holds.
#pragma once

#include "options.hpp"

namespace shakespeare {

/// The command `shakespeare inspect`; returns the exit code.
int run(const InspectOptions& options);

}  // namespace shakespeare
