// The best loss, patience, and their saved state.
#include <unroll/autograd/error.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/train/early_stopping.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace {

using unroll::EarlyStopping;
using unroll::test::error_message;

TEST(EarlyStopping, StopsAfterPatienceLossesWithoutImprovement) {
    EarlyStopping early({.patience = 2, .min_delta = 0.1});
    EXPECT_TRUE(early.update(3.0, 10));
    EXPECT_FALSE(early.update(2.95, 20));  // less than min_delta better
    EXPECT_FALSE(early.should_stop());
    EXPECT_TRUE(early.update(2.8, 30));
    EXPECT_FALSE(early.update(2.8, 40));
    EXPECT_FALSE(early.update(4.0, 50));
    EXPECT_TRUE(early.should_stop());
    EXPECT_EQ(early.best(), 2.8);
    EXPECT_EQ(early.best_step(), 30);
}

TEST(EarlyStopping, PatienceZeroNeverStops) {
    EarlyStopping early;
    early.update(1, 0);
    for (int i = 1; i < 100; ++i) EXPECT_FALSE(early.update(2, i));
    EXPECT_FALSE(early.should_stop());
}

TEST(EarlyStopping, ALossThatIsNotFiniteIsNoImprovement) {
    EarlyStopping early({.patience = 3});
    EXPECT_FALSE(early.update(std::nan(""), 1));
    EXPECT_FALSE(early.update(-INFINITY, 2));
    EXPECT_EQ(early.best_step(), -1);
    EXPECT_FALSE(early.update(INFINITY, 3));
    EXPECT_TRUE(early.should_stop());
}

TEST(EarlyStopping, SurvivesItsSavedState) {
    for (const int updates : {0, 3}) {
        EarlyStopping before({.patience = 2});
        for (int i = 0; i < updates; ++i) before.update(1.0 / 3 + i, i);
        EarlyStopping after({.patience = 2});
        after.load_state(nlohmann::json::parse(before.state().dump()));
        EXPECT_EQ(after.best(), before.best());
        EXPECT_EQ(after.best_step(), before.best_step());
        EXPECT_EQ(after.without_improvement(), before.without_improvement());
        EXPECT_EQ(after.should_stop(), before.should_stop());
    }
    EarlyStopping early;
    EXPECT_THROW(early.load_state(nlohmann::json::object()), unroll::ValueError);
    EXPECT_THROW(early.load_state({{"best", 1}, {"best_step", "x"}, {"without_improvement", 0}}), unroll::ValueError);
    EXPECT_EQ(early.best(), INFINITY);
}

TEST(EarlyStopping, OptionsAreChecked) {
    EXPECT_EQ(error_message<unroll::ValueError>([] { EarlyStopping({.patience = -2}); }),
              "[EarlyStopping] patience must be at least 0, not -2");
    EXPECT_EQ(error_message<unroll::ValueError>([] { EarlyStopping({.min_delta = INFINITY}); }),
              "[EarlyStopping] min_delta must be at least 0 and finite, not inf");
}

}  // namespace
