// pointwise as an op on the tape: how much it may keep, and what is refused.
#include "tape_support.hpp"

#include "../support/error_message.hpp"

#include <unroll/autograd/ops/pointwise.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace unroll {
namespace {

using test::error_message;
using test::values;
using ::testing::HasSubstr;

TEST(PointwiseOp, MayKeepManyValuesAndTooLargeOnesAreRefused) {
    const Var<double> x(values({2}, {0.3, -2}));
    Tape<double> tape;
    tape.watch(x);
    const auto nested = [&](int times) {
        return pointwise(
            [times](auto v) {
                for (int i = 0; i < times; ++i) v = tanh(v);
                return v;
            },
            x);
    };
    const auto y = nested(40);
    const Index before = tape.node_count();
    EXPECT_THROW(nested(100), ValueError);
    std::vector<double> numbers(170);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = 0.1 + 0.01 * static_cast<double>(i);
    const auto polynomial = [&numbers](auto v) {
        auto sum = v * 0.5;
        for (const double c : numbers) sum = sum * v + c;
        return sum;
    };
    EXPECT_THAT(error_message<ValueError>([&] { pointwise(polynomial, x); }), HasSubstr("too large"));
    EXPECT_EQ(tape.node_count(), before);
    tape.backward(sum(y));
    for (std::size_t i = 0; i < 2; ++i) {
        double v = x.data()[i], slope = 1;
        for (int k = 0; k < 40; ++k) {
            v = std::tanh(v);
            slope *= 1 - v * v;
        }
        EXPECT_NEAR(y.data()[i], v, 1e-14);
        EXPECT_NEAR(tape.gradient(x).data()[i], slope, 1e-14);
    }
}

}  // namespace
}  // namespace unroll
