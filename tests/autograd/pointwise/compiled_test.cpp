// The table of programs: one entry per structure, numbers as parameters, derivatives once, from any thread.
#include "helpers.hpp"

#include <array>
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include <unroll/autograd/error.hpp>
#include <unroll/autograd/pointwise/compiled.hpp>

namespace {

using namespace unroll;
using namespace unroll::test;
using detail::compile_pointwise;
using detail::CompiledPointwise;
using detail::Mask;
using detail::PointwiseCall;

TEST(CompiledPointwise, AFunctionWithoutCapturesIsRecordedOnce) {
    static int calls = 0;
    const CompiledPointwise* first = nullptr;
    for (int i = 0; i < 5; ++i) {
        const PointwiseCall call = compile_pointwise<2>([](auto a, auto b) {
            ++calls;
            return a * tanh(b) + 3.25;
        });
        if (first == nullptr) first = call.function;
        EXPECT_EQ(call.function, first);
        EXPECT_TRUE(call.parameters.empty());
    }
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(detail::to_string(first->program()), "y0 = x0 * tanh(x1) + 3.25");
}

TEST(CompiledPointwise, CapturedNumbersAreParametersAndTheTableDoesNotGrow) {
    const auto compile = [](double rate) {
        return compile_pointwise<1>([rate](auto x) { return rate * exp(x) + 7.5; });
    };
    const CompiledPointwise* const first = compile(0.3).function;
    const std::size_t before = detail::interned_programs();
    for (int i = 0; i < 1000; ++i) {
        const double rate = 0.3 + 1e-4 * i;
        const PointwiseCall call = compile(rate);
        ASSERT_EQ(call.function, first);
        ASSERT_EQ(call.function->operands(), 1);
        ASSERT_EQ(call.function->parameters(), 2);
        ASSERT_EQ(call.parameters.size(), 2u);
        std::vector<double> inputs = {0.4};
        inputs.insert(inputs.end(), call.parameters.begin(), call.parameters.end());
        EXPECT_DOUBLE_EQ(evaluate(call.function->program(), inputs)[0], rate * std::exp(0.4) + 7.5);
    }
    EXPECT_EQ(detail::interned_programs(), before);
}

TEST(CompiledPointwise, NumbersThatSimplifyHaveEntriesOfTheirOwn) {
    const auto compile = [](double a, double b) { return compile_pointwise<1>([a, b](auto x) { return a * x + b; }); };
    EXPECT_EQ(compile(1, 0).function->program().code.size(), 0u);
    EXPECT_EQ(compile(3, 0).function->parameters(), 1);
    EXPECT_EQ(compile(3, 4).function->parameters(), 2);
    EXPECT_EQ(compile(3, 4).function, compile(5, 6).function);
    EXPECT_EQ(compile(3, 3).function->parameters(), 1) << "equal numbers are one";
}

TEST(CompiledPointwise, ParametersGetNoGradientAndCostNothingToKeep) {
    const double exponent = 1.7;
    const PointwiseCall call = compile_pointwise<1>([exponent](auto x) { return pow(x, exponent); });
    const auto& adjoint = call.function->adjoint(1).adjoint();
    EXPECT_EQ(adjoint.saved, 0);
    EXPECT_EQ(adjoint.needs_input, 1u);
    EXPECT_EQ(adjoint.backward.gradient_of_input, (std::vector<int>{0, -1}));
    EXPECT_NEAR(run_backward<double>(adjoint, adjoint.backward, {2.0, 1.7}, {1.0})[0], 1.7 * std::pow(2.0, 0.7), 1e-15);
}

TEST(CompiledPointwise, PrintsCapturedNumbersAsTheyAre) {
    const auto print = [](double slope, double offset) {
        const PointwiseCall call = compile_pointwise<1>([=](auto x) { return slope * tanh(x) - offset; });
        const std::vector<std::string> in = {"x"}, out = {"y"};
        return detail::to_string(call, 1, in, out);
    };
    EXPECT_EQ(print(0.25, 3.5), "s0 = tanh(x)\ny = s0 * 0.25 - 3.5\n\ngx = tanh_gradient(gy * 0.25, s0)");
    EXPECT_EQ(print(-0.25, 7), "s0 = tanh(x)\ny = s0 * (-0.25) - 7\n\ngx = tanh_gradient(gy * (-0.25), s0)");
}

TEST(CompiledPointwise, ReturnsAnyKindOfTuple) {
    EXPECT_EQ(compile_pointwise<1>([](auto x) { return std::tuple{x, exp(x), x}; }).function->results(), 3);
    EXPECT_EQ(compile_pointwise<1>([](auto x) { return std::pair{exp(x), 1.0}; }).function->results(), 2);
    EXPECT_EQ(compile_pointwise<2>([](auto x, auto y) { return std::array{x, y}; }).function->results(), 2);
    EXPECT_EQ(compile_pointwise<1>([](auto) { return 2; }).function->results(), 1);
    static_assert(detail::result_count<Symbol>() == 1 && detail::result_count<std::tuple<Symbol, double>>() == 2);
    static_assert(!std::is_convertible_v<Symbol, bool> && !std::is_convertible_v<Symbol, double>);
}

TEST(CompiledPointwise, OperandsThatAreNotReadStillCount) {
    const PointwiseCall one = compile_pointwise<1>([](auto x) { return tanh(x); });
    const PointwiseCall two = compile_pointwise<2>([](auto x, auto) { return tanh(x); });
    EXPECT_NE(one.function, two.function);
    EXPECT_EQ(two.function->operands(), 2);
}

TEST(CompiledPointwise, DerivativesAreMadeOnceForEveryMask) {
    const CompiledPointwise& function = *compile_pointwise<2>([](auto a, auto b) {
                                             return std::tuple{a * b, exp(a)};
                                         }).function;
    EXPECT_EQ(&function.adjoint(3), &function.adjoint(3));
    EXPECT_NE(&function.adjoint(3), &function.adjoint(1));
    const auto& adjoint = function.adjoint(3);
    EXPECT_EQ(&adjoint.backward(3), &adjoint.adjoint().backward);
    EXPECT_EQ(&adjoint.backward(1), &adjoint.backward(1));
    EXPECT_EQ(adjoint.backward(2).gradient_of_input, (std::vector<int>{0, -1}));
}

TEST(CompiledPointwise, ThreadsGetTheSameEntries) {
    constexpr int kThreads = 4, kFunctions = 16;
    std::array<std::array<const CompiledPointwise*, kFunctions>, kThreads> found{};
    std::array<std::array<const detail::CompiledAdjoint*, kFunctions>, kThreads> adjoints{};
    std::atomic<int> waiting{kThreads};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            --waiting;
            while (waiting > 0) std::this_thread::yield();
            for (int f = 0; f < kFunctions; ++f) {
                const double number = 3.5 + t;
                const auto call = compile_pointwise<1>([f, number](auto x) {
                    for (int i = 0; i <= f; ++i) x = sin(x) + number;
                    return x;
                });
                const auto at = static_cast<std::size_t>(f);
                found[static_cast<std::size_t>(t)][at] = call.function;
                adjoints[static_cast<std::size_t>(t)][at] = &call.function->adjoint(1);
                call.function->adjoint(1).backward(0);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (std::size_t t = 1; t < kThreads; ++t) {
        EXPECT_EQ(found[t], found[0]);
        EXPECT_EQ(adjoints[t], adjoints[0]);
    }
}

TEST(CompiledPointwise, AnErrorInTheFunctionLeavesTheTableAsItWas) {
    const std::size_t before = detail::interned_programs();
    double number = 2.5;
    EXPECT_THROW(compile_pointwise<1>([number](Symbol x) {
                     for (int i = 0; i < 2000; ++i) x = sin(x) * number;
                     return x;
                 }),
                 ValueError);
    EXPECT_EQ(detail::interned_programs(), before);
}

}  // namespace
