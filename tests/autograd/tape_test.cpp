// The tape: recording, backward, watching, hooks, errors that change nothing.
#include "tape_support.hpp"

#include "../support/error_message.hpp"

#include <unroll/autograd/checkpoint.hpp>
#include <unroll/autograd/ops/pointwise.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <optional>
#include <vector>

namespace unroll {
namespace {

using test::error_message;
using test::kInput;
using test::Model;
using test::values;
using ::testing::HasSubstr;

TEST(Tape, RecordsOnlyWhileItStands) {
    Model m;
    EXPECT_EQ(Tape<double>::current(), nullptr);
    {
        Tape<double> tape;
        m.loss(kInput);
        EXPECT_EQ(tape.node_count(), 3);
        {
            NoGrad pause;
            m.loss(kInput);
        }
        EXPECT_EQ(tape.node_count(), 3);
        EXPECT_EQ(sum(kInput * kInput).item(), sum(kInput * kInput).item());
        EXPECT_EQ(tape.node_count(), 3) << "ops on constants alone are not recorded";
    }
    EXPECT_EQ(Tape<double>::current(), nullptr);
}

TEST(Tape, BackwardWithoutATapeSaysWhatIsMissing) {
    Model m;
    EXPECT_THAT(error_message<UsageError>([&] { backward(m.loss(kInput)); }), HasSubstr("no tape is in scope"));
}

TEST(Tape, SecondBackwardIsRefusedAndSaysWhatToDo) {
    Model m;
    Tape<double> tape;
    const auto loss = m.loss(kInput);
    tape.backward(loss);
    EXPECT_THAT(error_message<UsageError>([&] { tape.backward(loss); }), HasSubstr("{.keep = true}"));
    EXPECT_THAT(error_message<UsageError>([&] { m.loss(kInput); }), HasSubstr("begin a new Tape"));
}

TEST(Tape, KeptTapeGivesTheSameGradientsAgainAndAddsThem) {
    Model m;
    Tape<double> tape;
    tape.watch(kInput);
    const auto loss = m.loss(kInput);
    tape.backward(loss, {.keep = true});
    const Tensor<double> once = m.w.gradient();
    const Tensor<double> first = once, gx = tape.gradient(kInput);
    tape.backward(loss);
    for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(m.w.gradient().data()[i], 2 * first.data()[i]);
    EXPECT_EQ(tape.gradient(kInput), gx) << "a watched gradient is that of the last sweep";
}

TEST(Tape, MicroBatchesAccumulateAndZeroGradForgets) {
    Model m;
    const auto gradient = [&](const Var<double>& x) {
        Tape<double> tape;
        tape.backward(m.loss(x));
    };
    gradient(kInput);
    const Tensor<double> whole = m.w.gradient();
    const Tensor<double> expected = whole;
    m.store.zero_grad();
    EXPECT_EQ(m.w.gradient(), zeros<double>({3, 2}));
    gradient(slice(kInput, 0, 0, 1));
    gradient(slice(kInput, 0, 1, 4));
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(m.w.gradient().data()[i], expected.data()[i], 1e-14);
}

TEST(Tape, GradientOfAnIntermediateValueOnRequest) {
    Tape<double> tape;
    Var<double> x(values({2}, {1, 2}));
    tape.watch(x);
    const Var<double> y = x * x;
    tape.watch(y);
    tape.backward(sum(y * y));
    EXPECT_EQ(tape.gradient(y), values({2}, {2, 8}));
    EXPECT_EQ(tape.gradient(x), values({2}, {4, 32}));
    EXPECT_THAT(error_message<UsageError>([&] { tape.gradient(Var<double>(1.0)); }), HasSubstr("not watched"));
}

TEST(Tape, WatchedValueThatNothingReadsHasZeroGradient) {
    Tape<double> tape;
    Var<double> x(values({2}, {1, 2})), unused(values({3}, {1, 2, 3}));
    tape.watch(x);
    tape.watch(unused);
    tape.backward(sum(x));
    EXPECT_EQ(tape.gradient(unused), zeros<double>({3}));
}

TEST(Tape, DetachedValuePassesNoGradient) {
    Tape<double> tape;
    Var<double> x(values({2}, {1, 2}));
    tape.watch(x);
    tape.backward(sum(x * x.detach()));
    EXPECT_EQ(tape.gradient(x), values({2}, {1, 2}));
}

TEST(Tape, SameVariableTwiceGetsBothGradients) {
    Tape<double> tape;
    Var<double> x(values({2}, {3, 5}));
    tape.watch(x);
    tape.backward(sum(x + x) + sum(x * x));
    EXPECT_EQ(tape.gradient(x), values({2}, {8, 12}));
}

TEST(Tape, GradientThatIsPassedOnTwiceIsNotSharedMemory) {
    // a + b hands one gradient to both; what is later added to a's must not reach b's.
    Tape<double> tape;
    Var<double> a(values({2}, {1, 2})), b(values({2}, {3, 4}));
    tape.watch(a);
    tape.watch(b);
    const auto early = sum(a * 10.0);
    tape.backward(early + sum(a + b));
    EXPECT_EQ(tape.gradient(a), values({2}, {11, 11}));
    EXPECT_EQ(tape.gradient(b), values({2}, {1, 1}));
}

TEST(Tape, OperandsOfASumShareItsGradientUntilOneIsAddedToOrHooked) {
    // Early uses of a and b are differentiated after the sum: each adds to its own copy. A hook changes its value alone.
    for (const bool hooked : {false, true}) {
        Tape<double> tape;
        const Var<double> x(values({2}, {1, 2})), y(values({2}, {3, 4}));
        tape.watch(x);
        tape.watch(y);
        const Var<double> a = x * 2.0, b = y * 3.0;
        const auto early = sum(a * values({2}, {10, 20})) + sum(b * values({2}, {30, 40}));
        const Var<double> s = a + b;
        tape.watch(s);
        tape.watch(a);
        if (hooked) tape.hook(a, [](Tensor<double>& g) { g = g * 100.0; });
        tape.backward(early + sum(s * values({2}, {1, 5})));
        EXPECT_EQ(tape.gradient(s), values({2}, {1, 5}));
        EXPECT_EQ(tape.gradient(a), hooked ? values({2}, {1100, 2500}) : values({2}, {11, 25}));
        EXPECT_EQ(tape.gradient(x), hooked ? values({2}, {2200, 5000}) : values({2}, {22, 50}));
        EXPECT_EQ(tape.gradient(y), values({2}, {93, 135}));
    }
}

TEST(Tape, OperandsOfASumMayBeBroadcastSplitOrTheSame) {
    Tape<double> tape;
    const Var<double> x(values({2, 2}, {1, 2, 3, 4})), row(values({2}, {5, 6})), one(values({1, 1}, {7}));
    for (const auto& v : {x, row, one}) tape.watch(v);
    const Var<double> g(values({2, 2}, {1, 10, 100, 1000}));
    // One operand is used twice, one by its columns, each of which is broadcast.
    const auto [left, right] = pointwise(
        [](auto a, auto b, auto c, auto d) {
            return std::tuple{a + b, c + d};
        },
        columns<2>(x), row, row);
    EXPECT_EQ(Tensor<double>(left.value()), values({2, 2}, {1 + 2, 1 + 2, 3 + 4, 3 + 4}));
    tape.backward(sum((x + row + one + x) * g) + sum(left * values({2, 2}, {1, 2, 3, 4})) +
                  sum(right * values({2, 2}, {5, 6, 7, 8})));
    EXPECT_EQ(tape.gradient(row), values({2}, {101 + 2 * 12, 1010 + 2 * 14}));
    EXPECT_EQ(tape.gradient(x), values({2, 2}, {2 + 3, 20 + 3, 200 + 7, 2000 + 7}));
    EXPECT_EQ(tape.gradient(one), values({1, 1}, {1111}));
}

TEST(Tape, AGradientThatIsAlwaysZeroArrivesAllTheSame) {
    Model m;
    Tape<double> tape;
    const Var<double> h = m.w * 2.0;
    int calls = 0;
    tape.hook(h, [&](Tensor<double>& g) { calls += g(0, 0) == 0; });
    tape.backward(sum(sign(h)) + sum(sign(m.b) + 1.0));
    EXPECT_EQ(calls, 1);
    for (const char* name : {"w", "b"})
        EXPECT_TRUE(m.store.gradients().has(*m.store.entries()[name[0] == 'b'])) << name;
}

TEST(Tape, AStackOfOneParameterIsACopy) {
    Model m;
    const Var<double> before = stack<double>({m.b});
    const double kept = before.data()[0];
    m.b.mutable_value() += 1.0;
    EXPECT_EQ(before.data()[0], kept);
}

TEST(Tape, SumsCopyNoGradient) {
    if (memory_use().reserved == 0) GTEST_SKIP() << "the pool steps aside under the address sanitizer";
    constexpr Index kSize = 100'000;
    Tape<double> tape;
    const Var<double> a(zeros<double>({kSize})), b(zeros<double>({kSize})), c(zeros<double>({1}));
    for (const auto& v : {a, b, c}) tape.watch(v);
    Var<double> y = a;
    for (int i = 0; i < 10; ++i) y = y + b + c;
    const auto loss = sum(y);
    reset_memory_peak();
    const auto before = memory_use();
    tape.backward(loss);
    EXPECT_LT(memory_use().peak - before.in_use, kSize * 8 * 5 / 2) << "that of the loss and that of b";
    EXPECT_EQ(tape.gradient(b)(17), 10);
}

TEST(Tape, FrozenParameterGetsNoGradientAndNoStep) {
    Model m;
    m.store.freeze("w");
    Tape<double> tape;
    tape.backward(m.loss(kInput));
    EXPECT_FALSE(m.store.gradients().has(m.w.entry()));
    EXPECT_TRUE(m.store.gradients().has(m.b.entry()));
    EXPECT_THAT(error_message<ValueError>([&] { m.store.freeze("nothing"); }), HasSubstr("no parameter's name begins"));
}

TEST(Tape, ParameterChangedBetweenRecordAndBackwardIsCaught) {
    Model m;
    Tape<double> tape;
    const auto loss = m.loss(kInput);
    m.b.mutable_value()(0) = 5;
    EXPECT_THAT(error_message<UsageError>([&] { tape.backward(loss); }), HasSubstr("the parameter b was changed"));
    EXPECT_FALSE(m.store.gradients().has(m.w.entry()));
}

TEST(Tape, AParameterThatIsReadThroughAnotherValueAndThenChangedIsCaught) {
    using Part = std::function<Var<double>(const Parameter<double>&)>;
    const auto part_of = [](const Var<double>& w) { return reshape(select(slice(w, 0, 1, 3), 0, 1), {1, 2}); };
    const auto caught = [](bool frozen, bool made_before, const Part& part) {
        Model m;
        m.w.freeze(frozen);
        const Var<double> x(full<double>({3, 2}, 2.0));
        const Var<double> before = part(m.w);
        Tape<double> tape;
        tape.watch(x);
        const Var<double> y = sum(x * (made_before ? before : part(m.w)));
        m.w.mutable_value().fill(5);
        EXPECT_THAT(error_message<UsageError>([&] { tape.backward(y); }), HasSubstr("the parameter w was changed"));
    };
    const std::vector<Part> always{[](auto& w) { return w.detach(); }, [&](auto& w) { return part_of(w.detach()); },
                                   [&](auto& w) { return part_of(w).detach(); },
                                   [](auto& w) { return unbind<double>(w.detach())[2]; }};
    const std::vector<Part> of_frozen{[&](auto& w) { return part_of(w); }, [](auto& w) { return unbind<double>(w)[2]; },
                                      [](auto& w) {
                                          return checkpoint<double>(
                                              [](std::span<const Var<double>> in) {
                                                  return Vars<double>{in[0] * 1.0, reshape(in[1], {3, 2})};
                                              },
                                              {Var<double>(2.0), w})[1];
                                      }};
    for (const Part& part : always)
        for (const bool frozen : {false, true})
            for (const bool made_before : {false, true}) caught(frozen, made_before, part);
    for (const Part& part : of_frozen)
        for (const bool made_before : {false, true}) caught(true, made_before, part);
}

TEST(Tape, AWatchedPartOfAParameterThatChangesIsCaught) {
    Model m;
    const Var<double> part = m.w.detach();
    Tape<double> tape;
    tape.watch(part);
    const Var<double> y = sum(part * part);
    m.w.mutable_value().fill(5);
    EXPECT_THROW(tape.backward(y), UsageError);
}

TEST(Tape, WhatReadsAParameterOutlivesItsStore) {
    Var<double> part;
    {
        Model m;
        part = m.w.detach();
    }
    Tape<double> tape;
    const Var<double> x(full<double>({3, 2}, 2.0));
    tape.watch(x);
    const Var<double> y = sum(x * part);
    part = {};
    tape.backward(y);
    EXPECT_EQ(tape.gradient(x).size(), 6u);
}

TEST(Tape, AChangeOfAParameterWhoseValuesAreNotKeptIsNoError) {
    Model m;
    m.w.freeze();
    const Var<double> x(full<double>({3, 2}, 2.0));
    Tape<double> tape;
    tape.watch(x);
    const Var<double> y = sum(x + m.w.detach() + reshape<double>(m.w, {3, 2}));
    m.w.mutable_value().fill(5);
    tape.backward(y);
    EXPECT_EQ(tape.gradient(x), full<double>({3, 2}, 1.0));
}

TEST(Tape, ValueOfAStandingTapeIsRefusedAndOfAFinishedOneIsPlain) {
    Model m;
    std::optional<Tape<double>> first;
    first.emplace();
    const Var<double> x = tanh(m.loss(kInput));
    {
        Tape<double> second;
        EXPECT_THAT(error_message<UsageError>([&] { sum(x * 2.0); }), HasSubstr("another tape that still stands"));
        EXPECT_EQ(second.node_count(), 0);
    }
    first.reset();
    Tape<double> third;
    EXPECT_NO_THROW(sum(x * 2.0));
    EXPECT_EQ(third.node_count(), 0) << "a value of a finished tape is a constant";
}

TEST(Tape, LossMustBeOneElementMadeOnThisTape) {
    Model m;
    Tape<double> tape;
    EXPECT_THAT(error_message<ShapeError>([&] { tape.backward(linear<double>(kInput, m.w)); }),
                HasSubstr("exactly one element"));
    EXPECT_THAT(error_message<UsageError>([&] { tape.backward(sum(kInput)); }),
                HasSubstr("anything that needs a gradient"));
    EXPECT_THAT(error_message<UsageError>([&] { tape.backward(Var<double>()); }), HasSubstr("empty"));
}

TEST(Tape, UpstreamGradientsOfSeveralOutputs) {
    Var<double> x(values({2}, {1, 2}));
    {
        Tape<double> tape;
        tape.watch(x);
        const Var<double> outputs[] = {x * 3.0, x * x};
        const Tensor<double> upstream[] = {values({2}, {1, 10}), values({2}, {100, 1000})};
        tape.backward(outputs, upstream);
        EXPECT_EQ(tape.gradient(x), values({2}, {3 + 200, 30 + 4000}));
    }
    Tape<double> other;
    other.watch(x);
    const Var<double> y[] = {x * 1.0};
    const Tensor<double> wrong[] = {values({1}, {1})};
    EXPECT_THROW(other.backward(y, wrong), ShapeError);
}

TEST(Tape, HooksSeeTheCompleteGradientAndMayChangeIt) {
    Model m;
    Tape<double> tape;
    Var<double> x(values({2}, {1, 2}));
    tape.watch(x);
    const Var<double> y = x * 2.0;
    Tensor<double> seen;
    tape.hook(y, [&](Tensor<double>& g) {
        seen = g;
        g = g * 10.0;
    });
    tape.backward(sum(y) + sum(y * 3.0));
    EXPECT_EQ(seen, values({2}, {4, 4}));
    EXPECT_EQ(tape.gradient(x), values({2}, {80, 80}));
}

TEST(Tape, HooksOfLeavesRunToo) {
    Model m;
    Tape<double> tape;
    Var<double> x(values({2}, {1, 2})), unused(values({1}, {3}));
    tape.watch(x);
    tape.watch(unused);
    const auto tenfold = [](Tensor<double>& g) { g = g * 10.0; };
    int runs = 0;
    tape.hook(x, tenfold);
    tape.hook(m.b, tenfold);
    tape.hook(unused, [&](Tensor<double>&) { ++runs; });
    const Var<double> y = sum(x * 2.0) + m.loss(kInput);
    {
        Model plain;
        Tape<double> other;
        other.backward(plain.loss(kInput));
        tape.backward(y);
        EXPECT_EQ(m.b.gradient(), Tensor<double>(plain.b.gradient() * 10.0));
        EXPECT_EQ(m.w.gradient(), plain.w.gradient());
    }
    EXPECT_EQ(tape.gradient(x), values({2}, {20, 20}));
    EXPECT_EQ(runs, 0);  // no gradient has arrived
}

TEST(Tape, AVectorThatIsMultipliedOnBothSidesHasOneGradient) {
    ParameterStore<double> store;
    const Scope<double> at(store);
    const Index n = 5;
    const auto p = at.parameter("p", {n}, [](auto v, const Shape&, auto&) {
        for (std::size_t i = 0; i < v.size(); ++i) v[i] = 1.0 + static_cast<double>(i);
    });
    const Var<double> a(values({2, 5}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})), u(values({5}, {5, 4, 3, 2, 1}));
    Tape<double> tape;
    tape.backward(matmul<double>(p, p) + sum(matmul<double>(a, p)) + matmul<double>(u, p) + matmul<double>(p, u));
    // 2p + the sums of a's columns + 2u
    EXPECT_EQ(p.gradient(), values({5}, {2 + 7 + 10, 4 + 9 + 8, 6 + 11 + 6, 8 + 13 + 4, 10 + 15 + 2}));
}

TEST(Tape, AParameterMayBeTheLoss) {
    ParameterStore<double> store;
    const auto p = Scope<double>(store).parameter("p", {1}, [](auto v, const Shape&, auto&) { v[0] = 3; });
    Gradients<double> own(store);
    Gradients<double>* into[] = {&own};
    Tape<double> tape;
    const Var<double> used = p * 1.0;  // so that the tape knows it
    tape.backward_into(p, into, {.keep = true});
    EXPECT_EQ(own.data(p.entry())[0], 1.0);
    EXPECT_EQ(p.gradient(), values({1}, {0}));
    tape.backward(p);
    EXPECT_EQ(p.gradient(), values({1}, {1}));
}

TEST(Tape, ParameterHookRunsBeforeTheGradientIsAdded) {
    Model m;
    m.b.hook([](Tensor<double>& g) { g = g * 0.0 + 7.0; });
    Tape<double> tape;
    tape.backward(m.loss(kInput));
    EXPECT_EQ(m.b.gradient(), values({2}, {7, 7}));
}

TEST(Tape, HookThatThrowsLeavesTheGradientsAsTheyWere) {
    Model m;
    {
        Tape<double> tape;
        tape.backward(m.loss(kInput));
    }
    const Tensor<double> w = m.w.gradient(), b = m.b.gradient();
    const Tensor<double> w_before = w, b_before = b;
    Tape<double> tape;
    const Var<double> y = linear<double>(kInput, m.w, m.b);
    tape.hook(y, [](Tensor<double>&) { throw std::runtime_error("no"); });
    EXPECT_THROW(tape.backward(sum(y)), std::runtime_error);
    EXPECT_EQ(m.w.gradient(), w_before);
    EXPECT_EQ(m.b.gradient(), b_before);
}

TEST(Tape, ForwardHookOfAModuleMayReplaceTheOutput) {
    ParameterStore<double> store;
    const Scope<double> at = Scope<double>(store) / "part";
    std::string path;
    store.on_forward("part", [&](const std::string& p, Var<double>& y) {
        path = p;
        y = y * 2.0;
    });
    EXPECT_EQ(at.leave(Var<double>(3.0)).item(), 6.0);
    EXPECT_EQ(path, "part");
}

TEST(Tape, WrongShapeChangesNothing) {
    Model m;
    Tape<double> tape;
    const auto loss = m.loss(kInput);
    const Index nodes = tape.node_count();
    const std::string message = error_message<ShapeError>([&] { linear<double>(kInput, kInput); });
    EXPECT_THAT(message, HasSubstr("[linear]"));
    EXPECT_THAT(message, HasSubstr("(4, 3) and (4, 3)"));
    EXPECT_EQ(tape.node_count(), nodes);
    EXPECT_NO_THROW(tape.backward(loss));
}

TEST(Tape, HookAfterBackwardIsRefused) {
    Model m;
    Tape<double> tape;
    const auto loss = m.loss(kInput);
    tape.backward(loss);
    EXPECT_THAT(error_message<UsageError>([&] { tape.hook(loss, [](Tensor<double>&) {}); }),
                HasSubstr("differentiated already"));
}

TEST(Tape, ConstantsOnEitherSideOfAnOperator) {
    Tape<double> tape;
    Var<double> x(values({2}, {1, 2}));
    tape.watch(x);
    xt::xarray<double> array{10.0, 20.0};
    const xt::xarray<double> constant{1.0, 1.0};
    const auto y = array * x + x * array - constant / x + 2.0 * x + x * 2 + (array + constant) * x;
    static_assert(std::is_same_v<std::remove_const_t<decltype(y)>, Var<double>>);
    EXPECT_EQ(y.data()[0], 10 + 10 - 1 + 2 + 2 + 11);
    tape.backward(sum(y));
    EXPECT_EQ(tape.gradient(x), values({2}, {20 + 1 + 4 + 11, 40 + 0.25 + 4 + 21}));
}

}  // namespace
}  // namespace unroll
