// What the windows hold, where passes begin and end, positions that are saved, and what is refused.
#include <unroll/autograd/error.hpp>
#include <unroll/data/stream_batches.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <map>
#include <set>
#include <vector>

namespace {

using unroll::EvaluationBatches;
using unroll::IntTensor;
using unroll::StreamBatch;
using unroll::StreamBatcher;
using unroll::test::error_message;

// 1000, 1001, …: an entry tells its own position.
IntTensor positions(std::size_t count) {
    IntTensor ids = IntTensor::from_shape({count});
    for (std::size_t i = 0; i < count; ++i) ids(i) = static_cast<std::int64_t>(1000 + i);
    return ids;
}

TEST(StreamBatcher, TargetsFollowInputsAndWindowsContinueStreams) {
    StreamBatcher batches(positions(3 * 2 * 5 + 1 + 4), {.batch_size = 3, .seq_len = 5});
    ASSERT_EQ(batches.windows_per_pass(), 2);
    EXPECT_EQ(batches.predictions_per_pass(), 30);
    for (int pass = 0; pass < 2; ++pass) {
        for (int w = 0; w < 2; ++w) {
            const StreamBatch& batch = batches.next();
            ASSERT_EQ(unroll::shape_of(batch.inputs), unroll::Shape({5, 3}));
            ASSERT_EQ(unroll::shape_of(batch.targets), unroll::Shape({5, 3}));
            for (int t = 0; t < 5; ++t)
                for (int b = 0; b < 3; ++b) {
                    EXPECT_EQ(batch.inputs(t, b), 1000 + 10 * b + 5 * w + t);
                    EXPECT_EQ(batch.targets(t, b), batch.inputs(t, b) + 1);
                }
            EXPECT_EQ(batch.epoch, pass);
            EXPECT_EQ(batch.window, w);
            EXPECT_EQ(batch.starts_pass, w == 0);
            EXPECT_EQ(batch.ends_pass, w == 1);
            EXPECT_EQ(batch.predictions, 15);
        }
    }
}

TEST(StreamBatcher, APassHasEachPredictionOnceButForTheLeftOver) {
    for (const bool random : {false, true})
        for (std::size_t n : {16u, 17u, 30u, 31u, 61u, 100u, 101u, 117u}) {
            StreamBatcher batches(positions(n), {.batch_size = 3, .seq_len = 5, .random_offset = random, .seed = 7});
            std::set<std::int64_t> inputs;
            for (std::int64_t w = 0; w < batches.windows_per_pass(); ++w)
                for (const std::int64_t id : batches.next().inputs) EXPECT_TRUE(inputs.insert(id).second);
            EXPECT_EQ(static_cast<std::int64_t>(inputs.size()), batches.predictions_per_pass());
            EXPECT_LT(static_cast<std::int64_t>(n) - 1 - batches.predictions_per_pass(), 2 * 15);
            EXPECT_LE(*inputs.rbegin() + 1, static_cast<std::int64_t>(1000 + n - 1));
            EXPECT_EQ(batches.epoch(), 1);
        }
}

TEST(StreamBatcher, TheBuffersAreUsedAgain) {
    StreamBatcher batches(positions(200), {.batch_size = 3, .seq_len = 5});
    const std::int64_t* inputs = batches.next().inputs.data();
    const std::int64_t* targets = batches.next().targets.data();
    for (int i = 0; i < 40; ++i) {
        const StreamBatch& batch = batches.next();
        EXPECT_EQ(batch.inputs.data(), inputs);
        EXPECT_EQ(batch.targets.data(), targets);
    }
}

TEST(StreamBatcher, RandomOffsetsReachEveryPlaceAndDependOnTheSeedAlone) {
    const auto offsets = [](std::uint64_t seed) {
        // 118 predictions hold 7 windows of 15 with 13 left over.
        StreamBatcher batches(positions(119), {.batch_size = 3, .seq_len = 5, .random_offset = true, .seed = seed});
        std::vector<std::int64_t> seen;
        for (int pass = 0; pass < 400; ++pass) {
            seen.push_back(batches.offset());
            for (std::int64_t w = 0; w < batches.windows_per_pass(); ++w) {
                const StreamBatch& batch = batches.next();
                EXPECT_EQ(batch.inputs(0, 0), 1000 + seen.back() + 5 * w);
            }
        }
        return seen;
    };
    const std::vector<std::int64_t> first = offsets(1);
    EXPECT_EQ(first, offsets(1));
    EXPECT_NE(first, offsets(2));
    std::map<std::int64_t, int> counts;
    for (const std::int64_t offset : first) ++counts[offset];
    EXPECT_EQ(counts.size(), 14u);
    EXPECT_EQ(counts.begin()->first, 0);
    EXPECT_EQ(counts.rbegin()->first, 13);
    for (const auto& [offset, count] : counts) EXPECT_GT(count, 8) << offset;  // 400/14 = 28.6 expected
}

TEST(StreamBatcher, APositionIsSavedAndRestored) {
    const unroll::StreamOptions options{.batch_size = 3, .seq_len = 5, .random_offset = true, .seed = 5};
    StreamBatcher original(positions(119), options);
    for (int i = 0; i < 17; ++i) original.next();  // in the middle of the third pass
    const std::string saved = original.state().dump();
    StreamBatcher resumed(positions(119), options);
    resumed.load_state(nlohmann::json::parse(saved));
    EXPECT_EQ(resumed.state(), original.state());
    for (int i = 0; i < 30; ++i) {
        const StreamBatch expected = original.next();
        const StreamBatch& got = resumed.next();
        EXPECT_EQ(got.inputs, expected.inputs);
        EXPECT_EQ(got.targets, expected.targets);
        EXPECT_EQ(got.epoch, expected.epoch);
        EXPECT_EQ(got.window, expected.window);
        EXPECT_EQ(got.starts_pass, expected.starts_pass);
        EXPECT_EQ(got.ends_pass, expected.ends_pass);
    }
}

TEST(StreamBatcher, APositionOfAnotherRunIsRefusedAndChangesNothing) {
    StreamBatcher batches(positions(100), {.batch_size = 3, .seq_len = 5});
    batches.next();
    const nlohmann::json before = batches.state();
    const auto refusal = [&](const char* field, const nlohmann::json& value) {
        nlohmann::json other = before;
        other[field] = value;
        const std::string message = error_message<unroll::ValueError>([&] { batches.load_state(other); });
        EXPECT_EQ(batches.state(), before);
        return message;
    };
    EXPECT_EQ(refusal("batch_size", 4),
              "[StreamBatcher] the saved position belongs to batch_size = 4, this is batch_size = 3");
    EXPECT_EQ(refusal("seq_len", 6), "[StreamBatcher] the saved position belongs to seq_len = 6, this is seq_len = 5");
    EXPECT_EQ(refusal("entries", 99),
              "[StreamBatcher] the saved position belongs to entries = 99, this is entries = 100");
    EXPECT_EQ(refusal("random_offset", true),
              "[StreamBatcher] the saved position belongs to random_offset = true, this is random_offset = false");
    EXPECT_EQ(refusal("seed", 1), "[StreamBatcher] the saved position belongs to seed = 1, this is seed = 0");
    EXPECT_EQ(refusal("window", 6), "[StreamBatcher] the saved position is window 6 of 6 in pass 0");
    EXPECT_EQ(refusal("epoch", -1), "[StreamBatcher] the saved position is window 1 of 6 in pass -1");
    EXPECT_EQ(error_message<unroll::ValueError>([&] { batches.load_state(nlohmann::json::object()); }).substr(0, 47),
              "[StreamBatcher] this is not a saved position: [");
    EXPECT_THROW(batches.load_state(nlohmann::json::array()), unroll::ValueError);

    IntTensor other_text = positions(100);
    other_text(50) = 3;
    StreamBatcher other(other_text, {.batch_size = 3, .seq_len = 5});
    EXPECT_EQ(error_message<unroll::ValueError>([&] { other.load_state(before); }),
              "[StreamBatcher] the saved position belongs to another text of the same length");
}

TEST(StreamBatcher, TheSmallestSequenceIsNamed) {
    EXPECT_NO_THROW(StreamBatcher(positions(16), {.batch_size = 3, .seq_len = 5}));
    EXPECT_NO_THROW(StreamBatcher(positions(16), {.batch_size = 3, .seq_len = 5, .random_offset = true}));
    EXPECT_EQ(
        error_message<unroll::ValueError>([] { StreamBatcher(positions(15), {.batch_size = 3, .seq_len = 5}); }),
        "[StreamBatcher] 15 entries are too few for one batch of 3 streams of 5 steps: at least 3 × 5 + 1 = 16 are "
        "needed; take a longer text, a smaller batch_size or a smaller seq_len");
    EXPECT_THROW(StreamBatcher(positions(0), {.batch_size = 1, .seq_len = 1}), unroll::ValueError);
    EXPECT_EQ(error_message<unroll::ValueError>(
                  [] { StreamBatcher(positions(9), {.batch_size = 3000000000, .seq_len = 5000000000}); }),
              "[StreamBatcher] 9 entries are too few for one batch of 3000000000 streams of 5000000000 steps: at least "
              "3000000000 × 5000000000 + 1 are needed; take a longer text, a smaller batch_size or a smaller seq_len");
}

TEST(StreamBatcher, OptionsAndShapesAreChecked) {
    EXPECT_EQ(error_message<unroll::ValueError>([] { StreamBatcher(positions(9), {.batch_size = 0, .seq_len = 5}); }),
              "[StreamBatcher] batch_size must be at least 1, not 0");
    EXPECT_EQ(error_message<unroll::ValueError>([] { StreamBatcher(positions(9), {.batch_size = 2, .seq_len = -5}); }),
              "[StreamBatcher] seq_len must be at least 1, not -5");
    EXPECT_EQ(error_message<unroll::ShapeError>([] {
                  StreamBatcher(IntTensor::from_shape({7, 4}), {.batch_size = 2, .seq_len = 5});
              }),
              "[StreamBatcher] the sequence must be a vector (N,); got (7, 4)");
}

TEST(EvaluationBatches, EveryPredictionComesOnceAndInOrder) {
    for (std::size_t n : {2u, 3u, 17u, 18u, 19u, 20u, 61u})
        for (int streams : {1, 3, 4})
            for (int steps : {1, 5, 100}) {
                if (n < static_cast<std::size_t>(streams) + 1) continue;
                EvaluationBatches windows(positions(n), {.batch_size = streams, .seq_len = steps});
                std::map<std::int64_t, int> predicted;
                std::vector<std::int64_t> last(static_cast<std::size_t>(streams), -1);
                std::int64_t total = 0;
                std::int64_t count = 0;
                while (const StreamBatch* window = windows.next()) {
                    EXPECT_EQ(window->window, count);
                    EXPECT_EQ(window->starts_pass, count == 0);
                    ++count;
                    total += window->predictions;
                    std::int64_t valid = 0;
                    for (std::size_t t = 0; t < window->inputs.shape(0); ++t)
                        for (std::size_t b = 0; b < window->inputs.shape(1); ++b) {
                            if (window->targets(t, b) == unroll::kNoTarget) {
                                EXPECT_TRUE(window->ends_pass);
                                EXPECT_EQ(window->inputs(t, b), 0);
                                continue;
                            }
                            ++valid;
                            EXPECT_EQ(window->targets(t, b), window->inputs(t, b) + 1);
                            if (last[b] >= 0) {
                                EXPECT_EQ(window->inputs(t, b), last[b] + 1);
                            }
                            last[b] = window->inputs(t, b);
                            ++predicted[window->targets(t, b)];
                        }
                    EXPECT_EQ(valid, window->predictions);
                    EXPECT_GT(valid, 0);
                }
                EXPECT_EQ(total, static_cast<std::int64_t>(n) - 1);
                EXPECT_EQ(total, windows.predictions());
                EXPECT_EQ(predicted.size(), n - 1);
                EXPECT_EQ(predicted.begin()->first, 1001);
            }
}

TEST(EvaluationBatches, RewindStartsAgain) {
    EvaluationBatches windows(positions(20), {.batch_size = 2, .seq_len = 4});
    const StreamBatch first = *windows.next();
    while (windows.next()) {
    }
    EXPECT_EQ(windows.next(), nullptr);
    windows.rewind();
    EXPECT_EQ(windows.next()->inputs, first.inputs);
}

TEST(EvaluationBatches, BadOptionsAndShortSequencesAreNamed) {
    EXPECT_EQ(error_message<unroll::ValueError>([] { EvaluationBatches(positions(4), {.batch_size = 4}); }),
              "[EvaluationBatches] 4 entries are too few for 4 streams: at least 5 are needed");
    EXPECT_EQ(error_message<unroll::ValueError>([] { EvaluationBatches(positions(1), {}); }),
              "[EvaluationBatches] 1 entries are too few for 1 streams: at least 2 are needed");
    EXPECT_EQ(
        error_message<unroll::ValueError>([] { EvaluationBatches(positions(4), {.batch_size = 1, .seq_len = 0}); }),
        "[EvaluationBatches] seq_len must be at least 1, not 0");
    EXPECT_EQ(error_message<unroll::ShapeError>([] {
                  EvaluationBatches(IntTensor::from_shape({3, 2, 4}), {});
              }),
              "[EvaluationBatches] the sequence must be a vector (N,); got (3, 2, 4)");
}

}  // namespace
