// Matrix-vector products, rank-one updates, column sums and transposition against double precision, with every tail,
// inside larger matrices, and at several alignments.
#include "support.hpp"

namespace unroll::test {
namespace {

constexpr std::int64_t kSizes[] = {0, 1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 64, 65, 100, 129, 200};

/// |sum - exact| is at most this often epsilon times the sum of absolute terms.
constexpr double kTolerance = 8.0 * 0x1p-24;

template <class Check>
void for_shapes(const Check& check) {
    std::mt19937 random(1);
    for (const std::int64_t K : kSizes) {
        for (const std::int64_t N : kSizes) {
            for (const float beta : {0.0f, 1.0f}) {
                SCOPED_TRACE("K " + std::to_string(K) + " N " + std::to_string(N) + " beta " + std::to_string(beta));
                check(random, K, N, beta);
                if (testing::Test::HasFailure()) return;
            }
        }
    }
}

TEST(GemvN, EqualsDoublePrecision) {
    for_shapes([](std::mt19937& random, std::int64_t K, std::int64_t N, float beta) {
        Guarded W(K, N, N + K % 5, N % 3), x(1, K, K + 1), start(1, N, N + 1, K % 2);
        W.fill(random), x.fill(random);
        if (beta == 0.0f) {
            start.fill(NAN);
        } else {
            start.fill(random);
        }
        for_each_isa([&](const FloatKernels& k) {
            Guarded y = start;
            k.gemv_n(K, N, x.data(), W.data(), W.stride(), beta, y.data());
            EXPECT_TRUE(y.intact());
            for (std::int64_t n = 0; n < N; ++n) {
                double exact = beta == 0.0f ? 0.0 : start.at(0, n), size = std::fabs(exact);
                for (std::int64_t i = 0; i < K; ++i) {
                    const double term = static_cast<double>(x.at(0, i)) * W.at(i, n);
                    exact += term;
                    size += std::fabs(term);
                }
                EXPECT_LE(std::fabs(y.at(0, n) - exact), kTolerance * size) << n;
            }
        });
    });
}

TEST(GemvN, LargeMatricesTakeTheOtherPath) {
    std::mt19937 random(2);
    const std::int64_t K = 517, N = 523;  // more than 2^18 elements, both with tails
    Guarded W(K, N, N + 2), x(1, K, K), start(1, N, N);
    W.fill(random), x.fill(random), start.fill(random);
    for (const float beta : {0.0f, 1.0f}) {
        for_each_isa([&](const FloatKernels& k) {
            Guarded y = start;
            k.gemv_n(K, N, x.data(), W.data(), W.stride(), beta, y.data());
            EXPECT_TRUE(y.intact());
            for (std::int64_t n = 0; n < N; ++n) {
                double exact = static_cast<double>(beta) * start.at(0, n), size = std::fabs(exact);
                for (std::int64_t i = 0; i < K; ++i) {
                    const double term = static_cast<double>(x.at(0, i)) * W.at(i, n);
                    exact += term;
                    size += std::fabs(term);
                }
                EXPECT_LE(std::fabs(y.at(0, n) - exact), kTolerance * size) << n;
            }
        });
    }
}

TEST(GemvT, EqualsDoublePrecision) {
    for_shapes([](std::mt19937& random, std::int64_t K, std::int64_t N, float beta) {
        Guarded W(K, N, N + K % 5, N % 3), g(1, N, N + 1), start(1, K, K + 1, K % 2);
        W.fill(random), g.fill(random);
        if (beta == 0.0f) {
            start.fill(NAN);
        } else {
            start.fill(random);
        }
        for_each_isa([&](const FloatKernels& k) {
            Guarded y = start;
            k.gemv_t(K, N, g.data(), W.data(), W.stride(), beta, y.data());
            EXPECT_TRUE(y.intact());
            for (std::int64_t i = 0; i < K; ++i) {
                double exact = beta == 0.0f ? 0.0 : start.at(0, i), size = std::fabs(exact);
                for (std::int64_t n = 0; n < N; ++n) {
                    const double term = static_cast<double>(g.at(0, n)) * W.at(i, n);
                    exact += term;
                    size += std::fabs(term);
                }
                EXPECT_LE(std::fabs(y.at(0, i) - exact), kTolerance * size) << i;
            }
        });
    });
}

TEST(Ger, AddsTheOuterProduct) {
    for_shapes([](std::mt19937& random, std::int64_t K, std::int64_t N, float) {
        Guarded start(K, N, N + 3, K % 4), x(1, K, K), g(1, N, N, 1);
        start.fill(random), x.fill(random), g.fill(random);
        for_each_isa([&](const FloatKernels& k) {
            Guarded C = start;
            k.ger(K, N, x.data(), g.data(), C.data(), C.stride());
            EXPECT_TRUE(C.intact());
            for (std::int64_t i = 0; i < K; ++i) {
                for (std::int64_t n = 0; n < N; ++n) {
                    const double exact = start.at(i, n) + static_cast<double>(x.at(0, i)) * g.at(0, n);
                    EXPECT_NEAR(C.at(i, n), exact, 2e-6);
                }
            }
        });
    });
}

TEST(ColumnSum, EqualsDoublePrecision) {
    for_shapes([](std::mt19937& random, std::int64_t M, std::int64_t N, float beta) {
        Guarded A(M, N, N + M % 3, 1), start(1, N, N + 1);
        A.fill(random);
        if (beta == 0.0f) {
            start.fill(NAN);
        } else {
            start.fill(random);
        }
        for_each_isa([&](const FloatKernels& k) {
            Guarded y = start;
            k.column_sum(M, N, A.data(), A.stride(), beta, y.data());
            EXPECT_TRUE(y.intact());
            for (std::int64_t n = 0; n < N; ++n) {
                double exact = beta == 0.0f ? 0.0 : start.at(0, n), size = std::fabs(exact);
                for (std::int64_t m = 0; m < M; ++m) {
                    exact += A.at(m, n);
                    size += std::fabs(A.at(m, n));
                }
                EXPECT_LE(std::fabs(y.at(0, n) - exact), kTolerance * size) << n;
            }
        });
    });
}

TEST(ColumnSum, IsAccurateForManyRows) {
    const std::int64_t M = 100000;
    std::vector<float> A(static_cast<std::size_t>(M), 0.1f);
    for_each_isa([&](const FloatKernels& k) {
        float y = 0;
        k.column_sum(M, 1, A.data(), 1, 0.0f, &y);
        // A plain sum in float ends at 9998.6.
        EXPECT_NEAR(y, 10000.0, 0.05);
    });
}

TEST(Transpose, MovesEveryElement) {
    for_shapes([](std::mt19937& random, std::int64_t K, std::int64_t N, float) {
        Guarded A(K, N, N + 1, K % 3);
        A.fill(random);
        for_each_isa([&](const FloatKernels& k) {
            Guarded B(N, K, K + 2, N % 2);
            k.transpose(K, N, A.data(), A.stride(), B.data(), B.stride());
            EXPECT_TRUE(B.intact());
            for (std::int64_t i = 0; i < K; ++i) {
                for (std::int64_t n = 0; n < N; ++n) EXPECT_EQ(B.at(n, i), A.at(i, n));
            }
        });
    });
}

TEST(LinearKernels, DoNotDependOnAlignment) {
    std::mt19937 random(4);
    const std::int64_t K = 67, N = 83;
    const std::vector<float> W = normal_floats(random, K * N), x = normal_floats(random, K),
                             g = normal_floats(random, N);
    for_each_isa([&](const FloatKernels& k) {
        std::vector<float> expected_n, expected_t;
        for (const std::int64_t offset : {0, 1, 2, 3, 9}) {
            Guarded at(K, N, N, offset), y(1, N, N, offset), z(1, K, K, offset);
            std::memcpy(at.data(), W.data(), W.size() * sizeof(float));
            k.gemv_n(K, N, x.data(), at.data(), N, 0.0f, y.data());
            k.gemv_t(K, N, g.data(), at.data(), N, 0.0f, z.data());
            const std::vector<float> got_n(y.data(), y.data() + N), got_t(z.data(), z.data() + K);
            if (offset == 0) {
                expected_n = got_n;
                expected_t = got_t;
            }
            EXPECT_EQ(got_n, expected_n);
            EXPECT_EQ(got_t, expected_t);
        }
    });
}

}  // namespace
}  // namespace unroll::test
