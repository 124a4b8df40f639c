// Numbers as people read and write them.
#include <unroll/data/number_text.hpp>

#include <unroll/autograd/error.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <system_error>

namespace unroll {

std::string with_commas(Index number) {
    std::string digits = std::to_string(number);
    const std::ptrdiff_t first = number < 0 ? 1 : 0;
    for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > first; at -= 3)
        digits.insert(static_cast<std::size_t>(at), ",");
    return digits;
}

std::string compact_number(double number) {
    if (!std::isfinite(number)) return "–";
    constexpr const char* kUnits[] = {"", "k", "M", "G", "T", "P"};
    std::size_t unit = 0;
    // 999.5 is the first that would round to four digits.
    while (std::abs(number) >= 999.5 && unit + 1 < std::size(kUnits)) {
        number /= 1000;
        ++unit;
    }
    const double size = std::abs(number);
    if (unit == 0 && number == std::round(number)) return fmt::format("{:.0f}", number);
    return fmt::format("{:.{}f}{}", number, size < 9.995 ? 2 : size < 99.95 ? 1 : 0, kUnits[unit]);
}

std::string duration_text(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0) return "–";
    const double days = std::floor(seconds / 86400);
    if (days >= 1) return fmt::format("{:.0f} d {:.0f} h", days, std::floor((seconds - days * 86400) / 3600));
    const auto whole = static_cast<Index>(seconds + 0.5);
    if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
    return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

double parse_number(std::string_view text, std::string_view what) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size())
        throw ValueError(fmt::format("{} must be a number; got '{}'", what, text));
    return number;
}

Index parse_count(std::string_view text, std::string_view what) {
    Index number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < 0)
        throw ValueError(fmt::format("{} must be a whole number, 0 or more; got '{}'", what, text));
    return number;
}

}  // namespace unroll
