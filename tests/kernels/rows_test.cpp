// Softmax, log-softmax and cross entropy of rows against long double, log-softmax and the loss in ULP, and at the edges
// of the range.
#include <algorithm>
#include <limits>

#include "support.hpp"

namespace unroll::test {
namespace {

struct Exact {
    std::vector<long double> softmax, log_softmax;
};

Exact exact_row(const float* x, std::int64_t n) {
    Exact e;
    long double largest = -HUGE_VALL, sum = 0;
    for (std::int64_t i = 0; i < n; ++i) largest = std::max<long double>(largest, x[i]);
    for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - largest);
    const long double logsumexp = largest + std::log(sum);
    for (std::int64_t i = 0; i < n; ++i) {
        e.log_softmax.push_back(x[i] - logsumexp);
        e.softmax.push_back(std::exp(x[i] - logsumexp));
    }
    return e;
}

TEST(Rows, EqualLongDouble) {
    std::mt19937 random(1);
    for (const std::int64_t N : {1, 2, 3, 5, 8, 15, 16, 17, 33, 65, 128, 1000, 3000}) {
        for (const float size : {0.01f, 1.0f, 30.0f}) {
            SCOPED_TRACE("N " + std::to_string(N) + " size " + std::to_string(size));
            const std::int64_t M = 4;
            Guarded x(M, N, N + 3, 1);
            x.fill(random);
            for (std::int64_t m = 0; m < M; ++m) {
                for (std::int64_t n = 0; n < N; ++n) x.at(m, n) = x.at(m, n) * size + 5.0f;
            }
            const std::vector<std::int64_t> target = {0, N - 1, -1, N / 2};
            for_each_isa([&](const FloatKernels& k) {
                Guarded soft(M, N, N + 1), log_soft(M, N, N), both(M, N, N + 2, 3);
                std::vector<float> loss(M), loss_only(M);
                k.softmax_rows(M, N, x.data(), x.stride(), soft.data(), soft.stride());
                k.log_softmax_rows(M, N, x.data(), x.stride(), log_soft.data(), log_soft.stride());
                k.cross_entropy_rows(M, N, x.data(), x.stride(), target.data(), loss.data(), both.data(),
                                     both.stride());
                k.cross_entropy_rows(M, N, x.data(), x.stride(), target.data(), loss_only.data(), nullptr, 0);
                EXPECT_EQ(loss, loss_only);
                EXPECT_TRUE(soft.intact() && log_soft.intact() && both.intact());
                Guarded in_place = x;
                k.softmax_rows(M, N, in_place.data(), x.stride(), in_place.data(), x.stride());
                for (std::int64_t m = 0; m < M; ++m) {
                    const Exact e = exact_row(&x.at(m, 0), N);
                    const double eps = 0x1p-24;
                    // The subtraction of the largest entry rounds to half an ULP of the difference.
                    const double spread = 8.0 * static_cast<double>(size) + 4.0;
                    for (std::int64_t n = 0; n < N; ++n) {
                        const auto i = static_cast<std::size_t>(n);
                        EXPECT_NEAR(log_soft.at(m, n), static_cast<double>(e.log_softmax[i]), 4.0 * eps * spread);
                        const double p = static_cast<double>(e.softmax[i]);
                        EXPECT_NEAR(soft.at(m, n), p, 6.0 * eps * spread * p + 1e-44);
                        EXPECT_EQ(both.at(m, n), soft.at(m, n));
                        EXPECT_EQ(in_place.at(m, n), soft.at(m, n));
                    }
                    const std::int64_t t = target[static_cast<std::size_t>(m)];
                    const double expected =
                        t < 0 ? 0.0 : -static_cast<double>(e.log_softmax[static_cast<std::size_t>(t)]);
                    EXPECT_NEAR(loss[static_cast<std::size_t>(m)], expected, 4.0 * eps * spread);
                }
            });
        }
    }
}

/// log_softmax of a row; the sum leaves out one of the largest entries, whose 1 would cost the others their digits.
std::vector<long double> exact_log_softmax(const std::vector<float>& x) {
    const auto at = static_cast<std::size_t>(std::max_element(x.begin(), x.end()) - x.begin());
    const long double largest = x[at];
    long double others = 0;
    for (std::size_t i = 0; i < x.size(); ++i) others += i == at ? 0.0L : std::exp(x[i] - largest);
    std::vector<long double> y;
    for (const float e : x) y.push_back((e - largest) - std::log1p(others));
    return y;
}

// In ULP, for log_softmax and for the loss of every class. The bounds are those that kernels.hpp states.
void expect_log_softmax_within(double bound, const std::vector<float>& x) {
    const auto N = static_cast<std::int64_t>(x.size());
    const std::vector<long double> exact = exact_log_softmax(x);
    std::vector<std::int64_t> targets(x.size());
    std::vector<float> rows;
    for (std::int64_t i = 0; i < std::min<std::int64_t>(N, 40); ++i) {
        targets[static_cast<std::size_t>(i)] = (i * 7) % N;
        rows.insert(rows.end(), x.begin(), x.end());
    }
    const auto M = static_cast<std::int64_t>(rows.size()) / N;
    // Terms below 2^-126 are rounded to multiples of 2^-149. A result of 0 may have either sign.
    const auto error = [N](float y, long double expected) {
        const double size = static_cast<double>(std::fabs(expected)), rounding = static_cast<double>(N) * 0x1p-149;
        return std::max(0.0, ulp_error(std::fabs(y), size) - rounding / ulp_at(size));
    };
    for_each_isa([&](const FloatKernels& k) {
        std::vector<float> y(x.size()), losses(static_cast<std::size_t>(M));
        k.log_softmax_rows(1, N, x.data(), N, y.data(), N);
        double worst = 0;
        for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, error(y[i], exact[i]));
        EXPECT_LE(worst, bound);
        k.cross_entropy_rows(M, N, rows.data(), N, targets.data(), losses.data(), nullptr, 0);
        for (std::size_t m = 0; m < losses.size(); ++m) {
            const auto t = static_cast<std::size_t>(targets[m]);
            EXPECT_LE(error(losses[m], exact[t]), bound) << "class " << t;
        }
        for (const float l : losses) EXPECT_GE(l, 0.0f);
    });
}

TEST(LogSoftmax, StaysWithinItsBoundOverRandomRows) {
    std::mt19937 random(3);
    for (const std::size_t N : {1, 2, 3, 7, 16, 17, 65, 1000, 3000}) {
        for (const float size : {1e-30f, 1e-4f, 0.3f, 1.0f, 3.0f, 10.0f, 30.0f, 300.0f, 1e5f, 1e30f}) {
            for (const float centre : {0.0f, -1.0f, 50.0f, -4000.0f, 1e6f}) {
                SCOPED_TRACE("N " + std::to_string(N) + " size " + std::to_string(size) + " around " +
                             std::to_string(centre));
                std::vector<float> x = normal_floats(random, static_cast<std::int64_t>(N));
                for (float& e : x) e = e * size + centre;
                expect_log_softmax_within(4.0, x);
            }
        }
    }
}

// One entry above equal others: what is left of the sum is small, and roundings all go the same way.
TEST(LogSoftmax, StaysWithinItsBoundInRowsThatAreSure) {
    for (const std::size_t N : {2, 5, 65, 1024, 5000}) {
        for (const float gap : {1e-3f, 0.7f, 5.3f, 10.1f, 16.6f, 20.0f, 33.3f, 71.9f, 87.4f, 103.9f, 150.0f}) {
            for (const float top : {0.0f, 1.1f, 33.3f, -77.7f, 4095.9f, 4096.0f, -5000.0f}) {
                SCOPED_TRACE("N " + std::to_string(N) + " gap " + std::to_string(gap) + " top " + std::to_string(top));
                std::vector<float> x(N, top - gap);
                x[N / 2] = top;
                expect_log_softmax_within(9.0, x);
                x[N - 1] = top;
                expect_log_softmax_within(9.0, x);
            }
        }
    }
    const float row[] = {20.0f, 0.0f};
    for_each_isa([&](const FloatKernels& k) {
        float y[2];
        k.log_softmax_rows(1, 2, row, 2, y, 2);
        EXPECT_FLOAT_EQ(y[0], -2.0611537e-09f);
        EXPECT_EQ(y[1], -20.0f);
    });
}

TEST(Rows, AreStableAtTheEdges) {
    constexpr float kLargest = std::numeric_limits<float>::max();
    for_each_isa([](const FloatKernels& k) {
        for (const float top : {1000.0f, -1000.0f, 1e30f, kLargest, -kLargest}) {
            const float x[] = {top, top, -HUGE_VALF};
            float soft[3], log_soft[3];
            k.softmax_rows(1, 3, x, 3, soft, 3);
            k.log_softmax_rows(1, 3, x, 3, log_soft, 3);
            EXPECT_EQ(soft[0], 0.5f);
            EXPECT_EQ(soft[2], 0.0f);
            EXPECT_NEAR(log_soft[1], -std::log(2.0f), 1e-7);
            EXPECT_EQ(log_soft[2], -HUGE_VALF);
        }
    });
}

TEST(Rows, NonFiniteRows) {
    for_each_isa([](const FloatKernels& k) {
        for (const std::int64_t bad : {0, 7, 20}) {
            for (const float value : {NAN, HUGE_VALF}) {
                std::vector<float> x(21, 0.5f), y(21);
                x[static_cast<std::size_t>(bad)] = value;
                k.softmax_rows(1, 21, x.data(), 21, y.data(), 21);
                for (const float p : y) EXPECT_TRUE(std::isnan(p));
                k.log_softmax_rows(1, 21, x.data(), 21, y.data(), 21);
                for (const float l : y) EXPECT_TRUE(std::isnan(l));
                const std::int64_t target = 3;
                float loss = 0;
                k.cross_entropy_rows(1, 21, x.data(), 21, &target, &loss, nullptr, 0);
                EXPECT_TRUE(std::isnan(loss));
            }
        }
        const std::vector<float> none(21, -HUGE_VALF);
        std::vector<float> y(21);
        k.softmax_rows(1, 21, none.data(), 21, y.data(), 21);
        EXPECT_TRUE(std::isnan(y[3]));
        k.log_softmax_rows(1, 21, none.data(), 21, y.data(), 21);
        EXPECT_TRUE(std::isnan(y[3]));
    });
}

}  // namespace
}  // namespace unroll::test
