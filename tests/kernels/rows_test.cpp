// Softmax, log-softmax, logsumexp and cross entropy of rows against long double, and at the edges of the range.
#include <limits>

#include "support.hpp"

namespace unroll::test {
namespace {

struct Exact {
    std::vector<long double> softmax, log_softmax;
    long double logsumexp = 0;
};

Exact exact_row(const float* x, std::int64_t n) {
    Exact e;
    long double largest = -HUGE_VALL, sum = 0;
    for (std::int64_t i = 0; i < n; ++i) largest = std::max<long double>(largest, x[i]);
    for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - largest);
    e.logsumexp = largest + std::log(sum);
    for (std::int64_t i = 0; i < n; ++i) {
        e.log_softmax.push_back(x[i] - e.logsumexp);
        e.softmax.push_back(std::exp(x[i] - e.logsumexp));
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
                std::vector<float> lse(M), loss(M), loss_only(M);
                k.softmax_rows(M, N, x.data(), x.stride(), soft.data(), soft.stride());
                k.log_softmax_rows(M, N, x.data(), x.stride(), log_soft.data(), log_soft.stride());
                k.logsumexp_rows(M, N, x.data(), x.stride(), lse.data());
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
                    EXPECT_NEAR(lse[static_cast<std::size_t>(m)], static_cast<double>(e.logsumexp),
                                4.0 * eps * (std::fabs(static_cast<double>(e.logsumexp)) + spread));
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
                float lse = 0;
                k.logsumexp_rows(1, 21, x.data(), 21, &lse);
                EXPECT_TRUE(std::isnan(value) ? std::isnan(lse) : lse == HUGE_VALF) << lse;
            }
        }
        const std::vector<float> none(21, -HUGE_VALF);
        std::vector<float> y(21);
        float lse = 0;
        k.softmax_rows(1, 21, none.data(), 21, y.data(), 21);
        EXPECT_TRUE(std::isnan(y[3]));
        k.logsumexp_rows(1, 21, none.data(), 21, &lse);
        EXPECT_EQ(lse, -HUGE_VALF);
    });
}

}  // namespace
}  // namespace unroll::test
