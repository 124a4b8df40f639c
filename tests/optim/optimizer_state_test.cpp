// The state of optimisers: going on from it gives the same bits, and what does not fit is refused whole.
#include "support.hpp"

#include <unroll/io/state_dict.hpp>
#include <unroll/optim/clip.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace unroll::test {
namespace {

using testing::HasSubstr;

/// The state with one entry replaced, or left out for want of a value.
StateDict with(const StateDict& state, const std::string& name, std::optional<StoredTensor> value) {
    StateDict changed = state.contains(name) ? state.without(name) : state;
    if (value) changed.put(name, *value);
    return changed;
}

template <class T>
StoredTensor scalar(T value) {
    return StoredTensor(std::span<const T>(&value, 1), Shape{});
}

template <class Real>
void expect_same_after_resume() {
    for (const nlohmann::json& test : golden_optimizers().at("cases")) {
        SCOPED_TRACE(title_of(test));
        Problem<Real> whole(5);
        const auto throughout = make_optimizer<Real>(*whole.store, test);
        whole.steps(*throughout, 100);

        Problem<Real> first(5);
        const auto before = make_optimizer<Real>(*first.store, test);
        first.steps(*before, 50);
        const StateDict parameters = state_dict(*first.store), state = before->state_dict();

        Problem<Real> second(5);
        load_state_dict(*second.store, parameters, kResume);
        second.n = 50;
        const auto after = make_optimizer<Real>(*second.store, test);
        after->load_state_dict(state);
        EXPECT_EQ(after->state_dict(), state);
        second.steps(*after, 50);

        EXPECT_EQ(state_dict(*second.store), state_dict(*whole.store));
        EXPECT_EQ(after->state_dict(), throughout->state_dict());
    }
}

TEST(OptimizerState, ResumedTrainingHasTheSameBitsInFloat) { expect_same_after_resume<float>(); }

TEST(OptimizerState, ResumedTrainingHasTheSameBitsInDouble) { expect_same_after_resume<double>(); }

TEST(OptimizerState, ItIsPutBackIntoAnOptimizerThatHasMovedOn) {
    Problem<float> problem;
    RMSprop<float> optimizer(*problem.store, {.momentum = 0.9, .centered = true});
    problem.steps(optimizer, 5);
    optimizer.set_lr(0.005);
    optimizer.set_momentum(0.7);
    const StateDict parameters = state_dict(*problem.store), state = optimizer.state_dict();
    problem.steps(optimizer, 5);
    const StateDict expected = state_dict(*problem.store);

    optimizer.set_lr(0.5);
    optimizer.set_momentum(0.1);
    load_state_dict(*problem.store, parameters);
    optimizer.load_state_dict(state);
    EXPECT_EQ(optimizer.lr(), 0.005);
    EXPECT_EQ(optimizer.momentum(), 0.7);
    problem.n = 5;
    problem.steps(optimizer, 5);
    EXPECT_EQ(state_dict(*problem.store), expected);
}

TEST(OptimizerState, AStateFromBeforeTheFirstStepStartsAnew) {
    Problem<float> problem;
    Adagrad<float> optimizer(*problem.store, {.lr = 0.1, .initial_accumulator_value = 0.5});
    const StateDict parameters = state_dict(*problem.store), state = optimizer.state_dict();
    problem.steps(optimizer, 3);
    const StateDict expected = state_dict(*problem.store);
    load_state_dict(*problem.store, parameters);
    optimizer.load_state_dict(state);
    problem.n = 0;
    problem.steps(optimizer, 3);
    EXPECT_EQ(state_dict(*problem.store), expected);
}

TEST(OptimizerState, ItHoldsWhatIsUsedUnderPyTorchsNames) {
    Problem<float> problem;
    const auto names = [&](Optimizer<float>& optimizer) {
        problem.steps(optimizer, 1);
        const StateDict state = optimizer.state_dict();
        std::vector<std::string> names;
        for (const StateDict::Entry& entry : state.entries())
            if (entry.name.starts_with("a.")) names.push_back(entry.name.substr(2));
        return names;
    };
    const auto names_of = [&]<class Options>(auto kind, const Options& options) {
        typename decltype(kind)::type optimizer(*problem.store, options);
        return names(optimizer);
    };
    using testing::ElementsAre;
    EXPECT_THAT(names_of(std::type_identity<SGD<float>>(), SGDOptions{}), ElementsAre("step"));
    EXPECT_THAT(names_of(std::type_identity<SGD<float>>(), SGDOptions{.momentum = 0.9}),
                ElementsAre("step", "momentum_buffer"));
    EXPECT_THAT(names_of(std::type_identity<Adagrad<float>>(), AdagradOptions{}), ElementsAre("step", "sum"));
    EXPECT_THAT(names_of(std::type_identity<RMSprop<float>>(), RMSpropOptions{}), ElementsAre("step", "square_avg"));
    EXPECT_THAT(names_of(std::type_identity<RMSprop<float>>(), RMSpropOptions{.momentum = 0.5, .centered = true}),
                ElementsAre("step", "square_avg", "grad_avg", "momentum_buffer"));
    EXPECT_THAT(names_of(std::type_identity<Adadelta<float>>(), AdadeltaOptions{}),
                ElementsAre("step", "square_avg", "acc_delta"));
    EXPECT_THAT(names_of(std::type_identity<Adam<float>>(), AdamOptions{}),
                ElementsAre("step", "exp_avg", "exp_avg_sq"));
    EXPECT_THAT(names_of(std::type_identity<AdamW<float>>(), AdamWOptions{.amsgrad = true}),
                ElementsAre("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"));
}

TEST(OptimizerState, FromDoubleToFloatIsRounded) {
    Problem<double> exact;
    Problem<float> rounded;
    Adam<double> in_double(*exact.store, {.lr = 0.05});
    Adam<float> in_float(*rounded.store, {.lr = 0.05});
    exact.steps(in_double, 10);
    in_float.load_state_dict(in_double.state_dict());
    const Tensor<double> expected = in_double.state_dict().tensor<double>("b.exp_avg");
    const Tensor<float> got = in_float.state_dict().tensor<float>("b.exp_avg");
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(got.data()[i], static_cast<float>(expected.data()[i]));
}

TEST(OptimizerState, ForeignStatesChangeNothingAndSayWhy) {
    Problem<float> problem;
    Adam<float> adam(*problem.store, {.lr = 0.05});
    problem.steps(adam, 3);
    const StateDict good = adam.state_dict();

    const auto refused = [&]<class Error>(std::type_identity<Error>, const StateDict& state) {
        const std::string message = error_message<Error>([&] { adam.load_state_dict(state); });
        EXPECT_EQ(adam.state_dict(), good);
        return message;
    };
    constexpr std::type_identity<ValueError> kValue;
    constexpr std::type_identity<ShapeError> kShape;

    SGD<float> sgd(*problem.store, {.lr = 0.1});
    EXPECT_EQ(refused(kValue, sgd.state_dict()), "[Adam] the state is that of another optimiser: \"SGD\"");
    EXPECT_THAT(refused(kValue, StateDict{}), HasSubstr("there is no entry \"optimizer\""));

    const auto other = make_store<float>({{"a", Shape{3}}, {"c", Shape{2}}});
    Adam<float> of_other(*other, {.lr = 0.05});
    for (const auto* entry : other->entries()) set_gradient(*other, *entry, [](Index) { return 1.0f; });
    of_other.step();
    EXPECT_THAT(refused(kValue, of_other.state_dict()),
                HasSubstr("the state has \"c.step\", for which there is no parameter here"));

    const auto wider = make_store<float>({{"a", Shape{4}}});
    Adam<float> of_wider(*wider, {.lr = 0.05});
    set_gradient(*wider, wider->at("a").entry(), [](Index) { return 1.0f; });
    of_wider.step();
    EXPECT_THAT(refused(kShape, of_wider.state_dict()), HasSubstr("\"a.exp_avg\" must have the shape (3,)"));

    Adam<float> amsgrad(*problem.store, {.lr = 0.05, .amsgrad = true});
    problem.steps(amsgrad, 1);
    EXPECT_THAT(refused(kValue, amsgrad.state_dict()), HasSubstr("\"a.max_exp_avg_sq\""));
    const std::string without = error_message<ValueError>([&] { amsgrad.load_state_dict(good); });
    EXPECT_THAT(without, HasSubstr("there is no entry \"a.max_exp_avg_sq\""));

    EXPECT_EQ(refused(kValue, with(good, "lr", scalar(std::numeric_limits<double>::quiet_NaN()))),
              "[Adam] the state's lr must be in [0, ∞); got nan");
    EXPECT_EQ(refused(kValue, with(good, "momentum", scalar(1.5))),
              "[Adam] the state's momentum must be in [0, 1); got 1.5");
    EXPECT_EQ(refused(kValue, with(good, "b.step", scalar<std::int64_t>(0))),
              "[Adam] b.step must be 1 or more; the state has 0");
    EXPECT_THAT(refused(kValue, with(good, "b.step", scalar(3.0))), HasSubstr("\"b.step\" must be I64"));
    EXPECT_THAT(refused(kValue, with(good, "b.exp_avg", {})), HasSubstr("there is no entry \"b.exp_avg\""));
    const std::vector<std::int64_t> integers(4, 1);
    EXPECT_THAT(
        refused(kValue, with(good, "b.exp_avg", StoredTensor(std::span<const std::int64_t>(integers), Shape{2, 2}))),
        HasSubstr("\"b.exp_avg\" must be F32"));
    EXPECT_THAT(refused(kValue, with(good, "extra", scalar(1.0))), HasSubstr("the state has \"extra\""));
    EXPECT_THAT(refused(kValue, with(good, "optimizer", scalar(1.0))), HasSubstr("\"optimizer\" must be a JSON value"));

    Adagrad<float> adagrad(*problem.store);
    EXPECT_EQ(error_message<ValueError>(
                  [&] { adagrad.load_state_dict(with(adagrad.state_dict(), "momentum", scalar(0.5))); }),
              "[Adagrad] the state has a momentum, and this optimiser has none");
}

}  // namespace
}  // namespace unroll::test
