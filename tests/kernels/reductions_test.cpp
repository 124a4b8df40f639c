// Sums, norms and searches against double precision; simple updates.
#include <limits>

#include "support.hpp"

namespace unroll::test {
namespace {

constexpr std::int64_t kLengths[] = {0, 1, 3, 4, 7, 8, 15, 16, 17, 63, 64, 65, 200, 1023, 1024, 1025, 5000};

TEST(Reductions, EqualDoublePrecision) {
    std::mt19937 random(1);
    for (const std::int64_t n : kLengths) {
        SCOPED_TRACE(n);
        const std::vector<float> x = normal_floats(random, n), y = normal_floats(random, n);
        double sum = 0, dot = 0, squares = 0, absolute = 0, products = 0, largest = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double a = x[i], b = y[i];
            sum += a, dot += a * b, squares += a * a;
            absolute += std::fabs(a), products += std::fabs(a * b), largest = std::max(largest, std::fabs(a));
        }
        for_each_isa([&](const FloatKernels& k) {
            EXPECT_NEAR(k.sum(x.data(), n), sum, 2e-7 * absolute);
            EXPECT_NEAR(k.dot(x.data(), y.data(), n), dot, 4e-7 * products);
            EXPECT_NEAR(k.sum_of_squares(x.data(), n), squares, 1e-13 * squares);
            EXPECT_EQ(k.max_abs(x.data(), n), static_cast<float>(largest));
            EXPECT_EQ(k.first_nonfinite(x.data(), n), -1);
        });
    }
}

TEST(Reductions, DoNotDependOnAlignment) {
    std::mt19937 random(2);
    const std::int64_t n = 3001;
    const std::vector<float> x = normal_floats(random, n);
    for_each_isa([&](const FloatKernels& k) {
        for (const std::int64_t offset : {1, 2, 3, 5, 11}) {
            Guarded at(1, n, n, offset);
            std::memcpy(at.data(), x.data(), x.size() * sizeof(float));
            EXPECT_EQ(k.sum(at.data(), n), k.sum(x.data(), n));
            EXPECT_EQ(k.dot(at.data(), x.data(), n), k.dot(x.data(), x.data(), n));
            EXPECT_EQ(k.sum_of_squares(at.data(), n), k.sum_of_squares(x.data(), n));
        }
    });
}

TEST(SumOfSquares, NeitherOverflowsNorVanishes) {
    for_each_isa([](const FloatKernels& k) {
        const std::vector<float> large(37, 1e30f), small(37, 1e-30f);
        EXPECT_NEAR(k.sum_of_squares(large.data(), 37) / 37e60, 1.0, 1e-6);
        EXPECT_NEAR(k.sum_of_squares(small.data(), 37) / 37e-60, 1.0, 1e-6);
    });
}

TEST(Sum, IsAccurateForManyElements) {
    const std::vector<float> x(10'000'000, 0.1f);
    // Equal addends round alike all the way, the worst case; a plain sum in float ends at 1087937.
    for_each_isa([&](const FloatKernels& k) { EXPECT_NEAR(k.sum(x.data(), 10'000'000), 1e6, 1.0); });
}

TEST(FirstNonfinite, FindsEachPositionAndKind) {
    for (const std::int64_t n : {1, 5, 16, 33, 1030}) {
        std::vector<float> x(static_cast<std::size_t>(n), std::numeric_limits<float>::max());
        for (std::int64_t i = 0; i < n; ++i) {
            for (const float bad : {HUGE_VALF, -HUGE_VALF, NAN, -NAN}) {
                x[static_cast<std::size_t>(i)] = bad;
                for_each_isa([&](const FloatKernels& k) {
                    EXPECT_EQ(k.first_nonfinite(x.data(), n), i);
                    const float largest = k.max_abs(x.data(), n);
                    EXPECT_TRUE(std::isnan(bad) ? std::isnan(largest) : std::isinf(largest));
                });
            }
            // Later ones do not matter.
            x[static_cast<std::size_t>(i)] = -std::numeric_limits<float>::max();
        }
    }
}

TEST(Updates, ScaleAxpyAndAdd) {
    std::mt19937 random(3);
    for (const std::int64_t n : kLengths) {
        Guarded x(1, n, n + 1, 1), start(1, n, n + 1, n % 4);
        x.fill(random), start.fill(random);
        for_each_isa([&](const FloatKernels& k) {
            Guarded scaled = start, moved = start, added = start;
            k.scale(-1.5f, scaled.data(), n);
            k.axpy(0.3f, x.data(), moved.data(), n);
            k.add(x.data(), added.data(), n);
            EXPECT_TRUE(scaled.intact() && moved.intact() && added.intact());
            for (std::int64_t i = 0; i < n; ++i) {
                EXPECT_EQ(scaled.at(0, i), -1.5f * start.at(0, i));
                EXPECT_NEAR(moved.at(0, i), start.at(0, i) + static_cast<double>(0.3f) * x.at(0, i), 1e-6);
                EXPECT_EQ(added.at(0, i), start.at(0, i) + x.at(0, i));
            }
        });
    }
}

}  // namespace
}  // namespace unroll::test
