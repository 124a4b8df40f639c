// The pool of threads: every index once, errors, and parts that know that they are parts.
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/threads.hpp>

#include "../support/build_kind.hpp"
#include "../support/error_message.hpp"
#include "../support/threads_as_before.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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
    EXPECT_THROW(set_num_threads(1025), ValueError);
}

TEST(Threads, TheirNumberIsNotChangedFromInsideABody) {
    const test::ThreadsAsBefore restore;
    for (const Index threads : {1, 2}) {
        set_num_threads(threads);
        EXPECT_THROW(parallel_for(4, [](Index) { set_num_threads(2); }), UsageError);
        EXPECT_EQ(num_threads(), threads);
    }
}

// The sanitizers have limits of their own on forks and on memory.
#if !UNROLL_TEST_SANITIZED
/// Whether `body` returns true in a child process, within a minute.
bool holds_in_child(const std::function<bool()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(60);
        ::_exit(body() ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool every_index_runs(Index count) {
    std::atomic<Index> sum{0};
    parallel_for(count, [&](Index i) { sum += i; });
    return sum.load() == count * (count - 1) / 2;
}

TEST(Threads, AChildOfAForkHasThreadsOfItsOwn) {
    const test::ThreadsAsBefore restore;
    set_num_threads(3);
    ASSERT_TRUE(every_index_runs(100));
    EXPECT_TRUE(holds_in_child([] { return num_threads() == 3 && every_index_runs(100); }));
    EXPECT_TRUE(every_index_runs(100));
}

TEST(Threads, WhereTheSystemGivesNoMoreThoseThatThereAreDoTheWork) {
    const test::ThreadsAsBefore restore;
    EXPECT_TRUE(holds_in_child([] {
        set_num_threads(2);
        if (!every_index_runs(10)) return false;
        std::ifstream pages("/proc/self/statm");
        rlim_t used = 0;
        pages >> used;
        const rlim_t limit = used * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + (rlim_t{24} << 20);
        const rlimit few{limit, limit};  // some stacks of threads
        if (::setrlimit(RLIMIT_AS, &few) != 0) return false;
        set_num_threads(200);
        bool right = true;
        for (int i = 0; i < 20; ++i) right = right && every_index_runs(1000);
        return right;
    }));
}
#endif

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
