// Time, speed, smoothed losses and budgets, under a clock of the test's own.
#include <unroll/autograd/error.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/train/meters.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace {

using unroll::Budget;
using unroll::Stopwatch;
using unroll::ThroughputMeter;
using unroll::test::error_message;

TEST(Stopwatch, LeavesOutPauses) {
    double now = 100;
    Stopwatch watch([&] { return now; });
    now = 103;
    EXPECT_DOUBLE_EQ(watch.seconds(), 3);
    {
        const Stopwatch::Pause pause(watch);
        now = 110;
        const Stopwatch::Pause inner(watch);
        EXPECT_FALSE(watch.running());
    }
    EXPECT_TRUE(watch.running());
    now = 112;
    EXPECT_DOUBLE_EQ(watch.seconds(), 5);
    watch.pause();
    watch.pause();
    now = 120;
    EXPECT_DOUBLE_EQ(watch.seconds(), 5);
    watch.resume();
    watch.resume();
    now = 121;
    EXPECT_DOUBLE_EQ(watch.seconds(), 6);
}

TEST(Stopwatch, GoesOnInAResumedRun) {
    double now = 0;
    Stopwatch first([&] { return now; });
    now = 42.5;
    const nlohmann::json saved = nlohmann::json::parse(first.state().dump());
    now = 1000;
    Stopwatch second([&] { return now; });
    now = 1001;
    second.load_state(saved);
    now = 1003;
    EXPECT_DOUBLE_EQ(second.seconds(), 44.5);
    EXPECT_EQ(error_message<unroll::ValueError>([&] {
                  second.load_state({{"seconds", -1}});
              }),
              "[Stopwatch] the saved time is -1 seconds");
    EXPECT_EQ(error_message<unroll::ValueError>([&] {
                  second.load_state({{"second", 1}});
              }),
              "[Stopwatch] the saved state has no number \"seconds\"");
    EXPECT_DOUBLE_EQ(second.seconds(), 44.5);
}

TEST(Stopwatch, TheSteadyClockAdvances) {
    Stopwatch watch;
    while (watch.seconds() == 0) {
    }
    EXPECT_GT(watch.seconds(), 0);
    EXPECT_LT(watch.seconds(), 60);
}

TEST(ThroughputMeter, IsExactForEvenSpeedAndLeavesOutPauses) {
    double now = 0;
    Stopwatch watch([&] { return now; });
    ThroughputMeter meter(watch);
    EXPECT_EQ(meter.per_second(), 0);
    EXPECT_EQ(meter.average_per_second(), 0);
    for (int i = 0; i < 50; ++i) {
        now += 0.25;
        meter.add(100);
        const Stopwatch::Pause pause(watch);
        now += 3;
    }
    EXPECT_NEAR(meter.per_second(), 400, 1e-9);
    EXPECT_NEAR(meter.average_per_second(), 400, 1e-9);
}

TEST(ThroughputMeter, ForgetsOldSpeeds) {
    double now = 0;
    Stopwatch watch([&] { return now; });
    ThroughputMeter meter(watch, 2);
    for (int i = 0; i < 100; ++i) {
        now += 0.1;
        meter.add(10);
    }
    for (int i = 0; i < 200; ++i) {
        now += 0.1;
        meter.add(30);
    }
    EXPECT_NEAR(meter.per_second(), 300, 0.1);
    EXPECT_NEAR(meter.average_per_second(), 7000 / 30.0, 1e-9);
    EXPECT_EQ(error_message<unroll::ValueError>([&] { ThroughputMeter(watch, 0); }),
              "[ThroughputMeter] memory_seconds must be positive, not 0");
}

TEST(SmoothedLoss, FollowsMinCharRnn) {
    unroll::SmoothedLoss loss(0.999, 25 * std::log(65.0));
    EXPECT_NEAR(loss.value(), 104.36, 0.005);
    const double expected = 0.999 * loss.value() + 0.001 * 80;
    EXPECT_DOUBLE_EQ(loss.add(80), expected);
    unroll::SmoothedLoss resumed;
    EXPECT_TRUE(std::isnan(resumed.value()));
    resumed.load_state(nlohmann::json::parse(unroll::SmoothedLoss().state().dump()));
    EXPECT_TRUE(std::isnan(resumed.value()));
    resumed.load_state(nlohmann::json::parse(loss.state().dump()));
    EXPECT_EQ(resumed.value(), loss.value());
    EXPECT_EQ(unroll::SmoothedLoss(0.9).add(7), 7);
    EXPECT_EQ(error_message<unroll::ValueError>([] { unroll::SmoothedLoss(1); }),
              "[SmoothedLoss] decay must be in [0, 1), not 1");
}

TEST(RunningMean, WeighsItsValues) {
    unroll::RunningMean mean;
    EXPECT_TRUE(std::isnan(mean.mean()));
    mean.add(2, 3);
    mean.add(6);
    EXPECT_DOUBLE_EQ(mean.mean(), 3);
    unroll::RunningMean resumed;
    resumed.load_state(nlohmann::json::parse(mean.state().dump()));
    resumed.add(13);
    EXPECT_DOUBLE_EQ(resumed.mean(), 5);
    mean.reset();
    EXPECT_EQ(mean.weight(), 0);
    EXPECT_THROW(mean.load_state(nlohmann::json::array()), unroll::ValueError);
}

TEST(Budget, TheLimitThatComesFirstCounts) {
    const Budget both{.steps = 100, .seconds = 50};
    EXPECT_FALSE(both.reached(99, 49));
    EXPECT_TRUE(both.reached(100, 1));
    EXPECT_TRUE(both.reached(1, 50));
    EXPECT_DOUBLE_EQ(both.fraction_done(20, 5), 0.2);
    EXPECT_DOUBLE_EQ(both.fraction_done(20, 25), 0.5);
    EXPECT_DOUBLE_EQ(both.fraction_done(200, 25), 1);
    EXPECT_DOUBLE_EQ(both.seconds_left(20, 5, 4), 20);
    EXPECT_DOUBLE_EQ(both.seconds_left(20, 45, 4), 5);
    EXPECT_DOUBLE_EQ(both.seconds_left(0, 5, 0), 45);
    EXPECT_DOUBLE_EQ(both.seconds_left(100, 5, 0), 0);
}

TEST(Budget, WithoutLimitsNothingIsKnown) {
    const Budget none;
    EXPECT_FALSE(none.reached(1000000, 1e9));
    EXPECT_TRUE(std::isnan(none.fraction_done(5, 5)));
    EXPECT_TRUE(std::isnan(none.seconds_left(5, 5, 1)));
    const Budget steps{.steps = 10};
    EXPECT_TRUE(std::isnan(steps.seconds_left(5, 5, 0)));
    EXPECT_DOUBLE_EQ(steps.fraction_done(5, 1e9), 0.5);
}

}  // namespace
