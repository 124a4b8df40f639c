// Comparing what backward says with what a check says, entry by entry; how the result of gradcheck() is filled.
#pragma once

#include <unroll/autograd/gradcheck.hpp>

#include <span>
#include <string>

namespace unroll::detail {

/// A number as backward (or float) has it and as the check (or double) has it, and how far rounding alone may set them apart.
struct Pair {
    Index entry;
    double analytic, numeric;
    double norm = 1;  ///< of the direction along which both are derivatives
    double noise = 0;
};

/// The pair with the largest error relative to the largest number of the operand (but to no less than noise / bar).
/// @param largest of all numbers of the operand, when `pairs` are some of them
GradcheckComparison compare(std::string check, std::string operand, const Shape& shape, std::span<const Pair> pairs,
                            double largest, double bar);

}  // namespace unroll::detail
