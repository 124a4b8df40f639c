// Losses: cross entropy and negative log-likelihood over classes; mean squared, absolute, Huber and binary ones.
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/ops/detail/indices.hpp>
#include <unroll/autograd/ops/detail/rows.hpp>
#include <unroll/autograd/ops/pointwise.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace unroll {
namespace {

using detail::Indices;

/// Losses of rows r with scores x (…, C) and a target t each, class weights w (1 where there are none) and smoothing ε:
///     cross_entropy: l = x − log Σ exp(x);  nll_loss: l = x, which is expected to be such log-probabilities, and ε = 0
///     loss = −(1 − ε)·w[t]·l[t] − ε/C·Σ_c w[c]·l[c];  0 where t is ignore_index
/// `none` gives all of them (…), `sum` their sum, `mean` that divided by Σ_r w[t_r] over rows not ignored (NaN if there are
/// none). A row that is −∞ alone, or holds NaN or +∞, gives NaN.
/// Saves softmax(x) for cross_entropy, nothing for nll_loss. With u the gradient of the row's loss:
///     gx = u·(p·((1 − ε)·w[t] + ε/C·Σ w) − (1 − ε)·w[t]·1[t] − ε/C·w);  for nll_loss −u·w[t]·1[t]
/// Errors: ShapeError, ValueError for operands and options that do not fit; IndexError for a target that is neither a class
/// nor ignore_index. (torch.nn.functional.cross_entropy, nll_loss)
template <class Real, bool kLogits>
struct ClassLoss {
    static constexpr std::string_view name = kLogits ? "cross_entropy" : "nll_loss";
    Indices targets;       // −1: ignored
    Tensor<Real> weights;  // by class; of rank 0: all 1
    double smoothing;
    Reduction reduction;
    Real divisor{};

    Index held_bytes() const noexcept {
        return detail::bytes_of(targets) + (weights.dimension() == 1 ? detail::bytes_of(weights) : 0);
    }
    Real weight(std::int64_t c) const { return weights.dimension() == 1 ? weights.data()[c] : Real(1); }
    Real all_weights(Index classes) const {
        if (weights.dimension() == 1) return detail::row_sum(weights.data(), classes);
        return Real(static_cast<double>(classes));
    }

    void infer(Shapes& s) const {
        s.output(reduction == Reduction::none ? s.in(0).erased(s.in(0).rank() - 1) : Shape());
    }

    void forward(Forward<Real>& f) {
        const Index classes = f.in_shape(0).back(), rows = static_cast<Index>(targets.size());
        const Real* x = f.in(0).data;
        const detail::Scratch<Real> scratch(reduction == Reduction::none ? 0 : rows);
        Real* losses = reduction == Reduction::none ? f.out(0) : scratch.data();
        log_likelihoods(x, rows, classes, losses, kLogits && f.needs(0) ? f.save(f.in_shape(0)) : nullptr);
        const Real all = smoothing == 0 ? Real(0) : all_weights(classes);
        typename detail::SumOf<Real>::type total(0), weight_sum(0);
        for (Index r = 0; r < rows; ++r) {
            const std::int64_t t = targets.data()[r];
            if (t < 0) continue;
            if (smoothing == 0)
                losses[r] *= weight(t);
            else
                losses[r] = smoothed(x + r * classes, classes, t, losses[r], all);
            total += losses[r];
            weight_sum += weight(t);
        }
        divisor = reduction == Reduction::mean ? Real(weight_sum) : Real(1);
        if (reduction != Reduction::none) f.out(0)[0] = Real(total) / divisor;
    }
    /// −l[t] of each row, 0 where it is ignored; also the probabilities, if wanted.
    void log_likelihoods(const Real* x, Index rows, Index classes, Real* to, Real* p) const {
        using std::log1p;
        if constexpr (kLogits && std::is_same_v<Real, float>) {
            detail::kernels().cross_entropy_rows(rows, classes, x, classes, targets.data(), to, p, classes);
            return;
        }
        for (Index r = 0; r < rows; ++r, x += classes, p += p ? classes : 0) {
            const std::int64_t t = targets.data()[r];
            to[r] = t < 0 ? Real(0) : -x[t];
            if (!kLogits) continue;
            const auto sum = detail::sum_exp(x, classes, [p](Index c, const Real& e) {
                if (p) p[c] = e;
            });
            if (p)
                for (Index c = 0; c < classes; ++c) p[c] = p[c] / (sum.others + 1);
            if (t >= 0) to[r] = log1p(sum.others) + (sum.most - x[t]);
        }
    }
    /// The loss of a row with smoothing, from −l[t] and Σ w.
    Real smoothed(const Real* x, Index classes, std::int64_t t, const Real& loss, const Real& all) const {
        if (!detail::finite(loss)) return loss;
        const Real others = detail::sum_of<Real>(classes, [&](Index c) { return weight(c) * (x[t] - x[c]); });
        return (1 - smoothing) * (weight(t) * loss) + smoothing / static_cast<double>(classes) * (all * loss + others);
    }

    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const Index classes = b.in_shape(0).back(), rows = static_cast<Index>(targets.size());
        const Real share(smoothing / static_cast<double>(classes));
        const Real all = smoothing == 0 ? Real(0) : all_weights(classes);
        for (Index r = 0; r < rows; ++r) {
            Real* g = gx.data + r * classes;
            const std::int64_t t = targets.data()[r];
            if (t < 0 || !kLogits) {
                if (!gx.adding) std::fill_n(g, classes, Real(0));
                if (t < 0) continue;
            }
            const Real upstream = b.gout(0)[reduction == Reduction::none ? r : 0] / divisor;
            const Real own = upstream * (weight(t) * Real(1 - smoothing));
            if constexpr (kLogits) {
                const Real* p = b.saved(0).data + r * classes;
                const Real scale = own + upstream * (share * all);
                if (gx.adding)
                    for (Index c = 0; c < classes; ++c) g[c] += p[c] * scale;
                else
                    for (Index c = 0; c < classes; ++c) g[c] = p[c] * scale;
                if (smoothing != 0)
                    for (Index c = 0; c < classes; ++c) g[c] -= upstream * share * weight(c);
            }
            g[t] -= own;
        }
    }
};

template <class Real, bool kLogits>
Var<Real> class_loss(Var<Real> scores, const IntTensor& targets, const CrossEntropyOptions<Real>& o) {
    using Op = ClassLoss<Real, kLogits>;
    if (!scores) detail::fail_usage(Op::name, "operand 0 is an empty Var");
    const Shape shape = scores.shape();
    if (shape.rank() < 1 || shape.back() < 1)
        detail::fail_shape(Op::name, "the last axis holds the classes, at least one", {shape});
    const Index classes = shape.back();
    if (targets.dimension() != shape.rank() - 1 || !(shape_of(targets) == shape.erased(shape.rank() - 1)))
        detail::fail_shape(Op::name, "scores (…, C) and targets (…) are needed", {shape, shape_of(targets)});
    if (!(o.label_smoothing >= 0 && o.label_smoothing <= 1))
        detail::fail_value(Op::name, fmt::format("label_smoothing must be 0 to 1; got {}", o.label_smoothing));
    if (!kLogits && o.label_smoothing != 0)
        detail::fail_value(Op::name, "label_smoothing needs logits: use cross_entropy");
    if (o.class_weights.dimension() != 0 && !(shape_of(o.class_weights) == Shape{classes}))
        detail::fail_shape(Op::name, "class_weights must have one element for each class",
                           {shape, shape_of(o.class_weights)});
    Op op{detail::checked_indices(Op::name, "target", targets, classes, &o.ignore_index), o.class_weights,
          o.label_smoothing, o.reduction};
    return apply(std::move(op), std::move(scores));
}

template <class Real>
Var<Real> reduced(Var<Real> losses, Reduction reduction) {
    if (reduction == Reduction::none) return losses;
    return reduction == Reduction::mean ? mean(std::move(losses)) : sum(std::move(losses));
}

template <class Real>
void need_same_shape(std::string_view op, const Var<Real>& input, const Var<Real>& target) {
    if (!input || !target) detail::fail_usage(op, "an operand is an empty Var");
    if (!(input.shape() == target.shape()))
        detail::fail_shape(op, "input and target must have the same shape", {input.shape(), target.shape()});
}

}  // namespace

template <class Real>
Var<Real> cross_entropy(Var<Real> logits, const IntTensor& targets, const CrossEntropyOptions<Real>& options) {
    return class_loss<Real, true>(std::move(logits), targets, options);
}

template <class Real>
Var<Real> nll_loss(Var<Real> log_probs, const IntTensor& targets, const CrossEntropyOptions<Real>& options) {
    return class_loss<Real, false>(std::move(log_probs), targets, options);
}

/// y = (x − t)² for input x and target t, the same shape; `mean` and `sum` over all elements. Both may need gradients:
/// gx = 2·(x − t)·gy, gt = −gx. Errors: ShapeError for other shapes. (torch.nn.functional.mse_loss)
template <class Real>
Var<Real> mse_loss(Var<Real> input, Var<Real> target, Reduction reduction) {
    need_same_shape("mse_loss", input, target);
    return reduced(detail::named_pointwise(
                       "mse_loss", [](auto x, auto t) { return square(x - t); }, std::move(input), std::move(target)),
                   reduction);
}

/// y = |x − t|; gx = sign(x − t)·gy, 0 where they are equal; else as mse_loss. (torch.nn.functional.l1_loss)
template <class Real>
Var<Real> l1_loss(Var<Real> input, Var<Real> target, Reduction reduction) {
    need_same_shape("l1_loss", input, target);
    return reduced(detail::named_pointwise(
                       "l1_loss", [](auto x, auto t) { return abs(x - t); }, std::move(input), std::move(target)),
                   reduction);
}

/// y = d²/2 where |d| ≤ δ, δ·(|d| − δ/2) elsewhere, d = x − t; gx = d·gy, ±δ·gy; else as mse_loss. Errors: ValueError unless
/// δ > 0. (torch.nn.functional.huber_loss)
template <class Real>
Var<Real> huber_loss(Var<Real> input, Var<Real> target, double delta, Reduction reduction) {
    need_same_shape("huber_loss", input, target);
    if (!(delta > 0)) detail::fail_value("huber_loss", fmt::format("delta must be more than 0; got {}", delta));
    const auto loss = [delta](auto x, auto t) {
        auto d = abs(x - t);
        return where(d <= delta, 0.5 * square(d), delta * (d - 0.5 * delta));
    };
    return reduced(detail::named_pointwise("huber_loss", loss, std::move(input), std::move(target)), reduction);
}

/// y = −(w·t·log σ(x) + (1 − t)·log σ(−x)) for logits x, targets t in [0, 1] and weights w of positives (1 where there are
/// none), as (1 − t)·x + (1 + (w − 1)·t)·log(1 + e⁻ˣ), which does not overflow. w broadcasts to x; all may need gradients.
/// Errors: ShapeError for shapes that do not fit. (torch.nn.functional.binary_cross_entropy_with_logits)
template <class Real>
Var<Real> bce_with_logits(Var<Real> input, Var<Real> target, Var<Real> pos_weight, Reduction reduction) {
    constexpr std::string_view name = "bce_with_logits";
    need_same_shape(name, input, target);
    if (!pos_weight) {
        const auto loss = [](auto x, auto t) { return (1 - t) * x + softplus(-x); };
        return reduced(detail::named_pointwise(name, loss, std::move(input), std::move(target)), reduction);
    }
    if (!detail::broadcasts_to(pos_weight.shape(), input.shape()))
        detail::fail_shape(name, "pos_weight must broadcast to input", {input.shape(), pos_weight.shape()});
    const auto loss = [](auto x, auto t, auto w) { return (1 - t) * x + (1 + (w - 1) * t) * softplus(-x); };
    return reduced(detail::named_pointwise(name, loss, std::move(input), std::move(target), std::move(pos_weight)),
                   reduction);
}

#define UNROLL_INSTANTIATE(R)                                                               \
    template Var<R> cross_entropy(Var<R>, const IntTensor&, const CrossEntropyOptions<R>&); \
    template Var<R> nll_loss(Var<R>, const IntTensor&, const CrossEntropyOptions<R>&);      \
    template Var<R> mse_loss(Var<R>, Var<R>, Reduction);                                    \
    template Var<R> l1_loss(Var<R>, Var<R>, Reduction);                                     \
    template Var<R> huber_loss(Var<R>, Var<R>, double, Reduction);                          \
    template Var<R> bce_with_logits(Var<R>, Var<R>, Var<R>, Reduction);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
