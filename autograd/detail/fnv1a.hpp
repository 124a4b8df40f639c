// FNV-1a, 64 bits: tells one name, text or file from another. Its constants are those of the Internet draft
// "The FNV Non-Cryptographic Hash Algorithm".
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace unroll::detail {

struct Fnv1a {
    std::uint64_t hash = 0xcbf29ce484222325u;

    /// Takes one unit: a byte, or any larger whole number.
    Fnv1a& take(std::uint64_t unit) noexcept {
        hash = (hash ^ unit) * 0x100000001b3u;
        return *this;
    }

    /// Takes each unit of a range; characters count as unsigned.
    template <class Range>
    Fnv1a& take_each(const Range& units) noexcept {
        for (const auto unit : units)
            if constexpr (std::integral<std::remove_cv_t<decltype(unit)>>)
                take(static_cast<std::make_unsigned_t<std::remove_cv_t<decltype(unit)>>>(unit));
            else
                take(static_cast<std::uint64_t>(unit));
        return *this;
    }
};

}  // namespace unroll::detail
