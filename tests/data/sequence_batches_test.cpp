// Padding and bucketing by length.
#include <unroll/autograd/error.hpp>
#include <unroll/data/sequence_batches.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace {

using unroll::bucketed_batches;
using unroll::IntTensor;
using unroll::pad_indices;
using unroll::test::error_message;

const std::vector<std::vector<std::int64_t>> kSequences{{1, 2}, {3, 4, 5, 6}, {7}, {}};

TEST(PadIndices, PutsSequencesSideBySide) {
    const auto batch = pad_indices(std::span(kSequences).first(3), 9);
    EXPECT_EQ(batch.values, (IntTensor{{1, 3, 7}, {2, 4, 9}, {9, 5, 9}, {9, 6, 9}}));
    EXPECT_EQ(batch.lengths, (IntTensor{2, 4, 1}));
}

TEST(PadIndices, TakesTheChosenOnesInTheirOrder) {
    const std::vector<std::int64_t> chosen{2, 0};
    const auto batch = pad_indices(kSequences, chosen, -1);
    EXPECT_EQ(batch.values, (IntTensor{{7, 1}, {-1, 2}}));
    EXPECT_EQ(batch.lengths, (IntTensor{1, 2}));
}

TEST(PadIndices, NoneEmptyAndMissingSequencesAreNamed) {
    EXPECT_EQ(error_message<unroll::ValueError>([] { pad_indices(kSequences, 0); }),
              "[pad_indices] sequence 3 is empty");
    EXPECT_EQ(error_message<unroll::ValueError>([] { pad_indices(std::span(kSequences).first(0), 0); }),
              "[pad_indices] a batch needs at least one sequence");
    const std::vector<std::int64_t> chosen{0, 4};
    EXPECT_EQ(error_message<unroll::IndexError>([&] { pad_indices(kSequences, chosen, 0); }),
              "[pad_indices] sequence 4 is outside [0, 4)");
}

std::vector<std::int64_t> some_lengths(std::size_t count) {
    std::vector<std::int64_t> lengths(count);
    for (std::size_t i = 0; i < count; ++i) lengths[i] = static_cast<std::int64_t>(1 + i * 37 % 50);
    return lengths;
}

TEST(BucketedBatches, EverySequenceIsInOneBatch) {
    const auto lengths = some_lengths(103);
    for (const bool shuffle : {true, false}) {
        const auto batches = bucketed_batches(lengths, {.batch_size = 8, .pool_batches = 3, .shuffle = shuffle}, 2);
        EXPECT_EQ(batches.size(), 13u);
        std::set<std::int64_t> seen;
        for (const auto& batch : batches) {
            EXPECT_LE(batch.size(), 8u);
            for (const std::int64_t which : batch) EXPECT_TRUE(seen.insert(which).second);
        }
        EXPECT_EQ(seen.size(), 103u);
    }
}

TEST(BucketedBatches, LikeLengthsComeTogether) {
    const auto lengths = some_lengths(1000);
    const auto padded = [&](const std::vector<std::vector<std::int64_t>>& batches) {
        std::int64_t sum = 0;
        for (const auto& batch : batches) {
            std::int64_t longest = 0;
            for (const auto which : batch) longest = std::max(longest, lengths[static_cast<std::size_t>(which)]);
            for (const auto which : batch) sum += longest - lengths[static_cast<std::size_t>(which)];
        }
        return sum;
    };
    const auto together = padded(bucketed_batches(lengths, {.batch_size = 10}, 0));
    const auto apart = padded(bucketed_batches(lengths, {.batch_size = 10, .pool_batches = 1}, 0));
    EXPECT_LT(together * 20, apart);
}

TEST(BucketedBatches, EpochsDifferAndRepeat) {
    const auto lengths = some_lengths(50);
    const unroll::BucketOptions options{.batch_size = 4, .pool_batches = 5, .seed = 11};
    EXPECT_EQ(bucketed_batches(lengths, options, 3), bucketed_batches(lengths, options, 3));
    EXPECT_NE(bucketed_batches(lengths, options, 3), bucketed_batches(lengths, options, 4));
}

TEST(BucketedBatches, NothingMakesNoBatchAndOptionsAreChecked) {
    EXPECT_TRUE(bucketed_batches({}, {.batch_size = 4}, 0).empty());
    EXPECT_EQ(error_message<unroll::ValueError>([] { bucketed_batches({}, {.batch_size = 0}, 0); }),
              "[bucketed_batches] batch_size must be at least 1, not 0");
    EXPECT_EQ(error_message<unroll::ValueError>([] { bucketed_batches({}, {.batch_size = 1, .pool_batches = 0}, 0); }),
              "[bucketed_batches] pool_batches must be at least 1, not 0");
}

}  // namespace
