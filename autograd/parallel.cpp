// The pool of threads, and data parallelism.
#include <unroll/autograd/parallel.hpp>

#include <unroll/autograd/linalg.hpp>

#include <fmt/format.h>

#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

namespace unroll {
namespace {

#if defined(__x86_64__)
inline void relax() { __builtin_ia32_pause(); }
#else
inline void relax() { std::this_thread::yield(); }
#endif

thread_local constinit bool inside = false;

/// Workers wait for a job by spinning for a moment and then asleep; the caller works too.
class ThreadPool {
public:
    static ThreadPool& instance() {
        static ThreadPool* pool = new ThreadPool;  // its threads may outlive static destructors
        return *pool;
    }

    Index threads() {
        std::lock_guard lock(mutex_);
        return wanted_;
    }

    void set_threads(Index threads) {
        if (threads < 1) throw ValueError(fmt::format("[set_num_threads] the number must be 1 or more; got {}", threads));
        std::lock_guard running(running_);
        std::lock_guard lock(mutex_);
        wanted_ = threads;
    }

    void run(Index count, const std::function<void(Index)>& body) {
        if (count <= 0) return;
        std::unique_lock running(running_, std::defer_lock);
        // A call from inside a body, or while another thread uses the pool, is done here.
        if (inside || count == 1 || !running.try_lock() || threads() == 1) {
            for (Index i = 0; i < count; ++i) body(i);
            return;
        }
        Job job{&body, count};
        {
            std::lock_guard lock(mutex_);
            while (static_cast<Index>(workers_.size()) + 1 < wanted_) {
                workers_.emplace_back([this, mine = workers_.size()] { work(static_cast<Index>(mine)); });
                workers_.back().detach();
            }
            helpers_ = wanted_ - 1;
            job.left.store(helpers_);
            job_ = &job;
            generation_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        inside = true;
        job.take();
        inside = false;
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

    struct Job {
        const std::function<void(Index)>* body;
        Index count;
        std::atomic<Index> next{0};
        std::atomic<Index> left{0};  // helpers that have not finished
        std::mutex mutex{};
        Index failed = -1;
        std::exception_ptr error{};

        void take() {
            for (Index i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
                try {
                    (*body)(i);
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
        if (*end != '\0' || value < 1 || value > 1024)
            throw ValueError(fmt::format("UNROLL_NUM_THREADS must be a number from 1 to 1024; got \"{}\"", text));
        wanted_ = value;
    }

    void work(Index number) {
        inside = true;
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
    Index wanted_ = 1;
};

}  // namespace

Index num_threads() { return ThreadPool::instance().threads(); }
void set_num_threads(Index threads) { ThreadPool::instance().set_threads(threads); }
void parallel_for(Index count, const std::function<void(Index)>& body) { ThreadPool::instance().run(count, body); }

Index shard_count(Index batch) noexcept {
    constexpr Index kRows = 16, kMost = 8;
    return batch < 2 * kRows ? 1 : std::min(kMost, batch / kRows >= 4 ? batch / (2 * kRows) : 2);
}

template <class Real>
Real DataParallel<Real>::backward(Index batch, const std::function<Var<Real>(Shard)>& loss, TapeOptions options) {
    if (batch < 1) throw ValueError(fmt::format("[DataParallel] the batch must have 1 row or more; got {}", batch));
    const Index shards = shard_count(batch);
    while (static_cast<Index>(others_.size()) + 1 < shards) others_.push_back(std::make_unique<Gradients<Real>>(store_));
    for (auto& other : others_) other->zero();
    std::vector<Real, detail::PoolAllocator<Real>> losses(static_cast<std::size_t>(shards));
    std::vector<ShardDraws, detail::PoolAllocator<ShardDraws>> draws(static_cast<std::size_t>(shards));
    parallel_for(shards, [&](Index s) {
        const detail::Place place = detail::current_place();
        const ShardDraws::Guard guard(draws[static_cast<std::size_t>(s)], static_cast<std::uint64_t>(s));
        Gradients<Real>* into = s == 0 ? &store_.gradients() : others_[static_cast<std::size_t>(s - 1)].get();
        Tape<Real> tape(options);
        const Var<Real> part = loss({s, batch * s / shards, batch * (s + 1) / shards});
        tape.backward_into(part, std::span<Gradients<Real>* const>(&into, 1));
        losses[static_cast<std::size_t>(s)] = part.item();
        detail::current_place() = place;
    });
    ShardDraws::advance(draws);
    Real total(0);
    for (Index s = 0; s < shards; ++s) total += losses[static_cast<std::size_t>(s)];
    for (Index s = 1; s < shards; ++s) store_.gradients().prepare_to_add(*others_[static_cast<std::size_t>(s - 1)]);
    if (shards > 1)
        parallel_for(static_cast<Index>(store_.entries().size()), [&](Index e) {
            for (Index s = 1; s < shards; ++s)
                store_.gradients().add_entry(*others_[static_cast<std::size_t>(s - 1)], *store_.entries()[static_cast<std::size_t>(e)]);
        });
    return total;
}

template class DataParallel<float>;
template class DataParallel<double>;
template class DataParallel<Dual<double>>;

}  // namespace unroll
