// Initial values: bounds, moments, orthogonality, and independence of everything but the parameter's own name.
#include <unroll/layers/init.hpp>

#include <unroll/tests/layers/layer_support.hpp>

namespace unroll {
namespace {

using test::elements;
using test::error_message;
using testing::HasSubstr;

constexpr Index kIn = 60, kOut = 40;

std::vector<double> values(const Initializer<double>& initial, const Shape& shape = {kIn, kOut}) {
    ParameterStore<double> store(1);
    return elements(Scope<double>(store).parameter("weight", shape, initial));
}

struct Moments {
    double mean = 0, deviation = 0, low = 1e300, high = -1e300;
};

Moments moments(const std::vector<double>& x) {
    Moments m;
    for (const double v : x) {
        m.mean += v / static_cast<double>(x.size());
        m.low = std::min(m.low, v);
        m.high = std::max(m.high, v);
    }
    for (const double v : x) m.deviation += (v - m.mean) * (v - m.mean) / static_cast<double>(x.size());
    m.deviation = std::sqrt(m.deviation);
    return m;
}

/// 2,400 draws: the mean is within 5 standard errors, the deviation within 5 of its own (for a normal 1/√(2n) = 1.4 %).
void expect_moments(const std::vector<double>& x, double mean, double deviation) {
    const Moments m = moments(x);
    EXPECT_NEAR(m.mean, mean, 5 * deviation / std::sqrt(static_cast<double>(x.size())));
    EXPECT_NEAR(m.deviation, deviation, 0.075 * deviation);
}

void expect_uniform(const std::vector<double>& x, double low, double high) {
    const Moments m = moments(x);
    EXPECT_GE(m.low, low);
    EXPECT_LT(m.high, high);
    EXPECT_LT(m.low, low + 0.02 * (high - low));
    EXPECT_GT(m.high, high - 0.02 * (high - low));
    expect_moments(x, (low + high) / 2, (high - low) / std::sqrt(12.0));
}

TEST(Init, UniformNormalConstant) {
    expect_uniform(values(init::uniform<double>(-0.3, 0.5)), -0.3, 0.5);
    expect_moments(values(init::normal<double>()), 0, 1);
    expect_moments(values(init::normal<double>(2, 0.1)), 2, 0.1);
    for (const double v : values(init::constant<double>(0.7))) EXPECT_EQ(v, 0.7);
}

TEST(Init, XavierTakesBothFans) {
    const double s = std::sqrt(2.0 / (kIn + kOut));
    expect_uniform(values(init::xavier_uniform<double>()), -s * std::sqrt(3.0), s * std::sqrt(3.0));
    expect_uniform(values(init::xavier_uniform<double>(2.0)), -2 * s * std::sqrt(3.0), 2 * s * std::sqrt(3.0));
    expect_moments(values(init::xavier_normal<double>(0.5)), 0, 0.5 * s);
}

TEST(Init, KaimingTakesTheFanInWhichIsTheFirstAxisInMemory) {
    const double s = std::sqrt(2.0 / kIn);
    expect_uniform(values(init::kaiming_uniform<double>()), -s * std::sqrt(3.0), s * std::sqrt(3.0));
    expect_moments(values(init::kaiming_normal<double>()), 0, s);
    expect_moments(values(init::kaiming_normal<double>(1.0)), 0, 1 / std::sqrt(static_cast<double>(kIn)));
}

TEST(Init, OrthogonalRowsOrColumnsWhicheverAreFewer) {
    for (const auto& [rows, columns] : {std::pair<Index, Index>{60, 40}, {40, 60}, {50, 50}, {1, 7}, {7, 1}}) {
        const double gain = 1.5;
        const auto w = values(init::orthogonal<double>(gain), {rows, columns});
        const bool by_row = rows <= columns;
        const Index count = std::min(rows, columns), length = std::max(rows, columns);
        const auto at = [&](Index i, Index k) {
            return w[static_cast<std::size_t>(by_row ? i * columns + k : k * columns + i)];
        };
        for (Index i = 0; i < count; ++i)
            for (Index j = 0; j <= i; ++j) {
                double dot = 0;
                for (Index k = 0; k < length; ++k) dot += at(i, k) * at(j, k);
                EXPECT_NEAR(dot, i == j ? gain * gain : 0, 1e-13);
            }
    }
}

TEST(Init, ValuesDoNotChangeWhenALayerIsAddedElsewhere) {
    ParameterStore<double> alone(1), among(1), other(2);
    const auto initial = init::normal<double>();
    const auto own = Scope<double>(alone).parameter("head.weight", {3, 4}, initial);
    Scope<double>(among).parameter("before.weight", {5, 6}, initial);
    EXPECT_EQ(elements((Scope<double>(among) / "head").parameter("weight", {3, 4}, initial)), elements(own));
    EXPECT_NE(elements(Scope<double>(among).parameter("tail.weight", {3, 4}, initial)), elements(own));
    EXPECT_NE(elements(Scope<double>(other).parameter("head.weight", {3, 4}, initial)), elements(own));
}

TEST(Init, FloatAndDoubleStartFromTheSameNumbers) {
    ParameterStore<float> single(1);
    const auto w = elements(Scope<float>(single).parameter("weight", {kIn, kOut}, init::orthogonal<float>()));
    test::expect_near(w, values(init::orthogonal<double>()), 1e-7);
}

TEST(Init, WhatNeedsAMatrixSaysSo) {
    for (const auto& initial :
         {init::xavier_uniform<double>(), init::xavier_normal<double>(), init::kaiming_uniform<double>(),
          init::kaiming_normal<double>(), init::orthogonal<double>()})
        EXPECT_THAT(error_message<ShapeError>([&] { values(initial, {4}); }),
                    HasSubstr("needs a weight with two axes; got (4,)"));
}

TEST(Init, WrongRangesAreErrors) {
    const double nan = std::nan("");
    EXPECT_THAT(error_message<ValueError>([] { init::uniform<double>(1, -1); }),
                HasSubstr("[uniform] low must not lie above high; got 1 and -1"));
    EXPECT_THAT(error_message<ValueError>([&] { init::uniform<double>(nan, 1); }), HasSubstr("[uniform]"));
    EXPECT_THAT(error_message<ValueError>([] { init::normal<double>(0, -1); }),
                HasSubstr("[normal] the deviation must be 0 or more; got -1"));
    EXPECT_THAT(error_message<ValueError>([&] { init::normal<double>(nan); }), HasSubstr("[normal]"));
}

}  // namespace
}  // namespace unroll
