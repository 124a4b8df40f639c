// Slabs: values of all time steps as equal slices of one block, so that products over all steps need no copying.
//
// A loop through time runs the same ops at every step. While a SlabScope stands, the n-th array made in a step is slice
// t of the n-th slab; a step that asks for another size falls back to the pool. In backward the gradients of such values
// are slices of a mirror slab at the same places.
#pragma once

#include <unroll/autograd/pool.hpp>
#include <unroll/autograd/shape.hpp>

namespace unroll::detail {

/// How a block is cut into equal slices, and where the gradients of the slices lie during one backward sweep. It outlives
/// its block while gradients are still to be made.
struct Slab {
    std::atomic<std::uint32_t> references{1};
    std::uint32_t slices = 0;
    std::size_t slice_bytes = 0;
    std::uint64_t sweep = 0;        ///< the backward sweep that mirror and claimed belong to
    Block* mirror = nullptr;        ///< same size as the block; owned
    std::uint8_t claimed[8] = {0};  ///< one byte per slice (the rest follows the struct): its place is taken

    /// Cuts a block into equal slices. @pre the block is not cut yet, and holds slices·slice_bytes or more
    static void cut(Block& block, Index slices, std::size_t slice_bytes);
    /// The slice that starts at `data` and has `bytes` bytes, or -1.
    static Index slice_at(const Block& block, const void* data, std::size_t bytes) noexcept;
    /// The place of a slice's gradient in the mirror; nothing where it is taken already.
    BlockRef claim(Index slice, std::uint64_t sweep, void** place);
    static void destroy(Slab* slab) noexcept;
};
using SlabRef = Ref<Slab>;

/// Serves the arrays made in a loop through time; one stands at a time in a thread.
class SlabScope {
public:
    /// @param steps number of slices; one more is kept before the first for a state that enters the loop.
    explicit SlabScope(Index steps);
    SlabScope(const SlabScope&) = delete;
    SlabScope& operator=(const SlabScope&) = delete;
    ~SlabScope();

    /// The arrays that follow belong to step t = 0, 1, …
    void begin_step(Index t) noexcept;
    /// Memory for the next array, or nothing when it does not fit the pattern.
    BlockRef allocate(std::size_t bytes, void** data);
    /// The place before the slice of step 0 that `data` is; nullptr if it is none of this loop's.
    void* before_first(const Block* block, const void* data) const noexcept;

    static SlabScope* current() noexcept;

private:
    struct Position {
        BlockRef block;
        std::size_t bytes = 0;
    };
    static constexpr std::size_t kPositions = 64;

    Index steps_;
    Index step_ = 0;
    std::size_t next_ = 0;
    std::size_t count_ = 0;
    bool regular_ = true;
    SlabScope* outer_;
    Position positions_[kPositions];
};

/// Serves arrays from the pool again while it stands.
class NoSlabs {
public:
    NoSlabs() noexcept;
    NoSlabs(const NoSlabs&) = delete;
    NoSlabs& operator=(const NoSlabs&) = delete;
    ~NoSlabs();

private:
    SlabScope* before_;
};

}  // namespace unroll::detail
