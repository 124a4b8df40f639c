// Schedules: PyTorch's rates and momenta, states, ends, and bad options.
#include "support.hpp"

#include <unroll/optim/schedule.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/tests/support/special_values.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace unroll::test {
namespace {

using testing::HasSubstr;

/// An optimiser that is steered and never steps.
struct Steered {
    std::unique_ptr<ParameterStore<float>> store = make_store<float>({{"w", Shape{1}}});
    SGD<float> sgd;
    explicit Steered(double lr = 0.1) : sgd(*store, {.lr = lr, .momentum = 0.9}) {}
};

const nlohmann::json& golden_schedules() {
    static const nlohmann::json document = golden::load("schedules.json");
    return document;
}

template <class T>
T option(const nlohmann::json& test, const char* name, T otherwise) {
    return test.at("options").value(name, otherwise);
}

/// The schedule of a golden case; not for the plateau.
std::unique_ptr<Schedule> make_schedule(OptimizerBase& optimizer, const nlohmann::json& test) {
    const auto name = test.at("name").get<std::string>();
    const nlohmann::json& o = test.at("options");
    const double gamma = option(test, "gamma", 0.1);
    if (name == "StepLR")
        return std::make_unique<StepLR>(optimizer,
                                        StepLROptions{.step_size = o.at("step_size").get<Index>(), .gamma = gamma});
    if (name == "MultiStepLR")
        return std::make_unique<MultiStepLR>(
            optimizer, MultiStepLROptions{.milestones = o.at("milestones").get<std::vector<Index>>(), .gamma = gamma});
    if (name == "ExponentialLR")
        return std::make_unique<ExponentialLR>(optimizer, ExponentialLROptions{.gamma = gamma});
    if (name == "CosineAnnealingLR")
        return std::make_unique<CosineAnnealingLR>(
            optimizer,
            CosineAnnealingLROptions{.T_max = o.at("T_max").get<Index>(), .eta_min = option(test, "eta_min", 0.0)});
    if (name == "WarmupCosine")
        return std::make_unique<WarmupCosineLR>(
            optimizer, WarmupCosineLROptions{.warmup_steps = o.at("warmup").get<Index>(),
                                             .total_steps = o.at("total").get<Index>(),
                                             .eta_min = o.at("floor").get<double>() * test.at("base_lr").get<double>(),
                                             .from_zero = o.at("first") == 0});
    if (name != "OneCycleLR") throw std::runtime_error("no schedule is called " + name);
    OneCycleLROptions cycle{.max_lr = o.at("max_lr").get<double>()};
    cycle.total_steps = option(test, "total_steps", cycle.total_steps);
    cycle.epochs = option(test, "epochs", cycle.epochs);
    cycle.steps_per_epoch = option(test, "steps_per_epoch", cycle.steps_per_epoch);
    cycle.pct_start = option(test, "pct_start", cycle.pct_start);
    if (o.value("anneal_strategy", "cos") == "linear") cycle.anneal_strategy = AnnealStrategy::linear;
    cycle.cycle_momentum = option(test, "cycle_momentum", cycle.cycle_momentum);
    cycle.base_momentum = option(test, "base_momentum", cycle.base_momentum);
    cycle.max_momentum = option(test, "max_momentum", cycle.max_momentum);
    cycle.div_factor = option(test, "div_factor", cycle.div_factor);
    cycle.final_div_factor = option(test, "final_div_factor", cycle.final_div_factor);
    cycle.three_phase = option(test, "three_phase", cycle.three_phase);
    return std::make_unique<OneCycleLR>(optimizer, cycle);
}

ReduceLROnPlateauOptions plateau_options(const nlohmann::json& test) {
    ReduceLROnPlateauOptions o;
    if (option<std::string>(test, "mode", "min") == "max") o.mode = PlateauMode::max;
    if (option<std::string>(test, "threshold_mode", "rel") == "abs") o.threshold_mode = ThresholdMode::abs;
    o.factor = option(test, "factor", o.factor);
    o.patience = option(test, "patience", o.patience);
    o.threshold = option(test, "threshold", o.threshold);
    o.cooldown = option(test, "cooldown", o.cooldown);
    o.min_lr = option(test, "min_lr", o.min_lr);
    o.eps = option(test, "eps", o.eps);
    return o;
}

bool is_plateau(const nlohmann::json& test) { return test.at("name") == "ReduceLROnPlateau"; }

TEST(Schedule, AgreesWithPyTorch) {
    int cases = 0;
    for (const nlohmann::json& test : golden_schedules().at("cases")) {
        SCOPED_TRACE(title_of(test));
        ++cases;
        Steered steered(test.at("base_lr").get<double>());
        const std::vector<double> rates = golden::numbers(test.at("lr"));
        std::unique_ptr<Schedule> schedule;
        std::optional<ReduceLROnPlateau> plateau;
        if (is_plateau(test))
            plateau.emplace(steered.sgd, plateau_options(test));
        else
            schedule = make_schedule(steered.sgd, test);
        EXPECT_NEAR(steered.sgd.lr(), rates.at(0), 1e-15);
        ASSERT_GT(rates.size(), 10u);
        for (std::size_t n = 1; n < rates.size(); ++n) {
            const double set = plateau ? plateau->step(test.at("metrics").at(n - 1).get<double>()) : schedule->step();
            EXPECT_NEAR(set, rates[n], 1e-15) << "after " << n << " steps";
            EXPECT_EQ(steered.sgd.lr(), set);
            const double momentum = test.contains("momentum") ? test.at("momentum").at(n).get<double>() : 0.9;
            EXPECT_NEAR(*steered.sgd.momentum(), momentum, 1e-15) << "after " << n << " steps";
        }
        EXPECT_EQ(plateau ? plateau->last_epoch() : schedule->last_epoch(), static_cast<Index>(rates.size() - 1));
    }
    EXPECT_EQ(cases, 21);
}

TEST(Schedule, ResumedSchedulesGiveTheSameBits) {
    for (const nlohmann::json& test : golden_schedules().at("cases")) {
        SCOPED_TRACE(title_of(test));
        const std::size_t steps = test.at("lr").size() - 1;
        Steered whole, first, second(0.7);  // the second one begins with another rate: the state knows better
        const auto expect_same = [&](auto& all, auto& before, auto& after, const auto& step) {
            for (std::size_t n = 0; n < steps; ++n) {
                const double expected = step(all, n);
                if (n < steps / 2) {
                    step(before, n);
                    continue;
                }
                if (n == steps / 2) {
                    second.sgd.load_state_dict(first.sgd.state_dict());
                    after.load_state_dict(before.state_dict());
                    EXPECT_EQ(second.sgd.lr(), first.sgd.lr());
                    EXPECT_EQ(second.sgd.momentum(), first.sgd.momentum());
                }
                EXPECT_EQ(step(after, n), expected) << n;
                EXPECT_EQ(second.sgd.momentum(), whole.sgd.momentum());
            }
            EXPECT_EQ(after.state_dict(), all.state_dict());
        };
        if (is_plateau(test)) {
            const ReduceLROnPlateauOptions options = plateau_options(test);
            ReduceLROnPlateau all(whole.sgd, options), before(first.sgd, options), after(second.sgd, options);
            expect_same(all, before, after, [&](ReduceLROnPlateau& plateau, std::size_t n) {
                return plateau.step(test.at("metrics").at(n).get<double>());
            });
        } else {
            const auto all = make_schedule(whole.sgd, test), before = make_schedule(first.sgd, test),
                       after = make_schedule(second.sgd, test);
            expect_same(*all, *before, *after, [](Schedule& schedule, std::size_t) { return schedule.step(); });
        }
    }
}

TEST(Schedule, StatesOfOthersChangeNothingAndSayWhy) {
    Steered steered, other;
    StepLR schedule(steered.sgd, {.step_size = 3});
    schedule.step();
    schedule.step();
    schedule.step();
    const StateDict good = schedule.state_dict();
    const auto refused = [&](const StateDict& state) {
        const std::string message = error_message<ValueError>([&] { schedule.load_state_dict(state); });
        EXPECT_EQ(schedule.state_dict(), good);
        EXPECT_EQ(steered.sgd.lr(), 0.1 * 0.1);
        return message;
    };
    ExponentialLR exponential(other.sgd, {.gamma = 0.5});
    EXPECT_EQ(refused(exponential.state_dict()), "[StepLR] the state is that of another schedule: \"ExponentialLR\"");
    EXPECT_THAT(refused(StateDict{}), HasSubstr("there is no entry \"schedule\""));
    EXPECT_THAT(refused(good.without("base_lr")), HasSubstr("there is no entry \"base_lr\""));
    StateDict negative = good.without("last_epoch");
    negative.put_scalar<std::int64_t>("last_epoch", -1);
    EXPECT_EQ(refused(negative), "[StepLR] the state's last_epoch must be 0 or more; got -1");
    StateDict infinite = good.without("base_lr");
    infinite.put_scalar("base_lr", std::numeric_limits<double>::infinity());
    EXPECT_EQ(refused(infinite), "[StepLR] the state's base_lr must be in [0, ∞); got inf");

    OneCycleLR cycle(steered.sgd, {.max_lr = 0.4, .total_steps = 5}),
        longer(other.sgd, {.max_lr = 0.4, .total_steps = 50});
    for (int n = 0; n < 6; ++n) longer.step();
    EXPECT_EQ(error_message<ValueError>([&] { cycle.load_state_dict(longer.state_dict()); }),
              "[OneCycleLR] the state is after 6 steps; this schedule has 5");
    EXPECT_EQ(cycle.last_epoch(), 0);

    ReduceLROnPlateau plateau(steered.sgd);
    plateau.step(3.0);
    EXPECT_THAT(error_message<ValueError>([&] { plateau.load_state_dict(good); }),
                HasSubstr("another schedule: \"StepLR\""));
    EXPECT_THAT(error_message<ValueError>([&] { plateau.load_state_dict(plateau.state_dict().without("best")); }),
                HasSubstr("\"best\""));
    EXPECT_EQ(plateau.best(), 3.0);
}

TEST(Schedule, OneCycleEndsAndSaysSo) {
    Steered steered;
    OneCycleLR cycle(steered.sgd, {.max_lr = 0.5, .total_steps = 4});
    double last = 0;
    for (int n = 0; n < 3; ++n) last = cycle.step();
    EXPECT_NEAR(last, 0.5 / 25 / 1e4, 1e-18);
    EXPECT_EQ(cycle.step(), last);  // after the last step of training
    EXPECT_EQ(error_message<UsageError>([&] { cycle.step(); }),
              "[OneCycleLR] the schedule has ended after its 4 steps");
    EXPECT_EQ(cycle.last_epoch(), 4);
}

TEST(Schedule, OneCycleWithAPhaseOfNoLength) {
    for (const double start : {0.0, 0.25, 1.0}) {
        Steered steered;
        OneCycleLR cycle(steered.sgd, {.max_lr = 0.5, .total_steps = 4, .pct_start = start});
        EXPECT_TRUE(std::isfinite(steered.sgd.lr()));
        for (int n = 1; n < 4; ++n) EXPECT_TRUE(std::isfinite(cycle.step())) << start << " " << n;
        EXPECT_NEAR(steered.sgd.lr(), start == 1.0 ? 0.5 : 0.5 / 25 / 1e4, 1e-15);
    }
}

TEST(Schedule, OneCycleSteersBeta1AndAsksForAMomentum) {
    const auto store = make_store<double>({{"w", Shape{1}}});
    Adam<double> adam(*store);
    OneCycleLR cycle(adam, {.max_lr = 0.4, .total_steps = 10});
    EXPECT_EQ(adam.momentum(), 0.95);
    for (int n = 0; n < 2; ++n) cycle.step();
    EXPECT_DOUBLE_EQ(*adam.momentum(), 0.85);
    EXPECT_DOUBLE_EQ(adam.lr(), 0.4);

    Adagrad<double> adagrad(*store, {.lr = 0.3});
    EXPECT_EQ(error_message<UsageError>([&] { OneCycleLR refused(adagrad, {.max_lr = 0.4, .total_steps = 10}); }),
              "[OneCycleLR] Adagrad has no momentum to cycle; set cycle_momentum = false");
    EXPECT_EQ(adagrad.lr(), 0.3);
    const OneCycleLR without(adagrad, {.max_lr = 0.4, .total_steps = 10, .cycle_momentum = false});
    EXPECT_DOUBLE_EQ(adagrad.lr(), 0.4 / 25);
}

TEST(Schedule, CosineIsExactAfterManyPeriods) {
    Steered steered;
    CosineAnnealingLR cosine(steered.sgd, {.T_max = 3});
    for (int n = 0; n < 6 * 1000 + 3; ++n) cosine.step();
    EXPECT_EQ(steered.sgd.lr(), 0.0);
}

TEST(Schedule, LambdaIsAnyFunction) {
    Steered steered;
    LambdaLR schedule(steered.sgd, [](Index n) { return 1.0 / (1.0 + static_cast<double>(n)); });
    EXPECT_EQ(steered.sgd.lr(), 0.1);
    EXPECT_EQ(schedule.step(), 0.05);
    EXPECT_EQ(schedule.base_lr(), 0.1);
    LambdaLR negative(steered.sgd, [](Index n) { return n == 0 ? 1.0 : -1.0; });
    EXPECT_THAT(error_message<ValueError>([&] { negative.step(); }), HasSubstr("[SGD] lr must be in [0, ∞); got -"));
    EXPECT_EQ(negative.last_epoch(), 0);
    EXPECT_EQ(steered.sgd.lr(), 0.05);
    EXPECT_THROW(LambdaLR(steered.sgd, nullptr), ValueError);
}

TEST(Schedule, NanIsNoImprovementOnAPlateau) {
    Steered steered;
    ReduceLROnPlateau plateau(steered.sgd, {.factor = 0.5, .patience = 1});
    plateau.step(1.0);
    plateau.step(kNaN);
    EXPECT_EQ(plateau.num_bad_epochs(), 1);
    EXPECT_EQ(plateau.best(), 1.0);
    EXPECT_EQ(plateau.step(kNaN), 0.05);
}

TEST(Schedule, BadOptionsAreRefusedByNameAndTheRateStays) {
    Steered steered;
    const auto refused = [&](const auto& make) {
        const std::string message = error_message<ValueError>([&] { make(); });
        EXPECT_EQ(steered.sgd.lr(), 0.1);
        EXPECT_EQ(steered.sgd.momentum(), 0.9);
        return message;
    };
#define UNROLL_REFUSED(Kind, ...) refused([&] { Kind schedule(steered.sgd, {__VA_ARGS__}); })
    EXPECT_EQ(UNROLL_REFUSED(StepLR, .step_size = 0), "[StepLR] step_size must be 1 or more; got 0");
    EXPECT_EQ(UNROLL_REFUSED(StepLR, .step_size = 2, .gamma = kNaN), "[StepLR] gamma must be in [0, ∞); got nan");
    EXPECT_EQ(UNROLL_REFUSED(MultiStepLR, .milestones = {3, -1}),
              "[MultiStepLR] a milestone must be 0 or more; got -1");
    EXPECT_EQ(UNROLL_REFUSED(MultiStepLR, .milestones = {3}, .gamma = -1),
              "[MultiStepLR] gamma must be in [0, ∞); got -1");
    EXPECT_EQ(UNROLL_REFUSED(ExponentialLR, .gamma = -0.5), "[ExponentialLR] gamma must be in [0, ∞); got -0.5");
    EXPECT_EQ(UNROLL_REFUSED(CosineAnnealingLR, .T_max = -5), "[CosineAnnealingLR] T_max must be 1 or more; got -5");
    EXPECT_EQ(UNROLL_REFUSED(CosineAnnealingLR, .T_max = 5, .eta_min = -1),
              "[CosineAnnealingLR] eta_min must be in [0, ∞); got -1");
    EXPECT_EQ(UNROLL_REFUSED(WarmupCosineLR, .warmup_steps = -1, .total_steps = 5),
              "[WarmupCosineLR] warmup_steps must be 0 or more; got -1");
    EXPECT_EQ(UNROLL_REFUSED(WarmupCosineLR, .warmup_steps = 5, .total_steps = 5),
              "[WarmupCosineLR] total_steps must be 6 or more; got 5");
    EXPECT_EQ(UNROLL_REFUSED(WarmupCosineLR, .warmup_steps = 0, .total_steps = 5, .eta_min = kNaN),
              "[WarmupCosineLR] eta_min must be in [0, ∞); got nan");
    EXPECT_EQ(UNROLL_REFUSED(OneCycleLR, .max_lr = kNaN, .total_steps = 5),
              "[OneCycleLR] max_lr must be in [0, ∞); got nan");
    EXPECT_EQ(UNROLL_REFUSED(OneCycleLR, .max_lr = 1),
              "[OneCycleLR] epochs (where total_steps is 0) must be 1 or more; got 0");
    EXPECT_EQ(UNROLL_REFUSED(OneCycleLR, .max_lr = 1, .epochs = 2),
              "[OneCycleLR] steps_per_epoch (where total_steps is 0) must be 1 or more; got 0");
    EXPECT_EQ(UNROLL_REFUSED(OneCycleLR, .max_lr = 1, .total_steps = -3),
              "[OneCycleLR] total_steps must be 0 or more; got -3");
    EXPECT_EQ(UNROLL_REFUSED(OneCycleLR, .max_lr = 1, .total_steps = 5, .pct_start = 1.5),
              "[OneCycleLR] pct_start must be in [0, 1]; got 1.5");
    EXPECT_EQ(UNROLL_REFUSED(OneCycleLR, .max_lr = 1, .total_steps = 5, .max_momentum = 1),
              "[OneCycleLR] max_momentum must be in [0, 1); got 1");
    EXPECT_EQ(UNROLL_REFUSED(OneCycleLR, .max_lr = 1, .total_steps = 5, .base_momentum = kNaN),
              "[OneCycleLR] base_momentum must be in [0, 1); got nan");
    EXPECT_EQ(UNROLL_REFUSED(OneCycleLR, .max_lr = 1, .total_steps = 5, .div_factor = 0),
              "[OneCycleLR] div_factor must be in (0, ∞); got 0");
    EXPECT_EQ(UNROLL_REFUSED(OneCycleLR, .max_lr = 1, .total_steps = 5, .final_div_factor = -1),
              "[OneCycleLR] final_div_factor must be in (0, ∞); got -1");
    EXPECT_EQ(UNROLL_REFUSED(ReduceLROnPlateau, .factor = 1), "[ReduceLROnPlateau] factor must be in [0, 1); got 1");
    EXPECT_EQ(UNROLL_REFUSED(ReduceLROnPlateau, .patience = -1),
              "[ReduceLROnPlateau] patience must be 0 or more; got -1");
    EXPECT_EQ(UNROLL_REFUSED(ReduceLROnPlateau, .threshold = 1),
              "[ReduceLROnPlateau] threshold must be in [0, 1); got 1");
    EXPECT_EQ(UNROLL_REFUSED(ReduceLROnPlateau, .threshold = kNaN, .threshold_mode = ThresholdMode::abs),
              "[ReduceLROnPlateau] threshold must be in [0, ∞); got nan");
    EXPECT_EQ(UNROLL_REFUSED(ReduceLROnPlateau, .cooldown = -2),
              "[ReduceLROnPlateau] cooldown must be 0 or more; got -2");
    EXPECT_EQ(UNROLL_REFUSED(ReduceLROnPlateau, .min_lr = -1), "[ReduceLROnPlateau] min_lr must be in [0, ∞); got -1");
    EXPECT_EQ(UNROLL_REFUSED(ReduceLROnPlateau, .eps = kNaN), "[ReduceLROnPlateau] eps must be in [0, ∞); got nan");
#undef UNROLL_REFUSED
}

}  // namespace
}  // namespace unroll::test
