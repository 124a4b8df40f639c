// The summary of a model, and forward hooks by path.
#include <unroll/layers/module.hpp>

#include <unroll/layers/rnn.hpp>
#include <unroll/layers/sequential.hpp>
#include <unroll/layers/stacked.hpp>
#include <unroll/tests/layers/layer_support.hpp>

#include <fmt/format.h>

namespace unroll {
namespace {

using test::elements;
using test::filled;
using test::UserCell;
using testing::HasSubstr;

template <class Real>
struct CharModel : Module {
    Embedding<Real> embed;
    LSTM<Real> rnn;
    Linear<Real> head;
    CharModel(Scope<Real> at, Size vocab)
        : embed(at / "embed", {.num_embeddings = vocab, .embedding_dim = 4}),
          rnn(at / "rnn", {.input_size = 4, .hidden_size = 3}),
          head(at / "head", {.in_features = 3, .out_features = vocab}) {}
};

/// A user's model that tells its place.
struct ScopedModel : Module {
    Scope<float> at;
    Parameter<float> scale;
    explicit ScopedModel(Scope<float> place) : at(place), scale(at.parameter("scale", {1}, init::constant<float>(1))) {}
    const Scope<float>& scope() const { return at; }
};

TEST(Module, TheSummaryHasEveryParameterAndTheTotal) {
    ParameterStore<float> store(1);
    const CharModel<float> model(store, 7);
    store.freeze("embed");
    const std::string text = summary(store);
    for (const auto* part : {"embed", "rnn", "head", "weight_ih_l0", "bias_hh_l0", "(4, 12)", "frozen"})
        EXPECT_THAT(text, HasSubstr(part));
    EXPECT_EQ(fmt::format("{}", store), text);
    EXPECT_EQ(fmt::format("{}", model.head.bias), fmt::format("{}", static_cast<const Var<float>&>(model.head.bias)));
    EXPECT_THAT(text, HasSubstr(std::to_string(7 * 4 + 12 * (4 + 3 + 1 + 1) + 3 * 7 + 7) + " parameters"));
}

TEST(Module, ALayerIsPrintedAsItsOwnParameters) {
    ParameterStore<float> store(1);
    const CharModel<float> model(store, 7);
    const Scope<float> at(store);
    const Linear<float> other(at / "header", {.in_features = 2, .out_features = 2});  // not below "head"
    EXPECT_EQ(fmt::format("{}", model.head), "layer  parameter  shape        numbers\n"
                                             "head   weight     (3, 7)            21\n"
                                             "       bias       (7,)               7\n"
                                             "28 parameters, 112 B\n");
    EXPECT_THAT(fmt::format("{}", model.embed), HasSubstr("28 parameters"));
    EXPECT_THAT(fmt::format("{}", model.rnn), HasSubstr(fmt::format("{} parameters", 12 * (4 + 3 + 1 + 1))));
    EXPECT_EQ(fmt::format("{}", model.rnn), summary(model.rnn.scope()));
    const Stacked<float, UserCell<float>> stacked(at / "stacked", Size(3), Size(2), {.num_layers = 2});
    EXPECT_THAT(fmt::format("{}", stacked), AllOf(HasSubstr("stacked.layer0"), HasSubstr("stacked.layer1")));
    const Bidirectional<float, UserCell<float>> both(at / "both", Size(3), Size(2));
    EXPECT_THAT(fmt::format("{}", both), AllOf(HasSubstr("both.forward"), HasSubstr("both.backward")));
    const Recurrent<float, UserCell<float>> one(at / "one", Size(3), Size(2));
    EXPECT_THAT(fmt::format("{}", one), HasSubstr("one "));
    const LayerNorm<float> norm(at / "norm", {.normalized_shape = 4});
    EXPECT_THAT(fmt::format("{}", norm), HasSubstr("8 parameters"));
    EXPECT_THAT(fmt::format("{}", Dropout<float>(at / "dropout", {})), HasSubstr("0 parameters"));
    const Sequential<Linear<float>, Linear<float>> both_linear(at / "two",
                                                               LinearOptions{.in_features = 2, .out_features = 3},
                                                               LinearOptions{.in_features = 3, .out_features = 1});
    EXPECT_THAT(fmt::format("{}", both_linear),
                AllOf(HasSubstr("two.0"), HasSubstr("two.1"), HasSubstr("13 parameters")));
    EXPECT_EQ(fmt::format("{}", ScopedModel{at / "own"}), "layer  parameter  shape       numbers\n"
                                                          "own    scale      (1,)              1\n"
                                                          "1 parameters, 4 B\n");
}

TEST(Module, AForwardHookSeesAndMayReplaceAnOutput) {
    ParameterStore<double> store(1);
    const CharModel<double> model(store, 7);
    int calls = 0;
    store.on_forward("head", [&](const std::string& path, Var<double>& y) {
        ++calls;
        EXPECT_EQ(path, "head");
        y = y * 0.0;
    });
    EXPECT_THAT(elements(model.head(filled<double>({2, 3}, 1))), testing::Each(0.0));
    EXPECT_EQ(calls, 1);
}

TEST(Module, AForwardHookOfARecurrentLayerSeesItsResultOnce) {
    ParameterStore<double> store(1);
    const Scope<double> at(store);
    const LSTM<double> lstm(
        at / "lstm", {.input_size = 3, .hidden_size = 2, .num_layers = 2, .batch_first = true, .bidirectional = true});
    const Stacked<double, UserCell<double>> stacked(at / "stacked", Size(3), Size(2), {.num_layers = 2});
    const Bidirectional<double, UserCell<double>> both(at / "both", Size(3), Size(2));
    const Recurrent<double, UserCell<double>> one(at / "one", Size(3), Size(2));
    std::vector<std::string> seen;
    for (const auto* path : {"lstm", "stacked", "stacked.layer1", "both", "both.backward", "one"})
        store.on_forward(path, [&](const std::string& p, Var<double>& y) {
            seen.push_back(p + to_string(y.shape()));
            y = y * 0.0;
        });
    const Var<double> x = filled<double>({5, 4, 3}, 1);
    const auto all_zero = testing::Each(0.0);
    EXPECT_THAT(elements(lstm(x).output), all_zero);
    EXPECT_THAT(elements(stacked(x).output), all_zero);
    EXPECT_THAT(elements(both(x).output), all_zero);
    EXPECT_THAT(elements(one(x).output), all_zero);
    EXPECT_THAT(elements(lstm(select(x, 0, 0)).output), all_zero);
    EXPECT_THAT(seen, testing::ElementsAre("lstm(5, 4, 4)", "stacked.layer1(5, 4, 2)", "stacked(5, 4, 2)",
                                           "both.backward(5, 4, 2)", "both(5, 4, 4)", "one(5, 4, 2)", "lstm(4, 4)"));
    // The state is what the layer made, not what the hook did.
    EXPECT_THAT(elements(lstm(x).state[0]), testing::Not(testing::Contains(0.0)));
}

TEST(Module, AForwardHookOfALayerAtTheRootRunsOnceToo) {
    const auto x = filled<double>({5, 4, 3}, 1);
    const auto calls_of = [&](auto run) {
        ParameterStore<double> store(1);
        int calls = 0;
        store.on_forward("", [&](const std::string& path, Var<double>&) { calls += path.empty(); });
        Tape<double> tape;
        run(Scope<double>(store));
        EXPECT_EQ(detail::place_suffix(detail::current_place()), "");
        EXPECT_THAT(tape.dump(), testing::Not(testing::AnyOf(HasSubstr("(in )"), HasSubstr("(in ,"))));
        return calls;
    };
    EXPECT_EQ(calls_of([&](const Scope<double>& at) {
                  const LSTM<double> lstm(at, {.input_size = 3, .hidden_size = 2, .num_layers = 2});
                  lstm(x);
                  lstm(pack_padded_sequence(x, test::integers({5, 4, 3, 1})));
              }),
              2);
    EXPECT_EQ(calls_of([&](const Scope<double>& at) {
                  Stacked<double, UserCell<double>>(at, Size(3), Size(2), {.num_layers = 2})(x);
              }),
              1);
    EXPECT_EQ(
        calls_of([&](const Scope<double>& at) { Bidirectional<double, UserCell<double>>(at, Size(3), Size(2))(x); }),
        1);
    EXPECT_EQ(calls_of([&](const Scope<double>& at) {
                  Recurrent<double, UserCell<double>>(at, Size(3), Size(2))(x, {}, {.checkpoint = 2});
              }),
              1);
}

TEST(Module, ALayerAtTheRootMayRunInsideAModuleOfAnotherStore) {
    ParameterStore<double> outer(1), inner(2);
    int calls = 0;
    inner.on_forward("", [&](const std::string&, Var<double>&) { ++calls; });
    const LSTM<double> lstm(inner, {.input_size = 3, .hidden_size = 2, .num_layers = 2});
    const auto guard = (Scope<double>(outer) / "outer").enter();
    lstm(filled<double>({5, 4, 3}, 1));
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(detail::place_suffix(detail::current_place()), " (in outer)");
}

TEST(Module, CellsArePrintedAndModelsSummed) {
    ParameterStore<float> store(1);
    const Scope<float> at(store);
    const CellOptions options{.input_size = 4, .hidden_size = 3};
    const RNNCell<float> rnn(at / "rnn_cell", options);
    const LSTMCell<float> lstm(at / "lstm_cell", options);
    const GRUCell<float> gru(at / "gru_cell", options);
    EXPECT_THAT(fmt::format("{}", rnn), AllOf(HasSubstr("rnn_cell  weight_ih"), HasSubstr("27 parameters, 108 B")));
    EXPECT_THAT(fmt::format("{}", lstm), AllOf(HasSubstr("lstm_cell  weight_ih"), HasSubstr("108 parameters")));
    EXPECT_THAT(fmt::format("{}", gru), AllOf(HasSubstr("gru_cell  weight_ih"), HasSubstr("81 parameters")));
    EXPECT_EQ(summary(gru), summary(at / "gru_cell"));
    const ScopedModel own{at / "own"};
    EXPECT_EQ(summary(own), summary(at / "own"));
    const Sequential<Linear<float>, Linear<float>> two(at / "two", LinearOptions{.in_features = 2, .out_features = 3},
                                                       LinearOptions{.in_features = 3, .out_features = 1});
    EXPECT_EQ(summary(two), summary(at / "two"));
}

TEST(Module, BytesAreInAUnitThatFits) {
    const auto bytes_of = [](Index numbers) {
        ParameterStore<float> store;
        Scope<float>(store).parameter("p", {numbers}, init::constant<float>(0));
        const std::string text = summary(store);
        return text.substr(text.rfind(", ") + 2);
    };
    EXPECT_EQ(bytes_of(0), "0 B\n");
    EXPECT_EQ(bytes_of(255), "1020 B\n");
    EXPECT_EQ(bytes_of(256), "1.0 KiB\n");
    EXPECT_EQ(bytes_of(400), "1.6 KiB\n");
    EXPECT_EQ(bytes_of(256 * 1024), "1.0 MiB\n");
}

}  // namespace
}  // namespace unroll
