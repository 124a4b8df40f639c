// Round places on axes, and where values lie.
#include <unroll/train/detail/axis.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using unroll::detail::Axis;
using unroll::detail::nice_step;
using unroll::detail::tick_label;

std::vector<std::string> labels(const Axis& axis) {
    std::vector<std::string> all;
    for (const auto& tick : axis.ticks()) all.push_back(tick.label);
    return all;
}

using Strings = std::vector<std::string>;

TEST(Axis, LinearTicksAreRound) {
    EXPECT_EQ(labels(Axis(1.31, 4.17, {.round_ends = true, .target_ticks = 6})),
              (Strings{"1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0", "4.5"}));
    EXPECT_EQ(labels(Axis(0, 5400, {.target_ticks = 6})), (Strings{"0", "1,000", "2,000", "3,000", "4,000", "5,000"}));
    EXPECT_EQ(labels(Axis(-1, 1, {.target_ticks = 4})), (Strings{"-1.0", "-0.5", "0", "0.5", "1.0"}));
    EXPECT_EQ(labels(Axis(0, 3e6, {.target_ticks = 6})), (Strings{"0", "500,000", "1M", "1.5M", "2M", "2.5M", "3M"}));
    EXPECT_EQ(labels(Axis(1.44, 1.53, {.target_ticks = 4})), (Strings{"1.450", "1.475", "1.500", "1.525"}));
}

TEST(Axis, RoundEndsContainTheRange) {
    const Axis axis(1.31, 4.17, {.round_ends = true});
    EXPECT_EQ(axis.low(), 1.0);
    EXPECT_EQ(axis.high(), 4.5);
    const Axis exact(1.31, 4.17, {});
    EXPECT_EQ(exact.low(), 1.31);
    EXPECT_EQ(exact.high(), 4.17);
    EXPECT_EQ(exact.position(1.31), 0);
    EXPECT_EQ(exact.position(4.17), 1);
    EXPECT_NEAR(exact.position(2.74), 0.5, 1e-12);
}

TEST(Axis, LogTicksStandWithinDecades) {
    EXPECT_EQ(labels(Axis(0.01, 1000, {.log = true})), (Strings{"0.01", "0.1", "1", "10", "100", "1,000"}));
    EXPECT_EQ(labels(Axis(16, 2048, {.log = true})), (Strings{"20", "50", "100", "200", "500", "1,000", "2,000"}));
    EXPECT_EQ(labels(Axis(1.4, 4.2, {.log = true, .target_ticks = 5})), (Strings{"1.5", "2", "2.5", "3", "4"}));
    EXPECT_EQ(labels(Axis(1.45, 1.52, {.log = true, .target_ticks = 4})), (Strings{"1.46", "1.48", "1.50", "1.52"}));
    EXPECT_EQ(labels(Axis(1e-12, 1e12, {.log = true, .target_ticks = 6})),
              (Strings{"1e-12", "1e-08", "0.0001", "1", "10,000", "100M", "1T"}));
    const Axis axis(1, 100, {.log = true});
    EXPECT_DOUBLE_EQ(axis.position(10), 0.5);
    EXPECT_TRUE(std::isnan(axis.position(0)));
    EXPECT_TRUE(std::isnan(axis.position(-1)));
}

TEST(Axis, ARangeWithoutWidthIsWidenedAndOneTurnedRoundIsTurned) {
    const Axis one(2.5, 2.5, {});
    EXPECT_LT(one.low(), 2.5);
    EXPECT_GT(one.high(), 2.5);
    EXPECT_FALSE(one.ticks().empty());
    EXPECT_EQ(Axis(0, 0, {}).low(), -1);
    EXPECT_EQ(Axis(5, 2, {}).low(), 2);
    EXPECT_GT(Axis(3, 3, {.log = true}).low(), 0);
}

TEST(Axis, WhatIsNotFiniteHasNoPosition) {
    const Axis axis(0, 1, {});
    EXPECT_TRUE(std::isnan(axis.position(std::nan(""))));
    EXPECT_TRUE(std::isnan(axis.position(INFINITY)));
}

TEST(Axis, AnyRangeHasFewTicksThatRiseWithinIt) {
    std::mt19937 generator(3);
    std::uniform_real_distribution<double> exponent(-300, 300);
    for (int i = 0; i < 3000; ++i)
        for (const bool log : {false, true}) {
            double low = std::pow(10, exponent(generator));
            const double high =
                i % 3 == 0 ? low * (1 + std::pow(10, -14.0 * i / 3000)) : std::pow(10, exponent(generator));
            if (!log && i % 2 == 0) low = -low;
            const Axis axis(low, high, {.log = log, .round_ends = i % 5 == 0});
            EXPECT_GE(axis.ticks().size(), 1u) << low << ' ' << high << log;
            EXPECT_LE(axis.ticks().size(), 14u) << low << ' ' << high << log;
            double last = -std::numeric_limits<double>::infinity();
            for (const auto& tick : axis.ticks()) {
                EXPECT_GT(tick.value, last);
                EXPECT_FALSE(tick.label.empty());
                EXPECT_GE(axis.position(tick.value), -1e-9);
                EXPECT_LE(axis.position(tick.value), 1 + 1e-9);
                last = tick.value;
            }
        }
    for (const double far : {1e308, 1.7e308}) EXPECT_GE(Axis(-far, far, {}).ticks().size(), 2u);
}

TEST(Axis, NiceStepsAreOneTwoTwoAndAHalfFive) {
    EXPECT_DOUBLE_EQ(nice_step(10, 10), 1);
    EXPECT_DOUBLE_EQ(nice_step(11, 10), 2);
    EXPECT_DOUBLE_EQ(nice_step(0.22, 10), 0.025);
    EXPECT_DOUBLE_EQ(nice_step(400, 10), 50);
    EXPECT_DOUBLE_EQ(nice_step(600, 10), 100);
}

TEST(Axis, LabelsHaveTheDigitsOfTheStep) {
    EXPECT_EQ(tick_label(0, 0.1), "0");
    EXPECT_EQ(tick_label(1.5, 0.5), "1.5");
    EXPECT_EQ(tick_label(2, 0.25), "2.00");
    EXPECT_EQ(tick_label(0.30000000000000004, 0.1), "0.3");
    EXPECT_EQ(tick_label(12000, 2000), "12,000");
    EXPECT_EQ(tick_label(-2500000, 500000), "-2.5M");
    EXPECT_EQ(tick_label(3e-7, 1e-7), "3e-07");
    EXPECT_EQ(tick_label(2e20, 1e20), "2e+20");
}

}  // namespace
