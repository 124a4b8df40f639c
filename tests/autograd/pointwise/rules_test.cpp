// Every operation: its value against the formula, its derivative against differences and dual numbers, and both at the
// points where formulas are not enough. Composite functions too.
#include "helpers.hpp"

#include <algorithm>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include <unroll/autograd/pointwise/rules.hpp>
#include <unroll/tests/support/special_values.hpp>

namespace {

using namespace unroll;
using namespace unroll::test;
using detail::Opcode;
using detail::Program;
namespace rules = detail::rules;

using Point = std::vector<double>;

struct Sample {
    std::function<double(const Point&)> formula;
    std::vector<Point> points;
};

std::map<Opcode, Sample> samples() {
    const std::vector<Point> any = {{-2.3}, {-0.4}, {0.3}, {1.9}}, positive = {{0.05}, {0.7}, {3.1}};
    const std::vector<Point> two = {{-1.3, 0.6}, {0.4, 1.7}, {2.1, -0.8}},
                             bases = {{0.3, 1.7}, {2.2, -0.6}, {1.4, 0.4}};
    const std::vector<Point> three = {{-1.3, 0.6, 0.2}, {0.4, 1.7, -2.2}, {2.1, -0.8, 0.9}};
    const std::vector<Point> conditions = {{0, 1.5, -2}, {1, 1.5, -2}, {-0.5, 0.3, 0.7}};
    const std::vector<Point> truths = {{0, 0}, {0, 2}, {-1, 0}, {1, 3}, {1.5, 1.5}};
    return {
        {Opcode::add, {[](Point p) { return p[0] + p[1]; }, two}},
        {Opcode::sub, {[](Point p) { return p[0] - p[1]; }, two}},
        {Opcode::mul, {[](Point p) { return p[0] * p[1]; }, two}},
        {Opcode::div, {[](Point p) { return p[0] / p[1]; }, two}},
        {Opcode::neg, {[](Point p) { return -p[0]; }, any}},
        {Opcode::maximum, {[](Point p) { return std::max(p[0], p[1]); }, two}},
        {Opcode::minimum, {[](Point p) { return std::min(p[0], p[1]); }, two}},
        {Opcode::fma, {[](Point p) { return p[0] * p[1] + p[2]; }, three}},
        {Opcode::square, {[](Point p) { return p[0] * p[0]; }, any}},
        {Opcode::reciprocal, {[](Point p) { return 1 / p[0]; }, any}},
        {Opcode::sqrt, {[](Point p) { return std::sqrt(p[0]); }, positive}},
        {Opcode::rsqrt, {[](Point p) { return 1 / std::sqrt(p[0]); }, positive}},
        {Opcode::abs, {[](Point p) { return std::fabs(p[0]); }, any}},
        {Opcode::sign, {[](Point p) { return p[0] < 0 ? -1.0 : 1.0; }, any}},
        {Opcode::exp, {[](Point p) { return std::exp(p[0]); }, any}},
        {Opcode::expm1, {[](Point p) { return std::exp(p[0]) - 1; }, any}},
        {Opcode::log, {[](Point p) { return std::log(p[0]); }, positive}},
        {Opcode::log1p, {[](Point p) { return std::log(1 + p[0]); }, positive}},
        {Opcode::sin, {[](Point p) { return std::sin(p[0]); }, any}},
        {Opcode::cos, {[](Point p) { return std::cos(p[0]); }, any}},
        {Opcode::tanh, {[](Point p) { return std::tanh(p[0]); }, any}},
        {Opcode::sigmoid, {[](Point p) { return 1 / (1 + std::exp(-p[0])); }, any}},
        {Opcode::relu, {[](Point p) { return std::max(p[0], 0.0); }, any}},
        {Opcode::softplus, {[](Point p) { return std::log(1 + std::exp(p[0])); }, any}},
        {Opcode::erf, {[](Point p) { return std::erf(p[0]); }, any}},
        {Opcode::pow, {[](Point p) { return std::pow(p[0], p[1]); }, bases}},
        {Opcode::less, {[](Point p) { return p[0] < p[1] ? 1.0 : 0.0; }, two}},
        {Opcode::less_equal, {[](Point p) { return p[0] <= p[1] ? 1.0 : 0.0; }, two}},
        {Opcode::equal, {[](Point p) { return p[0] == p[1] ? 1.0 : 0.0; }, truths}},
        {Opcode::not_equal, {[](Point p) { return p[0] != p[1] ? 1.0 : 0.0; }, truths}},
        {Opcode::logical_and, {[](Point p) { return p[0] != 0 && p[1] != 0 ? 1.0 : 0.0; }, truths}},
        {Opcode::logical_or, {[](Point p) { return p[0] != 0 || p[1] != 0 ? 1.0 : 0.0; }, truths}},
        {Opcode::logical_not, {[](Point p) { return p[0] == 0 ? 1.0 : 0.0; }, {{0}, {1}, {-2}}}},
        {Opcode::select, {[](Point p) { return p[0] != 0 ? p[1] : p[2]; }, conditions}},
        {Opcode::tanh_gradient, {[](Point p) { return p[0] * (1 - p[1] * p[1]); }, two}},
        {Opcode::sigmoid_gradient, {[](Point p) { return p[0] * p[1] * (1 - p[1]); }, two}},
    };
}

double central_difference(const std::function<double(double)>& f, double x) {
    const double h = 1e-3 * std::max(0.05, std::min(1.0, std::fabs(x)));
    return (f(x - 2 * h) - 8 * f(x - h) + 8 * f(x + h) - f(x + 2 * h)) / (12 * h);
}

TEST(PointwiseRules, StandInTheOrderOfTheOpcodes) {
    int next = static_cast<int>(Opcode::constant) + 1;
    rules::for_each([&]<class Rule>(Rule) { EXPECT_EQ(static_cast<int>(Rule::kOpcode), next++); });
    EXPECT_EQ(next, static_cast<int>(Opcode::count)) << "an operation has no rule";
}

TEST(PointwiseRules, ValuesAreThoseOfTheFormulas) {
    const auto all = samples();
    rules::for_each([&]<class Rule>(Rule) {
        const std::string name = detail::opcode_name(Rule::kOpcode);
        ASSERT_TRUE(all.contains(Rule::kOpcode)) << name << " has no sample";
        for (const Point& p : all.at(Rule::kOpcode).points) {
            ASSERT_EQ(static_cast<int>(p.size()), detail::operand_count(Rule::kOpcode)) << name;
            const double expected = all.at(Rule::kOpcode).formula(p);
            EXPECT_NEAR(evaluate(single(Rule::kOpcode), p)[0], expected, 1e-15 * std::max(1.0, std::fabs(expected)))
                << name;
            const std::vector<float> narrow(p.begin(), p.end());
            EXPECT_NEAR(evaluate(single(Rule::kOpcode), narrow)[0], expected, 1e-6 * std::max(1.0, std::fabs(expected)))
                << name;
        }
    });
}

TEST(PointwiseRules, DerivativesMatchDifferencesAndDualNumbers) {
    for (const auto& [op, sample] : samples()) {
        const std::string name = detail::opcode_name(op);
        const Program program = single(op);
        for (const Point& p : sample.points) {
            const double upstream = 1.7;
            const std::vector<double> got = gradients(program, p, {upstream});
            for (std::size_t i = 0; i < p.size(); ++i) {
                std::vector<Dual<double>> along(p.begin(), p.end());
                along[i].derivative = 1.0;
                const double exact = upstream * evaluate(program, along)[0].derivative;
                EXPECT_NEAR(got[i], exact, 1e-14 * std::max(1.0, std::fabs(exact))) << name << ", operand " << i;
                if (!rules::has_gradient(op, static_cast<int>(i)) && op != Opcode::fma) {
                    EXPECT_EQ(got[i], 0) << name << " acts by steps";
                    continue;
                }
                const auto formula = [&, &f = sample.formula](double x) {
                    Point q = p;
                    q[i] = x;
                    return f(q);
                };
                const double numeric = upstream * central_difference(formula, p[i]);
                EXPECT_NEAR(got[i], numeric, 1e-8 * std::max(1.0, std::fabs(numeric))) << name << ", operand " << i;
            }
        }
    }
}

TEST(PointwiseRules, NanStaysNan) {
    for (const auto& [op, sample] : samples()) {
        const bool truth = op >= Opcode::less && op <= Opcode::logical_not;
        if (truth || op == Opcode::select) continue;
        const int n = detail::operand_count(op);
        for (int i = 0; i < n; ++i) {
            Point p(static_cast<std::size_t>(n), 0.5);
            p[static_cast<std::size_t>(i)] = kNaN;
            EXPECT_TRUE(std::isnan(evaluate(single(op), p)[0])) << detail::opcode_name(op) << ", operand " << i;
        }
    }
    EXPECT_EQ(evaluate<double>(single(Opcode::select), {0, kNaN, 2})[0], 2) << "the branch not taken does not count";
    EXPECT_EQ(evaluate<double>(single(Opcode::pow), {kNaN, 0})[0], 1);
}

struct Special {
    const char* what;
    Program program;
    Point at;
    double value;
    Point gradient;  // by operand, for an upstream gradient of 1
};

// Compared with PyTorch 1.13 point by point: the same values and gradients, but where the name says otherwise.
TEST(PointwiseRules, ValuesAndGradientsAtSpecialPoints) {
    const double phi0 = 0.39894228040143267794;
    const auto powered = [](double by) { return record_unary([by](Symbol x) { return pow(x, by); }); };
    const std::vector<Special> specials = {
        {"abs", single(Opcode::abs), {0}, 0, {0}},
        {"relu at 0", single(Opcode::relu), {0}, 0, {0}},
        {"relu at NaN", single(Opcode::relu), {kNaN}, kNaN, {1}},
        {"relu at ∞", single(Opcode::relu), {kInfinity}, kInfinity, {1}},
        {"maximum of equals", single(Opcode::maximum), {2, 2}, 2, {0.5, 0.5}},
        {"minimum of equals", single(Opcode::minimum), {2, 2}, 2, {0.5, 0.5}},
        {"maximum of NaN", single(Opcode::maximum), {kNaN, 2}, kNaN, {1, 1}},
        {"sqrt at 0", single(Opcode::sqrt), {0}, 0, {kInfinity}},
        {"sqrt below 0", single(Opcode::sqrt), {-1}, kNaN, {kNaN}},
        {"rsqrt at 0", single(Opcode::rsqrt), {0}, kInfinity, {-kInfinity}},
        {"log at 0", single(Opcode::log), {0}, -kInfinity, {kInfinity}},
        {"log below 0", single(Opcode::log), {-1}, kNaN, {-1}},
        {"log1p at -1", single(Opcode::log1p), {-1}, -kInfinity, {kInfinity}},
        {"exp at -∞", single(Opcode::exp), {-kInfinity}, 0, {0}},
        {"exp overflowing", single(Opcode::exp), {1000}, kInfinity, {kInfinity}},
        {"expm1 near 0", single(Opcode::expm1), {1e-18}, 1e-18, {1}},
        {"tanh at ∞", single(Opcode::tanh), {kInfinity}, 1, {0}},
        {"sigmoid at -∞", single(Opcode::sigmoid), {-kInfinity}, 0, {0}},
        {"sigmoid at 0", single(Opcode::sigmoid), {0}, 0.5, {0.25}},
        {"sigmoid far left", single(Opcode::sigmoid), {-700}, std::exp(-700.0), {std::exp(-700.0)}},
        {"softplus far right", single(Opcode::softplus), {800}, 800, {1}},
        {"softplus far left", single(Opcode::softplus), {-700}, std::exp(-700.0), {std::exp(-700.0)}},
        {"softplus at -∞", single(Opcode::softplus), {-kInfinity}, 0, {0}},
        {"division by 0", single(Opcode::div), {1, 0}, kInfinity, {kInfinity, -kInfinity}},
        {"0/0", single(Opcode::div), {0, 0}, kNaN, {kInfinity, kNaN}},
        {"0⁰", single(Opcode::pow), {0, 0}, 1, {0, 0}},
        {"0²", single(Opcode::pow), {0, 2}, 0, {0, 0}},
        {"0 to a half", single(Opcode::pow), {0, 0.5}, 0, {kInfinity, 0}},
        {"0⁻¹", single(Opcode::pow), {0, -1}, kInfinity, {-kInfinity, -kInfinity}},
        {"(-2)³", single(Opcode::pow), {-2, 3}, -8, {12, kNaN}},
        {"x⁰ at 0", powered(0), {0}, 1, {0}},
        {"x² at 0", powered(2), {0}, 0, {0}},
        {"x³ below 0", powered(3), {-2}, -8, {12}},
        {"x⁻¹", powered(-1), {-2}, -0.5, {-0.25}},
        {"√x by pow at 0", powered(0.5), {0}, 0, {kInfinity}},
        {"x^1.5 at 0", powered(1.5), {0}, 0, {0}},
        {"clip inside", record_unary([](Symbol x) { return clip(x, -1, 2); }), {1.5}, 1.5, {1}},
        {"clip at a bound", record_unary([](Symbol x) { return clip(x, -1, 2); }), {2}, 2, {1}},
        {"clip at the other", record_unary([](Symbol x) { return clip(x, -1, 2); }), {-1}, -1, {1}},
        {"clip outside", record_unary([](Symbol x) { return clip(x, -1, 2); }), {3}, 2, {0}},
        {"clip with bounds crossed", record_unary([](Symbol x) { return clip(x, 2, -1); }), {0.5}, -1, {0}},
        {"clip of NaN (PyTorch: gradient 0)", record_unary([](Symbol x) { return clip(x, -1, 2); }), {kNaN}, kNaN, {1}},
        {"leaky_relu at 0", record_unary([](Symbol x) { return leaky_relu(x); }), {0}, 0, {0.01}},
        {"leaky_relu left",
         record_unary([](Symbol x) { return leaky_relu(x, 0.2); }),
         {-3},
         -0.6000000000000001,
         {0.2}},
        {"elu at 0", record_unary([](Symbol x) { return elu(x, 1.5); }), {0}, 0, {1.5}},
        {"elu far right", record_unary([](Symbol x) { return elu(x); }), {1000}, 1000, {1}},
        {"elu at -∞", record_unary([](Symbol x) { return elu(x, 2.0); }), {-kInfinity}, -2, {0}},
        {"gelu at 0", record_unary([](Symbol x) { return gelu(x); }), {0}, 0, {0.5}},
        {"gelu at 1",
         record_unary([](Symbol x) { return gelu(x); }),
         {1},
         0.84134474606854293,
         {0.84134474606854293 + phi0 * std::exp(-0.5)}},
        {"silu at 0", record_unary([](Symbol x) { return silu(x); }), {0}, 0, {0.5}},
        {"log_sigmoid far left", record_unary([](Symbol x) { return log_sigmoid(x); }), {-800}, -800, {1}},
        {"log_sigmoid far right",
         record_unary([](Symbol x) { return log_sigmoid(x); }),
         {700},
         -std::exp(-700.0),
         {std::exp(-700.0)}},
    };
    for (const Special& s : specials) {
        const double value = evaluate(s.program, s.at)[0];
        const auto close = [](double a, double b) {
            return same_number(a, b) || std::fabs(a - b) <= 4e-16 * std::max(std::fabs(a), std::fabs(b));
        };
        EXPECT_TRUE(close(value, s.value)) << s.what << ": " << value << " instead of " << s.value;
        const Point got = gradients(s.program, s.at, {1.0});
        ASSERT_EQ(got.size(), s.gradient.size()) << s.what;
        for (std::size_t i = 0; i < got.size(); ++i) {
            EXPECT_TRUE(close(got[i], s.gradient[i]))
                << s.what << ", operand " << i << ": " << got[i] << " instead of " << s.gradient[i];
        }
    }
}

TEST(PointwiseRules, BranchesNotTakenKeepTheirNanToThemselves) {
    const auto check = [](const char* what, const std::function<Symbol(Symbol)>& function, double at, double expected) {
        const double got = gradient(record_unary(function), at);
        EXPECT_EQ(got, expected) << what << "\n" << detail::to_string(detail::differentiate(record_unary(function), 1));
    };
    check(
        "sqrt", [](Symbol x) { return where(x > 0, sqrt(x), 0); }, 0.0, 0.0);
    check(
        "deep", [](Symbol x) { return where(x > 0, exp(log(sqrt(x))) / x, 3 * x); }, 0.0, 3.0);
    check(
        "x log x", [](Symbol x) { return where(x == 0, 0, x * log(x)); }, 0.0, 0.0);
    check(
        "sin x / x", [](Symbol x) { return where(x == 0, 1, sin(x) / x); }, 0.0, 0.0);
    check(
        "two branches", [](Symbol x) { return where(x < 0, sqrt(-x), where(x > 0, sqrt(x), 5 * x)); }, 0.0, 5.0);
    check(
        "two readers",
        [](Symbol x) {
            const Symbol root = sqrt(x);
            return where(x > 0, root, 0) + where(x > 1, 2 * root, 0) + x;
        },
        0.0, 1.0);
    check(
        "overflow", [](Symbol x) { return where(x > 0, x, exp(-1000 * x)); }, 2.0, 1.0);
    check(
        "maximum", [](Symbol x) { return maximum(sqrt(x), 1); }, 0.0, 0.0);
    check(
        "relu", [](Symbol x) { return relu(sqrt(x) - 1); }, 0.0, 0.0);
    check(
        "clip", [](Symbol x) { return clip(log(x), -3, 3); }, 0.0, 0.0);
    // Conditions inside each other.
    check(
        "pieces of sqrt",
        [](Symbol x) {
            const Symbol r = sqrt(x);
            return where(x < 0, 0, where(x < 1, r, 2 * r));
        },
        -1.0, 0.0);
    check(
        "pieces of x log x",
        [](Symbol x) {
            const Symbol l = x * log(x);
            return where(x == 0, 0, where(x < 1, l, 2 * l));
        },
        0.0, 0.0);
    for (const double at : {-1.0, 0.0}) {
        check(
            "minimum inside", [](Symbol x) { return where(x > 0, minimum(sqrt(x), 1), 0); }, at, 0.0);
        check(
            "maximum inside", [](Symbol x) { return where(x > 0, maximum(sqrt(x), 0.1), 0); }, at, 0.0);
        check(
            "leaky_relu inside", [](Symbol x) { return where(x > 0, leaky_relu(sqrt(x) - 1), 0); }, at, 0.0);
        check(
            "elu inside", [](Symbol x) { return where(x > 0, elu(log(x)), 0); }, at, 0.0);
        check(
            "pieces of a root",
            [](Symbol x) {
                const Symbol r = sqrt(x);
                return where(x > 0, where(r <= 1, 0.5 * square(r), r - 0.5), 0);
            },
            at, 0.0);
        check(
            "two inside",
            [](Symbol x) {
                const Symbol r = sqrt(x);
                return where(x > 0, where(x < 1, r, 0) + where(x < 2, 2 * r, 0), 0);
            },
            at, 0.0);
        check(
            "one branch masked", [](Symbol x) { return where(x > 0, where(x > 4, sqrt(x), 3 * x), 7 * x); }, at, 7.0);
    }
    check(
        "taken", [](Symbol x) { return where(x > 0, where(x > 4, sqrt(x), 3 * x), 7 * x); }, 16.0, 0.125);
    check(
        "taken", [](Symbol x) { return where(x > 0, where(x > 4, sqrt(x), 3 * x), 7 * x); }, 2.0, 3.0);
}

}  // namespace
