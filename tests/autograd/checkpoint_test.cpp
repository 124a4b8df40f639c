// Checkpointing: the same values and gradients, bit for bit, with draws repeated; and the tape's memory.
#include <unroll/autograd/checkpoint.hpp>
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/parameter.hpp>

#include <gtest/gtest.h>

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

TEST(Checkpoint, WithoutATapeIsAPlainCall) {
    Model m;
    const auto out =
        checkpoint<double>([&m](std::span<const Var<double>> in) { return Vars<double>{m.part(in[0], 1)}; },
                           Vars<double>{Var<double>(full<double>({3, 5}, 0.3))});
    EXPECT_EQ(out[0].shape(), (Shape{3, 5}));
}

}  // namespace
}  // namespace unroll
