// Counter-based draws (Philox) made into indices and permutations.
#include <unroll/autograd/error.hpp>
#include <unroll/data/shuffle.hpp>

#include <fmt/format.h>
#include <Random123/philox.h>

#include <numeric>
#include <utility>

namespace unroll {
namespace {

std::uint64_t hash_of(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

std::uint64_t bits(const DrawSource& source, std::uint64_t epoch, std::uint64_t counter) {
    const r123::Philox4x64::ctr_type at{{counter, epoch, 0, 0}};
    const r123::Philox4x64::key_type key{{source.seed, hash_of(source.purpose)}};
    return r123::Philox4x64()(at, key)[0];
}

// ⌊bits·count/2⁶⁴⌋
Index scaled(std::uint64_t bits, Index count) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<Index>((Wide{bits} * static_cast<std::uint64_t>(count)) >> 64);
}

}  // namespace

Index draw_index(const DrawSource& source, std::uint64_t counter, Index count) {
    if (count < 1) detail::fail_value("draw_index", fmt::format("there is nothing to draw from: {} numbers", count));
    return scaled(bits(source, 0, counter), count);
}

std::vector<Index> shuffled_indices(const DrawSource& source, std::uint64_t epoch, Index count) {
    if (count < 0) detail::fail_value("shuffled_indices", fmt::format("the count must be at least 0, not {}", count));
    std::vector<Index> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), Index{0});
    for (Index i = count - 1; i > 0; --i) {
        const Index other = scaled(bits(source, epoch, static_cast<std::uint64_t>(i)), i + 1);
        std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(other)]);
    }
    return order;
}

}  // namespace unroll
