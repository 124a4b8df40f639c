// Derivatives of whole programs: correct, small, and saving no more than they need.
#include "helpers.hpp"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

namespace {

using namespace unroll;
using namespace unroll::test;
using detail::Adjoint;
using detail::BackwardProgram;
using detail::differentiate;
using detail::Mask;
using detail::Opcode;
using detail::Program;
using detail::Source;

constexpr Mask kAll = ~Mask{0};

std::vector<double> draw_vector(std::mt19937& draw, std::size_t n) {
    std::vector<double> x;
    for (std::size_t i = 0; i < n; ++i) x.push_back(std::uniform_real_distribution<double>(-1, 1)(draw));
    return x;
}

// <u, J v> by a dual number against <Jᵀu, v> by the derivative.
void expect_adjoint_identity(const Program& program, const std::vector<double>& x, std::mt19937& draw,
                             const std::string& what) {
    const std::vector<double> v = draw_vector(draw, x.size()), u = draw_vector(draw, program.outputs.size());
    std::vector<Dual<double>> along;
    for (std::size_t i = 0; i < x.size(); ++i) along.emplace_back(x[i], v[i]);
    double forward = 0, backward = 0, scale = 1;
    const std::vector<Dual<double>> y = evaluate(program, along);
    for (std::size_t k = 0; k < y.size(); ++k) forward += u[k] * y[k].derivative;
    const std::vector<double> g = gradients(program, x, u);
    for (std::size_t i = 0; i < g.size(); ++i) {
        backward += g[i] * v[i];
        scale = std::max(scale, std::fabs(g[i]));
    }
    EXPECT_NEAR(forward, backward, 1e-12 * scale) << what;
}

TEST(PointwiseAdjoint, IsTheTransposeOfTheDualDerivativeOfRandomPrograms) {
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        const RandomFunction function(seed, 4, 30, true);
        std::mt19937 draw(seed + 5000);
        const std::vector<double> x = draw_vector(draw, 4);
        expect_adjoint_identity(function.program(), x, draw, "seed " + std::to_string(seed));
    }
}

TEST(PointwiseAdjoint, MatchesDifferencesOfRandomPrograms) {
    for (std::uint32_t seed = 1000; seed < 1050; ++seed) {
        const RandomFunction function(seed, 3, 20, true);
        std::mt19937 draw(seed);
        const std::vector<double> x = draw_vector(draw, 3), u = draw_vector(draw, 3);
        const std::vector<double> g = gradients(function.program(), x, u);
        for (std::size_t i = 0; i < x.size(); ++i) {
            const auto value = [&](double at) {
                std::vector<double> z = x;
                z[i] = at;
                const std::vector<double> y = function(z);
                return u[0] * y[0] + u[1] * y[1] + u[2] * y[2];
            };
            const double h = 1e-3;
            const double numeric =
                (value(x[i] - 2 * h) - 8 * value(x[i] - h) + 8 * value(x[i] + h) - value(x[i] + 2 * h)) / (12 * h);
            EXPECT_NEAR(g[i], numeric, 1e-8 * std::max(1.0, std::fabs(numeric))) << "seed " << seed;
        }
    }
}

TEST(PointwiseAdjoint, ExtendedProgramComputesTheSameBits) {
    for (std::uint32_t seed = 0; seed < 100; ++seed) {
        const RandomFunction function(seed, 4, 30, true);
        std::mt19937 draw(seed);
        const std::vector<double> x = draw_vector(draw, 4);
        const Program program = function.program();
        const std::vector<double> plain = evaluate(program, x),
                                  extended = evaluate(differentiate(program, kAll).forward, x);
        ASSERT_GE(extended.size(), plain.size());
        for (std::size_t k = 0; k < plain.size(); ++k) EXPECT_EQ(plain[k], extended[k]) << "seed " << seed;
    }
}

TEST(PointwiseAdjoint, AbsentGradientsCountAsZeroAndNothingMoreIsRead) {
    for (std::uint32_t seed = 0; seed < 100; ++seed) {
        const RandomFunction function(seed, 4, 30, true);
        std::mt19937 draw(seed);
        const std::vector<double> x = draw_vector(draw, 4);
        const Adjoint adjoint = differentiate(function.program(), kAll);
        for (Mask present = 0; present < 8; ++present) {
            const BackwardProgram partial = detail::without_absent(adjoint.backward, present);
            std::vector<double> u = draw_vector(draw, 3);
            const std::vector<double> got = run_backward(adjoint, partial, x, u);
            for (int k = 0; k < 3; ++k) {
                if ((present >> k & 1) == 0) u[static_cast<std::size_t>(k)] = 0;
            }
            const std::vector<double> expected = run_backward(adjoint, adjoint.backward, x, u);
            for (std::size_t i = 0; i < x.size(); ++i) {
                EXPECT_NEAR(got[i], expected[i], 1e-12 * std::max(1.0, std::fabs(expected[i]))) << "seed " << seed;
            }
            for (const Source& source : partial.reads) {
                const auto& all = adjoint.backward.reads;
                EXPECT_NE(std::find(all.begin(), all.end(), source), all.end());
                if (source.kind == Source::Kind::gradient) {
                    EXPECT_TRUE(present >> source.index & 1);
                }
            }
            if (present == 0) {
                EXPECT_TRUE(partial.program.outputs.empty());
            }
        }
    }
}

TEST(PointwiseAdjoint, DerivesOnlyWhatIsWanted) {
    for (std::uint32_t seed = 0; seed < 50; ++seed) {
        const RandomFunction function(seed, 4, 30, true);
        const Program program = function.program();
        std::mt19937 draw(seed);
        const std::vector<double> x = draw_vector(draw, 4), u = draw_vector(draw, 3);
        const std::vector<double> full = gradients(program, x, u);
        for (Mask wanted = 0; wanted < 16; ++wanted) {
            const Adjoint adjoint = differentiate(program, wanted);
            const std::vector<double> got = run_backward(adjoint, adjoint.backward, x, u);
            for (int i = 0; i < 4; ++i) {
                const auto at = static_cast<std::size_t>(i);
                if (wanted >> i & 1) {
                    EXPECT_NEAR(got[at], full[at], 1e-12 * std::max(1.0, std::fabs(full[at])));
                } else {
                    EXPECT_EQ(adjoint.backward.gradient_of_input[at], -1);
                }
            }
        }
    }
    const Program product = record_binary([](Symbol a, Symbol b) { return a * tanh(b); });
    EXPECT_EQ(differentiate(product, 1).saved, 1);
    EXPECT_EQ(differentiate(product, 1).needs_input, 0u) << "ga = g·tanh(b)";
    EXPECT_EQ(differentiate(product, 3).needs_input, 1u) << "gb = g·a·(1 - tanh²(b))";
}

TEST(PointwiseAdjoint, IsAProgramThatCanBeDerivedAgain) {
    for (std::uint32_t seed = 0; seed < 50; ++seed) {
        const RandomFunction function(seed, 3, 15, true);
        std::mt19937 draw(seed + 77);
        const Adjoint adjoint = differentiate(function.program(), kAll);
        const Program& derivative = adjoint.backward.program;
        expect_adjoint_identity(derivative, draw_vector(draw, static_cast<std::size_t>(derivative.inputs)), draw,
                                "seed " + std::to_string(seed));
    }
    // tanh'' = -2 tanh (1 - tanh²), from the derivative with respect to y of g·(1 - y²).
    const Adjoint first = differentiate(record_unary([](Symbol x) { return tanh(x); }), 1);
    ASSERT_EQ(first.backward.reads, (std::vector<Source>{{Source::Kind::output, 0}, {Source::Kind::gradient, 0}}));
    const std::vector<double> second = gradients(first.backward.program, {0.3, 2.0}, {1.0});
    EXPECT_DOUBLE_EQ(second[0], -2 * 2.0 * 0.3);
    EXPECT_DOUBLE_EQ(second[1], 1 - 0.09);
}

TEST(PointwiseAdjoint, LstmGatesSaveActivationsAndReadNoPreactivations) {
    const Program gates = record(5, [](const Symbols& x) {
        const Symbol i = sigmoid(x[0]), f = sigmoid(x[1]), g = tanh(x[2]), o = sigmoid(x[3]);
        const Symbol c = f * x[4] + i * g;
        return Symbols{o * tanh(c), c};
    });
    const Adjoint adjoint = differentiate(gates, kAll);
    EXPECT_EQ(adjoint.saved, 5) << detail::to_string(adjoint);
    EXPECT_EQ(adjoint.needs_input, Mask{1} << 4) << "the old cell state only";
    EXPECT_EQ(adjoint.needs_output, 0u);
    EXPECT_EQ(adjoint.forward.code.size(), 8u);
    EXPECT_LE(adjoint.backward.program.code.size(), 12u);
    for (const auto& instruction : adjoint.backward.program.code) EXPECT_LT(detail::operand_count(instruction.op), 4);
    const std::vector<std::string> in = {"i", "f", "g", "o", "c"}, out = {"h", "c2"};
    EXPECT_EQ(detail::to_string(adjoint, in, out), "s0 = sigmoid(i)\n"
                                                   "s1 = sigmoid(f)\n"
                                                   "s2 = tanh(g)\n"
                                                   "s3 = sigmoid(o)\n"
                                                   "c2 = s1 * c + s0 * s2\n"
                                                   "s4 = tanh(c2)\n"
                                                   "h = s3 * s4\n"
                                                   "\n"
                                                   "t1 = gc2 + tanh_gradient(gh * s3, s4)\n"
                                                   "gc = t1 * s1\n"
                                                   "go = sigmoid_gradient(gh * s4, s3)\n"
                                                   "gg = tanh_gradient(t1 * s0, s2)\n"
                                                   "gf = sigmoid_gradient(t1 * c, s1)\n"
                                                   "gi = sigmoid_gradient(t1 * s2, s0)");
    EXPECT_EQ(adjoint.backward.fused.code.size(), 7u) << "five products and gradients in one instruction each";
    // The last step of a window often has a gradient of h only; the choice of what is saved must not depend on it.
    const BackwardProgram only_h = detail::without_absent(adjoint.backward, 1);
    EXPECT_EQ(only_h.reads.size() + 1, adjoint.backward.reads.size());
    EXPECT_EQ(only_h.program.code.size() + 1, adjoint.backward.program.code.size());
}

TEST(PointwiseAdjoint, GruGatesSaveThreeActivations) {
    const Program gates = record(7, [](const Symbols& x) {
        const Symbol r = sigmoid(x[0] + x[3]), z = sigmoid(x[1] + x[4]), n = tanh(x[2] + r * x[5]);
        return Symbols{(1 - z) * n + z * x[6]};
    });
    const Adjoint adjoint = differentiate(gates, kAll);
    EXPECT_EQ(adjoint.saved, 3) << detail::to_string(adjoint);
    EXPECT_EQ(adjoint.needs_input, Mask{1} << 5 | Mask{1} << 6);
    EXPECT_EQ(adjoint.needs_output, 0u);
    const auto& of = adjoint.backward.gradient_of_input;
    const auto& outputs = adjoint.backward.program.outputs;
    EXPECT_EQ(outputs[static_cast<std::size_t>(of[0])], outputs[static_cast<std::size_t>(of[3])])
        << "a sum hands on one gradient";
}

TEST(PointwiseAdjoint, SavesNothingWhereInputsAndOutputsAreEnough) {
    const auto saved = [](const std::function<Symbol(Symbol)>& function) {
        return differentiate(record_unary(function), 1);
    };
    for (const auto& function : std::vector<std::function<Symbol(Symbol)>>{
             [](Symbol x) { return tanh(x); }, [](Symbol x) { return sigmoid(x); }, [](Symbol x) { return exp(x); },
             [](Symbol x) { return relu(x); }, [](Symbol x) { return sqrt(x); }}) {
        const Adjoint adjoint = saved(function);
        EXPECT_EQ(adjoint.saved, 0);
        EXPECT_EQ(adjoint.needs_input, 0u) << "the output is enough";
        EXPECT_EQ(adjoint.needs_output, 1u);
    }
    for (const auto& function : std::vector<std::function<Symbol(Symbol)>>{
             [](Symbol x) { return square(x); }, [](Symbol x) { return log(x); }, [](Symbol x) { return sin(x); },
             [](Symbol x) { return softplus(x); }, [](Symbol x) { return clip(x, -1, 1); }}) {
        const Adjoint adjoint = saved(function);
        EXPECT_EQ(adjoint.saved, 0);
        EXPECT_EQ(adjoint.needs_input, 1u);
        EXPECT_EQ(adjoint.needs_output, 0u);
    }
    const Adjoint linear = saved([](Symbol x) { return 3 * x - 1; });
    EXPECT_EQ(linear.saved, 0);
    EXPECT_EQ(linear.needs_input | linear.needs_output, 0u);
    const Adjoint cheap = saved([](Symbol x) { return square(1 - 2 * x); });
    EXPECT_EQ(cheap.saved, 0) << "1 - 2x is computed again";
}

TEST(PointwiseAdjoint, GradientsOfStepsAndOfUnusedInputsAreAbsent) {
    const Program program = record(3, [](const Symbols& x) { return Symbols{sign(x[0]) * x[1] + (x[0] < x[1])}; });
    const Adjoint adjoint = differentiate(program, kAll);
    EXPECT_EQ(adjoint.backward.gradient_of_input, (std::vector<int>{-1, 0, -1}));
    const Adjoint constant = differentiate(record_unary([](Symbol) { return Symbol(3.0); }), 1);
    EXPECT_EQ(constant.backward.gradient_of_input, (std::vector<int>{-1}));
    EXPECT_TRUE(constant.backward.reads.empty());
}

TEST(PointwiseAdjoint, AnInputThatIsAnOutputPassesItsGradientOn) {
    const Adjoint adjoint = differentiate(record_binary([](Symbol a, Symbol) { return a; }), kAll);
    EXPECT_TRUE(adjoint.backward.program.code.empty());
    EXPECT_EQ(adjoint.backward.reads, (std::vector<Source>{{Source::Kind::gradient, 0}}));
    const Program twice = record(1, [](const Symbols& x) { return Symbols{exp(x[0]), exp(x[0])}; });
    EXPECT_DOUBLE_EQ(gradients(twice, {0.5}, {2.0, 3.0})[0], 5 * std::exp(0.5));
}

}  // namespace
