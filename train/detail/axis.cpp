// Round places on linear and logarithmic axes.
#include <unroll/data/number_text.hpp>
#include <unroll/train/detail/axis.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace unroll::detail {
namespace {

// Mantissas within a decade, from few to many.
const std::vector<std::vector<double>> kMantissas{
    {1}, {1, 3}, {1, 2, 5}, {1, 1.5, 2, 3, 5, 7}, {1, 1.5, 2, 2.5, 3, 4, 5, 6, 8}};

std::string without_trailing_zeros(std::string text) {
    if (text.find('.') == std::string::npos) return text;
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text;
}

}  // namespace

double nice_step(double span, int pieces) {
    const double least = span / pieces;
    const double power = std::pow(10, std::floor(std::log10(least)));
    for (const double mantissa : {1.0, 2.0, 2.5, 5.0})
        if (mantissa * power >= least * (1 - 1e-9)) return mantissa * power;
    return 10 * power;
}

std::string tick_label(double value, double step) {
    if (value == 0) return "0";
    const double size = std::abs(value);
    if (size >= 1e15 || size < 1e-5) return fmt::format("{:.3g}", value);
    constexpr std::pair<double, const char*> kUnits[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}};
    for (const auto& [unit, letter] : kUnits)
        if (size >= unit) return without_trailing_zeros(fmt::format("{:.4f}", value / unit)) + letter;
    if (step >= 1 && value == std::round(value)) return with_commas(static_cast<Index>(value));
    // The step's own digits: 0.25 needs two, 0.5 one.
    int digits = 0;
    for (double scaled = step; digits < 8 && std::abs(scaled - std::round(scaled)) > 1e-6 * scaled; scaled *= 10)
        ++digits;
    return fmt::format("{:.{}f}", value, digits);
}

Axis::Axis(double low, double high, const AxisOptions& options)
    : low_(std::min(low, high)), high_(std::max(low, high)), log_(options.log) {
    if (low_ == high_ || high_ - low_ < 1e-12 * std::max(std::abs(low_), std::abs(high_))) {
        const double around = low_ == 0 ? 1 : 0.1 * std::abs(low_);
        low_ = std::max(low_ - around, -std::numeric_limits<double>::max());
        high_ = std::min(high_ + around, std::numeric_limits<double>::max());
    }
    if (!log_ || !place_log(options)) place_linear(options);
}

void Axis::place_linear(const AxisOptions& options) {
    // Halves, for the span of two large ends may not be finite.
    const double step =
        std::max(2 * nice_step(high_ / 2 - low_ / 2, options.target_ticks), std::numeric_limits<double>::min());
    const double fitted = nice_step(high_ - low_, options.target_ticks);
    const double chosen = std::isfinite(fitted) ? fitted : step;
    if (options.round_ends && !log_) {
        low_ = std::max(std::floor(low_ / chosen + 1e-9) * chosen, -std::numeric_limits<double>::max());
        high_ = std::min(std::ceil(high_ / chosen - 1e-9) * chosen, std::numeric_limits<double>::max());
    }
    const double slack = 1e-9 * chosen;
    for (double k = std::ceil((low_ - slack) / chosen); k * chosen <= high_ + slack && ticks_.size() < 50; ++k)
        ticks_.push_back({std::clamp(k * chosen, low_, high_), tick_label(k * chosen, chosen)});
}

// False where round places within decades are too few: less than about a third of a decade is shown.
bool Axis::place_log(const AxisOptions& options) {
    if (options.round_ends) {
        // Round places are far apart here: some room instead.
        const double room = std::pow(10, 0.04 * (std::log10(high_) - std::log10(low_)));
        low_ = std::max(low_ / room, std::min(low_, std::numeric_limits<double>::min()));
        high_ = std::min(high_ * room, std::numeric_limits<double>::max());
    }
    const int first = static_cast<int>(std::floor(std::log10(low_)));
    const int last = static_cast<int>(std::floor(std::log10(high_)));
    const int every = std::max(1, (last - first + options.target_ticks - 1) / options.target_ticks);
    for (const std::vector<double>& mantissas : kMantissas) {
        std::vector<Tick> ticks;
        for (int decade = first; decade <= last; decade += every)
            for (const double mantissa : mantissas) {
                const double value = mantissa * std::pow(10, decade);
                if (value < low_ * (1 - 1e-9) || value > high_ * (1 + 1e-9)) continue;
                const double step = std::pow(10, decade) * (mantissa == std::round(mantissa) ? 1 : 0.1);
                ticks.push_back({std::clamp(value, low_, high_), tick_label(value, step)});
            }
        if (static_cast<int>(ticks.size()) > options.target_ticks + 2 && !ticks_.empty()) break;
        ticks_ = std::move(ticks);
        if (static_cast<int>(ticks_.size()) >= options.target_ticks - 1 || every > 1) break;
    }
    if (ticks_.size() >= 3) return true;
    ticks_.clear();
    return false;
}

double Axis::position(double value) const noexcept {
    if (!std::isfinite(value) || (log_ && value <= 0)) return std::numeric_limits<double>::quiet_NaN();
    if (log_) return (std::log(value) - std::log(low_)) / (std::log(high_) - std::log(low_));
    return (value / 2 - low_ / 2) / (high_ / 2 - low_ / 2);  // halves: the span may not be finite
}

}  // namespace unroll::detail
