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
Var<Real> Stack<Real>::run(Var<Real> x, std::size_t states, LoopOptions options, const RunLayer& run_layer) const {
    const auto guard = at_.enter();
    Undo<Real> undo(at_.store());
    const auto needed = static_cast<std::size_t>(num_layers_ * directions_);
    if (states != needed)
        fail_shape("Stacked",
                   fmt::format("{} states are needed, one for each layer and direction; got {}", needed, states));
    const bool both = directions_ == 2;
    if (both) check_both_directions("Stacked", options);
    LoopOptions backwards = options;
    backwards.reverse = true;
    for (std::size_t layer = 0; layer < static_cast<std::size_t>(num_layers_); ++layer) {
        if (!both) {
            x = run_layer(layer, std::move(x), options);
        } else {
            Var<Real> ahead = run_layer(2 * layer, x, options);
            x = concat<Real>({std::move(ahead), run_layer(2 * layer + 1, std::move(x), backwards)}, -1);
        }
        options.projected = false;
        if (layer < dropouts_.size()) x = dropouts_[layer](std::move(x));
    }
    if (guard.first()) x = at_.leave(std::move(x));
    undo.keep();
    return x;
}

template class Stack<float>;
template class Stack<double>;
template class Stack<Dual<double>>;

}  // namespace unroll::detail
