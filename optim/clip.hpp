// Clipping of gradients, by norm or by value. Neither changes a gradient in memory: what is left to do (a factor, a
// limit) is done when the gradients are next read, which is in the optimiser's own pass.
#pragma once

#include <unroll/autograd/parameter.hpp>

namespace unroll {

struct ClipOptions {
    double norm_type = 2.0;           ///< above 0; infinity for the largest |g|
    bool error_if_nonfinite = false;  ///< throw instead of returning a norm that is infinite or NaN
};

/// The norm (Σ |g|^norm_type)^(1/norm_type) over the gradients of all parameters together; if it is above max_norm they
/// are scaled by max_norm / (norm + 1e-6), as PyTorch does. A norm of NaN makes every gradient NaN, an infinite one
/// makes them 0 or NaN. An infinite max_norm only measures. Reads each gradient once; of large embeddings only the rows
/// that were used. To dual numbers the factor is a constant.
/// @returns the norm before clipping. @throws ValueError for max_norm < 0 or NaN, norm_type ≤ 0 or NaN, or (on request)
/// a norm that is not finite; nothing is changed then
template <class Real>
double clip_grad_norm(ParameterStore<Real>& store, double max_norm, const ClipOptions& options = {});

/// Every element of every gradient into [−clip_value, clip_value]; NaN stays. Costs nothing by itself.
/// @throws ValueError unless clip_value ≥ 0
template <class Real>
void clip_grad_value(ParameterStore<Real>& store, double clip_value);

}  // namespace unroll
