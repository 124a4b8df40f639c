// dropout, and the stream of draws of each of its calls.
#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/ops.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace unroll {
namespace {

/// y = x·m/(1 − q), m = 0 with probability q and 1 otherwise, where q is p rounded to a multiple of 2⁻¹⁶; 0 where m is,
/// whatever x is. Draw i of a call belongs to element i, whatever the shape, and is 16 bits of the stream's blocks for that
/// call (kernels.hpp: random_mask); each call has blocks of its own.
/// Saves m, one bit for each element. gx = gy·m/(1 − q).
/// Errors: ValueError unless 0 ≤ p ≤ 1. (Srivastava et al.: "Dropout", 2014; torch.nn.functional.dropout)
template <class Real>
struct Dropout_ {
    static constexpr std::string_view name = "dropout";
    static constexpr std::uint32_t kOne = 65536;

    RandomStream* random;     // drawn from when the call is known to be right, and not looked at later
    std::uint32_t threshold;  // q·2¹⁶
    detail::BlockRef mask = {};

    double scale() const noexcept { return threshold == kOne ? 0.0 : static_cast<double>(kOne) / (kOne - threshold); }
    void apply_mask(const Real* x, Real* y, Index n, bool add) const {
        const std::uint64_t* bits = mask->as<std::uint64_t>();
        if constexpr (std::is_same_v<Real, float>) {
            detail::kernels().masked_scale(bits, static_cast<float>(scale()), x, y, n, add);
        } else {
            for (Index i = 0; i < n; ++i) {
                const Real kept = bits[i / 64] >> (i % 64) & 1 ? x[i] * scale() : Real(0);
                y[i] = add ? y[i] + kept : kept;
            }
        }
    }

    Index held_bytes() const noexcept { return static_cast<Index>(mask->bytes); }

    void infer(Shapes& s) const { s.output(s.in(0)); }
    void forward(Forward<Real>& f) {
        constexpr Index kGroup = 128;  // draws of random_mask, in two words
        const Index n = f.in(0).size, groups = (n + kGroup - 1) / kGroup;
        mask =
            detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(groups) * 2 * sizeof(std::uint64_t)));
        // The number of the call, spread over all bits, is added to the stream's.
        const std::uint64_t stream = random->stream() + (random->next_call() + 1) * 0x9e3779b97f4a7c15u;
        detail::kernels().random_mask(random->seed(), stream, groups, threshold, mask->as<std::uint64_t>());
        const Real* x = f.in(0).data;
        if (!f.take(0, 0)) f.out(0);
        apply_mask(x, f.out(0), n, false);
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        apply_mask(b.gout(0).data, gx.data, gx.size, gx.adding);
    }
};

}  // namespace

template <class Real>
Var<Real> dropout(Var<Real> x, double p, RandomStream& random) {
    using Op = Dropout_<Real>;
    if (!(p >= 0 && p <= 1)) detail::fail_value(Op::name, fmt::format("p must be 0 to 1; got {}", p));
    if (!x) detail::fail_usage(Op::name, "operand 0 is an empty Var");
    if (p == 0) return x;
    // Neither a small p nor a large one becomes certainty.
    const auto threshold = p == 1 ? double{Op::kOne} : std::clamp(p * Op::kOne + 0.5, 1.0, Op::kOne - 1.0);
    const std::uint64_t before = random.counter();
    try {
        return apply(Op{&random, static_cast<std::uint32_t>(threshold)}, std::move(x));
    } catch (...) {  // what was drawn is refused, by a tape that looks for values that are not finite
        if (random.counter() != before) random.set_counter(before);
        throw;
    }
}

#define UNROLL_INSTANTIATE(R) template Var<R> dropout(Var<R>, double, RandomStream&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
