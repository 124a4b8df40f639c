// The schedules' formulas, and their states.
#include <unroll/optim/schedule.hpp>

#include <unroll/autograd/error.hpp>
#include <unroll/io/state_dict.hpp>
#include <unroll/optim/detail/option_check.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace unroll {
namespace {

using detail::check_option;
using detail::kInfinity;
using detail::kNotNegative;
using detail::kPositive;
using detail::kShare;

constexpr const char* kPlateau = "ReduceLROnPlateau";

void check_count(std::string_view who, std::string_view option, Index value, Index least) {
    if (value < least) detail::fail_value(who, fmt::format("{} must be {} or more; got {}", option, least, value));
}

/// From `first` at part 0 to `last` at part 1 on a half wave of a cosine.
double half_wave(double first, double last, double part) {
    return last + (first - last) / 2 * (std::cos(std::numbers::pi * part) + 1);
}

StateDict state_of(std::string_view name, Index last_epoch) {
    StateDict state;
    state.put_json("schedule", std::string(name));
    state.put_scalar<std::int64_t>("last_epoch", last_epoch);
    return state;
}

/// A count of the state. @throws ValueError if it is negative
Index count_of(std::string_view who, const StateDict& state, std::string_view entry) {
    const auto count = state.scalar<std::int64_t>(entry);
    check_count(who, fmt::format("the state's {}", entry), count, 0);
    return count;
}

/// last_epoch, once it is clear that the state is this schedule's.
Index last_epoch_of(std::string_view name, const StateDict& state) {
    if (const nlohmann::json found = state.json("schedule"); found != name)
        detail::fail_value(name, fmt::format("the state is that of another schedule: {}", found.dump()));
    return count_of(name, state, "last_epoch");
}

}  // namespace

// ---- Schedule ----

Schedule::Schedule(OptimizerBase& optimizer, std::string name)
    : optimizer_(optimizer), name_(std::move(name)), base_lr_(optimizer.lr()) {}

void Schedule::move_to(Index n, double base_lr) {
    const double lr = lr_at(n, base_lr);
    const std::optional<double> momentum = momentum_at(n);
    if (momentum && !optimizer_.momentum())
        detail::fail_usage(name_,
                           fmt::format("{} has no momentum to cycle; set cycle_momentum = false", optimizer_.name()));
    optimizer_.set_lr(lr);
    if (momentum) optimizer_.set_momentum(*momentum);
    base_lr_ = base_lr;
    last_epoch_ = n;
}

double Schedule::step() {
    if (last_epoch_ >= last())
        detail::fail_usage(name_, fmt::format("the schedule has ended after its {} steps", last_epoch_));
    move_to(last_epoch_ + 1, base_lr_);
    return optimizer_.lr();
}

StateDict Schedule::state_dict() const {
    StateDict state = state_of(name_, last_epoch_);
    state.put_scalar("base_lr", base_lr_);
    return state;
}

void Schedule::load_state_dict(const StateDict& state) {
    const Index last_epoch = last_epoch_of(name_, state);
    if (last_epoch > last())
        detail::fail_value(name_, fmt::format("the state is after {} steps; this schedule has {}", last_epoch, last()));
    const auto base_lr = state.scalar<double>("base_lr");
    check_option(name_, "the state's base_lr", base_lr, kNotNegative);
    move_to(last_epoch, base_lr);
}

// ---- By powers ----

StepLR::StepLR(OptimizerBase& optimizer, const StepLROptions& options)
    : Schedule(optimizer, "StepLR"), options_(options) {
    check_count(name(), "step_size", options.step_size, 1);
    check_option(name(), "gamma", options.gamma, kNotNegative);
    move_to(0, base_lr());
}

double StepLR::lr_at(Index n, double base_lr) const {
    return base_lr * std::pow(options_.gamma, static_cast<double>(n / options_.step_size));
}

MultiStepLR::MultiStepLR(OptimizerBase& optimizer, const MultiStepLROptions& options)
    : Schedule(optimizer, "MultiStepLR"), options_(options) {
    for (const Index milestone : options.milestones) check_count(name(), "a milestone", milestone, 0);
    check_option(name(), "gamma", options.gamma, kNotNegative);
    std::ranges::sort(options_.milestones);
    move_to(0, base_lr());
}

double MultiStepLR::lr_at(Index n, double base_lr) const {
    const auto passed = std::ranges::upper_bound(options_.milestones, n) - options_.milestones.begin();
    return base_lr * std::pow(options_.gamma, static_cast<double>(passed));
}

ExponentialLR::ExponentialLR(OptimizerBase& optimizer, const ExponentialLROptions& options)
    : Schedule(optimizer, "ExponentialLR"), options_(options) {
    check_option(name(), "gamma", options.gamma, kNotNegative);
    move_to(0, base_lr());
}

double ExponentialLR::lr_at(Index n, double base_lr) const {
    return base_lr * std::pow(options_.gamma, static_cast<double>(n));
}

LambdaLR::LambdaLR(OptimizerBase& optimizer, std::function<double(Index)> factor)
    : Schedule(optimizer, "LambdaLR"), factor_(std::move(factor)) {
    if (!factor_) detail::fail_value(name(), "there is no function");
    move_to(0, base_lr());
}

double LambdaLR::lr_at(Index n, double base_lr) const { return base_lr * factor_(n); }

// ---- By cosines ----

CosineAnnealingLR::CosineAnnealingLR(OptimizerBase& optimizer, const CosineAnnealingLROptions& options)
    : Schedule(optimizer, "CosineAnnealingLR"), options_(options) {
    check_count(name(), "T_max", options.T_max, 1);
    check_option(name(), "eta_min", options.eta_min, kNotNegative);
    move_to(0, base_lr());
}

double CosineAnnealingLR::lr_at(Index n, double base_lr) const {
    const Index in_period = n % (2 * options_.T_max);  // exact, whatever n is
    return half_wave(base_lr, options_.eta_min, static_cast<double>(in_period) / static_cast<double>(options_.T_max));
}

WarmupCosineLR::WarmupCosineLR(OptimizerBase& optimizer, const WarmupCosineLROptions& options)
    : Schedule(optimizer, "WarmupCosineLR"), options_(options) {
    check_count(name(), "warmup_steps", options.warmup_steps, 0);
    check_count(name(), "total_steps", options.total_steps, options.warmup_steps + 1);
    check_option(name(), "eta_min", options.eta_min, kNotNegative);
    move_to(0, base_lr());
}

double WarmupCosineLR::lr_at(Index n, double base_lr) const {
    const Index warmup = options_.warmup_steps, total = options_.total_steps;
    if (n < warmup)
        return base_lr * (static_cast<double>(options_.from_zero ? n : n + 1) / static_cast<double>(warmup));
    if (n >= total) return options_.eta_min;
    return half_wave(base_lr, options_.eta_min, static_cast<double>(n - warmup) / static_cast<double>(total - warmup));
}

// ---- One cycle ----

OneCycleLR::OneCycleLR(OptimizerBase& optimizer, const OneCycleLROptions& o)
    : Schedule(optimizer, "OneCycleLR"), options_(o), total_steps_(o.total_steps) {
    check_option(name(), "max_lr", o.max_lr, kNotNegative);
    check_count(name(), "total_steps", o.total_steps, 0);
    if (o.total_steps == 0) {
        check_count(name(), "epochs (where total_steps is 0)", o.epochs, 1);
        check_count(name(), "steps_per_epoch (where total_steps is 0)", o.steps_per_epoch, 1);
        total_steps_ = o.epochs * o.steps_per_epoch;
    }
    check_option(name(), "pct_start", o.pct_start, kShare);
    check_option(name(), "base_momentum", o.base_momentum, detail::kBelowOne);
    check_option(name(), "max_momentum", o.max_momentum, detail::kBelowOne);
    check_option(name(), "div_factor", o.div_factor, kPositive);
    check_option(name(), "final_div_factor", o.final_div_factor, kPositive);
    const double first = o.max_lr / o.div_factor, last = first / o.final_div_factor;
    const double total = static_cast<double>(total_steps_), rise = o.pct_start * total;
    phases_.push_back({rise - 1, first, o.max_lr, o.max_momentum, o.base_momentum});
    if (o.three_phase) phases_.push_back({2 * rise - 2, o.max_lr, first, o.base_momentum, o.max_momentum});
    phases_.push_back({total - 1, o.three_phase ? first : o.max_lr, last,
                       o.three_phase ? o.max_momentum : o.base_momentum, o.max_momentum});
    move_to(0, base_lr());
}

double OneCycleLR::anneal(Index n, double Phase::*first, double Phase::*last) const {
    const double step = static_cast<double>(std::min(n, total_steps_ - 1));
    double start = 0;
    std::size_t i = 0;
    for (; i + 1 < phases_.size() && step > phases_[i].end; ++i) start = phases_[i].end;
    const Phase& phase = phases_[i];
    // A phase of no length (all of it is its end) has no slope.
    const double part = phase.end > start ? (step - start) / (phase.end - start) : 1;
    return options_.anneal_strategy == AnnealStrategy::cos ? half_wave(phase.*first, phase.*last, part)
                                                           : (phase.*last - phase.*first) * part + phase.*first;
}

double OneCycleLR::lr_at(Index n, double) const { return anneal(n, &Phase::first_lr, &Phase::last_lr); }

std::optional<double> OneCycleLR::momentum_at(Index n) const {
    if (!options_.cycle_momentum) return std::nullopt;
    return anneal(n, &Phase::first_momentum, &Phase::last_momentum);
}

// ---- Plateau ----

ReduceLROnPlateau::ReduceLROnPlateau(OptimizerBase& optimizer, const ReduceLROnPlateauOptions& o)
    : optimizer_(optimizer), options_(o), best_(o.mode == PlateauMode::min ? kInfinity : -kInfinity) {
    check_option(kPlateau, "factor", o.factor, detail::kBelowOne);
    check_count(kPlateau, "patience", o.patience, 0);
    check_option(kPlateau, "threshold", o.threshold,
                 o.threshold_mode == ThresholdMode::rel ? detail::kBelowOne : kNotNegative);
    check_count(kPlateau, "cooldown", o.cooldown, 0);
    check_option(kPlateau, "min_lr", o.min_lr, kNotNegative);
    check_option(kPlateau, "eps", o.eps, kNotNegative);
}

bool ReduceLROnPlateau::is_better(double metric) const noexcept {
    const double sign = options_.mode == PlateauMode::min ? -1 : 1;
    const double bar = options_.threshold_mode == ThresholdMode::rel ? best_ * (1 + sign * options_.threshold)
                                                                     : best_ + sign * options_.threshold;
    return options_.mode == PlateauMode::min ? metric < bar : metric > bar;
}

double ReduceLROnPlateau::step(double metric) {
    ++last_epoch_;
    if (is_better(metric)) {
        best_ = metric;
        num_bad_epochs_ = 0;
    } else {
        ++num_bad_epochs_;
    }
    if (cooldown_counter_ > 0) {
        --cooldown_counter_;
        num_bad_epochs_ = 0;
    }
    if (num_bad_epochs_ > options_.patience) {
        const double old = optimizer_.lr(), reduced = std::max(old * options_.factor, options_.min_lr);
        if (old - reduced > options_.eps) optimizer_.set_lr(reduced);
        cooldown_counter_ = options_.cooldown;
        num_bad_epochs_ = 0;
    }
    return optimizer_.lr();
}

StateDict ReduceLROnPlateau::state_dict() const {
    StateDict state = state_of(kPlateau, last_epoch_);
    state.put_scalar("best", best_);
    state.put_scalar<std::int64_t>("num_bad_epochs", num_bad_epochs_);
    state.put_scalar<std::int64_t>("cooldown_counter", cooldown_counter_);
    return state;
}

void ReduceLROnPlateau::load_state_dict(const StateDict& state) {
    const Index last_epoch = last_epoch_of(kPlateau, state);
    const auto best = state.scalar<double>("best");
    const Index bad = count_of(kPlateau, state, "num_bad_epochs");
    const Index cooldown = count_of(kPlateau, state, "cooldown_counter");
    best_ = best;
    last_epoch_ = last_epoch;
    num_bad_epochs_ = bad;
    cooldown_counter_ = cooldown;
}

}  // namespace unroll
