// What all optimisers share: the learning rate, groups, blocks of moments, the pass over all parameters, and the state.
// The formulas are in update_rules.cpp.
#include <unroll/optim/optimizer.hpp>

#include <unroll/autograd/profile.hpp>
#include <unroll/io/state_dict.hpp>
#include <unroll/optim/detail/option_check.hpp>
#include <unroll/optim/detail/pieces.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace unroll {

// ---- OptimizerBase ----

OptimizerBase::OptimizerBase(std::string name, double lr) : name_(std::move(name)), lr_(lr), initial_lr_(lr) {}

void OptimizerBase::set_lr(double lr) {
    detail::check_option(name_, "lr", lr, detail::kNotNegative);
    lr_ = lr;
}

void OptimizerBase::set_momentum(double value) {
    if (!momentum()) detail::fail_usage(name_, "this optimiser has no momentum to set");
    detail::check_option(name_, "momentum", value, detail::kBelowOne);
    momentum_ = value;
}

// ---- Optimizer ----

template <class Real>
Optimizer<Real>::Optimizer(ParameterStore<Real>& store, std::string name, double lr, const MomentNames& moments,
                           double initial_moment)
    : OptimizerBase(std::move(name), lr),
      store_(store),
      names_(moments),
      initial_moment_(initial_moment),
      groups_{{"", lr}} {}

template <class Real>
Optimizer<Real>::~Optimizer() = default;

template <class Real>
void Optimizer<Real>::add_prefix(const std::string& prefix, double lr) {
    const auto& names = store_.names();
    const auto first = names.lower_bound(prefix);
    if (first == names.end() || !first->first.starts_with(prefix))
        detail::fail_value(this->name(), fmt::format("no parameter's name begins with \"{}\"", prefix));
    groups_.push_back({prefix, lr});
}

template <class Real>
std::size_t Optimizer<Real>::group_of(const std::string& name) const noexcept {
    const auto& names = store_.names();
    const bool ties = names.size() > store_.entries().size();
    // A tied parameter belongs where any of its names does.
    const auto fits = [&](const std::string& prefix) {
        if (name.starts_with(prefix)) return true;
        for (auto at = ties ? names.lower_bound(prefix) : names.end();
             at != names.end() && at->first.starts_with(prefix); ++at)
            if (at->second->name == name) return true;
        return false;
    };
    for (std::size_t group = 1; group < groups_.size(); ++group)
        if (fits(groups_[group].prefix)) return group;
    return 0;
}

// Blocks for the moments that are used, as large as the store.
template <class Real>
void Optimizer<Real>::fit() {
    steps_.resize(store_.numbers(), 0);
    const Index size = store_.block_size();
    for (std::size_t m = 0; m < kMoments; ++m) {
        if (sizes_[m] == size || !names_[m] || !uses_moment(m, this->momentum_set().has_value())) continue;
        auto block = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(size) * sizeof(Real)));
        std::fill_n(block->template as<Real>(), size, Real(initial_moment_));
        if (blocks_[m]) std::copy_n(blocks_[m]->template as<Real>(), sizes_[m], block->template as<Real>());
        blocks_[m] = std::move(block);
        sizes_[m] = size;
    }
}

template <class Real>
void Optimizer<Real>::step() {
    const ProfileSpan span("step", "optimizer");
    Gradients<Real>& gradients = store_.gradients();
    const auto updated = [&](const auto* entry) { return !entry->frozen && gradients.has(*entry); };
    if (std::ranges::none_of(store_.entries(), updated))
        detail::fail_usage(this->name(), "no parameter has a gradient; call backward(loss) before step()");
    fit();
    detail::PoolVector<Run> runs;
    for (auto* entry : store_.entries()) {
        if (!updated(entry)) continue;
        Run run{};
        run.size = entry->shape.size();
        run.values = store_.block_data() + entry->offset;
        run.gradient = gradients.raw(*entry);
        for (std::size_t m = 0; m < kMoments; ++m)
            if (blocks_[m]) run.moments[m] = moment_of(*entry, m);
        run.group = group_of(entry->name);
        run.step = ++steps_[entry->number];
        run.lr = this->rate_of_group(groups_[run.group].lr);
        run.scale = gradients.scale();
        run.limit = gradients.limit();
        prepare(run);
        runs.push_back(run);
        store_.changed(*entry);
    }
    detail::PoolVector<detail::Piece> pieces;
    detail::cut_pieces(runs, pieces);
    // Values and two moments read and written, the gradient read.
    detail::for_each_piece(pieces, 7 * sizeof(Real), [&](const detail::Piece& piece, std::size_t) {
        Run run = runs[piece.part];
        run.size = piece.end - piece.begin;
        run.values += piece.begin;
        run.gradient += piece.begin;
        for (Real*& moment : run.moments)
            if (moment) moment += piece.begin;
        update(run);
    });
    gradients.pack();
}

// ---- State ----

template <class Real>
StateDict Optimizer<Real>::state_dict() const {
    StateDict state;
    state.put_json("optimizer", this->name());
    state.put_scalar("lr", this->lr());
    if (this->momentum_set()) state.put_scalar("momentum", *this->momentum_set());
    for (const auto* entry : store_.entries()) {
        if (entry->number >= steps_.size() || steps_[entry->number] == 0) continue;
        state.put_scalar<std::int64_t>(entry->name + ".step", steps_[entry->number]);
        for (std::size_t m = 0; m < kMoments; ++m) {
            if (!names_[m] || !uses_moment(m, this->momentum_set().has_value())) continue;
            // A momentum that was set a moment ago has no block before the next step.
            state.put(key(entry->name, m), blocks_[m] ? alias<Real>(blocks_[m], moment_of(*entry, m), entry->shape)
                                                      : full<Real>(entry->shape, Real(initial_moment_)));
        }
    }
    return state;
}

template <class Real>
void Optimizer<Real>::load_state_dict(const StateDict& state) {
    using detail::fail_value;
    const nlohmann::json name = state.json("optimizer");
    if (name != this->name())
        fail_value(this->name(), fmt::format("the state is that of another optimiser: {}", name.dump()));
    const auto lr = state.template scalar<double>("lr");
    detail::check_option(this->name(), "the state's lr", lr, detail::kNotNegative);
    std::optional<double> momentum;
    if (state.contains("momentum")) {
        momentum = state.template scalar<double>("momentum");
        detail::check_option(this->name(), "the state's momentum", *momentum, detail::kBelowOne);
        if (!this->momentum()) fail_value(this->name(), "the state has a momentum, and this optimiser has none");
    }

    struct Loaded {
        const detail::ParameterEntry<Real>* entry;
        Index step;
        std::array<std::optional<Tensor<Real>>, kMoments> moments;
    };
    std::vector<Loaded> all;
    std::set<std::string, std::less<>> known{"optimizer", "lr", "momentum"};
    const auto know = [&](std::string text) -> const std::string& { return *known.insert(std::move(text)).first; };
    for (const auto* entry : store_.entries()) {
        const std::string& step = know(entry->name + ".step");
        if (!state.contains(step)) continue;
        Loaded loaded{entry, state.template scalar<std::int64_t>(step), {}};
        if (loaded.step < 1)
            fail_value(this->name(), fmt::format("{} must be 1 or more; the state has {}", step, loaded.step));
        for (std::size_t m = 0; m < kMoments; ++m)
            if (names_[m] && uses_moment(m, momentum.has_value()))
                loaded.moments[m] =
                    state.template tensor<Real>(know(key(entry->name, m)), entry->shape, Conversion::allowed);
        all.push_back(std::move(loaded));
    }
    for (const StateDict::Entry& entry : state.entries())
        if (!known.contains(entry.name))
            fail_value(
                this->name(),
                fmt::format("the state has {}, for which there is no parameter here or no use with these options; "
                            "nothing was changed",
                            detail::in_quotes(entry.name)));

    // From here on nothing fails but for want of memory.
    this->restore(lr, momentum);
    fit();
    std::ranges::fill(steps_, 0);
    for (std::size_t m = 0; m < kMoments; ++m)
        if (blocks_[m]) std::fill_n(blocks_[m]->template as<Real>(), sizes_[m], Real(initial_moment_));
    for (const Loaded& loaded : all) {
        steps_[loaded.entry->number] = loaded.step;
        for (std::size_t m = 0; m < kMoments; ++m)
            if (loaded.moments[m])
                std::copy_n(loaded.moments[m]->data(), loaded.entry->shape.size(), moment_of(*loaded.entry, m));
    }
}

template class Optimizer<float>;
template class Optimizer<double>;
template class Optimizer<Dual<double>>;

}  // namespace unroll
