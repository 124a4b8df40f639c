// Orders and positions drawn at random. Each is a function of what is given here alone: no generator is carried along.
#pragma once

#include <unroll/autograd/shape.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace unroll {

/// What a draw belongs to: the run's seed and a name, so that draws for different purposes have nothing in common.
struct DrawSource {
    std::uint64_t seed;
    std::string_view purpose;
};

/// A number in [0, count), the counter-th of its source; off from uniform by less than count/2⁶⁴.
/// ValueError: count < 1.
Index draw_index(const DrawSource& source, std::uint64_t counter, Index count);

/// A permutation of 0 … count − 1 (Fisher and Yates), the same for the same source and epoch. ValueError: count < 0.
std::vector<Index> shuffled_indices(const DrawSource& source, std::uint64_t epoch, Index count);

}  // namespace unroll
