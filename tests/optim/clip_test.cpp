// Clipping: PyTorch's numbers, the wait for the optimiser's pass, gradients that are not finite, and bad options.
#include "support.hpp"

#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/parallel.hpp>
#include <unroll/optim/clip.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/tests/support/special_values.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace unroll::test {
namespace {

using testing::Each;
using testing::HasSubstr;

/// Parameters with the gradients that a golden case names before clipping.
template <class Real>
std::unique_ptr<ParameterStore<Real>> store_before(const nlohmann::json& before) {
    std::vector<std::pair<std::string, Shape>> parameters;
    for (const nlohmann::json& entry : before) {
        const auto lengths = entry.at("shape").get<std::vector<Index>>();
        parameters.emplace_back("p" + std::to_string(parameters.size()), Shape(lengths.data(), lengths.size()));
    }
    auto store = make_store<Real>(parameters);
    for (std::size_t k = 0; k < parameters.size(); ++k) {
        const std::vector<double> values = golden::entry(before.at(k));
        set_gradient(*store, *store->entries()[k], [&](Index i) { return values[static_cast<std::size_t>(i)]; });
    }
    return store;
}

std::vector<double> flattened(const nlohmann::json& lists) {
    std::vector<double> all;
    for (const nlohmann::json& list : lists)
        for (const double value : golden::numbers(list)) all.push_back(value);
    return all;
}

template <class Real>
void expect_golden(double tolerance) {
    const nlohmann::json document = golden::load("ops.json");
    int cases = 0;
    for (const nlohmann::json& test : document.at("cases")) {
        const bool by_norm = test.at("name") == "clip_grad_norm";
        if (!by_norm && test.at("name") != "clip_grad_value") continue;
        SCOPED_TRACE(test.at("options").dump());
        ++cases;
        const auto store = store_before<Real>(test.at("before"));
        const nlohmann::json& options = test.at("options");
        if (by_norm) {
            const double type = options.contains("norm_type") ? golden::number(options.at("norm_type")) : 2;
            const double norm = clip_grad_norm(*store, options.at("max_norm").get<double>(), {.norm_type = type});
            EXPECT_NEAR(norm, test.at("out").get<double>(), tolerance * norm);
        } else {
            clip_grad_value(*store, options.at("clip_value").get<double>());
        }
        EXPECT_THAT(gradients_of(*store),
                    testing::Pointwise(testing::DoubleNear(4 * tolerance), flattened(test.at("after"))));
    }
    EXPECT_EQ(cases, 7);
}

TEST(Clip, AgreesWithPyTorchInDouble) { expect_golden<double>(1e-14); }

TEST(Clip, AgreesWithPyTorchOnDualNumbers) { expect_golden<Dual<double>>(1e-14); }

TEST(Clip, AgreesWithPyTorchInFloat) { expect_golden<float>(2 * std::numeric_limits<float>::epsilon()); }

TEST(Clip, LargeGradientsAreMeasuredInPiecesAsInOne) {
    // 200,000 elements are four pieces.
    const auto store = make_store<float>({{"w", Shape{200000}}, {"b", Shape{3}}});
    double squares = 0, powers = 0;
    for (const auto* entry : store->entries())
        set_gradient(*store, *entry, [&](Index i) {
            const float g = static_cast<float>(i % 1000) * 1e-3f - 0.3f;
            squares += static_cast<double>(g) * static_cast<double>(g);
            powers += std::pow(std::abs(static_cast<double>(g)), 3);
            return g;
        });
    EXPECT_NEAR(clip_grad_norm(*store, kInfinity), std::sqrt(squares), 1e-12 * std::sqrt(squares));
    EXPECT_NEAR(clip_grad_norm(*store, kInfinity, {.norm_type = 3}), std::cbrt(powers), 1e-12 * std::cbrt(powers));
    EXPECT_EQ(clip_grad_norm(*store, kInfinity, {.norm_type = kInfinity}), static_cast<double>(999 * 1e-3f - 0.3f));
}

TEST(Clip, TheNormHasTheSameBitsForAnyNumberOfThreads) {
    constexpr Index kElements = 2500000;  // enough for threads
    const auto store = make_store<float>({{"w", Shape{kElements}}, {"b", Shape{3}}});
    for (const auto* entry : store->entries())
        set_gradient(*store, *entry, [](Index i) { return static_cast<float>(i % 1009) * 1e-3f - 0.3f; });
    const Index before = num_threads();
    for (const double type : {2.0, kInfinity}) {
        set_num_threads(1);
        const double expected = clip_grad_norm(*store, kInfinity, {.norm_type = type});
        for (const Index threads : {2, 3, 5}) {
            set_num_threads(threads);
            EXPECT_EQ(clip_grad_norm(*store, kInfinity, {.norm_type = type}), expected);
        }
    }
    set_num_threads(before);
}

/// The weights after ten steps with this clipping before each, once with gradients as they are left and once after what
/// is outstanding was carried out.
template <class Clipping>
void expect_fused_equals_separate(const Clipping& clip) {
    for (const nlohmann::json& test : golden_optimizers().at("cases")) {
        SCOPED_TRACE(title_of(test));
        const auto run = [&](bool separate) {
            Problem<float> problem(37);
            const auto optimizer = make_optimizer<float>(*problem.store, test);
            for (int step = 0; step < 10; ++step) {
                problem.next_gradients();
                clip(*problem.store);
                if (separate) {
                    EXPECT_TRUE(problem.store->gradients().scale() != 1.0 ||
                                problem.store->gradients().limit() < kInfinity);
                    problem.store->gradients().apply_outstanding();
                    EXPECT_EQ(problem.store->gradients().scale(), 1.0);
                    EXPECT_EQ(problem.store->gradients().limit(), kInfinity);
                }
                optimizer->step();
            }
            return values_of(*problem.store);
        };
        EXPECT_EQ(run(false), run(true));
    }
}

TEST(Clip, FusedByNormEqualsSeparate) {
    expect_fused_equals_separate([](ParameterStore<float>& store) { clip_grad_norm(store, 0.3); });
}

TEST(Clip, FusedByValueEqualsSeparate) {
    expect_fused_equals_separate([](ParameterStore<float>& store) { clip_grad_value(store, 0.2); });
}

TEST(Clip, FusedByBothEqualsSeparate) {
    expect_fused_equals_separate([](ParameterStore<float>& store) {
        clip_grad_norm(store, 2.0);
        clip_grad_value(store, 0.2);
    });
}

std::unique_ptr<ParameterStore<double>> three(double a, double b, double c) {
    auto store = make_store<double>({{"w", Shape{3}}});
    const double values[] = {a, b, c};
    set_gradient(*store, *store->entries()[0], [&](Index i) { return values[i]; });
    return store;
}

using testing::DoubleNear;
using testing::Pointwise;

TEST(Clip, TheOrderOfTwoClippingsCounts) {
    auto store = three(3, -4, 12);  // norm 13
    EXPECT_DOUBLE_EQ(clip_grad_norm(*store, 6.5), 13);
    clip_grad_value(*store, 1.75);
    EXPECT_THAT(gradients_of(*store), Pointwise(DoubleNear(1e-6), {1.5, -1.75, 1.75}));

    store = three(3, -4, 12);
    clip_grad_value(*store, 4);
    EXPECT_DOUBLE_EQ(clip_grad_norm(*store, 3.2015621187164243),
                     6.4031242374328485);  // √41, of what was clipped by value
    EXPECT_THAT(gradients_of(*store), Pointwise(DoubleNear(1e-6), {1.5, -2.0, 2.0}));

    store = three(3, -4, 12);
    clip_grad_value(*store, 8);
    store->gradients().scale_by(0.5);
    clip_grad_value(*store, 3);
    clip_grad_value(*store, 5);
    EXPECT_THAT(gradients_of(*store), Pointwise(DoubleNear(0), {1.5, -2.0, 3.0}));
}

TEST(Clip, ASecondClippingMeasuresWhatTheFirstLeft) {
    const auto store = three(3, -4, 12);
    clip_grad_norm(*store, 6.5);
    EXPECT_NEAR(clip_grad_norm(*store, 1.0), 6.5, 1e-6);
    EXPECT_NEAR(clip_grad_norm(*store, 1.0, {.norm_type = kInfinity}), 12.0 / 13, 1e-6);
}

TEST(Clip, BelowTheLimitNothingChanges) {
    const auto store = three(3, -4, 12);
    EXPECT_DOUBLE_EQ(clip_grad_norm(*store, 14), 13);
    EXPECT_EQ(store->gradients().scale(), 1.0);
    EXPECT_THAT(gradients_of(*store), Pointwise(DoubleNear(0), {3.0, -4.0, 12.0}));
}

TEST(Clip, WhatArrivesAfterwardsIsNotClipped) {
    const auto store = three(3, -4, 12);
    clip_grad_norm(*store, 6.5);
    set_gradient(*store, *store->entries()[0], [](Index) { return 10.0; });
    EXPECT_THAT(gradients_of(*store), Pointwise(DoubleNear(1e-5), {11.5, 8.0, 16.0}));
    clip_grad_value(*store, 9);
    Gradients<double> sum(*store);
    sum.add(store->gradients());
    EXPECT_THAT(std::vector<double>(sum.data(*store->entries()[0]), sum.data(*store->entries()[0]) + 3),
                Pointwise(DoubleNear(1e-5), {9.0, 8.0, 9.0}));
    store->zero_grad();
    set_gradient(*store, *store->entries()[0], [](Index) { return 10.0; });
    EXPECT_THAT(gradients_of(*store), Each(10.0));
}

TEST(Clip, WithoutGradientsTheNormIsZero) {
    const auto store = make_store<float>({{"w", Shape{3}}});
    EXPECT_EQ(clip_grad_norm(*store, 1.0), 0);
    clip_grad_value(*store, 1.0);
    store->zero_grad();
    EXPECT_EQ(clip_grad_norm(*store, 0.0, {.norm_type = kInfinity}), 0);
}

template <class Real>
void expect_errors_change_nothing() {
    for (const double bad : {kNaN, kInfinity, -kInfinity})
        for (const double type : {2.0, kInfinity, 1.0}) {
            auto store = make_store<Real>({{"w", Shape{40}}});
            const auto& entry = *store->entries()[0];
            set_gradient(*store, entry, [&](Index i) { return i == 33 ? bad : static_cast<double>(i); });
            store->gradients().scale_by(0.5);
            const std::string message = error_message<ValueError>(
                [&] { clip_grad_norm(*store, 1.0, {.norm_type = type, .error_if_nonfinite = true}); });
            EXPECT_THAT(message, HasSubstr(std::isnan(bad) ? "the norm of the gradients is nan"
                                                           : "the norm of the gradients is inf"));
            EXPECT_EQ(store->gradients().scale(), 0.5);
            EXPECT_EQ(store->gradients().limit(), kInfinity);
            const Real* raw = store->gradients().raw(entry);
            for (Index i = 0; i < 40; ++i)
                EXPECT_TRUE(i == 33 || static_cast<double>(raw[i]) == static_cast<double>(i)) << i;
        }
}

TEST(Clip, ErrorIfNonfiniteChangesNothing) {
    expect_errors_change_nothing<float>();
    expect_errors_change_nothing<double>();
    auto store = three(3, -4, 12);
    EXPECT_DOUBLE_EQ(clip_grad_norm(*store, 1.0, {.error_if_nonfinite = true}), 13);
}

TEST(Clip, NonFiniteGradientsSpreadAsInPyTorch) {
    auto store = three(3, kNaN, 12);
    EXPECT_TRUE(std::isnan(clip_grad_norm(*store, 1.0)));
    EXPECT_THAT(gradients_of(*store), Each(testing::IsNan()));

    store = three(3, kInfinity, 12);
    EXPECT_EQ(clip_grad_norm(*store, 1.0), kInfinity);
    const std::vector<double> after = gradients_of(*store);
    EXPECT_EQ(after[0], 0);
    EXPECT_TRUE(std::isnan(after[1]));
    EXPECT_EQ(after[2], 0);

    store = three(kNaN, kInfinity, -12);
    clip_grad_value(*store, 2.0);
    EXPECT_THAT(gradients_of(*store), testing::ElementsAre(testing::IsNan(), 2.0, -2.0));

    store = three(3, kInfinity, 12);
    EXPECT_EQ(clip_grad_norm(*store, kInfinity), kInfinity);
    EXPECT_EQ(gradients_of(*store), (std::vector<double>{3, kInfinity, 12}));
}

TEST(Clip, BadOptionsAreRefused) {
    const auto store = three(3, -4, 12);
    const auto by_norm = [&](double max_norm, double type) {
        return error_message<ValueError>([&] { clip_grad_norm(*store, max_norm, {.norm_type = type}); });
    };
    const auto by_value = [&](double value) {
        return error_message<ValueError>([&] { clip_grad_value(*store, value); });
    };
    EXPECT_EQ(by_norm(-1, 2), "[clip_grad_norm] max_norm must be in [0, ∞]; got -1");
    EXPECT_EQ(by_norm(kNaN, 2), "[clip_grad_norm] max_norm must be in [0, ∞]; got nan");
    EXPECT_EQ(by_norm(1, 0), "[clip_grad_norm] norm_type must be in (0, ∞]; got 0");
    EXPECT_EQ(by_norm(1, kNaN), "[clip_grad_norm] norm_type must be in (0, ∞]; got nan");
    EXPECT_EQ(by_value(-0.5), "[clip_grad_value] clip_value must be in [0, ∞]; got -0.5");
    EXPECT_EQ(by_value(kNaN), "[clip_grad_value] clip_value must be in [0, ∞]; got nan");
    EXPECT_THAT(gradients_of(*store), Pointwise(DoubleNear(0), {3.0, -4.0, 12.0}));
}

}  // namespace
}  // namespace unroll::test
