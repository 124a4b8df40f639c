// What a classifier or language model is worth: accuracy, perplexity, bits per symbol. Losses are ops (autograd/ops.hpp);
// averages over windows are RunningMean (train/meters.hpp).
#pragma once

#include <unroll/autograd/var.hpp>

namespace unroll {

/// How many predictions were right. Counts of several batches add up.
struct Accuracy {
    Index correct = 0;
    Index counted = 0;

    /// correct / counted; NaN before anything was counted.
    double value() const noexcept;
    Accuracy& operator+=(const Accuracy& other) noexcept;
    friend bool operator==(const Accuracy&, const Accuracy&) = default;
};

/// Of logits (…, C), or scores of any kind, and targets (…): a prediction is right if the target is the first of the row's
/// largest entries. A row with NaN is wrong. Targets equal to ignore_index do not count.
/// @throws ShapeError, IndexError for a target outside [0, C)
template <class Real>
Accuracy accuracy(const Var<Real>& logits, const IntTensor& targets, Index ignore_index = -100);

/// e^loss, with the loss in nats per symbol: among how many equally likely symbols the model is in doubt.
double perplexity(double nats) noexcept;
/// loss / ln 2: nats per symbol to bits per symbol.
double bits_per_symbol(double nats) noexcept;

}  // namespace unroll
