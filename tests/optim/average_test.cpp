// The moving average of weights: its formula, exchange with the weights, state, and calls in a wrong order.
#include "support.hpp"

#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/io/state_dict.hpp>
#include <unroll/optim/average.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace unroll::test {
namespace {

using testing::HasSubstr;

/// Weights w_n = 1/(n + i + 1) in step n.
template <class Real>
void set_weights(ParameterStore<Real>& store, int n) {
    Index k = 0;
    for (auto* entry : store.entries())
        for (Index i = 0; i < entry->shape.size(); ++i, ++k)
            entry->value->data[i] = Real(1) / Real(static_cast<double>(n + 1 + k));
}

template <class Real>
void expect_formula(double tolerance) {
    const auto store = make_store<Real>({{"a", Shape{5}}, {"b", Shape{3, 30}}});
    ExponentialMovingAverage<Real> average(*store, {.decay = 0.9});
    std::vector<double> expected;
    for (int n = 0; n < 20; ++n) {
        set_weights(*store, n);
        const std::vector<double> weights = values_of(*store);
        average.update();
        if (n == 0) expected = weights;
        for (std::size_t i = 0; i < weights.size(); ++i) expected[i] = 0.9 * expected[i] + 0.1 * weights[i];
    }
    EXPECT_EQ(average.n_averaged(), 20);
    const std::vector<double> weights = values_of(*store);
    average.swap_in();
    EXPECT_THAT(values_of(*store), testing::Pointwise(testing::DoubleNear(tolerance), expected));
    average.swap_out();
    EXPECT_EQ(values_of(*store), weights);
}

TEST(Average, FormulaInEveryNumberTypeAndInstructionSet) {
    expect_formula<double>(1e-15);
    expect_formula<Dual<double>>(1e-15);
    const detail::Isa before = detail::active_isa();
    for (const detail::Isa isa : {detail::Isa::baseline, detail::Isa::avx2, detail::Isa::avx512})
        if (detail::isa_available(isa)) {
            detail::set_isa(isa);
            expect_formula<float>(4 * std::numeric_limits<float>::epsilon());
        }
    detail::set_isa(before);
}

TEST(Average, AveragedWeightsStandForAScopeAndCountAsAChange) {
    const auto store = make_store<float>({{"a", Shape{5}}});
    ExponentialMovingAverage<float> average(*store, {.decay = 0.5});
    set_weights(*store, 0);
    average.update();
    const std::vector<double> first = values_of(*store);
    set_weights(*store, 3);
    const std::vector<double> second = values_of(*store);
    const std::uint64_t version = store->entries()[0]->version->number;
    {
        const AveragedWeights evaluation(average);
        EXPECT_TRUE(average.swapped_in());
        EXPECT_EQ(values_of(*store), first);
        EXPECT_EQ(store->entries()[0]->version->number, version + 1);
    }
    EXPECT_FALSE(average.swapped_in());
    EXPECT_EQ(values_of(*store), second);
    EXPECT_EQ(store->entries()[0]->version->number, version + 2);
}

TEST(Average, MayBeSwappedOutWithinTheirScope) {
    const auto store = make_store<double>({{"a", Shape{2}}});
    ExponentialMovingAverage<double> average(*store, {.decay = 0.5});
    average.update();
    set_weights(*store, 3);
    const std::vector<double> weights = values_of(*store);
    {
        const AveragedWeights evaluation(average);
        EXPECT_NE(values_of(*store), weights);
        average.swap_out();
    }
    EXPECT_FALSE(average.swapped_in());
    EXPECT_EQ(values_of(*store), weights);
}

TEST(Average, ResumedAveragesHaveTheSameBits) {
    const auto run = [](int from, int to, ExponentialMovingAverage<float>& average, ParameterStore<float>& store) {
        for (int n = from; n < to; ++n) {
            set_weights(store, n);
            average.update();
        }
    };
    const std::vector<std::pair<std::string, Shape>> shapes{{"a", Shape{5}}, {"b", Shape{3, 30}}};
    const auto whole = make_store<float>(shapes), first = make_store<float>(shapes), second = make_store<float>(shapes);
    ExponentialMovingAverage<float> all(*whole), before(*first), after(*second);
    EXPECT_EQ(before.state_dict().size(), 1u);  // no average yet
    after.load_state_dict(before.state_dict());
    run(0, 100, all, *whole);
    run(0, 50, before, *first);
    after.load_state_dict(before.state_dict());
    run(50, 100, after, *second);
    EXPECT_EQ(after.state_dict(), all.state_dict());
    EXPECT_EQ(after.n_averaged(), 100);
    EXPECT_TRUE(after.state_dict().contains("b.average"));
}

TEST(Average, StatesOfOthersChangeNothingAndSayWhy) {
    const auto store = make_store<float>({{"a", Shape{5}}, {"b", Shape{2}}});
    ExponentialMovingAverage<float> average(*store);
    average.update();
    const StateDict good = average.state_dict();
    const auto refused = [&](const StateDict& state) {
        std::string message = "no error";
        try {
            average.load_state_dict(state);
        } catch (const Error& error) {
            message = error.what();
        }
        EXPECT_EQ(average.state_dict(), good);
        return message;
    };
    EXPECT_THAT(refused(StateDict{}), HasSubstr("there is no entry \"n_averaged\""));
    EXPECT_THAT(refused(good.without("b.average")), HasSubstr("there is no entry \"b.average\""));
    StateDict more = good;
    more.put_scalar("c.average", 1.0f);
    EXPECT_THAT(refused(more), HasSubstr("the state has 4 entries where this store has 3"));
    StateDict shape = good.without("b.average");
    shape.put("b.average", full<float>(Shape{3}, 1.0f));
    EXPECT_THAT(refused(shape), HasSubstr("\"b.average\" must have the shape (2,)"));
    StateDict count = good.without("n_averaged");
    count.put_scalar<std::int64_t>("n_averaged", -1);
    EXPECT_THAT(refused(count), HasSubstr("n_averaged must be 0 or more"));
}

TEST(Average, WrongOrderAndOptionsAreRefused) {
    const auto store = make_store<float>({{"a", Shape{5}}});
    for (const double decay : {1.0, -0.1, std::numeric_limits<double>::quiet_NaN()})
        EXPECT_THAT(error_message<ValueError>([&] { ExponentialMovingAverage<float>(*store, {.decay = decay}); }),
                    HasSubstr("[ExponentialMovingAverage] decay must be in [0, 1)"));
    ExponentialMovingAverage<float> average(*store);
    EXPECT_THAT(error_message<UsageError>([&] { average.swap_in(); }),
                HasSubstr("no average before the first update()"));
    EXPECT_THAT(error_message<UsageError>([&] { average.swap_out(); }), HasSubstr("not swapped in"));
    average.update();
    average.swap_in();
    EXPECT_THAT(error_message<UsageError>([&] { average.update(); }), HasSubstr("swap_out() before update()"));
    EXPECT_THAT(error_message<UsageError>([&] { average.swap_in(); }),
                HasSubstr("swap_out() before another swap_in()"));
    EXPECT_THAT(error_message<UsageError>([&] { average.state_dict(); }), HasSubstr("swap_out() before saving"));
    EXPECT_THAT(error_message<UsageError>([&] { average.load_state_dict({}); }),
                HasSubstr("swap_out() before loading"));
    average.swap_out();
    Scope<float> at(*store);
    at.parameter("late", Shape{2}, [](std::span<float>, const Shape&, RandomStream&) {});
    EXPECT_THAT(error_message<UsageError>([&] { average.update(); }), HasSubstr("parameters were added to the store"));
    EXPECT_THROW(average.swap_in(), UsageError);
}

}  // namespace
}  // namespace unroll::test
