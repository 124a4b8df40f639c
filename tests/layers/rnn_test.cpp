// RNN, LSTM, GRU against PyTorch's numbers, and every option with its values, gradients, and a way through a file's contents.
#include <unroll/layers/rnn.hpp>

#include <unroll/autograd/gradcheck.hpp>
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/io/safetensors.hpp>
#include <unroll/io/state_dict.hpp>
#include <unroll/tests/layers/layer_support.hpp>

#include <fmt/format.h>

#include <functional>
#include <span>

namespace unroll {
namespace {

using nlohmann::json;
using namespace test;
using testing::HasSubstr;

// ---- PyTorch's numbers ----

template <class Layer>
Layer make(ParameterStore<double>& store, const json& o) {
    const Index layers = o.value("num_layers", 1);
    const bool bias = o.value("bias", true), batch_first = o.value("batch_first", false),
               both = o.value("bidirectional", false);
    const Size input = o.at("input_size").get<Index>(), hidden = o.at("hidden_size").get<Index>();
    Scope<double> at(store);
    if constexpr (std::is_same_v<Layer, RNN<double>>)
        return Layer(
            at, {.input_size = input,
                 .hidden_size = hidden,
                 .num_layers = layers,
                 .nonlinearity = o.value("nonlinearity", "tanh") == "relu" ? Nonlinearity::relu : Nonlinearity::tanh,
                 .bias = bias,
                 .batch_first = batch_first,
                 .bidirectional = both});
    else if constexpr (std::is_same_v<Layer, LSTM<double>>)
        return Layer(at, {.input_size = input,
                          .hidden_size = hidden,
                          .num_layers = layers,
                          .bias = bias,
                          .batch_first = batch_first,
                          .bidirectional = both,
                          .proj_size = o.value("proj_size", 0)});
    else
        return Layer(at, {.input_size = input,
                          .hidden_size = hidden,
                          .num_layers = layers,
                          .bias = bias,
                          .batch_first = batch_first,
                          .bidirectional = both});
}

Tensor<double> golden_tensor(const json& given) {
    const auto lengths = given.at("shape").get<std::vector<Index>>();
    Tensor<double> out = empty<double>(Shape(lengths.data(), lengths.size()));
    const auto values = golden::entry(given);
    std::copy(values.begin(), values.end(), out.data());
    return out;
}

constexpr double kClose = 1e-12;  // of the largest number

template <class Layer>
void run_golden(const json& c) {
    ParameterStore<double> store(1);
    const Layer layer = make<Layer>(store, c.at("options"));
    // Weights come by PyTorch's names and axes, as from a file.
    StateDict weights;
    for (const auto& [name, spec] : c.at("weights").items()) weights.put(name, golden_tensor(spec));
    load_state_dict(store, weights);

    Tape<double> tape;
    std::map<std::string, Var<double>> leaves;
    for (const char* name : {"input", "h0", "c0"})
        if (c.contains(name)) tape.watch(leaves[name] = Var<double>(golden_tensor(c.at(name))));
    std::optional<typename Layer::State> state;
    if (leaves.contains("h0")) {
        state.emplace();
        (*state)[0] = leaves.at("h0");
        if constexpr (Layer::kStates == 2) (*state)[1] = leaves.at("c0");
    }
    std::map<std::string, Var<double>> results;
    typename Layer::State last;
    if (c.contains("lengths")) {
        const bool batch_first = c.at("options").value("batch_first", false);
        const auto lengths = c.at("lengths").get<std::vector<std::int64_t>>();
        const auto packed = pack_padded_sequence(leaves.at("input"), integers(lengths), batch_first,
                                                 c.at("enforce_sorted").get<bool>());
        auto made = layer(packed, state);
        const auto padded =
            pad_packed_sequence(made.output, batch_first, 0, leaves.at("input").shape()[batch_first ? 1 : 0]);
        EXPECT_EQ(test::list(padded.lengths), lengths);
        results["output"] = padded.values;
        last = made.state;
    } else {
        auto made = layer(leaves.at("input"), state);
        results["output"] = made.output;
        last = made.state;
    }
    results["h_n"] = last[0];
    if constexpr (Layer::kStates == 2) results["c_n"] = last[1];

    Var<double> loss(0);
    for (const auto& [name, seed] : {std::pair{"output", 901}, {"h_n", 902}, {"c_n", 903}})
        if (results.contains(name)) {
            const auto lengths = c.at("shapes").at(name).template get<std::vector<Index>>();
            ASSERT_EQ(results.at(name).shape(), Shape(lengths.data(), lengths.size())) << name;
            expect_near(elements(results.at(name)), golden::numbers(c.at(name)), kClose, name);
            loss = loss + test::weighed(results.at(name), static_cast<std::uint64_t>(seed));
        }
    EXPECT_NEAR(loss.item(), c.at("loss").get<double>(), 1e-12 * std::max(1.0, std::fabs(loss.item())));
    backward(loss);
    for (const auto& [name, leaf] : leaves)
        expect_near(elements(tape.gradient(leaf)), golden::numbers(c.at("gradients").at(name)), kClose, name);
    for (const auto& [name, spec] : c.at("weights").items()) {
        const Parameter<double> parameter = store.at(name);
        Var<double> gradient(Tensor<double>(parameter.gradient()));
        if (parameter.rank() == 2) gradient = transpose(gradient);
        expect_near(elements(gradient), golden::numbers(c.at("gradients").at(name)), kClose, name);
    }
}

TEST(GoldenRecurrent, ValuesStatesAndAllGradientsArePyTorchs) {
    const json document = golden::load("recurrent.json");
    std::map<std::string, int> cases;
    for (const json& c : document.at("cases")) {
        const std::string kind = c.at("name").get<std::string>();
        SCOPED_TRACE(kind + " " + c.at("options").dump() +
                     (c.contains("lengths") ? " lengths " + c.at("lengths").dump() : ""));
        if (kind == "RNN")
            run_golden<RNN<double>>(c);
        else if (kind == "LSTM")
            run_golden<LSTM<double>>(c);
        else if (kind == "GRU")
            run_golden<GRU<double>>(c);
        else
            FAIL() << "unknown layer " << kind;
        ++cases[kind];
    }
    EXPECT_GE(cases["RNN"], 8);
    EXPECT_GE(cases["LSTM"], 14);
    EXPECT_GE(cases["GRU"], 10);
}

// ---- The table: option × value, gradient checked, saved and loaded ----

struct Row {
    std::string option, value;
    bool gradient = false, saved = false, changes = false;
};

/// Runs a layer over filled numbers; a training-time mask repeats because its stream is set back.
template <class Real, class Layer>
std::vector<Var<Real>> outputs(const Layer& layer, const Var<Real>& x) {
    auto made = layer(x);
    std::vector<Var<Real>> all{made.output};
    all.insert(all.end(), made.state.begin(), made.state.end());
    return all;
}

template <template <class...> class Layer, class Options>
Row check_option(std::string option, std::string value, const Options& options, const Options& defaults) {
    Row row{std::move(option), std::move(value)};
    const Tensor<double> x = filled_tensor<double>({5, 2, 4}, 1);
    row.gradient = gradcheck([](auto& layer, auto in) { return outputs(layer, in); }, twin<Layer>(options), x).passed();

    ParameterStore<double> store(3), other(4), plain(3);
    const Layer<double> layer(Scope<double>(store) / "rnn", options), again(Scope<double>(other) / "rnn", options);
    const Layer<double> unchanged(Scope<double>(plain) / "rnn", defaults);
    const std::string file = format_safetensors(state_dict(store));
    load_state_dict(other, parse_safetensors(std::as_bytes(std::span(file)), "the file"), kResume);
    const auto a = outputs(layer, Var<double>(x)), b = outputs(again, Var<double>(x)),
               d = outputs(unchanged, Var<double>(x));
    row.saved = a.size() == b.size() && state_dict(other) == state_dict(store);
    for (std::size_t i = 0; i < a.size(); ++i) row.saved = row.saved && elements(a[i]) == elements(b[i]);
    for (std::size_t i = 0; i < a.size(); ++i) row.changes = row.changes || elements(a[i]) != elements(d[i]);
    return row;
}

template <template <class...> class Layer, class Options>
std::vector<Row> check_options(
    std::string layer, const Options& base,
    const std::vector<std::tuple<std::string, std::string, std::function<void(Options&)>>>& settings) {
    std::vector<Row> rows;
    for (const auto& [option, value, set] : settings) {
        Options options = base;
        set(options);
        Row row = check_option<Layer>(layer + "." + option, value, options, base);
        EXPECT_TRUE(row.gradient) << row.option << " = " << row.value;
        EXPECT_TRUE(row.saved) << row.option << " = " << row.value;
        EXPECT_EQ(row.changes, row.option.find("default") == std::string::npos) << row.option << " = " << row.value;
        rows.push_back(std::move(row));
    }
    return rows;
}

TEST(RecurrentOptions, EveryValueHasRightGradientsAndSurvivesSaving) {
    std::vector<Row> rows =
        check_options<RNN, RNNOptions>("RNN", {.input_size = 4, .hidden_size = 3},
                                       {{"(defaults)", "", [](auto&) {}},
                                        {"input_size, hidden_size", "4, 6", [](auto& o) { o.hidden_size = 6; }},
                                        {"num_layers", "3", [](auto& o) { o.num_layers = 3; }},
                                        {"nonlinearity", "relu", [](auto& o) { o.nonlinearity = Nonlinearity::relu; }},
                                        {"bias", "false", [](auto& o) { o.bias = false; }},
                                        {"batch_first", "true", [](auto& o) { o.batch_first = true; }},
                                        {"dropout", "0.4",
                                         [](auto& o) {
                                             o.num_layers = 2;
                                             o.dropout = 0.4;
                                         }},
                                        {"bidirectional", "true", [](auto& o) { o.bidirectional = true; }}});
    for (auto more : {check_options<LSTM, LSTMOptions>("LSTM", {.input_size = 4, .hidden_size = 3},
        {{"(defaults)", "", [](auto&) {}},
         {"input_size, hidden_size", "4, 6", [](auto& o) { o.hidden_size = 6; }},
         {"num_layers", "3", [](auto& o) { o.num_layers = 3; }},
         {"bias", "false", [](auto& o) { o.bias = false; }},
         {"batch_first", "true", [](auto& o) { o.batch_first = true; }},
         {"dropout", "0.4", [](auto& o) { o.num_layers = 2; o.dropout = 0.4; }},
         {"bidirectional", "true", [](auto& o) { o.bidirectional = true; }},
         {"proj_size", "2", [](auto& o) { o.proj_size = 2; }},
         {"proj_size, num_layers, bidirectional", "2, 2, true", [](auto& o) { o.proj_size = 2; o.num_layers = 2; o.bidirectional = true; }},
         {"forget_bias", "1.5", [](auto& o) { o.forget_bias = 1.5; }}}),
        check_options<GRU, GRUOptions>("GRU", {.input_size = 4, .hidden_size = 3},
        {{"(defaults)", "", [](auto&) {}},
         {"input_size, hidden_size", "4, 6", [](auto& o) { o.hidden_size = 6; }},
         {"num_layers", "3", [](auto& o) { o.num_layers = 3; }},
         {"bias", "false", [](auto& o) { o.bias = false; }},
         {"batch_first", "true", [](auto& o) { o.batch_first = true; }},
         {"dropout", "0.4", [](auto& o) { o.num_layers = 2; o.dropout = 0.4; }},
         {"bidirectional", "true", [](auto& o) { o.bidirectional = true; }},
         {"reset", "before_product", [](auto& o) { o.reset = GruReset::before_product; }},
         {"reset, bias", "before_product, false", [](auto& o) { o.reset = GruReset::before_product; o.bias = false; }}})})
        rows.insert(rows.end(), more.begin(), more.end());
    fmt::print("{:<42} {:<22} {:<9} {}\n", "option", "value", "gradient", "saved and loaded");
    for (const Row& row : rows)
        fmt::print("{:<42} {:<22} {:<9} {}\n", row.option, row.value, row.gradient ? "right" : "WRONG",
                   row.saved ? "the same" : "DIFFERENT");
}

// ---- Shapes, states, initial values ----

TEST(RNN, ShapesArePyTorchs) {
    ParameterStore<float> store(1);
    const LSTM<float> layer(store, {.input_size = 4,
                                    .hidden_size = 6,
                                    .num_layers = 2,
                                    .batch_first = true,
                                    .bidirectional = true,
                                    .proj_size = 3});
    EXPECT_EQ(layer.output_size(), 6);
    const auto made = layer(filled<float>({2, 5, 4}, 1));
    EXPECT_EQ(made.output.shape(), (Shape{2, 5, 6}));
    EXPECT_EQ(made.state[0].shape(), (Shape{4, 2, 3}));
    EXPECT_EQ(made.state[1].shape(), (Shape{4, 2, 6}));
    const auto single = layer(filled<float>({5, 4}, 1));
    EXPECT_EQ(single.output.shape(), (Shape{5, 6}));
    EXPECT_EQ(single.state[1].shape(), (Shape{4, 6}));
}

TEST(RNN, ParameterNamesAndFileAxesArePyTorchs) {
    ParameterStore<float> store(1);
    const LSTM<float> layer(
        Scope<float>(store) / "rnn",
        {.input_size = 4, .hidden_size = 6, .num_layers = 2, .bidirectional = true, .proj_size = 3});
    const StateDict saved = state_dict(store);
    std::map<std::string, Shape> shapes;
    for (const auto& e : saved.entries())
        if (!e.is_json()) shapes[e.name] = e.tensor().shape();
    EXPECT_EQ(shapes.size(), 20u);
    for (const std::string suffix : {"", "_reverse"}) {
        EXPECT_EQ(shapes.at("rnn.weight_ih_l0" + suffix), (Shape{24, 4}));
        EXPECT_EQ(shapes.at("rnn.weight_ih_l1" + suffix), (Shape{24, 6}));
        EXPECT_EQ(shapes.at("rnn.weight_hh_l1" + suffix), (Shape{24, 3}));
        EXPECT_EQ(shapes.at("rnn.weight_hr_l0" + suffix), (Shape{3, 6}));
        EXPECT_EQ(shapes.at("rnn.bias_ih_l0" + suffix), (Shape{24}));
        EXPECT_EQ(shapes.at("rnn.bias_hh_l1" + suffix), (Shape{24}));
    }
}

TEST(RNN, EverythingStartsUniformWithinOneOverTheRootOfH) {
    ParameterStore<double> store(1);
    const GRU<double> layer(store, {.input_size = 40, .hidden_size = 25, .num_layers = 2});
    for (const auto* entry : store.entries()) {
        double largest = 0, sum = 0;
        for (Index i = 0; i < entry->shape.size(); ++i) {
            largest = std::max(largest, std::fabs(entry->value->data[i]));
            sum += entry->value->data[i];
        }
        EXPECT_LE(largest, 0.2) << entry->name;
        EXPECT_GT(largest, 0.18) << entry->name;
        EXPECT_NEAR(sum / static_cast<double>(entry->shape.size()), 0,
                    4 * 0.2 / std::sqrt(3.0 * static_cast<double>(entry->shape.size())))
            << entry->name;
    }
}

TEST(LSTM, TheForgetBiasIsThatOfTheSecondGate) {
    ParameterStore<double> store(1), plain(1);
    const LSTM<double> layer(store, {.input_size = 4, .hidden_size = 3, .num_layers = 2, .forget_bias = 1.0});
    const LSTM<double> other(plain, {.input_size = 4, .hidden_size = 3, .num_layers = 2});
    for (const auto* name : {"bias_ih_l0", "bias_hh_l0", "bias_ih_l1", "bias_hh_l1"}) {
        const auto b = elements(store.at(name)), unchanged = elements(plain.at(name));
        for (std::size_t i = 0; i < 12; ++i)
            EXPECT_EQ(b[i], i / 3 != 1                                      ? unchanged[i]
                            : std::string_view(name).starts_with("bias_ih") ? 1.0
                                                                            : 0.0)
                << name << " " << i;
    }
}

TEST(RNN, APartOfTheStateMayBeMissingAndIsThenZero) {
    ParameterStore<double> store(1);
    const LSTM<double> layer(store, {.input_size = 4, .hidden_size = 3, .num_layers = 2});
    const auto x = filled<double>({5, 2, 4}, 1), h = filled<double>({2, 2, 3}, 2);
    const auto a = layer(x, LSTM<double>::State{h, {}}),
               b = layer(x, LSTM<double>::State{h, Var<double>(zeros<double>({2, 2, 3}))});
    expect_same(a.output, b.output);
    expect_same(a.state[1], b.state[1]);
}

TEST(RNN, UnbatchedEqualsABatchOfOne) {
    ParameterStore<double> store(1);
    for (const bool batch_first : {false, true}) {
        const GRU<double> layer(
            Scope<double>(store) / (batch_first ? "a" : "b"),
            {.input_size = 4, .hidden_size = 3, .num_layers = 2, .batch_first = batch_first, .bidirectional = true});
        const auto x = filled<double>({5, 4}, 1), h = filled<double>({4, 3}, 2);
        const auto single = layer(x, GRU<double>::State{h});
        const auto batch = layer(unsqueeze(x, batch_first ? 0 : 1), GRU<double>::State{unsqueeze(h, 1)});
        EXPECT_EQ(single.output.shape(), (Shape{5, 6}));
        expect_near(elements(single.output), elements(batch.output), 0);
        EXPECT_EQ(single.state[0].shape(), (Shape{4, 3}));
        expect_near(elements(single.state[0]), elements(batch.state[0]), 0);
    }
}

template <class Layer, class Options>
void expect_rows_of_a_projected_table(Options options) {
    ParameterStore<double> store(1);
    const Layer layer(Scope<double>(store) / "rnn", options);
    const Embedding<double> embed(Scope<double>(store) / "embed", {.num_embeddings = 5, .embedding_dim = 4});
    const IntTensor tokens{{1, 0, 4}, {2, 2, 2}, {0, 1, 4}, {4, 4, 0}};
    using Result = std::pair<Var<double>, std::map<std::string, std::vector<double>>>;
    const auto run = [&](auto forward) -> Result {
        store.zero_grad();
        Tape<double> tape;
        const auto made = forward();
        tape.backward(weighed(made.output, 901) + weighed(made.state[0], 902));
        return {made.output, gradients_of(store)};
    };
    const auto plain = run([&] { return layer(embed(tokens)); });
    const auto table =
        run([&] { return layer(embedding(layer.project(embed.weight), tokens), {}, {.projected = true}); });
    expect_same(table.first, plain.first, 1e-14);
    expect_same(table.second, plain.second, 1e-13);
}

TEST(RNN, TokensMayTakeRowsOfAProjectedTable) {
    expect_rows_of_a_projected_table<RNN<double>>(RNNOptions{.input_size = 4, .hidden_size = 3, .num_layers = 2});
    expect_rows_of_a_projected_table<LSTM<double>>(
        LSTMOptions{.input_size = 4, .hidden_size = 3, .num_layers = 3, .bias = false, .proj_size = 2});
    expect_rows_of_a_projected_table<GRU<double>>(GRUOptions{.input_size = 4, .hidden_size = 3, .batch_first = true});
    expect_rows_of_a_projected_table<GRU<double>>(
        GRUOptions{.input_size = 4, .hidden_size = 3, .num_layers = 2, .reset = GruReset::before_product});
}

TEST(RNN, PackedSequencesEqualSeparateRuns) {
    ParameterStore<double> store(1);
    const LSTM<double> layer(store, {.input_size = 4, .hidden_size = 3, .num_layers = 2, .bidirectional = true});
    const Vars<double> sequences{filled<double>({2, 4}, 1), filled<double>({5, 4}, 2), filled<double>({1, 4}, 3)};
    const auto h = filled<double>({4, 3, 3}, 4), c = filled<double>({4, 3, 3}, 5);
    const auto made = layer(pack_sequence(sequences, false), LSTM<double>::State{h, c});
    const Vars<double> outputs = unpack_sequence(made.output);
    for (Index b = 0; b < 3; ++b) {
        const auto alone =
            layer(sequences[static_cast<std::size_t>(b)], LSTM<double>::State{select(h, 1, b), select(c, 1, b)});
        expect_same(outputs[static_cast<std::size_t>(b)], alone.output, 1e-14);
        expect_same(select(made.state[0], 1, b), alone.state[0], 1e-14);
        expect_same(select(made.state[1], 1, b), alone.state[1], 1e-14);
    }
}

TEST(RNN, DropoutLiesBetweenLayersOnlyInTrainingWithAMaskForEachTimeStep) {
    ParameterStore<double> store(1), plain(1);
    const RNN<double> layer(store, {.input_size = 4, .hidden_size = 30, .num_layers = 2, .dropout = 0.5});
    const RNN<double> without(plain, {.input_size = 4, .hidden_size = 30, .num_layers = 2});
    const auto x = filled<double>({5, 2, 4}, 1);
    const auto first = layer(x), second = layer(x), clean = without(x);
    EXPECT_NE(elements(first.output), elements(second.output));
    // The first layer's final state is untouched by it, the second's is not; no output of the last layer is dropped.
    expect_same(slice(first.state[0], 0, 0, 1), slice(clean.state[0], 0, 0, 1));
    EXPECT_NE(elements(slice(first.state[0], 0, 1, 2)), elements(slice(clean.state[0], 0, 1, 2)));
    for (const double y : elements(first.output)) EXPECT_NE(y, 0);
    store.eval();
    expect_same(layer(x).output, clean.output);
    expect_same(layer(x).state[0], clean.state[0]);
}

TEST(RNN, DropoutOfOneLeavesNothingOfTheLayerBelow) {
    ParameterStore<double> store(1);
    const RNN<double> layer(store, {.input_size = 4, .hidden_size = 3, .num_layers = 2, .dropout = 1});
    const auto x = filled<double>({5, 2, 4}, 1), other = filled<double>({5, 2, 4}, 2);
    expect_same(layer(x).output, layer(other).output);
    store.eval();
    EXPECT_NE(elements(layer(x).output), elements(layer(other).output));
}

// ---- Errors ----

template <class Layer, class Options>
std::string option_error(const Options& options) {
    ParameterStore<double> store(1);
    const std::string message = error_message<ValueError>([&] { Layer(Scope<double>(store) / "rnn", options); });
    EXPECT_EQ(store.entries().size(), 0u) << "an error must leave nothing in the store: " << message;
    EXPECT_THAT(message, HasSubstr("rnn"));
    return message;
}

TEST(RNN, WrongOptionsAreErrorsThatNameTheRangeAndTheModule) {
    EXPECT_THAT((option_error<LSTM<double>>(LSTMOptions{.input_size = 0, .hidden_size = 3})),
                HasSubstr("[LSTM] input_size must be 1 or more; got 0"));
    EXPECT_THAT((option_error<GRU<double>>(GRUOptions{.input_size = 4, .hidden_size = -2})),
                HasSubstr("[GRU] hidden_size must be 1 or more; got -2"));
    EXPECT_THAT((option_error<RNN<double>>(RNNOptions{.input_size = 4, .hidden_size = 3, .num_layers = 0})),
                HasSubstr("[RNN] num_layers must be 1 or more; got 0"));
    EXPECT_THAT(
        (option_error<RNN<double>>(RNNOptions{.input_size = 4, .hidden_size = 3, .num_layers = 2, .dropout = 1.1})),
        HasSubstr("[RNN] dropout must be 0 to 1; got 1.1"));
    EXPECT_THAT((option_error<RNN<double>>(RNNOptions{.input_size = 4, .hidden_size = 3, .dropout = -0.1})),
                HasSubstr("dropout"));
    EXPECT_THAT((option_error<LSTM<double>>(LSTMOptions{.input_size = 4, .hidden_size = 3, .dropout = std::nan("")})),
                HasSubstr("dropout"));
    EXPECT_THAT((option_error<LSTM<double>>(LSTMOptions{.input_size = 4, .hidden_size = 3, .proj_size = 3})),
                HasSubstr("[LSTM] proj_size must be 0 (none) to hidden_size − 1 = 2; got 3"));
    EXPECT_THAT((option_error<LSTM<double>>(LSTMOptions{.input_size = 4, .hidden_size = 3, .proj_size = -1})),
                HasSubstr("proj_size"));
    EXPECT_THAT(
        (option_error<LSTM<double>>(LSTMOptions{.input_size = 4, .hidden_size = 3, .bias = false, .forget_bias = 1.0})),
        HasSubstr("[LSTM] forget_bias needs bias = true"));
}

TEST(RNN, WrongInputsAndStatesAreErrorsThatNameModuleAndShapesAndLeaveTheTapeAlone) {
    ParameterStore<double> store(1);
    const Scope<double> at = Scope<double>(store) / "model" / "rnn";
    const LSTM<double> layer(at, {.input_size = 4, .hidden_size = 3, .num_layers = 2});
    const LSTM<double> turned(at / "turned", {.input_size = 4, .hidden_size = 3, .batch_first = true});
    using S = LSTM<double>::State;
    Tape<double> tape;
    const auto x = filled<double>({5, 2, 4}, 1), h = filled<double>({2, 2, 3}, 2);
    tape.watch(x);
    const Index before = tape.node_count();
    const auto shape_error = [&](auto action) { return error_message<ShapeError>(action); };
    EXPECT_EQ(shape_error([&] {
                  layer(filled<double>({5, 2, 6}, 1));
              }),
              "[LSTM] the input must be (T, B, 4) or (T, 4) unbatched; got (5, 2, 6) (in model.rnn)");
    EXPECT_THAT(shape_error([&] { turned(filled<double>({4}, 1)); }),
                HasSubstr("(B, T, 4) or (T, 4) unbatched; got (4,) (in model.rnn.turned)"));
    EXPECT_THAT(shape_error([&] { layer(filled<double>({0, 2, 4}, 1)); }), HasSubstr("at least one time step"));
    EXPECT_EQ(shape_error([&] {
                  layer(x, S{filled<double>({2, 3, 3}, 1), {}});
              }),
              "[LSTM] state 0 must be (layers·directions, B, features) = (2, 2, 3); got (5, 2, 4) and (2, 3, 3) (in "
              "model.rnn)");
    EXPECT_THAT(shape_error([&] { layer(x, S{h, filled<double>({1, 2, 3}, 1)}); }), HasSubstr("state 1 must be"));
    EXPECT_THAT(shape_error([&] {
                    layer(select(x.detach(), 1, 0), S{h, h});
                }),
                HasSubstr("for an unbatched input state 0 must be (layers·directions, features) = (2, 3)"));
    EXPECT_THAT(error_message<UsageError>([&] { layer(Var<double>()); }),
                HasSubstr("[LSTM] the input is an empty Var (in model.rnn)"));
    EXPECT_THAT(error_message<UsageError>([&] { layer(x, {}, {.reverse = true}); }), HasSubstr("use bidirectional"));
    const IntTensor wrong = integers({5, 6}), few = integers({5});
    EXPECT_THAT(error_message<ValueError>([&] { layer(x, {}, {.lengths = &wrong}); }),
                HasSubstr("each length must be 1 to T = 5; got 6"));
    EXPECT_THAT(shape_error([&] { layer(x, {}, {.lengths = &few}); }), HasSubstr("one element for each row"));
    EXPECT_THAT(error_message<ValueError>([&] { layer(x, {}, {.truncate = -1}); }),
                HasSubstr("truncate and checkpoint"));
    EXPECT_THAT(shape_error([&] {
                    layer(pack_padded_sequence(filled<double>({5, 2, 6}, 1), integers({5, 2})));
                }),
                HasSubstr("(in model.rnn)"));
    EXPECT_EQ(shape_error([&] { layer(x, {}, {.projected = true}); }),
              "[LSTM] the projected input must be (T, B, 12) or (T, 12) unbatched; got (5, 2, 4) (in model.rnn)");
    EXPECT_EQ(shape_error([&] {
                  layer.project(filled<double>({5, 3}, 1));
              }),
              "[LSTM] the input of project must be (…, 4); got (5, 3) (in model.rnn)");
    EXPECT_THAT(error_message<UsageError>([&] { layer.project(Var<double>()); }),
                HasSubstr("[LSTM] the input is an empty Var (in model.rnn)"));
    const LSTM<double> both(at / "both", {.input_size = 4, .hidden_size = 3, .bidirectional = true});
    EXPECT_THAT(error_message<UsageError>([&] { both(x, {}, {.projected = true}); }),
                HasSubstr("projected for one direction only"));
    EXPECT_THAT(error_message<UsageError>([&] { both.project(x); }), HasSubstr("projected for one direction only"));
    EXPECT_EQ(tape.node_count(), before);
}

TEST(RecurrentLayers, AWeightThatSawOnlyZerosHasAGradientOfZeros) {
    const auto check = []<class Layer, class Options>(std::type_identity<Layer>, const Options& options) {
        for (const Index steps : {1, 3})
            for (const Index checkpoint : {0, 2}) {
                ParameterStore<double> store(1);
                const Layer layer(Scope<double>(store), options);
                Tape<double> tape;
                backward(weighed(layer(filled<double>({steps, 2, 4}, 1), {}, {.checkpoint = checkpoint}).output, 901));
                for (auto* entry : store.entries()) {
                    EXPECT_TRUE(store.gradients().has(*entry)) << entry->name;
                    const auto g = elements(Parameter<double>(*entry).gradient());
                    const bool saw_zeros = steps == 1 && entry->name.starts_with("weight_hh");
                    EXPECT_EQ(std::ranges::count(g, 0.0) == static_cast<Index>(g.size()), saw_zeros) << entry->name;
                }
            }
    };
    check(std::type_identity<RNN<double>>(), RNNOptions{.input_size = 4, .hidden_size = 3});
    check(std::type_identity<LSTM<double>>(), LSTMOptions{.input_size = 4, .hidden_size = 3, .num_layers = 2});
    check(std::type_identity<GRU<double>>(), GRUOptions{.input_size = 4, .hidden_size = 3});
    check(std::type_identity<GRU<double>>(),
          GRUOptions{.input_size = 4, .hidden_size = 3, .reset = GruReset::before_product});
}

}  // namespace
}  // namespace unroll
