// Checkpointing: the same values and gradients, bit for bit, with draws repeated; and the tape's memory.
#include <unroll/autograd/checkpoint.hpp>
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/parameter.hpp>

#include "../support/random_tensor.hpp"

#include <gtest/gtest.h>

#include <tuple>

namespace unroll {
namespace {

struct Model {
    ParameterStore<double> store{7};
    Parameter<double> w;
    RandomStream& random = Scope<double>(store).random("mask");
    Model() {
        w = Scope<double>(store).parameter("w", {5, 5}, [](std::span<double> v, const Shape&, RandomStream& r) {
            for (double& x : v) x = r.normal();
        });
    }
    Var<double> part(Var<double> x, int times) {
        for (int i = 0; i < times; ++i)
            x = tanh(linear<double>(x, w)) * (1.0 + 0.01 * static_cast<double>(random.next_call()));
        return x;
    }
};

struct Outcome {
    double loss;
    Tensor<double> gw, gx;
};

Outcome run(bool checkpointed) {
    Model m;
    Var<double> x(full<double>({3, 5}, 0.3));
    Tape<double> tape;
    tape.watch(x);
    Var<double> y = x;
    for (int s = 0; s < 4; ++s) {
        if (checkpointed)
            y = checkpoint<double>([&m](std::span<const Var<double>> in) { return Vars<double>{m.part(in[0], 3)}; },
                                   Vars<double>{y})[0];
        else
            y = m.part(y, 3);
    }
    const Var<double> loss = sum(y);
    tape.backward(loss);
    return {loss.item(), m.w.gradient(), tape.gradient(x)};
}

TEST(Checkpoint, GivesTheSameBitsAndRepeatsDraws) {
    const Outcome plain = run(false), again = run(true);
    EXPECT_EQ(plain.loss, again.loss);
    EXPECT_EQ(plain.gx, again.gx);
    for (std::size_t i = 0; i < plain.gw.size(); ++i) EXPECT_NEAR(plain.gw.data()[i], again.gw.data()[i], 1e-14);
}

// Two results, an operand that is used twice, and one that the function alone knows.
TEST(Checkpoint, GradientsAreRight) {
    EXPECT_GRADIENTS(
        [](auto a, auto b, auto c) {
            using Real = typename decltype(a)::value_type;
            const Vars<Real> y = checkpoint<Real>(
                [c](std::span<const Var<Real>> in) {
                    return Vars<Real>{tanh(in[0] * in[1]) + c, exp(in[0]) * c};
                },
                {a, b});
            return std::tuple{y[0] * y[1], y[1]};
        },
        test::random_tensor({3, 5}, 1), test::random_tensor({5}, 2), test::random_tensor({3, 1}, 3));
}

TEST(Checkpoint, KeepsOneNodeAndUsesParametersThatOnlyTheFunctionKnows) {
    Model m;
    Tape<double> tape;
    const auto out = checkpoint<double>(
        [&m](std::span<const Var<double>>) {
            return Vars<double>{m.part(Var<double>(full<double>({3, 5}, 0.3)), 3)};
        },
        {});
    EXPECT_EQ(tape.node_count(), 1);
    tape.backward(sum(out[0]));
    EXPECT_TRUE(m.store.gradients().has(m.w.entry()));
}

TEST(Checkpoint, RepeatsSingleDrawsAndThoseOfCheckpointsInside) {
    using Inputs = std::span<const Var<double>>;
    const auto run = [](bool checkpointed) {
        Model m;
        const auto noisy = [&m](Inputs in) {
            const Var<double> y = in[0] * m.random.normal() + m.random.uniform();
            return Vars<double>{dropout(y * y, 0.5, m.random)};
        };
        const auto inner = [&](const Var<double>& x) {
            return checkpointed ? checkpoint<double>(noisy, Vars<double>{x})[0] : noisy({&x, 1})[0];
        };
        const auto outer = [&](Inputs in) {
            const Var<double> y = inner(in[0] * m.random.normal());
            return Vars<double>{inner(y) * m.random.uniform()};
        };
        const Var<double> x(full<double>({3, 5}, 0.3));
        Tape<double> tape;
        tape.watch(x);
        const Var<double> y = checkpointed ? checkpoint<double>(outer, Vars<double>{x})[0] : outer({&x, 1})[0];
        const double next = m.random.uniform();
        tape.backward(sum(y));
        EXPECT_NE(m.random.uniform(), next);
        return std::tuple(next, Tensor<double>(y.value()), tape.gradient(x), m.random.counter());
    };
    EXPECT_EQ(run(true), run(false));
}

TEST(Checkpoint, TooManyResultsAreRefused) {
    const Var<double> x(full<double>({2}, 0.3));
    Tape<double> tape;
    tape.watch(x);
    const auto results = [&](int equal, int others) {
        return checkpoint<double>(
            [=](std::span<const Var<double>> in) {
                Vars<double> out(static_cast<std::size_t>(equal), in[0] * 2.0);
                for (int i = 0; i < others; ++i) out.push_back(sum(in[0]));
                return out;
            },
            Vars<double>{x});
    };
    EXPECT_EQ(results(8, 8).size(), 16u);
    EXPECT_EQ(results(4096, 0).size(), 4096u);
    const Index before = tape.node_count();
    EXPECT_THROW(results(16, 1), UsageError);
    EXPECT_THROW(results(4097, 0), UsageError);
    EXPECT_EQ(tape.node_count(), before);
}

TEST(Checkpoint, AFunctionThatDoesSomethingElseWhenItRunsAgainIsRefused) {
    const Var<double> x(full<double>({2}, 0.3));
    RandomStream random(3, "mask");
    bool first = true;
    const auto refused = [&](const CheckpointFunction<double>& function) {
        first = true;
        Tape<double> tape;
        tape.watch(x);
        const Var<double> y = checkpoint<double>(function, Vars<double>{x})[0];
        first = false;
        EXPECT_THROW(tape.backward(sum(y)), UsageError);
    };
    refused([&](std::span<const Var<double>> in) {
        return Vars<double>{in[0] * (first ? 1.0 + random.uniform(0, 1) : 1.0)};
    });
    refused([&](std::span<const Var<double>> in) { return Vars<double>(first ? 1 : 2, in[0] * 2.0); });
    refused([&](std::span<const Var<double>> in) { return Vars<double>{first ? in[0] * 2.0 : sum(in[0])}; });
}

TEST(Checkpoint, WithoutATapeIsAPlainCall) {
    Model m;
    const auto out =
        checkpoint<double>([&m](std::span<const Var<double>> in) { return Vars<double>{m.part(in[0], 1)}; },
                           Vars<double>{Var<double>(full<double>({3, 5}, 0.3))});
    EXPECT_EQ(out[0].shape(), (Shape{3, 5}));
}

}  // namespace
}  // namespace unroll
