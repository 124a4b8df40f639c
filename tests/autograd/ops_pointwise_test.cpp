// pointwise as an op on the tape: how much it may keep, and what is refused.
#include "tape_support.hpp"

#include "../support/error_message.hpp"
#include "../support/random_tensor.hpp"
#include "../support/threads_as_before.hpp"

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

/// Value and gradients of a function whose operands are rows, parts of rows and a row that is broadcast, rows [begin, end).
std::vector<float> large_pointwise(const Tensor<float>& gates, const Tensor<float>& row, Index begin, Index end) {
    const auto part = [&](const Tensor<float>& all, Index columns) {
        return Var<float>(alias<float>({}, const_cast<float*>(all.data()) + begin * columns, {end - begin, columns}));
    };
    const Index n = static_cast<Index>(row.size());
    const Var<float> x = part(gates, 3 * n), b(row);
    Tape<float> tape;
    tape.watch(x);
    const auto [y, z] = pointwise(
        [](auto i, auto f, auto g, auto c) {
            auto next = sigmoid(i + c) * tanh(g);
            return std::tuple{next * exp(f), tanh(next)};
        },
        columns<3>(x), b);
    tape.backward(sum(y * z));
    std::vector<float> all(y.data(), y.data() + y.size());
    all.insert(all.end(), z.data(), z.data() + z.size());
    const Tensor<float> gx = tape.gradient(x);
    all.insert(all.end(), gx.begin(), gx.end());
    return all;
}

TEST(PointwiseOp, ThreadsShareLargeOnesAndEveryElementIsAsIfComputedAlone) {
    const test::ThreadsAsBefore restore;
    const Index rows = 37, n = 1003;
    const Tensor<double> from = test::random_tensor({rows, 3 * n}, 4), shift = test::random_tensor({n}, 5);
    const Tensor<float> gates = xt::cast<float>(from), row = xt::cast<float>(shift);
    set_num_threads(1);
    const std::vector<float> one = large_pointwise(gates, row, 0, rows);
    for (const Index threads : {2, 3, 5}) {
        set_num_threads(threads);
        ASSERT_EQ(large_pointwise(gates, row, 0, rows), one) << threads << " threads";
    }
    const std::vector<float> last = large_pointwise(gates, row, rows - 1, rows);
    for (Index j = 0; j < n; ++j) {
        ASSERT_EQ(one[static_cast<std::size_t>((rows - 1) * n + j)], last[static_cast<std::size_t>(j)]);
        ASSERT_EQ(one[static_cast<std::size_t>((2 * rows - 1) * n + j)], last[static_cast<std::size_t>(n + j)]);
    }
    for (Index j = 0; j < 3 * n; ++j)
        ASSERT_EQ(one[static_cast<std::size_t>(2 * rows * n + (rows - 1) * 3 * n + j)],
                  last[static_cast<std::size_t>(2 * n + j)]);
}

}  // namespace
}  // namespace unroll
