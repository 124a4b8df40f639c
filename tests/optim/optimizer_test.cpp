// Optimisers: PyTorch's trajectories in double, float against double, groups, what is left alone, and bad options.
#include "support.hpp"

#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/parallel.hpp>
#include <unroll/optim/clip.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/tests/support/special_values.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace unroll::test {
namespace {

using testing::HasSubstr;

/// The instruction set that was active comes back at the end.
struct IsaGuard {
    detail::Isa before = detail::active_isa();
    ~IsaGuard() { detail::set_isa(before); }
};

template <class Function>
void for_each_isa(const Function& function) {
    const IsaGuard guard;
    for (const detail::Isa isa : {detail::Isa::baseline, detail::Isa::avx2, detail::Isa::avx512}) {
        if (!detail::isa_available(isa)) continue;
        SCOPED_TRACE(detail::isa_name(isa));
        detail::set_isa(isa);
        function();
    }
}

template <class Real>
void expect_golden() {
    std::size_t compared = 0;
    for (const nlohmann::json& test : golden_optimizers().at("cases")) {
        SCOPED_TRACE(title_of(test));
        Problem<Real> problem;
        const auto optimizer = make_optimizer<Real>(*problem.store, test);
        for (const int stop : {1, 10, 100}) {
            problem.steps(*optimizer, stop - problem.n);
            const std::vector<double> expected = golden::numbers(test.at("after").at(std::to_string(stop)));
            const std::vector<double> got = values_of(*problem.store);
            ASSERT_EQ(got.size(), expected.size());
            for (std::size_t i = 0; i < got.size(); ++i, ++compared)
                EXPECT_NEAR(got[i], expected[i], 1e-12) << "element " << i << " after " << stop << " steps";
        }
    }
    EXPECT_EQ(compared, 31u * 3 * 7);
}

TEST(Optimizer, AgreesWithPyTorchInDouble) { expect_golden<double>(); }

TEST(Optimizer, AgreesWithPyTorchOnDualNumbers) { expect_golden<Dual<double>>(); }

/// 50 steps of the golden problem whose objective is turned around.
std::vector<double> values_of_maximised(nlohmann::json test) {
    test["options"]["maximize"] = true;
    Problem<double> problem;
    const auto optimizer = make_optimizer<double>(*problem.store, test);
    for (int step = 0; step < 50; ++step) {
        problem.next_gradients();
        std::vector<double> turned;
        for (const double g : gradients_of(*problem.store)) turned.push_back(-g);
        problem.store->zero_grad();
        const double* next = turned.data();
        for (const auto* entry : problem.store->entries()) {
            set_gradient(*problem.store, *entry, [next](Index i) { return next[i]; });
            next += entry->shape.size();
        }
        clip_grad_norm(*problem.store, 2.0);
        optimizer->step();
    }
    return values_of(*problem.store);
}

TEST(Optimizer, MaximisingIsMinimisingTheNegative) {
    for (const nlohmann::json& test : golden_optimizers().at("cases")) {
        if (test.contains("groups")) continue;
        SCOPED_TRACE(title_of(test));
        Problem<double> problem;
        const auto optimizer = make_optimizer<double>(*problem.store, test);
        for (int step = 0; step < 50; ++step) {
            problem.next_gradients();
            clip_grad_norm(*problem.store, 2.0);
            optimizer->step();
        }
        EXPECT_EQ(values_of_maximised(test), values_of(*problem.store));
    }
}

// 26 is what AdamW reaches: its factor 1 - lr·weight_decay rounds the same way in every step.
TEST(Optimizer, FloatIsWithin32EpsilonOfDoubleOver100StepsOnEveryInstructionSet) {
    constexpr Index kCopies = 37;  // whole vectors and a rest in both parameters
    constexpr double kEpsilon = std::numeric_limits<float>::epsilon();
    for (const nlohmann::json& test : golden_optimizers().at("cases")) {
        SCOPED_TRACE(title_of(test));
        for_each_isa([&] {
            Problem<double> exact(kCopies);
            Problem<float> rounded(kCopies);
            const auto in_double = make_optimizer<double>(*exact.store, test);
            const auto in_float = make_optimizer<float>(*rounded.store, test);
            double worst = 0;
            for (int step = 0; step < 100; ++step) {
                exact.steps(*in_double, 1);
                rounded.steps(*in_float, 1);
                const std::vector<double> expected = values_of(*exact.store), got = values_of(*rounded.store);
                ASSERT_EQ(got.size(), 7u * kCopies);
                for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - expected[i]));
            }
            EXPECT_LE(worst, 32 * kEpsilon);
            EXPECT_GT(worst, 0);
        });
    }
}

TEST(Optimizer, TheBitsDoNotDependOnTheNumberOfThreads) {
    const Index before = num_threads();
    const nlohmann::json test = {{"name", "AdamW"}, {"options", {{"lr", 0.01}}}};
    std::vector<double> expected;
    for (const Index threads : {1, 2, 3, 5}) {
        set_num_threads(threads);
        Problem<float> problem(60000);  // 180,000 and 240,000 elements: several pieces each
        const auto optimizer = make_optimizer<float>(*problem.store, test);
        for (int step = 0; step < 3; ++step) {
            problem.next_gradients();
            clip_grad_norm(*problem.store, 0.5);
            optimizer->step();
        }
        if (expected.empty()) expected = values_of(*problem.store);
        EXPECT_EQ(values_of(*problem.store), expected) << threads << " threads";
    }
    set_num_threads(before);
    for (std::size_t i = 7; i < expected.size(); ++i) {
        const std::size_t k = i < 180000 ? i % 3 : 180000 + i % 4;
        ASSERT_EQ(expected[i], expected[k]) << "element " << i << " is not what its copies are";
    }
}

TEST(Optimizer, OnlyParametersWithAGradientMove) {
    Problem<double> problem;
    ParameterStore<double>& store = *problem.store;
    Adam<double> adam(store, {.lr = 0.1, .weight_decay = 0.5});
    const auto a = store.at("a");
    problem.next_gradients();
    store.at("b").freeze();
    const std::vector<double> before = values_of(store);
    const std::uint64_t version_a = a.entry().version->number, version_b = store.at("b").entry().version->number;
    adam.step();
    std::vector<double> after = values_of(store);
    for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(after[i] == before[i], i >= 3) << i;
    EXPECT_EQ(a.entry().version->number, version_a + 1);
    EXPECT_EQ(store.at("b").entry().version->number, version_b);

    // Now b alone: its own first step, in which Adam moves every element by lr.
    store.at("b").freeze(false);
    store.zero_grad();
    set_gradient(store, store.at("b").entry(), [](Index i) { return 1.0 + static_cast<double>(i); });
    const std::vector<double> middle = values_of(store);
    adam.step();
    after = values_of(store);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(after[i], middle[i]);
    for (std::size_t i = 3; i < 7; ++i) EXPECT_NEAR(after[i], middle[i] - 0.1, 1e-8);
}

TEST(Optimizer, ANewLayerJoinsAndOldMomentsStay) {
    const auto run = [](bool with_layer) {
        Problem<float> problem(5);
        Adam<float> adam(*problem.store, {.lr = 0.01});
        problem.steps(adam, 3);
        if (with_layer) {
            Scope<float> at(*problem.store);
            at.parameter("late", Shape{1000}, [](std::span<float> values, const Shape&, RandomStream&) {
                std::fill(values.begin(), values.end(), 2.0f);
            });
        }
        for (int step = 0; step < 3; ++step) {
            problem.next_gradients();
            adam.step();
        }
        return values_of(*problem.store);
    };
    // next_gradients() gives "late" b's rule.
    const std::vector<double> without = run(false), with = run(true);
    ASSERT_EQ(with.size(), without.size() + 1000);
    for (std::size_t i = 0; i < without.size(); ++i) EXPECT_EQ(with[i], without[i]);
    EXPECT_NE(with.back(), 2.0);
}

TEST(Optimizer, StepWithoutAnyGradientSaysSo) {
    Problem<float> problem;
    SGD<float> sgd(*problem.store, {.lr = 0.1});
    EXPECT_EQ(error_message<UsageError>([&] { sgd.step(); }),
              "[SGD] no parameter has a gradient; call backward(loss) before step()");
    problem.next_gradients();
    sgd.step();
    sgd.zero_grad();
    EXPECT_THROW(sgd.step(), UsageError);
    problem.next_gradients();
    problem.store->freeze("");
    EXPECT_THROW(sgd.step(), UsageError);
}

TEST(Optimizer, ALearningRateOfZeroChangesNothing) {
    for (const nlohmann::json& test : golden_optimizers().at("cases")) {
        if (test.contains("groups")) continue;
        SCOPED_TRACE(title_of(test));
        nlohmann::json frozen = test;
        frozen["options"]["lr"] = 0.0;
        Problem<float> problem;
        const auto optimizer = make_optimizer<float>(*problem.store, frozen);
        const std::vector<double> before = values_of(*problem.store);
        problem.steps(*optimizer, 3);
        EXPECT_EQ(values_of(*problem.store), before);
    }
}

TEST(Optimizer, GapsBetweenParametersStayZero) {
    for (const nlohmann::json& test : golden_optimizers().at("cases")) {
        SCOPED_TRACE(title_of(test));
        Problem<float> problem;
        const auto optimizer = make_optimizer<float>(*problem.store, test);
        problem.steps(*optimizer, 2);
        const float* block = problem.store->block_data();
        for (Index i = 3; i < 16; ++i) EXPECT_EQ(block[i], 0.0f);
        for (Index i = 16 + 4; i < problem.store->block_size(); ++i) EXPECT_EQ(block[i], 0.0f);
    }
}

TEST(Optimizer, GroupsFollowTheLearningRateInProportion) {
    auto store = make_store<double>({{"body.w", Shape{1}}, {"head.w", Shape{1}}, {"head.b", Shape{1}}});
    SGD<double> sgd(*store, {.lr = 0.1});
    sgd.add_group("head.b", [](SGDOptions& own) { own.lr = 0.5; });
    sgd.add_group("head.", [](SGDOptions& own) { own.lr = 0.2; });
    const auto moved = [&] {
        const std::vector<double> before = values_of(*store);
        store->zero_grad();
        for (const auto* entry : store->entries()) set_gradient(*store, *entry, [](Index) { return 1.0; });
        sgd.step();
        std::vector<double> by = values_of(*store);
        for (std::size_t i = 0; i < by.size(); ++i) by[i] = before[i] - by[i];
        return by;
    };
    EXPECT_THAT(moved(), testing::Pointwise(testing::DoubleNear(1e-15), {0.1, 0.2, 0.5}));
    sgd.set_lr(0.05);
    EXPECT_EQ(sgd.lr(), 0.05);
    EXPECT_THAT(moved(), testing::Pointwise(testing::DoubleNear(1e-15), {0.05, 0.1, 0.25}));
}

TEST(Optimizer, ATiedParameterBelongsToTheGroupOfAnyOfItsNames) {
    auto store = make_store<double>({{"embed.w", Shape{1}}, {"head.w", Shape{1}}, {"head.b", Shape{1}}});
    store->tie("head.w", "embed.w");
    SGD<double> sgd(*store, {.lr = 0.1});
    sgd.add_group("head.w", [](SGDOptions& own) { own.lr = 0.2; });
    sgd.add_group("embed.", [](SGDOptions& own) { own.lr = 0.5; });
    for (const auto* entry : store->entries()) set_gradient(*store, *entry, [](Index) { return 1.0; });
    sgd.step();
    EXPECT_THAT(values_of(*store), testing::Pointwise(testing::DoubleNear(1e-15), {-0.2, -0.1}));
}

TEST(Optimizer, AMomentumThatIsSetTakesThePlaceOfTheOptions) {
    const auto run = [](double own, std::optional<double> set) {
        Problem<double> problem;
        SGD<double> sgd(*problem.store, {.lr = 0.05, .momentum = own});
        if (set) sgd.set_momentum(*set);
        EXPECT_EQ(sgd.momentum(), set.value_or(own));
        problem.steps(sgd, 10);
        return values_of(*problem.store);
    };
    EXPECT_EQ(run(0, 0.8), run(0.8, {}));
    EXPECT_EQ(run(0.5, 0.8), run(0.8, {}));
    EXPECT_EQ(run(0.5, 0.0), run(0.0, {}));
    EXPECT_NE(run(0.5, {}), run(0.8, {}));
}

/// The message of the ValueError with which an optimiser refuses its options.
template <template <class> class Kind, class Options>
std::string refusal(const Options& options) {
    const auto store = make_store<float>({{"w", Shape{2}}});
    return error_message<ValueError>([&] { Kind<float> optimizer(*store, options); });
}

TEST(Optimizer, BadOptionsAreRefusedByName) {
    EXPECT_EQ((refusal<SGD, SGDOptions>({.lr = -0.1})), "[SGD] lr must be in [0, ∞); got -0.1");
    EXPECT_EQ((refusal<SGD, SGDOptions>({.lr = kNaN})), "[SGD] lr must be in [0, ∞); got nan");
    EXPECT_EQ((refusal<SGD, SGDOptions>({.lr = kInfinity})), "[SGD] lr must be in [0, ∞); got inf");
    EXPECT_EQ((refusal<SGD, SGDOptions>({.momentum = -1})), "[SGD] momentum must be in [0, ∞); got -1");
    EXPECT_EQ((refusal<SGD, SGDOptions>({.momentum = 0.9, .dampening = kNaN})),
              "[SGD] dampening must be in [0, 1]; got nan");
    EXPECT_EQ((refusal<SGD, SGDOptions>({.weight_decay = -1e-4})), "[SGD] weight_decay must be in [0, ∞); got -0.0001");
    EXPECT_EQ((refusal<SGD, SGDOptions>({.nesterov = true})),
              "[SGD] nesterov needs a momentum above 0 and a dampening of 0");
    EXPECT_THAT((refusal<SGD, SGDOptions>({.momentum = 0.9, .dampening = 0.1, .nesterov = true})),
                HasSubstr("nesterov needs"));
    EXPECT_EQ((refusal<Adagrad, AdagradOptions>({.lr_decay = -1})), "[Adagrad] lr_decay must be in [0, ∞); got -1");
    EXPECT_THAT((refusal<Adagrad, AdagradOptions>({.initial_accumulator_value = -1})),
                HasSubstr("initial_accumulator_value"));
    EXPECT_THAT((refusal<Adagrad, AdagradOptions>({.eps = kNaN})), HasSubstr("eps must be"));
    EXPECT_EQ((refusal<RMSprop, RMSpropOptions>({.alpha = 1})), "[RMSprop] alpha must be in [0, 1); got 1");
    EXPECT_THAT((refusal<RMSprop, RMSpropOptions>({.momentum = kNaN})), HasSubstr("momentum must be"));
    EXPECT_EQ((refusal<Adadelta, AdadeltaOptions>({.rho = 1.5})), "[Adadelta] rho must be in [0, 1]; got 1.5");
    EXPECT_EQ((refusal<Adam, AdamOptions>({.beta1 = 1})), "[Adam] beta1 must be in [0, 1); got 1");
    EXPECT_EQ((refusal<Adam, AdamOptions>({.beta2 = 1})), "[Adam] beta2 must be in [0, 1); got 1");
    EXPECT_EQ((refusal<Adam, AdamOptions>({.eps = -1e-8})), "[Adam] eps must be in [0, ∞); got -1e-08");
    EXPECT_EQ((refusal<AdamW, AdamWOptions>({.weight_decay = kInfinity})),
              "[AdamW] weight_decay must be in [0, ∞); got inf");
    EXPECT_EQ((refusal<RAdam, RAdamOptions>({.beta2 = -0.1})), "[RAdam] beta2 must be in [0, 1); got -0.1");
    EXPECT_EQ((refusal<NAdam, NAdamOptions>({.momentum_decay = kNaN})),
              "[NAdam] momentum_decay must be in [0, ∞); got nan");
}

TEST(Optimizer, BadCallsChangeNothing) {
    const auto store = make_store<float>({{"layer.w", Shape{2}}});
    Adam<float> adam(*store, {.lr = 0.1});
    EXPECT_EQ(error_message<ValueError>([&] { adam.set_lr(-1); }), "[Adam] lr must be in [0, ∞); got -1");
    EXPECT_EQ(error_message<ValueError>([&] { adam.set_momentum(1); }), "[Adam] momentum must be in [0, 1); got 1");
    EXPECT_EQ(adam.lr(), 0.1);
    EXPECT_EQ(adam.momentum(), 0.9);
    EXPECT_EQ(error_message<ValueError>([&] { adam.add_group("head.", [](AdamOptions&) {}); }),
              "[Adam] no parameter's name begins with \"head.\"");
    EXPECT_EQ(error_message<ValueError>([&] { adam.add_group("layer.", [](AdamOptions& own) { own.beta2 = 1; }); }),
              "[Adam] beta2 must be in [0, 1); got 1");
    Adagrad<float> adagrad(*store);
    EXPECT_EQ(adagrad.momentum(), std::nullopt);
    EXPECT_EQ(error_message<UsageError>([&] { adagrad.set_momentum(0.5); }),
              "[Adagrad] this optimiser has no momentum to set");
    // Refused groups left nothing behind.
    set_gradient(*store, store->at("layer.w").entry(), [](Index) { return 1.0f; });
    adam.step();
    EXPECT_NEAR(values_of(*store)[0], -0.1, 1e-6);
}

}  // namespace
}  // namespace unroll::test
