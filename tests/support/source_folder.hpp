// Where the source tree stands: golden numbers and scripts are read in place.
#pragma once

#include <string>

namespace unroll::test {

/// The absolute path of a file of the source tree. @param path from its root, as in "tests/golden/ops.json"
std::string source_file(const std::string& path);

}  // namespace unroll::test
