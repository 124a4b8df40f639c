// Random masks: many draws of Philox4x32-10 at once (random.hpp has the same generator one block at a time), and their use.
// The bits are the same for every instruction set: lanes are blocks, and a draw's place says which.
#pragma once

#include <unroll/autograd/kernels/vec.hpp>

namespace unroll::detail::UNROLL_ISA_NAMESPACE {

// high and low half of a * m, lane by lane
UNROLL_INLINE void multiply_wide(I a, std::uint32_t m, I& high, I& low) {
#if defined(UNROLL_ISA_AVX512)
    const __m512i factor = _mm512_set1_epi64(m);
    const __m512i even = _mm512_mul_epu32((__m512i)a, factor);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), factor);
    low = (I)_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
    high = (I)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
#elif defined(UNROLL_ISA_AVX2)
    const __m256i factor = _mm256_set1_epi64x(m);
    const __m256i even = _mm256_mul_epu32((__m256i)a, factor);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), factor);
    low = (I)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    high = (I)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
#else
    for (int i = 0; i < kLanes; ++i) {
        const std::uint64_t product = static_cast<std::uint64_t>(static_cast<std::uint32_t>(a[i])) * m;
        high[i] = static_cast<std::int32_t>(product >> 32);
        low[i] = static_cast<std::int32_t>(product);
    }
#endif
}

// Bit i is set where lane i of x is at least that of y.
UNROLL_INLINE std::uint64_t at_least_bits(I x, I y) {
#if defined(UNROLL_ISA_AVX512)
    return _mm512_cmpge_epi32_mask((__m512i)x, (__m512i)y);
#elif defined(UNROLL_ISA_AVX2)
    return static_cast<std::uint64_t>(_mm256_movemask_ps((__m256)(I)(x >= y)));
#else
    const I m = x >= y;
    return static_cast<std::uint64_t>((m[0] & 1) | (m[1] & 2) | (m[2] & 4) | (m[3] & 8));
#endif
}

// The lanes whose bits are set.
UNROLL_INLINE M lanes_of(std::uint32_t bits) {
#if defined(UNROLL_ISA_AVX512)
    return static_cast<M>(bits);
#elif defined(UNROLL_ISA_AVX2)
    const I lane = {1, 2, 4, 8, 16, 32, 64, 128};
    return (M)(I)((set_int(static_cast<std::int32_t>(bits)) & lane) != 0);
#else
    const I lane = {1, 2, 4, 8};
    return (set_int(static_cast<std::int32_t>(bits)) & lane) != 0;
#endif
}

// A group of 128 draws is 16 blocks of four words of two halves: draw 16 (2 w + h) + b is half h of word w of block b.
static void random_mask(std::uint64_t seed, std::uint64_t stream, std::int64_t groups, std::uint32_t threshold,
                        std::uint64_t* bits) {
    constexpr int kBlocks = 16;
    I lane;
    for (int i = 0; i < kLanes; ++i) lane[i] = i;
    const I least = set_int(static_cast<std::int32_t>(threshold));
    for (std::int64_t g = 0; g < groups; ++g, bits += 2) {
        bits[0] = bits[1] = 0;
        for (int first = 0; first < kBlocks; first += kLanes) {
            const std::uint64_t block = static_cast<std::uint64_t>(g) * kBlocks + static_cast<std::uint64_t>(first);
            I word[4] = {set_int(static_cast<std::int32_t>(block)) + lane,
                         set_int(static_cast<std::int32_t>(block >> 32)), set_int(static_cast<std::int32_t>(stream)),
                         set_int(static_cast<std::int32_t>(stream >> 32))};
            auto key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
            for (int round = 0; round < 10; ++round, key0 += 0x9e3779b9u, key1 += 0xbb67ae85u) {
                I high0, low0, high1, low1;
                multiply_wide(word[0], 0xd2511f53u, high0, low0);
                multiply_wide(word[2], 0xcd9e8d57u, high1, low1);
                word[0] = high1 ^ word[1] ^ set_int(static_cast<std::int32_t>(key0));
                word[1] = low1;
                word[2] = high0 ^ word[3] ^ set_int(static_cast<std::int32_t>(key1));
                word[3] = low0;
            }
            for (int w = 0; w < 4; ++w) {
                const I low = word[w] & set_int(0xffff), high = shift_right(word[w], 16) & set_int(0xffff);
                bits[w / 2] |= at_least_bits(low, least) << (32 * (w % 2) + first);
                bits[w / 2] |= at_least_bits(high, least) << (32 * (w % 2) + 16 + first);
            }
        }
    }
}

static void masked_scale(const std::uint64_t* bits, float factor, const float* x, float* y, std::int64_t n,
                         bool accumulate) {
    const F a = set(factor), zero = set(0.0f);
    std::int64_t i = 0;
    for (; i < n; i += kLanes) {
        const int rest = n - i < kLanes ? static_cast<int>(n - i) : kLanes;
        const M kept = lanes_of(static_cast<std::uint32_t>(bits[i / 64] >> (i % 64)));
        if (rest == kLanes) {
            const F value = select(kept, a * load(x + i), zero);
            store(y + i, accumulate ? load(y + i) + value : value);
        } else {
            const F value = select(kept, a * load_first(x + i, rest), zero);
            store_first(y + i, accumulate ? load_first(y + i, rest) + value : value, rest);
        }
    }
}

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
