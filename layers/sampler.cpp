// Draws from logits. Thresholds of top_k and top_p are found bit by bit: every step counts or sums once over all weights,
// without a branch that depends on them, which beats sorting at the sizes of vocabularies.
#include <unroll/layers/sampler.hpp>

#include <unroll/autograd/kernels/kernels.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace unroll {
namespace {

constexpr std::string_view kName = "Sampler";

/// What weights of a Real's logits are computed in.
template <class Real>
struct WeightOf {
    using type = double;
};
template <>
struct WeightOf<float> {
    using type = float;
};

template <class Real>
[[noreturn]] void fail_logits(std::span<const Real> logits) {
    for (std::size_t i = 0; i < logits.size(); ++i) {
        const double x = static_cast<double>(logits[i]);
        if (std::isnan(x) || x > std::numeric_limits<double>::max())
            throw NonFiniteError(fmt::format("[{}] logit {} is {}{}", kName, i, std::isnan(x) ? "nan" : "inf",
                                             detail::place_suffix(detail::current_place())));
    }
    throw NonFiniteError(fmt::format("[{}] all {} logits are −∞: there is no class to draw{}", kName, logits.size(),
                                     detail::place_suffix(detail::current_place())));
}

/// The largest logit; anything if one of them is NaN.
template <class Real>
Real largest_of(std::span<const Real> x) {
    Real lanes[4] = {x[0], x[0], x[0], x[0]};  // four that run side by side
    std::size_t i = 0;
    for (; i + 4 <= x.size(); i += 4)
        for (std::size_t k = 0; k < 4; ++k) lanes[k] = lanes[k] < x[i + k] ? x[i + k] : lanes[k];
    for (; i < x.size(); ++i) lanes[0] = lanes[0] < x[i] ? x[i] : lanes[0];
    return std::max(std::max(lanes[0], lanes[1]), std::max(lanes[2], lanes[3]));
}

/// The first of the largest logits.
template <class Real>
Index greedy(std::span<const Real> logits) {
    const Real infinity(std::numeric_limits<double>::infinity()), largest = largest_of(logits);
    int bad = largest > -infinity ? 0 : 1;
    for (const Real& x : logits) bad |= x < infinity ? 0 : 1;  // NaN or +∞
    if (bad) fail_logits(logits);
    return std::find(logits.begin(), logits.end(), largest) - logits.begin();
}

/// What lies at or above a threshold.
struct Tally {
    double mass = 0;
    Index count = 0;
};

/// Scratch is filled up with zeros to a multiple of this many weights.
constexpr std::size_t kPad = 8;

/// @pre `from` > 0, the number of weights is a multiple of kPad
template <class Weight>
Tally tally(std::span<const Weight> w, Weight from) {
    // The compilers' vectors of 16 bytes, which every processor has.
    using Integer = std::conditional_t<sizeof(Weight) == 4, std::int32_t, std::int64_t>;
    constexpr std::size_t kLanes = 16 / sizeof(Weight);
    typedef Weight Lanes __attribute__((vector_size(16)));
    typedef Integer Counts __attribute__((vector_size(16)));
    constexpr std::size_t kBlock = 1024;  // longer sums are made in double
    Tally all;
    for (std::size_t begin = 0; begin < w.size(); begin += kBlock) {
        const std::size_t end = std::min(w.size(), begin + kBlock);
        Lanes mass[2] = {};
        Counts count[2] = {};
        for (std::size_t i = begin; i < end; i += 2 * kLanes)
            for (std::size_t k = 0; k < 2; ++k) {
                Lanes x;
                std::memcpy(&x, w.data() + i + k * kLanes, sizeof(x));
                const Counts chosen = x >= from;  // all bits where it holds, that is −1
                mass[k] += (Lanes)(chosen & (Counts)x);
                count[k] -= chosen;
            }
        const Lanes masses = mass[0] + mass[1];
        const Counts counts = count[0] + count[1];
        for (std::size_t k = 0; k < kLanes; ++k) {
            all.mass += static_cast<double>(masses[k]);
            all.count += counts[k];
        }
    }
    return all;
}

/// Σ w, in four sums that run side by side.
template <class Weight>
double total_of(std::span<const Weight> w) {
    double sums[4] = {0, 0, 0, 0};
    std::size_t i = 0;
    for (; i + 4 <= w.size(); i += 4)
        for (std::size_t k = 0; k < 4; ++k) sums[k] += static_cast<double>(w[i + k]);
    for (std::size_t k = 0; i + k < w.size(); ++k) sums[k] += static_cast<double>(w[i + k]);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// w[i] = e^((logits[i] − largest) / temperature); the largest is 1. @throws NonFiniteError
template <class Real, class Weight>
double set_weights(std::span<const Real> logits, double temperature, std::span<Weight> w) {
    const Real largest = largest_of(logits);
    // Neither ∞, which would not leave the largest at 0, nor 0, which would make NaN of −∞.
    const Weight factor =
        static_cast<Weight>(std::clamp(1.0 / temperature, static_cast<double>(std::numeric_limits<Weight>::min()),
                                       static_cast<double>(std::numeric_limits<Weight>::max())));
    for (std::size_t i = 0; i < logits.size(); ++i) w[i] = static_cast<Weight>(logits[i] - largest) * factor;
    if constexpr (std::is_same_v<Weight, float>)
        detail::kernels().exp(w.data(), w.data(), static_cast<std::int64_t>(w.size()));
    else
        for (Weight& x : w) x = std::exp(x);
    const double total = total_of<Weight>(w);
    if (!(total > 0)) fail_logits(logits);  // NaN, from a logit or from ∞ − ∞
    return total;
}

/// Sets to 0 all weights but the fewest largest that are enough; of equal ones the first stay. enough(Tally) says whether
/// these are, and falls with a rising threshold; missing(Tally above) is how many more of the next size are needed.
template <class Weight, class Enough, class Missing>
void keep_largest(std::span<Weight> w, Enough enough, Missing missing) {
    using Bits = std::conditional_t<sizeof(Weight) == 4, std::uint32_t, std::uint64_t>;
    Bits low = 0;  // the bits of numbers from 0 to 1 are ordered like the numbers
    Index low_count = static_cast<Index>(w.size());
    Tally high;  // above the largest
    for (Bits bit = Bits{1} << (8 * sizeof(Bits) - 3); bit != 0 && low_count > high.count + 1; bit >>= 1) {
        const Weight t = std::bit_cast<Weight>(static_cast<Bits>(low | bit));
        if (t > 1) continue;
        const Tally now = tally<Weight>(w, t);
        if (enough(now)) {
            low |= bit;
            low_count = now.count;
        } else {
            high = now;
        }
    }
    const Weight least = std::bit_cast<Weight>(low);
    if (least == 0) return;  // all that have a weight are needed
    // From `least` to the upper threshold there is one weight, or some that are equal to `least`.
    Index equal = low_count <= high.count + 1 ? 1 : missing(high, least);
    for (Weight& x : w)
        if (x < least || (x == least && equal-- <= 0)) x = 0;
}

template <class Weight>
void keep_top_k(Index k, std::span<Weight> w) {
    if (k >= static_cast<Index>(w.size())) return;
    keep_largest(
        w, [k](const Tally& t) { return t.count >= k; }, [k](const Tally& above, Weight) { return k - above.count; });
}

template <class Weight>
void keep_top_p(double p, double total, std::span<Weight> w) {
    const double target = p * total;
    keep_largest(
        w, [=](const Tally& t) { return t.mass >= target; },
        [=](const Tally& above, Weight size) {
            return std::max(Index{1}, static_cast<Index>(std::ceil((target - above.mass) / static_cast<double>(size))));
        });
}

template <class Weight>
Index draw(std::span<const Weight> w, double total, RandomStream& random) {
    const double until = random.uniform() * total;
    double sum = 0;
    std::size_t last = 0;  // with a weight, should rounding carry us past the end
    for (std::size_t i = 0; i < w.size(); ++i) {
        sum += static_cast<double>(w[i]);
        if (sum > until) return static_cast<Index>(i);
        if (w[i] > 0) last = i;
    }
    return static_cast<Index>(last);
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
    if (!(options.temperature >= 0 && std::isfinite(options.temperature)))
        detail::fail_value(kName,
                           fmt::format("temperature must be above 0, or 0 for greedy; got {}", options.temperature));
    if (options.top_k < 0)
        detail::fail_value(kName, fmt::format("top_k must be 1 or more, or 0 for all; got {}", options.top_k));
    if (!(options.top_p > 0 && options.top_p <= 1))
        detail::fail_value(kName, fmt::format("top_p must be above 0 and at most 1; got {}", options.top_p));
}

template <class Real>
Index Sampler::operator()(std::span<const Real> logits, RandomStream& random) const {
    if (logits.empty()) detail::fail_shape(kName, "at least one logit is needed");
    if (options_.temperature == 0 || options_.top_k == 1) return greedy(logits);
    using Weight = typename WeightOf<Real>::type;
    Buffer<Weight> memory((logits.size() + kPad - 1) / kPad * kPad);
    const std::span<Weight> padded(memory.data(), memory.size()), w = padded.first(logits.size());
    std::fill(padded.begin() + static_cast<Index>(w.size()), padded.end(), Weight(0));
    double total = set_weights(logits, options_.temperature, w);
    if (options_.top_k > 0) {
        keep_top_k(options_.top_k, padded);
        total = total_of<Weight>(w);
    }
    if (options_.top_p < 1) {
        keep_top_p(options_.top_p, total, padded);
        total = total_of<Weight>(w);
    }
    return draw<Weight>(w, total, random);
}

template <class Real>
Index Sampler::operator()(const Var<Real>& logits, RandomStream& random) const {
    const Shape& shape = logits.shape();
    if (shape.rank() < 1 || shape.back() != shape.size())
        detail::fail_shape(kName, "logits must have one row: (V), (1, V), …", {shape});
    return (*this)(std::span<const Real>(logits.data(), static_cast<std::size_t>(logits.size())), random);
}

template <class Real>
IntTensor Sampler::rows(const Var<Real>& logits, RandomStream& random) const {
    const Shape& shape = logits.shape();
    if (shape.rank() < 1 || shape.back() < 1)
        detail::fail_shape(kName, "logits must be (…, V) with at least one class", {shape});
    const Shape outer = shape.erased(shape.rank() - 1);
    IntTensor drawn = IntTensor::from_shape(std::vector<std::size_t>(outer.begin(), outer.end()));
    const std::uint64_t before = random.counter();
    try {
        for (std::size_t r = 0; r < drawn.size(); ++r)
            drawn.data()[r] = (*this)(std::span<const Real>(logits.data() + static_cast<Index>(r) * shape.back(),
                                                            static_cast<std::size_t>(shape.back())),
                                      random);
    } catch (...) {
        random.set_counter(before);
        throw;
    }
    return drawn;
}

#define UNROLL_INSTANTIATE(R)                                                    \
    template Index Sampler::operator()(std::span<const R>, RandomStream&) const; \
    template Index Sampler::operator()(const Var<R>&, RandomStream&) const;      \
    template IntTensor Sampler::rows(const Var<R>&, RandomStream&) const;
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
