// Accuracy, perplexity, bits per symbol.
#include <unroll/layers/metrics.hpp>

#include <unroll/tests/layers/layer_support.hpp>

#include <limits>

namespace unroll {
namespace {

using test::error_message;
using test::integers;
using testing::HasSubstr;

Var<double> scores(const std::vector<std::vector<double>>& rows) {
    Tensor<double> out = empty<double>({static_cast<Index>(rows.size()), static_cast<Index>(rows[0].size())});
    Index i = 0;
    for (const auto& row : rows)
        for (const double x : row) out.data()[i++] = x;
    return Var<double>(std::move(out));
}

TEST(Metrics, AccuracyCountsTheFirstOfTheLargest) {
    const auto x = scores({{1, 3, 2}, {5, 5, 0}, {5, 5, 0}, {-1, -2, -3}});
    EXPECT_EQ(accuracy(x, integers({1, 0, 1, 2})), (Accuracy{.correct = 2, .counted = 4}));
    EXPECT_EQ(accuracy(x, integers({1, 0, 1, 2})).value(), 0.5);
}

TEST(Metrics, IgnoredTargetsDoNotCountAndBatchesAddUp) {
    const auto x = scores({{1, 3}, {4, 2}, {0, 1}});
    Accuracy total = accuracy(x, integers({1, -100, 0}));
    EXPECT_EQ(total, (Accuracy{1, 2}));
    total += accuracy(x, integers({7, 0, 1}), 7);
    EXPECT_EQ(total, (Accuracy{3, 4}));
    EXPECT_TRUE(std::isnan(Accuracy().value()));
}

TEST(Metrics, ARowWithNaNIsWrong) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    EXPECT_EQ(accuracy(scores({{nan, 1}, {nan, 1}, {1, nan}}), integers({0, 1, 0})), (Accuracy{0, 3}));
}

TEST(Metrics, WrongTargetsAreErrors) {
    const auto x = scores({{1, 3}, {4, 2}});
    EXPECT_EQ(error_message<IndexError>([&] {
                  accuracy(x, integers({0, 2}));
              }),
              "[accuracy] target 2 of row 1 must be 0 to 1, or -100 to be ignored");
    EXPECT_THAT(error_message<ShapeError>([&] {
                    accuracy(x, integers({0, 1, 0}));
                }),
                HasSubstr("logits must be (…, C) and targets (…); got (2, 2) and (3,)"));
}

TEST(Metrics, NatsBecomePerplexityAndBits) {
    EXPECT_DOUBLE_EQ(perplexity(std::log(65)), 65);
    EXPECT_DOUBLE_EQ(bits_per_symbol(std::log(8)), 3);
}

}  // namespace
}  // namespace unroll
