// Sample rows of the ops that choose by index or mask.
#include "samples.hpp"

namespace unroll::test {
namespace {

/// Alternating, with two equal neighbours, so that no axis is a pattern of its own.
xt::xarray<bool> mask_of(const Shape& shape) {
    std::vector<std::size_t> lengths(shape.begin(), shape.end());
    xt::xarray<bool> mask = xt::xarray<bool>::from_shape(lengths);
    std::size_t i = 0;
    for (bool& m : mask) m = (i++ * 7 % 5) < 2;
    return mask;
}

/// A column of positions.
IntTensor column(const std::vector<std::int64_t>& positions) {
    IntTensor out = IntTensor::from_shape({positions.size(), std::size_t{1}});
    std::copy(positions.begin(), positions.end(), out.begin());
    return out;
}

/// Positions along an axis of an operand of any size, `length` of them in place of the axis.
IntTensor positions_in(const Shape& shape, std::size_t axis, std::size_t length) {
    std::vector<std::size_t> lengths(shape.begin(), shape.end());
    const auto size = static_cast<std::int64_t>(lengths[axis]);
    lengths[axis] = size == 0 ? 0 : length;
    IntTensor out = IntTensor::from_shape(lengths);
    std::int64_t i = 0;
    for (std::int64_t& position : out) position = (i++ * 7 + 2) % size;
    return out;
}

}  // namespace

void choosing_samples(Samples& samples) {
    auto& rows = samples.right;
    const Operand x{"5BI"}, matrix{"7I"};
    rows.push_back({"gather",
                    "the last axis, positions repeated",
                    {{"3I"}},
                    [](auto& x) {
                        return gather(x(0), -1, IntTensor{{0, 3, 3}, {1, 0, 2}, {3, 3, 3}});
                    },
                    "I0 I1"});
    rows.push_back({"gather", "the first axis, fewer rows", {{"53"}}, [](auto& x) {
                        return gather(x(0), 0, IntTensor{{4, 0, 1}, {0, 2, 1}});
                    }});
    rows.push_back(
        {"gather", "nothing, and something", {{"35"}}, [](auto& x) {
             return std::pair{gather(x[0], 1, IntTensor::from_shape({3, 0})), gather(x[0], 1, column({4, 0, 2}))};
         }});
    rows.push_back({"gather", "a middle axis, any sizes", {{"TBI"}}, [](auto& x) {
                        const IntTensor positions = positions_in(x[0].shape(), 1, 5);
                        return std::pair{gather(x[0], 1, positions), x[0] * 1};
                    }});
    rows.push_back({"index_select", "the first axis, a row twice", {x}, [](auto& x) {
                        return index_select(x(0), 0, IntTensor{4, 0, 4});
                    }});
    rows.push_back({"index_select", "a middle axis", {{"T3I"}}, [](auto& x) {
                        return index_select(x(0), 1, IntTensor{2, 0});
                    }});
    rows.push_back({"index_select", "the last axis", {{"TB4"}}, [](auto& x) {
                        return index_select(x(0), -1, IntTensor{3, 3, 1, 0, 2});
                    }});
    rows.push_back({"masked_fill", "a mask of equal shape", {{"TBI"}}, [](auto& x) {
                        const auto mask = mask_of(x[0].shape());
                        return std::pair{masked_fill(x[0], mask, -2.5), x[0] * 1};
                    }});
    rows.push_back({"masked_fill", "a row", {{"BI"}}, [](auto& x) {
                        const auto mask = mask_of(Shape{x[0].shape()[1]});
                        return std::pair{masked_fill(x[0], mask, 0), x[0] * 1};
                    }});
    rows.push_back({"where", "equal shapes", {{"BI"}, {"BI"}}, [](auto& x) {
                        const auto mask = mask_of(x[0].shape());
                        const auto chosen = where(mask, x[0], x[1]);
                        return std::pair{chosen, x[0] + x[1]};
                    }});
    rows.push_back({"where", "a row and a scalar", {{"I"}, {""}}, [](auto& x) {
                        const auto mask = mask_of(Shape{3, x[0].shape()[0]});
                        return where(mask, x(0), x(1));
                    }});
    rows.push_back({"embedding", "tokens in two axes, repeated", {matrix}, [](auto& x) {
                        return embedding(x(0), IntTensor{{6, 0, 2}, {2, 2, 5}});
                    }});
    rows.push_back({"embedding", "without the padding row", {matrix}, [](auto& x) {
                        return embedding(x(0), IntTensor{3, 1, 3, 6}, 2);
                    }});
    rows.push_back({"embedding", "no tokens, and one", {matrix}, [](auto& x) {
                        return std::pair{embedding(x[0], IntTensor::from_shape({0})), embedding(x[0], IntTensor{5})};
                    }});
    rows.push_back({"one_hot", "beside an operand", {{"BI"}}, [](auto& x) {
                        using Real = typename std::remove_cvref_t<decltype(x[0])>::value_type;
                        return std::pair{one_hot<Real>(IntTensor{2, 0}, 3), x(0) * 2};
                    }});

    auto& wrong = samples.wrong;
    wrong.push_back({"gather", "a position behind the end", {{"BI"}}, [](auto& x) {
                         return gather(x(0), 1, column({0, 4, 1}));
                     }});
    wrong.push_back({"gather", "a negative position", {{"BI"}}, [](auto& x) {
                         return gather(x(0), 1, column({0, -1, 1}));
                     }});
    wrong.push_back({"gather", "another rank", {{"BI"}}, [](auto& x) { return gather(x(0), 1, IntTensor{0, 1, 2}); }});
    wrong.push_back({"gather", "longer beside the axis", {{"2I"}}, [](auto& x) {
                         return gather(x(0), 1, column({0, 1, 1}));
                     }});
    wrong.push_back({"gather", "an axis that is not there", {{"BI"}}, [](auto& x) {
                         return gather(x(0), 2, column({0, 1, 1}));
                     }});
    wrong.push_back({"index_select", "a position behind the end", {x}, [](auto& x) {
                         return index_select(x(0), 0, IntTensor{5});
                     }});
    wrong.push_back(
        {"index_select", "a negative position", {x}, [](auto& x) { return index_select(x(0), 0, IntTensor{-1}); }});
    wrong.push_back({"index_select", "positions in two axes", {x}, [](auto& x) {
                         return index_select(x(0), 0, column({1, 2}));
                     }});
    wrong.push_back({"index_select", "an axis that is not there", {x}, [](auto& x) {
                         return index_select(x(0), 3, IntTensor{0});
                     }});
    wrong.push_back({"masked_fill", "a mask that does not broadcast", {{"BI"}}, [](auto& x) {
                         return masked_fill(x(0), mask_of({3, 5}), 0);
                     }});
    wrong.push_back({"masked_fill", "a mask with more axes", {{"BI"}}, [](auto& x) {
                         return masked_fill(x(0), mask_of({2, 3, 4}), 0);
                     }});
    wrong.push_back({"where", "a mask that does not broadcast", {{"BI"}, {"BI"}}, [](auto& x) {
                         return where(mask_of({3, 5}), x(0), x(1));
                     }});
    wrong.push_back({"where", "operands that do not broadcast", {{"BI"}, {"BH"}}, [](auto& x) {
                         return where(mask_of({3, 1}), x(0), x(1));
                     }});
    wrong.push_back({"embedding", "a token behind the end", {matrix}, [](auto& x) {
                         return embedding(x(0), IntTensor{1, 7});
                     }});
    wrong.push_back({"embedding", "a negative token", {matrix}, [](auto& x) {
                         return embedding(x(0), IntTensor{1, -1});
                     }});
    wrong.push_back(
        {"embedding", "a weight with three axes", {x}, [](auto& x) { return embedding(x(0), IntTensor{1}); }});
    wrong.push_back({"embedding", "a padding row behind the end", {matrix}, [](auto& x) {
                         return embedding(x(0), IntTensor{1}, 7);
                     }});
    wrong.push_back({"one_hot", "an index behind the end", {{"B"}}, [](auto& x) {
                         return one_hot<typename std::remove_cvref_t<decltype(x[0])>::value_type>(IntTensor{3}, 3);
                     }});
}

}  // namespace unroll::test
