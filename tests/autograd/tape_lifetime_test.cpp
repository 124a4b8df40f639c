// How long nodes and values live: taken back, dropped, freed by backward, tapes that fall in any order.
#include "tape_support.hpp"

#include <unroll/autograd/checkpoint.hpp>
#include <unroll/autograd/ops/pointwise.hpp>

#include <gtest/gtest.h>

#include <memory>

namespace unroll {
namespace {

using test::kInput;
using test::Model;
using test::values;

TEST(TapeLifetime, NodesCanBeTakenBack) {
    Var<double> x(values({2}, {1, 2}));
    Tape<double> tape;
    tape.watch(x);
    const Var<double> y = sum(x * 3.0);
    const Index position = tape.position();
    const Var<double> gone = x * 5.0;
    const Var<double> more = sum(gone);
    tape.drop_from(position);
    EXPECT_EQ(tape.node_count(), position);
    EXPECT_THROW(tape.backward(more), UsageError);  // a constant now
    tape.backward(y + sum(gone * x));
    EXPECT_EQ(tape.gradient(x), values({2}, {3 + 5, 3 + 10}));
    EXPECT_THROW(
        {
            Tape<double> other;
            other.watch(x);
            const Var<double> z = sum(x * 1.0);
            other.hook(z, [&](Tensor<double>&) { other.drop_from(0); });
            other.backward(z);
        },
        UsageError);
}

TEST(TapeLifetime, ValuesAreFreedOnceTheReverseLoopHasPassedThem) {
    const auto peak_of = [](bool keep) {
        Tape<double> tape;
        Var<double> x(zeros<double>({1000}));
        tape.watch(x);
        Var<double> y = x;
        for (int i = 0; i < 50; ++i) y = tanh(y);
        const auto loss = sum(y);
        y = {};
        reset_memory_peak();
        const auto before = memory_use();
        tape.backward(loss, {.keep = keep});
        return memory_use().peak - before.in_use;
    };
    if (memory_use().reserved == 0) GTEST_SKIP() << "the pool steps aside under the address sanitizer";
    EXPECT_LT(peak_of(false), 6 * 8192) << "gradients take the place of freed values";
}

TEST(TapeLifetime, FrontCanBeDroppedWhileTheRestLivesOn) {
    Model m;
    Tape<double> tape;
    const Var<double> old = linear<double>(kInput, m.w, m.b);
    const Index position = tape.position();
    const Var<double> young = linear<double>(kInput, m.w, m.b);
    tape.drop_before(position);
    EXPECT_EQ(tape.node_count(), 1);
    tape.backward(sum(young * 2.0));
    const Tensor<double> g = m.b.gradient();
    EXPECT_EQ(g, values({2}, {8, 8}));
    (void)old;
}

TEST(TapeLifetime, ValuesOfADroppedFrontAreConstantsForWhatFollowed) {
    ParameterStore<double> store(3);
    const Scope<double> at(store);
    const auto draw = [](std::span<double> v, const Shape&, RandomStream& random) {
        for (double& x : v) x = random.normal();
    };
    const auto w = at.parameter("w", {2, 2}, draw);
    const Var<double> x(values({1, 2}, {.3, -.4})), gain(values({2}, {2, 3}));
    const auto run = [&](bool dropped) {
        store.zero_grad();
        Tape<double> tape;
        Var<double> h = tanh(matmul<double>(x, w));
        Var<double> c = sigmoid(h * 2.0);
        const Index position = tape.position();
        if (!dropped) h = h.detach(), c = c.detach();
        // Operands that were dropped beside some that were not, and alone.
        const Var<double> alone = tanh(h) * gain + matmul<double>(c, values({2, 2}, {1, 2, 3, 4}));
        const Var<double> y = pointwise([](auto a, auto b, auto p) { return tanh(a * b) + a * p; }, h, c, w);
        const Var<double> z = concat<double>({matmul<double>(h, w), c, alone}, 0);
        const Var<double> loss =
            sum(y * y) + sum(z * z) + sum(layer_norm<double>(h, Var<double>(), Var<double>(), 1e-5));
        if (dropped) tape.drop_before(position);
        tape.backward(loss);
        return w.gradient();
    };
    const Tensor<double> expected(run(false)), got(run(true));
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got.data()[i], expected.data()[i], 1e-14);
}

/// One step of gradient descent.
void step(Model& m) {
    m.store.gradients().zero();
    for (const auto& p : {m.w, m.b}) p.mutable_value() *= 0.9;
}

TEST(TapeLifetime, ParametersMayChangeOnceWhatUsedThemIsDropped) {
    for (const bool frozen : {false, true}) {
        Model m;
        m.w.freeze(frozen);
        const Var<double> x = kInput.detach();
        Tape<double> tape;
        tape.watch(x);
        for (int window = 0; window < 4; ++window) {
            m.store.zero_grad();
            const Var<double> loss = m.loss(x) + sum(x * sum(m.w.detach()));
            tape.backward(loss, {.keep = true});
            Model same;
            for (int i = 0; i < window; ++i) step(same);
            Tape<double> other;
            other.backward(same.loss(kInput));
            EXPECT_EQ(m.b.gradient(), same.b.gradient());
            step(m);
            EXPECT_THROW(tape.backward(loss), UsageError) << "what used it is still there";
            tape.drop_before(tape.position());
        }
    }
}

TEST(TapeLifetime, OfAWindowThatSlidesTheFrontMayBeOfOlderParameters) {
    Model m;
    const Var<double> x = kInput.detach();
    Tape<double> tape;
    tape.watch(x);
    for (const bool frozen : {false, true}) {
        m.w.freeze(frozen);
        const Index begin = tape.position();
        const Var<double> old = m.loss(x) + m.loss(x);
        step(m);
        const Index middle = tape.position();
        const Var<double> young = m.loss(x);
        EXPECT_THROW(tape.backward(young, {.keep = true}), UsageError);
        tape.drop_before((begin + middle) / 2);
        EXPECT_THROW(tape.backward(young, {.keep = true}), UsageError);
        tape.drop_before(middle);
        EXPECT_NO_THROW(tape.backward(young, {.keep = true}));
        step(m);
        EXPECT_THROW(tape.backward(young, {.keep = true}), UsageError);
    }
}

TEST(TapeLifetime, ParametersMayChangeOnceWhatUsedThemIsTakenBack) {
    for (const bool frozen : {false, true}) {
        Model m;
        m.w.freeze(frozen);
        const Var<double> x = kInput.detach();
        Tape<double> tape;
        tape.watch(x);
        const Var<double> before = sum(x * 2.0);
        const Index position = tape.position();
        m.loss(x);
        tape.drop_from(position);
        step(m);
        EXPECT_NO_THROW(tape.backward(before, {.keep = true}));
        const Var<double> loss = m.loss(x);
        const Index end = tape.position();
        m.loss(x);
        tape.drop_from(end);
        EXPECT_NO_THROW(tape.backward(loss, {.keep = true}));
        step(m);
        EXPECT_THROW(tape.backward(loss), UsageError);
    }
}

TEST(TapeLifetime, ACheckpointThatRunsAgainMayBeDroppedToo) {
    Model m;
    m.w.freeze();
    const Var<double> x = kInput.detach();
    Tape<double> tape;
    tape.watch(x);
    for (int window = 0; window < 3; ++window) {
        const Var<double> loss =
            checkpoint<double>([&](std::span<const Var<double>> in) { return Vars<double>{m.loss(in[0])}; }, {x})[0];
        tape.backward(loss, {.keep = true});
        step(m);
        EXPECT_THROW(tape.backward(loss, {.keep = true}), UsageError);
        tape.drop_before(tape.position());
    }
}

TEST(TapeLifetime, MayFallInAnyOrder) {
    const Var<double> x(values({1}, {2}));
    std::unique_ptr<Tape<double>> tape;
    for (int i = 0; i < 3; ++i) {
        tape = std::make_unique<Tape<double>>();  // the new one is made before the old one falls
        tape->watch(x);
        tape->backward(sum(x * x));
        EXPECT_EQ(tape->gradient(x), values({1}, {4}));
    }
    tape.reset();
    EXPECT_EQ(Tape<double>::current(), nullptr);
}

}  // namespace
}  // namespace unroll
