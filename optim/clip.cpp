// Clipping of gradients.
#include <unroll/optim/clip.hpp>

#include <unroll/autograd/kernels/kernels.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace unroll {
namespace {

template <class Real>
double sum_of_squares(const Real* x, Index n) {
    if constexpr (std::is_same_v<Real, float>) {
        return detail::kernels().sum_of_squares(x, n);
    } else {
        double sum = 0;
        for (Index i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
        return sum;
    }
}

template <class Real>
double max_abs(const Real* x, Index n) {
    if constexpr (std::is_same_v<Real, float>) {
        return detail::kernels().max_abs(x, n);
    } else {
        double most = 0;
        for (Index i = 0; i < n; ++i) {
            const double a = std::abs(static_cast<double>(x[i]));
            if (a > most || std::isnan(a)) most = a;
            if (std::isnan(most)) break;
        }
        return most;
    }
}

/// Calls visit(elements, count) for every part that holds gradients, in the order of the parameters. Of a large embedding
/// these are the rows that were used.
template <class Real, class Visit>
void for_each_part(ParameterStore<Real>& store, Visit visit) {
    Gradients<Real>& gradients = store.gradients();
    using State = typename Gradients<Real>::State;
    for (const auto* entry : store.entries()) {
        Real* g = gradients.has(*entry) ? gradients.raw(*entry) : nullptr;
        if (!g) continue;
        if (gradients.state(*entry) == State::rows) {
            const Index width = entry->shape.size() / std::max<Index>(entry->shape[0], 1);
            for (const Index row : gradients.touched_rows(*entry)) visit(g + row * width, width);
        } else {
            visit(g, entry->shape.size());
        }
    }
}

}  // namespace

template <class Real>
double clip_grad_norm(ParameterStore<Real>& store, double max_norm, const ClipOptions& options) {
    if (!(max_norm >= 0)) throw ValueError(fmt::format("[clip_grad_norm] max_norm must be 0 or more; got {}", max_norm));
    const bool largest = std::isinf(options.norm_type);
    if (!largest && options.norm_type != 2.0)
        throw ValueError(fmt::format("[clip_grad_norm] norm_type must be 2 or infinity; got {}", options.norm_type));
    double norm = 0;
    for_each_part(store, [&](const Real* g, Index n) {
        if (largest) {
            const double part = max_abs(g, n);
            norm = part > norm || std::isnan(part) ? part : norm;
        } else {
            norm += sum_of_squares(g, n);
        }
    });
    norm = (largest ? norm : std::sqrt(norm)) * std::abs(store.gradients().scale());
    if (options.error_if_nonfinite && !std::isfinite(norm))
        throw ValueError(fmt::format("[clip_grad_norm] the norm of the gradients is {}; find the first value that is not finite with "
                                     "Tape<Real> tape({{.check_finite = true}})", norm));
    // NaN gives a coefficient of NaN, which no comparison clamps: PyTorch spreads it too.
    const double coefficient = max_norm / (norm + 1e-6);
    if (!(coefficient >= 1.0)) store.gradients().scale_by(coefficient);
    return norm;
}

template <class Real>
void clip_grad_value(ParameterStore<Real>& store, double limit) {
    if (!(limit >= 0)) throw ValueError(fmt::format("[clip_grad_value] the limit must be 0 or more; got {}", limit));
    store.gradients().apply_scale();
    const Real low(-limit), high(limit);
    for_each_part(store, [&](Real* g, Index n) {
        for (Index i = 0; i < n; ++i) g[i] = g[i] < low ? low : g[i] > high ? high : g[i];
    });
}

#define UNROLL_INSTANTIATE(R)                                                                     \
    template double clip_grad_norm(ParameterStore<R>&, double, const ClipOptions&);               \
    template void clip_grad_value(ParameterStore<R>&, double);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
