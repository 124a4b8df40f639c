// Counts what this program takes from the heap through operator new (allocation_counter.cpp replaces it), on all
// threads.
#pragma once

#include <cstdint>

namespace unroll::test {

/// Calls of operator new so far.
std::int64_t allocation_count() noexcept;

}  // namespace unroll::test
