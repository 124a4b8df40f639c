// Losses: cross entropy and negative log-likelihood over classes; mean squared, absolute, Huber and binary ones.
#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/ops/detail/rows.hpp>
#include <unroll/autograd/ops/pointwise.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace unroll {
namespace {

using Classes = Tensor<std::int64_t>;

/// Targets in pooled memory, checked against the number of classes; those to be ignored become −1.
Classes checked_targets(std::string_view op, const IntTensor& targets, const Shape& scores, Index ignore_index) {
    if (scores.rank() < 1 || !(shape_of(targets) == scores.erased(scores.rank() - 1)))
        detail::fail_shape(op, "scores (…, C) and targets (…) are needed", {scores, shape_of(targets)});
    const Index classes = scores.back();
    Classes out = empty<std::int64_t>(shape_of(targets));
    for (std::size_t i = 0; i < targets.size(); ++i) {
        const std::int64_t t = targets.data()[i];
        if (t != ignore_index && (t < 0 || t >= classes))
            detail::fail_index(op, fmt::format("target {} at position {} is not a class (0 to {}) and not ignore_index = {}", t, i,
                                               classes - 1, ignore_index));
        out.data()[i] = t == ignore_index ? -1 : t;
    }
    return out;
}

template <class Real>
void check_options(std::string_view op, const CrossEntropyOptions<Real>& o, Index classes) {
    if (!(o.label_smoothing >= 0 && o.label_smoothing <= 1))
        detail::fail_value(op, fmt::format("label_smoothing must be 0 to 1; got {}", o.label_smoothing));
    if (o.class_weights.dimension() != 0 && !(shape_of(o.class_weights) == Shape{classes}))
        detail::fail_shape(op, "class_weights must have one element for each class", {shape_of(o.class_weights), Shape{classes}});
}

/// Loss of row r with target t, class weights w and smoothing ε, from log-probabilities l:
///     −(1 − ε)·w[t]·l[t] − ε/C·Σ_c w[c]·l[c];   rows to be ignored are 0.
/// The mean divides by Σ_r w[t_r] over rows not ignored (NaN if there are none, as in PyTorch).
/// Saves softmax(logits). g = g_r·(p·((1 − ε)·w[t] + ε/C·Σ w) − (1 − ε)·w[t]·1[t] − ε/C·w).
/// The same struct is nll_loss: then l is the input and g = −g_r·w[t]·1[t], and nothing is saved.
template <class Real, bool Logits>
struct ClassLoss {
    static constexpr std::string_view name = Logits ? "cross_entropy" : "nll_loss";
    Classes targets;
    Tensor<Real> weights;  // by class; of rank 0: all 1
    double smoothing;
    Reduction reduction;
    Real divisor{};

    bool weighted() const { return weights.dimension() == 1; }
    Real weight(std::int64_t c) const { return weighted() ? weights.data()[c] : Real(1); }

    void infer(Shapes& s) const { s.output(reduction == Reduction::none ? s.in(0).erased(s.in(0).rank() - 1) : Shape()); }

    void forward(Forward<Real>& f) {
        const Index classes = f.in_shape(0).back(), rows = static_cast<Index>(targets.size());
        const Real* x = f.in(0).data;
        Real* probabilities = Logits && f.needs(0) ? f.save(f.in_shape(0)) : nullptr;
        typename detail::SumOf<Real>::type total(0), weight_sum(0);
        Tensor<Real> losses = empty<Real>({rows});
        if (Logits && smoothing == 0 && std::is_same_v<Real, float>) {
            if constexpr (std::is_same_v<Real, float>)
                detail::kernels().cross_entropy_rows(rows, classes, x, classes, targets.data(), losses.data(), probabilities, classes);
        } else {
            for (Index r = 0; r < rows; ++r) losses.data()[r] = row(x + r * classes, classes, r, probabilities);
        }
        for (Index r = 0; r < rows; ++r) {
            const std::int64_t t = targets.data()[r];
            if (t < 0) {
                losses.data()[r] = Real(0);
                continue;
            }
            if (Logits && smoothing == 0 && std::is_same_v<Real, float> && weighted()) losses.data()[r] *= weight(t);
            total += losses.data()[r];
            weight_sum += weight(t);
        }
        divisor = reduction == Reduction::mean ? Real(weight_sum) : Real(1);
        if (reduction == Reduction::none)
            std::copy_n(losses.data(), rows, f.out(0));
        else
            f.out(0)[0] = Real(total) / divisor;
    }

    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const Index classes = b.in_shape(0).back(), rows = static_cast<Index>(targets.size());
        const Real one_minus(1 - smoothing), share(smoothing / static_cast<double>(classes));
        Real all_weights(0);
        for (Index c = 0; c < classes; ++c) all_weights += weight(c);
        for (Index r = 0; r < rows; ++r) {
            Real* g = gx.data + r * classes;
            const std::int64_t t = targets.data()[r];
            if (t < 0) {
                if (!gx.adding) std::fill_n(g, classes, Real(0));
                continue;
            }
            const Real upstream = (reduction == Reduction::none ? b.gout(0)[r] : b.gout(0)[0]) / divisor;
            if constexpr (!Logits) {
                if (!gx.adding) std::fill_n(g, classes, Real(0));
                g[t] -= upstream * weight(t);
                continue;
            }
            const Real* p = b.saved(0).data + r * classes;
            const Real scale = upstream * (one_minus * weight(t) + share * all_weights);
            if (gx.adding)
                for (Index c = 0; c < classes; ++c) g[c] += p[c] * scale;
            else
                for (Index c = 0; c < classes; ++c) g[c] = p[c] * scale;
            g[t] -= upstream * one_minus * weight(t);
            if (smoothing != 0)
                for (Index c = 0; c < classes; ++c) g[c] -= upstream * share * weight(c);
        }
    }

private:
    /// The loss of one row; also its probabilities, if wanted.
    Real row(const Real* x, Index classes, Index r, Real* probabilities) const {
        using std::exp, std::log;
        const std::int64_t t = targets.data()[r];
        if constexpr (!Logits) return t < 0 ? Real(0) : -weight(t) * x[t];
        Real most = x[0];
        for (Index c = 1; c < classes; ++c)
            if (x[c] > most) most = x[c];
        Real sum(0);
        for (Index c = 0; c < classes; ++c) sum += exp(x[c] - most);
        const Real log_sum = most + log(sum);
        if (probabilities)
            for (Index c = 0; c < classes; ++c) probabilities[r * classes + c] = exp(x[c] - log_sum);
        if (t < 0) return Real(0);
        Real loss = Real(1 - smoothing) * weight(t) * (log_sum - x[t]);
        if (smoothing != 0) {
            Real smooth(0);
            for (Index c = 0; c < classes; ++c) smooth += weight(c) * (log_sum - x[c]);
            loss += Real(smoothing / static_cast<double>(classes)) * smooth;
        }
        return loss;
    }
};

template <class Real, bool Logits>
Var<Real> class_loss(Var<Real> scores, const IntTensor& targets, const CrossEntropyOptions<Real>& o) {
    using Op = ClassLoss<Real, Logits>;
    if (!scores) detail::fail_usage(Op::name, "operand 0 is an empty Var");
    if (scores.rank() < 1 || scores.shape().back() < 1)
        detail::fail_shape(Op::name, "the last axis holds the classes, at least one", {scores.shape()});
    check_options(Op::name, o, scores.shape().back());
    Classes classes = checked_targets(Op::name, targets, scores.shape(), o.ignore_index);
    return apply(Op{std::move(classes), o.class_weights, Logits ? o.label_smoothing : 0.0, o.reduction}, std::move(scores));
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

/// (x − y)²
template <class Real>
Var<Real> mse_loss(Var<Real> input, Var<Real> target, Reduction reduction) {
    need_same_shape("mse_loss", input, target);
    return reduced(pointwise([](auto x, auto y) { return square(x - y); }, std::move(input), std::move(target)), reduction);
}

/// |x − y|, with gradient 0 where they are equal.
template <class Real>
Var<Real> l1_loss(Var<Real> input, Var<Real> target, Reduction reduction) {
    need_same_shape("l1_loss", input, target);
    return reduced(pointwise([](auto x, auto y) { return abs(x - y); }, std::move(input), std::move(target)), reduction);
}

/// d²/2 where |d| ≤ δ, δ·(|d| − δ/2) elsewhere, d = x − y. @throws ValueError unless δ > 0
template <class Real>
Var<Real> huber_loss(Var<Real> input, Var<Real> target, double delta, Reduction reduction) {
    need_same_shape("huber_loss", input, target);
    if (!(delta > 0)) detail::fail_value("huber_loss", fmt::format("delta must be more than 0; got {}", delta));
    return reduced(pointwise(
                       [delta](auto x, auto y) {
                           auto d = abs(x - y);
                           return where(d <= delta, 0.5 * square(d), delta * (d - 0.5 * delta));
                       },
                       std::move(input), std::move(target)),
                   reduction);
}

/// −(p·y·log σ(x) + (1 − y)·log σ(−x)), in the form that does not overflow.
template <class Real>
Var<Real> bce_with_logits(Var<Real> input, Var<Real> target, Var<Real> pos_weight, Reduction reduction) {
    need_same_shape("bce_with_logits", input, target);
    if (!pos_weight)
        return reduced(pointwise([](auto x, auto y) { return (1 - y) * x + softplus(-x); }, std::move(input), std::move(target)),
                       reduction);
    if (!detail::broadcasts_to(pos_weight.shape(), input.shape()))
        detail::fail_shape("bce_with_logits", "pos_weight must broadcast to input", {pos_weight.shape(), input.shape()});
    return reduced(pointwise([](auto x, auto y, auto p) { return (1 - y) * x + (1 + (p - 1) * y) * softplus(-x); }, std::move(input),
                             std::move(target), std::move(pos_weight)),
                   reduction);
}

#define UNROLL_INSTANTIATE(R)                                                                       \
    template Var<R> cross_entropy(Var<R>, const IntTensor&, const CrossEntropyOptions<R>&);         \
    template Var<R> nll_loss(Var<R>, const IntTensor&, const CrossEntropyOptions<R>&);              \
    template Var<R> mse_loss(Var<R>, Var<R>, Reduction);                                            \
    template Var<R> l1_loss(Var<R>, Var<R>, Reduction);                                             \
    template Var<R> huber_loss(Var<R>, Var<R>, double, Reduction);                                  \
    template Var<R> bce_with_logits(Var<R>, Var<R>, Var<R>, Reduction);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
