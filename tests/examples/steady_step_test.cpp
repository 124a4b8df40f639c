// A steady training step of shakespeare, with its defaults, takes no memory from the heap. malloc and all its relatives
// (operator new calls them) are this program's own; what oneDNN, the BLAS and OpenMP take inside their calls is told apart
// by the call stack. Under a sanitizer there is nothing here: malloc is its own.
#include "../../examples/shakespeare/trainer.hpp"

#include <unroll/autograd/pool.hpp>
#include <unroll/tests/support/build_kind.hpp>
#include <unroll/tests/support/threads_as_before.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <dlfcn.h>
#include <execinfo.h>

#if !UNROLL_TEST_SANITIZED
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

std::atomic<bool> counting{false};
std::atomic<int> ours{0}, theirs{0};
constexpr int kFrames = 64;
void* first_of_ours[kFrames];
int first_depth = 0;
thread_local bool looking = false;  // what looks at the call stack may allocate

void note() noexcept {
    if (!counting.load(std::memory_order_relaxed) || looking) return;
    looking = true;
    void* frames[kFrames];
    const int depth = backtrace(frames, kFrames);
    bool library = false;
    for (int i = 0; i < depth && !library; ++i) {
        Dl_info info;
        if (dladdr(frames[i], &info) == 0 || info.dli_fname == nullptr) continue;
        const std::string_view file(info.dli_fname);
        for (const char* name : {"libdnnl", "blas", "libgomp", "libomp"})
            library = library || file.find(name) != std::string_view::npos;
    }
    if (library)
        ++theirs;
    else if (ours.fetch_add(1) == 0)
        std::copy_n(frames, first_depth = depth, first_of_ours);
    looking = false;
}

}  // namespace

extern "C" {
void* malloc(std::size_t bytes) {
    note();
    return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
    note();
    return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) {
    note();
    return __libc_realloc(memory, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) {
    note();
    return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
    note();
    return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
    note();
    *memory = __libc_memalign(alignment, bytes);
    return *memory == nullptr ? ENOMEM : 0;
}
}

namespace {

using namespace unroll;
using namespace shakespeare;

void* keep = nullptr;  // so that the compiler leaves the allocation in

struct Allocations {
    int ours, of_libraries;
};

template <class Body>
Allocations allocations_in(Body body) {
    ours = theirs = 0;
    counting = true;
    body();
    counting = false;
    return {ours, theirs};
}

TEST(SteadyStep, TheCounterSeesAllocationsAndWhoseTheyAre) {
    void* frames[4];
    backtrace(frames, 4);  // loads what it needs
    const Allocations found = allocations_in([] {
        keep = ::operator new(100);
        ::operator delete(keep);
        keep = std::malloc(100);
        std::free(keep);
    });
    EXPECT_EQ(found.ours, 2);
    EXPECT_EQ(found.of_libraries, 0);
}

TEST(SteadyStep, OfTheDefaultsTakesNothingFromTheHeap) {
    constexpr Index kVocabulary = 65;
    constexpr int kSteps = 20, kStepsOfAPass = 100;
    const test::ThreadsAsBefore restore;
    for (const Index threads : {1, 2}) {
        set_num_threads(threads);
        Recipe recipe;
        recipe.steps = 1000;
        IntTensor text = IntTensor::from_shape({80'000});
        RandomStream random(3, "text");
        for (auto& id : text) id = random.below(kVocabulary);
        Trainer trainer(recipe, kVocabulary, std::move(text), false);
        // Every stream has forgotten once, and every size has been asked for.
        for (int n = 0; n < 70; ++n) trainer.step();
        // With one thread, the first steps over the end of a pass take nothing. Of several threads each needs memory for the
        // part of the batch that it runs, and on a busy machine one may be late and another run its part for the first time:
        // then one of the next passes takes nothing.
        const int attempts = threads == 1 ? 1 : 5;
        Allocations found{};
        std::int64_t grown = 0;
        for (int attempt = 0; attempt < attempts; ++attempt) {
            const int steps = attempt == 0 ? kSteps : kStepsOfAPass;
            const auto pass = static_cast<Index>(trainer.epochs());
            const std::int64_t reserved = memory_use().reserved;
            found = allocations_in([&] {
                for (int n = 0; n < steps; ++n) trainer.step();
            });
            grown = memory_use().reserved - reserved;
            ASSERT_GT(static_cast<Index>(trainer.epochs()), pass)
                << "the step in which a pass over the text begins again is to be among them";
            std::printf("%d steps, threads: %lld, allocations: %d, below oneDNN, BLAS and OpenMP, not counted: %d\n",
                        steps, static_cast<long long>(threads), found.ours, found.of_libraries);
            if (found.ours == 0 && grown == 0) break;
        }
        if (found.ours > 0) backtrace_symbols_fd(first_of_ours, first_depth, 2);
        EXPECT_EQ(found.ours, 0) << "where the first one came from stands above";
        EXPECT_EQ(grown, 0) << "the pool has grown";
    }
}

}  // namespace
#endif
