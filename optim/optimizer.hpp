// Optimisers: SGD, Adagrad, RMSprop, Adadelta, Adam, AdamW, RAdam, NAdam with PyTorch's formulas, options and defaults.
//
//     Adam<float> adam(store, {.lr = 2e-3});
//     adam.add_group("head.", [](AdamOptions& own) { own.lr = 1e-3; own.weight_decay = 0.1; });
//     …
//     adam.zero_grad();  backward(loss);  clip_grad_norm(store, 1.0);  adam.step();
//
// They see a ParameterStore and no model. A step is one pass over the contiguous blocks of values, gradients and
// moments, clipping included, on all threads where there is enough to do; the bits do not depend on their number. A
// parameter that has no gradient (none has arrived since zero_grad), or is frozen, is left as it is, its moments too.
// Held against PyTorch over 100 steps in double by tests/optim/optimizer_test.cpp (to 1e-12).
#pragma once

#include <unroll/autograd/parameter.hpp>
#include <unroll/optim/optimizer_base.hpp>

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace unroll {

class StateDict;  // io/state_dict.hpp

/// What all optimisers share: groups of parameters, counts of steps, moments, state.
template <class Real>
class Optimizer : public OptimizerBase {
public:
    ~Optimizer() override;
    /// One update of every parameter that has a gradient. @throws UsageError if no parameter has one
    void step();
    void zero_grad() noexcept { store_.zero_grad(); }
    ParameterStore<Real>& store() const noexcept { return store_; }

    /// What training has changed: the learning rate, and for each parameter that was ever updated its number of steps
    /// ("rnn.weight_hh_l0.step") and its moments under PyTorch's names ("rnn.weight_hh_l0.exp_avg"), laid out as in
    /// memory. Options are the constructor's and no part of it.
    StateDict state_dict() const;
    /// @throws ValueError or ShapeError, with nothing changed, if the state is another optimiser's or another model's
    void load_state_dict(const StateDict& state);

protected:
    static constexpr std::size_t kMoments = 3;
    /// PyTorch's names of the moments; null for those that the formula does not have.
    using MomentNames = std::array<const char*, kMoments>;

    /// One parameter, or a part of it, in a step.
    struct Run {
        Index size;
        Real* values;
        const Real* gradient;
        std::array<Real*, kMoments> moments;  ///< null where not used
        std::size_t group;
        Index step;  ///< 1 in the parameter's first step
        double lr;
        double scale, limit;  ///< what clipping left for the gradient: clamp(scale · g, −limit, limit)
        double product;       ///< what prepare() computed
    };

    Optimizer(ParameterStore<Real>& store, std::string name, double lr, const MomentNames& moments,
              double initial_moment = 0);

    /// Whether moment number m is needed with any group's options, and with a momentum set by set_momentum or without.
    virtual bool uses_moment(std::size_t m, bool momentum_set) const noexcept = 0;
    /// Called once for each parameter of a step, before update().
    virtual void prepare(Run&) {}
    /// The formula; may run on several threads at once, each with a part of its own.
    virtual void update(const Run& run) const = 0;

    /// @throws ValueError if no parameter's name begins with the prefix
    void add_prefix(const std::string& prefix, double lr);

private:
    struct Group {
        std::string prefix;
        double lr;
    };
    std::size_t group_of(const std::string& name) const noexcept;
    void fit();
    Real* moment_of(const detail::ParameterEntry<Real>& entry, std::size_t m) const noexcept {
        return blocks_[m]->template as<Real>() + entry.offset;
    }
    std::string key(const std::string& parameter, std::size_t m) const { return parameter + "." + names_[m]; }

    ParameterStore<Real>& store_;
    MomentNames names_;
    double initial_moment_;
    std::vector<Group> groups_;  // the first is that of all parameters without another
    std::array<detail::BlockRef, kMoments> blocks_;
    std::array<Index, kMoments> sizes_{};
    std::vector<Index> steps_;  // by parameter
};

/// What all optimisers with such options share.
template <class Real, class Options>
class OptimizerWith : public Optimizer<Real> {
public:
    ~OptimizerWith() override;
    /// Those of the constructor.
    const Options& options() const noexcept { return options_.front(); }
    /// Parameters of which a name begins with `prefix` (tied ones have several) have options of their own: those of the
    /// constructor after `change`. Where several groups fit, the first counts. A group's lr follows set_lr and schedules in proportion.
    /// @throws ValueError for an option out of its range, or if no parameter's name begins with the prefix
    void add_group(const std::string& prefix, const std::function<void(Options& own)>& change);

protected:
    OptimizerWith(ParameterStore<Real>& store, const char* name, const Options& options,
                  const typename Optimizer<Real>::MomentNames& moments, double initial_moment = 0);
    template <class Condition>
    bool any_options(Condition condition) const noexcept {
        for (const Options& options : options_)
            if (condition(options)) return true;
        return false;
    }

    std::vector<Options> options_;  // by group
};

struct SGDOptions {
    double lr = 1e-3;
    double momentum = 0;
    double dampening = 0;
    double weight_decay = 0;
    bool nesterov = false;  ///< needs a momentum and no dampening
    bool maximize = false;  ///< ascend: −g takes the place of g, before weight decay, in every optimiser
};
/// b ← momentum·b + (1 − dampening)·g, in the first step b ← g; w ← w − lr·b (nesterov: w − lr·(g + momentum·b)).
/// Without momentum w ← w − lr·g. Sutskever, Martens, Dahl, Hinton 2013.
template <class Real>
class SGD final : public OptimizerWith<Real, SGDOptions> {
public:
    explicit SGD(ParameterStore<Real>& store, const SGDOptions& options = {});
    std::optional<double> momentum() const noexcept override;

private:
    using Run = typename Optimizer<Real>::Run;
    bool uses_moment(std::size_t m, bool momentum_set) const noexcept override;
    void update(const Run& run) const override;
};

struct AdagradOptions {
    double lr = 1e-2;
    double lr_decay = 0;
    double weight_decay = 0;
    double initial_accumulator_value = 0;  ///< what s begins with; the same for all groups
    double eps = 1e-10;
    bool maximize = false;
};
/// s ← s + g²; w ← w − lr/(1 + (step − 1)·lr_decay) · g/(√s + eps). Duchi, Hazan, Singer 2011.
template <class Real>
class Adagrad final : public OptimizerWith<Real, AdagradOptions> {
public:
    explicit Adagrad(ParameterStore<Real>& store, const AdagradOptions& options = {});

private:
    using Run = typename Optimizer<Real>::Run;
    bool uses_moment(std::size_t m, bool momentum_set) const noexcept override;
    void update(const Run& run) const override;
};

struct RMSpropOptions {
    double lr = 1e-2;
    double alpha = 0.99;
    double eps = 1e-8;
    double weight_decay = 0;
    double momentum = 0;
    bool centered = false;
    bool maximize = false;
};
/// s ← α·s + (1 − α)·g²; d = g/(√s + eps), centred: g/(√(s − a²) + eps) with a ← α·a + (1 − α)·g;
/// w ← w − lr·d, with momentum b ← momentum·b + d; w ← w − lr·b. Tieleman, Hinton 2012; Graves 2013.
template <class Real>
class RMSprop final : public OptimizerWith<Real, RMSpropOptions> {
public:
    explicit RMSprop(ParameterStore<Real>& store, const RMSpropOptions& options = {});
    std::optional<double> momentum() const noexcept override;

private:
    using Run = typename Optimizer<Real>::Run;
    bool uses_moment(std::size_t m, bool momentum_set) const noexcept override;
    void update(const Run& run) const override;
};

struct AdadeltaOptions {
    double lr = 1.0;
    double rho = 0.9;
    double eps = 1e-6;
    double weight_decay = 0;
    bool maximize = false;
};
/// s ← ρ·s + (1 − ρ)·g²; d = √(u + eps)/√(s + eps)·g; u ← ρ·u + (1 − ρ)·d²; w ← w − lr·d. Zeiler 2012.
template <class Real>
class Adadelta final : public OptimizerWith<Real, AdadeltaOptions> {
public:
    explicit Adadelta(ParameterStore<Real>& store, const AdadeltaOptions& options = {});

private:
    using Run = typename Optimizer<Real>::Run;
    bool uses_moment(std::size_t m, bool momentum_set) const noexcept override;
    void update(const Run& run) const override;
};

struct AdamOptions {
    double lr = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0;
    bool amsgrad = false;
    bool maximize = false;
};
/// m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; w ← w − lr·m̂/(√v̂ + eps), m̂ = m/(1 − β₁ⁿ), v̂ = v/(1 − β₂ⁿ) in step n;
/// amsgrad: the largest v so far takes its place. Kingma, Ba 2015; Reddi, Kale, Kumar 2018.
template <class Real>
class Adam final : public OptimizerWith<Real, AdamOptions> {
public:
    explicit Adam(ParameterStore<Real>& store, const AdamOptions& options = {});
    std::optional<double> momentum() const noexcept override;

private:
    using Run = typename Optimizer<Real>::Run;
    bool uses_moment(std::size_t m, bool momentum_set) const noexcept override;
    void update(const Run& run) const override;
};

struct AdamWOptions {
    double lr = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 1e-2;
    bool amsgrad = false;
    bool maximize = false;
};
/// Adam whose weights decay apart from the gradient: w ← w·(1 − lr·weight_decay) comes first. Loshchilov, Hutter 2019.
template <class Real>
class AdamW final : public OptimizerWith<Real, AdamWOptions> {
public:
    explicit AdamW(ParameterStore<Real>& store, const AdamWOptions& options = {});
    std::optional<double> momentum() const noexcept override;

private:
    using Run = typename Optimizer<Real>::Run;
    bool uses_moment(std::size_t m, bool momentum_set) const noexcept override;
    void update(const Run& run) const override;
};

struct RAdamOptions {
    double lr = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0;
    bool maximize = false;
};
/// m and v as Adam's; ρ∞ = 2/(1 − β₂) − 1, ρ = ρ∞ − 2nβ₂ⁿ/(1 − β₂ⁿ) in step n.
/// Where ρ > 5: w ← w − lr·r·m̂·√(1 − β₂ⁿ)/(√v + eps) with r² = (ρ − 4)(ρ − 2)ρ∞/((ρ∞ − 4)(ρ∞ − 2)ρ);
/// otherwise w ← w − lr·m̂. Liu, Jiang, He et al. 2020.
template <class Real>
class RAdam final : public OptimizerWith<Real, RAdamOptions> {
public:
    explicit RAdam(ParameterStore<Real>& store, const RAdamOptions& options = {});
    std::optional<double> momentum() const noexcept override;

private:
    using Run = typename Optimizer<Real>::Run;
    bool uses_moment(std::size_t m, bool momentum_set) const noexcept override;
    void update(const Run& run) const override;
};

struct NAdamOptions {
    double lr = 2e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0;
    double momentum_decay = 4e-3;
    bool maximize = false;
};
/// m and v as Adam's; μₙ = β₁(1 − ½·0.96^(n·momentum_decay)), Πₙ = μ₁…μₙ;
/// w ← w − lr·((1 − μₙ)/(1 − Πₙ)·g + μₙ₊₁/(1 − Πₙ₊₁)·m)/(√v̂ + eps). Dozat 2016.
/// As PyTorch from 2.0 on; the plain loop of 1.13 has one factor μₙ too many in Πₙ₊₁.
template <class Real>
class NAdam final : public OptimizerWith<Real, NAdamOptions> {
public:
    explicit NAdam(ParameterStore<Real>& store, const NAdamOptions& options = {});

private:
    using Run = typename Optimizer<Real>::Run;
    bool uses_moment(std::size_t m, bool momentum_set) const noexcept override;
    void prepare(Run& run) override;
    void update(const Run& run) const override;

    // The product of the momenta of the first `step` steps.
    struct Product {
        Index step = 0;
        double value = 1;
    };
    std::vector<Product> products_;  // by group, as asked for last
};

#define UNROLL_DECLARE(R)                                    \
    extern template class Optimizer<R>;                      \
    extern template class OptimizerWith<R, SGDOptions>;      \
    extern template class SGD<R>;                            \
    extern template class OptimizerWith<R, AdagradOptions>;  \
    extern template class Adagrad<R>;                        \
    extern template class OptimizerWith<R, RMSpropOptions>;  \
    extern template class RMSprop<R>;                        \
    extern template class OptimizerWith<R, AdadeltaOptions>; \
    extern template class Adadelta<R>;                       \
    extern template class OptimizerWith<R, AdamOptions>;     \
    extern template class Adam<R>;                           \
    extern template class OptimizerWith<R, AdamWOptions>;    \
    extern template class AdamW<R>;                          \
    extern template class OptimizerWith<R, RAdamOptions>;    \
    extern template class RAdam<R>;                          \
    extern template class OptimizerWith<R, NAdamOptions>;    \
    extern template class NAdam<R>;
UNROLL_DECLARE(float)
UNROLL_DECLARE(double)
UNROLL_DECLARE(Dual<double>)
#undef UNROLL_DECLARE

}  // namespace unroll
