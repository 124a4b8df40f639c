// RNN, LSTM, GRU: options, layouts and states around Stacked.
#include <unroll/layers/rnn.hpp>

#include <fmt/format.h>

namespace unroll {
namespace {

/// num_layers, once the options are known to be right: nothing may be built before.
template <class Real>
Index checked(const Scope<Real>& at, std::string_view name, Index num_layers, double dropout) {
    const auto guard = at.enter();
    if (num_layers < 1) detail::fail_value(name, fmt::format("num_layers must be 1 or more; got {}", num_layers));
    if (!(dropout >= 0 && dropout <= 1))
        detail::fail_value(name, fmt::format("dropout must be 0 to 1; got {}", dropout));
    return num_layers;
}

CellOptions with_suffix(CellOptions options, std::string_view suffix, Index input_size) {
    options.suffix = suffix;
    options.input_size = Size(input_size);
    return options;
}

}  // namespace

template <class Real, class Cell>
RecurrentLayers<Real, Cell>::RecurrentLayers(Scope<Real> at, std::string_view name, const CellOptions& cell,
                                             Index num_layers, bool bidirectional, double dropout, bool batch_first)
    : name_(name),
      at_(at),
      input_size_(cell.input_size),
      num_layers_(checked(at, name, num_layers, dropout)),
      directions_(bidirectional ? 2 : 1),
      batch_first_(batch_first),
      layers_(at, cell.input_size, {num_layers, bidirectional, dropout},
              [&](Scope<Real> scope, Index layer, bool reverse, Index width) {
                  // PyTorch's names: all parameters lie in one module, "weight_ih_l0", "weight_ih_l0_reverse", …
                  const std::string suffix = fmt::format("_l{}{}", layer, reverse ? "_reverse" : "");
                  return Recurrent<Real, Cell>(scope, with_suffix(cell, suffix, width));
              }) {}

template <class Real, class Cell>
Var<Real> RecurrentLayers<Real, Cell>::project(Var<Real> x) const {
    const auto guard = at_.enter();
    if (directions_ == 2) detail::check_both_directions(name_, {.projected = true});
    if (!x) detail::fail_usage(name_, "the input is an empty Var");
    if (x.rank() < 1 || x.shape().back() != input_size_)
        detail::fail_shape(name_, fmt::format("the input of project must be (…, {})", input_size_), {x.shape()});
    return layers_.layer(0).project(std::move(x));
}

template <class Real, class Cell>
void RecurrentLayers<Real, Cell>::check_options(const LoopOptions& options) const {
    if (options.reverse) detail::fail_usage(name_, "reverse is for Recurrent; use bidirectional, or flip the input");
    if (directions_ == 2) detail::check_both_directions(name_, options);
}

template <class Real, class Cell>
Index RecurrentLayers<Real, Cell>::input_width(const LoopOptions& options) const {
    return options.projected ? layers_.layer(0).cell().projected_size() : input_size_;
}

template <class Real, class Cell>
void RecurrentLayers<Real, Cell>::check_states(const Shape& x, const std::optional<State>& state, Index batch) const {
    if (!state) return;
    const Index rows = num_layers_ * directions_;
    for (std::size_t k = 0; k < kStates; ++k) {
        const Var<Real>& s = (*state)[k];
        const Index features = layers_.layer(0).cell().state_size(static_cast<int>(k));
        if (!s) continue;
        if (batch < 0 && !(s.shape() == Shape{rows, features}))
            detail::fail_shape(
                name_,
                fmt::format("for an unbatched input state {} must be (layers·directions, features) = ({}, {})", k, rows,
                            features),
                {x, s.shape()});
        if (batch >= 0 && !(s.shape() == Shape{rows, batch, features}))
            detail::fail_shape(name_,
                               fmt::format("state {} must be (layers·directions, B, features) = ({}, {}, {})", k, rows,
                                           batch, features),
                               {x, s.shape()});
    }
}

template <class Real, class Cell>
typename RecurrentLayers<Real, Cell>::Output RecurrentLayers<Real, Cell>::run(Var<Real> x, std::optional<State> state,
                                                                              const LoopOptions& options) const {
    typename Stacked<Real, Cell>::States each;
    if (state) {
        each.resize(static_cast<std::size_t>(num_layers_ * directions_));
        for (std::size_t k = 0; k < kStates; ++k) {
            if (!(*state)[k]) continue;  // this part of the state is missing: zero
            if (each.size() == 1) {      // as unbind, without a list: a hundredth of a sampled character
                each[0][k] = squeeze(std::move((*state)[k]), 0);
                continue;
            }
            Vars<Real> parts = unbind(std::move((*state)[k]));
            for (std::size_t i = 0; i < each.size(); ++i) each[i][k] = std::move(parts[i]);
        }
    }
    auto made = layers_(std::move(x), std::move(each), options);
    Output result;
    result.output = std::move(made.output);
    for (std::size_t k = 0; k < kStates; ++k) {
        if (made.states.size() == 1) {  // as stack, without a list
            result.state[k] = unsqueeze(std::move(made.states[0][k]), 0);
            continue;
        }
        Vars<Real> parts;
        for (State& s : made.states) parts.push_back(std::move(s[k]));
        result.state[k] = stack(std::move(parts));
    }
    return result;
}

template <class Real, class Cell>
typename RecurrentLayers<Real, Cell>::Output RecurrentLayers<Real, Cell>::operator()(Var<Real> x,
                                                                                     std::optional<State> state,
                                                                                     const LoopOptions& options) const {
    // Everything is checked before the first op is recorded.
    const auto guard = at_.enter();
    if (!x) detail::fail_usage(name_, "the input is an empty Var");
    const bool unbatched = x.rank() == 2;
    check_options(options);
    const Index features = input_width(options);
    if ((x.rank() != 3 && !unbatched) || x.shape().back() != features)
        detail::fail_shape(name_,
                           fmt::format("the {}input must be ({}, {}) or (T, {}) unbatched",
                                       options.projected ? "projected " : "", batch_first_ ? "B, T" : "T, B", features,
                                       features),
                           {x.shape()});
    const bool turned = batch_first_ && !unbatched;
    const Index steps = x.shape()[turned ? 1 : 0], batch = unbatched ? 1 : x.shape()[turned ? 0 : 1];
    detail::check_loop_options({steps, batch, features}, options);
    check_states(x.shape(), state, unbatched ? -1 : batch);
    detail::Undo<Real> undo(at_.store());
    if (unbatched) {
        x = unsqueeze(std::move(x), 1);
        if (state)
            for (Var<Real>& s : *state)
                if (s) s = unsqueeze(std::move(s), 1);
    } else if (turned) {
        x = transpose(std::move(x), 0, 1);
    }
    Output result = run(std::move(x), std::move(state), options);
    if (unbatched) {
        result.output = squeeze(std::move(result.output), 1);
        for (Var<Real>& s : result.state) s = squeeze(std::move(s), 1);
    } else if (turned) {
        result.output = transpose(std::move(result.output), 0, 1);
    }
    if (guard.first()) result.output = at_.leave(std::move(result.output));
    undo.keep();
    return result;
}

template <class Real, class Cell>
PackedOutput<Real, RecurrentLayers<Real, Cell>::kStates> RecurrentLayers<Real, Cell>::operator()(
    const PackedSequence<Real>& x, std::optional<State> state, LoopOptions options) const {
    const auto guard = at_.enter();
    if (!x.data) detail::fail_usage(name_, "the input is an empty PackedSequence");
    check_options(options);
    if (x.data.rank() != 2 || x.data.shape().back() != input_width(options))
        detail::fail_shape(name_, fmt::format("the data of a PackedSequence must be (N, {})", input_width(options)),
                           {x.data.shape()});
    if (options.lengths) detail::fail_usage(name_, "lengths come with the PackedSequence");
    check_states(x.data.shape(), state, x.batch_sizes.size() == 0 ? 0 : x.batch_sizes(0));
    detail::Undo<Real> undo(at_.store());
    Padded<Real> padded = pad_packed_sequence(x);
    options.lengths = &padded.lengths;
    detail::check_loop_options(padded.values.shape(), options);
    Output made = run(std::move(padded.values), std::move(state), options);
    PackedOutput<Real, kStates> result{pack_like(std::move(made.output), x), std::move(made.state)};
    if (guard.first()) result.output.data = at_.leave(std::move(result.output.data));
    undo.keep();
    return result;
}

template <class Real>
RNN<Real>::RNN(Scope<Real> at, const RNNOptions& o)
    : RecurrentLayers<Real, RNNCell<Real>>(
          at, "RNN",
          {.input_size = o.input_size, .hidden_size = o.hidden_size, .bias = o.bias, .nonlinearity = o.nonlinearity},
          o.num_layers, o.bidirectional, o.dropout, o.batch_first) {}

template <class Real>
LSTM<Real>::LSTM(Scope<Real> at, const LSTMOptions& o)
    : RecurrentLayers<Real, LSTMCell<Real>>(at, "LSTM",
                                            {.input_size = o.input_size,
                                             .hidden_size = o.hidden_size,
                                             .bias = o.bias,
                                             .proj_size = o.proj_size,
                                             .forget_bias = o.forget_bias},
                                            o.num_layers, o.bidirectional, o.dropout, o.batch_first) {}

template <class Real>
GRU<Real>::GRU(Scope<Real> at, const GRUOptions& o)
    : RecurrentLayers<Real, GRUCell<Real>>(
          at, "GRU", {.input_size = o.input_size, .hidden_size = o.hidden_size, .bias = o.bias, .reset = o.reset},
          o.num_layers, o.bidirectional, o.dropout, o.batch_first) {}

#define UNROLL_INSTANTIATE(R)                       \
    template class RecurrentLayers<R, RNNCell<R>>;  \
    template class RecurrentLayers<R, LSTMCell<R>>; \
    template class RecurrentLayers<R, GRUCell<R>>;  \
    template class RNN<R>;                          \
    template class LSTM<R>;                         \
    template class GRU<R>;
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
