// Elementwise functions against double precision over all floats (every one of them with UNROLL_TEST_SIZE=long, evenly
// spread ones otherwise), special values, and independence of an element's position.
#include <array>
#include <limits>

#include "../support/special_values.hpp"
#include "../support/test_size.hpp"
#include "support.hpp"

namespace unroll::test {
namespace {

struct Function {
    const char* name;
    FloatKernels::Map FloatKernels::*map;
    double (*exact)(double);
    double bound;      // largest error in ULP, as the contracts in vec_math.hpp state it
    double low, high;  // results stay within these

    friend void PrintTo(const Function& function, std::ostream* out) { *out << function.name; }
};

double exact_sigmoid(double x) { return x < 0 ? std::exp(x) / (1.0 + std::exp(x)) : 1.0 / (1.0 + std::exp(-x)); }
double exact_softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

const Function kFunctions[] = {
    {"exp", &FloatKernels::exp, [](double x) { return std::exp(x); }, 2.0, 0.0, kInfinity},
    {"expm1", &FloatKernels::expm1, [](double x) { return std::expm1(x); }, 2.0, -1.0, kInfinity},
    {"log", &FloatKernels::log, [](double x) { return std::log(x); }, 2.0, -kInfinity, kInfinity},
    {"log1p", &FloatKernels::log1p, [](double x) { return std::log1p(x); }, 2.0, -kInfinity, kInfinity},
    {"sin", &FloatKernels::sin, [](double x) { return std::sin(x); }, 1.0, -1.0, 1.0},
    {"cos", &FloatKernels::cos, [](double x) { return std::cos(x); }, 1.0, -1.0, 1.0},
    {"tanh", &FloatKernels::tanh, [](double x) { return std::tanh(x); }, 3.0, -1.0, 1.0},
    {"sigmoid", &FloatKernels::sigmoid, exact_sigmoid, 3.0, 0.0, 1.0},
    {"softplus", &FloatKernels::softplus, exact_softplus, 3.0, 0.0, kInfinity},
    {"erf", &FloatKernels::erf, [](double x) { return std::erf(x); }, 2.0, -1.0, 1.0},
    {"sqrt", &FloatKernels::sqrt, [](double x) { return std::sqrt(x); }, 0.5, -0.0, kInfinity},
    {"relu", &FloatKernels::relu, [](double x) { return x <= 0 ? 0.0 : x; }, 0.0, 0.0, kInfinity},
};

class Accuracy : public testing::TestWithParam<Function> {};

TEST_P(Accuracy, StaysWithinItsBoundOverAllFloats) {
    const Function& f = GetParam();
    // Odd strides meet every exponent with varying mantissas.
    const std::uint64_t stride = by_test_size<std::uint64_t>(16411, 2053, 1);
    constexpr std::size_t kBlock = 4096;
    std::array<float, kBlock> x{}, y{};
    std::array<double, kBlock> exact{};
    std::array<double, 3> worst{};
    std::array<float, 3> worst_at{};
    for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32);) {
        std::size_t n = 0;
        for (; n < kBlock && bits < (std::uint64_t{1} << 32); ++n, bits += stride) {
            x[n] = float_of(static_cast<std::uint32_t>(bits));
            exact[n] = f.exact(static_cast<double>(x[n]));
        }
        for_each_isa([&](const FloatKernels& k) {
            (k.*f.map)(x.data(), y.data(), static_cast<std::int64_t>(n));
            const auto isa = static_cast<std::size_t>(k.isa);
            for (std::size_t i = 0; i < n; ++i) {
                const double error = ulp_error(y[i], exact[i]);
                if (error > worst[isa]) {
                    worst[isa] = error;
                    worst_at[isa] = x[i];
                }
                if (!(y[i] >= f.low && y[i] <= f.high) && !std::isnan(y[i])) {
                    ADD_FAILURE() << k.name << ": " << f.name << "(" << x[i] << ") = " << y[i] << " is out of range";
                    return;
                }
            }
        });
        if (HasFailure()) return;
    }
    for_each_isa([&](const FloatKernels& k) {
        const auto isa = static_cast<std::size_t>(k.isa);
        // tanh has tables of its own there.
        const bool tables = k.isa == Isa::avx512 && f.map == &FloatKernels::tanh;
        EXPECT_LE(worst[isa], tables ? 1.0 : f.bound) << f.name << " at " << worst_at[isa];
        RecordProperty(std::string(k.name) + "_ulp", std::to_string(worst[isa]));
    });
}

TEST_P(Accuracy, KeepsSpecialValues) {
    const Function& f = GetParam();
    constexpr float kLargest = std::numeric_limits<float>::max(), kTiny = std::numeric_limits<float>::denorm_min();
    const float values[] = {0.0f,      -0.0f,     kTiny,     -kTiny,    0x1p-126f,  -0x1p-126f,     1.0f,
                            -1.0f,     kLargest,  -kLargest, HUGE_VALF, -HUGE_VALF, std::nanf(""),  -std::nanf(""),
                            88.37627f, 88.72283f, 88.72284f, -87.3366f, -87.34f,    -103.97f,       -103.98f,
                            -104.5f,   9.0109f,   9.011f,    4.0f,      -4.0f,      0.875f,         -0.875f,
                            17.3287f,  -17.3287f, 15.0f,     0.0625f,   1e-20f,     0x1.fffffep+1f, -1e-20f};
    for_each_isa([&](const FloatKernels& k) {
        for (const float x : values) {
            float y = 0;
            (k.*f.map)(&x, &y, 1);
            EXPECT_LE(ulp_error(y, f.exact(static_cast<double>(x))), f.bound) << f.name << "(" << x << ") = " << y;
        }
    });
}

TEST_P(Accuracy, DoesNotDependOnPosition) {
    const Function& f = GetParam();
    std::mt19937 random(7);
    for_each_isa([&](const FloatKernels& k) {
        for (const std::int64_t n : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47}) {
            Guarded x(1, n, n + 1, n % 5), y(1, n, n + 1, n % 3);
            x.fill(random);
            (k.*f.map)(x.data(), y.data(), n);
            EXPECT_TRUE(y.intact());
            for (std::int64_t i = 0; i < n; ++i) {
                float alone = 0;
                (k.*f.map)(&x.at(0, i), &alone, 1);
                EXPECT_TRUE(same(alone, y.at(0, i))) << f.name << " element " << i << " of " << n;
            }
            (k.*f.map)(x.data(), x.data(), n);
            for (std::int64_t i = 0; i < n; ++i) EXPECT_TRUE(same(x.at(0, i), y.at(0, i))) << f.name << " in place";
        }
    });
}

INSTANTIATE_TEST_SUITE_P(, Accuracy, testing::ValuesIn(kFunctions),
                         [](const testing::TestParamInfo<Function>& info) { return std::string(info.param.name); });

// The two errors that a widespread library makes.
TEST(Exp, IsFiniteUpToTheLargestFloatAndKeepsSubnormalResults) {
    for_each_isa([](const FloatKernels& k) {
        const float x[] = {88.38f, 88.7f, -88.0f, -100.0f, -103.0f};
        float y[5];
        k.exp(x, y, 5);
        EXPECT_TRUE(std::isfinite(y[0]) && std::isfinite(y[1]));
        for (int i = 2; i < 5; ++i) EXPECT_GT(y[i], 0.0f) << x[i];
    });
}

}  // namespace
}  // namespace unroll::test
