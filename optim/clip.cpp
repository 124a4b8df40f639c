// Clipping of gradients.
#include <unroll/optim/clip.hpp>

#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/profile.hpp>
#include <unroll/optim/detail/option_check.hpp>
#include <unroll/optim/detail/pieces.hpp>

#include <fmt/format.h>

#include <cmath>

namespace unroll {
namespace {

/// Elements that stand together: a parameter's whole gradient, or the rows of it that were used.
template <class Real>
struct Part {
    const Real* elements;
    Index size;
};

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
        return static_cast<double>(detail::kernels().max_abs(x, n));
    } else {
        double most = 0;
        for (Index i = 0; i < n && !std::isnan(most); ++i) {
            const double a = std::abs(static_cast<double>(x[i]));
            most = a <= most ? most : a;
        }
        return most;
    }
}

template <class Real>
double sum_of_powers(const Real* x, Index n, double power) {
    double sum = 0;
    for (Index i = 0; i < n; ++i) sum += std::pow(std::abs(static_cast<double>(x[i])), power);
    return sum;
}

template <class Real>
double norm_of(const detail::PoolVector<Part<Real>>& parts, double norm_type) {
    detail::PoolVector<detail::Piece> pieces;
    detail::cut_pieces(parts, pieces);
    detail::PoolVector<double> results;
    results.resize(pieces.size(), 0);
    const bool largest = std::isinf(norm_type), euclidean = norm_type == 2;
    detail::for_each_piece(pieces, sizeof(Real), [&](const detail::Piece& piece, std::size_t number) {
        const Real* x = parts[piece.part].elements + piece.begin;
        const Index n = piece.end - piece.begin;
        results[number] = largest ? max_abs(x, n) : euclidean ? sum_of_squares(x, n) : sum_of_powers(x, n, norm_type);
    });
    double total = 0;
    for (const double result : results) {
        if (largest)
            total = result <= total || std::isnan(total) ? total : result;
        else
            total += result;
    }
    return largest ? total : euclidean ? std::sqrt(total) : std::pow(total, 1 / norm_type);
}

/// Where the gradients are, in the order of the parameters.
template <class Real>
void collect(ParameterStore<Real>& store, detail::PoolVector<Part<Real>>& parts) {
    Gradients<Real>& gradients = store.gradients();
    for (const auto* entry : store.entries()) {
        if (!gradients.has(*entry)) continue;
        if (gradients.state(*entry) == Gradients<Real>::State::rows)
            parts.push_back({gradients.packed_rows(*entry), static_cast<Index>(gradients.touched_rows(*entry).size()) *
                                                                (entry->shape.size() / entry->shape[0])});
        else
            parts.push_back({gradients.raw(*entry), entry->shape.size()});
    }
}

}  // namespace

template <class Real>
double clip_grad_norm(ParameterStore<Real>& store, double max_norm, const ClipOptions& options) {
    detail::check_option("clip_grad_norm", "max_norm", max_norm, {0, detail::kInfinity});
    detail::check_option("clip_grad_norm", "norm_type", options.norm_type, {0, detail::kInfinity, true, false});
    const ProfileSpan span("clip", "clip_grad_norm");
    Gradients<Real>& gradients = store.gradients();
    // A limit that is outstanding changes the norm; a factor does not need to be carried out first.
    if (!std::isinf(gradients.limit())) gradients.apply_outstanding();
    detail::PoolVector<Part<Real>> parts;
    collect(store, parts);
    const double norm = norm_of(parts, options.norm_type) * std::abs(gradients.scale());
    if (options.error_if_nonfinite && !std::isfinite(norm))
        detail::fail_value(
            "clip_grad_norm",
            fmt::format("the norm of the gradients is {}; Tape<Real> tape({{.check_finite = true}}) finds the "
                        "first value that is not finite",
                        norm));
    if (std::isinf(max_norm)) return norm;
    const double factor = max_norm / (norm + 1e-6);
    if (!(factor >= 1)) gradients.scale_by(factor);
    return norm;
}

template <class Real>
void clip_grad_value(ParameterStore<Real>& store, double clip_value) {
    detail::check_option("clip_grad_value", "clip_value", clip_value, {0, detail::kInfinity});
    const ProfileSpan span("clip", "clip_grad_value");
    store.gradients().clamp_to(clip_value);
}

#define UNROLL_INSTANTIATE(R)                                                       \
    template double clip_grad_norm(ParameterStore<R>&, double, const ClipOptions&); \
    template void clip_grad_value(ParameterStore<R>&, double);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
