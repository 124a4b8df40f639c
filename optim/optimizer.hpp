// Optimisers: SGD, Adagrad, RMSprop, Adadelta, Adam, AdamW with PyTorch's formulas, options and defaults.
//
// They see a ParameterStore and no model. A step is one pass over the contiguous blocks of values, gradients and moments.
// A parameter without a gradient (none has arrived since zero_grad, or it is frozen) is left as it is, moments too.
// Each class is tested against PyTorch over 100 steps in double (tests/optim/optimizer_test.cpp, 1e-12).
#pragma once

#include <unroll/autograd/parameter.hpp>
#include <unroll/io/state_dict.hpp>

#include <optional>
#include <string>
#include <vector>

namespace unroll {

/// Parameters whose names begin with `prefix`, and what is different for them. The first group that fits counts.
struct ParameterGroup {
    std::string prefix;
    std::optional<double> lr = {};            ///< its own rate; it follows schedules in proportion
    std::optional<double> weight_decay = {};
};

/// What all optimisers share: groups, steps, moments, state.
template <class Real>
class Optimizer {
public:
    Optimizer(const Optimizer&) = delete;
    Optimizer& operator=(const Optimizer&) = delete;
    virtual ~Optimizer() = default;

    /// One update of every parameter that has a gradient. @throws UsageError if no parameter has one
    void step();
    void zero_grad() noexcept { store_.zero_grad(); }

    /// The learning rate of parameters without a group of their own.
    double lr() const noexcept { return lr_; }
    /// @throws ValueError unless 0 ≤ lr < ∞
    void set_lr(double lr);
    /// Adds a group. @throws ValueError if no parameter's name begins with the prefix, or a value is out of range
    void add_group(ParameterGroup group);

    ParameterStore<Real>& store() const noexcept { return store_; }
    /// Moments by parameter name, numbers of steps, the learning rate.
    StateDict state_dict() const;
    /// @throws ValueError or ShapeError, with nothing changed, if the state is another optimiser's or another model's
    void load_state_dict(const StateDict& state);

protected:
    struct Run {
        Index size;
        Real* values;
        const Real* gradient;
        Real* moments[3];
        Index step;  ///< 1 at the first step of these parameters
        double lr;
        double weight_decay;
        double scale;  ///< what clipping left to be multiplied with the gradient
    };

    Optimizer(ParameterStore<Real>& store, std::string name, double lr, double weight_decay, std::vector<std::string> moments,
              double initial_moment = 0.0);
    virtual void update(const Run& run) = 0;

private:
    void fit();

    ParameterStore<Real>& store_;
    std::string name_;
    double lr_, initial_lr_, weight_decay_;
    std::vector<std::string> moment_names_;
    double initial_moment_;
    std::vector<ParameterGroup> groups_;
    std::vector<detail::BlockRef> blocks_;
    Index size_ = 0;
    std::vector<Index> steps_;  // by parameter
};

struct SGDOptions {
    double lr = 1e-3;
    double momentum = 0;
    double dampening = 0;
    double weight_decay = 0;
    bool nesterov = false;
};
/// b ← momentum·b + (1 − dampening)·g; w ← w − lr·b (nesterov: w − lr·(g + momentum·b)).
template <class Real>
class SGD final : public Optimizer<Real> {
public:
    explicit SGD(ParameterStore<Real>& store, const SGDOptions& options = {});

private:
    void update(const typename Optimizer<Real>::Run& run) override;
    SGDOptions options_;
};

struct AdagradOptions {
    double lr = 1e-2;
    double lr_decay = 0;
    double weight_decay = 0;
    double initial_accumulator_value = 0;
    double eps = 1e-10;
};
/// s ← s + g²; w ← w − lr/(1 + (step − 1)·lr_decay) · g/(√s + eps). Duchi, Hazan, Singer 2011.
template <class Real>
class Adagrad final : public Optimizer<Real> {
public:
    explicit Adagrad(ParameterStore<Real>& store, const AdagradOptions& options = {});

private:
    void update(const typename Optimizer<Real>::Run& run) override;
    AdagradOptions options_;
};

struct RMSpropOptions {
    double lr = 1e-2;
    double alpha = 0.99;
    double eps = 1e-8;
    double weight_decay = 0;
    double momentum = 0;
    bool centered = false;
};
/// s ← α·s + (1 − α)·g²; w ← w − lr·g/(√s + eps), with momentum and centring as PyTorch. Hinton 2012.
template <class Real>
class RMSprop final : public Optimizer<Real> {
public:
    explicit RMSprop(ParameterStore<Real>& store, const RMSpropOptions& options = {});

private:
    void update(const typename Optimizer<Real>::Run& run) override;
    RMSpropOptions options_;
};

struct AdadeltaOptions {
    double lr = 1.0;
    double rho = 0.9;
    double eps = 1e-6;
    double weight_decay = 0;
};
/// s ← ρ·s + (1 − ρ)·g²; d = √(u + eps)/√(s + eps)·g; u ← ρ·u + (1 − ρ)·d²; w ← w − lr·d. Zeiler 2012.
template <class Real>
class Adadelta final : public Optimizer<Real> {
public:
    explicit Adadelta(ParameterStore<Real>& store, const AdadeltaOptions& options = {});

private:
    void update(const typename Optimizer<Real>::Run& run) override;
    AdadeltaOptions options_;
};

struct AdamOptions {
    double lr = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0;
    bool amsgrad = false;
};
/// m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; w ← w − lr·m̂/(√v̂ + eps). Kingma, Ba 2015.
template <class Real>
class Adam : public Optimizer<Real> {
public:
    explicit Adam(ParameterStore<Real>& store, const AdamOptions& options = {});

protected:
    Adam(ParameterStore<Real>& store, const AdamOptions& options, bool decoupled);

private:
    void update(const typename Optimizer<Real>::Run& run) override;
    AdamOptions options_;
    bool decoupled_;
};

struct AdamWOptions {
    double lr = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 1e-2;
    bool amsgrad = false;
};
/// Adam whose weight decay is w ← w·(1 − lr·weight_decay), apart from the gradient. Loshchilov, Hutter 2019.
template <class Real>
class AdamW final : public Adam<Real> {
public:
    explicit AdamW(ParameterStore<Real>& store, const AdamWOptions& options = {});
};

#define UNROLL_DECLARE(R)               \
    extern template class Optimizer<R>; \
    extern template class SGD<R>;       \
    extern template class Adagrad<R>;   \
    extern template class RMSprop<R>;   \
    extern template class Adadelta<R>;  \
    extern template class Adam<R>;      \
    extern template class AdamW<R>;
UNROLL_DECLARE(float)
UNROLL_DECLARE(double)
UNROLL_DECLARE(Dual<double>)
#undef UNROLL_DECLARE

}  // namespace unroll
