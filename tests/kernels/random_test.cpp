// Random masks: the same bits as one block after the other, for every instruction set; their use.
#include <limits>

#include <unroll/autograd/random.hpp>

#include "support.hpp"

namespace unroll::test {
namespace {

TEST(RandomMask, HasTheBitsOfSingleBlocks) {
    for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{0x123456789abcdef0}})
        for (const std::uint64_t stream : {std::uint64_t{7}, std::uint64_t{0xfedcba9876543210}})
            for (const std::uint32_t threshold : {0u, 1u, 19661u, 32768u, 65535u, 65536u})
                for_each_isa([&](const FloatKernels& k) {
                    constexpr std::int64_t kGroups = 5;
                    std::vector<std::uint64_t> bits(2 * kGroups + 1, 0x5555);
                    k.random_mask(seed, stream, kGroups, threshold, bits.data());
                    EXPECT_EQ(bits.back(), 0x5555u);
                    for (std::uint64_t g = 0; g < kGroups; ++g)
                        for (std::uint64_t b = 0; b < 16; ++b) {
                            const auto words = random_block(seed, stream, 16 * g + b);
                            for (std::uint64_t w = 0; w < 4; ++w)
                                for (std::uint64_t h = 0; h < 2; ++h) {
                                    const std::uint64_t draw = 128 * g + 16 * (2 * w + h) + b;
                                    const bool expected = (words[w] >> (16 * h) & 0xffffu) >= threshold;
                                    ASSERT_EQ(bits[draw / 64] >> (draw % 64) & 1, expected ? 1u : 0u) << draw;
                                }
                        }
                });
}

TEST(RandomMask, ScalesWhatItKeeps) {
    std::mt19937 random(1);
    const std::vector<std::uint64_t> bits{0x0123456789abcdef, 0xf0f0aa5533cc00ff, 0xffffffff00000001,
                                          0x8000000000000000};
    for (const std::int64_t n : {0, 1, 3, 4, 7, 16, 17, 31, 63, 64, 65, 200, 255, 256}) {
        SCOPED_TRACE(n);
        std::vector<float> x = normal_floats(random, n), y = normal_floats(random, n);
        if (n > 5) x[4] = std::numeric_limits<float>::quiet_NaN();  // bit 4 is not set
        for_each_isa([&](const FloatKernels& k) {
            for (const bool accumulate : {false, true}) {
                std::vector<float> out = y;
                out.push_back(42.0f);
                k.masked_scale(bits.data(), 1.25f, x.data(), out.data(), n, accumulate);
                for (std::size_t i = 0; i < x.size(); ++i) {
                    const float value = bits[i / 64] >> (i % 64) & 1 ? 1.25f * x[i] : 0.0f;
                    EXPECT_EQ(out[i], accumulate ? y[i] + value : value) << i;
                }
                EXPECT_EQ(out.back(), 42.0f);
            }
            std::vector<float> in_place = x;
            k.masked_scale(bits.data(), 2.0f, in_place.data(), in_place.data(), n, false);
            for (std::size_t i = 0; i < x.size(); ++i)
                EXPECT_EQ(in_place[i], bits[i / 64] >> (i % 64) & 1 ? 2.0f * x[i] : 0.0f);
        });
    }
}

}  // namespace
}  // namespace unroll::test
