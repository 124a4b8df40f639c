// Many sequences of different lengths as batches: padding, and an order that puts like lengths together. It knows nothing
// of what the entries mean.
#pragma once

#include <unroll/autograd/tensor.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace unroll {

struct PaddedBatch {
    IntTensor values;   ///< (T, B), T the greatest length; the padding value from lengths(b) on
    IntTensor lengths;  ///< (B,)
};

/// Sequences side by side. ValueError: none, or an empty one (a recurrent layer has nothing to do with length 0).
PaddedBatch pad_indices(std::span<const std::vector<std::int64_t>> sequences, Index padding_value);
/// The same for those that `chosen` names, in its order. IndexError: one that there is not.
PaddedBatch pad_indices(std::span<const std::vector<std::int64_t>> sequences, std::span<const Index> chosen,
                        Index padding_value);

struct BucketOptions {
    Size batch_size;          ///< sequences in a batch, ≥ 1; the last one may be smaller
    Index pool_batches = 50;  ///< batches' worth of sequences that are sorted by length together, ≥ 1
    bool shuffle = true;      ///< false: pools are taken in the given order, batches stay as they come
    std::uint64_t seed = 0;
};

/// Which sequences make each batch of an epoch: every sequence is in one batch. The order is shuffled, cut into pools,
/// each pool sorted by length and cut into batches, and the batches are shuffled; so that little is padded and each epoch
/// is another one. A function of its arguments alone: nothing but the epoch and the batch number need be saved to resume.
/// ValueError: an option out of range.
std::vector<std::vector<Index>> bucketed_batches(std::span<const Index> lengths, const BucketOptions& options,
                                                 std::uint64_t epoch);

}  // namespace unroll
