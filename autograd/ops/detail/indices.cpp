// Checks of positions, tokens and classes.
#include <unroll/autograd/ops/detail/indices.hpp>

#include <fmt/format.h>

namespace unroll::detail {
namespace {

/// "3" in a list, "(1, 2)" in an array with more axes.
std::string position_text(Index flat, const Shape& shape) {
    if (shape.rank() == 1) return fmt::format("{}", flat);
    Shape position = shape;
    for (std::size_t i = shape.rank(); i-- > 0; flat /= shape[i]) position[i] = flat % shape[i];
    return to_string(position);
}

[[noreturn]] void fail(std::string_view op, std::string_view what, const Indices& index, Index at, Index length,
                       const Index* ignored) {
    std::string allowed = length == 0 ? "none" : fmt::format("0 to {}", length - 1);
    if (ignored) allowed += fmt::format(", or {} to be ignored", *ignored);
    fail_index(op, fmt::format("{} {} at position {} is out of range (allowed: {})", what, index.data()[at],
                               position_text(at, shape_of(index)), allowed));
}

}  // namespace

Indices checked_indices(std::string_view op, std::string_view what, const IntTensor& index, Index length,
                        const Index* ignored) {
    if (index.dimension() > Shape::kMaxRank)
        fail_value(op, fmt::format("an array has at most {} axes; got {}", Shape::kMaxRank, index.dimension()));
    Indices out = empty<std::int64_t>(shape_of(index));
    const auto n = static_cast<Index>(index.size());
    const std::int64_t* from = index.data();
    std::int64_t* to = out.data();
    // One unsigned comparison says both that it is not negative and that it is not too large.
    const auto outside = [length](std::int64_t i) {
        return static_cast<std::uint64_t>(i) >= static_cast<std::uint64_t>(length);
    };
    bool special = false;
    const std::int64_t other = ignored ? *ignored : -1;  // −1 is outside anyway
    for (Index i = 0; i < n; ++i) {
        to[i] = from[i];
        special |= outside(from[i]) || from[i] == other;
    }
    if (!special) return out;
    for (Index i = 0; i < n; ++i) {
        if (ignored && to[i] == other)
            to[i] = -1;
        else if (outside(to[i]))
            fail(op, what, out, i, length, ignored);
    }
    return out;
}

}  // namespace unroll::detail
