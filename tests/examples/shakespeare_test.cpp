// The parts of shakespeare from within: gradients of its network, its exact loss against reading one by one, training as a
// function of recipe and text alone.
#include "../../examples/shakespeare/default_text.hpp"
#include "../../examples/shakespeare/evaluate.hpp"
#include "../../examples/shakespeare/trainer.hpp"

#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/autograd/parallel.hpp>
#include <unroll/tests/support/temporary_folder.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace {

using namespace unroll;
using namespace shakespeare;

/// A text in which the next number depends on more than the one before it.
IntTensor text_of(Index length, Index vocabulary, std::uint64_t seed = 3) {
    IntTensor ids = IntTensor::from_shape({static_cast<std::size_t>(length)});
    RandomStream random(seed, "text");
    for (Index i = 0; i < length; ++i)
        ids(i) =
            i < 3 || random.below(4) == 0 ? random.below(vocabulary) : (ids(i - 1) + 2 * ids(i - 3) + 1) % vocabulary;
    return ids;
}

Recipe small_recipe(const std::string& cell) {
    Recipe recipe;
    recipe.model = {.cell = cell, .hidden = 24, .layers = 2, .embed = 6, .dropout = 0.2};
    recipe.batch = 34;  // two parts, of 17 streams each
    recipe.seq_len = 9;
    recipe.steps = 40;
    recipe.warmup = 4;
    return recipe;
}

class OfEveryCell : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Shakespeare, OfEveryCell, testing::Values("lstm", "gru", "rnn"),
                         [](const auto& info) { return info.param; });

TEST_P(OfEveryCell, GradientsOfTheNetwork) {
    const ModelOptions options{.cell = GetParam(), .hidden = 4, .layers = 2, .embed = 3, .dropout = 0};
    const IntTensor tokens{{0, 4}, {3, 3}, {1, 0}}, targets{{3, 3}, {1, 0}, {2, 4}};
    EXPECT_GRADIENTS(
        [&]<class Real>(CharModel<Real>& model, const IntTensor& in) {
            typename CharModel<Real>::State state;
            Var<Real> first = cross_entropy(model(in, state), targets);
            return first + cross_entropy(model(targets, state), in);  // the second reads what the first has remembered
        },
        twin([&]<class Real>(Scope<Real> at) { return CharModel<Real>(at, options, 5); }), tokens);
}

TEST_P(OfEveryCell, ExactLossEqualsReadingOneByOne) {
    constexpr Index kVocabulary = 7;
    ParameterStore<float> store(5);
    const CharModel<float> model(store, {.cell = GetParam(), .hidden = 20, .layers = 2, .embed = 5, .dropout = 0.5},
                                 kVocabulary);
    store.eval();
    for (const Index length : {2, 3, 127, 129, 300, 5000, 20011}) {
        const IntTensor ids = text_of(length, kVocabulary);
        CharModel<float>::State state;
        IntTensor token = IntTensor::from_shape({1, 1});
        double sum = 0;
        for (Index i = 0; i + 1 < length; ++i) {
            token(0, 0) = ids(i);
            const Var<float> logits = model(token, state);
            token(0, 0) = ids(i + 1);
            sum += cross_entropy(logits, token).item();
        }
        const Evaluation exact = evaluate(model, ids, Precision::exact);
        EXPECT_EQ(exact.predictions, length - 1);
        EXPECT_NEAR(exact.loss, sum / static_cast<double>(length - 1), 1e-6) << length << " characters";
        EXPECT_LE(exact.passes, 3);
        EXPECT_NEAR(evaluate(model, ids, Precision::estimate).loss, exact.loss, 0.02);
    }
}

TEST(Evaluate, ATextWithNothingToPredictIsRefused) {
    ParameterStore<float> store(5);
    const CharModel<float> model(store, {.hidden = 4, .layers = 1, .embed = 3}, 7);
    EXPECT_THROW(evaluate(model, text_of(1, 7), Precision::exact), ValueError);
}

TEST(Evaluate, LossDoesNotDependOnThreads) {
    ParameterStore<float> store(5);
    const CharModel<float> model(store, {.hidden = 20, .layers = 1, .embed = 5}, 7);
    store.eval();
    const Index before = num_threads();
    set_num_threads(1);
    const double alone = evaluate(model, text_of(9000, 7), Precision::exact).loss;
    for (const Index threads : {2, 3, 5}) {
        set_num_threads(threads);
        EXPECT_EQ(evaluate(model, text_of(9000, 7), Precision::exact).loss, alone);
    }
    set_num_threads(before);
}

TEST_P(OfEveryCell, TrainingGoesOnFromItsStateToTheSameBits) {
    const Recipe recipe = small_recipe(GetParam());
    const IntTensor text = text_of(5000, 7);
    Trainer whole(recipe, 7, text, false);
    while (!whole.finished()) whole.step();
    for (const int stop : {0, 3, 15, 16, 39}) {  // a pass has 16 windows
        Trainer first(recipe, 7, text, false);
        for (int i = 0; i < stop; ++i) first.step();
        Trainer second(recipe, 7, text, false);
        second.load_state_dict(first.state_dict());
        EXPECT_TRUE(second.state_dict() == first.state_dict());
        while (!second.finished()) second.step();
        EXPECT_TRUE(second.state_dict() == whole.state_dict()) << "stopped after step " << stop;
    }
}

TEST_P(OfEveryCell, TrainingDoesNotDependOnThreads) {
    const Recipe recipe = small_recipe(GetParam());
    const IntTensor text = text_of(5000, 7);
    const Index before = num_threads();
    set_num_threads(1);
    Trainer alone(recipe, 7, text, false);
    for (int i = 0; i < 20; ++i) alone.step();
    for (const Index threads : {2, 3}) {
        set_num_threads(threads);
        Trainer together(recipe, 7, text, false);
        for (int i = 0; i < 20; ++i) together.step();
        EXPECT_TRUE(together.state_dict() == alone.state_dict()) << threads << " threads";
    }
    set_num_threads(before);
}

TEST_P(OfEveryCell, OneStreamOfOneCharacterAStepIsTrained) {
    Recipe recipe = small_recipe(GetParam());
    recipe.batch = recipe.seq_len = 1;
    Trainer trainer(recipe, 7, text_of(50, 7), false);
    for (int i = 0; i < 3; ++i) EXPECT_GT(trainer.step().loss, 0);
}

TEST(Trainer, LossFallsWhateverTheOptimizer) {
    IntTensor text = text_of(5000, 7);
    for (Index i = 1; i < 5000; ++i)
        if (i % 5 != 0) text(i) = (text(i - 1) + 1) % 7;
    for (const auto& [optimizer, lr] : {std::pair{"adamw", 1e-2},
                                        {"adam", 1e-2},
                                        {"sgd", 1.0},
                                        {"rmsprop", 5e-3},
                                        {"adagrad", 5e-2},
                                        {"adadelta", 3.0}}) {
        Recipe recipe = small_recipe("lstm");
        recipe.optimizer = optimizer;
        recipe.lr = lr;
        recipe.weight_decay = 0;
        recipe.steps = 60;
        Trainer trainer(recipe, 7, text, false);
        const double first = trainer.step().loss;
        double last = first;
        while (!trainer.finished()) last = trainer.step().loss;
        EXPECT_NEAR(first, std::log(7), 0.2) << optimizer;
        EXPECT_LT(last, 1.8) << optimizer;
    }
}

TEST(Trainer, LearningRateRisesThenFollowsItsSchedule) {
    const IntTensor text = text_of(2000, 7);
    for (const auto& [schedule, middle, end] :
         {std::tuple{"cosine", 0.5, 0.0}, {"linear", 0.5, 0.0}, {"constant", 1.0, 1.0}}) {
        Recipe recipe = small_recipe("rnn");
        recipe.schedule = schedule;
        recipe.lr = 8e-3;
        recipe.steps = 44;
        Trainer trainer(recipe, 7, text, false);
        std::vector<double> rates;
        while (!trainer.finished()) rates.push_back(trainer.step().lr);
        ASSERT_EQ(rates.size(), 44u);
        for (int i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(rates[static_cast<std::size_t>(i)], 2e-3 * (i + 1)) << schedule;
        EXPECT_NEAR(rates[24], 8e-3 * middle, 1e-9) << schedule;
        EXPECT_NEAR(rates[43], 8e-3 * end, 3e-4) << schedule;
    }
}

TEST(Trainer, AWarmupThatIsGivenIsNotMadeShorter) {
    Recipe recipe = small_recipe("rnn");
    recipe.schedule = "constant";
    const IntTensor text = text_of(2000, 7);
    const auto steps_below_the_highest = [&](Index warmup) {
        recipe.warmup = warmup;
        Trainer trainer(recipe, 7, text, false);
        Index count = 0;
        while (!trainer.finished()) count += trainer.step().lr < recipe.lr ? 1 : 0;
        return count;
    };
    EXPECT_EQ(steps_below_the_highest(-1), 3);  // a tenth of 40 steps, the last of which has the highest
    EXPECT_EQ(steps_below_the_highest(20), 19);
    EXPECT_EQ(steps_below_the_highest(50), 40);
}

TEST(Trainer, StepsAreLimitedByWhateverComesFirst) {
    const IntTensor text = text_of(5000, 7);
    Recipe recipe = small_recipe("rnn");
    EXPECT_EQ(Trainer(recipe, 7, text, false).total_steps(), 40);
    recipe.epochs = 1.5;  // of 16 windows
    EXPECT_EQ(Trainer(recipe, 7, text, false).total_steps(), 24);
    recipe.minutes = 1;
    Trainer measured(recipe, 7, text, false);
    EXPECT_EQ(measured.total_steps(), 0);
    EXPECT_EQ(measured.planned_steps(), 24);
    measured.set_total_steps(10);
    EXPECT_EQ(measured.total_steps(), 10);
    measured.set_total_steps(1000);
    EXPECT_EQ(measured.total_steps(), 24);
    recipe.steps = 0;
    recipe.epochs = 0;
    EXPECT_EQ(Trainer(recipe, 7, text, false).planned_steps(), Trainer::kNoLimit);
}

TEST(Trainer, LearningRateFollowsThePlanBeforeTimeIsMeasured) {
    const IntTensor text = text_of(2000, 7);
    Recipe recipe = small_recipe("rnn");
    recipe.warmup = -1;
    Trainer by_steps(recipe, 7, text, false);
    recipe.minutes = 5;
    Trainer by_both(recipe, 7, text, false);
    while (!by_steps.finished()) ASSERT_EQ(by_steps.step().lr, by_both.step().lr);
    EXPECT_TRUE(by_both.finished());
}

TEST(DefaultText, IsThePlayUnlessTheCacheHasTinyShakespeare) {
    const test::TemporaryFolder folder;
    const std::filesystem::path cached = folder / "cached.txt", play = folder / "play.txt";
    EXPECT_THROW(default_text(cached, play), WrongUse);
    test::put_content(play, "GANNET: Well met.");
    EXPECT_EQ(default_text(cached, play).path, play);
    EXPECT_EQ(default_text({}, play).path, play);
    test::put_content(cached, "First Citizen: Before we");
    EXPECT_THAT(default_text(cached, play).which, testing::HasSubstr("cached.txt is not the whole"));
    EXPECT_EQ(default_text(cached, play).path, play);
}

TEST(Trainer, AnAverageOfWeightsIsWhatIsEvaluated) {
    Recipe recipe = small_recipe("gru");
    recipe.average = 0.9;
    const IntTensor text = text_of(5000, 7);
    Trainer trainer(recipe, 7, text, false);
    for (int i = 0; i < 10; ++i) trainer.step();
    const StateDict raw = state_dict(trainer.store());
    {
        const Trainer::Evaluating evaluating(trainer);
        EXPECT_FALSE(trainer.store().training());
        EXPECT_FALSE(state_dict(trainer.store()) == raw);
    }
    EXPECT_TRUE(trainer.store().training());
    EXPECT_TRUE(state_dict(trainer.store()) == raw);
    Trainer other(recipe, 7, text, false);
    other.load_state_dict(trainer.state_dict());
    trainer.step();
    other.step();
    EXPECT_TRUE(trainer.state_dict() == other.state_dict());
}

TEST(Trainer, DivergenceLeavesTheWeights) {
    Recipe recipe = small_recipe("lstm");
    recipe.lr = 1e30;
    recipe.warmup = 0;
    Trainer trainer(recipe, 7, text_of(5000, 7), false);
    StateDict before;
    EXPECT_THROW(
        {
            while (true) {
                before = state_dict(trainer.store(), {.random_streams = false});
                trainer.step();
            }
        },
        Diverged);
    EXPECT_TRUE(state_dict(trainer.store(), {.random_streams = false}) == before);
    EXPECT_LT(trainer.steps(), 40);
}

TEST(Trainer, AStateOfAnotherRunIsRefused) {
    const Recipe recipe = small_recipe("lstm");
    Trainer trainer(recipe, 7, text_of(5000, 7), false);
    trainer.step();
    EXPECT_THROW(Trainer(recipe, 7, text_of(5000, 7, /*seed=*/4), false).load_state_dict(trainer.state_dict()),
                 ValueError);
    Recipe other = recipe;
    other.model.hidden = 25;
    EXPECT_THROW(Trainer(other, 7, text_of(5000, 7), false).load_state_dict(trainer.state_dict()), Error);
}

}  // namespace
