// What fmt makes of shapes, Vars and results: their text, with any specification for strings.
#include <unroll/autograd/gradcheck.hpp>

#include <fmt/compile.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vector>

namespace unroll {
namespace {

TEST(TextFormatter, WritesTheText) {
    const Shape shape{2, 3};
    EXPECT_EQ(fmt::format("{} {}", shape, 7), "(2, 3) 7");
    EXPECT_EQ(fmt::format("{0} {0}", shape), "(2, 3) (2, 3)");
    const Var<double> x = full<double>({1}, 1.5);
    EXPECT_EQ(fmt::format("{}", x), to_string(x));
    GradcheckResult result;
    result.problems.push_back("nothing was compared");
    EXPECT_EQ(fmt::format("{}", result), to_string(result));
}

TEST(TextFormatter, TakesASpecificationForStrings) {
    const Shape shape{2, 3};
    EXPECT_EQ(fmt::format("{:>8}|{:<8}|{:^8}|{}", shape, shape, shape, 7), "  (2, 3)|(2, 3)  | (2, 3) |7");
    EXPECT_EQ(fmt::format("{:*^10s}|{:.2}|", shape, shape), "**(2, 3)**|(2|");
}

TEST(TextFormatter, TakesWidthAndPrecisionFromArguments) {
    const Shape shape{2, 3};
    EXPECT_EQ(fmt::format("{:>{}}|{:.{}}|{}", shape, 9, shape, 3, 7), "   (2, 3)|(2,|7");
    EXPECT_EQ(fmt::format("{:{}.{}}|{}", shape, 5, 3, 7), "(2,  |7");
    EXPECT_EQ(fmt::format("{0:>{1}}|{0:{1}.{2}}|{3}", shape, 9, 3, 7), "   (2, 3)|(2,      |7");
    EXPECT_EQ(fmt::format("{:>{width}}|", shape, fmt::arg("width", 8)), "  (2, 3)|");
}

TEST(TextFormatter, WritesWhereverFmtDoes) {
    const Shape shape{2, 3};
    EXPECT_EQ(fmt::to_string(shape), "(2, 3)");
    EXPECT_EQ(fmt::format("{}", fmt::join(std::vector<Shape>{shape, shape}, " ")), "(2, 3) (2, 3)");
    EXPECT_EQ(fmt::format(FMT_COMPILE("{}|{:>8}"), shape, shape), "(2, 3)|  (2, 3)");
    EXPECT_EQ(fmt::formatted_size("{:>8}", shape), 8u);
}

TEST(TextFormatter, RefusesASpecificationThatIsNotForStrings) {
    const Shape shape{2, 3};
    for (const char* text : {"{:d}", "{:>{}}", "{:>", "{:>{", "{:>{}"})
        EXPECT_THROW((void)fmt::format(fmt::runtime(text), shape), fmt::format_error) << text;
}

}  // namespace
}  // namespace unroll
