// What the optimiser kernels are told for one step: plain numbers, the same for every number type.
// The formulas are in optimizer_kernels.hpp; schedules and parameter groups belong to optim/.
#pragma once

namespace unroll::detail {

// What happens to a gradient before any optimiser sees it: g = clamp(g * scale, -limit, limit). scale is the
// coefficient of clipping by norm (1: none), limit that of clipping by value (infinity: none). NaN stays NaN.
struct GradientScaling {
    double scale = 1.0;
    double limit = __builtin_inf();
};

struct SgdStep {
    double lr;
    double momentum = 0.0;
    double dampening = 0.0;
    double weight_decay = 0.0;
    bool nesterov = false;
    bool first = false;  // the momentum buffer is not set yet: it becomes the gradient
    GradientScaling gradient = {};
};

struct AdagradStep {
    double lr;  // of this step: lr / (1 + (step - 1) * lr_decay)
    double eps = 1e-10;
    double weight_decay = 0.0;
    GradientScaling gradient = {};
};

struct RmspropStep {
    double lr;
    double alpha = 0.99;
    double eps = 1e-8;
    double weight_decay = 0.0;
    double momentum = 0.0;
    bool centered = false;
    GradientScaling gradient = {};
};

struct AdadeltaStep {
    double lr;
    double rho = 0.9;
    double eps = 1e-6;
    double weight_decay = 0.0;
    GradientScaling gradient = {};
};

// Adam and AdamW.
struct AdamStep {
    double lr;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0.0;
    double bias_correction1;  // 1 - beta1^step
    double bias_correction2;  // 1 - beta2^step
    bool decoupled = false;   // AdamW: the weights decay by themselves, not through the gradient
    bool amsgrad = false;
    GradientScaling gradient = {};
};

struct NadamStep {
    double lr;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0.0;
    double bias_correction2;  // 1 - beta2^step
    double gradient_share;    // (1 - mu) / (1 - product of mu so far)
    double average_share;     // next mu / (1 - product of mu up to the next)
    GradientScaling gradient = {};
};

}  // namespace unroll::detail
