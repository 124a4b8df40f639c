// Stacked and Bidirectional: any cell in several layers, in both directions. A user's own cell gets them without another line.
#pragma once

#include <unroll/autograd/ops.hpp>
#include <unroll/layers/linear.hpp>
#include <unroll/layers/recurrent.hpp>

#include <concepts>
#include <memory>
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
        : at_(at), forward_(at / "forward", arguments...), backward_(at / "backward", arguments...) {}

    Result operator()(Var<Real> x, std::optional<State> forward = {}, std::optional<State> backward = {},
                      LoopOptions options = {}) const {
        const auto guard = at_.enter();
        detail::check_both_directions("Bidirectional", options);
        detail::Undo<Real> undo(at_.store());
        auto ahead = forward_(x, std::move(forward), options);
        options.reverse = true;
        auto back = backward_(std::move(x), std::move(backward), options);
        Result result{concat<Real>({ahead.output, back.output}, -1), std::move(ahead.state), std::move(back.state)};
        if (guard.first()) result.output = at_.leave(std::move(result.output));
        undo.keep();
        return result;
    }
    Index output_size() const { return forward_.output_size() + backward_.output_size(); }
    const Scope<Real>& scope() const noexcept { return at_; }

private:
    Scope<Real> at_;
    Recurrent<Real, Cell> forward_, backward_;
};

struct StackOptions {
    Index num_layers = 1;
    bool bidirectional = false;
    double dropout = 0;  ///< on the output of every layer but the last, in training
};

namespace detail {
template <class Real, std::size_t N>
using StackStates = std::vector<State<Real, N>, PoolAllocator<State<Real, N>>>;
}

/// What Stacked returns.
template <class Real, std::size_t N>
struct StackedResult {
    Var<Real> output;                     ///< (T, B, D·H)
    detail::StackStates<Real, N> states;  ///< final ones, row layer·D + direction
};

namespace detail {

/// A stack of layers as far as their cell does not matter: names, directions, and the dropout between them.
template <class Real>
class Stack {
public:
    /// @throws ValueError
    Stack(Scope<Real> at, const StackOptions& options);
    Stack(const Stack&);
    Stack& operator=(const Stack&);
    ~Stack();

    /// The next layer, which belongs to the stack and its copies from now on. (A plain pointer, since any other would be
    /// compiled anew for every cell.)
    void add(const Loop<Real>* layer);
    const Loop<Real>& layer(Index layer, bool reverse) const;
    Index directions() const noexcept { return directions_; }
    Index output_size() const;
    const Scope<Real>& scope() const noexcept { return at_; }
    /// "layer0", "layer0_reverse", "layer1", …
    static Scope<Real> scope_of(Scope<Real> at, Index layer, bool reverse);
    /// @param states none, or one for each layer and direction. @throws ShapeError, UsageError
    template <std::size_t N>
    StackedResult<Real, N> run(Var<Real> x, StackStates<Real, N>&& states, const LoopOptions& options) const;

private:
    /// @param states those of all layers, one behind the other
    Var<Real> run(Var<Real> x, Var<Real>* states, std::size_t layers, LoopOptions options) const;

    Scope<Real> at_;
    Index num_layers_, directions_;
    std::vector<std::shared_ptr<const Loop<Real>>> layers_;  // number layer·D + direction
    std::vector<Dropout<Real>> dropouts_;
};

template <class Real>
template <std::size_t N>
StackedResult<Real, N> Stack<Real>::run(Var<Real> x, StackStates<Real, N>&& states, const LoopOptions& options) const {
    static_assert(sizeof(State<Real, N>) == N * sizeof(Var<Real>));
    if (states.empty()) states.resize(layers_.size());
    Var<Real> output = run(std::move(x), states.front().data(), states.size(), options);
    return {std::move(output), std::move(states)};
}

#define UNROLL_DECLARE(R)                                                                                     \
    extern template class Stack<R>;                                                                           \
    extern template StackedResult<R, 1> Stack<R>::run(Var<R>, StackStates<R, 1>&&, const LoopOptions&) const; \
    extern template StackedResult<R, 2> Stack<R>::run(Var<R>, StackStates<R, 2>&&, const LoopOptions&) const;
UNROLL_DECLARE(float)
UNROLL_DECLARE(double)
UNROLL_DECLARE(Dual<double>)
#undef UNROLL_DECLARE

}  // namespace detail

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
    using States = detail::StackStates<Real, kStates>;
    using Result = StackedResult<Real, kStates>;

    template <std::invocable<Scope<Real>, Index, bool, Index> Make>
    Stacked(Scope<Real> at, Index input_size, const StackOptions& options, Make make) : stack_(at, options) {
        for (Index layer = 0; layer < options.num_layers; ++layer) {
            const Index width = layer == 0 ? input_size : output_size();
            for (Index d = 0; d < stack_.directions(); ++d) stack_.add(new Layer(make(at, layer, d == 1, width)));
        }
    }
    /// layer0, layer0_reverse, layer1, … each Cell(scope, Size input, Size hidden).
    Stacked(Scope<Real> at, Size input_size, Size hidden_size, const StackOptions& options = {})
        : Stacked(at, input_size, options, [hidden_size](Scope<Real> scope, Index layer, bool reverse, Index width) {
              return Layer(detail::Stack<Real>::scope_of(scope, layer, reverse), Size(width), hidden_size);
          }) {}

    /// @param states none, or one for each layer and direction. @throws ShapeError for another number of them; UsageError for
    ///        options.reverse with both directions
    Result operator()(Var<Real> x, States states = {}, const LoopOptions& options = {}) const {
        return stack_.run(std::move(x), std::move(states), options);
    }

    Index output_size() const { return stack_.output_size(); }
    const Scope<Real>& scope() const noexcept { return stack_.scope(); }
    const Layer& layer(Index layer, bool reverse = false) const {
        return static_cast<const Layer&>(stack_.layer(layer, reverse));
    }

private:
    detail::Stack<Real> stack_;
};

}  // namespace unroll
