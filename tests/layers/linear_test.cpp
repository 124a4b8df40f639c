// Linear, Embedding, Dropout, LayerNorm.
#include <unroll/layers/linear.hpp>

#include <unroll/autograd/checkpoint.hpp>
#include <unroll/autograd/gradcheck.hpp>
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/io/state_dict.hpp>
#include <unroll/tests/layers/layer_support.hpp>
#include <unroll/tests/support/test_size.hpp>

#include <chrono>

namespace unroll {
namespace {

using namespace test;
using testing::Each;
using testing::HasSubstr;

template <class Layer, class Options>
std::string option_error(const Options& options) {
    ParameterStore<double> store(1);
    const std::string message = error_message<ValueError>([&] { Layer(Scope<double>(store) / "part", options); });
    EXPECT_EQ(store.entries().size(), 0u) << message;
    EXPECT_THAT(message, HasSubstr("(in part)"));
    return message;
}

// ---- Linear ----

TEST(Linear, IsXTimesWPlusBForAnyLeadingAxes) {
    ParameterStore<double> store(1);
    const Linear<double> layer(store, {.in_features = 4, .out_features = 3});
    EXPECT_EQ(layer.weight.shape(), (Shape{4, 3}));
    const auto x = filled<double>({2, 5, 4}, 1);
    const auto y = layer(x);
    EXPECT_EQ(y.shape(), (Shape{2, 5, 3}));
    for (Index r = 0; r < 10; ++r)
        for (Index j = 0; j < 3; ++j) {
            double sum = layer.bias.data()[j];
            for (Index k = 0; k < 4; ++k) sum += x.data()[r * 4 + k] * layer.weight.data()[k * 3 + j];
            EXPECT_NEAR(y.data()[r * 3 + j], sum, 1e-14);
        }
    expect_same(layer(select(select(x, 0, 1), 0, 2)), select(select(y, 0, 1), 0, 2), 1e-14);
}

TEST(Linear, GradientsAreRightWithAndWithoutABias) {
    for (const bool bias : {true, false})
        EXPECT_GRADIENTS([](auto& layer, auto x) { return layer(x); },
                         twin<Linear>(LinearOptions{.in_features = 4, .out_features = 3, .bias = bias}),
                         filled_tensor<double>({2, 5, 4}, 1));
}

TEST(Linear, FilesHoldTheTransposedWeight) {
    ParameterStore<double> store(1);
    const Linear<double> layer(store, {.in_features = 4, .out_features = 3});
    const StateDict saved = state_dict(store);
    const Tensor<double> weight = saved.tensor<double>("weight", Shape{3, 4});
    EXPECT_EQ(weight(2, 1), layer.weight.value()(1, 2));
}

TEST(Linear, StartsUniformWithinOneOverTheRootOfTheInputs) {
    ParameterStore<double> store(1);
    const Linear<double> layer(store, {.in_features = 25, .out_features = 80});
    for (const auto& p : {layer.weight, layer.bias}) {
        double largest = 0;
        for (const double w : elements(p)) largest = std::max(largest, std::fabs(w));
        EXPECT_LE(largest, 0.2);
        EXPECT_GT(largest, 0.19);
    }
}

TEST(Linear, WrongOptionsAndInputsAreErrors) {
    EXPECT_THAT((option_error<Linear<double>>(LinearOptions{.in_features = 0, .out_features = 3})),
                HasSubstr("[Linear] in_features must be 1 or more; got 0"));
    EXPECT_THAT((option_error<Linear<double>>(LinearOptions{.in_features = 4, .out_features = -3})),
                HasSubstr("[Linear] out_features must be 1 or more; got -3"));
    ParameterStore<double> store(1);
    const Linear<double> layer(Scope<double>(store) / "model" / "head", {.in_features = 4, .out_features = 3});
    EXPECT_THAT(error_message<ShapeError>([&] { layer(filled<double>({5, 3}, 1)); }), HasSubstr("(in model.head)"));
    EXPECT_THAT(error_message<UsageError>([&] { layer(Var<double>()); }), HasSubstr("(in model.head)"));
}

// ---- Embedding ----

TEST(Embedding, TokensOfAnyShapeChooseRows) {
    ParameterStore<double> store(1);
    const Embedding<double> layer(store, {.num_embeddings = 7, .embedding_dim = 3});
    IntTensor tokens = IntTensor::from_shape({2, 2});
    tokens(0, 0) = 6, tokens(0, 1) = 0, tokens(1, 0) = 3, tokens(1, 1) = 6;
    const auto y = layer(tokens);
    EXPECT_EQ(y.shape(), (Shape{2, 2, 3}));
    for (Index i = 0; i < 4; ++i)
        for (Index c = 0; c < 3; ++c) EXPECT_EQ(y.data()[i * 3 + c], layer.weight.data()[tokens.data()[i] * 3 + c]);
}

TEST(Embedding, ThePaddingRowStartsAtZeroAndGetsNoGradient) {
    ParameterStore<double> store(1);
    const Embedding<double> layer(store, {.num_embeddings = 5, .embedding_dim = 3, .padding_idx = 2});
    EXPECT_THAT(elements(layer(integers({2}))), Each(0.0));
    Tape<double> tape;
    backward(test::weighed(layer(integers({2, 4, 2, 4, 1})), 901));
    const auto g = elements(layer.weight.gradient());
    for (std::size_t i = 0; i < 15; ++i) EXPECT_EQ(g[i] != 0, i / 3 == 1 || i / 3 == 4) << "row " << i / 3;
}

TEST(Embedding, GradientsAddUpWhereATokenComesTwice) {
    EXPECT_GRADIENTS([](auto& layer, const IntTensor& tokens) { return layer(tokens); },
                     twin<Embedding>(EmbeddingOptions{.num_embeddings = 5, .embedding_dim = 3}),
                     integers({1, 4, 1, 0}));
}

TEST(EmbeddingSpeed, OnlyUsedRowsAreTouchedSoThatTheSizeOfTheVocabularyDoesNotMatter) {
    const auto seconds = [](Index vocabulary) {
        ParameterStore<float> store(1);
        const Embedding<float> layer(store, {.num_embeddings = vocabulary, .embedding_dim = 16});
        const IntTensor tokens = integers({1, 5, 7, 5, 9999, 12, 1000, 44});
        double best = 1e9;
        for (int i = 0; i < 50; ++i) {
            Tape<float> tape;
            const auto loss = sum(layer(tokens));
            const auto start = std::chrono::steady_clock::now();
            store.zero_grad();
            tape.backward(loss);
            best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        }
        EXPECT_EQ(store.gradients().touched_rows(layer.weight.entry()).size(), 7u);
        return best;
    };
    const double small = seconds(10000), large = seconds(by_test_size(100000, 1000000, 1000000));
    // A microsecond for the noise of a busy machine: a full pass over 64 MB would take milliseconds.
    EXPECT_LT(large, 2 * small + 1e-6) << small << " s and " << large << " s";
}

TEST(Embedding, WrongOptionsAndTokensAreErrors) {
    EXPECT_THAT((option_error<Embedding<double>>(EmbeddingOptions{.num_embeddings = 0, .embedding_dim = 3})),
                HasSubstr("[Embedding] num_embeddings must be 1 or more; got 0"));
    EXPECT_THAT((option_error<Embedding<double>>(EmbeddingOptions{.num_embeddings = 4, .embedding_dim = 0})),
                HasSubstr("[Embedding] embedding_dim must be 1 or more; got 0"));
    EXPECT_THAT(
        (option_error<Embedding<double>>(EmbeddingOptions{.num_embeddings = 4, .embedding_dim = 3, .padding_idx = 4})),
        HasSubstr("[Embedding] padding_idx must be −1 (none) to num_embeddings − 1 = 3; got 4"));
    EXPECT_THAT(
        (option_error<Embedding<double>>(EmbeddingOptions{.num_embeddings = 4, .embedding_dim = 3, .padding_idx = -2})),
        HasSubstr("padding_idx"));
    ParameterStore<double> store(1);
    const Embedding<double> layer(Scope<double>(store) / "embed", {.num_embeddings = 4, .embedding_dim = 3});
    for (const std::int64_t token : {4, -1}) {
        const std::string message = error_message<IndexError>([&] { layer(integers({0, token})); });
        EXPECT_THAT(message, HasSubstr(std::to_string(token)));
        EXPECT_THAT(message, HasSubstr("(in embed)"));
    }
}

// ---- Dropout ----

TEST(Dropout, DropsWithProbabilityPAndScalesTheRest) {
    ParameterStore<double> store(1);
    const Dropout<double> layer(store, {.p = 0.3});
    const auto x = Var<double>(full<double>({100, 200}, 1.0));
    Index zeros = 0;
    for (const double y : elements(layer(x))) {
        if (y == 0)
            ++zeros;
        else
            EXPECT_NEAR(y, 1 / 0.7, 2e-5);  // probabilities are rounded to multiples of 2⁻¹⁶
    }
    EXPECT_NEAR(static_cast<double>(zeros) / 20000, 0.3, 5 * std::sqrt(0.3 * 0.7 / 20000));
}

TEST(Dropout, EveryCallHasAMaskOfItsOwnAndRepeatsWithTheStream) {
    ParameterStore<double> store(1);
    const Dropout<double> layer(Scope<double>(store) / "drop", {.p = 0.5}),
        other(Scope<double>(store) / "other", {.p = 0.5});
    const auto x = filled<double>({10, 10}, 1);
    const auto first = elements(layer(x)), second = elements(layer(x));
    EXPECT_NE(first, second);
    EXPECT_NE(elements(other(x)), first);
    for (auto& [name, stream] : store.randoms()) stream.set_counter(0);
    EXPECT_EQ(elements(layer(x)), first);
    EXPECT_EQ(elements(layer(x)), second);
}

TEST(Dropout, InEvaluationAndForPZeroNothingHappens) {
    ParameterStore<double> store(1);
    const Dropout<double> layer(Scope<double>(store) / "drop", {.p = 0.5}),
        none(Scope<double>(store) / "none", {.p = 0});
    const auto x = filled<double>({10, 10}, 1);
    expect_same(none(x), x);
    store.eval();
    expect_same(layer(x), x);
    for (const auto& [name, stream] : store.randoms()) EXPECT_EQ(stream.counter(), 0u) << name;
    store.train();
    EXPECT_NE(elements(layer(x)), elements(x));
}

TEST(Dropout, TheGradientGoesThroughTheSameMask) {
    ParameterStore<double> store(1);
    const Dropout<double> layer(store, {.p = 0.4});
    Tape<double> tape;
    const auto x = Var<double>(full<double>({20, 5}, 1.0));
    tape.watch(x);
    const auto y = layer(x);
    tape.backward(sum(y));
    EXPECT_EQ(elements(tape.gradient(x)), elements(y));
}

TEST(Dropout, ACheckpointRepeatsItsMask) {
    ParameterStore<double> store(1);
    const Dropout<double> layer(store, {.p = 0.5});
    Tape<double> tape;
    const auto x = Var<double>(full<double>({20, 5}, 1.0));
    tape.watch(x);
    const auto y =
        checkpoint<double>([&](std::span<const Var<double>> in) { return Vars<double>{layer(in[0]) * in[0]}; }, {x})[0];
    layer(x);  // the stream moves on before the checkpoint runs again
    tape.backward(sum(y));
    auto expected = elements(y);
    for (double& e : expected) e *= 2;
    EXPECT_EQ(elements(tape.gradient(x)), expected);
}

TEST(Dropout, WrongProbabilitiesAreErrors) {
    for (const double p : {-0.1, 1.1, std::nan("")})
        EXPECT_THAT((option_error<Dropout<double>>(DropoutOptions{.p = p})), HasSubstr("[Dropout] p must be 0 to 1"));
}

// ---- LayerNorm ----

TEST(LayerNorm, RowsHaveMeanZeroAndVarianceOneBeforeWeightAndBias) {
    ParameterStore<double> store(1);
    const LayerNorm<double> layer(store, {.normalized_shape = 6, .eps = 0});
    EXPECT_THAT(elements(layer.weight), Each(1.0));
    EXPECT_THAT(elements(layer.bias), Each(0.0));
    const auto y = layer(filled<double>({4, 3, 6}, 1));
    for (Index r = 0; r < 12; ++r) {
        double mean = 0, square = 0;
        for (Index i = 0; i < 6; ++i)
            mean += y.data()[r * 6 + i] / 6, square += y.data()[r * 6 + i] * y.data()[r * 6 + i] / 6;
        EXPECT_NEAR(mean, 0, 1e-14);
        EXPECT_NEAR(square, 1, 1e-13);
    }
}

TEST(LayerNorm, GradientsAreRightWithAndWithoutWeights) {
    for (const bool affine : {true, false})
        EXPECT_GRADIENTS([](auto& layer, auto x) { return layer(x); },
                         twin<LayerNorm>(LayerNormOptions{.normalized_shape = 6, .elementwise_affine = affine}),
                         filled_tensor<double>({4, 6}, 1));
}

TEST(LayerNorm, WrongOptionsAndInputsAreErrors) {
    EXPECT_THAT((option_error<LayerNorm<double>>(LayerNormOptions{.normalized_shape = 0})),
                HasSubstr("[LayerNorm] normalized_shape must be 1 or more; got 0"));
    EXPECT_THAT((option_error<LayerNorm<double>>(LayerNormOptions{.normalized_shape = 4, .eps = -1})),
                HasSubstr("[LayerNorm] eps must be 0 or more; got -1"));
    ParameterStore<double> store(1);
    for (const bool affine : {true, false}) {
        const LayerNorm<double> layer(Scope<double>(store) / (affine ? "norm" : "plain"),
                                      {.normalized_shape = 6, .elementwise_affine = affine});
        EXPECT_THAT(error_message<ShapeError>([&] {
                        layer(filled<double>({4, 5}, 1));
                    }),
                    HasSubstr(affine ? "(in norm)" : "(in plain)"));
    }
}

// ---- All ----

TEST(Layers, FloatFollowsDoubleOnEveryInstructionSet) {
    const auto x = filled_tensor<double>({7, 37}, 1);
    for (const auto& result :
         {compare_float_double([](auto&layer, auto in) { return layer(in); },
                               twin<Linear>(LinearOptions{.in_features = 37, .out_features = 19}), x),
          compare_float_double([](auto&layer, auto in) { return layer(in); },
                               twin<LayerNorm>(LayerNormOptions{.normalized_shape = 37}), x),
          compare_float_double([](auto&layer, auto in) { return layer(in); }, twin<Dropout>(DropoutOptions{.p = 0.3}),
                               x),
          compare_float_double([](auto&layer, const IntTensor&in) { return layer(in); },
                               twin<Embedding>(EmbeddingOptions{.num_embeddings = 7, .embedding_dim = 5}),
                               integers({1, 6, 1}))})
        EXPECT_TRUE(result.passed()) << to_string(result);
}

}  // namespace
}  // namespace unroll
