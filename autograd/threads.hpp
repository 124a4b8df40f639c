// Threads: one pool for the whole library, one switch.
//
// How work is cut depends on its shape alone, never on the number of threads, so that results are the same bits for any
// number of them. Products of oneDNN and the BLAS run on the thread that calls them.
#pragma once

#include <unroll/autograd/shape.hpp>

#include <functional>

namespace unroll {

/// Threads that unroll uses, the calling one included. At first: the environment variable UNROLL_NUM_THREADS, otherwise the
/// number of processors.
Index num_threads();
/// @throws ValueError for a number below 1
void set_num_threads(Index threads);

/// Calls body(0), …, body(count − 1), each once, on the threads of the pool; returns when all are done. Calls from inside a
/// body run on the calling thread. The first exception (by number) is thrown again.
void parallel_for(Index count, const std::function<void(Index)>& body);

namespace detail {

/// Whether the caller is one of several bodies of a parallel_for, whatever the number of threads: then large pieces of work
/// are left whole.
bool in_parallel_part() noexcept;

}  // namespace detail
}  // namespace unroll
