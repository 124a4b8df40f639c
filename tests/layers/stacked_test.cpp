// Layers and directions around any cell, a user's included.
#include <unroll/layers/stacked.hpp>

#include <unroll/autograd/gradcheck.hpp>
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/layers/cells.hpp>
#include <unroll/tests/layers/layer_support.hpp>

#include <algorithm>
#include <memory>
#include <stdexcept>

namespace unroll {
namespace {

using namespace test;
using testing::HasSubstr;

TEST(Stacked, AUsersCellGetsLayersAndDirectionsWithoutAnotherLine) {
    ParameterStore<double> store(1);
    const Stacked<double, UserCell<double>> deep(store, Size(4), Size(3), {.num_layers = 2, .bidirectional = true});
    EXPECT_EQ(deep.output_size(), 6);
    const auto made = deep(filled<double>({5, 2, 4}, 1));
    EXPECT_EQ(made.output.shape(), (Shape{5, 2, 6}));
    ASSERT_EQ(made.states.size(), 4u);
    for (const auto& s : made.states) EXPECT_EQ(s[0].shape(), (Shape{2, 3}));
    for (const std::string scope : {"layer0", "layer0_reverse", "layer1", "layer1_reverse"}) {
        EXPECT_TRUE(store.contains(scope + ".u"));
        EXPECT_EQ(store.at(scope + ".a").shape(), (Shape{scope.starts_with("layer0") ? 4 : 6, 3}));
    }
}

TEST(Stacked, IsItsLayersOneAfterTheOther) {
    ParameterStore<double> store(1);
    const Stacked<double, UserCell<double>> deep(store, Size(4), Size(3), {.num_layers = 2, .bidirectional = true});
    const auto x = filled<double>({5, 2, 4}, 1);
    Stacked<double, UserCell<double>>::States states;
    for (std::uint64_t i = 0; i < 4; ++i) states.push_back({filled<double>({2, 3}, 10 + i)});
    const auto made = deep(x, states);
    auto y = x;
    for (Index layer = 0; layer < 2; ++layer) {
        const auto row = static_cast<std::size_t>(2 * layer);
        const auto ahead = deep.layer(layer)(y, states[row]),
                   back = deep.layer(layer, true)(y, states[row + 1], {.reverse = true});
        expect_same(made.states[row][0], ahead.state[0]);
        expect_same(made.states[row + 1][0], back.state[0]);
        y = concat({ahead.output, back.output}, -1);
    }
    expect_same(made.output, y);
}

/// A cell whose three states have features of their own, each made of the one before it.
template <class Real>
struct ThreeStateCell {
    static constexpr int kStates = 3;
    ThreeStateCell(Scope<Real> at, Size input, Size hidden)
        : hidden(hidden),
          a(at / "a", {.in_features = input, .out_features = hidden}),
          b(at / "b", {.in_features = hidden, .out_features = hidden + 1}),
          c(at / "c", {.in_features = hidden + 1, .out_features = hidden + 2}) {}
    Index state_size(int k) const { return hidden + k; }
    State<Real, 3> step(Var<Real> x, State<Real, 3> s) const {
        const Var<Real> h = tanh(a(x) + s[0]), m = tanh(b(h) + s[1]);
        return {h, m, tanh(c(m) + s[2])};
    }
    Index hidden;
    Linear<Real> a, b, c;
};

TEST(Stacked, EveryLayerHasAllItsStates) {
    ParameterStore<double> store(1);
    const Stacked<double, ThreeStateCell<double>> deep(store, Size(4), Size(3),
                                                       {.num_layers = 2, .bidirectional = true});
    const auto x = filled<double>({5, 2, 4}, 1);
    Stacked<double, ThreeStateCell<double>>::States states(4);
    for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t k = 0; k < 3; ++k) states[i][k] = filled<double>({2, 3 + static_cast<Index>(k)}, 10 * i + k);
    const auto made = deep(x, states);
    ASSERT_EQ(made.states.size(), 4u);
    const auto ahead = deep.layer(0)(x, states[0]), back = deep.layer(0, true)(x, states[1], {.reverse = true});
    const auto between = concat({ahead.output, back.output}, -1);
    const auto last = deep.layer(1, true)(between, states[3], {.reverse = true});
    for (std::size_t k = 0; k < 3; ++k) {
        expect_same(made.states[0][k], ahead.state[k]);
        expect_same(made.states[1][k], back.state[k]);
        expect_same(made.states[3][k], last.state[k]);
    }
}

TEST(Stacked, ACopyOutlivesTheOriginal) {
    ParameterStore<double> store(1);
    const auto x = filled<double>({5, 2, 4}, 1);
    auto deep = std::make_unique<Stacked<double, UserCell<double>>>(
        store, Size(4), Size(3), StackOptions{.num_layers = 2, .bidirectional = true, .dropout = 0.5});
    store.eval();
    const auto output = (*deep)(x).output;
    Stacked<double, UserCell<double>> copy(*deep), assigned(Scope<double>(store) / "other", Size(4), Size(5));
    assigned = *deep;
    deep.reset();
    for (const auto* same : {&copy, &assigned}) {
        EXPECT_EQ(same->output_size(), 6);
        expect_same((*same)(x).output, output);
    }
}

TEST(Stacked, OneDirectionMayBeTheReversedOne) {
    ParameterStore<double> store(1);
    const Stacked<double, UserCell<double>> deep(store, Size(4), Size(3), {.num_layers = 2});
    const auto x = filled<double>({5, 2, 4}, 1);
    expect_same(deep(x, {}, {.reverse = true}).output, flip(deep(flip(x, {0})).output, {0}));
}

TEST(Stacked, GradientsAreRightWithEveryOptionOfTheLoop) {
    const IntTensor lengths = integers({4, 2});
    for (const auto& loop : {LoopOptions{}, {.lengths = &lengths}, {.checkpoint = 2}})
        EXPECT_GRADIENTS(
            [&](auto& layer, auto x) {
                auto made = layer(x, {}, loop);
                std::vector out{made.output};
                for (auto& s : made.states) out.push_back(s[0]);
                return out;
            },
            twin([]<class Real>(Scope<Real> at) {
                return Stacked<Real, UserCell<Real>>(at, Size(3), Size(2),
                                                     {.num_layers = 2, .bidirectional = true, .dropout = 0.3});
            }),
            filled_tensor<double>({4, 2, 3}, 1));
}

TEST(Bidirectional, ItsErrorsNameTheModule) {
    ParameterStore<double> store(1);
    const Bidirectional<double, UserCell<double>> both(Scope<double>(store) / "both", Size(3), Size(2));
    EXPECT_EQ(error_message<UsageError>([&] {
                  both(filled<double>({4, 2, 3}, 1), {}, {}, {.reverse = true});
              }),
              "[Bidirectional] reverse is for one direction; both run here (in both)");
}

TEST(Stacked, CellsOfTheLibraryAreBuiltByAFunction) {
    ParameterStore<double> store(1);
    const Stacked<double, LSTMCell<double>> layers(
        store, 4, {.num_layers = 3}, [](Scope<double> at, Index layer, bool, Index width) {
            return Recurrent<double, LSTMCell<double>>(at / std::to_string(layer),
                                                       CellOptions{.input_size = width, .hidden_size = 3 + layer});
        });
    EXPECT_EQ(layers(filled<double>({5, 2, 4}, 1)).output.shape(), (Shape{5, 2, 5}));
    EXPECT_EQ(store.at("2.weight_ih").shape(), (Shape{4, 20}));
}

TEST(Stacked, DropoutLiesOnEveryOutputButTheLastWithANewMaskEachTimeStepAndCall) {
    ParameterStore<double> store(1);
    const Stacked<double, UserCell<double>> deep(store, Size(4), Size(40), {.num_layers = 2, .dropout = 0.5});
    // What the second layer gets: looked at by a forward hook on the dropout between.
    std::vector<Var<double>> seen;
    store.on_forward("dropout0", [&](const std::string&, Var<double>& y) { seen.push_back(y); });
    const auto x = filled<double>({6, 2, 4}, 1);
    deep(x);
    deep(x);
    ASSERT_EQ(seen.size(), 2u);
    const auto mask = [](const Var<double>& y) {
        std::vector<bool> out;
        for (const double e : elements(y)) out.push_back(e == 0);
        return out;
    };
    EXPECT_NE(mask(seen[0]), mask(seen[1]));
    EXPECT_NE(mask(select(seen[0], 0, 0)), mask(select(seen[0], 0, 1)));
    store.eval();
    deep(x);
    EXPECT_EQ(seen.size(), 2u) << "in evaluation nothing is dropped";
}

TEST(Stacked, AMaskIsRepeatedWhereACheckpointRunsAgain) {
    ParameterStore<double> store(1);
    struct DroppingCell : UserCell<double> {
        DroppingCell(Scope<double> at, Size input, Size hidden)
            : UserCell<double>(at, input, hidden), drop(at / "drop", {.p = 0.5}) {}
        State<double, 1> step(Var<double> x, State<double, 1> s) const {
            return UserCell<double>::step(drop(x), {drop(s[0])});
        }
        Dropout<double> drop;
    };
    const Recurrent<double, DroppingCell> layer(store, Size(4), Size(3));
    const auto x = filled<double>({7, 2, 4}, 1);
    const auto run = [&](Index every) {
        for (auto& [name, stream] : store.randoms()) stream.set_counter(0);
        store.zero_grad();
        Tape<double> tape;
        const auto output = layer(x, {}, {.checkpoint = every}).output;
        tape.backward(test::weighed(output, 901));
        return std::tuple{elements(output), test::gradients_of(store), store.randoms().begin()->second.counter()};
    };
    const auto full = run(0);
    EXPECT_EQ(std::get<2>(full), 14u);
    for (const Index every : {2, 3}) EXPECT_EQ(run(every), full);
}

TEST(Stacked, WrongOptionsAndStatesAreErrors) {
    ParameterStore<double> store(1);
    EXPECT_THAT(error_message<ValueError>(
                    [&] { Stacked<double, UserCell<double>>(store, Size(4), Size(3), {.num_layers = 0}); }),
                HasSubstr("[Stacked] num_layers must be 1 or more; got 0"));
    EXPECT_THAT(error_message<ValueError>([&] {
                    Stacked<double, UserCell<double>>(Scope<double>(store) / "deep", Size(4), Size(3),
                                                      {.num_layers = 2, .dropout = 1.5});
                }),
                HasSubstr("[Stacked] dropout must be 0 to 1; got 1.5 (in deep)"));
    EXPECT_EQ(store.entries().size(), 0u);
    EXPECT_EQ(store.randoms().size(), 0u);
    const Stacked<double, UserCell<double>> deep(store, Size(4), Size(3), {.num_layers = 2});
    EXPECT_THAT(error_message<ShapeError>([&] {
                    deep(filled<double>({5, 2, 4}, 1), {{filled<double>({2, 3}, 1)}});
                }),
                HasSubstr("[Stacked] 2 states are needed, one for each layer and direction; got 1"));
    EXPECT_THAT(error_message<ShapeError>([&] {
                    deep(filled<double>({5, 2, 4}, 1), {{filled<double>({2, 3}, 1)}, {filled<double>({2, 4}, 1)}});
                }),
                HasSubstr("(in layer1)"));
    const Stacked<double, UserCell<double>> both(Scope<double>(store) / "both", Size(4), Size(3),
                                                 {.bidirectional = true});
    EXPECT_THAT(error_message<UsageError>([&] {
                    both(filled<double>({5, 2, 4}, 1), {}, {.reverse = true});
                }),
                HasSubstr("[Stacked] reverse is for one direction; both run here (in both)"));
}

/// A cell that fails at a time step, after it has recorded something and drawn from its stream.
struct FailingCell : UserCell<double> {
    FailingCell(Scope<double> at, Size input, Size hidden)
        : UserCell<double>(at, input, hidden), random(&at.random("noise")) {}
    State<double, 1> step(Var<double> x, State<double, 1> s) const {
        State<double, 1> next = UserCell<double>::step(dropout(std::move(x), 0.5, *random), std::move(s));
        if (detail::current_place().step == fails_at) throw std::runtime_error("the cell fails");
        return next;
    }
    RandomStream* random;
    static inline Index fails_at = -1;
};

/// A call that throws E leaves tape and random streams as they were, and the tape can be differentiated.
template <class E, class Call>
void expect_nothing_left(ParameterStore<double>& store, Call call) {
    store.zero_grad();
    Tape<double> tape;
    Var<double> x(filled_tensor<double>({5, 2, 4}, 1));
    tape.watch(x);
    const Var<double> loss = sum(x * x);
    const Index nodes = tape.node_count();
    const std::string dump = tape.dump();
    std::vector<std::uint64_t> counters;
    for (const auto& [name, stream] : store.randoms()) counters.push_back(stream.counter());
    EXPECT_THROW(call(x), E);
    EXPECT_EQ(tape.node_count(), nodes);
    EXPECT_EQ(tape.dump(), dump);
    std::size_t k = 0;
    for (const auto& [name, stream] : store.randoms()) EXPECT_EQ(stream.counter(), counters[k++]) << name;
    tape.backward(loss);
    const NoGrad pause;
    expect_same(Var<double>(tape.gradient(x)), x * 2.0);
    for (const auto& [name, values] : gradients_of(store))
        EXPECT_EQ(std::count(values.begin(), values.end(), 0.0), static_cast<std::ptrdiff_t>(values.size())) << name;
}

TEST(Stacked, ACallThatFailsLeavesNothingBehind) {
    ParameterStore<double> store(1);
    const Stacked<double, UserCell<double>> deep(Scope<double>(store) / "deep", Size(4), Size(3),
                                                 {.num_layers = 2, .dropout = 0.5});
    const Bidirectional<double, UserCell<double>> both(Scope<double>(store) / "both", Size(4), Size(3));
    const Stacked<double, FailingCell> failing(Scope<double>(store) / "failing", Size(4), Size(3), {.num_layers = 2});
    ASSERT_EQ(store.randoms().size(), 3u);
    expect_nothing_left<ShapeError>(store, [&](const Var<double>& x) {
        deep(x, {{filled<double>({2, 3}, 1)}, {filled<double>({2, 4}, 1)}});
    });
    expect_nothing_left<ShapeError>(store, [&](const Var<double>& x) { both(x, {}, {{filled<double>({2, 4}, 1)}}); });
    expect_nothing_left<ShapeError>(store, [&](const Var<double>&) { deep(filled<double>({5, 2, 3}, 1)); });
    FailingCell::fails_at = 3;
    expect_nothing_left<std::runtime_error>(store, [&](const Var<double>& x) { failing(x); });
    expect_nothing_left<std::runtime_error>(store, [&](const Var<double>& x) { failing(x, {}, {.checkpoint = 2}); });
    FailingCell::fails_at = -1;
    EXPECT_EQ(failing(filled<double>({5, 2, 4}, 1)).output.shape(), (Shape{5, 2, 3}));
}

TEST(Bidirectional, IsBothDirectionsSideBySide) {
    ParameterStore<double> store(1);
    const Bidirectional<double, UserCell<double>> both(store, Size(4), Size(3));
    EXPECT_EQ(both.output_size(), 6);
    const auto x = filled<double>({5, 2, 4}, 1), a = filled<double>({2, 3}, 2), b = filled<double>({2, 3}, 3);
    const auto made = both(x, std::array{a}, std::array{b});
    ParameterStore<double> twin(2);
    const Recurrent<double, UserCell<double>> ahead(Scope<double>(twin) / "forward", Size(4), Size(3)),
        back(Scope<double>(twin) / "backward", Size(4), Size(3));
    twin.copy_from(store);
    const auto one = ahead(x, std::array{a}), other = back(flip(x, {0}), std::array{b});
    expect_same(made.output, concat({one.output, flip(other.output, {0})}, -1));
    expect_same(made.forward[0], one.state[0]);
    expect_same(made.backward[0], other.state[0]);
    EXPECT_THROW(both(x, {}, {}, {.projected = true}), UsageError) << "each direction has weights of its own";
}

TEST(Bidirectional, TheBackwardDirectionBeginsAtTheEndOfEachRow) {
    ParameterStore<double> store(1);
    const Bidirectional<double, LSTMCell<double>> both(store, CellOptions{.input_size = 4, .hidden_size = 3});
    const auto x = filled<double>({5, 2, 4}, 1);
    const IntTensor lengths = integers({3, 5});
    const auto together = both(x, {}, {}, {.lengths = &lengths});
    const auto alone = both(slice(slice(x, 0, 0, 3), 1, 0, 1));
    expect_same(slice(slice(together.output, 0, 0, 3), 1, 0, 1), alone.output, 1e-14);
    expect_same(slice(together.backward[1], 0, 0, 1), alone.backward[1], 1e-14);
    EXPECT_THROW(both(x, {}, {}, {.reverse = true}), UsageError);
}

}  // namespace
}  // namespace unroll
