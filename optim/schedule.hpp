// Schedules: the learning rate as a function of how far training is, with PyTorch's names, options and numbers.
//
//     Adam<float> adam(store, {.lr = 2e-3});
//     WarmupCosineLR schedule(adam, {.warmup_steps = 100, .total_steps = 5000});
//     for (…) { …; adam.step(); schedule.step(); }
//
// The constructor sets the rate of the first step; each step() sets the next one. What a step is, is the caller's
// choice: a step of the optimiser or an epoch. A schedule owns the optimiser's learning rate: what others set is
// overwritten. Rates are closed formulas of the number of steps, so that a run that goes on from a saved state has the
// same bits. Held against PyTorch's schedules by tests/optim/schedule_test.cpp.
#pragma once

#include <unroll/autograd/shape.hpp>
#include <unroll/optim/optimizer_base.hpp>

#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace unroll {

class StateDict;  // io/state_dict.hpp

/// What the schedules by number of steps share. The optimiser must outlive them.
class Schedule {
public:
    Schedule(const Schedule&) = delete;
    Schedule& operator=(const Schedule&) = delete;
    virtual ~Schedule() = default;

    /// "CosineAnnealingLR"
    const std::string& name() const noexcept { return name_; }
    /// Moves on by one, sets the optimiser's rate and returns it.
    /// @throws UsageError after the end of a schedule that has one (OneCycleLR)
    double step();
    /// The number of calls of step().
    Index last_epoch() const noexcept { return last_epoch_; }
    /// The optimiser's rate when the schedule was made.
    double base_lr() const noexcept { return base_lr_; }

    /// The name, last_epoch and base_lr; options are the constructor's and no part of it.
    StateDict state_dict() const;
    /// Sets the optimiser's rate too. @throws ValueError, with nothing changed, if the state is another schedule's
    void load_state_dict(const StateDict& state);

protected:
    Schedule(OptimizerBase& optimizer, std::string name);

    /// The rate after n steps.
    virtual double lr_at(Index n, double base_lr) const = 0;
    /// The momentum after n steps, if the schedule sets it too.
    virtual std::optional<double> momentum_at(Index) const { return std::nullopt; }
    /// The largest n.
    virtual Index last() const noexcept { return std::numeric_limits<Index>::max(); }
    /// To be called last by every constructor.
    void move_to(Index n, double base_lr);

private:
    OptimizerBase& optimizer_;
    std::string name_;
    double base_lr_;
    Index last_epoch_ = 0;
};

struct StepLROptions {
    Size step_size;
    double gamma = 0.1;
};
/// base_lr · gamma^⌊n/step_size⌋
class StepLR final : public Schedule {
public:
    StepLR(OptimizerBase& optimizer, const StepLROptions& options);

private:
    double lr_at(Index n, double base_lr) const override;
    StepLROptions options_;
};

struct MultiStepLROptions {
    std::vector<Index> milestones;  ///< in any order; one that stands there twice counts twice
    double gamma = 0.1;
};
/// base_lr · gamma^(number of milestones ≤ n)
class MultiStepLR final : public Schedule {
public:
    MultiStepLR(OptimizerBase& optimizer, const MultiStepLROptions& options);

private:
    double lr_at(Index n, double base_lr) const override;
    MultiStepLROptions options_;
};

struct ExponentialLROptions {
    double gamma;
};
/// base_lr · gammaⁿ
class ExponentialLR final : public Schedule {
public:
    ExponentialLR(OptimizerBase& optimizer, const ExponentialLROptions& options);

private:
    double lr_at(Index n, double base_lr) const override;
    ExponentialLROptions options_;
};

struct CosineAnnealingLROptions {
    Size T_max;
    double eta_min = 0;
};
/// eta_min + (base_lr − eta_min)·(1 + cos(π n/T_max))/2, which rises again after T_max. Loshchilov, Hutter 2017.
class CosineAnnealingLR final : public Schedule {
public:
    CosineAnnealingLR(OptimizerBase& optimizer, const CosineAnnealingLROptions& options);

private:
    double lr_at(Index n, double base_lr) const override;
    CosineAnnealingLROptions options_;
};

struct WarmupCosineLROptions {
    Size warmup_steps;
    Size total_steps;        ///< more than warmup_steps
    double eta_min = 0;      ///< the rate from total_steps on
    bool from_zero = false;  ///< the first rate is 0, not base_lr/warmup_steps
};
/// n < W = warmup_steps: base_lr·(n + 1)/W (from_zero: n/W); then one half wave of a cosine from base_lr at W to
/// eta_min at total_steps, and eta_min for ever.
class WarmupCosineLR final : public Schedule {
public:
    WarmupCosineLR(OptimizerBase& optimizer, const WarmupCosineLROptions& options);

private:
    double lr_at(Index n, double base_lr) const override;
    WarmupCosineLROptions options_;
};

enum class AnnealStrategy { cos, linear };

struct OneCycleLROptions {
    double max_lr;
    Index total_steps = 0;  ///< 0: epochs · steps_per_epoch
    Index epochs = 0;
    Index steps_per_epoch = 0;
    double pct_start = 0.3;  ///< the part of the steps in which the rate rises
    AnnealStrategy anneal_strategy = AnnealStrategy::cos;
    bool cycle_momentum = true;  ///< the momentum falls while the rate rises, and the other way round
    double base_momentum = 0.85;
    double max_momentum = 0.95;
    double div_factor = 25;         ///< the first rate is max_lr/div_factor
    double final_div_factor = 1e4;  ///< the last is the first/final_div_factor
    bool three_phase = false;       ///< down to the first rate as fast as up, then to the last
};
/// Up from max_lr/div_factor to max_lr, and down to the last rate, which step number total_steps keeps. Smith, Topin
/// 2018.
class OneCycleLR final : public Schedule {
public:
    /// Also UsageError for cycle_momentum with an optimiser that has none.
    OneCycleLR(OptimizerBase& optimizer, const OneCycleLROptions& options);

private:
    struct Phase {
        double end;  ///< the number of the step (a fraction in general) in which it ends
        double first_lr, last_lr;
        double first_momentum, last_momentum;
    };
    double lr_at(Index n, double base_lr) const override;
    std::optional<double> momentum_at(Index n) const override;
    Index last() const noexcept override { return total_steps_; }
    double anneal(Index n, double Phase::*first, double Phase::*last) const;
    OneCycleLROptions options_;
    Index total_steps_;
    std::vector<Phase> phases_;
};

/// base_lr · factor(n), for any function.
class LambdaLR final : public Schedule {
public:
    LambdaLR(OptimizerBase& optimizer, std::function<double(Index n)> factor);

private:
    double lr_at(Index n, double base_lr) const override;
    std::function<double(Index)> factor_;
};

enum class PlateauMode { min, max };
enum class ThresholdMode { rel, abs };

struct ReduceLROnPlateauOptions {
    PlateauMode mode = PlateauMode::min;  ///< whether a smaller metric is better, or a larger one
    double factor = 0.1;                  ///< in [0, 1)
    Index patience = 10;                  ///< steps without improvement that are endured
    double threshold = 1e-4;              ///< for rel below 1
    ThresholdMode threshold_mode = ThresholdMode::rel;
    Index cooldown = 0;  ///< steps after a reduction in which none counts as bad
    double min_lr = 0;
    double eps = 1e-8;  ///< smaller reductions are not made
};
/// Multiplies the rate by `factor` when the metric has not improved for more than `patience` steps. Better than `best`
/// is, for mode min, a metric below best·(1 − threshold) (rel) or best − threshold (abs), for mode max above best·(1 +
/// threshold) or best + threshold; NaN never is.
class ReduceLROnPlateau {
public:
    explicit ReduceLROnPlateau(OptimizerBase& optimizer, const ReduceLROnPlateauOptions& options = {});
    ReduceLROnPlateau(const ReduceLROnPlateau&) = delete;
    ReduceLROnPlateau& operator=(const ReduceLROnPlateau&) = delete;

    /// Takes a metric, sets the optimiser's rate and returns it.
    double step(double metric);
    double best() const noexcept { return best_; }
    Index num_bad_epochs() const noexcept { return num_bad_epochs_; }
    Index last_epoch() const noexcept { return last_epoch_; }

    /// The name, last_epoch, best, num_bad_epochs, cooldown_counter; the rate is the optimiser's own state.
    StateDict state_dict() const;
    /// @throws ValueError, with nothing changed, if the state is another schedule's
    void load_state_dict(const StateDict& state);

private:
    bool is_better(double metric) const noexcept;

    OptimizerBase& optimizer_;
    ReduceLROnPlateauOptions options_;
    double best_;
    Index last_epoch_ = 0;
    Index num_bad_epochs_ = 0;
    Index cooldown_counter_ = 0;
};

}  // namespace unroll
