// The pools of the threads: size classes, free lists, the way home of pieces freed elsewhere.
#include <unroll/autograd/pool.hpp>
#include <unroll/autograd/slab.hpp>

#include <array>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define UNROLL_PLAIN_ALLOCATION 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNROLL_PLAIN_ALLOCATION 1
#endif
#endif
#ifndef UNROLL_PLAIN_ALLOCATION
#define UNROLL_PLAIN_ALLOCATION 0
#endif

namespace unroll {
namespace detail {
namespace {

struct Pool;

// Stands before every piece.
struct Header {
    Pool* home;
    std::uint32_t size_class;
    std::uint32_t pad;
};
static_assert(sizeof(Header) == 16);

struct Piece {
    Header header;
    Piece* next;  // only while free
};

constexpr std::size_t kLine = 64;
constexpr std::size_t kSmallClasses = 16;  // 64, 128, …, 1024 bytes
constexpr std::size_t kPerDoubling = 8;    // then eight classes for each doubling: at most 1/8 is lost
constexpr std::size_t kClasses = kSmallClasses + kPerDoubling * 38;
// Small pieces are cut from chunks; a pool that has needed a few small ones takes large pages from then on.
constexpr std::size_t kChunk = std::size_t{1} << 18;
constexpr std::size_t kHugePage = std::size_t{1} << 21;
constexpr int kFewChunks = 8;
constexpr std::size_t kPiecesInChunk = 16;  // or more; larger pieces come from the system one by one

[[maybe_unused]] std::size_t class_of(std::size_t bytes) {  // not where the pool steps aside
    if (bytes <= kSmallClasses * kLine) return (bytes + kLine - 1) / kLine - 1;
    const std::size_t units = (bytes - 1) / (kSmallClasses * kLine);  // ≥ 1
    const std::size_t doubling =
        static_cast<std::size_t>(std::bit_width(units)) - 1;  // bytes in (1024·2^d, 1024·2^(d+1)]
    const std::size_t base = (kSmallClasses * kLine) << doubling;
    const std::size_t part = (bytes - base + base / kPerDoubling - 1) / (base / kPerDoubling);  // 1 … 8
    return kSmallClasses + doubling * kPerDoubling + part - 1;
}

std::size_t bytes_of(std::size_t size_class) {
    if (size_class < kSmallClasses) return (size_class + 1) * kLine;
    const std::size_t doubling = (size_class - kSmallClasses) / kPerDoubling;
    const std::size_t part = (size_class - kSmallClasses) % kPerDoubling + 1;
    const std::size_t base = (kSmallClasses * kLine) << doubling;
    return base + part * (base / kPerDoubling);
}

std::atomic<std::int64_t> reserved_bytes{0};

void* from_system(std::size_t bytes) {
    const bool large = bytes >= kHugePage;
    const std::size_t alignment = large ? kHugePage : kLine;
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, rounded);
    if (!memory) throw std::bad_alloc();
#if defined(__linux__)
    // Fewer page faults and address translations for the slabs of long sequences.
    if (large) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
    reserved_bytes.fetch_add(static_cast<std::int64_t>(rounded), std::memory_order_relaxed);
    return memory;
}

struct Pool {
    std::array<Piece*, kClasses> free{};
    std::atomic<Piece*> returned{nullptr};  // freed by other threads
    char* chunk = nullptr;
    std::size_t chunk_left = 0;
    int chunks = 0;
    // Written by the owner alone (in_use also counts pieces given back elsewhere when they come home).
    std::atomic<std::int64_t> in_use{0};
    std::atomic<std::int64_t> peak{0};
    Pool* next_orphan = nullptr;
    Pool* next_of_all = nullptr;

    void put(Piece* piece) noexcept {
        const std::size_t c = piece->header.size_class;
        piece->next = free[c];
        free[c] = piece;
        in_use.store(in_use.load(std::memory_order_relaxed) - static_cast<std::int64_t>(bytes_of(c)),
                     std::memory_order_relaxed);
    }

    void collect() noexcept {
        for (Piece* piece = returned.exchange(nullptr, std::memory_order_acquire); piece;) {
            Piece* next = piece->next;
            put(piece);
            piece = next;
        }
    }

    Piece* cut(std::size_t bytes) {
        const std::size_t next = chunks < kFewChunks ? kChunk : kHugePage;
        if (bytes > next / kPiecesInChunk) return static_cast<Piece*>(from_system(bytes));
        if (chunk_left < bytes) {
            chunk = static_cast<char*>(from_system(next));
            chunk_left = next;
            ++chunks;
        }
        Piece* piece = reinterpret_cast<Piece*>(chunk);
        chunk += bytes;
        chunk_left -= bytes;
        return piece;
    }

    Piece* take(std::size_t c) {
        Piece* piece = free[c];
        if (!piece && returned.load(std::memory_order_relaxed)) {
            collect();
            piece = free[c];
        }
        const std::size_t bytes = bytes_of(c);
        if (piece) {
            free[c] = piece->next;
        } else {
            piece = cut(bytes);
            piece->header = {this, static_cast<std::uint32_t>(c), 0};
        }
        const std::int64_t used = in_use.load(std::memory_order_relaxed) + static_cast<std::int64_t>(bytes);
        in_use.store(used, std::memory_order_relaxed);
        if (used > peak.load(std::memory_order_relaxed)) peak.store(used, std::memory_order_relaxed);
        return piece;
    }
};

struct Registry {
    std::mutex mutex;
    Pool* orphans = nullptr;
    Pool* all = nullptr;
};

Registry& registry() {
    static Registry* instance = new Registry;  // outlives static destructors
    return *instance;
}

thread_local constinit Pool* my_pool = nullptr;

// Makes the pool of an ending thread an orphan.
struct PoolOwner {
    ~PoolOwner() {
        if (!my_pool) return;
        Registry& r = registry();
        std::lock_guard lock(r.mutex);
        my_pool->next_orphan = r.orphans;
        r.orphans = my_pool;
        my_pool = nullptr;
    }
};

[[maybe_unused]] Pool* acquire_pool() {
    Registry& r = registry();
    {
        std::lock_guard lock(r.mutex);
        if ((my_pool = r.orphans)) {
            r.orphans = my_pool->next_orphan;
        } else {
            my_pool = new Pool;
            my_pool->next_of_all = r.all;
            r.all = my_pool;
        }
    }
    // Touching it registers its destructor for this thread. After that destructor has run (static destructors of the
    // main thread) a pool taken here simply stays with the thread.
    static thread_local PoolOwner owner;
    (void)owner;
    return my_pool;
}

}  // namespace

#if UNROLL_PLAIN_ALLOCATION

// The same address form as the pool's, one system allocation for each request.
void* pool_allocate(std::size_t bytes) {
    char* memory = static_cast<char*>(std::aligned_alloc(kLine, (bytes + sizeof(Header) + kLine - 1) / kLine * kLine));
    if (!memory) throw std::bad_alloc();
    return memory + sizeof(Header);
}

void pool_free(void* piece) noexcept { std::free(static_cast<char*>(piece) - sizeof(Header)); }

#else

void* pool_allocate(std::size_t bytes) {
    Pool* pool = my_pool ? my_pool : acquire_pool();
    if (bytes > (std::size_t{1} << 46)) throw std::bad_alloc();
    return reinterpret_cast<char*>(pool->take(class_of(bytes + sizeof(Header)))) + sizeof(Header);
}

void pool_free(void* memory) noexcept {
    Piece* piece = reinterpret_cast<Piece*>(static_cast<char*>(memory) - sizeof(Header));
    Pool* home = piece->header.home;
    if (home == my_pool) {
        home->put(piece);
        return;
    }
    piece->next = home->returned.load(std::memory_order_relaxed);
    while (!home->returned.compare_exchange_weak(piece->next, piece, std::memory_order_release,
                                                 std::memory_order_relaxed)) {
    }
}

#endif

Block* Block::make_behind(std::size_t before, std::size_t bytes) {
    char* const piece = static_cast<char*>(pool_allocate(before + sizeof(Block) + bytes));
    Block* block = new (piece + before) Block;
    block->before = static_cast<std::uint32_t>(before);
    block->bytes = bytes;
    return block;
}

void Block::destroy(Block* block) noexcept {
    SlabRef::release(block->slab);
    void* const piece = block->piece();
    block->~Block();
    pool_free(piece);
}

}  // namespace detail

MemoryUse memory_use() noexcept {
    MemoryUse sum;
    detail::Registry& r = detail::registry();
    std::lock_guard lock(r.mutex);
    for (detail::Pool* pool = r.all; pool; pool = pool->next_of_all) {
        sum.in_use += pool->in_use.load(std::memory_order_relaxed);
        sum.peak += pool->peak.load(std::memory_order_relaxed);
        for (detail::Piece* p = pool->returned.load(std::memory_order_acquire); p && pool == detail::my_pool;
             p = p->next)
            sum.in_use -= static_cast<std::int64_t>(detail::bytes_of(p->header.size_class));
    }
    sum.reserved = detail::reserved_bytes.load(std::memory_order_relaxed);
    return sum;
}

void reset_memory_peak() noexcept {
    detail::Registry& r = detail::registry();
    std::lock_guard lock(r.mutex);
    for (detail::Pool* pool = r.all; pool; pool = pool->next_of_all)
        pool->peak.store(pool->in_use.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

}  // namespace unroll
