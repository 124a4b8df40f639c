// Slabs: cutting blocks, claiming places for gradients, serving a loop through time.
#include <unroll/autograd/slab.hpp>

#include <cstring>
#include <new>

namespace unroll::detail {
namespace {
thread_local constinit SlabScope* current_scope = nullptr;
}  // namespace

void Slab::cut(Block& block, Index slices, std::size_t slice_bytes) {
    Slab* slab = new (pool_allocate(sizeof(Slab) + static_cast<std::size_t>(slices))) Slab;
    slab->slices = static_cast<std::uint32_t>(slices);
    slab->slice_bytes = slice_bytes;
    block.slab = slab;
}

Index Slab::slice_at(const Block& block, const void* data, std::size_t bytes) noexcept {
    const Slab* slab = block.slab;
    if (!slab || bytes == 0 || bytes != slab->slice_bytes) return -1;
    const std::size_t offset =
        static_cast<std::size_t>(static_cast<const char*>(data) - const_cast<Block&>(block).as<char>());
    return offset % bytes == 0 && offset / bytes < slab->slices ? static_cast<Index>(offset / bytes) : -1;
}

BlockRef Slab::claim(Index slice, std::uint64_t now, void** place) {
    if (sweep != now) {
        Block* fresh = Block::make(slices * slice_bytes);
        BlockRef::release(mirror);
        mirror = fresh;
        sweep = now;
        std::memset(claimed, 0, slices);
    }
    if (claimed[slice]) return {};
    claimed[slice] = 1;
    *place = mirror->as<char>() + static_cast<std::size_t>(slice) * slice_bytes;
    return BlockRef::share(mirror);
}

void Slab::destroy(Slab* slab) noexcept {
    BlockRef::release(slab->mirror);
    slab->~Slab();
    pool_free(slab);
}

SlabScope::SlabScope(Index steps) : steps_(steps), outer_(current_scope) { current_scope = this; }

SlabScope::~SlabScope() { current_scope = outer_; }

void SlabScope::begin_step(Index t) noexcept {
    step_ = t;
    next_ = 0;
    regular_ = true;
}

BlockRef SlabScope::allocate(std::size_t bytes, void** data) {
    if (!regular_ || bytes == 0) return {};
    if (step_ == 0) {
        if (count_ == kPositions) return {};
        Position& position = positions_[count_++];
        position.bytes = bytes;
        position.block = BlockRef::adopt(Block::make(bytes * static_cast<std::size_t>(steps_ + 1)));
        Slab::cut(*position.block, steps_ + 1, bytes);
        *data = position.block->as<char>() + bytes;
        return position.block;
    }
    // A step that differs from the first one leaves the pattern until the next step begins.
    if (next_ >= count_ || positions_[next_].bytes != bytes || step_ >= steps_) {
        regular_ = false;
        return {};
    }
    Position& position = positions_[next_++];
    *data = position.block->as<char>() + bytes * static_cast<std::size_t>(step_ + 1);
    BlockRef block = position.block;
    if (step_ + 1 == steps_) position.block = BlockRef();
    return block;
}

void* SlabScope::before_first(const Block* block, const void* data) const noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
        if (!block || positions_[i].block.get() != block) continue;
        char* base = const_cast<Block*>(block)->as<char>();
        return static_cast<const char*>(data) == base + positions_[i].bytes ? base : nullptr;
    }
    return nullptr;
}

SlabScope* SlabScope::current() noexcept { return current_scope; }

NoSlabs::NoSlabs() noexcept : before_(current_scope) { current_scope = nullptr; }
NoSlabs::~NoSlabs() { current_scope = before_; }

}  // namespace unroll::detail
