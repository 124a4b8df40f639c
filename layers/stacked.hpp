// Stacked and Bidirectional: any cell in several layers, in both directions. A user's own cell gets them without another line.
#pragma once

#include <unroll/autograd/ops.hpp>
#include <unroll/layers/linear.hpp>
#include <unroll/layers/recurrent.hpp>

#include <fmt/core.h>

#include <vector>

namespace unroll {

/// One recurrent layer in one or both directions: outputs [forward, backward] side by side.
template <class Real, class Cell>
class Bidirectional {
public:
    static constexpr std::size_t kStates = Cell::kStates;
    using State = unroll::State<Real, kStates>;
    struct Result {
        Var<Real> output;  ///< (T, B, 2H)
        State forward, backward;
    };

    /// Both cells are built with the arguments, in the scopes "forward" and "backward".
    template <class... Arguments>
    explicit Bidirectional(Scope<Real> at, Arguments&&... arguments)
        : forward_(at / "forward", arguments...), backward_(at / "backward", arguments...) {}

    Result operator()(Var<Real> x, std::optional<State> forward = {}, std::optional<State> backward = {},
                      LoopOptions options = {}) const {
        if (options.reverse) detail::fail_usage("Bidirectional", "reverse is for one direction; both run here");
        auto ahead = forward_(x, std::move(forward), options);
        options.reverse = true;
        auto back = backward_(std::move(x), std::move(backward), options);
        return {concat<Real>({ahead.output, back.output}, -1), std::move(ahead.state), std::move(back.state)};
    }
    Index output_size() const { return forward_.output_size() + backward_.output_size(); }

private:
    Recurrent<Real, Cell> forward_, backward_;
};

struct StackOptions {
    Index num_layers = 1;
    bool bidirectional = false;
    double dropout = 0;  ///< on the output of every layer but the last, in training
};

/// Layers of one cell, the output of each the input of the next.
///
/// The cells are built by a function make(scope, layer, direction, input_size) → Recurrent<Real, Cell>; for a cell whose
/// constructor is (Scope, Size input, Size hidden) there is a constructor that takes those.
template <class Real, class Cell>
class Stacked {
public:
    static constexpr std::size_t kStates = Cell::kStates;
    using Layer = Recurrent<Real, Cell>;
    using State = unroll::State<Real, kStates>;
    using States = std::vector<State, detail::PoolAllocator<State>>;
    struct Result {
        Var<Real> output;  ///< (T, B, D·H)
        States states;     ///< final ones, row layer·D + direction
    };

    template <class Make>
        requires std::invocable<Make, Scope<Real>, Index, bool, Index>
    Stacked(Scope<Real> at, Index input_size, const StackOptions& options, Make make)
        : at_(at), directions_(options.bidirectional ? 2 : 1) {
        {
            const auto guard = at.enter();
            if (options.num_layers < 1)
                detail::fail_value("Stacked", fmt::format("num_layers must be 1 or more; got {}", options.num_layers));
            if (!(options.dropout >= 0 && options.dropout < 1))
                detail::fail_value("Stacked", fmt::format("dropout must be 0 or more and less than 1; got {}", options.dropout));
        }
        for (Index layer = 0; layer < options.num_layers; ++layer) {
            const Index width = layer == 0 ? input_size : output_size();
            for (Index d = 0; d < directions_; ++d) layers_.push_back(make(at, layer, d == 1, width));
            if (layer + 1 < options.num_layers && options.dropout != 0)
                dropouts_.emplace_back(at / ("dropout" + std::to_string(layer)), DropoutOptions{options.dropout});
        }
    }
    /// layer0, layer0_reverse, layer1, … each Cell(scope, Size input, Size hidden).
    Stacked(Scope<Real> at, Size input_size, Size hidden_size, const StackOptions& options = {})
        requires std::constructible_from<Cell, Scope<Real>, Size, Size>
        : Stacked(at, input_size, options, [hidden_size](Scope<Real> scope, Index layer, bool reverse, Index width) {
              return Layer(scope / ("layer" + std::to_string(layer) + (reverse ? "_reverse" : "")), Size(width), hidden_size);
          }) {}

    /// @param states none, or one for each layer and direction. @throws ShapeError for another number of them; UsageError for
    ///        options.reverse with both directions
    Result operator()(Var<Real> x, States states = {}, LoopOptions options = {}) const {
        const auto guard = at_.enter();
        if (!states.empty() && states.size() != layers_.size())
            throw ShapeError(fmt::format("[Stacked] {} states are needed, one for each layer and direction; got {}{}", layers_.size(),
                                         states.size(), detail::place_suffix(detail::current_place())));
        const bool both = directions_ == 2;
        if (both && options.reverse) detail::fail_usage("Stacked", "reverse is for one direction; both run here");
        Result result;
        result.states.resize(layers_.size());
        const auto run = [&](std::size_t i, Var<Real> in) {
            if (both) options.reverse = i % 2 == 1;
            auto made = layers_[i](std::move(in), states.empty() ? std::optional<State>() : std::move(states[i]), options);
            result.states[i] = std::move(made.state);
            return std::move(made.output);
        };
        const std::size_t count = layers_.size() / static_cast<std::size_t>(directions_);
        for (std::size_t layer = 0; layer < count; ++layer) {
            if (!both) {
                x = run(layer, std::move(x));
            } else {
                Var<Real> forward = run(2 * layer, x);
                x = concat<Real>({forward, run(2 * layer + 1, std::move(x))}, -1);
            }
            if (layer < dropouts_.size()) x = dropouts_[layer](std::move(x));
        }
        result.output = std::move(x);
        return result;
    }

    Index output_size() const {
        Index size = 0;
        for (Index d = 0; d < directions_; ++d) size += layers_[layers_.size() - 1 - static_cast<std::size_t>(d)].output_size();
        return size;
    }
    const Layer& layer(Index layer, bool reverse = false) const {
        return layers_[static_cast<std::size_t>(layer * directions_ + (reverse ? 1 : 0))];
    }

private:
    Scope<Real> at_;
    Index directions_;
    std::vector<Layer> layers_;
    std::vector<Dropout<Real>> dropouts_;
};

}  // namespace unroll
