// What a training run counts: time, speed, smoothed losses, and how much of its budget is used. No output, no model.
#pragma once

#include <unroll/autograd/shape.hpp>
#include <unroll/train/clock.hpp>

#include <nlohmann/json_fwd.hpp>

#include <limits>

namespace unroll {

/// Time spent training. Pauses (validation, sampling, writing files) are left out, and a run that is resumed goes on
/// counting where it stopped. It runs from its construction.
class Stopwatch {
public:
    explicit Stopwatch(Clock clock = steady_seconds);

    /// Seconds counted so far.
    double seconds() const;
    bool running() const noexcept { return running_; }
    void pause();
    void resume();

    /// Stops the watch for as long as it lives; within another pause it does nothing.
    class Pause {
    public:
        explicit Pause(Stopwatch& watch) : watch_(watch), was_running_(watch.running()) { watch_.pause(); }
        Pause(const Pause&) = delete;
        Pause& operator=(const Pause&) = delete;
        ~Pause() {
            if (was_running_) watch_.resume();
        }

    private:
        Stopwatch& watch_;
        bool was_running_;
    };

    /// {"seconds": …}. ValueError: not that.
    nlohmann::json state() const;
    void load_state(const nlohmann::json& state);

private:
    Clock clock_;
    double counted_ = 0;
    double since_ = 0;
    bool running_ = true;
};

/// Units (characters, tokens) per second of a stopwatch: of late, and on average.
class ThroughputMeter {
public:
    /// What is counted weighs e⁻¹ after `memory_seconds`. ValueError: not positive.
    explicit ThroughputMeter(const Stopwatch& watch, double memory_seconds = 5);

    void add(double units);
    /// Σ units·e^(−age/memory) / Σ seconds·e^(−age/memory); 0 before any time has passed.
    double per_second() const noexcept;
    /// All units over all seconds since the meter was made.
    double average_per_second() const;

private:
    const Stopwatch& watch_;
    double memory_;
    double start_;
    double last_;
    double total_ = 0;
    double recent_units_ = 0;
    double recent_seconds_ = 0;
};

/// smooth ← decay·smooth + (1 − decay)·loss, as min-char-rnn shows it (decay .999, started at T·ln V).
class SmoothedLoss {
public:
    /// Without a start the first loss is taken whole. ValueError: decay outside [0, 1).
    explicit SmoothedLoss(double decay = 0.999, double start = std::numeric_limits<double>::quiet_NaN());

    double add(double loss);
    /// NaN before the first loss if there was no start.
    double value() const noexcept { return value_; }

    nlohmann::json state() const;
    void load_state(const nlohmann::json& state);

private:
    double decay_;
    double value_;
};

/// Σ weight·value / Σ weight: the loss of an epoch from those of its windows.
class RunningMean {
public:
    void add(double value, double weight = 1) noexcept;
    /// NaN while the weights add up to 0.
    double mean() const noexcept;
    double weight() const noexcept { return weight_; }
    void reset() noexcept { *this = {}; }

    nlohmann::json state() const;
    void load_state(const nlohmann::json& state);

private:
    double sum_ = 0;
    double weight_ = 0;
};

/// How long to train: whichever limit comes first. 0 is no limit.
struct Budget {
    Index steps = 0;
    double seconds = 0;

    bool reached(Index step, double elapsed) const noexcept;
    /// Of the limit that is nearest, in [0, 1]; NaN without a limit.
    double fraction_done(Index step, double elapsed) const noexcept;
    /// Until the limit that comes first; NaN without one, or when only steps count and none has been made.
    double seconds_left(Index step, double elapsed, double steps_per_second) const noexcept;
};

}  // namespace unroll
