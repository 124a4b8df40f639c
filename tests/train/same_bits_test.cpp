// Training gives the same weights, bit for bit, whatever the number of threads.
#include <unroll/autograd/parallel.hpp>
#include <unroll/layers/linear.hpp>
#include <unroll/layers/rnn.hpp>
#include <unroll/optim/clip.hpp>
#include <unroll/optim/optimizer.hpp>

#include "../support/test_size.hpp"
#include "../support/threads_as_before.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace unroll {
namespace {

struct Plan {
    Index batch, seq_len, hidden, steps;
};

constexpr Index kVocabulary = 11;

struct CharModel {
    explicit CharModel(Scope<float> at, Index hidden)
        : embed(at / "embed", {.num_embeddings = kVocabulary, .embedding_dim = 8}),
          rnn(at / "rnn", {.input_size = 8, .hidden_size = hidden, .num_layers = 2, .dropout = 0.2}),
          head(at / "head", {.in_features = hidden, .out_features = kVocabulary}) {}

    Embedding<float> embed;
    LSTM<float> rnn;
    Linear<float> head;
};

/// The weights after training on random text, the state carried from step to step, and the last loss.
std::vector<float> weights_after(const Plan& plan, Index threads) {
    set_num_threads(threads);
    ParameterStore<float> store(/*seed=*/4);
    const CharModel model(store, plan.hidden);
    Adam<float> adam(store, {.lr = 3e-3});
    DataParallel<float> parallel(store);
    std::vector<std::optional<LSTM<float>::State>> states(static_cast<std::size_t>(shard_count(store, plan.batch)));
    RandomStream text(/*seed=*/9);
    float loss = 0;
    for (Index step = 0; step < plan.steps; ++step) {
        IntTensor tokens =
            IntTensor::from_shape({static_cast<std::size_t>(plan.seq_len + 1), static_cast<std::size_t>(plan.batch)});
        for (auto& token : tokens) token = text.below(kVocabulary);
        adam.zero_grad();
        loss = parallel.backward(plan.batch, [&](Shard s) {
            const auto part = [&](Index from) {
                const Index rows = s.end - s.begin;
                IntTensor out =
                    IntTensor::from_shape({static_cast<std::size_t>(plan.seq_len), static_cast<std::size_t>(rows)});
                for (Index t = 0; t < plan.seq_len; ++t)
                    for (Index row = 0; row < rows; ++row) out(t, row) = tokens(from + t, s.begin + row);
                return out;
            };
            auto& state = states[static_cast<std::size_t>(s.number)];
            auto made = model.rnn(model.embed(part(0)), state);
            state = std::move(made.state);
            return cross_entropy(model.head(made.output), part(1)) *
                   (static_cast<double>(s.end - s.begin) / static_cast<double>(plan.batch));
        });
        clip_grad_norm(store, 1.0);
        adam.step();
    }
    std::vector<float> weights(store.block_data(), store.block_data() + store.block_size());
    weights.push_back(loss);
    return weights;
}

void expect_same_bits(const Plan& plan) {
    const test::ThreadsAsBefore restore;
    const std::vector<float> one = weights_after(plan, 1);
    ASSERT_TRUE(std::isfinite(one.back()));
    for (const Index threads : {2, 3, 5}) ASSERT_EQ(weights_after(plan, threads), one) << threads << " threads";
}

// Four steps and weights of 48 × 192: long and large enough to be packed.
TEST(SameBits, AfterManyStepsWithAnyNumberOfThreadsAndRows) {
    const Index steps = test::by_test_size<Index>(50, 1000, 1000);
    for (const Index batch : {1, 7, 50}) expect_same_bits({.batch = batch, .seq_len = 4, .hidden = 48, .steps = steps});
    expect_same_bits({.batch = 130, .seq_len = 4, .hidden = 48, .steps = steps / 10});
}

TEST(SameBits, WhereProductsAreCutBecauseRowsAreFewOrWeightsLarge) {
    const Index steps = test::by_test_size<Index>(2, 10, 1000);
    expect_same_bits({.batch = 7, .seq_len = 5, .hidden = 520, .steps = steps});
    expect_same_bits({.batch = 35, .seq_len = 3, .hidden = 520, .steps = std::max<Index>(2, steps / 5)});
}

}  // namespace
}  // namespace unroll
