// Recording of functions: merging, folding, simplification that changes no value, text, and misuse.
#include "helpers.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include <unroll/autograd/error.hpp>
#include <unroll/tests/support/special_values.hpp>

namespace {

using namespace unroll;
using namespace unroll::test;
using detail::Opcode;
using detail::Program;

std::string text(const Program& program) {
    const std::vector<std::string> in = {"a", "b", "c"}, out = {"y", "z"};
    return detail::to_string(program, in, out);
}

std::string unary(const std::function<Symbol(Symbol)>& function) { return text(record_unary(function)); }
std::string binary(const std::function<Symbol(Symbol, Symbol)>& function) { return text(record_binary(function)); }

TEST(PointwiseProgram, CommonSubexpressionsAreRecordedOnce) {
    const Program p = record(2, [](const Symbols& x) {
        const Symbol u = tanh(x[0] * x[1]) + 1.0, v = tanh(x[1] * x[0]) + 1.0;
        return Symbols{u - exp(v), u};
    });
    EXPECT_EQ(p.code.size(), 6u) << text(p);  // mul, tanh, 1, add, exp, sub
}

TEST(PointwiseProgram, UnusedOperationsAreDropped) {
    const Program p = record_unary([](Symbol x) {
        exp(x);
        return x + 2;
    });
    EXPECT_EQ(text(p), "y = a + 2");
}

TEST(PointwiseProgram, NumbersAreFoldedAndUnitsVanish) {
    EXPECT_EQ(unary([](Symbol x) { return x + exp(Symbol(0)) * 2 - 2; }), "y = a + 2 - 2") << "sums are not reordered";
    EXPECT_EQ(unary([](Symbol x) { return (x + 0) * 1 / 1 - 0; }), "y = a");
    EXPECT_EQ(unary([](Symbol x) { return 0 - x; }), "y = -a");
    EXPECT_EQ(unary([](Symbol x) { return -(-x) * -1; }), "y = -a");
    EXPECT_EQ(unary([](Symbol x) { return x * x; }), "y = square(a)");
    EXPECT_EQ(unary([](Symbol x) { return 1 / x; }), "y = reciprocal(a)");
    EXPECT_EQ(unary([](Symbol x) { return x / 4; }), "y = 0.25 * a");
    EXPECT_EQ(unary([](Symbol x) { return x / 3; }), "y = a / 3") << "x/3 and x·(1/3) round differently";
    EXPECT_EQ(unary([](Symbol x) { return 0 * x; }), "y = 0 * a") << "0·∞ is NaN";
    EXPECT_EQ(unary([](Symbol) { return Symbol(2) * 3 + 1; }), "y = 7");
    EXPECT_EQ(unary([](Symbol x) { return pow(x, 2) + pow(x, 0.5) + pow(x, 1) + pow(x, 0); }),
              "y = square(a) + sqrt(a) + a + 1");
    EXPECT_EQ(binary([](Symbol a, Symbol b) { return a + -b; }), "y = a - b");
    EXPECT_EQ(binary([](Symbol a, Symbol b) { return -(a - b); }), "y = b - a");
    EXPECT_EQ(binary([](Symbol a, Symbol b) { return where(!(a < b), a, b); }), "y = where(a < b, b, a)");
    EXPECT_EQ(binary([](Symbol a, Symbol b) { return where(Symbol(true), a, b); }), "y = a");
    EXPECT_EQ(binary([](Symbol a, Symbol b) { return !(a == b); }), "y = a != b");
}

TEST(PointwiseProgram, ProductAndSumBecomeOneInstruction) {
    const Program p = record(3, [](const Symbols& x) { return Symbols{x[0] * x[1] + x[2]}; });
    ASSERT_EQ(p.code.size(), 1u);
    EXPECT_EQ(p.code[0].op, Opcode::fma);
    const Program two_readers = record(3, [](const Symbols& x) {
        const Symbol product = x[0] * x[1];
        return Symbols{product + x[2], product};
    });
    EXPECT_EQ(two_readers.code.size(), 2u) << text(two_readers);
    EXPECT_EQ(evaluate<double>(two_readers, {2, 3, 4}), (std::vector<double>{10, 6}));
}

TEST(PointwiseProgram, PrintsWhatOneWouldWrite) {
    const Program lstm = record(5, [](const Symbols& x) {
        const Symbol c = x[1] * x[4] + x[0] * x[2];
        return Symbols{x[3] * tanh(c), c};
    });
    const std::vector<std::string> in = {"i", "f", "g", "o", "c"}, out = {"h", "c2"};
    EXPECT_EQ(detail::to_string(lstm, in, out), "c2 = f * c + i * g\nh = o * tanh(c2)");
    EXPECT_EQ(binary([](Symbol a, Symbol b) { return (a - (b - a)) / (a * b); }), "y = (a - (b - a)) / (a * b)");
    EXPECT_EQ(binary([](Symbol a, Symbol b) { return -(a * b) - exp(-(a + b)); }), "y = -(a * b) - exp(-(a + b))");
    EXPECT_EQ(binary([](Symbol a, Symbol b) { return where(0 < a && a <= b, a, -2.5); }),
              "y = where(0 < a && a <= b, a, -2.5)");
    EXPECT_EQ(unary([](Symbol a) { return exp(a) + sqrt(exp(a)); }), "t1 = exp(a)\ny = t1 + sqrt(t1)");
    EXPECT_EQ(text(record_binary([](Symbol a, Symbol) { return a; })), "y = a");
    EXPECT_EQ(text(record(2, [](const Symbols& x) { return Symbols{exp(x[0]), exp(x[0])}; })), "y = exp(a)\nz = y");
    EXPECT_EQ(detail::to_string(record_unary([](Symbol x) { return tanh(x); })), "y0 = tanh(x0)");
}

TEST(PointwiseProgram, SimplificationChangesNoValueOfRandomPrograms) {
    const double specials[] = {0.0, 1.0, -1.0, 2.0, -0.3, 0.6, kInfinity, -kInfinity, kNaN};
    int compared = 0;
    for (std::uint32_t seed = 0; seed < 400; ++seed) {
        const RandomFunction function(seed, 3, 25, false);
        const Program program = function.program();
        std::mt19937 draw(seed + 1000);
        for (int trial = 0; trial < 8; ++trial) {
            std::vector<double> x;
            for (int i = 0; i < 3; ++i) {
                x.push_back(draw() % 2 == 0 ? specials[draw() % std::size(specials)]
                                            : std::uniform_real_distribution<double>(-2, 2)(draw));
            }
            const std::vector<double> expected = function(x), got = evaluate(program, x);
            ASSERT_EQ(expected.size(), got.size());
            for (std::size_t k = 0; k < got.size(); ++k) {
                // Infinities of either sign come from zeros of either sign, which simplification may exchange.
                const bool both_infinite = std::isinf(expected[k]) && std::isinf(got[k]);
                if (std::count(x.begin(), x.end(), 0.0) > 0 && (both_infinite || !std::isfinite(expected[k]))) continue;
                EXPECT_TRUE(same_number(expected[k], got[k]))
                    << "seed " << seed << ": " << expected[k] << " became " << got[k] << "\n"
                    << detail::to_string(program);
                ++compared;
            }
        }
    }
    EXPECT_GT(compared, 5000);
}

TEST(PointwiseProgram, ComparisonsAndLogicGiveOneOrZero) {
    const Program p = record(2, [](const Symbols& x) {
        return Symbols{x[0]<x[1], x[0] <= x[1], x[0]> x[1],
                       x[0] >= x[1],
                       x[0] == x[1],
                       x[0] != x[1],
                       !x[0],
                       x[0] && x[1],
                       x[0] || x[1]};
    });
    using Row = std::vector<double>;
    EXPECT_EQ(evaluate<double>(p, {1, 2}), (Row{1, 1, 0, 0, 0, 1, 0, 1, 1}));
    EXPECT_EQ(evaluate<double>(p, {2, 2}), (Row{0, 1, 0, 1, 1, 0, 0, 1, 1}));
    EXPECT_EQ(evaluate<double>(p, {0, -3}), (Row{0, 0, 1, 1, 0, 1, 1, 0, 1}));
    EXPECT_EQ(evaluate<double>(p, {kNaN, 0}), (Row{0, 0, 0, 0, 0, 1, 0, 0, 1}));
}

TEST(PointwiseProgram, AssignmentOperatorsRecordToo) {
    EXPECT_EQ(binary([](Symbol a, Symbol b) {
                  a += b;
                  a *= 3;
                  a -= b;
                  a /= b;
                  return +a;
              }),
              "y = (3 * (a + b) - b) / b");
}

TEST(PointwiseProgram, SymbolsOutsideTheirFunctionAreRefused) {
    std::unique_ptr<Symbol> kept;
    record_unary([&](Symbol x) {
        kept = std::make_unique<Symbol>(x);
        return x;
    });
    EXPECT_THROW(exp(*kept), UsageError);
    EXPECT_THROW(record_unary([&](Symbol x) { return x + *kept; }), UsageError);
    EXPECT_THROW(record_unary([&](Symbol) { return *kept; }), UsageError);
    EXPECT_THROW(exp(Symbol(1.0)), UsageError);
    EXPECT_EQ(unary([](Symbol x) { return tanh(x); }), "y = tanh(a)") << "recording works after an error";
}

TEST(PointwiseProgram, RecordingsNestWithoutMixing) {
    std::string inner;
    const std::string outer = unary([&](Symbol x) {
        const Symbol before = exp(x);
        inner = unary([](Symbol z) { return tanh(z); });
        EXPECT_THROW(record_unary([&](Symbol z) { return z + x; }), UsageError);
        return before + x;
    });
    EXPECT_EQ(inner, "y = tanh(a)");
    EXPECT_EQ(outer, "y = exp(a) + a");
}

TEST(PointwiseProgram, AnExceptionInTheFunctionLeavesNothingBehind) {
    EXPECT_THROW(record_unary([](Symbol) -> Symbol { throw std::runtime_error("mine"); }), std::runtime_error);
    EXPECT_THROW(exp(Symbol(1.0)), UsageError) << "no recording is left open";
}

TEST(PointwiseProgram, TooLongAFunctionIsRefused) {
    EXPECT_THROW(record_unary([](Symbol x) {
                     for (int i = 0; i < 2000; ++i) x = tanh(x);
                     return x;
                 }),
                 ValueError);
    const Program long_one = record_unary([](Symbol x) {
        for (int i = 0; i < 1000; ++i) x = sin(x);
        return x;
    });
    EXPECT_EQ(long_one.code.size(), 1000u);
}

TEST(PointwiseProgram, EveryThreadRecordsForItself) {
    std::vector<std::string> texts(4);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < texts.size(); ++t) {
        threads.emplace_back([&texts, t] {
            for (int i = 0; i < 200; ++i) {
                texts[t] = unary([t](Symbol x) { return tanh(x) + (1 + static_cast<double>(t)) * exp(x); });
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(texts[0], "y = tanh(a) + exp(a)");
    EXPECT_EQ(texts[2], "y = 3 * exp(a) + tanh(a)");
}

TEST(PointwiseProgram, EqualityAndHashSeeStructureAndBits) {
    const auto scaled = [](double by) { return record_unary([by](Symbol x) { return x + by; }); };
    EXPECT_TRUE(scaled(3) == scaled(3));
    EXPECT_FALSE(scaled(3) == scaled(4));
    EXPECT_TRUE(scaled(kNaN) == scaled(kNaN));
    EXPECT_EQ(detail::hash_of(scaled(3)), detail::hash_of(scaled(3)));
    EXPECT_NE(detail::hash_of(scaled(3)), detail::hash_of(scaled(4)));
}

}  // namespace
