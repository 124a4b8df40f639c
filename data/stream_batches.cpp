// Where the windows lie, and copying them into (T, B) arrays.
#include <unroll/autograd/detail/fnv1a.hpp>
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/random.hpp>
#include <unroll/data/stream_batches.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace unroll {
namespace {

constexpr std::string_view kTraining = "StreamBatcher";
constexpr std::string_view kEvaluation = "EvaluationBatches";

void check_sequence(std::string_view name, const IntTensor& ids) {
    if (ids.dimension() != 1) detail::fail_shape(name, "the sequence must be a vector (N,)", {shape_of(ids)});
}

void check_positive(std::string_view name, std::string_view option, Index value) {
    if (value < 1) detail::fail_value(name, fmt::format("{} must be at least 1, not {}", option, value));
}

void reshape(IntTensor& array, Index steps, Index streams) {
    array.resize({static_cast<std::size_t>(steps), static_cast<std::size_t>(streams)});
}

template <class Value>
void check_same(const nlohmann::json& state, const char* field, Value ours) {
    const auto saved = state.at(field).get<Value>();
    if (saved != ours)
        detail::fail_value(kTraining, fmt::format("the saved position belongs to {} = {}, this is {} = {}", field,
                                                  saved, field, ours));
}

}  // namespace

StreamBatcher::StreamBatcher(IntTensor ids, const StreamOptions& options)
    : ids_(std::move(ids)),
      batch_size_(options.batch_size),
      seq_len_(options.seq_len),
      random_offset_(options.random_offset),
      seed_(options.seed) {
    check_sequence(kTraining, ids_);
    check_positive(kTraining, "batch_size", batch_size_);
    check_positive(kTraining, "seq_len", seq_len_);
    const Index count = static_cast<Index>(ids_.size());
    // Compared by division, since B·T may be beyond 64 bits when somebody mistypes a size.
    windows_ = count > 1 ? (count - 1) / seq_len_ / batch_size_ : 0;
    if (windows_ == 0)
        detail::fail_value(
            kTraining,
            fmt::format("{} entries are too few for one batch of {} streams of {} steps: at least {} × {} + 1"
                        "{} are needed; take a longer text, a smaller batch_size or a smaller seq_len",
                        count, batch_size_, seq_len_, batch_size_, seq_len_,
                        batch_size_ < (Index{1} << 31) && seq_len_ < (Index{1} << 31)
                            ? fmt::format(" = {}", batch_size_ * seq_len_ + 1)
                            : std::string()));
    if (random_offset_ && windows_ > 1 && count - 1 - predictions_per_pass() < seq_len_ - 1) --windows_;
    fingerprint_ = detail::Fnv1a().take_each(ids_).hash;  // a millisecond per million entries
    reshape(batch_.inputs, seq_len_, batch_size_);
    reshape(batch_.targets, seq_len_, batch_size_);
    batch_.predictions = batch_size_ * seq_len_;
    place_pass();
}

// A function of (seed, epoch) alone, so that a position restored in the middle of a pass finds the same windows.
void StreamBatcher::place_pass() {
    if (!random_offset_) return;
    const Index left_over = static_cast<Index>(ids_.size()) - 1 - predictions_per_pass();
    const std::uint64_t stream = stream_of("offset of a pass") + static_cast<std::uint64_t>(epoch_);
    offset_ = RandomStream(seed_, stream).below(left_over + 1);
}

const StreamBatch& StreamBatcher::next() {
    std::int64_t* inputs = batch_.inputs.data();
    std::int64_t* targets = batch_.targets.data();
    for (Index b = 0; b < batch_size_; ++b) {
        const std::int64_t* from = ids_.data() + offset_ + (b * windows_ + window_) * seq_len_;
        for (Index t = 0; t < seq_len_; ++t) {
            inputs[t * batch_size_ + b] = from[t];
            targets[t * batch_size_ + b] = from[t + 1];
        }
    }
    batch_.epoch = epoch_;
    batch_.window = window_;
    batch_.starts_pass = window_ == 0;
    batch_.ends_pass = window_ + 1 == windows_;
    if (++window_ == windows_) {
        window_ = 0;
        ++epoch_;
        place_pass();
    }
    return batch_;
}

nlohmann::json StreamBatcher::state() const {
    return {{"epoch", epoch_},
            {"window", window_},
            {"entries", ids_.size()},
            {"fingerprint", fingerprint_},
            {"batch_size", batch_size_},
            {"seq_len", seq_len_},
            {"random_offset", random_offset_},
            {"seed", seed_}};
}

void StreamBatcher::load_state(const nlohmann::json& state) {
    Index epoch = 0;
    Index window = 0;
    try {
        check_same(state, "entries", ids_.size());
        if (state.at("fingerprint").get<std::uint64_t>() != fingerprint_)
            detail::fail_value(kTraining, "the saved position belongs to another text of the same length");
        check_same(state, "batch_size", batch_size_);
        check_same(state, "seq_len", seq_len_);
        check_same(state, "random_offset", random_offset_);
        check_same(state, "seed", seed_);
        epoch = state.at("epoch").get<Index>();
        window = state.at("window").get<Index>();
    } catch (const nlohmann::json::exception& error) {
        detail::fail_value(kTraining, fmt::format("this is not a saved position: {}", error.what()));
    }
    if (epoch < 0 || window < 0 || window >= windows_)
        detail::fail_value(kTraining,
                           fmt::format("the saved position is window {} of {} in pass {}", window, windows_, epoch));
    epoch_ = epoch;
    window_ = window;
    place_pass();
}

EvaluationBatches::EvaluationBatches(IntTensor ids, const EvaluationOptions& options)
    : ids_(std::move(ids)), batch_size_(options.batch_size), seq_len_(options.seq_len) {
    check_sequence(kEvaluation, ids_);
    check_positive(kEvaluation, "batch_size", batch_size_);
    check_positive(kEvaluation, "seq_len", seq_len_);
    if (predictions() < batch_size_)
        detail::fail_value(kEvaluation, fmt::format("{} entries are too few for {} streams: at least {} are needed",
                                                    ids_.size(), batch_size_, batch_size_ + 1));
}

const StreamBatch* EvaluationBatches::next() {
    const Index base = predictions() / batch_size_;    // steps that every stream has
    const Index longer = predictions() % batch_size_;  // the first streams have one more
    const Index total = base + (longer > 0 ? 1 : 0);
    if (begin_ >= total) return nullptr;
    const Index steps = std::min(seq_len_, total - begin_);
    reshape(batch_.inputs, steps, batch_size_);
    reshape(batch_.targets, steps, batch_size_);
    batch_.predictions = 0;
    for (Index b = 0; b < batch_size_; ++b) {
        const std::int64_t* from = ids_.data() + b * base + std::min(b, longer) + begin_;
        const Index valid = std::min(steps, base + (b < longer ? 1 : 0) - begin_);
        for (Index t = 0; t < steps; ++t) {
            batch_.inputs.data()[t * batch_size_ + b] = t < valid ? from[t] : 0;
            batch_.targets.data()[t * batch_size_ + b] = t < valid ? from[t + 1] : kNoTarget;
        }
        batch_.predictions += valid;
    }
    batch_.window = begin_ / seq_len_;
    batch_.starts_pass = begin_ == 0;
    begin_ += steps;
    batch_.ends_pass = begin_ == total;
    return &batch_;
}

}  // namespace unroll
