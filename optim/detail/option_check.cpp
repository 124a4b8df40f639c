// The message of an option that is out of its range.
#include <unroll/optim/detail/option_check.hpp>

#include <unroll/autograd/error.hpp>

#include <fmt/format.h>

#include <cmath>

namespace unroll::detail {

void check_option(std::string_view who, std::string_view option, double value, const Range& range) {
    const bool above = range.without_low ? value > range.low : value >= range.low;
    const bool below = range.without_high ? value < range.high : value <= range.high;
    if (above && below) return;
    fail_value(who, fmt::format("{} must be in {}{}, {}{}; got {}", option, range.without_low ? '(' : '[', range.low,
                                std::isinf(range.high) ? "∞" : fmt::format("{}", range.high),
                                range.without_high ? ')' : ']', value));
}

}  // namespace unroll::detail
