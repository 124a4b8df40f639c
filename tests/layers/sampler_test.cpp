// Draws from logits: which classes, how often, from which numbers of the stream, and what is refused.
#include <unroll/layers/sampler.hpp>

#include <unroll/tests/layers/layer_support.hpp>
#include <unroll/tests/support/build_kind.hpp>
#include <unroll/tests/support/special_values.hpp>
#include <unroll/tests/support/test_size.hpp>

#include <algorithm>
#include <chrono>
#include <numeric>

namespace unroll {
namespace {

using test::by_test_size;
using test::error_message;
using testing::HasSubstr;

using unroll::test::kInfinity;
using unroll::test::kNaN;

template <class Real = float>
Var<Real> logits_of(const std::vector<double>& values) {
    Tensor<Real> out = empty<Real>({static_cast<Index>(values.size())});
    std::transform(values.begin(), values.end(), out.data(), [](double v) { return Real(v); });
    return Var<Real>(std::move(out));
}

template <class Real = float>
std::vector<double> frequencies(const SamplerOptions& options, const std::vector<double>& logits, Index draws) {
    const Sampler sampler(options);
    const Var<Real> x = logits_of<Real>(logits);
    RandomStream random(7, "frequencies");
    std::vector<double> found(logits.size());
    for (Index i = 0; i < draws; ++i) found[static_cast<std::size_t>(sampler(x, random))] += 1;
    for (double& f : found) f /= static_cast<double>(draws);
    return found;
}

/// The definition, in the plainest way: sort, keep, renormalise.
std::vector<double> expected_probabilities(const SamplerOptions& o, const std::vector<double>& logits) {
    const double largest = *std::max_element(logits.begin(), logits.end());
    std::vector<double> p(logits.size());
    for (std::size_t i = 0; i < p.size(); ++i) p[i] = std::exp((logits[i] - largest) / o.temperature);
    std::vector<std::size_t> order(p.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p[a] > p[b]; });
    if (o.top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(o.top_k)));
    double total = 0;
    for (const auto i : order) total += p[i];
    double sum = 0;
    std::size_t kept = 0;
    while (kept < order.size() && (o.top_p == 1 || sum < o.top_p * total)) sum += p[order[kept++]];
    std::vector<double> out(p.size());
    for (std::size_t j = 0; j < kept; ++j) out[order[j]] = p[order[j]] / sum;
    return out;
}

TEST(Sampler, FrequenciesAreTheProbabilitiesThatOptionsLeave) {
    const std::vector<double> logits{0.3, -1.2, 2.0, 0.3, 1.1, -0.4, 1.9};
    const Index draws = by_test_size(20000, 100000, 1000000);
    for (const SamplerOptions& o : {SamplerOptions{},
                                    {.temperature = 0.5},
                                    {.temperature = 3},
                                    {.top_k = 3},
                                    {.top_k = 5},
                                    {.top_k = 100},
                                    {.top_p = 0.5},
                                    {.top_p = 0.9},
                                    {.top_p = 1e-9},
                                    {.top_p = 1 - 1e-16},
                                    {.temperature = 2, .top_k = 6, .top_p = 0.7}}) {
        SCOPED_TRACE(testing::Message() << "temperature " << o.temperature << ", top_k " << o.top_k << ", top_p "
                                        << o.top_p);
        const auto expected = expected_probabilities(o, logits);
        for (const auto& found : {frequencies<float>(o, logits, draws), frequencies<double>(o, logits, draws)})
            for (std::size_t i = 0; i < logits.size(); ++i) {
                if (expected[i] == 0) {
                    EXPECT_EQ(found[i], 0) << "class " << i;
                }
                // Five standard deviations.
                EXPECT_NEAR(found[i], expected[i],
                            5 * std::sqrt(expected[i] * (1 - expected[i]) / static_cast<double>(draws)) + 1e-12);
            }
    }
}

TEST(Sampler, KeptClassesAreThoseOfASortedListAtManySizes) {
    for (const std::size_t size : {1u, 2u, 5u, 65u, 1000u})
        for (const SamplerOptions& o :
             {SamplerOptions{.top_k = 4}, {.top_p = 0.6}, {.temperature = 0.7, .top_k = 30, .top_p = 0.8}}) {
            std::vector<double> logits = golden::fill(size, size, 3.0);
            for (double& x : logits) x = static_cast<float>(x);
            const auto expected = expected_probabilities(o, logits);
            const auto found = frequencies<double>(o, logits, 4000);
            for (std::size_t i = 0; i < size; ++i)
                if (expected[i] == 0) {
                    EXPECT_EQ(found[i], 0) << size << " classes, class " << i;
                } else if (expected[i] > 0.01) {
                    EXPECT_GT(found[i], 0) << size << " classes, class " << i;
                }
        }
}

TEST(Sampler, OfEquallyProbableClassesTheFirstAreKept) {
    const auto found = frequencies({.top_k = 2}, {1, 1, 1, 0}, 1000);
    EXPECT_GT(found[0], 0);
    EXPECT_GT(found[1], 0);
    EXPECT_EQ(found[2], 0);
    const auto half = frequencies({.top_p = 0.5}, {2, 2, 2, 2}, 1000);
    EXPECT_GT(half[1], 0);
    EXPECT_EQ(half[2] + half[3], 0);
}

TEST(Sampler, GreedyTakesTheFirstOfTheLargestAndNoRandomNumber) {
    RandomStream random(1, "greedy");
    for (const SamplerOptions& o : {SamplerOptions{.temperature = 0}, {.top_k = 1}}) {
        EXPECT_EQ(Sampler(o)(logits_of({0, 3, -1, 3}), random), 1);
        EXPECT_EQ(Sampler(o)(logits_of<double>({-kInfinity, -5}), random), 1);
    }
    EXPECT_EQ(random.counter(), 0u);
}

TEST(Sampler, ADrawTakesOneNumberAndRepeatsWithIt) {
    const auto x = logits_of({0, 1, 2, 1, 0});
    RandomStream one(3, "draw"), other(3, "draw");
    for (int i = 0; i < 100; ++i) EXPECT_EQ(Sampler()(x, one), Sampler()(x, other));
    EXPECT_EQ(one.counter(), 100u);
}

TEST(Sampler, ExtremeLogitsAndTemperaturesNeitherOverflowNorDivideByZero) {
    EXPECT_EQ(frequencies({}, {1e30, -1e30, 0}, 100)[0], 1);
    EXPECT_EQ(frequencies({.temperature = 1e-300}, {1, 1.5, 1.25}, 100)[1], 1);
    EXPECT_EQ(frequencies<double>({.temperature = 5e-324}, {1, 1.5, 1.25}, 100)[1], 1);
    const auto flat = frequencies({.temperature = 1e300}, {-50, 50}, 2000);
    EXPECT_NEAR(flat[0], 0.5, 0.06);
    EXPECT_NEAR(frequencies({.temperature = 1e300}, {-50, -kInfinity, 50}, 2000)[2], 0.5, 0.06);
    const auto masked = frequencies({}, {-kInfinity, 0, 0}, 1000);
    EXPECT_EQ(masked[0], 0);
    EXPECT_NEAR(masked[1], 0.5, 0.08);
    EXPECT_EQ(frequencies({.top_p = 0.999999}, {-kInfinity, 0, 0}, 1000)[0], 0);
    EXPECT_EQ(frequencies({.top_k = 3}, {-kInfinity, 0, 0, -kInfinity}, 1000)[0], 0);
}

TEST(Sampler, RowsAreDrawnInOrder) {
    Tensor<float> x = empty<float>({2, 3, 4});
    for (int i = 0; i < 24; ++i) x.data()[i] = static_cast<float>(i * 7 % 5);
    const Sampler sampler({.temperature = 0.8});
    RandomStream together(5, "rows"), single(5, "rows");
    const IntTensor drawn = sampler.rows(Var<float>(x), together);
    EXPECT_EQ(shape_of(drawn), (Shape{2, 3}));
    for (std::size_t r = 0; r < 6; ++r)
        EXPECT_EQ(drawn.data()[r], sampler(std::span<const float>(x.data() + 4 * r, 4), single));
}

TEST(Sampler, NonFiniteLogitsAreRefusedAndTheStreamStays) {
    RandomStream random(1, "bad");
    for (const SamplerOptions& o : {SamplerOptions{}, {.temperature = 0}, {.top_k = 2}, {.top_p = 0.5}}) {
        const Sampler sampler(o);
        for (const std::size_t at : {0u, 1u, 4u}) {
            std::vector<double> x{0, 1, 2, 3, 4};
            for (const double nan : {kNaN, -kNaN}) {
                x[at] = nan;
                EXPECT_THAT(error_message<NonFiniteError>([&] { sampler(logits_of(x), random); }),
                            HasSubstr("[Sampler] logit " + std::to_string(at) + " is nan"));
            }
            x[at] = kInfinity;
            EXPECT_THAT(error_message<ValueError>([&] { sampler(logits_of<double>(x), random); }),
                        HasSubstr("logit " + std::to_string(at) + " is inf"));
        }
        EXPECT_THAT(error_message<NonFiniteError>([&] {
                        sampler(logits_of({-kInfinity, -kInfinity}), random);
                    }),
                    HasSubstr("all 2 logits are −∞"));
        EXPECT_EQ(random.counter(), 0u);
    }
    Tensor<double> rows = zeros<double>({3, 2});
    rows.data()[5] = kNaN;
    EXPECT_THROW(Sampler().rows(Var<double>(rows), random), NonFiniteError);
    EXPECT_EQ(random.counter(), 0u);
}

TEST(Sampler, WrongOptionsAndShapesAreErrorsThatNameTheRange) {
    const auto message = [](const SamplerOptions& o) { return error_message<ValueError>([&] { Sampler{o}; }); };
    EXPECT_EQ(message({.temperature = -0.5}), "[Sampler] temperature must be above 0, or 0 for greedy; got -0.5");
    EXPECT_THAT(message({.temperature = kNaN}), HasSubstr("temperature"));
    EXPECT_THAT(message({.temperature = kInfinity}), HasSubstr("temperature"));
    EXPECT_EQ(message({.top_k = -1}), "[Sampler] top_k must be 1 or more, or 0 for all; got -1");
    EXPECT_EQ(message({.top_p = 0}), "[Sampler] top_p must be above 0 and at most 1; got 0");
    EXPECT_THAT(message({.top_p = 1.01}), HasSubstr("top_p"));
    EXPECT_THAT(message({.top_p = kNaN}), HasSubstr("top_p"));
    RandomStream random(1, "bad");
    EXPECT_THROW(Sampler()(Var<float>(zeros<float>({0})), random), ShapeError);
    EXPECT_THROW(Sampler()(Var<float>(zeros<float>({})), random), ShapeError);
    EXPECT_THAT(error_message<ShapeError>([&] {
                    Sampler()(Var<float>(zeros<float>({2, 3})), random);
                }),
                HasSubstr("one row: (V), (1, V), …; got (2, 3)"));
    EXPECT_EQ(Sampler({.top_k = 1})(Var<float>(zeros<float>({1, 1, 3})), random), 0);
}

TEST(SamplerSpeed, ADrawFrom65ClassesTakesFarLessThanHalfAMicrosecond) {
    if (!test::kFullSpeed) GTEST_SKIP() << "times are measured in optimised builds without sanitizers";
    const auto values = golden::fill(1, 65, 4.0);
    const auto x = logits_of(values);
    RandomStream random(1, "speed");
    for (const SamplerOptions& o : {SamplerOptions{}, {.temperature = 0}, {.top_k = 10}, {.top_p = 0.9}}) {
        const Sampler sampler(o);
        double best = 1e9;
        Index sum = 0;
        for (int run = 0; run < 20; ++run) {
            const auto start = std::chrono::steady_clock::now();
            for (int i = 0; i < 2000; ++i) sum += sampler(x, random);
            best =
                std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 2000);
        }
        ASSERT_GE(sum, 0);
        std::printf("65 classes, temperature %g, top_k %d, top_p %g: %.0f ns\n", o.temperature,
                    static_cast<int>(o.top_k), o.top_p, best * 1e9);
        // The plain draw is what generation of text waits for; the bar leaves room for a busy machine.
        EXPECT_LT(best, o.top_k > 0 || o.top_p < 1 ? 2e-6 : 0.5e-6);
    }
}

TEST(Sampler, ErrorsNameTheModule) {
    ParameterStore<double> store;
    RandomStream random;
    const auto guard = (Scope<double>(store) / "part").enter();
    EXPECT_EQ(error_message<ShapeError>([&] { Sampler()(std::span<const float>(), random); }),
              "[Sampler] at least one logit is needed (in part)");
    EXPECT_EQ(error_message<ValueError>([] { Sampler(SamplerOptions{.top_k = -1}); }),
              "[Sampler] top_k must be 1 or more, or 0 for all; got -1 (in part)");
}

}  // namespace
}  // namespace unroll
