// Clipping of gradients, by norm or by value.
#pragma once

#include <unroll/autograd/parameter.hpp>

namespace unroll {

struct ClipOptions {
    double norm_type = 2.0;          ///< 2, or infinity for the largest |g|
    bool error_if_nonfinite = false; ///< throw instead of returning a norm that is infinite or NaN
};

/// The norm of all gradients together; if it is above max_norm they are scaled by max_norm / (norm + 1e-6), as PyTorch does.
/// One pass: the scaling itself happens when the gradients are next read, in the optimiser's own pass.
/// @returns the norm before clipping. @throws ValueError for max_norm < 0 or NaN, another norm_type, or (on request) a norm
/// that is not finite; nothing is changed then
template <class Real>
double clip_grad_norm(ParameterStore<Real>& store, double max_norm, const ClipOptions& options = {});

/// Every element of every gradient into [−limit, limit]. @throws ValueError unless limit ≥ 0
template <class Real>
void clip_grad_value(ParameterStore<Real>& store, double limit);

}  // namespace unroll
