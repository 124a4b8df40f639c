// The gradient checker itself: right rules pass, and each kind of wrong one fails where it is wrong.
#include <unroll/autograd/gradcheck.hpp>
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/autograd/ops.hpp>

#include "../support/error_message.hpp"
#include "../support/random_tensor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cmath>

namespace unroll {
namespace {

using test::error_message;
using test::random_tensor;
using testing::HasSubstr;

enum class Defect { none, factor, slight_factor, missing_term, overwrites, not_reduced, nan, writes_input, dual_value };

/// y = a²·b + a with a (M, N) and b (N) broadcast over the rows; ga = gy·(2·a·b + 1), gb = the sum over rows of gy·a².
/// With a defect, one thing about it is wrong.
template <class Real>
struct Sample {
    static constexpr std::string_view name = "sample";
    Defect defect;

    void infer(Shapes& s) const {
        s.require(s.in(0).rank() == 2 && s.in(1).rank() == 1 && s.in(0)[1] == s.in(1)[0],
                  "a (M, N) and b (N) are needed");
        s.output(s.in(0));
    }
    void forward(Forward<Real>& f) const {
        const Index n = f.in(1).size;
        for (Index i = 0; i < f.in(0).size; ++i) {
            const Real a = f.in(0)[i];
            f.out(0)[i] = a * a * f.in(1)[i % n] + a;
        }
        if (defect == Defect::writes_input) const_cast<Real*>(f.in(0).data)[0] *= 2;
        if constexpr (std::is_same_v<Real, Dual<double>>)
            if (defect == Defect::dual_value) f.out(0)[0].value += 1e-9;
        f.save_in(0);
        f.save_in(1);
    }
    void backward(Backward<Real>& b) const {
        const Index n = b.in(1).size, m = n == 0 ? 0 : b.in(0).size / n;
        const double factor = defect == Defect::factor ? 1.001 : defect == Defect::slight_factor ? 1 + 1e-10 : 1;
        if (b.needs(0)) {
            const auto ga = b.grad(0);
            for (Index i = 0; i < ga.size; ++i) {
                const Real slope =
                    factor * (2 * b.in(0)[i] * b.in(1)[i % n]) + (defect == Defect::missing_term ? 0 : 1);
                if (defect == Defect::overwrites)
                    ga.data[i] = b.gout(0)[i] * slope;
                else
                    ga.add(i, b.gout(0)[i] * slope);
                if (defect == Defect::nan && i == 3) ga.data[i] = std::nan("");
            }
        }
        if (b.needs(1)) {
            const auto gb = b.grad(1);
            for (Index j = 0; j < n; ++j) {
                Real sum = 0;
                for (Index i = 0; i < (defect == Defect::not_reduced ? 1 : m); ++i) {
                    const Real a = b.in(0)[i * n + j];
                    sum += b.gout(0)[i * n + j] * a * a;
                }
                gb.add(j, sum);
            }
        }
    }
};

GradcheckResult check_sample(Defect defect, const GradcheckOptions& options = {}) {
    return gradcheck(
        options,
        [defect](auto a, auto b) {
            using Real = typename decltype(a)::value_type;
            return apply(Sample<Real>{defect}, a, b);
        },
        CheckInput{random_tensor({3, 4}, 1), "a"}, CheckInput{random_tensor({4}, 2), "b"});
}

/// The check of an operand, or nothing.
const GradcheckComparison* find(const GradcheckResult& result, std::string_view check, std::string_view operand) {
    for (const GradcheckComparison& c : result.comparisons)
        if (c.check == check && c.operand == operand) return &c;
    return nullptr;
}
bool fails(const GradcheckResult& result, std::string_view check, std::string_view operand) {
    const GradcheckComparison* c = find(result, check, operand);
    return c && !c->passed();
}
bool has_problem(const GradcheckResult& result, std::string_view words) {
    for (const std::string& problem : result.problems)
        if (problem.find(words) != std::string::npos) return true;
    return false;
}

TEST(Gradcheck, RightRulePasses) {
    const GradcheckResult result = check_sample(Defect::none, {.second_order = true});
    EXPECT_TRUE(result) << to_string(result);
    for (const char* operand : {"a", "b"})
        for (const char* check : {"differences", "dual numbers", "second order", "gradient in dual numbers"}) {
            const GradcheckComparison* c = find(result, check, operand);
            ASSERT_TRUE(c) << check << " " << operand;
            EXPECT_EQ(c->entries, operand[0] == 'a' ? 12 : 4);
        }
    EXPECT_LT(find(result, "differences", "a")->error, 1e-10);
    EXPECT_LT(find(result, "dual numbers", "a")->error, 1e-14);
    EXPECT_LT(find(result, "adjoint identity", "all operands")->error, 1e-14);
}

TEST(Gradcheck, RuleOffByATenthOfAPercentFails) {
    const GradcheckResult result = check_sample(Defect::factor);
    EXPECT_FALSE(result);
    EXPECT_TRUE(fails(result, "differences", "a"));
    EXPECT_TRUE(fails(result, "dual numbers", "a"));
    EXPECT_TRUE(fails(result, "adjoint identity", "all operands"));
    EXPECT_FALSE(fails(result, "differences", "b"));
    EXPECT_EQ(result.worst().operand, "a");
    EXPECT_NEAR(result.worst().analytic / result.worst().numeric, 1, 2e-3);
    EXPECT_FALSE(check_sample(Defect::factor, {.check_dual = false}));
    EXPECT_FALSE(check_sample(Defect::factor, {.check_differences = false}));
}

/// y = x² + 1e9, with a gradient that is wrong by a millionth.
template <class Real>
struct FarFromZero {
    static constexpr std::string_view name = "far_from_zero";

    void infer(Shapes& s) const { s.output(s.in(0)); }
    void forward(Forward<Real>& f) const {
        for (Index i = 0; i < f.in(0).size; ++i) f.out(0)[i] = f.in(0)[i] * f.in(0)[i] + 1e9;
        f.save_in(0);
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        for (Index i = 0; i < gx.size; ++i) gx.add(i, b.gout(0)[i] * (2 * (1 + 1e-6)) * b.in(0)[i]);
    }
};

// The values' rounding, 1e-7, is none of the derivatives'.
TEST(Gradcheck, LargeValuesDoNotHideAWrongDerivativeFromDualNumbers) {
    const auto far = [](auto x) {
        using Real = typename decltype(x)::value_type;
        return apply(FarFromZero<Real>{}, x);
    };
    const GradcheckResult result = gradcheck(far, random_tensor({3, 4}, 1));
    std::size_t failed = 0;
    for (const GradcheckComparison& c : result.comparisons) {
        if (c.check != "dual numbers" && c.check != "adjoint identity") continue;
        EXPECT_GT(c.error, 1e-8) << c.check;
        ++failed;
    }
    EXPECT_EQ(failed, 2u);
}

TEST(Gradcheck, DualNumbersSeeWhatDifferencesCannot) {
    const GradcheckResult result = check_sample(Defect::slight_factor);
    EXPECT_FALSE(fails(result, "differences", "a"));
    EXPECT_TRUE(fails(result, "dual numbers", "a"));
    EXPECT_TRUE(check_sample(Defect::slight_factor, {.dual_bar = 1e-9, .adjoint_bar = 1e-9}));
}

TEST(Gradcheck, MissingTermFails) {
    const GradcheckResult result = check_sample(Defect::missing_term);
    EXPECT_TRUE(fails(result, "differences", "a"));
    EXPECT_TRUE(fails(result, "dual numbers", "a"));
}

TEST(Gradcheck, ForgottenAccumulationFailsThoughEachInputIsUsedOnce) {
    const GradcheckResult result = check_sample(Defect::overwrites);
    EXPECT_TRUE(fails(result, "accumulation", "a"));
    EXPECT_FALSE(fails(result, "differences", "a"));
}

TEST(Gradcheck, ForgottenAccumulationFailsWhereAVariableIsUsedTwice) {
    for (const Defect defect : {Defect::overwrites, Defect::none}) {
        const GradcheckResult result = gradcheck(
            [defect](auto a, auto b) {
                using Real = typename decltype(a)::value_type;
                auto twice = apply(Sample<Real>{Defect::none}, a, b);
                return std::pair{apply(Sample<Real>{defect}, a, b), twice};
            },
            random_tensor({2, 3}, 3), random_tensor({3}, 4));
        EXPECT_EQ(fails(result, "differences", "input 0"), false) << "the first op to be swept writes";
        EXPECT_EQ(result.passed(), defect == Defect::none);
        const GradcheckResult reversed = gradcheck(
            [defect](auto a, auto b) {
                using Real = typename decltype(a)::value_type;
                auto first = apply(Sample<Real>{defect}, a, b);
                return std::pair{apply(Sample<Real>{Defect::none}, a, b), first};
            },
            random_tensor({2, 3}, 3), random_tensor({3}, 4));
        EXPECT_EQ(fails(reversed, "differences", "input 0"), defect == Defect::overwrites);
    }
}

TEST(Gradcheck, WrongUnbroadcastingFails) {
    const GradcheckResult result = check_sample(Defect::not_reduced);
    EXPECT_TRUE(fails(result, "differences", "b"));
    EXPECT_TRUE(fails(result, "dual numbers", "b"));
    EXPECT_FALSE(fails(result, "differences", "a"));
}

TEST(Gradcheck, NanInAGradientFails) {
    const GradcheckResult result = check_sample(Defect::nan);
    EXPECT_FALSE(result);
    EXPECT_TRUE(fails(result, "differences", "a"));
    EXPECT_EQ(find(result, "differences", "a")->entry, 3);
}

TEST(Gradcheck, OpThatWritesIntoItsInputFails) {
    EXPECT_TRUE(has_problem(check_sample(Defect::writes_input), "changed the elements of an input"));
}

TEST(Gradcheck, OtherValuesInDualNumbersFail) {
    EXPECT_TRUE(fails(check_sample(Defect::dual_value), "values in dual numbers", "output 0"));
}

TEST(Gradcheck, EmptyComparisonsFail) {
    const auto both = [](auto a, auto b) { return a * b; };
    // No entries at all, or none in one operand.
    EXPECT_TRUE(has_problem(gradcheck(both, zeros<double>({0, 2}), zeros<double>({0, 2})), "nothing was compared"));
    EXPECT_TRUE(has_problem(gradcheck(
                                [](auto a, auto b) {
                                    return std::pair{a * 2, b * 3};
                                },
                                random_tensor({2}, 1), zeros<double>({0})),
                            "nothing was compared for input 1: it has no entries"));
    // Nothing to check.
    EXPECT_TRUE(has_problem(gradcheck(both, CheckInput{.value = random_tensor({2}, 1), .differentiate = false}, 2.0),
                            "nothing was compared"));
    EXPECT_TRUE(has_problem(gradcheck({.check_differences = false, .check_dual = false}, both, random_tensor({2}, 1),
                                      random_tensor({2}, 2)),
                            "nothing was compared"));
    // No gradient path.
    EXPECT_TRUE(
        has_problem(gradcheck([](auto a) { return a.detach() * 2; }, random_tensor({2}, 1)), "no gradient path"));
    // An operand without influence.
    const GradcheckResult unused =
        gradcheck([](auto a, auto) { return a * 2; }, random_tensor({2}, 1), random_tensor({3}, 2));
    EXPECT_TRUE(has_problem(unused, "nothing was compared for input 1"));
    EXPECT_TRUE(gradcheck(
        {.allow_empty = true}, [](auto a, auto) { return a * 2; }, random_tensor({2}, 1), random_tensor({3}, 2)));
    EXPECT_TRUE(gradcheck({.allow_empty = true}, both, zeros<double>({0, 2}), zeros<double>({0, 2})));
    // What came out empty is no pass either.
    EXPECT_FALSE(GradcheckResult{});
    EXPECT_THAT(error_message<UsageError>([] { GradcheckResult{}.worst(); }), HasSubstr("nothing was compared"));
}

TEST(Gradcheck, InfluenceThatBackwardDoesNotKnowFails) {
    const GradcheckResult result = gradcheck([](auto a) { return a * a.detach(); }, random_tensor({3}, 5));
    EXPECT_TRUE(fails(result, "differences", "input 0"));
    EXPECT_TRUE(fails(result, "dual numbers", "input 0"));
    // One of two outputs is cut off.
    EXPECT_FALSE(gradcheck([](auto a) { return std::pair{a * 2, a.detach() * 3}; }, random_tensor({3}, 5)));
}

TEST(Gradcheck, FunctionThatChangesFromCallToCallFails) {
    double offset = 0;
    const GradcheckResult result = gradcheck([&](auto a) { return a * a + (offset += 1); }, random_tensor({3}, 5));
    EXPECT_TRUE(fails(result, "values, a second call", "output 0"));
}

TEST(Gradcheck, OtherArgumentsArriveUntouchedAndFresh) {
    const IntTensor tokens = {2, 0, 2};
    RandomStream random(7, "drops");
    const GradcheckResult result = gradcheck(
        [&](auto a, IntTensor& index, RandomStream& stream, const std::string& word) {
            EXPECT_EQ(index, tokens);
            EXPECT_EQ(stream.counter(), random.counter());
            EXPECT_EQ(word, "word");
            index(0) = 5;
            return a * (stream.uniform() < 2 ? 3.0 : 0.0);
        },
        random_tensor({2, 2}, 6), tokens, random, std::string("word"));
    EXPECT_TRUE(result) << to_string(result);
}

TEST(Gradcheck, AnyExpressionIsAnInput) {
    const xt::xarray<double> x = {{1.5, -2.0}, {0.5, 3.0}};
    const xt::xarray<float> w = {0.25f, -1.0f};
    const GradcheckResult result = gradcheck([](auto a, auto b) { return a * b; }, 2.0 * x, w);
    EXPECT_TRUE(result) << to_string(result);
    EXPECT_EQ(result.comparisons[0].shape, Shape({2, 2}));
}

TEST(Gradcheck, OutputsMayBeTuplesAndRangesOfVars) {
    const GradcheckResult result = gradcheck(
        [](auto a, auto b) {
            using Real = typename decltype(a)::value_type;
            auto first = apply(Sample<Real>{Defect::none}, a, b);
            return std::tuple{first, first * a, std::vector{a * 2, a * 3}};
        },
        random_tensor({2, 3}, 3), random_tensor({3}, 4));
    EXPECT_TRUE(result) << to_string(result);
}

/// (x, 2x); its backward assumes that both gradients arrive.
template <class Real>
struct CarelessPair {
    static constexpr std::string_view name = "careless_pair";
    void infer(Shapes& s) const {
        s.output(s.in(0));
        s.output(s.in(0));
    }
    void forward(Forward<Real>& f) const {
        for (Index i = 0; i < f.in(0).size; ++i) {
            f.out(0)[i] = f.in(0)[i];
            f.out(1)[i] = 2 * f.in(0)[i];
        }
    }
    void backward(Backward<Real>& b) const {
        const auto g = b.grad(0);
        for (Index i = 0; i < g.size; ++i) g.add(i, b.gout(0) && b.gout(1) ? b.gout(0)[i] + 2 * b.gout(1)[i] : Real(0));
    }
};

TEST(Gradcheck, AbsentGradientOfAnOutputIsTried) {
    const GradcheckResult result = gradcheck(
        [](auto a) {
            using Real = typename decltype(a)::value_type;
            std::array<Var<Real>, 1> in{a};
            std::array<Var<Real>, 2> out;
            apply_all<Real>(CarelessPair<Real>{}, in, out);
            return out;
        },
        random_tensor({2, 3}, 3));
    EXPECT_FALSE(result);
    EXPECT_THAT(result.worst().check, HasSubstr("output 0 alone"));
}

// ---- Models ----

template <class Real>
struct TwoLayers {
    Parameter<Real> w1, b1, w2;
    Scope<Real> at;
    TwoLayers(Scope<Real> scope, Size hidden, double gain) : at(scope) {
        const auto uniform = [gain](std::span<Real> values, const Shape&, RandomStream& random) {
            for (Real& v : values) v = gain * random.uniform(-1, 1);
        };
        w1 = (scope / "first").parameter("weight", {3, hidden}, uniform);
        b1 = (scope / "first").parameter("bias", {hidden}, [](std::span<Real> v, const Shape&, RandomStream&) {
            std::fill(v.begin(), v.end(), Real(0));
        });
        w2 = (scope / "second").parameter("weight", {hidden, 2}, uniform);
    }
    Var<Real> operator()(Var<Real> x) {
        const double keep = at.random("noise").uniform();  // the same at every call: streams are set back
        return linear(tanh(linear(x, w1, b1)), w2) * keep;
    }
};

TEST(Gradcheck, ModelIsCheckedInEveryParameter) {
    const GradcheckResult result =
        gradcheck([](auto& model, auto x) { return model(x); }, twin<TwoLayers>(5, 0.5), random_tensor({4, 3}, 8));
    EXPECT_TRUE(result) << to_string(result);
    for (const char* name : {"input 0", "first.weight", "first.bias", "second.weight"})
        EXPECT_TRUE(find(result, "dual numbers", name)) << name;
    EXPECT_EQ(find(result, "differences", "first.weight")->entries, 15);
}

TEST(Gradcheck, WrongGradientOfAParameterIsNamed) {
    const GradcheckResult result = gradcheck(
        [](auto& model, auto x) {
            return apply(Sample<typename decltype(x)::value_type>{Defect::not_reduced}, linear(x, model.w1), model.b1);
        },
        twin<TwoLayers>(5, 0.5), random_tensor({4, 3}, 8));
    EXPECT_EQ(result.worst().operand, "first.bias");
    EXPECT_THAT(to_string(result), HasSubstr("worst: first.bias["));
    EXPECT_TRUE(has_problem(result, "nothing was compared for second.weight"));
}

TEST(Gradcheck, TwinTakesValuesAndFrozenStateFromAStore) {
    ParameterStore<float> store(3);
    TwoLayers<float> trained{Scope<float>(store), 4, 0.5};
    store.freeze("second");
    double seen = 0;
    const GradcheckResult result = gradcheck(
        [&](auto& model, auto x) {
            seen = static_cast<double>(model.w2.data()[1]);
            return model(x);
        },
        twin<TwoLayers>(4, 9.0).with(store), random_tensor({2, 3}, 8));
    EXPECT_TRUE(result) << to_string(result);
    EXPECT_EQ(seen, static_cast<double>(trained.w2.data()[1]));
    EXPECT_FALSE(find(result, "dual numbers", "second.weight"));
}

TEST(Gradcheck, LargeOperandsAreSampled) {
    const GradcheckOptions options{.every_entry_up_to = 20, .sampled_entries = 6, .directions = 2};
    const auto f = [](auto x, auto w) { return linear(x, w); };
    const GradcheckResult result = gradcheck(options, f, random_tensor({3, 7}, 1), random_tensor({7, 5}, 2));
    EXPECT_TRUE(result) << to_string(result);
    EXPECT_EQ(find(result, "dual numbers", "input 1")->entries, 8);
    // A direction alone finds one wrong entry of many.
    const GradcheckResult wrong = gradcheck(
        {.every_entry_up_to = 0, .sampled_entries = 0, .directions = 1},
        [](auto a, auto b) { return apply(Sample<typename decltype(a)::value_type>{Defect::factor}, a, b); },
        random_tensor({9, 11}, 1), random_tensor({11}, 2));
    EXPECT_TRUE(fails(wrong, "differences", "input 0"));
    EXPECT_TRUE(fails(wrong, "dual numbers", "input 0"));
}

// ---- Steps ----

TEST(Gradcheck, StepsFitLargeAndSmallEntriesAndNearbyKinks) {
    const Tensor<double> sizes = xt::xarray<double>{1e-3, 1.0, 4e3, -2e5};
    EXPECT_GRADIENTS([](auto x) { return x * x; }, sizes);
    EXPECT_GRADIENTS([](auto x) { return log(x); }, (Tensor<double>(xt::xarray<double>{1e-4, 0.1, 7.0})));
    EXPECT_GRADIENTS([](auto x) { return relu(x); }, (Tensor<double>(xt::xarray<double>{3e-4, -2e-4, 1.0})));
}

TEST(Gradcheck, GradientThatIsZeroButForRoundingPasses) {
    // Σ exp(x − log Σ exp x) is 1 whatever x is.
    EXPECT_GRADIENTS([](auto x) { return sum(exp(x - log(sum(exp(x))))) + x * 1e-30; }, random_tensor({6}, 3));
}

// ---- Reports, options, macros ----

TEST(Gradcheck, ReportNamesTheWorstEntry) {
    const GradcheckResult result = check_sample(Defect::nan);
    const std::string text = fmt::format("{}", result);
    EXPECT_THAT(text, HasSubstr("gradient check FAILED: "));
    EXPECT_THAT(text, HasSubstr("worst: a[0, 3], "));
    EXPECT_THAT(text, HasSubstr("nan, expected "));
    EXPECT_THAT(to_string(check_sample(Defect::none)), HasSubstr("gradient check passed: "));
}

TEST(Gradcheck, OptionsOutOfRangeAreRefused) {
    for (const GradcheckOptions& options : {GradcheckOptions{.difference_bar = 0},
                                            {.dual_bar = std::nan("")},
                                            {.adjoint_bar = -1},
                                            {.step = 0},
                                            {.step = 1},
                                            {.every_entry_up_to = -1},
                                            {.every_entry_up_to = 0, .sampled_entries = 0, .directions = 0},
                                            {.perturb_parameters = -1}})
        EXPECT_THROW(check_sample(Defect::none, options), ValueError);
    EXPECT_THROW(compare_float_double(
                     {.epsilons = 0}, [](auto x) { return x * 2; }, random_tensor({2}, 1)),
                 ValueError);
}

TEST(Gradcheck, MacroNamesInputsAndFails) {
    static const Tensor<double> alpha = random_tensor({3, 4}, 1), beta = random_tensor({4}, 2);
    EXPECT_GRADIENTS([](auto a, auto b) { return a * b; }, alpha, beta) << "never printed";
    EXPECT_GRADIENTS(
        {.second_order = true}, [](auto a, auto b) { return a / (b + 3.0); }, alpha, beta);
    EXPECT_NONFATAL_FAILURE(
        EXPECT_GRADIENTS(
            [](auto a, auto b) { return apply(Sample<typename decltype(a)::value_type>{Defect::not_reduced}, a, b); },
            alpha, beta),
        "worst: beta[");
    EXPECT_NONFATAL_FAILURE(EXPECT_GRADIENTS([](auto a) { return a.detach(); }, alpha) << "and more", "and more");
}

TEST(Gradcheck, LeavesTheCallersTapeAlone) {
    Tape<double> tape;
    const Var<double> x(2.0);
    tape.watch(x);
    const Var<double> y = x * x;
    const Index nodes = tape.node_count();
    EXPECT_GRADIENTS([](auto a) { return a * a; }, random_tensor({3}, 1));
    EXPECT_EQ(tape.node_count(), nodes);
    tape.backward(y);
    EXPECT_EQ(tape.gradient(x)(), 4.0);
}

// ---- Gradients that are infinite ----

/// y = x^0.3; the gradient is too large by a factor, and infinite at 0 whatever it is.
template <class Real>
struct Root {
    static constexpr std::string_view name = "root";
    double factor;
    void infer(Shapes& s) const { s.output(s.in(0)); }
    void forward(Forward<Real>& f) const {
        using std::pow;
        for (Index i = 0; i < f.in(0).size; ++i) f.out(0)[i] = pow(f.in(0)[i], Real(0.3));
        f.save_in(0);
    }
    void backward(Backward<Real>& b) const {
        using std::pow;
        const auto g = b.grad(0);
        for (Index i = 0; i < g.size; ++i) g.add(i, b.gout(0)[i] * (factor * 0.3) * pow(b.in(0)[i], Real(-0.7)));
    }
};

TEST(Gradcheck, AnInfiniteEntryDoesNotHideTheOthers) {
    Tensor<double> x = empty<double>({3});
    x(0) = 0, x(1) = 4, x(2) = 9;
    const auto check = [&](double factor) {
        return gradcheck(
            {.check_differences = false},
            [=](auto v) { return apply(Root<typename decltype(v)::value_type>{factor}, v); }, x);
    };
    EXPECT_TRUE(check(1)) << to_string(check(1));
    EXPECT_FALSE(check(1.5));
}

// ---- Float against double ----

/// y = x², in float with a relative error of `off` epsilons in value or gradient.
template <class Real>
struct Sloppy {
    static constexpr std::string_view name = "sloppy";
    double value_off, gradient_off;
    static Real times(const Real& x, double epsilons) {
        if constexpr (std::is_same_v<Real, float>)
            return static_cast<float>(static_cast<double>(x) * (1 + epsilons * 0x1p-23));
        else
            return x;
    }
    void infer(Shapes& s) const { s.output(s.in(0)); }
    void forward(Forward<Real>& f) const {
        for (Index i = 0; i < f.in(0).size; ++i) f.out(0)[i] = times(f.in(0)[i] * f.in(0)[i], value_off);
        f.save_in(0);
    }
    void backward(Backward<Real>& b) const {
        const auto g = b.grad(0);
        for (Index i = 0; i < g.size; ++i) g.add(i, times(2 * b.in(0)[i] * b.gout(0)[i], gradient_off));
    }
};

TEST(FloatAgainstDouble, SeesErrorsAboveTheBar) {
    const auto compare = [](double value_off, double gradient_off) {
        return compare_float_double(
            {.epsilons = 16},
            [=](auto x) {
                return apply(Sloppy<typename decltype(x)::value_type>{value_off, gradient_off}, x);
            },
            random_tensor({5}, 1, 0.5, 1));
    };
    EXPECT_TRUE(compare(0, 0)) << to_string(compare(0, 0));
    EXPECT_TRUE(compare(8, 8));
    EXPECT_FALSE(compare(24, 0));
    EXPECT_THAT(compare(24, 0).worst().check, HasSubstr("value in float"));
    EXPECT_FALSE(compare(0, 24));
    EXPECT_THAT(compare(0, 24).worst().check, HasSubstr("gradient in float"));
    static const Tensor<double> gamma = random_tensor({5}, 1, 0.5, 1);
    EXPECT_FLOAT_LIKE_DOUBLE(
        {.epsilons = 4}, [](auto x) { return x * x; }, gamma);
    EXPECT_NONFATAL_FAILURE(EXPECT_FLOAT_LIKE_DOUBLE(
                                [](auto x) {
                                    return apply(Sloppy<typename decltype(x)::value_type>{0, 200}, x);
                                },
                                gamma),
                            "worst: gamma[");
}

TEST(FloatAgainstDouble, CoversModelsAndEveryInstructionSet) {
    const GradcheckResult result = compare_float_double([](auto& model, auto x) { return model(x); },
                                                        twin<TwoLayers>(5, 0.5), random_tensor({4, 3}, 8));
    EXPECT_TRUE(result) << to_string(result);
    EXPECT_TRUE(find(result, "gradient in float (baseline)", "second.weight"));
    EXPECT_FALSE(compare_float_double([](auto x) { return x * 2; }, zeros<double>({0})));
    EXPECT_FALSE(compare_float_double([](auto x) { return sqrt(x); }, full<double>({2}, -1.0))) << "NaN everywhere";
    EXPECT_TRUE(compare_float_double(
                    {.allow_empty = true}, [](auto x) { return x * 2; }, zeros<double>({0}))
                    .problems.empty());
}

}  // namespace
}  // namespace unroll
