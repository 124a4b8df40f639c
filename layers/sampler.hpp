// Sampler: draws a class from logits, greedily or at random. metrics.hpp measures what a model is worth.
#pragma once

#include <unroll/autograd/random.hpp>
#include <unroll/autograd/tape.hpp>

#include <span>

namespace unroll {

/// Which classes can be drawn, and how their probabilities are sharpened. Several limits hold one after the other.
struct SamplerOptions {
    double temperature = 1;  ///< logits are divided by it: below 1 sharper, above 1 flatter; 0: greedy
    Index top_k = 0;         ///< only the k most probable classes; 0: all
    double top_p = 1;        ///< only the fewest most probable classes that have together this probability or more
};

/// Draws class i with probability softmax(logits / temperature)[i] among those that top_k and top_p leave. Of equally probable
/// classes the first ones are taken. A class with the logit −∞ is never drawn.
///
/// One draw takes one number from the stream (none when greedy) and, once the pool is warm, no memory from the heap.
/// Weights are e^((logit − largest) / temperature), so that nothing overflows; sums are made in double.
/// Source of top_p: Holtzman, Buys, Du, Forbes, Choi, "The curious case of neural text degeneration", 2020.
class Sampler {
public:
    /// @throws ValueError for a temperature that is not finite and 0 or more, top_k below 0, top_p outside (0, 1]
    explicit Sampler(const SamplerOptions& options = {});

    const SamplerOptions& options() const noexcept { return options_; }

    /// @throws ShapeError for no logits; NonFiniteError for a logit that is NaN or +∞, or if all are −∞: the stream is
    ///         then where it was
    template <class Real>
    Index operator()(std::span<const Real> logits, RandomStream& random) const;
    /// The same for logits with one row: (V), (1, V), …
    template <class Real>
    Index operator()(const Var<Real>& logits, RandomStream& random) const;
    /// One draw for each row: logits (…, V) give (…), drawn in row-major order.
    template <class Real>
    IntTensor rows(const Var<Real>& logits, RandomStream& random) const;

private:
    SamplerOptions options_;
};

}  // namespace unroll
