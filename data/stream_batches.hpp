// A long sequence as batches for training in time order (truncated BPTT) and for evaluation. It cuts and counts; what a
// model does with a window, and the state it carries, is its callers' business.
#pragma once

#include <unroll/autograd/tensor.hpp>

#include <nlohmann/json_fwd.hpp>

#include <cstdint>

namespace unroll {

/// One window: T steps of B streams. targets(t, b) is the entry that follows inputs(t, b) in the sequence.
struct StreamBatch {
    IntTensor inputs;          ///< (T, B)
    IntTensor targets;         ///< (T, B); kNoTarget where there is nothing to predict (EvaluationBatches only)
    Index epoch = 0;           ///< number of the pass, from 0
    Index window = 0;          ///< number of the window in its pass, from 0
    Index predictions = 0;     ///< targets that count
    bool starts_pass = false;  ///< reset the carried state before this window: it does not continue the one before
    bool ends_pass = false;    ///< the pass is complete after this window
};

/// The target of a place that does not count; cross_entropy ignores it by default.
inline constexpr Index kNoTarget = -100;

struct StreamOptions {
    Size batch_size;             ///< B ≥ 1 streams
    Size seq_len;                ///< T ≥ 1 steps
    bool random_offset = false;  ///< start each pass at another place, so that the cuts between windows move
    std::uint64_t seed = 0;      ///< of the offsets
};

/// B streams that lie one behind the other in the sequence, in windows of T steps, for ever.
///
/// With N entries a pass has W = ⌊(N − 1)/(B·T)⌋ windows. Stream b begins at offset + b·W·T, so that window w + 1 of a
/// stream continues window w. Every window is whole: the N − 1 − B·W·T predictions that fill none are left out of the pass
/// (fewer than B·T). Without random_offset they are the last ones; with it the offset of each pass is drawn uniformly from
/// [0, what is left over], and W is one less where otherwise fewer than T − 1 would be left over and W > 1.
/// The arrays of a batch are used again: nothing is allocated after the first window.
class StreamBatcher {
public:
    /// ShapeError: ids is not a vector. ValueError: B or T < 1, or N < B·T + 1 (the message names the smallest N).
    StreamBatcher(IntTensor ids, const StreamOptions& options);

    /// The next window; valid until the next call.
    const StreamBatch& next();

    Index windows_per_pass() const noexcept { return windows_; }
    Index predictions_per_pass() const noexcept { return windows_ * batch_size_ * seq_len_; }
    Index epoch() const noexcept { return epoch_; }    ///< of the window that comes next
    Index window() const noexcept { return window_; }  ///< that comes next
    Index offset() const noexcept { return offset_; }  ///< of the pass that the next window belongs to

    /// Where the next window lies, and a fingerprint of the sequence and the options.
    nlohmann::json state() const;
    /// Goes on where `state` was taken. ValueError: the state is of another sequence or of other options.
    void load_state(const nlohmann::json& state);

private:
    void place_pass();

    IntTensor ids_;
    Index batch_size_;
    Index seq_len_;
    bool random_offset_;
    std::uint64_t seed_;
    std::uint64_t fingerprint_ = 0;
    Index windows_ = 0;
    Index epoch_ = 0;
    Index window_ = 0;
    Index offset_ = 0;
    StreamBatch batch_;
};

struct EvaluationOptions {
    Size batch_size = 1;  ///< B ≥ 1 streams; 1 carries the state through the whole sequence
    Size seq_len = 128;   ///< T ≥ 1 steps; bounds the memory, not the result
};

/// Every prediction of a sequence exactly once, in order: entry i from the entries before it, i = 1 … N − 1.
///
/// The N − 1 predictions are cut into B streams whose lengths differ by one at most; the last window may be shorter than
/// T, and in its last step the targets of the shorter streams are kNoTarget (their inputs are 0). The mean loss of the
/// sequence is Σ loss·predictions / Σ predictions over the windows.
///
///     EvaluationBatches windows(ids, {.batch_size = 1, .seq_len = 256});
///     while (const StreamBatch* window = windows.next()) { … }
class EvaluationBatches {
public:
    /// ShapeError: ids is not a vector. ValueError: B or T < 1, or N < B + 1.
    EvaluationBatches(IntTensor ids, const EvaluationOptions& options);

    /// The next window, valid until the next call; nullptr after the last one.
    const StreamBatch* next();
    /// Starts again.
    void rewind() noexcept { begin_ = 0; }

    Index predictions() const noexcept { return static_cast<Index>(ids_.size()) - 1; }

private:
    IntTensor ids_;
    Index batch_size_;
    Index seq_len_;
    Index begin_ = 0;  // step at which the next window begins
    StreamBatch batch_;
};

}  // namespace unroll
