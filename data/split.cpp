// Where the parts begin and end.
#include <unroll/autograd/error.hpp>
#include <unroll/data/number_text.hpp>
#include <unroll/data/split.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace unroll {
namespace {

constexpr std::string_view kName = "split";

// 0.7 · 10 may be 6.999…: the product of a fraction and a count is exact to far better than a millionth of an entry.
Index floor_of(double exact) { return static_cast<Index>(std::floor(exact + 1e-6)); }

void check_count(Index count) {
    if (count < 1) detail::fail_value(kName, fmt::format("there is nothing to split: {} entries", count));
}

void check_not_empty(const Split& part) {
    if (part.empty())
        detail::fail_value(kName, fmt::format("the part '{}' of {} entries would be empty", part.name, part.total));
}

}  // namespace

std::string Split::describe(std::string_view unit) const {
    if (empty()) return fmt::format("{}: none of {} {}", name, with_commas(total), unit);
    if (size() == total) return fmt::format("{}: all {} {}", name, with_commas(total), unit);
    if (begin == 0) return fmt::format("{}: the first {} of {} {}", name, with_commas(end), with_commas(total), unit);
    if (end == total)
        return fmt::format("{}: the last {} of {} {}", name, with_commas(size()), with_commas(total), unit);
    return fmt::format("{}: {} {} from {} on, of {}", name, with_commas(size()), unit, with_commas(begin),
                       with_commas(total));
}

TrainValidationSplit split_train_validation(Index count, double validation_fraction) {
    check_count(count);
    if (!(validation_fraction >= 0 && validation_fraction < 1))
        detail::fail_value(kName,
                           fmt::format("the validation fraction must be in [0, 1), not {}", validation_fraction));
    const Index cut = floor_of((1 - validation_fraction) * static_cast<double>(count));
    TrainValidationSplit parts{{"train", 0, cut, count}, {"validation", cut, count, count}};
    check_not_empty(parts.train);
    if (validation_fraction > 0) check_not_empty(parts.validation);
    return parts;
}

std::vector<Split> split_by_fractions(Index count, const std::vector<NamedFraction>& parts) {
    check_count(count);
    double sum = 0;
    for (const NamedFraction& part : parts) {
        if (!(part.fraction > 0 && part.fraction <= 1))
            detail::fail_value(kName,
                               fmt::format("the fraction of '{}' must be in (0, 1], not {}", part.name, part.fraction));
        sum += part.fraction;
    }
    if (!(std::abs(sum - 1) < 1e-6))
        detail::fail_value(kName, fmt::format("the fractions of {} parts must add up to 1, not {}", parts.size(), sum));
    std::vector<Split> splits;
    Index begin = 0;
    double up_to_here = 0;
    for (const NamedFraction& part : parts) {
        up_to_here += part.fraction;
        const bool last = splits.size() + 1 == parts.size();
        const Index end = last ? count : std::min(count, floor_of(up_to_here * static_cast<double>(count)));
        splits.push_back({part.name, begin, end, count});
        check_not_empty(splits.back());
        begin = end;
    }
    return splits;
}

IntTensor part_of(const IntTensor& ids, const Split& split) {
    if (ids.dimension() != 1 || static_cast<Index>(ids.size()) != split.total)
        throw ShapeError(
            fmt::format("[{}] the part '{}' is cut from a vector of {} entries; got {} axes and {} entries", kName,
                        split.name, split.total, ids.dimension(), ids.size()));
    IntTensor part = IntTensor::from_shape({static_cast<std::size_t>(split.size())});
    std::copy(ids.data() + split.begin, ids.data() + split.end, part.data());
    return part;
}

}  // namespace unroll
