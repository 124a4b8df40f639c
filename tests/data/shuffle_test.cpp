// Draws and permutations: complete, even, repeatable, different where they must be.
#include <unroll/autograd/error.hpp>
#include <unroll/data/shuffle.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace {

using unroll::draw_index;
using unroll::shuffled_indices;

TEST(Shuffle, IsAPermutationThatDependsOnSeedPurposeAndEpochAlone) {
    const auto order = shuffled_indices({3, "a"}, 0, 101);
    auto sorted = order;
    std::sort(sorted.begin(), sorted.end());
    for (std::int64_t i = 0; i < 101; ++i) EXPECT_EQ(sorted[static_cast<std::size_t>(i)], i);
    EXPECT_NE(order, sorted);
    EXPECT_EQ(order, shuffled_indices({3, "a"}, 0, 101));
    EXPECT_NE(order, shuffled_indices({4, "a"}, 0, 101));
    EXPECT_NE(order, shuffled_indices({3, "b"}, 0, 101));
    EXPECT_NE(order, shuffled_indices({3, "a"}, 1, 101));
}

TEST(Shuffle, EveryOrderOfFourIsEquallyLikely) {
    std::map<std::vector<std::int64_t>, int> counts;
    for (std::uint64_t epoch = 0; epoch < 24000; ++epoch) ++counts[shuffled_indices({1, "even"}, epoch, 4)];
    ASSERT_EQ(counts.size(), 24u);
    double chi_squared = 0;
    for (const auto& [order, count] : counts) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000;
    EXPECT_LT(chi_squared, 49.7);  // 23 degrees of freedom, one chance in a thousand
}

TEST(Shuffle, SmallCountsWork) {
    EXPECT_TRUE(shuffled_indices({1, "x"}, 0, 0).empty());
    EXPECT_EQ(shuffled_indices({1, "x"}, 0, 1), std::vector<std::int64_t>{0});
    EXPECT_THROW(shuffled_indices({1, "x"}, 0, -1), unroll::ValueError);
}

TEST(DrawIndex, IsEvenAndWithinItsRange) {
    std::map<std::int64_t, int> counts;
    for (std::uint64_t i = 0; i < 70000; ++i) ++counts[draw_index({9, "draw"}, i, 7)];
    ASSERT_EQ(counts.size(), 7u);
    EXPECT_EQ(counts.begin()->first, 0);
    double chi_squared = 0;
    for (const auto& [value, count] : counts) chi_squared += (count - 10000.0) * (count - 10000.0) / 10000;
    EXPECT_LT(chi_squared, 22.5);  // 6 degrees of freedom, one chance in a thousand
    EXPECT_EQ(draw_index({9, "draw"}, 5, 1), 0);
    EXPECT_THROW(draw_index({9, "draw"}, 5, 0), unroll::ValueError);
}

}  // namespace
