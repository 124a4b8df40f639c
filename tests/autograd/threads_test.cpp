// The pool of threads: every index once, errors, and parts that know that they are parts.
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/threads.hpp>

#include "../support/error_message.hpp"
#include "../support/threads_as_before.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

namespace unroll {
namespace {

TEST(Threads, EveryIndexRunsOnceOnAnyNumberOfThreads) {
    const test::ThreadsAsBefore restore;
    for (const Index threads : {1, 2, 3, 5}) {
        set_num_threads(threads);
        for (const Index count : {0, 1, 2, 7, 1000}) {
            std::vector<std::atomic<int>> times(static_cast<std::size_t>(count));
            parallel_for(count, [&](Index i) { ++times[static_cast<std::size_t>(i)]; });
            for (const auto& t : times) EXPECT_EQ(t.load(), 1);
        }
    }
}

TEST(Threads, CallsFromInsideABodyRunThere) {
    const test::ThreadsAsBefore restore;
    set_num_threads(2);
    std::atomic<int> sum{0};
    parallel_for(4, [&](Index) { parallel_for(3, [&](Index j) { sum += static_cast<int>(j); }); });
    EXPECT_EQ(sum.load(), 12);
}

TEST(Threads, FirstErrorByNumberIsThrownAgain) {
    const test::ThreadsAsBefore restore;
    set_num_threads(2);
    const std::string message = test::error_message<ValueError>([] {
        parallel_for(8, [](Index i) {
            if (i >= 3) throw ValueError("part " + std::to_string(i));
        });
    });
    EXPECT_EQ(message, "part 3");
    EXPECT_THROW(set_num_threads(0), ValueError);
}

TEST(Threads, APartKnowsThatItIsOneWhateverTheNumberOfThreads) {
    const test::ThreadsAsBefore restore;
    for (const Index threads : {1, 2, 3}) {
        set_num_threads(threads);
        std::atomic<int> parts{0};
        EXPECT_FALSE(detail::in_parallel_part());
        parallel_for(5, [&](Index) { parts += detail::in_parallel_part(); });
        EXPECT_EQ(parts.load(), 5);
        parallel_for(1, [&](Index) { EXPECT_FALSE(detail::in_parallel_part()) << "a body alone is all there is"; });
        EXPECT_FALSE(detail::in_parallel_part());
        EXPECT_THROW(parallel_for(2, [](Index) { throw ValueError("part"); }), ValueError);
        EXPECT_FALSE(detail::in_parallel_part());
    }
}

}  // namespace
}  // namespace unroll
