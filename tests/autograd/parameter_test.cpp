// Parameters and the tape: ties, watched parameters, hooks, frozen ones that change, stores beside each other.
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/parallel.hpp>
#include <unroll/autograd/parameter.hpp>

#include <unroll/tests/support/error_message.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace unroll {
namespace {

using test::error_message;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Initializer<double> constant(double value) {
    return [value](std::span<double> v, const Shape&, RandomStream&) { std::fill(v.begin(), v.end(), value); };
}
std::vector<double> list(const Tensor<double>& tensor) { return {tensor.begin(), tensor.end()}; }
Var<double> numbers(std::initializer_list<double> values) {
    Tensor<double> tensor = empty<double>({static_cast<Index>(values.size())});
    std::copy(values.begin(), values.end(), tensor.data());
    return Var<double>(std::move(tensor));
}

// ---- Ties ----

TEST(Tie, EveryHandleStandsForOneValueAndOneGradient) {
    ParameterStore<double> store;
    const Scope<double> at(store);
    const auto first = at.parameter("first", {2}, constant(1));
    const auto a = at.parameter("a", {2}, constant(2));
    const auto b = at.parameter("b", {2}, constant(3));
    const auto last = at.parameter("last", {2}, constant(4));
    const auto returned = store.tie("a", "b");
    EXPECT_EQ(store.entries().size(), 3u);
    EXPECT_EQ(store.parameter_count(), 6);
    at.parameter("later", {100}, constant(0));  // the block grows and moves
    Tape<double> tape;
    tape.backward(sum(a * 2.0 + b * 10.0 + returned * 100.0 + store.at("a") * 1000.0 + first * 5.0 + last * 7.0));
    for (const auto& handle : {a, b, returned, store.at("a"), store.at("b")}) {
        EXPECT_EQ(handle.name(), "b");
        EXPECT_THAT(list(handle.value()), ElementsAre(3, 3));
        EXPECT_THAT(list(handle.gradient()), ElementsAre(1112, 1112));
    }
    EXPECT_THAT(list(first.gradient()), ElementsAre(5, 5));
    EXPECT_THAT(list(last.gradient()), ElementsAre(7, 7));
    a.mutable_value().fill(9);
    EXPECT_THAT(list(b.value()), ElementsAre(9, 9));
    a.freeze();
    EXPECT_TRUE(b.entry().frozen);
}

TEST(Tie, ComesAfterABackwardAsWell) {
    ParameterStore<double> store;
    const Scope<double> at(store);
    const auto a = at.parameter("a", {2}, constant(2));
    const auto b = at.parameter("b", {2}, constant(3));
    const auto c = at.parameter("c", {2}, constant(4));
    {
        Tape<double> tape;
        tape.backward(sum(a * 1.0 + b * 2.0 + c * 3.0));
    }
    store.tie("a", "b");
    const auto sweep = [&] {
        store.zero_grad();
        Tape<double> tape;
        tape.backward(sum(a * 1.0 + b * 2.0 + c * 3.0));
    };
    for (int i = 0; i < 2; ++i) {
        sweep();
        EXPECT_THAT(list(b.gradient()), ElementsAre(3, 3));
        EXPECT_THAT(list(c.gradient()), ElementsAre(3, 3));
    }
    store.tie("b", "c");  // a, b and c are one now
    sweep();
    for (const auto& handle : {a, b, c}) EXPECT_THAT(list(handle.gradient()), ElementsAre(6, 6));
}

TEST(Tie, RefusesAnotherLayoutAndWhatWasRecordedBefore) {
    ParameterStore<double> store;
    const Scope<double> at(store);
    at.parameter("embed", {4, 3}, constant(1));
    const auto head = at.parameter("head", {4, 3}, constant(1), true);
    EXPECT_THAT(error_message<ShapeError>([&] { store.tie("head", "embed"); }),
                HasSubstr("linear(x, weight, bias, true)"));
    at.parameter("other", {4, 3}, constant(1), true);
    Tape<double> tape;
    const auto loss = sum(head * head);
    store.tie("head", "other");
    EXPECT_THAT(error_message<UsageError>([&] { tape.backward(loss); }), HasSubstr("was changed"));
}

// ---- Watched parameters ----

TEST(WatchedParameter, HasTheGradientOfItsOwnSweepAlone) {
    ParameterStore<double> store;
    const auto w = Scope<double>(store).parameter("w", {2}, constant(1));
    {
        Tape<double> tape;
        tape.backward(sum(w * 3.0));
    }
    for (const bool rows : {true, false}) {
        Tape<double> tape;
        tape.watch(w);
        tape.backward(rows ? sum(index_select<double>(w, 0, IntTensor{0})) : sum(w * numbers({1, 0})));
        EXPECT_THAT(list(tape.gradient(w)), ElementsAre(1, 0));
        store.gradients().scale_by(0.5);
        {
            Tape<double> next;
            next.backward(sum(w * 8.0));
        }
        EXPECT_THAT(list(tape.gradient(w)), ElementsAre(1, 0));
    }
    EXPECT_THAT(list(w.gradient()), ElementsAre((((3 + 1) * 0.5 + 8) + 1) * 0.5 + 8, ((3 * 0.5 + 8) + 0) * 0.5 + 8));
}

TEST(WatchedParameter, WithoutAGradientIsZero) {
    ParameterStore<double> store;
    const auto w = Scope<double>(store).parameter("w", {2}, constant(1));
    const auto v = Scope<double>(store).parameter("v", {2}, constant(1));
    {
        Tape<double> tape;
        tape.backward(sum(w * 3.0 + v));
    }
    Tape<double> tape;
    tape.watch(w);
    tape.backward(sum(v));
    EXPECT_THAT(list(tape.gradient(w)), ElementsAre(0, 0));
    EXPECT_THAT(list(w.gradient()), ElementsAre(3, 3));
}

// ---- Initial values ----

TEST(Parameter, AnInitialiserThatThrowsLeavesNothingBehind) {
    ParameterStore<double> store;
    const Scope<double> at(store);
    EXPECT_THROW(at.parameter("w", {5}, [](std::span<double>, const Shape&, RandomStream&) { throw ValueError("no"); }),
                 ValueError);
    EXPECT_EQ(store.parameter_count(), 0);
    EXPECT_FALSE(store.contains("w"));
    at.parameter("w", {5}, constant(2));
    EXPECT_THROW(at.parameter("w", {5}, constant(3)), UsageError);
    EXPECT_THAT(list(store.at("w").value()), ElementsAre(2, 2, 2, 2, 2));
}

// ---- Gradients written by hand ----

TEST(Gradient, WrittenByHandCountsAndWhatArrivesIsAdded) {
    ParameterStore<double> store;
    const Scope<double> at(store);
    const auto table = at.parameter("table", {1000, 2}, constant(1));
    const auto w = at.parameter("w", {2}, constant(1));
    EXPECT_THAT(list(w.gradient()), ElementsAre(0, 0));
    EXPECT_FALSE(store.gradients().has(w.entry())) << "a look is no gradient";
    w.mutable_gradient().fill(3);
    table.mutable_gradient()(7, 1) = 5;
    EXPECT_TRUE(store.gradients().has(w.entry()));
    {
        Tape<double> tape;
        tape.backward(sum(embedding<double>(table, IntTensor{7, 8}) * 10.0) + sum(w));
    }
    EXPECT_THAT(list(w.gradient()), ElementsAre(4, 4));
    const Tensor<double> g = table.gradient();
    EXPECT_EQ(g(7, 0), 10);
    EXPECT_EQ(g(7, 1), 15);
    EXPECT_EQ(g(8, 1), 10);
    store.zero_grad();
    table.gradient()(7, 1) = 5;  // not counted as arrived, but not lost either
    EXPECT_FALSE(store.gradients().has(table.entry()));
    Tape<double> tape;
    tape.backward(sum(embedding<double>(table, IntTensor{8})));
    EXPECT_EQ(table.gradient()(7, 1), 5);
    EXPECT_EQ(table.gradient()(8, 1), 1);
    EXPECT_EQ(table.gradient()(9, 1), 0);
}

TEST(Gradient, OfAWeightThatMetNoRowsIsZero) {
    ParameterStore<double> store;
    const Scope<double> at(store);
    const auto w = at.parameter("w", {3, 2}, constant(1)), b = at.parameter("b", {2}, constant(1)),
               table = at.parameter("table", {5, 2}, constant(1));
    {
        Tape<double> tape;
        const Var<double> none(zeros<double>({0, 3}));
        tape.backward(sum(linear<double>(none, w, b)) + sum(embedding<double>(table, IntTensor::from_shape({0}))));
    }
    for (const auto& parameter : {w, b, table}) {
        EXPECT_TRUE(store.gradients().has(parameter.entry())) << parameter.name();
        for (const double g : parameter.gradient()) EXPECT_EQ(g, 0);
    }
}

// ---- Hooks ----

TEST(ParameterHook, DoesNotRunWhereNoGradientArrives) {
    ParameterStore<double> store;
    const Scope<double> at(store);
    const auto used = at.parameter("used", {1}, constant(1)), other = at.parameter("other", {1}, constant(1));
    int runs = 0;
    other.hook([&](Tensor<double>&) { ++runs; });
    Tape<double> tape;
    const auto head = other * 2.0;  // on the tape, and not in the loss
    tape.backward(sum(used * 3.0));
    EXPECT_EQ(runs, 0);
    EXPECT_FALSE(store.gradients().has(other.entry()));
    (void)head;
}

TEST(ParameterHook, RunsWithNothingBeingRecordedAndMayAddAnother) {
    ParameterStore<double> store;
    const auto w = Scope<double>(store).parameter("w", {2}, constant(2));
    int later = 0;
    w.hook([&](Tensor<double>& gradient) {
        EXPECT_EQ(Tape<double>::current(), nullptr);
        EXPECT_EQ(sum(w * w).item(), 8);
        if (later == 0) w.hook([&](Tensor<double>&) { ++later; });
        gradient.fill(5);
    });
    Tape<double> tape;
    tape.backward(sum(w * w));
    EXPECT_EQ(later, 1);
    EXPECT_THAT(list(w.gradient()), ElementsAre(5, 5));
}

// ---- Frozen ones ----

TEST(FrozenParameter, ChangedBetweenForwardAndBackwardIsCaught) {
    ParameterStore<double> store;
    const auto w = Scope<double>(store).parameter("w", {2}, constant(2));
    w.freeze();
    const Var<double> x = numbers({1, 1});
    {
        Tape<double> tape;
        tape.watch(x);
        const auto y = sum(x * w);
        w.mutable_value().fill(5);
        EXPECT_THAT(error_message<UsageError>([&] { tape.backward(y); }), HasSubstr("the parameter w was changed"));
    }
    Tape<double> tape;
    tape.watch(x);
    const auto y = sum(x + w);  // backward does not read it
    w.mutable_value().fill(6);
    tape.backward(y);
    EXPECT_THAT(list(tape.gradient(x)), ElementsAre(1, 1));
}

// ---- Stores beside each other ----

TEST(BackwardInto, NeedsGradientsForEveryStore) {
    ParameterStore<double> a(1), b(2);
    const auto u = Scope<double>(a).parameter("u", {1}, constant(1)),
               v = Scope<double>(b).parameter("v", {1}, constant(1));
    DataParallel<double> parallel(a);
    EXPECT_THAT(error_message<UsageError>(
                    [&] { parallel.backward(64, [&](Shard s) { return sum(u * v) * double(s.end - s.begin); }); }),
                HasSubstr("v belongs to a store for which no gradients were given"));
    Gradients<double> of_a(a), of_b(b);
    Gradients<double>* const both[] = {&of_a, &of_b};
    Tape<double> tape;
    tape.backward_into(sum(u * v * 3.0), both);
    EXPECT_EQ(of_a.data(u.entry())[0], 3);
    EXPECT_EQ(of_b.data(v.entry())[0], 3);
}

}  // namespace
}  // namespace unroll
