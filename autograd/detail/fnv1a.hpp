// FNV-1a, 64 bits: tells one name, text or file from another. Its constants are those of the Internet draft
// "The FNV Non-Cryptographic Hash Algorithm".
#pragma once

#include <cstdint>

namespace unroll::detail {

struct Fnv1a {
    std::uint64_t hash = 0xcbf29ce484222325u;

    /// Takes one unit: a byte, or any larger whole number.
    void take(std::uint64_t unit) noexcept { hash = (hash ^ unit) * 0x100000001b3u; }
};

}  // namespace unroll::detail
