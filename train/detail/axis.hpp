// One axis of a chart: its range, round places on it, and what is written there. It draws nothing.
#pragma once

#include <string>
#include <vector>

namespace unroll::detail {

struct Tick {
    double value;
    std::string label;
};

struct AxisOptions {
    bool log = false;
    bool round_ends = false;  ///< move the ends outwards to round places; a little, where logarithmic
    int target_ticks = 6;     ///< about how many there is room for
};

/// An axis over [low, high], finite and, when logarithmic, positive. Where both are the same, or in the wrong order, the
/// range is widened or turned.
class Axis {
public:
    Axis(double low, double high, const AxisOptions& options);

    double low() const noexcept { return low_; }
    double high() const noexcept { return high_; }
    /// Rising, all within [low, high].
    const std::vector<Tick>& ticks() const noexcept { return ticks_; }
    /// 0 at the low end, 1 at the high end; NaN for what the axis cannot show (NaN, ±∞, and ≤ 0 when logarithmic).
    double position(double value) const noexcept;

private:
    void place_linear(const AxisOptions& options);
    bool place_log(const AxisOptions& options);

    double low_, high_;
    bool log_;
    std::vector<Tick> ticks_;
};

/// A step of 1, 2, 2.5 or 5 times a power of ten that cuts `span` into at most `pieces`.
double nice_step(double span, int pieces);

/// A number as a tick shows it: with commas, k and M for large ones, and as many digits as a step of `step` needs.
std::string tick_label(double value, double step);

}  // namespace unroll::detail
