// Padding and bucketing.
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/random.hpp>
#include <unroll/data/sequence_batches.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace unroll {

PaddedBatch pad_indices(std::span<const std::vector<std::int64_t>> sequences, std::span<const Index> chosen,
                        Index padding_value) {
    if (chosen.empty()) detail::fail_value("pad_indices", "a batch needs at least one sequence");
    std::size_t longest = 0;
    for (const Index which : chosen) {
        if (which < 0 || which >= static_cast<Index>(sequences.size()))
            detail::fail_index("pad_indices", fmt::format("sequence {} is outside [0, {})", which, sequences.size()));
        const std::size_t length = sequences[static_cast<std::size_t>(which)].size();
        if (length == 0) detail::fail_value("pad_indices", fmt::format("sequence {} is empty", which));
        longest = std::max(longest, length);
    }
    PaddedBatch batch;
    const std::size_t count = chosen.size();
    batch.values = IntTensor::from_shape({longest, count});
    batch.lengths = IntTensor::from_shape({count});
    std::fill_n(batch.values.data(), batch.values.size(), padding_value);
    for (std::size_t b = 0; b < count; ++b) {
        const auto& sequence = sequences[static_cast<std::size_t>(chosen[b])];
        for (std::size_t t = 0; t < sequence.size(); ++t) batch.values.data()[t * count + b] = sequence[t];
        batch.lengths.data()[b] = static_cast<std::int64_t>(sequence.size());
    }
    return batch;
}

PaddedBatch pad_indices(std::span<const std::vector<std::int64_t>> sequences, Index padding_value) {
    std::vector<Index> all(sequences.size());
    std::iota(all.begin(), all.end(), Index{0});
    return pad_indices(sequences, all, padding_value);
}

std::vector<std::vector<Index>> bucketed_batches(std::span<const Index> lengths, const BucketOptions& options,
                                                 std::uint64_t epoch) {
    const auto check = [](std::string_view option, Index value) {
        if (value < 1)
            detail::fail_value("bucketed_batches", fmt::format("{} must be at least 1, not {}", option, value));
    };
    check("batch_size", options.batch_size);
    check("pool_batches", options.pool_batches);
    const std::size_t count = lengths.size();
    std::vector<Index> order(count);
    std::iota(order.begin(), order.end(), Index{0});
    if (options.shuffle) RandomStream(options.seed, stream_of("order of sequences") + epoch).shuffle(std::span(order));
    const auto batch = static_cast<std::size_t>(static_cast<Index>(options.batch_size));
    const auto pools = static_cast<std::size_t>(options.pool_batches);
    const std::size_t pool = count / batch < pools ? count : batch * pools;  // batch * pools might not fit 64 bits
    for (std::size_t begin = 0; begin < count; begin += pool) {
        const std::size_t end = std::min(count, begin + pool);
        std::stable_sort(order.begin() + begin, order.begin() + end, [&](Index a, Index b) {
            return lengths[static_cast<std::size_t>(a)] < lengths[static_cast<std::size_t>(b)];
        });
    }
    std::vector<std::vector<Index>> batches;
    for (std::size_t begin = 0; begin < count; begin += batch)
        batches.emplace_back(order.begin() + begin, order.begin() + std::min(count, begin + batch));
    if (options.shuffle) RandomStream(options.seed, stream_of("order of batches") + epoch).shuffle(std::span(batches));
    return batches;
}

}  // namespace unroll
