// The loop through time: direction, lengths, truncation, checkpoints, states, and what it records.
#include <unroll/layers/cells.hpp>
#include <unroll/layers/linear.hpp>

#include <unroll/autograd/gradcheck.hpp>
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/tests/layers/layer_support.hpp>

namespace unroll {
namespace {

using namespace test;
using testing::HasSubstr;

constexpr Index kT = 7, kB = 3, kI = 4, kH = 6;

/// All that a run gives: outputs, final states, and the gradients of a loss over both.
struct Outcome {
    Var<double> output;
    Vars<double> states;
    std::map<std::string, std::vector<double>> gradients;
    std::vector<double> input_gradient;
    Index nodes = 0;
};

template <class Layer>
Outcome run(ParameterStore<double>& store, const Layer& layer, const Var<double>& x,
            const std::optional<typename Layer::State>& state = {}, const LoopOptions& options = {}) {
    Outcome o;
    store.zero_grad();
    Tape<double> tape;
    const Var<double> in(Tensor<double>(x.value()));
    tape.watch(in);
    auto made = layer(in, state, options);
    Var<double> loss = weighed(made.output, 901);
    for (const auto& s : made.state) loss = loss + weighed(s, 902);
    o.nodes = tape.node_count();
    backward(loss);
    o.output = made.output;
    o.states.assign(made.state.begin(), made.state.end());
    o.gradients = gradients_of(store);
    o.input_gradient = elements(tape.gradient(in));
    return o;
}

void expect_equal(const Outcome& a, const Outcome& b, double tolerance = 0) {
    expect_same(a.output, b.output, tolerance, "output");
    ASSERT_EQ(a.states.size(), b.states.size());
    for (std::size_t k = 0; k < a.states.size(); ++k) expect_same(a.states[k], b.states[k], tolerance, "state");
    expect_same(a.gradients, b.gradients, tolerance);
    test::expect_near(a.input_gradient, b.input_gradient, tolerance, "gradient of the input");
}

CellOptions cell_options() { return {.input_size = kI, .hidden_size = kH}; }

/// Runs `fact(store, layer)` for each cell of the library and for a user's.
template <class Fact>
void for_every_cell(Fact fact) {
    const auto one = [&]<class Cell, class... Arguments>(const char* name, std::type_identity<Cell>,
                                                         Arguments... arguments) {
        SCOPED_TRACE(name);
        ParameterStore<double> store(1);
        const Recurrent<double, Cell> layer(Scope<double>(store) / "cell", arguments...);
        fact(store, layer);
    };
    one("RNNCell", std::type_identity<RNNCell<double>>(), cell_options());
    one("LSTMCell", std::type_identity<LSTMCell<double>>(), cell_options());
    one("LSTMCell with a projection", std::type_identity<LSTMCell<double>>(),
        CellOptions{.input_size = kI, .hidden_size = kH, .proj_size = 2});
    one("GRUCell", std::type_identity<GRUCell<double>>(), cell_options());
    one("GRUCell, reset before", std::type_identity<GRUCell<double>>(),
        CellOptions{.input_size = kI, .hidden_size = kH, .reset = GruReset::before_product});
    one("UserCell", std::type_identity<UserCell<double>>(), Size(kI), Size(kH));
}

template <class Layer>
typename Layer::State state_of(const Layer& layer, Index batch = kB) {
    typename Layer::State s;
    for (std::size_t k = 0; k < s.size(); ++k)
        s[k] = filled<double>({batch, layer.cell().state_size(static_cast<int>(k))}, 50 + k);
    return s;
}

TEST(Recurrent, SplitSequenceEqualsWholeSequence) {
    for_every_cell([](auto& store, const auto& layer) {
        const auto x = filled<double>({kT, kB, kI}, 1);
        const auto both = [&](bool split) {
            store.zero_grad();
            Tape<double> tape;
            auto s = state_of(layer);
            Vars<double> outputs;
            if (split) {
                auto first = layer(slice(x, 0, 0, 3), s);
                outputs.push_back(first.output);
                s = first.state;
            }
            auto rest = layer(split ? slice(x, 0, 3, kT) : x, s);
            outputs.push_back(rest.output);
            const auto output = concat(outputs, 0);
            backward(weighed(output, 901) + weighed(rest.state[0], 902));
            return std::pair{output, gradients_of(store)};
        };
        const auto whole = both(false), parts = both(true);
        expect_same(parts.first, whole.first, 1e-14);
        expect_same(parts.second, whole.second, 1e-13);
    });
}

TEST(Recurrent, ReverseEqualsForwardOnFlippedInput) {
    for_every_cell([](auto& store, const auto& layer) {
        const auto x = filled<double>({kT, kB, kI}, 1);
        const auto s = state_of(layer);
        const auto back = layer(x, s, {.reverse = true});
        const auto ahead = layer(flip(x, {0}), s);
        expect_same(back.output, flip(ahead.output, {0}));
        for (std::size_t k = 0; k < s.size(); ++k) expect_same(back.state[k], ahead.state[k]);
        static_cast<void>(store);
    });
}

TEST(Recurrent, LengthsEqualSeparateRuns) {
    const IntTensor lengths = integers({4, 7, 1});
    for (const bool reverse : {false, true})
        for_every_cell([&](auto& store, const auto& layer) {
            const auto x = filled<double>({kT, kB, kI}, 1);
            const auto s = state_of(layer);
            Outcome together = run(store, layer, x, s, {.reverse = reverse, .lengths = &lengths});

            store.zero_grad();
            Tape<double> tape;
            Var<double> loss(0);
            const Var<double> up = filled<double>(together.output.shape(), 901);
            std::vector<double> input_gradient(static_cast<std::size_t>(x.size()));
            Vars<double> inputs;
            for (Index b = 0; b < kB; ++b) {
                const Index n = lengths(b);
                inputs.push_back(Var<double>(Tensor<double>(slice(slice(x, 0, 0, n), 1, b, b + 1).value())));
                tape.watch(inputs.back());
                auto own = s;
                for (auto& part : own) part = slice(part, 0, b, b + 1);
                const auto alone = layer(inputs.back(), own, {.reverse = reverse});
                const auto slot = slice(slice(together.output, 0, 0, n), 1, b, b + 1);
                expect_same(slot, alone.output, 1e-14);
                for (const double zero : elements(slice(slice(together.output, 0, n, kT), 1, b, b + 1)))
                    EXPECT_EQ(zero, 0);
                loss = loss + sum(alone.output * slice(slice(up, 0, 0, n), 1, b, b + 1));
                for (std::size_t k = 0; k < own.size(); ++k) {
                    expect_same(slice(together.states[k], 0, b, b + 1), alone.state[k], 1e-14);
                    loss = loss + sum(alone.state[k] * slice(filled<double>(s[k].shape(), 902), 0, b, b + 1));
                }
            }
            backward(loss);
            expect_same(together.gradients, gradients_of(store), 1e-13);
            for (Index b = 0; b < kB; ++b) {
                const auto own = elements(tape.gradient(inputs[static_cast<std::size_t>(b)]));
                for (Index t = 0; t < kT; ++t)
                    for (Index i = 0; i < kI; ++i)
                        EXPECT_NEAR(together.input_gradient[static_cast<std::size_t>((t * kB + b) * kI + i)],
                                    t < lengths(b) ? own[static_cast<std::size_t>(t * kI + i)] : 0, 1e-13);
            }
        });
}

TEST(Recurrent, WhatLiesBehindALengthHasNoInfluenceNotEvenWhenItIsNaN) {
    const IntTensor lengths = integers({4, 7, 1});
    for_every_cell([&](auto& store, const auto& layer) {
        const auto x = filled<double>({kT, kB, kI}, 1);
        Tensor<double> spoilt(x.value());
        for (Index t = 0; t < kT; ++t)
            for (Index b = 0; b < kB; ++b)
                if (t >= lengths(b)) std::fill_n(spoilt.data() + (t * kB + b) * kI, kI, std::nan(""));
        const Outcome clean = run(store, layer, x, {}, {.lengths = &lengths}),
                      other = run(store, layer, Var<double>(spoilt), {}, {.lengths = &lengths});
        expect_same(other.output, clean.output);
        for (std::size_t k = 0; k < clean.states.size(); ++k) expect_same(other.states[k], clean.states[k]);
        EXPECT_EQ(other.gradients, clean.gradients);
        EXPECT_EQ(other.input_gradient, clean.input_gradient);
    });
}

TEST(Recurrent, CheckpointedEqualsFullBitForBit) {
    const IntTensor lengths = integers({4, 7, 1});
    for (const bool reverse : {false, true})
        for (const bool some : {false, true})
            for (const Index every : {1, 2, 3, 7, 20})
                for_every_cell([&](auto& store, const auto& layer) {
                    SCOPED_TRACE(testing::Message()
                                 << "checkpoint every " << every << ", reverse " << reverse << ", lengths " << some);
                    const auto x = filled<double>({kT, kB, kI}, 1);
                    LoopOptions options{.reverse = reverse, .lengths = some ? &lengths : nullptr};
                    const auto s = state_of(layer);
                    const Outcome full = run(store, layer, x, s, options);
                    options.checkpoint = every;
                    expect_equal(run(store, layer, x, s, options), full);
                });
}

/// A layer whose input is projected beforehand.
template <class Layer>
struct Beforehand {
    using State = typename Layer::State;
    const Layer& layer;
    auto operator()(Var<double> x, const std::optional<State>& state, LoopOptions options) const {
        options.projected = true;
        return layer(layer.project(std::move(x)), state, options);
    }
};

TEST(Recurrent, AnInputThatWasProjectedBeforehandGivesTheSameBits) {
    const IntTensor lengths = integers({4, 7, 1});
    for (const auto& options :
         {LoopOptions{}, {.reverse = true, .lengths = &lengths}, {.truncate = 3, .checkpoint = 2}})
        for_every_cell([&](auto& store, const auto& layer) {
            const auto x = filled<double>({kT, kB, kI}, 1);
            const auto s = state_of(layer);
            expect_equal(run(store, Beforehand<std::remove_cvref_t<decltype(layer)>>{layer}, x, s, options),
                         run(store, layer, x, s, options));
        });
}

TEST(Recurrent, ACheckpointedLoopOutlivesTheCallersLengths) {
    for_every_cell([](auto& store, const auto& layer) {
        const auto x = filled<double>({kT, kB, kI}, 1);
        const IntTensor kept = integers({4, 7, 1});
        const Outcome full = run(store, layer, x, {}, {.lengths = &kept});
        store.zero_grad();
        Tape<double> tape;
        std::optional<IntTensor> gone(kept);
        auto made = layer(x, {}, {.lengths = &*gone, .checkpoint = 2});
        Var<double> loss = weighed(made.output, 901);
        for (const auto& s : made.state) loss = loss + weighed(s, 902);
        std::fill(gone->begin(), gone->end(), 1);
        gone.reset();
        backward(loss);
        expect_same(gradients_of(store), full.gradients);
    });
}

TEST(Recurrent, CheckpointsKeepLessAndFewerNodes) {
    ParameterStore<double> store(1);
    const Recurrent<double, UserCell<double>> layer(store, Size(kI), Size(kH));
    const auto x = filled<double>({100, kB, kI}, 1);
    EXPECT_LT(run(store, layer, x, {}, {.checkpoint = 10}).nodes, run(store, layer, x).nodes / 3);
}

TEST(Recurrent, TruncatedStopsTheGradientAndNotTheValues) {
    for_every_cell([](auto& store, const auto& layer) {
        const auto x = filled<double>({kT, kB, kI}, 1);
        const Outcome full = run(store, layer, x), cut = run(store, layer, x, {}, {.truncate = 3});
        expect_same(cut.output, full.output);
        // The same by hand: windows of 3 steps, the state carried without its past.
        store.zero_grad();
        Tape<double> tape;
        typename std::remove_cvref_t<decltype(layer)>::State s;
        for (std::size_t k = 0; k < s.size(); ++k)
            s[k] = Var<double>(zeros<double>({kB, layer.cell().state_size(static_cast<int>(k))}));
        Vars<double> outputs;
        for (Index t = 0; t < kT; t += 3) {
            for (auto& part : s) part = part.detach();
            auto made = layer(slice(x, 0, t, std::min(kT, t + 3)), s);
            outputs.push_back(made.output);
            s = made.state;
        }
        Var<double> loss = weighed(concat(outputs, 0), 901);
        for (const auto& part : s) loss = loss + weighed(part, 902);
        backward(loss);
        expect_same(cut.gradients, gradients_of(store), 1e-13);
    });
}

TEST(Recurrent, ATruncatedLoopIsNotReachedFromBehindTheCut) {
    ParameterStore<double> store(1);
    const Recurrent<double, LSTMCell<double>> layer(Scope<double>(store), cell_options());
    Tape<double> tape;
    const auto x = filled<double>({kT, kB, kI}, 1);
    tape.watch(x);
    backward(sum(select(layer(x, {}, {.truncate = 4}).output, 0, 6)));
    const Tensor<double> g = tape.gradient(x);
    for (Index t = 0; t < kT; ++t)
        for (Index i = 0; i < kB * kI; ++i) EXPECT_EQ(g.data()[t * kB * kI + i] != 0, t >= 4) << "time step " << t;
}

TEST(Recurrent, TruncationInACheckpointedLoopCutsAtTheSameSteps) {
    for_every_cell([](auto& store, const auto& layer) {
        const auto x = filled<double>({kT, kB, kI}, 1);
        const auto s = state_of(layer);
        const Outcome plain = run(store, layer, x, s, {.truncate = 3});
        for (const Index every : {2, 3, 4})
            expect_equal(run(store, layer, x, s, {.truncate = 3, .checkpoint = every}), plain, 1e-13);
    });
}

TEST(Recurrent, GradientsAreRightForEveryScheduleOfAUsersCell) {
    const IntTensor lengths = integers({5, 2, 3});
    for (const auto& options : {LoopOptions{},
                                {.reverse = true},
                                {.lengths = &lengths},
                                {.reverse = true, .lengths = &lengths, .checkpoint = 2}})
        EXPECT_GRADIENTS(
            [&](auto& layer, auto x, auto h) {
                auto made = layer(x, std::array{h}, options);
                return std::tuple{made.output, made.state[0]};
            },
            twin([]<class Real>(Scope<Real> at) { return Recurrent<Real, UserCell<Real>>(at, Size(kI), Size(2)); }),
            filled_tensor<double>({5, kB, kI}, 1), filled_tensor<double>({kB, 2}, 2));
}

TEST(Recurrent, RunsInPlaceFromEmptyVarsAsFromZerosAndLeavesTheFinalState) {
    for_every_cell([](ParameterStore<double>&, const auto& layer) {
        const auto x = filled<double>({kT, kB, kI}, 1);
        const auto first = layer(x), second = layer(x, first.state);
        auto state = decltype(first.state)();
        expect_same(layer.run(x, state), first.output);
        for (std::size_t k = 0; k < state.size(); ++k) expect_same(state[k], first.state[k]);
        expect_same(layer.run(x, state), second.output);
        for (std::size_t k = 0; k < state.size(); ++k) expect_same(state[k], second.state[k]);
    });
}

TEST(Recurrent, AStateIsNotChangedByTheLoopThatItEnters) {
    for_every_cell([](auto& store, const auto& layer) {
        const auto s = state_of(layer);
        std::vector<std::vector<double>> before;
        for (const auto& part : s) before.push_back(elements(part));
        const auto x = filled<double>({kT, kB, kI}, 1);
        const auto values = elements(x);
        run(store, layer, x, s);
        run(store, layer, x, s, {.checkpoint = 2});
        for (std::size_t k = 0; k < s.size(); ++k) EXPECT_EQ(elements(s[k]), before[k]);
        EXPECT_EQ(elements(x), values);
    });
}

TEST(Recurrent, TheSameStateMayEnterTwiceAndItsGradientsAddUp) {
    for_every_cell([](auto& store, const auto& layer) {
        const auto gradient = [&](int times) {
            Tape<double> tape;
            auto s = state_of(layer);
            tape.watch(s[0]);
            const auto x = filled<double>({kT, kB, kI}, 1);
            Var<double> loss(0);
            for (int i = 0; i < times; ++i) loss = loss + weighed(layer(x, s).output, 901);
            backward(loss);
            return elements(tape.gradient(s[0]));
        };
        auto once = gradient(1);
        for (double& g : once) g *= 2;
        test::expect_near(gradient(2), once, 1e-14);
        static_cast<void>(store);
    });
}

/// A cell whose two states are one value.
template <class Real>
struct OneForBoth {
    static constexpr int kStates = 2;
    Linear<Real> first, second;
    OneForBoth(Scope<Real> at, Size in, Size size)
        : first(at / "first", {.in_features = size, .out_features = size}),
          second(at / "second", {.in_features = size, .out_features = size, .bias = false}) {
        static_cast<void>(in);
    }
    Index state_size(int) const { return 3; }
    State<Real, 2> step(Var<Real> x, State<Real, 2> s) const {
        const Var<Real> h = tanh(x + first(s[0]) + second(s[1]));
        return {h, h};
    }
};

TEST(Recurrent, ACellMayReturnOneValueAsTwoStates) {
    EXPECT_GRADIENTS(
        [](auto& layer, auto x, auto a, auto b) {
            auto made = layer(x, std::array{a, b});
            return std::tuple{made.output, made.state[1]};
        },
        twin([]<class Real>(Scope<Real> at) { return Recurrent<Real, OneForBoth<Real>>(at, Size(3), Size(3)); }),
        filled_tensor<double>({4, 2, 3}, 1), filled_tensor<double>({2, 3}, 2), filled_tensor<double>({2, 3}, 3));
}

/// Hands its input on to the next step.
template <class Real>
struct ShiftCell {
    static constexpr int kStates = 2;
    explicit ShiftCell(Scope<Real>) {}
    Index state_size(int) const { return 2; }
    State<Real, 2> step(Var<Real> x, State<Real, 2> s) const { return {tanh(x + s[1]), x}; }
};

template <class Real>
struct EchoCell {
    static constexpr int kStates = 1;
    explicit EchoCell(Scope<Real>) {}
    Index state_size(int) const { return 1; }
    State<Real, 1> step(Var<Real> x, State<Real, 1>) const { return {std::move(x)}; }
};

TEST(Recurrent, ACellMayReturnItsInputAsAState) {
    ParameterStore<double> store(1);
    const Scope<double> at(store);
    const Recurrent<double, RNNCell<double>> below(at / "below", CellOptions{.input_size = 2, .hidden_size = 2});
    const Recurrent<double, ShiftCell<double>> shift(at / "shift");
    const Var<double> x = filled<double>({3, 1, 2}, 1), h0 = filled<double>({1, 2}, 2);
    const auto gradient = [&](bool copied) {
        store.zero_grad();
        Tape<double> tape;
        const auto made = below(x, State<double, 1>{h0});
        tape.backward(sum(shift(copied ? made.output * 1.0 : made.output).output));
        return elements(store.at("below.weight_hh").gradient());
    };
    EXPECT_EQ(gradient(false), gradient(true));

    const Recurrent<double, EchoCell<double>> echo(at / "echo");
    for (const bool reverse : {false, true}) {
        Tape<double> tape;
        const Var<double> c(full<double>({2, 1, 1}, 4.0));
        tape.watch(c);
        EXPECT_EQ(elements(echo(c + 1.0, {}, {.reverse = reverse}).output), (std::vector<double>{5, 5}));
    }
}

/// Adds its input up, and throws when told to.
struct SwitchedCell {
    static constexpr int kStates = 1;
    const bool* wrong;
    SwitchedCell(Scope<double>, const bool* wrong) : wrong(wrong) {}
    Index state_size(int) const { return 1; }
    State<double, 1> step(Var<double> x, State<double, 1> s) const {
        Var<double> next = x + std::move(s[0]);
        if (*wrong) throw ValueError("no");
        return {std::move(next)};
    }
};

struct FixedCell {
    static constexpr int kStates = 1;
    explicit FixedCell(Scope<double> at) : h(at.parameter("h", {1, 2}, init::normal<double>())) {}
    Index state_size(int) const { return 2; }
    State<double, 1> step(Var<double>, State<double, 1>) const { return {h}; }
    Parameter<double> h;
};

TEST(Recurrent, AnOutputKeepsItsValuesWhenAParameterThatIsTheStateChanges) {
    for (const Index steps : {1, 2}) {
        ParameterStore<double> store(1);
        const Recurrent<double, FixedCell> layer{Scope<double>(store)};
        const Var<double> output = layer(filled<double>({steps, 1, 2}, 1)).output;
        const double before = output.data()[0];
        store.at("h").mutable_value().fill(before + 1);
        EXPECT_EQ(output.data()[0], before) << steps << " steps";
    }
}

TEST(Recurrent, AStateInPlaceSurvivesAnError) {
    ParameterStore<double> store;
    bool wrong = true;
    const Recurrent<double, SwitchedCell> layer(store, &wrong);
    State<double, 1> state{Var<double>(full<double>({1, 1}, 5.0))};
    const Var<double> x(full<double>({2, 1, 1}, 1.0));
    EXPECT_THROW(layer.run(x, state), ValueError);
    ASSERT_TRUE(state[0]);
    wrong = false;
    layer.run(x, state);
    EXPECT_EQ(state[0].item(), 7);
}

TEST(Recurrent, OneTimeStepIsOneStepOfTheCell) {
    for_every_cell([](auto& store, const auto& layer) {
        const auto x = filled<double>({1, kB, kI}, 1);
        const auto s = state_of(layer);
        const auto made = layer(x, s);
        auto in = select(x, 0, 0);
        if constexpr (requires { layer.cell().project(in); }) in = layer.cell().project(in);
        const auto next = layer.cell().step(in, s);
        for (std::size_t k = 0; k < s.size(); ++k) expect_same(made.state[k], next[k]);
        expect_same(select(made.output, 0, 0), next[0]);
        static_cast<void>(store);
    });
}

TEST(Recurrent, InferenceAndRecordingGiveTheSameBits) {
    for_every_cell([](auto& store, const auto& layer) {
        const auto x = filled<double>({kT, kB, kI}, 1);
        const auto inferred = layer(x, state_of(layer));
        const Outcome recorded = run(store, layer, x, state_of(layer));
        expect_same(recorded.output, inferred.output);
    });
}

TEST(Recurrent, AUsersElementaryCellTakesOneProductPerParameterInBackward) {
    ParameterStore<double> store(1);
    const Recurrent<double, UserCell<double>> layer(store, Size(kI), Size(kH));
    Tape<double> tape;
    const auto made = layer(filled<double>({50, kB, kI}, 1));
    tape.backward(weighed(made.output, 901));
    // The three weights a, u, c; the bias has no product.
    EXPECT_EQ(tape.deferred_products(), 3);
}

TEST(Recurrent, BuiltInCellsTakeOneProductPerWeightInBackward) {
    const auto products = [](auto cell, const CellOptions& options) {
        using Cell = typename decltype(cell)::type;
        ParameterStore<float> store(1);
        const Recurrent<float, Cell> layer(Scope<float>(store), options);
        Tape<float> tape;
        tape.backward(weighed(layer(filled<float>({50, kB, kI}, 1)).output, 901));
        return tape.deferred_products();
    };
    EXPECT_EQ(products(std::type_identity<RNNCell<float>>(), cell_options()), 2);
    EXPECT_EQ(products(std::type_identity<LSTMCell<float>>(), cell_options()), 2);
    EXPECT_EQ(products(std::type_identity<LSTMCell<float>>(), {.input_size = kI, .hidden_size = kH, .proj_size = 2}),
              3);
    EXPECT_EQ(products(std::type_identity<GRUCell<float>>(), cell_options()), 2);
    EXPECT_EQ(products(std::type_identity<GRUCell<float>>(),
                       {.input_size = kI, .hidden_size = kH, .reset = GruReset::before_product}),
              2);
}

/// A cell that goes wrong at one time step, as a user's may.
template <class Real>
struct FaultyCell {
    static constexpr int kStates = 1;
    FaultyCell(Scope<Real> at, Index wrong) : wrong(wrong), u(at.parameter("u", {kI, kI}, init::normal<Real>())) {}
    Index state_size(int) const { return kI; }
    State<Real, 1> step(Var<Real> x, State<Real, 1> s) const {
        if (detail::current_place().step == wrong) return {matmul<Real>(x, concat<Real>({u, u}, 0))};
        return {tanh(x + matmul<Real>(s[0], u))};
    }
    Index wrong;
    Parameter<Real> u;
};

TEST(Recurrent, AnErrorInACellNamesModuleAndTimeStep) {
    ParameterStore<double> store(1);
    const Recurrent<double, FaultyCell<double>> layer(Scope<double>(store) / "model" / "rnn", Index{5});
    const auto x = filled<double>({kT, kB, kI}, 1);
    EXPECT_THAT(error_message<ShapeError>([&] { layer(x); }),
                testing::AllOf(HasSubstr("[matmul]"), HasSubstr("got (3, 4) and (8, 4) (in model.rnn, time step 5)")));
    EXPECT_EQ(detail::current_place().step, -1);
    EXPECT_EQ(detail::current_place().module, 0u);
    Tape<double> tape;
    EXPECT_THROW(layer(x), ShapeError);
    EXPECT_THROW(layer(x, {}, {.checkpoint = 2}), ShapeError);
    // What came before the error is still sound, and the tape goes on.
    const Recurrent<double, FaultyCell<double>> sound(Scope<double>(store) / "sound", Index{-7});
    tape.backward(weighed(sound(x).output, 901));
}

/// A cell whose second state is not what it says, as a user's may be.
template <class Real>
struct MisstatedCell {
    static constexpr int kStates = 2;
    MisstatedCell(Scope<Real> at, Var<Real> second)
        : u(at.parameter("u", {kI, kI}, init::normal<Real>())), second(second) {}
    Index state_size(int k) const { return k == 0 ? kI : kH; }
    State<Real, 2> step(Var<Real> x, State<Real, 2> s) const { return {tanh(x + matmul<Real>(s[0], u)), second}; }
    Parameter<Real> u;
    Var<Real> second;
};

TEST(Recurrent, AStateThatIsNotWhatTheCellSaysIsAnError) {
    ParameterStore<double> store(1);
    const auto x = filled<double>({kT, kB, kI}, 1);
    const auto run_with = [&](const char* name, Var<double> second, const LoopOptions& options) {
        const Recurrent<double, MisstatedCell<double>> layer(Scope<double>(store) / name, std::move(second));
        Tape<double> tape;
        const auto made = layer(x, {}, options);
        return tape.node_count();
    };
    EXPECT_GT(run_with("right", zeros<double>({kB, kH}), {}), kT);
    EXPECT_EQ(error_message<ShapeError>([&] {
                  run_with("wide", zeros<double>({kB, kH + 1}), {});
              }),
              "[recurrent] the cell's step must return state 1 as (3, 6); got (3, 7) (in wide, time step 0)");
    EXPECT_EQ(error_message<ShapeError>([&] {
                  run_with("few", zeros<double>({1, kH}), {.reverse = true, .checkpoint = 2});
              }),
              "[recurrent] the cell's step must return state 1 as (3, 6); got (1, 6) (in few, time step 6)");
    EXPECT_EQ(error_message<UsageError>([&] { run_with("none", {}, {}); }),
              "[recurrent] the cell's step returned an empty Var as state 1 (in none, time step 0)");
}

TEST(Recurrent, WrongInputsAreErrors) {
    ParameterStore<double> store(1);
    const Recurrent<double, GRUCell<double>> layer(Scope<double>(store) / "gru", cell_options());
    EXPECT_THAT(error_message<ShapeError>([&] {
                    layer(filled<double>({kT, kI}, 1));
                }),
                HasSubstr("[recurrent] the input must be (T, B, features); got (7, 4) (in gru)"));
    EXPECT_THAT(error_message<ShapeError>([&] {
                    layer(filled<double>({kT, kB, kI}, 1), std::array{filled<double>({kB, kI}, 1)});
                }),
                HasSubstr("state 0 must be (3, 6) for this input; got (7, 3, 4) and (3, 4) (in gru)"));
    EXPECT_THAT(error_message<ShapeError>([&] { layer(filled<double>({kT, kB, kH}, 1)); }), HasSubstr("(in gru)"));
    EXPECT_THAT(error_message<UsageError>([&] { layer(Var<double>()); }), HasSubstr("empty Var"));
}

TEST(Recurrent, ANonFiniteValueIsTracedToItsTimeStep) {
    ParameterStore<double> store(1);
    const Recurrent<double, UserCell<double>> layer(Scope<double>(store) / "model" / "rnn", Size(kI), Size(kH));
    Tensor<double> x = filled_tensor<double>({kT, kB, kI}, 1);
    x.data()[4 * kB * kI + 2] = std::numeric_limits<double>::infinity();
    Tape<double> tape({.check_finite = true});
    EXPECT_THAT(error_message<NonFiniteError>([&] { layer(Var<double>(x)); }),
                HasSubstr("(in model.rnn, time step 4)"));
}

}  // namespace
}  // namespace unroll
