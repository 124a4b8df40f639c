// Products and sums that are large enough to be cut into groups of columns or rows: right, and the same bits for any number
// of threads.
#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/tensor.hpp>

#include "../support/random_tensor.hpp"
#include "../support/test_size.hpp"
#include "../support/threads_as_before.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace unroll {
namespace {

struct Case {
    bool ta, tb, accumulate;
    Index m, n, k;
};

/// C with row length n + 3, the three more being there to be left alone.
template <class Real>
std::vector<Real> product(const Case& c, const Tensor<double>& a, const Tensor<double>& b) {
    const std::vector<Real> left(a.begin(), a.end()), right(b.begin(), b.end());
    std::vector<Real> out(static_cast<std::size_t>(c.m * (c.n + 3)), Real(0.5));
    detail::gemm(c.ta, c.tb, c.m, c.n, c.k, left.data(), c.ta ? c.m : c.k, right.data(), c.tb ? c.k : c.n, c.accumulate,
                 out.data(), c.n + 3);
    return out;
}

template <class Real>
void expect_right_on_any_number_of_threads(const Case& c) {
    const test::ThreadsAsBefore restore;
    const Tensor<double> a = test::random_tensor({c.m * c.k}, 1), b = test::random_tensor({c.k * c.n}, 2);
    set_num_threads(1);
    const std::vector<Real> one = product<Real>(c, a, b);
    for (Index i = 0; i < c.m; i += std::max<Index>(1, c.m / 5))
        for (Index j = 0; j < c.n + 3; ++j) {
            double sum = c.accumulate || j >= c.n ? 0.5 : 0;
            for (Index l = 0; l < c.k && j < c.n; ++l)
                sum += a.data()[c.ta ? l * c.m + i : i * c.k + l] * b.data()[c.tb ? j * c.k + l : l * c.n + j];
            const auto got = static_cast<double>(one[static_cast<std::size_t>(i * (c.n + 3) + j)]);
            ASSERT_NEAR(got, sum, std::sqrt(static_cast<double>(c.k)) * 1e3 * std::numeric_limits<Real>::epsilon());
        }
    for (const Index threads : {2, 3, 5}) {
        set_num_threads(threads);
        ASSERT_EQ(product<Real>(c, a, b), one) << threads << " threads";
    }
}

TEST(Gemm, LargeProductsAreTheSameBitsForAnyNumberOfThreads) {
    for (const bool accumulate : {false, true}) {
        if (!accumulate && test::test_size() == test::TestSize::kShort) continue;
        expect_right_on_any_number_of_threads<float>({false, false, accumulate, 16, 1030, 300});
        expect_right_on_any_number_of_threads<float>({false, true, accumulate, 16, 1030, 300});
        expect_right_on_any_number_of_threads<float>({true, false, accumulate, 130, 517, 70});
        expect_right_on_any_number_of_threads<float>({false, false, accumulate, 1, 2050, 2050});  // one row
        expect_right_on_any_number_of_threads<float>({false, true, accumulate, 1, 2050, 2050});
        expect_right_on_any_number_of_threads<float>({true, false, true, 2050, 2050, 1});  // a rank-one update
        expect_right_on_any_number_of_threads<double>({false, false, accumulate, 16, 1030, 300});
        expect_right_on_any_number_of_threads<float>({false, false, accumulate, 810, 70, 90});  // cut into rows
        expect_right_on_any_number_of_threads<float>({false, true, accumulate, 810, 70, 90});
        expect_right_on_any_number_of_threads<float>({true, false, accumulate, 810, 70, 90});
    }
}

TEST(ColumnSums, LargeOnesAreTheSameBitsForAnyNumberOfThreads) {
    const test::ThreadsAsBefore restore;
    const Index rows = 300, n = 1030;
    const Tensor<double> random = test::random_tensor({rows * n}, 3);
    const std::vector<float> a(random.begin(), random.end());
    const auto sums = [&](bool accumulate) {
        std::vector<float> to(static_cast<std::size_t>(n), 0.5f);
        detail::column_sums(a.data(), rows, n, accumulate, to.data());
        return to;
    };
    for (const bool accumulate : {false, true}) {
        set_num_threads(1);
        const std::vector<float> one = sums(accumulate);
        for (Index j = 0; j < n; ++j) {
            double sum = accumulate ? 0.5 : 0;
            for (Index i = 0; i < rows; ++i) sum += static_cast<double>(a[static_cast<std::size_t>(i * n + j)]);
            ASSERT_NEAR(static_cast<double>(one[static_cast<std::size_t>(j)]), sum, 1e-4);
        }
        for (const Index threads : {2, 3, 5}) {
            set_num_threads(threads);
            ASSERT_EQ(sums(accumulate), one) << threads << " threads";
        }
    }
}

}  // namespace
}  // namespace unroll
