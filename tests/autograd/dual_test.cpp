// Dual: arithmetic and functions against central differences, conventions at kinks, comparisons, limits, xtensor
// arrays, formatting.
#include <unroll/autograd/dual.hpp>
#include <unroll/tests/support/special_values.hpp>

#include <cmath>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <xtensor/xarray.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xsort.hpp>

namespace {

using unroll::Dual;
using D = Dual<double>;

using unroll::test::kInfinity;
using unroll::test::kNaN;

struct UnaryCase {
    const char* name;
    double (*plain)(double);
    D (*dual)(D);
    std::vector<double> points;
};

#define UNROLL_CASE(function, ...)                                                                       \
    UnaryCase {                                                                                          \
#function,                                                                                             \
            [](double x) {                                                                                     \
                using namespace std;                                                                           \
                using namespace unroll::scalar;                                                                \
                return static_cast<double>(function(x));                                                       \
            },                                                                                                 \
            [](D x) { return function(x); }, __VA_ARGS__ \
    }

std::vector<UnaryCase> unary_cases() {
    const std::vector<double> any = {-3.2, -0.7, 0.3, 1.1, 2.9}, positive = {0.02, 0.4, 1.3, 7.0};
    return {
        UNROLL_CASE(exp, any),        UNROLL_CASE(expm1, any),      UNROLL_CASE(log, positive),
        UNROLL_CASE(log2, positive),  UNROLL_CASE(log10, positive), UNROLL_CASE(log1p, {-0.6, 0.1, 4.0}),
        UNROLL_CASE(sqrt, positive),  UNROLL_CASE(cbrt, any),       UNROLL_CASE(rsqrt, positive),
        UNROLL_CASE(reciprocal, any), UNROLL_CASE(square, any),     UNROLL_CASE(sin, any),
        UNROLL_CASE(cos, any),        UNROLL_CASE(tan, any),        UNROLL_CASE(atan, any),
        UNROLL_CASE(sinh, any),       UNROLL_CASE(cosh, any),       UNROLL_CASE(tanh, any),
        UNROLL_CASE(erf, any),        UNROLL_CASE(erfc, any),       UNROLL_CASE(sigmoid, any),
        UNROLL_CASE(softplus, any),   UNROLL_CASE(relu, any),       UNROLL_CASE(sign, any),
        UNROLL_CASE(abs, any),        UNROLL_CASE(fabs, any),       UNROLL_CASE(floor, any),
        UNROLL_CASE(ceil, any),       UNROLL_CASE(trunc, any),      UNROLL_CASE(round, any),
    };
}

double central_difference(const std::function<double(double)>& f, double x) {
    const double h = 1e-3 * std::max(0.01, std::min(1.0, std::fabs(x)));
    return (f(x - 2 * h) - 8 * f(x - h) + 8 * f(x + h) - f(x + 2 * h)) / (12 * h);
}

TEST(Dual, FunctionsMatchPlainValuesAndCentralDifferences) {
    for (const UnaryCase& test : unary_cases()) {
        ASSERT_FALSE(test.points.empty());
        for (const double x : test.points) {
            const D y = test.dual(D(x, 1.7));
            EXPECT_EQ(y.value, test.plain(x)) << test.name << '(' << x << ')';
            const double expected = 1.7 * central_difference(test.plain, x);
            EXPECT_NEAR(y.derivative, expected, 1e-8 * std::max(1.0, std::fabs(expected)))
                << test.name << '(' << x << ')';
        }
    }
}

TEST(Dual, BinaryFunctionsMatchCentralDifferencesInBothArguments) {
    struct Case {
        const char* name;
        double (*plain)(double, double);
        D (*dual)(D, D);
    };
    const Case cases[] = {
        {"+", [](double a, double b) { return a + b; }, [](D a, D b) { return a + b; }},
        {"-", [](double a, double b) { return a - b; }, [](D a, D b) { return a - b; }},
        {"*", [](double a, double b) { return a * b; }, [](D a, D b) { return a * b; }},
        {"/", [](double a, double b) { return a / b; }, [](D a, D b) { return a / b; }},
        {"pow", [](double a, double b) { return std::pow(a, b); }, [](D a, D b) { return pow(a, b); }},
        {"maximum", [](double a, double b) { return std::max(a, b); }, [](D a, D b) { return maximum(a, b); }},
        {"minimum", [](double a, double b) { return std::min(a, b); }, [](D a, D b) { return minimum(a, b); }},
        {"fmax", [](double a, double b) { return std::fmax(a, b); }, [](D a, D b) { return fmax(a, b); }},
        {"fmin", [](double a, double b) { return std::fmin(a, b); }, [](D a, D b) { return fmin(a, b); }},
    };
    for (const Case& test : cases) {
        for (const auto& point : {std::pair{1.3, 0.7}, {0.4, 2.2}, {2.5, -1.5}}) {
            const double a = point.first, b = point.second;
            const D y = test.dual(D(a, 0.6), D(b, -1.1));
            EXPECT_DOUBLE_EQ(y.value, test.plain(a, b)) << test.name;
            const double expected = 0.6 * central_difference([&](double x) { return test.plain(x, b); }, a) -
                                    1.1 * central_difference([&](double x) { return test.plain(a, x); }, b);
            EXPECT_NEAR(y.derivative, expected, 1e-8 * std::max(1.0, std::fabs(expected)))
                << test.name << ' ' << a << ' ' << b;
        }
    }
}

TEST(Dual, PlainNumbersMixInOnEitherSide) {
    const D x(2.0, 3.0);
    EXPECT_EQ((x + 1).value, 3.0);
    EXPECT_EQ((1 + x).derivative, 3.0);
    EXPECT_EQ((x - 1.5f).value, 0.5);
    EXPECT_EQ((5 - x).derivative, -3.0);
    EXPECT_EQ((x * 4L).derivative, 12.0);
    EXPECT_EQ((0.5 * x).derivative, 1.5);
    EXPECT_EQ((x / 2).derivative, 1.5);
    EXPECT_EQ((8 / x).derivative, -6.0);
    EXPECT_EQ(pow(x, 3).derivative, 36.0);
    EXPECT_NEAR(pow(2.0, x).derivative, 3.0 * 4.0 * std::log(2.0), 1e-14);
    D y = x;
    y += 1;
    y *= x;
    y -= 2.0;
    y /= 2;
    EXPECT_EQ(y.value, 2.0);
    EXPECT_EQ(y.derivative, 7.5);
    EXPECT_EQ((D(kInfinity, 1.0) * 0.5).derivative, 0.5) << "a plain factor must not add 0 * infinity";
    EXPECT_EQ(static_cast<double>(x), 2.0);
}

TEST(Dual, KinksFollowTheOps) {
    EXPECT_EQ(abs(D(0.0, 1.0)).derivative, 0.0);
    EXPECT_EQ(relu(D(0.0, 1.0)).derivative, 0.0);
    EXPECT_EQ(sign(D(2.0, 1.0)).derivative, 0.0);
    EXPECT_EQ(maximum(D(1.0, 2.0), D(1.0, 4.0)).derivative, 3.0);
    EXPECT_EQ(minimum(D(1.0, 2.0), D(1.0, 4.0)).derivative, 3.0);
    EXPECT_EQ(sqrt(D(0.0, 1.0)).derivative, kInfinity);
    EXPECT_EQ(pow(D(0.0, 1.0), D(0.0)).derivative, 0.0);
    EXPECT_EQ(pow(D(0.0), D(2.0, 1.0)).derivative, 0.0);
    EXPECT_EQ(pow(D(0.0, 1.0), 2).derivative, 0.0);
    EXPECT_EQ(pow(D(-2.0, 1.0), 3).derivative, 12.0);
}

TEST(Dual, NanIsKeptOrIgnoredAsTheNameSays) {
    EXPECT_TRUE(isnan(maximum(D(kNaN), D(1.0))));
    EXPECT_TRUE(isnan(maximum(D(1.0), D(kNaN))));
    EXPECT_TRUE(isnan(minimum(D(1.0), D(kNaN))));
    EXPECT_EQ(fmax(D(kNaN), D(1.0)).value, 1.0);
    EXPECT_EQ(fmin(D(1.0), D(kNaN)).value, 1.0);
    EXPECT_TRUE(isnan(relu(D(kNaN))));
    EXPECT_TRUE(std::isnan(unroll::scalar::maximum(kNaN, 1.0)) && std::isnan(unroll::scalar::maximum(1.0, kNaN)));
    EXPECT_TRUE(std::isnan(unroll::scalar::minimum(kNaN, 1.0)) && std::isnan(unroll::scalar::minimum(1.0, kNaN)));
    EXPECT_TRUE(std::isnan(unroll::scalar::sign(kNaN)) && std::isnan(unroll::scalar::relu(kNaN)));
}

TEST(Dual, ComparisonsSeeTheValueAlone) {
    const D a(1.0, 5.0), b(1.0, -5.0), c(2.0, 0.0);
    EXPECT_TRUE(a == b && !(a != b) && a <= b && a >= b && !(a < b) && !(a > b));
    EXPECT_TRUE(a < c && a <= c && a != c && c > a && c >= a && !(a == c));
    EXPECT_TRUE(a < 2 && 2 > a && a == 1.0 && 0.5 <= a && a != 3);
}

TEST(Dual, FinitenessCountsTheDerivative) {
    EXPECT_TRUE(isfinite(D(1.0, 2.0)));
    EXPECT_FALSE(isfinite(D(1.0, kInfinity)));
    EXPECT_TRUE(isinf(D(1.0, kInfinity)));
    EXPECT_TRUE(isnan(D(1.0, kNaN)));
    EXPECT_FALSE(isinf(D(kInfinity, kNaN)));
    EXPECT_TRUE(signbit(D(-0.0)));
}

TEST(Dual, LimitsAreThoseOfTheValue) {
    using Limits = std::numeric_limits<D>;
    static_assert(Limits::is_specialized && Limits::has_infinity && Limits::digits == 53);
    EXPECT_EQ(Limits::max().value, std::numeric_limits<double>::max());
    EXPECT_EQ(Limits::max().derivative, 0.0);
    EXPECT_EQ(Limits::lowest().value, -std::numeric_limits<double>::max());
    EXPECT_EQ(Limits::epsilon().value, std::numeric_limits<double>::epsilon());
    EXPECT_EQ(Limits::infinity().value, kInfinity);
    EXPECT_TRUE(isnan(Limits::quiet_NaN()));
}

TEST(Dual, TailsKeepTheirAccuracy) {
    EXPECT_EQ(sigmoid(D(-800.0, 1.0)).value, 0.0);
    EXPECT_EQ(sigmoid(D(800.0, 1.0)).value, 1.0);
    EXPECT_DOUBLE_EQ(sigmoid(D(-700.0, 1.0)).derivative, std::exp(-700.0));
    EXPECT_DOUBLE_EQ(softplus(D(-700.0, 1.0)).value, std::exp(-700.0));
    EXPECT_EQ(softplus(D(800.0, 1.0)).value, 800.0);
    EXPECT_EQ(softplus(D(800.0, 1.0)).derivative, 1.0);
    EXPECT_EQ(unroll::scalar::sigmoid(-kInfinity), 0.0);
    EXPECT_EQ(unroll::scalar::softplus(-kInfinity), 0.0);
    EXPECT_EQ(unroll::scalar::softplus(kInfinity), kInfinity);
}

TEST(Dual, NestedDualsGiveSecondDerivatives) {
    using D2 = Dual<D>;
    const D2 x(D(0.7, 1.0), D(1.0, 0.0));
    const D2 y = exp(x * x) + 1;
    const double square = 0.7 * 0.7;
    EXPECT_NEAR(y.value.value, std::exp(square) + 1, 1e-14);
    EXPECT_NEAR(y.derivative.derivative, (2 + 4 * square) * std::exp(square), 1e-13);
    const D2 z = tanh(x) / sqrt(x);
    EXPECT_TRUE(isfinite(z));
}

TEST(Dual, WorksInsideXtensorArrays) {
    xt::xarray<D> a = {{D(1.0, 1.0), D(2.0, 0.0)}, {D(3.0, -1.0), D(4.0, 2.0)}};
    const xt::xarray<D> row = {D(10.0, 0.0), D(20.0, 1.0)};
    const xt::xarray<D> b = 2.0 * xt::exp(a * row / 100) - a;
    EXPECT_NEAR(b(1, 1).value, 2 * std::exp(0.8) - 4, 1e-14);
    EXPECT_NEAR(b(1, 1).derivative, 2 * std::exp(0.8) * (2 * 20 + 4 * 1) / 100 - 2, 1e-14);
    const D total = xt::sum(a)();
    EXPECT_EQ(total.value, 10.0);
    EXPECT_EQ(total.derivative, 2.0);
    const xt::xarray<D> column_sums = xt::sum(a, {0});
    EXPECT_EQ(column_sums(0).derivative, 0.0);
    const D largest = xt::amax(a)();
    EXPECT_EQ(largest.derivative, 2.0);
    a += row;
    EXPECT_EQ(a(0, 1).derivative, 1.0);
    const xt::xarray<bool> small = a < 15.0;
    EXPECT_TRUE(small(0, 0));
    EXPECT_FALSE(small(0, 1));
    EXPECT_EQ(xt::xarray<D>::from_shape({3}).size(), 3u);
    const xt::xarray<D> chosen = xt::where(small, a, xt::zeros_like(a));
    EXPECT_EQ(chosen(0, 1).value, 0.0);
}

TEST(Dual, FormatsBothParts) {
    EXPECT_EQ(fmt::format("{}", D(1.5, -2.0)), "1.5 + -2e");
    EXPECT_EQ(fmt::format("{:.3f}", D(1.5, 2.0)), "1.500 + 2.000e");
    std::ostringstream out;
    out << D(1.5, 2.0);
    EXPECT_EQ(out.str(), "1.5 + 2e");
}

}  // namespace
