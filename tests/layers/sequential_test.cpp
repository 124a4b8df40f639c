// Sequential: composition with and without states, packed input, nesting.
#include <unroll/layers/sequential.hpp>

#include <unroll/autograd/gradcheck.hpp>
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/layers/rnn.hpp>
#include <unroll/tests/layers/layer_support.hpp>

namespace unroll {
namespace {

using namespace test;
using testing::HasSubstr;

template <class Real>
using CharLayers = Sequential<Embedding<Real>, LSTM<Real>, Function<Real>, Linear<Real>>;

template <class Real>
CharLayers<Real> char_model(Scope<Real> at) {
    return CharLayers<Real>(at, EmbeddingOptions{.num_embeddings = 5, .embedding_dim = 4},
                            LSTMOptions{.input_size = 4, .hidden_size = 3, .num_layers = 2},
                            Function<Real>([](Var<Real> x) { return tanh(x); }),
                            LinearOptions{.in_features = 3, .out_features = 5});
}

/// (T, B) tokens.
IntTensor tokens(Index steps, Index batch, Index from = 0) {
    IntTensor out = IntTensor::from_shape({static_cast<std::size_t>(steps), static_cast<std::size_t>(batch)});
    for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = (3 * (static_cast<Index>(i) + from * batch) + 1) % 5;
    return out;
}

TEST(Sequential, RunsItsLayersInOrderUnderTheNamesOfTorch) {
    ParameterStore<double> store(1);
    const auto model = char_model<double>(Scope<double>(store) / "model");
    for (const auto* name : {"model.0.weight", "model.1.weight_hh_l1", "model.3.bias"})
        EXPECT_TRUE(store.contains(name)) << name;
    const auto x = tokens(6, 2);
    const auto made = model.layer<1>()(model.layer<0>()(x));
    expect_same(model(x), model.layer<3>()(tanh(made.output)));
    EXPECT_EQ(model.size(), 4u);
}

TEST(Sequential, CarriesStatesFromWindowToWindow) {
    ParameterStore<double> store(1);
    const auto model = char_model<double>(store);
    const auto whole = model(tokens(6, 2), {});
    const auto first = model(tokens(3, 2), {});
    const auto second = model(tokens(3, 2, 3), first.states);
    expect_same(concat({first.output, second.output}, 0), whole.output, 1e-14);
    for (std::size_t k = 0; k < 2; ++k)
        expect_same((*std::get<1>(second.states))[k], (*std::get<1>(whole.states))[k], 1e-14);
    EXPECT_NE(elements(model(tokens(3, 2, 3))), elements(second.output)) << "without states it begins at zero";
}

TEST(Sequential, StatesOfAnEndedTapeAreCutFromThePast) {
    ParameterStore<double> store(1);
    const auto model = char_model<double>(store);
    CharLayers<double>::States states;
    std::vector<Index> nodes;
    for (Index window = 0; window < 3; ++window) {
        Tape<double> tape;
        auto [output, next] = model(tokens(3, 2, 3 * window), std::move(states));
        nodes.push_back(tape.node_count());
        tape.backward(test::weighed(output, 901));
        states = std::move(next);
    }
    EXPECT_EQ(nodes[1], nodes[2]);
}

TEST(Sequential, GradientsAreRight) {
    const auto x = tokens(4, 2);
    EXPECT_GRADIENTS(
        [](auto& model, const IntTensor& in) {
            auto made = model(in, {});
            return std::tuple{made.output, (*std::get<1>(made.states))[0], (*std::get<1>(made.states))[1]};
        },
        twin([]<class Real>(Scope<Real> at) { return char_model(at); }), x);
}

TEST(Sequential, TakesEveryKindOfRecurrentLayerAndNests) {
    using Cell = UserCell<double>;
    using Inner = Sequential<Bidirectional<double, Cell>, Linear<double>>;
    using Model = Sequential<Recurrent<double, Cell>, Stacked<double, Cell>, Inner, GRU<double>>;
    static_assert(std::is_same_v<std::tuple_element_t<0, Inner::States>,
                                 std::pair<std::optional<State<double, 1>>, std::optional<State<double, 1>>>>);
    static_assert(std::is_same_v<std::tuple_element_t<1, Inner::States>, NoState>);
    static_assert(std::is_same_v<std::tuple_element_t<2, Model::States>, Inner::States>);
    ParameterStore<double> store(1);
    const Model model(Scope<double>(store), std::tuple(Size(4), Size(3)),
                      std::tuple(Size(3), Size(2), StackOptions{.num_layers = 2}),
                      std::tuple(std::tuple(Size(2), Size(3)), LinearOptions{.in_features = 6, .out_features = 4}),
                      GRUOptions{.input_size = 4, .hidden_size = 5});
    EXPECT_TRUE(store.contains("2.0.backward.u"));
    const auto x = filled<double>({6, 2, 4}, 1);
    const auto made = model(x, {});
    EXPECT_EQ(made.output.shape(), (Shape{6, 2, 5}));
    EXPECT_EQ(std::get<1>(made.states).size(), 2u);
    EXPECT_TRUE(std::get<0>(std::get<2>(made.states)).second.has_value());
    const auto again = model(x, made.states);
    EXPECT_NE(elements(again.output), elements(made.output));
    expect_same(model(x), made.output);
}

TEST(Sequential, PackedSequencesPassThroughAllLayers) {
    using Model = Sequential<Linear<double>, LSTM<double>, Function<double>, Linear<double>>;
    ParameterStore<double> store(1);
    const Model model(Scope<double>(store), LinearOptions{.in_features = 4, .out_features = 6},
                      LSTMOptions{.input_size = 6, .hidden_size = 3},
                      Function<double>([](Var<double> x) { return tanh(x); }),
                      LinearOptions{.in_features = 3, .out_features = 2});
    const Vars<double> sequences{filled<double>({2, 4}, 1), filled<double>({5, 4}, 2)};
    const PackedSequence<double> packed = pack_sequence(sequences, false);
    const auto made = model(packed, {});
    const auto outputs = unpack_sequence(made.output);
    for (std::size_t b = 0; b < 2; ++b) expect_same(outputs[b], model(sequences[b]), 1e-14);
    EXPECT_EQ((*std::get<1>(made.states))[0].shape(), (Shape{1, 2, 3}));
}

TEST(Sequential, ErrorsNameTheLayer) {
    ParameterStore<double> store(1);
    const Sequential<Linear<double>, Linear<double>> model(Scope<double>(store) / "model",
                                                           LinearOptions{.in_features = 4, .out_features = 3},
                                                           LinearOptions{.in_features = 5, .out_features = 2});
    EXPECT_THAT(error_message<ShapeError>([&] { model(filled<double>({2, 4}, 1)); }), HasSubstr("(in model.1)"));
}

TEST(Sequential, ACallThatFailsLeavesTapeAndStreamsAsTheyWere) {
    ParameterStore<double> store(1);
    const Sequential<Linear<double>, Dropout<double>, Linear<double>> model(
        Scope<double>(store) / "model", LinearOptions{.in_features = 4, .out_features = 3}, DropoutOptions{},
        LinearOptions{.in_features = 5, .out_features = 2});
    Tape<double> tape;
    EXPECT_THROW(model(filled<double>({2, 4}, 1)), ShapeError);
    EXPECT_THROW(model(filled<double>({2, 4}, 1), {}), ShapeError);
    EXPECT_EQ(tape.node_count(), 0);
    for (const auto& [name, stream] : store.randoms()) EXPECT_EQ(stream.counter(), 0u) << name;
}

}  // namespace
}  // namespace unroll
