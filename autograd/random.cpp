// Random numbers by counter.
#include <unroll/autograd/detail/fnv1a.hpp>
#include <unroll/autograd/random.hpp>

#include <Random123/philox.h>

#include <cmath>

namespace unroll {

std::array<std::uint32_t, 4> random_block(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) noexcept {
    using Philox = r123::Philox4x32;
    const Philox::ctr_type position = {{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                                        static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}};
    const Philox::key_type key = {{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
    const Philox::ctr_type words = Philox()(position, key);
    return {words[0], words[1], words[2], words[3]};
}

std::uint64_t stream_of(std::string_view name) noexcept { return detail::Fnv1a().take_each(name).hash; }

namespace {
thread_local constinit DrawLog* recording = nullptr;
thread_local constinit const DrawLog* replaying = nullptr;
thread_local constinit std::size_t next_replayed = 0;
thread_local constinit ShardDraws* shard_draws = nullptr;
constexpr int kShardBit = 48;  // calls of part s count from s·2⁴⁸

/// The counter of a draw: the noted one where draws are repeated, otherwise what `fresh` says.
template <class Fresh>
std::uint64_t counter_of_draw(Fresh fresh) {
    std::uint64_t counter = 0;
    if (replaying) {
        if (next_replayed == replaying->counters.size())
            detail::fail_usage("checkpoint", "the function draws more random numbers when it runs again");
        counter = replaying->counters[next_replayed++];
    } else {
        counter = fresh();
    }
    if (recording) recording->counters.push_back(counter);
    return counter;
}
}  // namespace

DrawRecorder::DrawRecorder(DrawLog& log) noexcept : own_(&log), before_(recording) { recording = &log; }
DrawRecorder::~DrawRecorder() {
    recording = before_;
    if (before_) before_->counters.insert(before_->counters.end(), own_->counters.begin(), own_->counters.end());
}

DrawReplay::DrawReplay(const DrawLog& log) noexcept : before_(replaying), next_before_(next_replayed) {
    replaying = &log;
    next_replayed = 0;
}
DrawReplay::~DrawReplay() {
    replaying = before_;
    next_replayed = next_before_;
}

ShardDraws::Guard::Guard(ShardDraws& draws, std::uint64_t shard) noexcept : before_(shard_draws) {
    draws.shard_ = shard;
    shard_draws = &draws;
}
ShardDraws::Guard::~Guard() { shard_draws = before_; }

std::uint64_t ShardDraws::next_call(RandomStream& stream) {
    for (Stream& s : streams_)
        if (s.stream == &stream) return (shard_ << kShardBit) + s.begin + s.calls++;
    streams_.push_back({&stream, stream.counter(), 1});
    return (shard_ << kShardBit) + stream.counter();
}

void ShardDraws::advance_streams() const {
    for (const Stream& s : streams_)
        if (s.begin + s.calls > s.stream->counter()) s.stream->set_counter(s.begin + s.calls);
}

std::uint64_t RandomStream::next_call() {
    return counter_of_draw([this] { return shard_draws ? shard_draws->next_call(*this) : counter_++; });
}

std::uint64_t RandomStream::bits() {
    const std::uint64_t counter = counter_of_draw([this] { return counter_++; });
    const auto words = random_block(seed_, stream_, counter / 2);
    const std::size_t half = counter % 2 * 2;
    return static_cast<std::uint64_t>(words[half]) << 32 | words[half + 1];
}

double RandomStream::normal() {
    const double u = 1.0 - uniform();  // in (0, 1]
    const double v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586476925 * v);
}

Index RandomStream::below(Index below) {
    const auto n = static_cast<std::uint64_t>(below);
    const std::uint64_t limit = ~std::uint64_t{0} - (~std::uint64_t{0} % n + 1) % n;  // the last value of a whole round
    std::uint64_t draw = bits();
    while (draw > limit) draw = bits();
    return static_cast<Index>(draw % n);
}

}  // namespace unroll
