// Looks into a tape: the first value that is not finite, counts, dump, drawing; how values are printed.
#include "tape_support.hpp"

#include "../support/error_message.hpp"

#include <unroll/autograd/checkpoint.hpp>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace unroll {
namespace {

using test::error_message;
using test::kInput;
using test::Model;
using test::values;
using ::testing::HasSubstr;

TEST(TapeView, FirstNonFiniteValueIsNamedWithOpModuleAndTimeStep) {
    Model m;
    const Scope<double> at = Scope<double>(m.store) / "rnn" / "layer0";
    Tape<double> tape({.check_finite = true});
    const auto guard = at.enter();
    Var<double> h = linear<double>(kInput, m.w);
    for (Index t = 0; t < 5; ++t) {
        const detail::StepGuard step(t);
        if (t < 3) {
            h = tanh(h);
            continue;
        }
        const std::string message = error_message<NonFiniteError>([&] { log(h * 0.0 - 1.0); });
        EXPECT_THAT(message, HasSubstr("[log]"));
        EXPECT_THAT(message, HasSubstr("rnn.layer0"));
        EXPECT_THAT(message, HasSubstr("time step 3"));
        break;
    }
}

TEST(TapeView, FirstNonFiniteGradientIsNamed) {
    Tape<double> tape({.check_finite = true});
    Var<double> x(values({2}, {0, 1}));
    tape.watch(x);
    Var<double> y;
    {
        const detail::StepGuard step(4);
        y = sqrt(x);
    }
    const std::string message = error_message<NonFiniteError>([&] { tape.backward(sum(y)); });
    EXPECT_THAT(message, HasSubstr("[sqrt]"));
    EXPECT_THAT(message, HasSubstr("time step 4"));
    EXPECT_THAT(message, HasSubstr("gradient"));
}

TEST(TapeView, AConstantThatIsNotFiniteIsNamedWhereItIsMade) {
    Model m;
    const Scope<double> at = Scope<double>(m.store) / "model";
    Tape<double> tape({.check_finite = true});
    const auto guard = at.enter();
    EXPECT_EQ(error_message<NonFiniteError>([&] {
                  const Var<double> y = log(Var<double>(0.0));
                  sum(y * m.w);
              }),
              "[log] forward made a value that is not finite (a constant) (in model)");
    EXPECT_EQ(tape.node_count(), 0);
    const NoGrad pause;
    EXPECT_NO_THROW(log(Var<double>(0.0)));
}

TEST(TapeView, AGradientOfWhatACheckpointTakesFromOutsideIsNamedWithItsOp) {
    Tape<double> tape({.check_finite = true});
    const Var<double> x(values({2}, {0, 1}));
    tape.watch(x);
    const Var<double> y = checkpoint<double>(
        [](std::span<const Var<double>> in) {
            return checkpoint<double>(
                [](std::span<const Var<double>> inner) {
                    const detail::StepGuard step(4);
                    return Vars<double>{sqrt(inner[0])};
                },
                Vars<double>(in.begin(), in.end()));
        },
        {x})[0];
    const std::string message = error_message<NonFiniteError>([&] { tape.backward(sum(y)); });
    EXPECT_THAT(message, HasSubstr("[sqrt] backward made a gradient of operand 0 that is not finite"));
    EXPECT_THAT(message, HasSubstr("time step 4"));
}

TEST(TapeView, AWeightWhoseProductsOverflowTogetherIsNamed) {
    Model m;
    const Var<double> x(full<double>({4, 3}, 1e200));
    m.w.mutable_value().fill(0);
    Tape<double> tape({.check_finite = true});
    const Var<double> loss = sum(linear<double>(x, m.w) * 1e200);
    EXPECT_EQ(error_message<NonFiniteError>([&] { tape.backward(loss); }),
              "[backward] the gradient of the parameter w is not finite: the sum over all its uses, of all time steps");
}

TEST(TapeView, AValueThatIsNotFiniteLeavesNoNodeBehind) {
    Tape<double> tape({.check_finite = true});
    const Var<double> x(values({2}, {1, 0}));
    tape.watch(x);
    const Var<double> y = x * 2.0;
    EXPECT_THROW(log(y), NonFiniteError);
    EXPECT_EQ(tape.node_count(), 1);
}

TEST(TapeView, CountDumpAndDrawingNameWhatIsThere) {
    Model m;
    Tape<double> tape;
    const auto loss = m.loss(kInput);
    const auto count = tape.count();
    Index nodes = 0;
    for (const TapeCount& c : count) {
        nodes += c.nodes;
        // tanh keeps its result (4, 2); linear keeps its input (4, 3), and the weight belongs to the store.
        if (c.op == "tanh") {
            EXPECT_EQ(c.saved_bytes, 4 * 2 * 8);
        }
        if (c.op == "linear") {
            EXPECT_EQ(c.saved_bytes, 4 * 3 * 8);
        }
    }
    EXPECT_EQ(nodes, 3);
    EXPECT_THAT(tape.dump(), HasSubstr("linear(const, w, b)"));
    EXPECT_THAT(tape.graphviz(), HasSubstr("digraph"));
    EXPECT_THAT(tape.graphviz(), HasSubstr("tanh  (4, 2)"));
}

TEST(TapeView, WhatAnOpsStructOwnsIsCounted) {
    ParameterStore<double> store(7);
    const Scope<double> at(store);
    const auto table = at.parameter("table", {7, 3}, [](auto v, const Shape&, auto&) { std::ranges::fill(v, 0.5); });
    const auto bytes = [](const Tape<double>& tape, std::string_view op) {
        for (const TapeCount& c : tape.count())
            if (c.op == op) return c.saved_bytes;
        return Index{-1};
    };
    const IntTensor five{0, 1, 2, 3, 6};
    const Tensor<double> weights = full<double>({3}, 1.0);
    Tape<double> tape;
    const Var<double> y = embedding<double>(table, five);
    EXPECT_EQ(bytes(tape, "embedding"), 5 * 8);
    const Var<double> z = index_select(y, 0, IntTensor{0, 4, 4});
    EXPECT_EQ(bytes(tape, "index_select"), 3 * 8);
    gather(y, 1, IntTensor{{0, 1}, {2, 2}});
    EXPECT_EQ(bytes(tape, "gather"), 4 * 8);
    nll_loss(z, IntTensor{2, 0, 1}, {.class_weights = weights});
    EXPECT_EQ(bytes(tape, "nll_loss"), 3 * 8 + 3 * 8);
    dropout(y, 0.5, at.random("mask"));
    EXPECT_EQ(bytes(tape, "dropout"), 16) << "a bit for each of 15 elements, in groups of 128";
    checkpoint<double>(
        [&](std::span<const Var<double>> in) {
            return Vars<double>{dropout(dropout(in[0], 0.5, at.random("mask")), 0.5, at.random("mask"))};
        },
        {z});
    EXPECT_EQ(bytes(tape, "checkpoint"), 3 * 3 * 8 + 2 * 8) << "its input, and the numbers of two draws";
}

TEST(TapeView, FormattersShowShapesAndValues) {
    EXPECT_EQ(fmt::format("{}", Shape{2, 3}), "(2, 3)");
    EXPECT_EQ(fmt::format("{}", Var<double>(values({2}, {1, 2}))), "Var(2,) [1, 2]");
    EXPECT_EQ(fmt::format("{}", Var<double>()), "Var(empty)");
}

}  // namespace
}  // namespace unroll
