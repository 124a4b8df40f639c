// Accuracy, perplexity, bits per symbol.
#include <unroll/layers/metrics.hpp>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace unroll {
namespace {

/// Whether the target is the first of the largest entries; false if any is NaN.
template <class Real>
bool right(const Real* row, Index classes, Index target) {
    bool good = row[target] == row[target];
    for (Index c = 0; c < target; ++c) good &= row[c] < row[target];
    for (Index c = target + 1; c < classes; ++c) good &= row[c] <= row[target];
    return good;
}

}  // namespace

double Accuracy::value() const noexcept {
    return counted == 0 ? std::numeric_limits<double>::quiet_NaN()
                        : static_cast<double>(correct) / static_cast<double>(counted);
}

Accuracy& Accuracy::operator+=(const Accuracy& other) noexcept {
    correct += other.correct;
    counted += other.counted;
    return *this;
}

template <class Real>
Accuracy accuracy(const Var<Real>& logits, const IntTensor& targets, Index ignore_index) {
    const Shape& shape = logits.shape();
    if (shape.rank() < 1 || !(shape.erased(shape.rank() - 1) == shape_of(targets)))
        detail::fail_shape("accuracy", "logits must be (…, C) and targets (…)", {shape, shape_of(targets)});
    const Index classes = shape.back();
    Accuracy result;
    for (std::size_t r = 0; r < targets.size(); ++r) {
        const std::int64_t target = targets.data()[r];
        if (target == ignore_index) continue;
        if (target < 0 || target >= classes)
            detail::fail_index("accuracy", fmt::format("target {} of row {} must be 0 to {}, or {} to be ignored",
                                                       target, r, classes - 1, ignore_index));
        ++result.counted;
        result.correct += right(logits.data() + static_cast<Index>(r) * classes, classes, target) ? 1 : 0;
    }
    return result;
}

double perplexity(double nats) noexcept { return std::exp(nats); }
double bits_per_symbol(double nats) noexcept { return nats / std::numbers::ln2; }

template Accuracy accuracy(const Var<float>&, const IntTensor&, Index);
template Accuracy accuracy(const Var<double>&, const IntTensor&, Index);
template Accuracy accuracy(const Var<Dual<double>>&, const IntTensor&, Index);

}  // namespace unroll
