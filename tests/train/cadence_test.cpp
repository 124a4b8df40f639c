// When something is due.
#include <unroll/autograd/error.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/train/cadence.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace {

using unroll::Every;
using unroll::test::error_message;

TEST(Every, ByStepsItDependsOnTheStepAlone) {
    Every every({.steps = 4});
    std::vector<std::int64_t> due;
    for (std::int64_t step = 0; step <= 12; ++step)
        if (every.due(step, 1000.0 * static_cast<double>(step))) due.push_back(step);
    EXPECT_EQ(due, (std::vector<std::int64_t>{4, 8, 12}));
    EXPECT_TRUE(Every({.steps = 4}).due(8, 0));
    EXPECT_FALSE(Every({.steps = 4}).due(9, 0));
}

TEST(Every, ByTimeItCountsFromTheLastTime) {
    Every every({.seconds = 10});
    EXPECT_FALSE(every.due(1, 9.9));
    EXPECT_TRUE(every.due(2, 12));
    EXPECT_FALSE(every.due(3, 21));
    EXPECT_TRUE(every.due(4, 22));
    every.done(30);
    EXPECT_FALSE(every.due(5, 39));
    EXPECT_TRUE(every.due(6, 40));
}

TEST(Every, WhicheverComesFirstStartsTheTimeAgain) {
    Every every({.steps = 5, .seconds = 10});
    EXPECT_TRUE(every.due(5, 8));
    EXPECT_FALSE(every.due(6, 17));
    EXPECT_TRUE(every.due(7, 18));
}

TEST(Every, WithoutOptionsItIsNeverDue) {
    Every every({});
    EXPECT_TRUE(every.never());
    EXPECT_FALSE(Every({.seconds = 1}).never());
    EXPECT_FALSE(every.due(1000000, 1e9));
}

TEST(Every, OptionsAreChecked) {
    EXPECT_EQ(error_message<unroll::ValueError>([] { Every({.steps = -1}); }),
              "[Every] steps must be at least 0, not -1");
    EXPECT_EQ(error_message<unroll::ValueError>([] { Every({.seconds = std::nan("")}); }),
              "[Every] seconds must be at least 0 and finite, not nan");
}

}  // namespace
