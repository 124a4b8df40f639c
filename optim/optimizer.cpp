// Optimisers: runs of parameters over contiguous blocks, moments, state.
#include <unroll/optim/optimizer.hpp>

#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/kernels/optimizer_kernels.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace unroll {
namespace {

void check(std::string_view optimizer, std::string_view option, double value, double low, double below) {
    if (!(value >= low && value < below))
        throw ValueError(fmt::format("[{}] {} must be {} or more and less than {}; got {}", optimizer, option, low, below, value));
}

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

}  // namespace

template <class Real>
Optimizer<Real>::Optimizer(ParameterStore<Real>& store, std::string name, double lr, double weight_decay,
                           std::vector<std::string> moments, double initial_moment)
    : store_(store), name_(std::move(name)), lr_(lr), initial_lr_(lr), weight_decay_(weight_decay),
      moment_names_(std::move(moments)), initial_moment_(initial_moment) {
    check(name_, "lr", lr, 0, kNoLimit);
    check(name_, "weight_decay", weight_decay, 0, kNoLimit);
}

template <class Real>
void Optimizer<Real>::set_lr(double lr) {
    check(name_, "lr", lr, 0, kNoLimit);
    lr_ = lr;
}

template <class Real>
void Optimizer<Real>::add_group(ParameterGroup group) {
    if (group.lr) check(name_, "the group's lr", *group.lr, 0, kNoLimit);
    if (group.weight_decay) check(name_, "the group's weight_decay", *group.weight_decay, 0, kNoLimit);
    for (const auto& [name, entry] : store_.names())
        if (name.starts_with(group.prefix)) {
            groups_.push_back(std::move(group));
            return;
        }
    throw ValueError(fmt::format("[{}] no parameter's name begins with \"{}\"", name_, group.prefix));
}

template <class Real>
void Optimizer<Real>::fit() {
    steps_.resize(store_.entries().size(), 0);
    const Index size = store_.block_size();
    if (size == size_ && blocks_.size() == moment_names_.size()) return;
    blocks_.resize(moment_names_.size());
    for (detail::BlockRef& block : blocks_) {
        auto larger = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(size) * sizeof(Real)));
        std::fill_n(larger->template as<Real>(), size, Real(initial_moment_));
        if (block) std::copy_n(block->template as<Real>(), size_, larger->template as<Real>());
        block = std::move(larger);
    }
    size_ = size;
}

template <class Real>
void Optimizer<Real>::step() {
    fit();
    Gradients<Real>& gradients = store_.gradients();
    Run run{};
    Index run_end = -1;
    bool any = false;
    const double scale = gradients.scale();
    const auto flush = [&] {
        if (run_end < 0) return;
        update(run);
        run_end = -1;
    };
    for (auto* entry : store_.entries()) {
        if (entry->frozen || !gradients.has(*entry)) continue;
        any = true;
        double lr = lr_, weight_decay = weight_decay_;
        for (const ParameterGroup& group : groups_)
            if (entry->name.starts_with(group.prefix)) {
                if (group.lr) lr = initial_lr_ > 0 ? *group.lr * (lr_ / initial_lr_) : *group.lr;
                if (group.weight_decay) weight_decay = *group.weight_decay;
                break;
            }
        const Index step = ++steps_[entry->number];
        const Index padding = (64 - entry->shape.size() * static_cast<Index>(sizeof(Real)) % 64) % 64 / static_cast<Index>(sizeof(Real));
        const Index size = entry->shape.size();
        store_.changed(*entry);
        if (run_end == entry->offset && run.step == step && run.lr == lr && run.weight_decay == weight_decay) {
            // Gaps between parameters hold zeros in every block and stay so.
            run.size = entry->offset + size - (run.values - store_.block_data());
            run_end = entry->offset + size + padding;
            continue;
        }
        flush();
        run.size = size;
        run.values = store_.block_data() + entry->offset;
        run.gradient = gradients.raw(*entry);
        for (std::size_t m = 0; m < blocks_.size(); ++m) run.moments[m] = blocks_[m]->template as<Real>() + entry->offset;
        run.step = step;
        run.lr = lr;
        run.weight_decay = weight_decay;
        run.scale = scale;
        run_end = entry->offset + size + padding;
    }
    flush();
    if (!any)
        throw UsageError(fmt::format("[{}] no parameter has a gradient; call backward(loss) before step()", name_));
}

template <class Real>
StateDict Optimizer<Real>::state_dict() const {
    StateDict state;
    state.put_json("optimizer", nlohmann::json{{"name", name_}});
    state.put_scalar("lr", lr_);
    state.put_scalar("initial_lr", initial_lr_);
    for (const auto* entry : store_.entries()) {
        if (entry->number >= steps_.size() || steps_[entry->number] == 0) continue;
        state.put_scalar<std::int64_t>(entry->name + ".step", steps_[entry->number]);
        for (std::size_t m = 0; m < blocks_.size(); ++m)
            state.put(entry->name + "." + moment_names_[m],
                      StoredTensor(std::span<const Real>(blocks_[m]->template as<Real>() + entry->offset,
                                                         static_cast<std::size_t>(entry->shape.size())), entry->shape));
    }
    return state;
}

template <class Real>
void Optimizer<Real>::load_state_dict(const StateDict& state) {
    const std::string name = state.json("optimizer").at("name").template get<std::string>();
    if (name != name_)
        throw ValueError(fmt::format("[{}] the state is that of another optimiser, {}", name_, name));
    const double lr = state.template scalar<double>("lr"), initial_lr = state.template scalar<double>("initial_lr");
    for (const auto* entry : store_.entries()) {
        if (!state.contains(entry->name + ".step")) continue;
        for (const std::string& moment : moment_names_) state.check_shape(entry->name + "." + moment, entry->shape);
    }
    fit();
    for (const auto* entry : store_.entries()) {
        steps_[entry->number] = 0;
        for (const detail::BlockRef& block : blocks_)
            std::fill_n(block->template as<Real>() + entry->offset, entry->shape.size(), Real(initial_moment_));
        if (!state.contains(entry->name + ".step")) continue;
        steps_[entry->number] = state.template scalar<std::int64_t>(entry->name + ".step");
        for (std::size_t m = 0; m < blocks_.size(); ++m)
            state.copy_to(entry->name + "." + moment_names_[m],
                          std::span<Real>(blocks_[m]->template as<Real>() + entry->offset,
                                          static_cast<std::size_t>(entry->shape.size())), Conversion::allowed);
    }
    lr_ = lr;
    initial_lr_ = initial_lr;
}

// Float steps run on the processor's vector kernels, the others on the same loops compiled for their type.
#define UNROLL_STEP(kernel, ...)                    \
    if constexpr (std::is_same_v<Real, float>)      \
        detail::kernels().kernel(__VA_ARGS__);      \
    else                                            \
        detail::generic::kernel(__VA_ARGS__);

// ---- SGD ----

template <class Real>
SGD<Real>::SGD(ParameterStore<Real>& store, const SGDOptions& o)
    : Optimizer<Real>(store, "SGD", o.lr, o.weight_decay,
                      o.momentum != 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{}),
      options_(o) {
    check("SGD", "momentum", o.momentum, 0, kNoLimit);
    if (o.nesterov && (o.momentum <= 0 || o.dampening != 0))
        throw ValueError("[SGD] nesterov needs a momentum above 0 and no dampening");
}

template <class Real>
void SGD<Real>::update(const typename Optimizer<Real>::Run& run) {
    const detail::SgdStep step{run.lr, options_.momentum, options_.dampening, run.weight_decay, options_.nesterov,
                               run.step == 1, {run.scale}};
    UNROLL_STEP(sgd, step, run.size, run.values, run.gradient, run.moments[0])
}

// ---- Adagrad ----

template <class Real>
Adagrad<Real>::Adagrad(ParameterStore<Real>& store, const AdagradOptions& o)
    : Optimizer<Real>(store, "Adagrad", o.lr, o.weight_decay, {"sum"}, o.initial_accumulator_value), options_(o) {
    check("Adagrad", "lr_decay", o.lr_decay, 0, kNoLimit);
    check("Adagrad", "initial_accumulator_value", o.initial_accumulator_value, 0, kNoLimit);
    check("Adagrad", "eps", o.eps, 0, kNoLimit);
}

template <class Real>
void Adagrad<Real>::update(const typename Optimizer<Real>::Run& run) {
    const detail::AdagradStep step{run.lr / (1.0 + static_cast<double>(run.step - 1) * options_.lr_decay), options_.eps,
                                   run.weight_decay, {run.scale}};
    UNROLL_STEP(adagrad, step, run.size, run.values, run.gradient, run.moments[0])
}

// ---- RMSprop ----

template <class Real>
RMSprop<Real>::RMSprop(ParameterStore<Real>& store, const RMSpropOptions& o)
    : Optimizer<Real>(store, "RMSprop", o.lr, o.weight_decay, {"square_average", "gradient_average", "momentum"}), options_(o) {
    check("RMSprop", "alpha", o.alpha, 0, kNoLimit);
    check("RMSprop", "momentum", o.momentum, 0, kNoLimit);
    check("RMSprop", "eps", o.eps, 0, kNoLimit);
}

template <class Real>
void RMSprop<Real>::update(const typename Optimizer<Real>::Run& run) {
    const detail::RmspropStep step{run.lr, options_.alpha, options_.eps, run.weight_decay, options_.momentum,
                                   options_.centered, {run.scale}};
    UNROLL_STEP(rmsprop, step, run.size, run.values, run.gradient, run.moments[0], run.moments[1], run.moments[2])
}

// ---- Adadelta ----

template <class Real>
Adadelta<Real>::Adadelta(ParameterStore<Real>& store, const AdadeltaOptions& o)
    : Optimizer<Real>(store, "Adadelta", o.lr, o.weight_decay, {"square_average", "accumulated_delta"}), options_(o) {
    check("Adadelta", "rho", o.rho, 0, 1.0 + 1e-300);
    check("Adadelta", "eps", o.eps, 0, kNoLimit);
}

template <class Real>
void Adadelta<Real>::update(const typename Optimizer<Real>::Run& run) {
    const detail::AdadeltaStep step{run.lr, options_.rho, options_.eps, run.weight_decay, {run.scale}};
    UNROLL_STEP(adadelta, step, run.size, run.values, run.gradient, run.moments[0], run.moments[1])
}

// ---- Adam, AdamW ----

template <class Real>
Adam<Real>::Adam(ParameterStore<Real>& store, const AdamOptions& o) : Adam(store, o, false) {}

template <class Real>
Adam<Real>::Adam(ParameterStore<Real>& store, const AdamOptions& o, bool decoupled)
    : Optimizer<Real>(store, decoupled ? "AdamW" : "Adam", o.lr, o.weight_decay,
                      o.amsgrad ? std::vector<std::string>{"average", "square_average", "largest_square_average"}
                                : std::vector<std::string>{"average", "square_average"}),
      options_(o), decoupled_(decoupled) {
    const std::string_view name = decoupled ? "AdamW" : "Adam";
    check(name, "beta1", o.beta1, 0, 1);
    check(name, "beta2", o.beta2, 0, 1);
    check(name, "eps", o.eps, 0, kNoLimit);
}

template <class Real>
void Adam<Real>::update(const typename Optimizer<Real>::Run& run) {
    const auto n = static_cast<double>(run.step);
    detail::AdamStep step{};
    step.lr = run.lr;
    step.beta1 = options_.beta1;
    step.beta2 = options_.beta2;
    step.eps = options_.eps;
    step.weight_decay = run.weight_decay;
    step.bias_correction1 = 1.0 - std::pow(options_.beta1, n);
    step.bias_correction2 = 1.0 - std::pow(options_.beta2, n);
    step.decoupled = decoupled_;
    step.amsgrad = options_.amsgrad;
    step.gradient = {run.scale};
    UNROLL_STEP(adam, step, run.size, run.values, run.gradient, run.moments[0], run.moments[1], run.moments[2])
}

template <class Real>
AdamW<Real>::AdamW(ParameterStore<Real>& store, const AdamWOptions& o)
    : Adam<Real>(store, {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.amsgrad}, true) {}

#define UNROLL_INSTANTIATE(R)    \
    template class Optimizer<R>; \
    template class SGD<R>;       \
    template class Adagrad<R>;   \
    template class RMSprop<R>;   \
    template class Adadelta<R>;  \
    template class Adam<R>;      \
    template class AdamW<R>;
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
