// Which weights count as those of a loop: a batch is not cut where one of them is large.
#include <unroll/autograd/parallel.hpp>
#include <unroll/layers/linear.hpp>
#include <unroll/layers/rnn.hpp>
#include <unroll/layers/stacked.hpp>
#include <unroll/tests/layers/layer_support.hpp>

namespace unroll {
namespace {

using namespace test;

constexpr Index kBatch = 64;

TEST(LoopWeights, LargeOnesKeepABatchWhole) {
    for (const Index hidden : {443, 444}) {  // 4·443² < 3·2¹⁸ ≤ 4·444²
        ParameterStore<float> store(1);
        const LSTM<float> lstm(store, {.input_size = 3, .hidden_size = hidden});
        EXPECT_EQ(shard_count(store, kBatch), hidden == 443 ? 2 : 1) << hidden;
        EXPECT_EQ(shard_count(store, 31), 1);
        EXPECT_EQ(store.at("weight_hh_l0").entry().in_loop, true);
        EXPECT_EQ(store.at("weight_ih_l0").entry().in_loop, false);
    }
    ParameterStore<float> store(1);
    const GRU<float> gru(store, {.input_size = 3, .hidden_size = 512, .num_layers = 2, .bidirectional = true});
    EXPECT_EQ(shard_count(store, kBatch), 1);
}

TEST(LoopWeights, AreTheRowsOfAnyStateOfAnyCell) {
    ParameterStore<float> store(1);
    const Stacked<float, UserCell<float>> rnn(store, 4, 888, {.num_layers = 2});
    for (const char* name : {"layer0.u", "layer1.u"}) EXPECT_TRUE(store.at(name).entry().in_loop) << name;
    EXPECT_FALSE(store.at("layer0.a").entry().in_loop);
    EXPECT_EQ(shard_count(store, kBatch), 1);

    ParameterStore<float> projecting(1);
    const LSTM<float> lstm(projecting, {.input_size = 3, .hidden_size = 7, .proj_size = 5});
    for (const char* name : {"weight_hh_l0", "weight_hr_l0"}) EXPECT_TRUE(projecting.at(name).entry().in_loop) << name;
}

/// Tables, projections of the input and of the output are multiplied by once for all steps, however large they are.
TEST(LoopWeights, AreNotThoseOutsideOfTheLoop) {
    ParameterStore<float> store(1);
    const Scope<float> at(store);
    const Linear<float> before(at / "before", {.in_features = 6, .out_features = 140000});
    const Embedding<float> embed(at / "embed", {.num_embeddings = 140000, .embedding_dim = 6});
    const RNN<float> rnn(at / "rnn", {.input_size = 140000, .hidden_size = 6});
    const Linear<float> head(at / "head", {.in_features = 6, .out_features = 140000});
    EXPECT_TRUE(store.at("rnn.weight_hh_l0").entry().in_loop);
    EXPECT_EQ(shard_count(store, kBatch), 2);
}

TEST(LoopWeights, StayMarkedWhereTheyAreTied) {
    ParameterStore<float> store(1);
    const Scope<float> at(store);
    const auto table = at.parameter("table", {888, 888}, init::constant<float>(0));
    const Recurrent<float, UserCell<float>> rnn(at / "rnn", 4, 888);
    store.tie("rnn.u", "table");
    EXPECT_TRUE(table.entry().in_loop);
    EXPECT_EQ(shard_count(store, kBatch), 1);
}

}  // namespace
}  // namespace unroll
