// Random numbers by counter: a draw depends on (seed, stream, counter) and on nothing else.
//
// The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011), from
// the Random123 library. Uniforms, normals, shuffles and choices are our own code, so that they are the same on every
// platform with the same libm.
#pragma once

#include <unroll/autograd/pool.hpp>
#include <unroll/autograd/shape.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace unroll {

/// Four random words for a position. The whole generator is this function.
std::array<std::uint32_t, 4> random_block(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) noexcept;

/// The number of a stream from its name (64-bit FNV-1a).
std::uint64_t stream_of(std::string_view name) noexcept;

/// The counters of draws, in their order, so that a part of the graph that runs again repeats them.
struct DrawLog {
    std::vector<std::uint64_t> counters;
};

/// Notes the draws of this thread in a log while it stands; what stood before then has them too.
class DrawRecorder {
public:
    explicit DrawRecorder(DrawLog& log) noexcept;
    DrawRecorder(const DrawRecorder&) = delete;
    DrawRecorder& operator=(const DrawRecorder&) = delete;
    ~DrawRecorder();

private:
    DrawLog* own_;
    DrawLog* before_;
};

/// Repeats the draws of a log on this thread while it stands; streams stay where they are.
class DrawReplay {
public:
    explicit DrawReplay(const DrawLog& log) noexcept;
    DrawReplay(const DrawReplay&) = delete;
    DrawReplay& operator=(const DrawReplay&) = delete;
    ~DrawReplay();

private:
    const DrawLog* before_;
    std::size_t next_before_;
};

class RandomStream;

/// What the calls that draw many numbers (dropout) draw in one part of a batch that runs beside others: each part has
/// numbers of its own in every stream, whatever thread it runs on; the streams themselves move on when all parts are done.
/// Single draws (uniform, normal, …) are not among them: a part makes them from a stream of its own.
class ShardDraws {
public:
    /// Draws of this thread belong to `shard` while it stands.
    class Guard {
    public:
        Guard(ShardDraws& draws, std::uint64_t shard) noexcept;
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;
        ~Guard();

    private:
        ShardDraws* before_;
    };
    /// Moves every stream behind the most that a part has drawn from it.
    template <class Range>
    static void advance(const Range& shards) {
        for (const ShardDraws& shard : shards) shard.advance_streams();
    }

private:
    friend class RandomStream;
    struct Stream {
        RandomStream* stream;
        std::uint64_t begin;
        std::uint64_t calls;
    };
    std::uint64_t next_call(RandomStream& stream);
    void advance_streams() const;

    std::uint64_t shard_ = 0;
    std::vector<Stream, detail::PoolAllocator<Stream>> streams_;
};

/// A position in one stream of random numbers; its whole state is three numbers.
class RandomStream {
public:
    explicit RandomStream(std::uint64_t seed = 0, std::uint64_t stream = 0, std::uint64_t counter = 0) noexcept
        : seed_(seed), stream_(stream), counter_(counter) {}
    RandomStream(std::uint64_t seed, std::string_view name) noexcept : RandomStream(seed, stream_of(name)) {}

    std::uint64_t seed() const noexcept { return seed_; }
    std::uint64_t stream() const noexcept { return stream_; }
    std::uint64_t counter() const noexcept { return counter_; }
    void set_counter(std::uint64_t counter) noexcept { counter_ = counter; }
    /// The counter for one call that draws many numbers by position; the stream moves on by one (but not in a DrawReplay,
    /// which gives the noted one).
    std::uint64_t next_call();

    /// 64 random bits; in a DrawReplay the noted ones.
    std::uint64_t bits();
    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
    /// Uniform in [low, high).
    double uniform(double low, double high) { return low + (high - low) * uniform(); }
    /// Standard normal (Box–Muller; each call takes two uniforms).
    double normal();
    /// Uniform in {0, …, below − 1}, without bias. @pre below > 0
    Index below(Index below);
    /// A random permutation in place (Fisher–Yates).
    template <class T>
    void shuffle(std::span<T> items) {
        for (std::size_t i = items.size(); i > 1; --i) {
            const auto j = static_cast<std::size_t>(below(static_cast<Index>(i)));
            T held = items[i - 1];
            items[i - 1] = items[j];
            items[j] = held;
        }
    }

private:
    std::uint64_t seed_, stream_, counter_;
};

}  // namespace unroll
