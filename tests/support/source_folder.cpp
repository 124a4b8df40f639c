// The folder is known when the tests are built.
#include <unroll/tests/support/source_folder.hpp>

namespace unroll::test {

std::string source_file(const std::string& path) { return UNROLL_SOURCE_DIR "/" + path; }

}  // namespace unroll::test
