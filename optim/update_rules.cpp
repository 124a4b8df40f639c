// The optimisers' formulas: their options, the moments that they keep, and what they ask of the kernels for one step.
// The loops themselves are in autograd/kernels/optimizer_kernels.hpp.
#include <unroll/optim/optimizer.hpp>

#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/kernels/optimizer_kernels.hpp>
#include <unroll/optim/detail/option_check.hpp>

#include <cmath>

namespace unroll {
namespace {

using detail::kBelowOne;
using detail::kNotNegative;
using detail::kShare;

void check_options(const char* who, const SGDOptions& o) {
    detail::check_option(who, "momentum", o.momentum, kNotNegative);
    detail::check_option(who, "dampening", o.dampening, kShare);
    if (o.nesterov && (o.momentum == 0 || o.dampening != 0))
        detail::fail_value(who, "nesterov needs a momentum above 0 and a dampening of 0");
}

void check_options(const char* who, const AdagradOptions& o) {
    detail::check_option(who, "lr_decay", o.lr_decay, kNotNegative);
    detail::check_option(who, "initial_accumulator_value", o.initial_accumulator_value, kNotNegative);
    detail::check_option(who, "eps", o.eps, kNotNegative);
}

void check_options(const char* who, const RMSpropOptions& o) {
    detail::check_option(who, "alpha", o.alpha, kBelowOne);
    detail::check_option(who, "eps", o.eps, kNotNegative);
    detail::check_option(who, "momentum", o.momentum, kNotNegative);
}

void check_options(const char* who, const AdadeltaOptions& o) {
    detail::check_option(who, "rho", o.rho, kShare);
    detail::check_option(who, "eps", o.eps, kNotNegative);
}

// Adam, AdamW, RAdam, NAdam.
template <class Options>
void check_options(const char* who, const Options& o) {
    detail::check_option(who, "beta1", o.beta1, kBelowOne);
    detail::check_option(who, "beta2", o.beta2, kBelowOne);
    detail::check_option(who, "eps", o.eps, kNotNegative);
    if constexpr (requires { o.momentum_decay; })
        detail::check_option(who, "momentum_decay", o.momentum_decay, kNotNegative);
}

template <class Options>
void check_all_options(const char* who, const Options& o) {
    detail::check_option(who, "lr", o.lr, kNotNegative);
    detail::check_option(who, "weight_decay", o.weight_decay, kNotNegative);
    check_options(who, o);
}

// Float steps run on the processor's vector kernels, the others in the same loops compiled for their type.
#define UNROLL_RUN(kernel, ...)                \
    if constexpr (std::is_same_v<Real, float>) \
        detail::kernels().kernel(__VA_ARGS__); \
    else                                       \
        detail::generic::kernel(__VA_ARGS__)

/// Where the objective is maximised, the gradient's sign is turned with what clipping left outstanding: no pass of its own.
template <class Run, class Options>
detail::GradientScaling scaling(const Run& run, const Options& o) {
    return {o.maximize ? -run.scale : run.scale, run.limit};
}

template <class Real, class Run, class Options>
void update_adam(const Run& run, const Options& o, double beta1, bool decoupled) {
    const auto n = static_cast<double>(run.step);
    const detail::AdamStep step{.lr = run.lr,
                                .beta1 = beta1,
                                .beta2 = o.beta2,
                                .eps = o.eps,
                                .weight_decay = o.weight_decay,
                                .bias_correction1 = 1 - std::pow(beta1, n),
                                .bias_correction2 = 1 - std::pow(o.beta2, n),
                                .decoupled = decoupled,
                                .amsgrad = o.amsgrad,
                                .gradient = scaling(run, o)};
    UNROLL_RUN(adam, step, run.size, run.values, run.gradient, run.moments[0], run.moments[1], run.moments[2]);
}

}  // namespace

template <class Real, class Options>
OptimizerWith<Real, Options>::OptimizerWith(ParameterStore<Real>& store, const char* name, const Options& options,
                                            const typename Optimizer<Real>::MomentNames& moments, double initial_moment)
    : Optimizer<Real>(store, name, options.lr, moments, initial_moment), options_{options} {
    check_all_options(name, options);
}

template <class Real, class Options>
OptimizerWith<Real, Options>::~OptimizerWith() = default;

template <class Real, class Options>
void OptimizerWith<Real, Options>::add_group(const std::string& prefix, const std::function<void(Options&)>& change) {
    Options own = options();
    change(own);
    check_all_options(this->name().c_str(), own);
    options_.reserve(options_.size() + 1);
    this->add_prefix(prefix, own.lr);
    options_.push_back(own);
}

// ---- SGD ----

template <class Real>
SGD<Real>::SGD(ParameterStore<Real>& store, const SGDOptions& options)
    : OptimizerWith<Real, SGDOptions>(store, "SGD", options, {"momentum_buffer"}) {}

template <class Real>
std::optional<double> SGD<Real>::momentum() const noexcept {
    return this->momentum_or(this->options().momentum);
}

template <class Real>
bool SGD<Real>::uses_moment(std::size_t, bool momentum_set) const noexcept {
    return momentum_set || this->any_options([](const auto& o) { return o.momentum != 0; });
}

template <class Real>
void SGD<Real>::update(const Run& run) const {
    const SGDOptions& o = this->options_[run.group];
    const detail::SgdStep step{.lr = run.lr,
                               .momentum = this->momentum_or(o.momentum),
                               .dampening = o.dampening,
                               .weight_decay = o.weight_decay,
                               .nesterov = o.nesterov,
                               .first = run.step == 1,
                               .gradient = scaling(run, o)};
    UNROLL_RUN(sgd, step, run.size, run.values, run.gradient, run.moments[0]);
}

// ---- Adagrad ----

template <class Real>
Adagrad<Real>::Adagrad(ParameterStore<Real>& store, const AdagradOptions& options)
    : OptimizerWith<Real, AdagradOptions>(store, "Adagrad", options, {"sum"}, options.initial_accumulator_value) {}

template <class Real>
bool Adagrad<Real>::uses_moment(std::size_t, bool) const noexcept {
    return true;
}

template <class Real>
void Adagrad<Real>::update(const Run& run) const {
    const AdagradOptions& o = this->options_[run.group];
    const detail::AdagradStep step{.lr = run.lr / (1 + static_cast<double>(run.step - 1) * o.lr_decay),
                                   .eps = o.eps,
                                   .weight_decay = o.weight_decay,
                                   .gradient = scaling(run, o)};
    UNROLL_RUN(adagrad, step, run.size, run.values, run.gradient, run.moments[0]);
}

// ---- RMSprop ----

template <class Real>
RMSprop<Real>::RMSprop(ParameterStore<Real>& store, const RMSpropOptions& options)
    : OptimizerWith<Real, RMSpropOptions>(store, "RMSprop", options, {"square_avg", "grad_avg", "momentum_buffer"}) {}

template <class Real>
std::optional<double> RMSprop<Real>::momentum() const noexcept {
    return this->momentum_or(this->options().momentum);
}

template <class Real>
bool RMSprop<Real>::uses_moment(std::size_t m, bool momentum_set) const noexcept {
    if (m == 1) return this->any_options([](const auto& o) { return o.centered; });
    return m == 0 || momentum_set || this->any_options([](const auto& o) { return o.momentum != 0; });
}

template <class Real>
void RMSprop<Real>::update(const Run& run) const {
    const RMSpropOptions& o = this->options_[run.group];
    const detail::RmspropStep step{.lr = run.lr,
                                   .alpha = o.alpha,
                                   .eps = o.eps,
                                   .weight_decay = o.weight_decay,
                                   .momentum = this->momentum_or(o.momentum),
                                   .centered = o.centered,
                                   .gradient = scaling(run, o)};
    UNROLL_RUN(rmsprop, step, run.size, run.values, run.gradient, run.moments[0], run.moments[1], run.moments[2]);
}

// ---- Adadelta ----

template <class Real>
Adadelta<Real>::Adadelta(ParameterStore<Real>& store, const AdadeltaOptions& options)
    : OptimizerWith<Real, AdadeltaOptions>(store, "Adadelta", options, {"square_avg", "acc_delta"}) {}

template <class Real>
bool Adadelta<Real>::uses_moment(std::size_t, bool) const noexcept {
    return true;
}

template <class Real>
void Adadelta<Real>::update(const Run& run) const {
    const AdadeltaOptions& o = this->options_[run.group];
    const detail::AdadeltaStep step{
        .lr = run.lr, .rho = o.rho, .eps = o.eps, .weight_decay = o.weight_decay, .gradient = scaling(run, o)};
    UNROLL_RUN(adadelta, step, run.size, run.values, run.gradient, run.moments[0], run.moments[1]);
}

// ---- Adam, AdamW ----

template <class Real>
Adam<Real>::Adam(ParameterStore<Real>& store, const AdamOptions& options)
    : OptimizerWith<Real, AdamOptions>(store, "Adam", options, {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}) {}

template <class Real>
std::optional<double> Adam<Real>::momentum() const noexcept {
    return this->momentum_or(this->options().beta1);
}

template <class Real>
bool Adam<Real>::uses_moment(std::size_t m, bool) const noexcept {
    return m < 2 || this->any_options([](const auto& o) { return o.amsgrad; });
}

template <class Real>
void Adam<Real>::update(const Run& run) const {
    const AdamOptions& o = this->options_[run.group];
    update_adam<Real>(run, o, this->momentum_or(o.beta1), false);
}

template <class Real>
AdamW<Real>::AdamW(ParameterStore<Real>& store, const AdamWOptions& options)
    : OptimizerWith<Real, AdamWOptions>(store, "AdamW", options, {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}) {}

template <class Real>
std::optional<double> AdamW<Real>::momentum() const noexcept {
    return this->momentum_or(this->options().beta1);
}

template <class Real>
bool AdamW<Real>::uses_moment(std::size_t m, bool) const noexcept {
    return m < 2 || this->any_options([](const auto& o) { return o.amsgrad; });
}

template <class Real>
void AdamW<Real>::update(const Run& run) const {
    const AdamWOptions& o = this->options_[run.group];
    update_adam<Real>(run, o, this->momentum_or(o.beta1), true);
}

// ---- RAdam ----

template <class Real>
RAdam<Real>::RAdam(ParameterStore<Real>& store, const RAdamOptions& options)
    : OptimizerWith<Real, RAdamOptions>(store, "RAdam", options, {"exp_avg", "exp_avg_sq"}) {}

template <class Real>
std::optional<double> RAdam<Real>::momentum() const noexcept {
    return this->momentum_or(this->options().beta1);
}

template <class Real>
bool RAdam<Real>::uses_moment(std::size_t, bool) const noexcept {
    return true;
}

// Adam's loop does it: lr/c1 · m/(√v/√c2 + eps) with lr·r·√(1 − β₂ⁿ) for lr and c2 = 1 while the variance is known well
// enough, and with c2 = ∞ and eps = 1, which leaves lr/c1 · m, as long as it is not.
template <class Real>
void RAdam<Real>::update(const Run& run) const {
    const RAdamOptions& o = this->options_[run.group];
    const auto n = static_cast<double>(run.step);
    const double beta1 = this->momentum_or(o.beta1), power2 = std::pow(o.beta2, n);
    const double longest = 2 / (1 - o.beta2) - 1, length = longest - 2 * n * power2 / (1 - power2);
    detail::AdamStep step{.lr = run.lr,
                          .beta1 = beta1,
                          .beta2 = o.beta2,
                          .eps = o.eps,
                          .weight_decay = o.weight_decay,
                          .bias_correction1 = 1 - std::pow(beta1, n),
                          .bias_correction2 = 1,
                          .gradient = scaling(run, o)};
    if (length > 5) {
        const double rectification =
            std::sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
        step.lr *= rectification * std::sqrt(1 - power2);
    } else {
        step.bias_correction2 = detail::kInfinity;
        step.eps = 1;
    }
    UNROLL_RUN(adam, step, run.size, run.values, run.gradient, run.moments[0], run.moments[1], run.moments[2]);
}

// ---- NAdam ----

template <class Real>
NAdam<Real>::NAdam(ParameterStore<Real>& store, const NAdamOptions& options)
    : OptimizerWith<Real, NAdamOptions>(store, "NAdam", options, {"exp_avg", "exp_avg_sq"}) {}

template <class Real>
bool NAdam<Real>::uses_moment(std::size_t, bool) const noexcept {
    return true;
}

namespace {
double nadam_momentum(const NAdamOptions& o, double n) {
    return o.beta1 * (1 - 0.5 * std::pow(0.96, n * o.momentum_decay));
}
}  // namespace

// The product follows from the number of steps alone and so is no part of the state.
template <class Real>
void NAdam<Real>::prepare(Run& run) {
    if (products_.size() <= run.group) products_.resize(run.group + 1);
    Product& product = products_[run.group];
    if (product.step > run.step) product = {};
    const NAdamOptions& o = this->options_[run.group];
    while (product.step < run.step && product.value != 0)
        product.value *= nadam_momentum(o, static_cast<double>(++product.step));
    run.product = product.value;
}

template <class Real>
void NAdam<Real>::update(const Run& run) const {
    const NAdamOptions& o = this->options_[run.group];
    const auto n = static_cast<double>(run.step);
    const double mu = nadam_momentum(o, n), next = nadam_momentum(o, n + 1);
    const detail::NadamStep step{.lr = run.lr,
                                 .beta1 = o.beta1,
                                 .beta2 = o.beta2,
                                 .eps = o.eps,
                                 .weight_decay = o.weight_decay,
                                 .bias_correction2 = 1 - std::pow(o.beta2, n),
                                 .gradient_share = (1 - mu) / (1 - run.product),
                                 .average_share = next / (1 - run.product * next),
                                 .gradient = scaling(run, o)};
    UNROLL_RUN(nadam, step, run.size, run.values, run.gradient, run.moments[0], run.moments[1]);
}

#define UNROLL_INSTANTIATE_ONE(R, Name)             \
    template class OptimizerWith<R, Name##Options>; \
    template class Name<R>;
#define UNROLL_INSTANTIATE(R)           \
    UNROLL_INSTANTIATE_ONE(R, SGD)      \
    UNROLL_INSTANTIATE_ONE(R, Adagrad)  \
    UNROLL_INSTANTIATE_ONE(R, RMSprop)  \
    UNROLL_INSTANTIATE_ONE(R, Adadelta) \
    UNROLL_INSTANTIATE_ONE(R, Adam)     \
    UNROLL_INSTANTIATE_ONE(R, AdamW)    \
    UNROLL_INSTANTIATE_ONE(R, RAdam)    \
    UNROLL_INSTANTIATE_ONE(R, NAdam)
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE
#undef UNROLL_INSTANTIATE_ONE

}  // namespace unroll
