// Threads: one pool for the whole library, one switch, and data parallelism over the rows of a batch.
//
// How work is cut depends on its shape alone, and sums run in a fixed order, so that results are the same bits for any
// number of threads. Products of oneDNN and the BLAS run on the thread that calls them.
#pragma once

#include <unroll/autograd/parameter.hpp>

#include <functional>
#include <memory>
#include <vector>

namespace unroll {

/// Threads that unroll uses, the calling one included. At first: the environment variable UNROLL_NUM_THREADS, otherwise the
/// number of processors.
Index num_threads();
/// @throws ValueError for a number below 1
void set_num_threads(Index threads);

/// Calls body(0), …, body(count − 1), each once, on the threads of the pool; returns when all are done. Calls from inside a
/// body run on the calling thread. The first exception (by number) is thrown again.
void parallel_for(Index count, const std::function<void(Index)>& body);

/// Into how many parts a batch of so many rows is cut: 1 below 32, then so that each has at least 16 rows, at most 8.
Index shard_count(Index batch) noexcept;

/// Rows [begin, end) of a batch.
struct Shard {
    Index number;
    Index begin;
    Index end;
};

/// Runs a model on parts of a batch, each with a tape of its own on a thread of its own, and adds the gradients in the order
/// of the parts. The loss of a part must be its share of the whole: its sum over the rows divided by the size of the batch
/// (for a mean: mean over the part · rows of the part / rows of the batch).
///
///     DataParallel<float> parallel(store);
///     double loss = parallel.backward(batch, [&](Shard s) {
///         return model.loss(rows(s)) * (double(s.end - s.begin) / batch);
///     });
template <class Real>
class DataParallel {
public:
    explicit DataParallel(ParameterStore<Real>& store) : store_(store) {}

    /// @param loss called once for each part, with a tape in scope; must not touch what another part uses, parameters apart.
    ///        It keeps what goes to the next window (a state, say) by itself.
    /// @returns the sum of the parts' losses. Random draws differ from part to part, and not with the number of threads.
    Real backward(Index batch, const std::function<Var<Real>(Shard)>& loss, TapeOptions options = {});

private:
    ParameterStore<Real>& store_;
    std::vector<std::unique_ptr<Gradients<Real>>> others_;
};

extern template class DataParallel<float>;
extern template class DataParallel<double>;
extern template class DataParallel<Dual<double>>;

}  // namespace unroll
