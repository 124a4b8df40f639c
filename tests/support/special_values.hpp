// The numbers that are not finite.
#pragma once

#include <limits>

namespace unroll::test {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace unroll::test
