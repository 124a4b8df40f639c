// The pool: where all memory of arrays and tapes comes from and goes back to.
//
// Each thread has a pool of its own, with a list of free pieces for each size class; in a steady training step every
// request is served from such a list. A piece freed on another thread goes home to the pool it came from. Pools outlive
// threads (a new thread takes over an orphan) and static destructors. Under the address sanitizer every request goes to
// the system, so that the sanitizer sees each piece.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

namespace unroll {

/// Bytes that the pools hold, over all threads.
struct MemoryUse {
    std::int64_t in_use = 0;    ///< handed out and not yet given back
    std::int64_t peak = 0;      ///< the largest in_use since the last reset_peak()
    std::int64_t reserved = 0;  ///< taken from the system
};
MemoryUse memory_use() noexcept;
/// Starts a new measurement of the peak.
void reset_memory_peak() noexcept;

namespace detail {

/// At least `bytes` bytes at an address of the form 64·k + 16. @throws std::bad_alloc
void* pool_allocate(std::size_t bytes);
/// Gives back what pool_allocate returned, on any thread.
void pool_free(void* piece) noexcept;

/// For standard containers whose memory comes from the pool.
template <class T>
struct PoolAllocator {
    using value_type = T;
    PoolAllocator() noexcept = default;
    template <class U>
    PoolAllocator(const PoolAllocator<U>&) noexcept {}
    T* allocate(std::size_t n) { return static_cast<T*>(pool_allocate(n * sizeof(T))); }
    void deallocate(T* memory, std::size_t) noexcept { pool_free(memory); }
    friend bool operator==(PoolAllocator, PoolAllocator) noexcept { return true; }
};

struct Slab;

/// The counted head of a piece of array memory; the elements follow it, aligned to 64 bytes.
struct Block {
    std::atomic<std::uint32_t> references{1};
    std::uint32_t before = 0;  ///< bytes of the piece that stand before the block
    std::size_t bytes = 0;
    Slab* slab = nullptr;  ///< set when the block is cut into equal slices over time (slab.hpp)
    void* unused_[3] = {};

    template <class T>
    T* as() noexcept {
        return reinterpret_cast<T*>(this + 1);
    }

    static Block* make(std::size_t bytes) { return make_behind(0, bytes); }
    /// Behind so many bytes (a multiple of 64) for somebody else, who must be gone when the last reference goes.
    static Block* make_behind(std::size_t before, std::size_t bytes);
    void* piece() noexcept { return reinterpret_cast<char*>(this) - before; }
    static void destroy(Block* block) noexcept;
};
static_assert(sizeof(Block) == 48, "the elements behind a block start at a multiple of 64");

/// Whether this process is known to have no other thread. An atomic addition waits for all stores before it, which made
/// up a sixth of a small op's time.
inline bool single_threaded() noexcept {
#if __has_include(<sys/single_threaded.h>)
    return __libc_single_threaded;
#else
    return false;
#endif
}

/// Counted pointer to anything with a member `references` and a static destroy(T*).
template <class T>
class Ref {
public:
    constexpr Ref() noexcept = default;
    /// Takes over the one reference that a new object is born with.
    static Ref adopt(T* object) noexcept {
        Ref ref;
        ref.object_ = object;
        return ref;
    }
    static Ref share(T* object) noexcept {
        if (!object) return {};
        if (single_threaded())
            object->references.store(object->references.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        else
            object->references.fetch_add(1, std::memory_order_relaxed);
        return adopt(object);
    }
    Ref(const Ref& other) noexcept : Ref(share(other.object_)) {}
    Ref(Ref&& other) noexcept : object_(other.object_) { other.object_ = nullptr; }
    Ref& operator=(Ref other) noexcept {
        T* mine = object_;
        object_ = other.object_;
        other.object_ = mine;
        return *this;
    }
    ~Ref() { release(object_); }

    T* get() const noexcept { return object_; }
    T* operator->() const noexcept { return object_; }
    T& operator*() const noexcept { return *object_; }
    explicit operator bool() const noexcept { return object_ != nullptr; }
    /// Gives the reference away.
    T* leak() noexcept {
        T* object = object_;
        object_ = nullptr;
        return object;
    }
    bool unique() const noexcept { return object_ && object_->references.load(std::memory_order_acquire) == 1; }

    static void release(T* object) noexcept {
        if (!object) return;
        const std::uint32_t references = object->references.load(std::memory_order_acquire);
        // The only owner needs no atomic subtraction: nobody else can touch the counter.
        if (references > 1 && single_threaded())
            object->references.store(references - 1, std::memory_order_relaxed);
        else if (references == 1 || object->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
            T::destroy(object);
    }

private:
    T* object_ = nullptr;
};

using BlockRef = Ref<Block>;

}  // namespace detail
}  // namespace unroll
