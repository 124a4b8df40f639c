// What schedules see of an optimiser, whatever its number type and formula: a learning rate, and a momentum if it has
// one.
#pragma once

#include <optional>
#include <string>

namespace unroll {

class OptimizerBase {
public:
    OptimizerBase(const OptimizerBase&) = delete;
    OptimizerBase& operator=(const OptimizerBase&) = delete;
    virtual ~OptimizerBase() = default;

    /// "AdamW"
    const std::string& name() const noexcept { return name_; }

    /// The learning rate of the next step.
    double lr() const noexcept { return lr_; }
    /// The rates of groups keep their proportion to it. @throws ValueError unless 0 ≤ lr < ∞
    void set_lr(double lr);

    /// The momentum of the next step: what SGD and RMSprop call so, beta1 of Adam, AdamW
    /// and RAdam; nothing for the others (NAdam has a schedule of its own).
    virtual std::optional<double> momentum() const noexcept { return std::nullopt; }
    /// Takes the place of the momentum in the options of all groups.
    /// @throws UsageError if the optimiser has none; ValueError unless 0 ≤ momentum < 1
    void set_momentum(double momentum);

protected:
    OptimizerBase(std::string name, double lr);

    /// The momentum that was set, otherwise that of a group's options.
    double momentum_or(double own) const noexcept { return momentum_.value_or(own); }
    /// A group's rate while the optimiser's own is lr(). Where that began at 0 the group's does not follow it.
    double rate_of_group(double own) const noexcept {
        return own == initial_lr_ ? lr_ : initial_lr_ == 0 ? own : own * (lr_ / initial_lr_);
    }
    const std::optional<double>& momentum_set() const noexcept { return momentum_; }
    void restore(double lr, std::optional<double> momentum) noexcept {
        lr_ = lr;
        momentum_ = momentum;
    }

private:
    std::string name_;
    double lr_, initial_lr_;
    std::optional<double> momentum_;
};

}  // namespace unroll
