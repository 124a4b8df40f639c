// Numbers as people read them, for progress lines, charts and messages.
#pragma once

#include <unroll/autograd/shape.hpp>

#include <string>

namespace unroll {

/// 1115394 → "1,115,394".
std::string with_commas(Index number);

/// Three digits and a unit: 0, 7.25, 412, 1.23k, 41.2k, 412k, 1.23M, …; "–" for what is not finite.
std::string compact_number(double number);

/// Seconds as "0:07", "12:34", "1:02:03", "3 d 4 h"; "–" for what is negative or not finite.
std::string duration_text(double seconds);

}  // namespace unroll
