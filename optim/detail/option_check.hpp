// The one place where optim/ holds an option against its range. It knows no optimiser.
#pragma once

#include <limits>
#include <string_view>

namespace unroll::detail {

/// An interval of numbers; both ends belong to it unless said otherwise.
struct Range {
    double low;
    double high;
    bool without_low = false;
    bool without_high = false;
};

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr Range kNotNegative{0, kInfinity, false, true};
inline constexpr Range kPositive{0, kInfinity, true, true};
inline constexpr Range kBelowOne{0, 1, false, true};
inline constexpr Range kShare{0, 1};

/// @throws ValueError "[Adam] beta1 must be in [0, 1); got 1" unless value (NaN never) lies in the range
void check_option(std::string_view who, std::string_view option, double value, const Range& range);

}  // namespace unroll::detail
