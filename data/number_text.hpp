// Numbers as people read and write them, for progress lines, charts, messages and arguments.
#pragma once

#include <unroll/autograd/shape.hpp>

#include <string>
#include <string_view>

namespace unroll {

/// 1115394 → "1,115,394".
std::string with_commas(Index number);

/// Three digits and a unit: 0, 7.25, 412, 1.23k, 41.2k, 412k, 1.23M, …; "–" for what is not finite.
std::string compact_number(double number);

/// Seconds as "0:07", "12:34", "1:02:03", "3 d 4 h"; "–" for what is negative or not finite.
std::string duration_text(double seconds);

/// The number that a text is: 0.003, 1e-3, nan. @throws ValueError naming `what` if it is anything else
double parse_number(std::string_view text, std::string_view what);
/// The whole number, 0 or more, that a text is. @throws ValueError naming `what` if it is anything else
Index parse_count(std::string_view text, std::string_view what);

}  // namespace unroll
