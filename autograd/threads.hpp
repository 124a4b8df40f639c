// Threads: one pool for the whole library, one switch.
//
// How work is cut depends on its shape alone, never on the number of threads, so that results are the same bits for any
// number of them. Products of oneDNN and the BLAS run on the thread that calls them.
#pragma once

#include <unroll/autograd/shape.hpp>

#include <concepts>
#include <memory>
#include <type_traits>

namespace unroll {

/// Threads that unroll uses, the calling one included. At first: the environment variable UNROLL_NUM_THREADS, otherwise the
/// number of processors.
Index num_threads();
/// @throws ValueError unless it is 1 to 1024; UsageError inside a body of parallel_for
void set_num_threads(Index threads);

namespace detail {

/// Whether the caller is one of several bodies of a parallel_for, whatever the number of threads: then large pieces of work
/// are left whole.
bool in_parallel_part() noexcept;

void run_parallel(Index count, void (*call)(void* body, Index i), void* body);

}  // namespace detail

/// Calls body(0), …, body(count − 1), each once, on the threads of the pool; returns when all are done. Calls from inside a
/// body run on the calling thread. The first exception (by number) is thrown again.
template <std::invocable<Index> Body>
void parallel_for(Index count, Body&& body) {
    using Called = std::remove_reference_t<Body>;
    detail::run_parallel(
        count, [](void* called, Index i) { (*static_cast<Called*>(called))(i); },
        const_cast<void*>(static_cast<const void*>(std::addressof(body))));
}

}  // namespace unroll
