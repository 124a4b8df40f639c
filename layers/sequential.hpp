// Sequential: layers one after the other, recurrent ones among them. It only composes; every layer stays usable alone.
#pragma once

#include <unroll/layers/module.hpp>
#include <unroll/layers/packed.hpp>

#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace unroll {

/// A layer without parameters for Sequential, made of anything callable: `Function<float>([](Var<float> x) { return tanh(x); })`.
template <class Real>
using Function = std::function<Var<Real>(Var<Real>)>;

/// The state that goes in and comes out of a layer without one.
struct NoState {};

namespace detail {

/// What Sequential keeps for a layer: States (Stacked, Sequential), two states (Bidirectional), one (Recurrent, RNN, LSTM,
/// GRU, and whatever is called in the same way), or none.
template <class Layer>
struct CarriedState {
    using type = NoState;
};
template <class Layer>
requires requires { typename Layer::States; }
struct CarriedState<Layer> {
    using type = typename Layer::States;
};
template <class Layer>
requires(
    !requires { typename Layer::States; } &&
    requires(typename Layer::Result r) {
        r.forward;
        r.backward;
    }) struct CarriedState<Layer> {
    using type = std::pair<std::optional<typename Layer::State>, std::optional<typename Layer::State>>;
};
template <class Layer>
requires(
    requires { typename Layer::State; } && !requires { typename Layer::States; } &&
    !requires(typename Layer::Result r) {
        r.forward;
        r.backward;
    }) struct CarriedState<Layer> {
    using type = std::optional<typename Layer::State>;
};

template <class T>
inline constexpr bool is_packed = false;
template <class Real>
inline constexpr bool is_packed<PackedSequence<Real>> = true;

/// Runs one layer; `state` goes in and is replaced by what comes out.
template <class Layer, class Input, class State>
auto run_layer(const Layer& layer, Input&& input, State& state) {
    if constexpr (std::is_same_v<State, NoState>) {
        if constexpr (is_packed<std::remove_cvref_t<Input>> && !std::is_invocable_v<const Layer&, Input>) {
            auto packed = std::forward<Input>(input);
            packed.data = layer(std::move(packed.data));
            return packed;
        } else {
            return layer(std::forward<Input>(input));
        }
    } else if constexpr (requires {
                             layer(std::forward<Input>(input), std::move(state.first), std::move(state.second)).forward;
                         }) {
        auto made = layer(std::forward<Input>(input), std::move(state.first), std::move(state.second));
        state = {std::move(made.forward), std::move(made.backward)};
        return std::move(made.output);
    } else {
        auto made = layer(std::forward<Input>(input), std::move(state));
        if constexpr (requires { made.states; })
            state = std::move(made.states);
        else
            state = std::move(made.state);
        return std::move(made.output);
    }
}

template <class Layer, class Real, class Argument>
Layer make_layer(const Scope<Real>& at, const Argument& argument) {
    if constexpr (std::is_constructible_v<Layer, Scope<Real>, const Argument&>)
        return Layer(at, argument);
    else
        return Layer(argument);
}
template <class Layer, class Real, class... Arguments>
Layer make_layer(const Scope<Real>& at, const std::tuple<Arguments...>& arguments) {
    return std::apply([&](const Arguments&... each) { return Layer(at, each...); }, arguments);
}

}  // namespace detail

/// Runs layers one after the other. Layer k is built in the scope "k" (as in torch.nn.Sequential, so that files fit) from
/// the k-th argument: its options, a std::tuple of several constructor arguments, or the layer itself.
///
/// Of a layer that returns more than its output (LSTM, Recurrent, Stacked, Bidirectional, a Sequential, and any layer with a
/// member type State, called as layer(x, std::optional<State>) and returning {output, state}) the output goes on. States
/// are kept by the caller:
///
///     using Model = Sequential<Embedding<float>, LSTM<float>, Dropout<float>, Linear<float>>;
///     Model model(at / "model", EmbeddingOptions{.num_embeddings = 65, .embedding_dim = 64},
///                 LSTMOptions{.input_size = 64, .hidden_size = 128, .num_layers = 2}, DropoutOptions{.p = 0.2},
///                 LinearOptions{.in_features = 128, .out_features = 65});
///     Var<float> logits = model(tokens);         // states begin at zero, and are dropped
///     Model::States states;                      // all zero
///     for (const IntTensor& window : windows) {
///         Tape<float> tape;
///         auto [out, next] = model(window, std::move(states));
///         states = std::move(next);              // plain values once the tape has ended: truncated backpropagation
///     }
///
/// A PackedSequence may go in where a recurrent layer comes first; layers that know no PackedSequence (Linear, Dropout,
/// LayerNorm, a Function) run on its rows.
template <class... Layers>
class Sequential : public Module {
public:
    /// One entry for each layer, NoState for those without one; default: all begin at zero.
    using States = std::tuple<typename detail::CarriedState<Layers>::type...>;
    template <class Output>
    struct Result {
        Output output;
        States states;
    };

    template <class Real, class... Arguments>
    requires(sizeof...(Arguments) == sizeof...(Layers)) explicit Sequential(Scope<Real> at,
                                                                            const Arguments&... arguments)
        : Sequential(std::index_sequence_for<Layers...>(), at, arguments...) {}

    template <class Input>
    auto operator()(Input&& x) const {
        States states;
        return run_all(std::forward<Input>(x), states);
    }
    template <class Input>
    auto operator()(Input&& x, States states) const {
        auto output = run_all(std::forward<Input>(x), states);
        return Result<decltype(output)>{std::move(output), std::move(states)};
    }

    template <std::size_t I>
    const auto& layer() const noexcept {
        return std::get<I>(layers_);
    }
    static constexpr std::size_t size() noexcept { return sizeof...(Layers); }
    /// What fmt prints: its parameters.
    std::string summary() const { return summary_(); }

private:
    // Braces: layers are built in their order.
    template <std::size_t... I, class Real, class... Arguments>
    Sequential(std::index_sequence<I...>, const Scope<Real>& at, const Arguments&... arguments)
        : layers_{detail::make_layer<Layers>(at / std::to_string(I), arguments)...},
          summary_([at] { return unroll::summary(at); }),
          whole_([at](const std::function<void()>& call) {
              detail::Undo<Real> undo(at.store());
              call();
              undo.keep();
          }) {}

    /// All layers, or none: what those before one that throws have left behind is undone.
    template <class Input>
    auto run_all(Input&& x, States& states) const {
        std::optional<decltype(run<0>(std::forward<Input>(x), states))> output;
        const auto call = [&] { output.emplace(run<0>(std::forward<Input>(x), states)); };
        whole_(std::cref(call));
        return std::move(*output);
    }

    template <std::size_t I, class Input>
    auto run(Input&& x, States& states) const {
        auto y = detail::run_layer(std::get<I>(layers_), std::forward<Input>(x), std::get<I>(states));
        if constexpr (I + 1 == sizeof...(Layers))
            return y;
        else
            return run<I + 1>(std::move(y), states);
    }

    std::tuple<Layers...> layers_;
    // What needs the store, whose type is known to the constructor alone.
    std::function<std::string()> summary_;
    std::function<void(const std::function<void()>&)> whole_;
};

template <class... Layers>
std::string summary(const Sequential<Layers...>& layers) {
    return layers.summary();
}

}  // namespace unroll

template <class... Layers>
struct fmt::formatter<unroll::Sequential<Layers...>> : unroll::detail::TextFormatter {
    fmt::appender format(const unroll::Sequential<Layers...>& layers, fmt::format_context& context) const {
        return write(layers.summary(), context);
    }
};
