// The training step, and its state.
#include "trainer.hpp"

#include <unroll/optim/clip.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace shakespeare {

using namespace unroll;

namespace {

std::unique_ptr<Optimizer<float>> make_optimizer(const Recipe& r, ParameterStore<float>& store) {
    const double lr = r.lr, weight_decay = r.weight_decay;
    if (r.optimizer == "adamw")
        return std::make_unique<AdamW<float>>(store, AdamWOptions{.lr = lr, .weight_decay = weight_decay});
    if (r.optimizer == "adam")
        return std::make_unique<Adam<float>>(store, AdamOptions{.lr = lr, .weight_decay = weight_decay});
    if (r.optimizer == "sgd")
        return std::make_unique<SGD<float>>(store, SGDOptions{.lr = lr, .momentum = 0.9, .weight_decay = weight_decay});
    if (r.optimizer == "rmsprop")
        return std::make_unique<RMSprop<float>>(store,
                                                RMSpropOptions{.lr = lr, .alpha = 0.95, .weight_decay = weight_decay});
    if (r.optimizer == "adagrad")
        return std::make_unique<Adagrad<float>>(store, AdagradOptions{.lr = lr, .weight_decay = weight_decay});
    if (r.optimizer == "adadelta")
        return std::make_unique<Adadelta<float>>(store, AdadeltaOptions{.lr = lr, .weight_decay = weight_decay});
    throw ValueError(fmt::format("there is no optimizer '{}'", r.optimizer));
}

constexpr Index kWarmup = 100;  // steps, where the recipe leaves it open

std::string carried_name(std::size_t part, std::size_t array) { return fmt::format("carried.{}.{}", part, array); }

}  // namespace

Trainer::Trainer(const Recipe& recipe, Size vocabulary, IntTensor text, bool check_finite)
    : recipe_(recipe),
      store_(recipe.seed),
      model_(store_, recipe.model, vocabulary),
      batches_(std::move(text),
               {.batch_size = recipe.batch, .seq_len = recipe.seq_len, .random_offset = true, .seed = recipe.seed}),
      total_steps_(recipe.minutes > 0 ? 0 : limit()),
      optimizer_(make_optimizer(recipe, store_)),
      schedule_(*optimizer_, [this](Index n) { return lr_factor(n); }),
      average_(store_, {.decay = recipe.average}),
      parallel_(store_),
      check_finite_(check_finite),
      parts_(static_cast<std::size_t>(shard_count(store_, recipe.batch))) {}

Index Trainer::limit() const noexcept {
    Index steps = kNoLimit;
    if (recipe_.steps > 0) steps = recipe_.steps;
    if (recipe_.epochs > 0) {
        const double of_epochs = std::ceil(recipe_.epochs * static_cast<double>(batches_.windows_per_pass()));
        if (of_epochs < static_cast<double>(steps)) steps = std::max<Index>(1, static_cast<Index>(of_epochs));
    }
    return steps;
}

void Trainer::set_total_steps(Index affordable) {
    total_steps_ = std::max({Index{1}, steps_, std::min(affordable, limit())});
    // The rate of the next step was set without knowing this; a run resumed from here will know it.
    schedule_.load_state_dict(schedule_.state_dict());
}

/// The learning rate of step n (from 0) as a share of the highest.
double Trainer::lr_factor(Index n) const {
    const Index steps = planned_steps();
    const Index warmup = recipe_.warmup < 0 ? std::min(kWarmup, steps / 10) : recipe_.warmup;
    if (n < warmup) return static_cast<double>(n + 1) / static_cast<double>(warmup);
    if (steps == kNoLimit || recipe_.schedule == "constant") return 1;
    const double done =
        std::min(1.0, static_cast<double>(n - warmup) / static_cast<double>(std::max<Index>(1, steps - warmup)));
    return recipe_.schedule == "linear" ? 1 - done : (1 + std::cos(std::numbers::pi * done)) / 2;
}

/// Empties the memory of one stream.
void Trainer::forget(CharModel<float>::State& state, Index row) const {
    for (Var<float>& array : state) {
        Tensor<float> values = empty<float>(array.shape());
        std::copy_n(array.data(), array.size(), values.data());
        for (Index layer = 0; layer < array.shape()[0]; ++layer)
            std::fill_n(values.data() + (layer * array.shape()[1] + row) * array.shape()[2], array.shape()[2], 0.0f);
        array = Var<float>(std::move(values));
    }
}

/// One stream after the other begins with an empty memory. If none did, the network would meet one at the start of a pass
/// alone, and would not know how to begin: where a validation stream or a sample does, its loss was higher by 0.4 nats.
Var<float> Trainer::part_loss(Shard shard) {
    Part& part = parts_[static_cast<std::size_t>(shard.number)];
    const std::size_t rows = static_cast<std::size_t>(shard.end - shard.begin),
                      begin = static_cast<std::size_t>(shard.begin);
    const std::size_t steps = batch_->inputs.shape(0);
    if (part.inputs.dimension() == 0) {  // the first step; all are of one size
        part.inputs = IntTensor::from_shape({steps, rows});
        part.targets = IntTensor::from_shape({steps, rows});
    }
    for (std::size_t t = 0; t < steps; ++t)
        for (std::size_t row = 0; row < rows; ++row) {
            part.inputs(t, row) = batch_->inputs(t, begin + row);
            part.targets(t, row) = batch_->targets(t, begin + row);
        }
    if (batch_->starts_pass) part.state.clear();
    const Index forgetful = steps_ % recipe_.batch - shard.begin;
    if (forgetful >= 0 && forgetful < static_cast<Index>(rows)) forget(part.state, forgetful);
    // The state that comes out is cut from this window's tape when that ends: gradients do not flow further back.
    const Var<float> loss = cross_entropy(model_(part.inputs, part.state), part.targets);
    return loss * (static_cast<double>(rows) / static_cast<double>(recipe_.batch));
}

Trainer::Step Trainer::step() {
    batch_ = &batches_.next();
    optimizer_->zero_grad();
    Step result{.loss = 0, .gradient_norm = 0, .lr = optimizer_->lr()};
    result.loss = static_cast<double>(parallel_.backward(
        recipe_.batch, [this](Shard shard) { return part_loss(shard); }, {.check_finite = check_finite_}));
    result.gradient_norm =
        clip_grad_norm(store_, recipe_.clip > 0 ? recipe_.clip : std::numeric_limits<double>::infinity());
    if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm))
        throw Diverged(fmt::format(
            "training has diverged in step {}: the loss is {}, the norm of the gradient {}, at learning rate "
            "{:.3g}; try a smaller --lr, or --check-finite to see where it begins",
            steps_ + 1, result.loss, result.gradient_norm, result.lr));
    optimizer_->step();
    schedule_.step();
    if (recipe_.average > 0) average_.update();
    ++steps_;
    return result;
}

Trainer::Evaluating::Evaluating(Trainer& trainer) : trainer_(trainer), averaged_(trainer.average_.n_averaged() > 0) {
    if (averaged_) trainer_.average_.swap_in();
    trainer_.store_.eval();
}

Trainer::Evaluating::~Evaluating() {
    trainer_.store_.train();
    if (averaged_) trainer_.average_.swap_out();
}

StateDict Trainer::state_dict() const {
    StateDict dict;
    dict.put_json("steps", {{"done", steps_}, {"total", total_steps_}});
    dict.put_json("data", batches_.state());
    dict.add("model", unroll::state_dict(store_));
    dict.add("optimizer", optimizer_->state_dict());
    dict.add("schedule", schedule_.state_dict());
    if (average_.n_averaged() > 0) dict.add("average", average_.state_dict());
    for (std::size_t p = 0; p < parts_.size(); ++p)
        for (std::size_t k = 0; k < parts_[p].state.size(); ++k)
            dict.put(carried_name(p, k), parts_[p].state[k].value());
    return dict;
}

void Trainer::load_state_dict(const StateDict& dict) {
    const nlohmann::json steps = dict.json("steps");
    batches_.load_state(dict.json("data"));
    unroll::load_state_dict(store_, dict.sub("model"), kResume);
    optimizer_->load_state_dict(dict.sub("optimizer"));
    steps_ = steps.at("done").get<Index>();
    total_steps_ = steps.at("total").get<Index>();
    schedule_.load_state_dict(dict.sub("schedule"));
    if (dict.contains_prefix("average")) average_.load_state_dict(dict.sub("average"));
    const Index arrays = recipe_.model.cell == "lstm" ? 2 : 1, count = static_cast<Index>(parts_.size());
    for (Index p = 0; p < count; ++p) {
        CharModel<float>::State& state = parts_[static_cast<std::size_t>(p)].state;
        state.clear();
        const Index rows = recipe_.batch * (p + 1) / count - recipe_.batch * p / count;
        for (Index k = 0; k < arrays && dict.contains(carried_name(0, 0)); ++k)
            state.push_back(dict.tensor<float>(carried_name(static_cast<std::size_t>(p), static_cast<std::size_t>(k)),
                                               {recipe_.model.layers, rows, recipe_.model.hidden}));
    }
}

}  // namespace shakespeare
