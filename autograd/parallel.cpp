// Data parallelism over the rows of a batch.
#include <unroll/autograd/parallel.hpp>

#include <unroll/autograd/profile.hpp>

#include <fmt/format.h>

namespace unroll {

template <class Real>
Index shard_count(const ParameterStore<Real>& store, Index batch) noexcept {
    constexpr Index kRows = 16, kMost = 8;
    // 3 MiB of floats: such a weight leaves a core's second-level cache between steps, and each part would fetch it again.
    constexpr Index kLarge = Index{3} << 18;
    if (batch < 2 * kRows) return 1;
    for (const auto* entry : store.entries())
        if (entry->in_loop && entry->shape.size() >= kLarge) return 1;
    return std::min(kMost, batch / kRows >= 4 ? batch / (2 * kRows) : 2);
}

template <class Real>
Real DataParallel<Real>::backward(Index batch, const std::function<Var<Real>(Shard)>& loss, TapeOptions options) {
    if (batch < 1) throw ValueError(fmt::format("[DataParallel] the batch must have 1 row or more; got {}", batch));
    const Index shards = shard_count(store_, batch);
    while (static_cast<Index>(others_.size()) + 1 < shards)
        others_.push_back(std::make_unique<Gradients<Real>>(store_));
    for (auto& other : others_) other->zero();
    std::vector<Real, detail::PoolAllocator<Real>> losses(static_cast<std::size_t>(shards));
    std::vector<ShardDraws, detail::PoolAllocator<ShardDraws>> draws(static_cast<std::size_t>(shards));
    parallel_for(shards, [&](Index s) {
        const detail::Place place = detail::current_place();
        const ShardDraws::Guard guard(draws[static_cast<std::size_t>(s)], static_cast<std::uint64_t>(s));
        Gradients<Real>* into = s == 0 ? &store_.gradients() : others_[static_cast<std::size_t>(s - 1)].get();
        Tape<Real> tape(options);
        const Var<Real> part = loss({s, batch * s / shards, batch * (s + 1) / shards});
        tape.backward_into(part, std::span<Gradients<Real>* const>(&into, 1));
        losses[static_cast<std::size_t>(s)] = part.item();
        detail::current_place() = place;
    });
    ShardDraws::advance(draws);
    const ProfileSpan span("add", "gradients");
    Real total(0);
    for (Index s = 0; s < shards; ++s) total += losses[static_cast<std::size_t>(s)];
    for (Index s = 1; s < shards; ++s) store_.gradients().prepare_to_add(*others_[static_cast<std::size_t>(s - 1)]);
    if (shards > 1)
        parallel_for(static_cast<Index>(store_.entries().size()), [&](Index e) {
            for (Index s = 1; s < shards; ++s)
                store_.gradients().add_entry(*others_[static_cast<std::size_t>(s - 1)],
                                             *store_.entries()[static_cast<std::size_t>(e)]);
        });
    return total;
}

#define UNROLL_INSTANTIATE(R)                                             \
    template Index shard_count(const ParameterStore<R>&, Index) noexcept; \
    template class DataParallel<R>;
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
