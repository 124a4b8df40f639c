// Data parallelism over the rows of a batch: a tape for each part, the gradients added in a fixed order.
#pragma once

#include <unroll/autograd/parameter.hpp>
#include <unroll/autograd/threads.hpp>

#include <functional>
#include <memory>
#include <vector>

namespace unroll {

/// Into how many parts a batch of so many rows is cut: 1 below 32 rows, and where a loop multiplies its state by a weight of
/// 3·2¹⁸ elements or more; otherwise so that each has at least 16 rows, at most 8. Never by the number of threads.
template <class Real>
Index shard_count(const ParameterStore<Real>& store, Index batch) noexcept;

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

    /// @param loss called once for each part, with a tape in scope; must not touch what another part uses, parameters of the
    ///        store apart.
    ///        It keeps what goes to the next window (a state, say) by itself.
    /// @throws what a part throws, the first part by number; the store may then hold the gradients of parts that were done:
    ///         zero them before going on.
    /// @returns the sum of the parts' losses. Dropout differs from part to part, and not with the number of threads; what a
    ///          part draws itself must come from a RandomStream of its own.
    Real backward(Index batch, const std::function<Var<Real>(Shard)>& loss, TapeOptions options = {});

private:
    ParameterStore<Real>& store_;
    std::vector<std::unique_ptr<Gradients<Real>>> others_;
};

#define UNROLL_DECLARE(R)                                                        \
    extern template Index shard_count(const ParameterStore<R>&, Index) noexcept; \
    extern template class DataParallel<R>;
UNROLL_DECLARE(float)
UNROLL_DECLARE(double)
UNROLL_DECLARE(Dual<double>)
#undef UNROLL_DECLARE

}  // namespace unroll
