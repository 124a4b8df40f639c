// The pool of threads.
#include <unroll/autograd/threads.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>

namespace unroll {
namespace {

#if defined(__x86_64__)
inline void relax() { __builtin_ia32_pause(); }
#else
inline void relax() { std::this_thread::yield(); }
#endif

thread_local constinit bool in_part = false;  // a body of a parallel_for with several of them is running here

struct PartGuard {
    const bool before = std::exchange(in_part, true);
    ~PartGuard() { in_part = before; }
};

/// Workers wait for a job by spinning for a moment and then asleep; the caller works too.
class ThreadPool {
public:
    static ThreadPool& instance() { return *current(); }

    Index threads() const noexcept { return wanted_.load(std::memory_order_relaxed); }

    void set_threads(Index threads) {
        if (threads < 1 || threads > kMostThreads)
            throw ValueError(
                fmt::format("[set_num_threads] the number must be 1 to {}; got {}", kMostThreads, threads));
        if (in_part) throw UsageError("[set_num_threads] not from inside a body of parallel_for or a part of a batch");
        std::lock_guard running(running_);
        wanted_.store(threads, std::memory_order_relaxed);
    }

    void run(Index count, void (*call)(void*, Index), void* body) {
        if (count <= 0) return;
        if (count == 1) return call(body, 0);
        const PartGuard part;
        std::unique_lock running(running_, std::defer_lock);
        // A call from inside a body, or while another thread uses the pool, is done here.
        if (part.before || threads() == 1 || !running.try_lock()) {
            for (Index i = 0; i < count; ++i) call(body, i);
            return;
        }
        Job job{call, body, count};
        {
            std::lock_guard lock(mutex_);
            helpers_ = hire(threads() - 1);
            job.left.store(helpers_);
            job_ = &job;
            generation_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        job.take();
        for (int spins = 0; job.left.load(std::memory_order_acquire) != 0; ++spins) {
            if (spins < kSpins)
                relax();
            else
                std::this_thread::yield();
        }
        if (job.error) std::rethrow_exception(job.error);
    }

private:
    static constexpr int kSpins = 20000;
    static constexpr Index kMostThreads = 1024;

    /// Never destroyed: its threads may outlive static destructors. A child of fork() has none of them, and gets a pool of
    /// its own.
    static ThreadPool*& current() {
        static ThreadPool* pool = [] {
            auto* made = new ThreadPool;
            pthread_atfork(nullptr, nullptr, [] {
                const Index threads = current()->threads();
                current() = new ThreadPool;
                current()->wanted_ = threads;
            });
            return made;
        }();
        return pool;
    }

    /// How many of `wanted` workers there are, made if they are not: fewer where the system gives no more threads.
    Index hire(Index wanted) {
        try {
            while (static_cast<Index>(workers_.size()) < wanted) {
                workers_.emplace_back([this, mine = workers_.size()] { work(static_cast<Index>(mine)); });
                workers_.back().detach();
            }
        } catch (const std::exception&) {
        }
        return std::min(wanted, static_cast<Index>(workers_.size()));
    }

    struct Job {
        void (*call)(void*, Index);
        void* body;
        Index count;
        std::atomic<Index> next{0};
        std::atomic<Index> left{0};  // helpers that have not finished
        std::mutex mutex{};
        Index failed = -1;
        std::exception_ptr error{};

        void take() {
            for (Index i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
                try {
                    call(body, i);
                } catch (...) {
                    std::lock_guard lock(mutex);
                    if (failed < 0 || i < failed) {
                        failed = i;
                        error = std::current_exception();
                    }
                }
            }
        }
    };

    ThreadPool() {
        const char* text = std::getenv("UNROLL_NUM_THREADS");
        wanted_ = static_cast<Index>(std::max(1u, std::thread::hardware_concurrency()));
        if (!text || !*text) return;
        char* end = nullptr;
        const long long value = std::strtoll(text, &end, 10);
        if (*end != '\0' || value < 1 || value > kMostThreads)
            throw ValueError(
                fmt::format("UNROLL_NUM_THREADS must be a number from 1 to {}; got \"{}\"", kMostThreads, text));
        wanted_ = value;
    }

    void work(Index number) {
        // Signals belong to the program's own threads.
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        const PartGuard part;
        std::uint64_t seen = 0;
        while (true) {
            for (int spins = 0; spins < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spins) relax();
            Job* job = nullptr;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
                seen = generation_.load(std::memory_order_relaxed);
                if (number < helpers_) job = job_;
            }
            if (!job) continue;
            job->take();
            job->left.fetch_sub(1, std::memory_order_release);
        }
    }

    std::mutex running_;  // held by the caller whose job runs
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::thread> workers_;
    std::atomic<std::uint64_t> generation_{0};
    Job* job_ = nullptr;
    Index helpers_ = 0;
    std::atomic<Index> wanted_{1};
};

}  // namespace

Index num_threads() { return ThreadPool::instance().threads(); }
void set_num_threads(Index threads) { ThreadPool::instance().set_threads(threads); }
bool detail::in_parallel_part() noexcept { return in_part; }
void detail::run_parallel(Index count, void (*call)(void*, Index), void* body) {
    ThreadPool::instance().run(count, call, body);
}

}  // namespace unroll
