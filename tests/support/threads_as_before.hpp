// For tests that change the number of threads.
#pragma once

#include <unroll/autograd/threads.hpp>

namespace unroll::test {

/// The number of threads is at the end what it was at the beginning.
struct ThreadsAsBefore {
    Index before = num_threads();
    ~ThreadsAsBefore() { set_num_threads(before); }
};

}  // namespace unroll::test
