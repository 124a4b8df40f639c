// The sweep: what backward() runs, from the last node to the first, and then to the parameters.
#include <unroll/autograd/tape.hpp>

#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/parameter.hpp>
#include <unroll/autograd/profile.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

namespace unroll {
namespace {

std::atomic<std::uint64_t> next_sweep{1};

}  // namespace

template <class Real>
void Tape<Real>::check_call(Outputs outputs, Upstream upstream, Into into) const {
    if (state_ == State::finished)
        detail::fail_usage("backward",
                           "this tape has been differentiated already and its values are freed; record the forward "
                           "pass again, or call the first backward with {.keep = true}");
    if (state_ == State::running) detail::fail_usage("backward", "a backward sweep over this tape is running already");
    if (outputs.size() != upstream.size()) detail::fail_usage("backward", "as many gradients as outputs are needed");
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        if (!outputs[i]) detail::fail_usage("backward", "the Var is empty");
        if (!needs(*outputs[i].internal()))
            detail::fail_usage("backward",
                               "the value was not made on this tape from anything that needs a gradient (a parameter "
                               "that is not frozen, or a watched value)");
        if (!(shape_of(upstream[i]) == outputs[i].shape()))
            detail::fail_shape("backward", "the gradient from upstream must have the shape of the output",
                               {outputs[i].shape(), shape_of(upstream[i])});
    }
    const auto check_version = [](const detail::ParameterVersion& version, const detail::Uses& uses) {
        if (uses.outdated(version.number))
            detail::fail_usage("backward",
                               fmt::format("the parameter {} was changed after the forward pass used it; call "
                                           "backward before the optimiser's step",
                                           version.name));
    };
    for (const Constant& constant : constants_) check_version(*constant.version, constant.uses);
    for (const Leaf& leaf : leaves_) {
        if (!leaf.uses.any()) continue;
        const auto is_its = [&](const Gradients<Real>* g) { return &g->store() == leaf.parameter->store; };
        if (!into.empty() && std::ranges::none_of(into, is_its))
            detail::fail_usage("backward", fmt::format("{} belongs to a store for which no gradients were given",
                                                       leaf.parameter->name));
        check_version(*leaf.parameter->version, leaf.uses);
    }
}

template <class Real>
void Tape<Real>::start_sweep(Outputs outputs, Upstream upstream) {
    state_ = State::running;
    for (Index number = 0; number < slots_.end_number(); ++number)
        if (slots_[number].flags & detail::kDense) slots_[number].release();  // what an earlier, kept sweep left
    pending_.truncate(0);
    sweep_ = next_sweep.fetch_add(1, std::memory_order_relaxed);
    deferred_products_ = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) add_to_slot(slot_for(*outputs[i].internal()), upstream[i].data());
}

template <class Real>
void Tape<Real>::run_hooks(Index number) {
    const Accumulator<Real> own = accumulate(number);  // where others read this gradient, a copy
    Tensor<Real> view = alias<Real>({}, own.data, slot(number).shape);
    for (const HookEntry& entry : hooks_)
        if (entry.slot == number) entry.hook(view);
}

/// Whether an operand of the node still needs a gradient: what made it may have been dropped from the front.
template <class Real>
bool Tape<Real>::wanted(detail::Node& node) const noexcept {
    if (first_number_ == 0) return true;
    for (std::uint32_t i = 0; i < node.inputs; ++i) {
        const Index number = node.input_slots()[i];
        if (number >= 0 && !(slots_[number].flags & detail::kGone)) return true;
    }
    return false;
}

template <class Real>
void Tape<Real>::run_sweep(bool keep) {
    for (detail::Node* node = last_; node;) {
        bool arrived = false;
        for (std::uint32_t k = 0; k < node->outputs; ++k) {
            const Index number = node->first_output + k;
            const detail::Slot<Real>& s = slot(number);
            if (s.pending >= 0) settle(number);
            if (!(s.flags & detail::kDense)) continue;
            arrived = true;
            if (s.flags & detail::kHooked) run_hooks(number);
        }
        if (arrived && wanted(*node)) {
            detail::current_place() = node->place;
            const auto& info = *static_cast<const detail::OpInfo<Real>*>(node->info);
            Backward<Real> context(*this, *node);
            const std::string_view name = ProfileSpan::on() ? info.name(node->op()) : std::string_view();
            const ProfileSpan span("backward", name, node->place);
            info.backward(node->op(), context);
            if (options_.check_finite) check_finite_gradients(*node);
        }
        for (std::uint32_t k = 0; k < node->outputs; ++k) {
            detail::Slot<Real>& s = slot(node->first_output + k);
            if (!(s.flags & detail::kWatched)) s.release();
        }
        detail::Node* previous = node->previous;
        if (!keep) destroy_last();
        node = previous;
    }
}

template <class Real>
void Tape<Real>::complete_leaf(const Leaf& leaf) {
    settle(leaf.slot);
    detail::Slot<Real>& s = slot(leaf.slot);
    const bool hooked = s.flags & detail::kHooked;
    const bool arrived = (s.flags & detail::kDense) || s.pending >= 0;
    if (arrived && (hooked || (s.flags & detail::kWatched) || !leaf.parameter->hooks.empty())) {
        const Accumulator<Real> acc = accumulate(leaf.slot);
        if (!acc.adding) std::fill_n(acc.data, acc.size, Real(0));
        for (std::int32_t at = s.pending; at >= 0; at = pending_[at].older) pending_[at].scatter(acc.data);
        s.pending = -1;
        if (hooked) run_hooks(leaf.slot);
        Tensor<Real> view = alias<Real>({}, s.grad, s.shape);
        for (const Hook& hook : leaf.parameter->hooks) hook(view);
    }
    if (options_.check_finite && (s.flags & detail::kDense) && !detail::all_finite(s.grad, s.shape.size()))
        throw NonFiniteError(fmt::format(
            "[backward] the gradient of the parameter {} is not finite: the sum over all its uses, of all time steps",
            leaf.parameter->name));
}

template <class Real>
void Tape<Real>::add_to_store(const Leaf& leaf) {
    detail::Slot<Real>& s = slot(leaf.slot);
    Gradients<Real>& gradients = *target(leaf.parameter->store);
    if (s.flags & detail::kDense) {
        if (!s.block)
            gradients.arrived(*leaf.parameter);
        else
            gradients.add_dense(*leaf.parameter, s.grad);
    }
    detail::PoolVector<std::int32_t> order;
    for (std::int32_t at = s.pending; at >= 0; at = pending_[at].older) order.push_back(at);
    for (std::size_t i = order.size(); i-- > 0;) {
        const detail::Pending<Real>& p = pending_[order[i]];
        gradients.add_rows(*leaf.parameter, p.indices, p.b, p.rows, p.n);
    }
    s.pending = -1;
    if (!(s.flags & detail::kWatched)) s.release();
}

template <class Real>
void Tape<Real>::finish_sweep(bool keep) {
    for (const Index number : watched_) {
        if (slot(number).parameter) continue;
        settle(number);
        // Values that a node made have met their hooks there.
        constexpr std::uint32_t kLate = detail::kLeaf | detail::kHooked | detail::kDense;
        if ((slot(number).flags & kLate) == kLate) run_hooks(number);
    }
    for (const Leaf& leaf : leaves_)
        if (slot(leaf.slot).captured < 0) complete_leaf(leaf);
    // No hook and no check from here on: the parameters' gradients change all together.
    for (const Leaf& leaf : leaves_)
        if (slot(leaf.slot).captured < 0) add_to_store(leaf);
    pending_.truncate(0);
    transposed_.clear();
    into_ = {};
    state_ = keep ? State::recording : State::finished;
}

template <class Real>
void Tape<Real>::abandon_sweep() noexcept {
    for (Index number = 0; number < slots_.end_number(); ++number) slots_[number].release();
    pending_.truncate(0);
    transposed_.clear();
    into_ = {};
    state_ = State::finished;
}

template <class Real>
void Tape<Real>::sweep(Outputs outputs, Upstream upstream, Into into, BackwardOptions options) {
    check_call(outputs, upstream, into);
    const NoGrad pause;  // also while hooks run
    const detail::Place place = detail::current_place();
    try {
        into_ = into;
        start_sweep(outputs, upstream);
        run_sweep(options.keep);
        finish_sweep(options.keep);
    } catch (...) {
        detail::current_place() = place;
        abandon_sweep();
        throw;
    }
    detail::current_place() = place;
}

template <class Real>
void Tape<Real>::backward(Outputs outputs, Upstream upstream, BackwardOptions options) {
    sweep(outputs, upstream, {}, options);
}

template <class Real>
void Tape<Real>::backward_into(const Var<Real>& loss, Into into, BackwardOptions options) {
    if (loss && loss.size() != 1)
        detail::fail_shape("backward",
                           "the loss must have exactly one element; reduce it with sum() or mean(), or give a gradient "
                           "from upstream",
                           {loss.shape()});
    const Tensor<Real> one = full<Real>(loss ? loss.shape() : Shape(), Real(1));
    sweep({&loss, 1}, {&one, 1}, into, options);
}

template <class Real>
void Tape<Real>::backward(const Var<Real>& loss, BackwardOptions options) {
    backward_into(loss, {}, options);
}

template <class Real>
void Tape<Real>::check_finite_gradients(detail::Node& node) {
    const auto& info = *static_cast<const detail::OpInfo<Real>*>(node.info);
    for (std::uint32_t i = 0; i < node.inputs; ++i) {
        const Index number = node.input_slots()[i];
        if (number < 0 || !slots_.contains(number)) continue;
        const auto [tape, at] = home(number);
        const detail::Slot<Real>& s = tape->slot(at);
        if ((s.flags & detail::kDense) && !detail::all_finite(s.grad, s.shape.size()))
            fail_non_finite(info.name(node.op()), node.number, node.place,
                            fmt::format("backward made a gradient of operand {} that is not finite", i));
    }
}

#define UNROLL_INSTANTIATE(R)                                                   \
    template void Tape<R>::check_call(Outputs, Upstream, Into) const;           \
    template void Tape<R>::start_sweep(Outputs, Upstream);                      \
    template void Tape<R>::run_sweep(bool);                                     \
    template void Tape<R>::run_hooks(Index);                                    \
    template bool Tape<R>::wanted(detail::Node&) const noexcept;                \
    template void Tape<R>::complete_leaf(const Leaf&);                          \
    template void Tape<R>::add_to_store(const Leaf&);                           \
    template void Tape<R>::finish_sweep(bool);                                  \
    template void Tape<R>::abandon_sweep() noexcept;                            \
    template void Tape<R>::check_finite_gradients(detail::Node&);               \
    template void Tape<R>::sweep(Outputs, Upstream, Into, BackwardOptions);     \
    template void Tape<R>::backward(Outputs, Upstream, BackwardOptions);        \
    template void Tape<R>::backward_into(const Var<R>&, Into, BackwardOptions); \
    template void Tape<R>::backward(const Var<R>&, BackwardOptions);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
