// What a model file or checkpoint holds.
#pragma once

#include "options.hpp"

namespace shakespeare {

/// The command `shakespeare inspect`; returns the exit code. @throws IoError for a file that is damaged
int run(const InspectOptions& options);

}  // namespace shakespeare
