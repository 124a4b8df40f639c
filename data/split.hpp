// Cutting a sequence into parts that follow one another: training, validation, test. It deals in positions only.
#pragma once

#include <unroll/autograd/tensor.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace unroll {

/// A named part [begin, end) of a sequence of `total` entries. A loss means something only together with its split.
struct Split {
    std::string name;
    Index begin;
    Index end;
    Index total;

    Index size() const noexcept { return end - begin; }
    bool empty() const noexcept { return begin == end; }
    /// "validation: the last 111,540 of 1,115,394 characters".
    std::string describe(std::string_view unit = "characters") const;
};

struct TrainValidationSplit {
    Split train;
    Split validation;
};

/// The first ⌊(1 − f)·N⌋ entries train, the rest validates (nanoGPT's split of tiny Shakespeare: f = 0.1, N = 1,115,394
/// gives 1,003,854 and 111,540). A product that misses a whole number by rounding alone (less than 1e-6) is taken as that
/// number. f = 0 leaves the validation part empty: everything trains.
/// ValueError: N < 1, f outside [0, 1), or a part that comes out empty although it was asked for.
TrainValidationSplit split_train_validation(Index count, double validation_fraction);

struct NamedFraction {
    std::string name;
    double fraction;  ///< in (0, 1]
};

/// Any number of parts in order; part k ends at ⌊(f₀ + … + f_k)·N⌋, the last one at N. ValueError: no part, a fraction
/// outside (0, 1], fractions that do not add up to 1 (within 1e-6), or a part that comes out empty.
std::vector<Split> split_by_fractions(Index count, const std::vector<NamedFraction>& parts);

/// The entries of a part (N,) → (split.size(),). ShapeError: ids is not a vector of split.total entries.
IntTensor part_of(const IntTensor& ids, const Split& split);

}  // namespace unroll
