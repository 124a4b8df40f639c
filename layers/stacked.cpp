// What a stack of layers does whatever its cell.
#include <unroll/layers/stacked.hpp>

#include <fmt/format.h>

namespace unroll::detail {

template <class Real>
Stack<Real>::Stack(Scope<Real> at, const StackOptions& options)
    : at_(at), num_layers_(options.num_layers), directions_(options.bidirectional ? 2 : 1) {
    const auto guard = at.enter();
    if (num_layers_ < 1) fail_value("Stacked", fmt::format("num_layers must be 1 or more; got {}", num_layers_));
    if (!(options.dropout >= 0 && options.dropout <= 1))
        fail_value("Stacked", fmt::format("dropout must be 0 to 1; got {}", options.dropout));
    if (options.dropout == 0) return;
    for (Index layer = 0; layer + 1 < num_layers_; ++layer)
        dropouts_.emplace_back(at / fmt::format("dropout{}", layer), DropoutOptions{options.dropout});
}

template <class Real>
Scope<Real> Stack<Real>::scope_of(Scope<Real> at, Index layer, bool reverse) {
    return at / fmt::format("layer{}{}", layer, reverse ? "_reverse" : "");
}

template <class Real>
Stack<Real>::Stack(const Stack&) = default;
template <class Real>
Stack<Real>& Stack<Real>::operator=(const Stack&) = default;
template <class Real>
Stack<Real>::~Stack() = default;

template <class Real>
void Stack<Real>::add(const Loop<Real>* layer) {
    std::shared_ptr<const Loop<Real>> owner(layer);
    layers_.push_back(std::move(owner));
}

template <class Real>
const Loop<Real>& Stack<Real>::layer(Index layer, bool reverse) const {
    return *layers_[static_cast<std::size_t>(layer * directions_ + (reverse ? 1 : 0))];
}

template <class Real>
Index Stack<Real>::output_size() const {
    Index size = 0;
    for (Index d = 0; d < directions_; ++d)
        size += layers_[layers_.size() - 1 - static_cast<std::size_t>(d)]->state_size(0);
    return size;
}

template <class Real>
Var<Real> Stack<Real>::run(Var<Real> x, Var<Real>* states, std::size_t layers, LoopOptions options) const {
    const auto guard = at_.enter();
    Undo<Real> undo(at_.store());
    if (layers != layers_.size())
        fail_shape("Stacked", fmt::format("{} states are needed, one for each layer and direction; got {}",
                                          layers_.size(), layers));
    const bool both = directions_ == 2;
    if (both) check_both_directions("Stacked", options);
    LoopOptions backwards = options;
    backwards.reverse = true;
    auto next = layers_.begin();
    const auto run_next = [&](Var<Real> in, const LoopOptions& own) {
        const Loop<Real>& layer = **next++;
        return layer.run(std::move(in), std::exchange(states, states + layer.states()), own);
    };
    for (std::size_t layer = 0; layer < static_cast<std::size_t>(num_layers_); ++layer) {
        if (!both) {
            x = run_next(std::move(x), options);
        } else {
            Var<Real> ahead = run_next(x, options);
            x = concat<Real>({std::move(ahead), run_next(std::move(x), backwards)}, -1);
        }
        options.projected = false;
        if (layer < dropouts_.size()) x = dropouts_[layer](std::move(x));
    }
    if (guard.first()) x = at_.leave(std::move(x));
    undo.keep();
    return x;
}

#define UNROLL_INSTANTIATE(R)                                                                          \
    template class Stack<R>;                                                                           \
    template StackedResult<R, 1> Stack<R>::run(Var<R>, StackStates<R, 1>&&, const LoopOptions&) const; \
    template StackedResult<R, 2> Stack<R>::run(Var<R>, StackStates<R, 2>&&, const LoopOptions&) const;
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll::detail
