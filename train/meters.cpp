// Counting time, units and losses.
#include <unroll/autograd/error.hpp>
#include <unroll/train/meters.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string_view>

namespace unroll {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// JSON has no NaN: it stands as null.
nlohmann::json number_or_null(double number) {
    return std::isfinite(number) ? nlohmann::json(number) : nlohmann::json();
}

double number_of(std::string_view name, const nlohmann::json& state, const char* field) {
    if (state.is_object()) {
        const auto found = state.find(field);
        if (found != state.end() && found->is_null()) return kNaN;
        if (found != state.end() && found->is_number()) return found->get<double>();
    }
    detail::fail_value(name, fmt::format("the saved state has no number \"{}\"", field));
}

}  // namespace

double steady_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Stopwatch::Stopwatch(Clock clock) : clock_(std::move(clock)), since_(clock_()) {}

double Stopwatch::seconds() const { return running_ ? counted_ + (clock_() - since_) : counted_; }

void Stopwatch::pause() {
    counted_ = seconds();
    running_ = false;
}

void Stopwatch::resume() {
    if (running_) return;
    since_ = clock_();
    running_ = true;
}

nlohmann::json Stopwatch::state() const { return {{"seconds", seconds()}}; }

void Stopwatch::load_state(const nlohmann::json& state) {
    const double seconds = number_of("Stopwatch", state, "seconds");
    if (!(seconds >= 0)) detail::fail_value("Stopwatch", fmt::format("the saved time is {} seconds", seconds));
    counted_ = seconds;
    since_ = clock_();
}

ThroughputMeter::ThroughputMeter(const Stopwatch& watch, double memory_seconds)
    : watch_(watch), memory_(memory_seconds), start_(watch.seconds()), last_(start_) {
    if (!(memory_seconds > 0))
        detail::fail_value("ThroughputMeter", fmt::format("memory_seconds must be positive, not {}", memory_seconds));
}

void ThroughputMeter::add(double units) {
    const double now = watch_.seconds();
    const double kept = std::exp(-(now - last_) / memory_);
    recent_units_ = recent_units_ * kept + units;
    recent_seconds_ = recent_seconds_ * kept + (now - last_);
    total_ += units;
    last_ = now;
}

double ThroughputMeter::per_second() const noexcept {
    return recent_seconds_ > 0 ? recent_units_ / recent_seconds_ : 0;
}

double ThroughputMeter::average_per_second() const {
    const double seconds = watch_.seconds() - start_;
    return seconds > 0 ? total_ / seconds : 0;
}

SmoothedLoss::SmoothedLoss(double decay, double start) : decay_(decay), value_(start) {
    if (!(decay >= 0 && decay < 1))
        detail::fail_value("SmoothedLoss", fmt::format("decay must be in [0, 1), not {}", decay));
}

double SmoothedLoss::add(double loss) {
    value_ = std::isnan(value_) ? loss : decay_ * value_ + (1 - decay_) * loss;
    return value_;
}

nlohmann::json SmoothedLoss::state() const { return {{"value", number_or_null(value_)}}; }

void SmoothedLoss::load_state(const nlohmann::json& state) { value_ = number_of("SmoothedLoss", state, "value"); }

void RunningMean::add(double value, double weight) noexcept {
    sum_ += weight * value;
    weight_ += weight;
}

double RunningMean::mean() const noexcept { return weight_ != 0 ? sum_ / weight_ : kNaN; }

nlohmann::json RunningMean::state() const { return {{"sum", number_or_null(sum_)}, {"weight", weight_}}; }

void RunningMean::load_state(const nlohmann::json& state) {
    const double sum = number_of("RunningMean", state, "sum");
    weight_ = number_of("RunningMean", state, "weight");
    sum_ = sum;
}

bool Budget::reached(Index step, double elapsed) const noexcept {
    return (steps > 0 && step >= steps) || (seconds > 0 && elapsed >= seconds);
}

double Budget::fraction_done(Index step, double elapsed) const noexcept {
    double fraction = kNaN;  // which std::fmax passes over
    if (steps > 0) fraction = static_cast<double>(step) / static_cast<double>(steps);
    if (seconds > 0) fraction = std::fmax(fraction, elapsed / seconds);
    return std::isnan(fraction) ? kNaN : std::clamp(fraction, 0.0, 1.0);
}

double Budget::seconds_left(Index step, double elapsed, double steps_per_second) const noexcept {
    double left = kNaN;
    if (steps > 0 && step >= steps) left = 0;
    if (steps > 0 && step < steps && steps_per_second > 0) left = static_cast<double>(steps - step) / steps_per_second;
    if (seconds > 0) left = std::fmin(left, std::max(0.0, seconds - elapsed));
    return left;
}

}  // namespace unroll
