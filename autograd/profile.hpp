// A profile on request: where the time of a training step goes, by op, module and phase.
//
//     Profile profile;                       // everything on any thread is timed while it stands
//     …one or more training steps…
//     fmt::print("{}", profile.table());     // or profile.chrome_trace() for chrome://tracing
//
// Without a Profile nothing is timed: an op costs one comparison more.
#pragma once

#include <unroll/autograd/error.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace unroll {

/// Time of all calls of one op in one module and phase, without that of other spans inside them: the ops of a checkpointed
/// segment that runs again have entries of their own. So the times of one thread add up to no more than what has passed.
struct ProfileEntry {
    /// "forward", "backward", "zero", "clip", "step" (of an optimiser), "add" (of gradients of parts of a batch), or what a
    /// ProfileSpan says
    std::string phase;
    std::string module;  ///< path, empty outside modules
    std::string op;
    std::int64_t calls = 0;
    double seconds = 0;
};

/// Times what happens while it stands. @throws UsageError if another one stands
class Profile {
public:
    Profile();
    Profile(const Profile&) = delete;
    Profile& operator=(const Profile&) = delete;
    ~Profile();

    /// By phase, module and op, longest first. Deferred products are the op "deferred_product".
    std::vector<ProfileEntry> entries() const;
    /// The same as text, with shares of the whole.
    std::string table() const;
    /// Every single call as JSON in the trace event format, one row for each thread; spans lie inside others.
    std::string chrome_trace() const;

private:
    friend class ProfileSpan;
    struct Events;
    std::unique_ptr<Events> events_;
};

/// Times a part of the program under a name of one's own while it stands, if a Profile stands.
class ProfileSpan {
public:
    using Time = std::chrono::steady_clock::time_point;

    /// Both names must be literals, or live until the Profile ends.
    ProfileSpan(std::string_view phase, std::string_view op, detail::Place place = {}) noexcept
        : phase_(phase), op_(op), place_(place), on_(on()) {
        if (on_) start_ = now();
    }
    ProfileSpan(const ProfileSpan&) = delete;
    ProfileSpan& operator=(const ProfileSpan&) = delete;
    ~ProfileSpan() {
        if (on_) record(phase_, op_, place_, start_);
    }

    static bool on() noexcept { return current_.load(std::memory_order_relaxed) != nullptr; }
    static Time now() noexcept { return std::chrono::steady_clock::now(); }
    static void record(std::string_view phase, std::string_view op, detail::Place place, Time start) noexcept;

private:
    friend class Profile;
    static std::atomic<Profile*> current_;

    std::string_view phase_, op_;
    detail::Place place_;
    bool on_;
    Time start_;
};

}  // namespace unroll
