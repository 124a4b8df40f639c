// What the kernel tests share: running a check for every instruction set of this machine, distances in ULP, random
// data, and memory whose surroundings are watched.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <unroll/autograd/kernels/kernels.hpp>

namespace unroll::test {

using detail::FloatKernels;
using detail::Isa;

/// Calls check(kernels) for each instruction set that this machine has, with its name in the trace of failures.
template <class Check>
void for_each_isa(const Check& check) {
    int checked = 0;
    for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
        if (!detail::isa_available(isa)) continue;
        SCOPED_TRACE(detail::isa_name(isa));
        check(detail::kernels(isa));
        ++checked;
    }
    ASSERT_GE(checked, 1);
}

/// Distance between adjacent floats at the size of x (of the smaller ones where x is a power of two's neighbour).
inline double ulp_at(double x) {
    const double a = std::fabs(x);
    if (!(a >= 0x1p-126)) return 0x1p-149;
    int exponent = 0;
    std::frexp(a, &exponent);
    return std::ldexp(1.0, (exponent > 128 ? 128 : exponent) - 24);
}

/// Error of y in ULP of the exact value. Infinity counts as 2^128, the next float after the largest one. NaN for NaN is
/// no error, zero has to have the right sign.
inline double ulp_error(float y, double exact) {
    if (std::isnan(exact) || std::isnan(y)) return std::isnan(exact) && std::isnan(y) ? 0.0 : HUGE_VAL;
    if (exact == 0.0) return y == 0.0f && std::signbit(y) == std::signbit(exact) ? 0.0 : HUGE_VAL;
    const auto finite = [](double x) { return std::fabs(x) < 0x1p128 ? x : std::copysign(0x1p128, x); };
    return std::fabs(finite(static_cast<double>(y)) - finite(exact)) / ulp_at(exact);
}

inline std::uint32_t bits_of(float x) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float float_of(std::uint32_t bits) {
    float x = 0;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

/// Equal bits, or NaN both.
inline bool same(float a, float b) { return bits_of(a) == bits_of(b) || (std::isnan(a) && std::isnan(b)); }

inline std::vector<float> normal_floats(std::mt19937& random, std::int64_t n) {
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& e : x) e = normal(random);
    return x;
}

/// A matrix of rows x cols inside a larger block: rows stand apart by `stride`, it starts `offset` floats after an
/// aligned address, and what lies between and around must keep its value.
class Guarded {
public:
    static constexpr float kGuard = -12345.678f;

    Guarded(std::int64_t rows, std::int64_t cols, std::int64_t stride, std::int64_t offset = 0)
        : rows_(rows),
          cols_(cols),
          stride_(stride),
          offset_(64 + offset),
          block_(static_cast<std::size_t>(rows * stride + 160 + offset), kGuard) {
        const auto misaligned = reinterpret_cast<std::uintptr_t>(block_.data()) / sizeof(float) % 16;
        offset_ += static_cast<std::int64_t>((16 - misaligned) % 16);
    }

    float* data() { return block_.data() + offset_; }
    float& at(std::int64_t row, std::int64_t col) { return data()[row * stride_ + col]; }
    std::int64_t stride() const { return stride_; }

    void fill(float value) {
        for (std::int64_t r = 0; r < rows_; ++r) {
            for (std::int64_t c = 0; c < cols_; ++c) at(r, c) = value;
        }
    }
    void fill(std::mt19937& random) {
        std::normal_distribution<float> normal;
        for (std::int64_t r = 0; r < rows_; ++r) {
            for (std::int64_t c = 0; c < cols_; ++c) at(r, c) = normal(random);
        }
    }

    /// Nothing outside the matrix was written.
    bool intact() {
        const std::int64_t end = static_cast<std::int64_t>(block_.size());
        for (std::int64_t i = 0; i < end; ++i) {
            const std::int64_t k = i - offset_;
            const bool inside = k >= 0 && k < rows_ * stride_ && k % stride_ < cols_;
            if (!inside && block_[static_cast<std::size_t>(i)] != kGuard) return false;
        }
        return true;
    }

private:
    std::int64_t rows_, cols_, stride_, offset_;
    std::vector<float> block_;
};

}  // namespace unroll::test
