// Recurrent: the loop through time over any cell. It alone knows about direction, lengths, and how the backward pass is
// scheduled; a cell knows one step.
//
// A cell is a struct with
//     static constexpr int kStates = 2;                       // how many arrays its state has; the first is its output
//     Index state_size(int k) const;                          // features of state k
//     State<Real, 2> step(Var<Real> x, State<Real, 2> s) const;
// and, if it likes, `Var<Real> project(Var<Real> x) const`: what the input contributes, for all time steps at once; `step`
// then gets the part of its time step instead of the input. Nothing is kept between calls.
#pragma once

#include <unroll/autograd/ops.hpp>
#include <unroll/layers/module.hpp>

#include <array>
#include <concepts>
#include <optional>

namespace unroll {

/// The state of a cell: arrays (B, features); the first one is its output.
template <class Real, std::size_t N>
using State = std::array<Var<Real>, N>;

/// How a loop runs. The defaults: forward in time, every row to the end, full backpropagation through time.
struct LoopOptions {
    /// From the last time step to the first; outputs stay at their time steps.
    bool reverse = false;
    /// Steps of each row (B), 1 ≤ length ≤ T: later outputs are zero, the final state is that of the row's last step (a
    /// reversed loop begins at it).
    const IntTensor* lengths = nullptr;
    /// Cuts the state from the past every so many steps (truncated backpropagation); 0: never.
    Index truncate = 0;
    /// Keeps only the state at every so many steps and runs the steps between again in backward: memory of √T for twice
    /// the forward work; 0: keeps everything.
    Index checkpoint = 0;
    /// The input is what `project` made of it. A sequence of tokens needs no product at all: project the embedding's table
    /// once, and take its rows by token. (Gradients then reach every row of the table that was projected, a padding_idx's
    /// too.)
    bool projected = false;
};

namespace detail {

/// The loop through time, whatever its cell.
template <class Real>
class Loop {
public:
    virtual ~Loop() = default;
    const Scope<Real>& scope() const noexcept { return at_; }
    /// How many arrays the state has.
    std::size_t states() const noexcept { return states_; }
    /// Runs over x (T, B, …) from the arrays at `state`, where an empty Var stands for zeros; they become the final state
    /// (whatever stands there after an exception). @returns the first state array of all steps (T, B, H)
    Var<Real> run(Var<Real> x, Var<Real>* state, const LoopOptions& options) const;
    /// What the cell's `project` makes of x, as a call of its own.
    Var<Real> project(Var<Real> x) const;

    // The cell's part.
    virtual Index state_size(int k) const = 0;
    /// x where the cell has no `project`.
    virtual Var<Real> project_input(Var<Real> x) const = 0;
    virtual void step(Var<Real> x, Var<Real>* state) const = 0;

protected:
    /// Before the cell is made.
    Loop(Scope<Real> at, std::size_t states) : at_(at), states_(states), first_(at.store().numbers()) {}
    /// Once it is made: marks the weights that it multiplies its state by.
    void mark_weights() const;

private:
    Scope<Real> at_;
    std::size_t states_, first_;  // the number of the cell's first parameter
};

extern template class Loop<float>;
extern template class Loop<double>;
extern template class Loop<Dual<double>>;

/// Whether a loop over x (T, B, …) can run with these options. @throws ShapeError, ValueError
void check_loop_options(const Shape& x, const LoopOptions& options);
/// Whether two loops, one in each direction, can. @throws UsageError
void check_both_directions(std::string_view layer, const LoopOptions& options);

}  // namespace detail

/// What a cell must offer.
template <class Cell, class Real>
concept RecurrentCell = requires(const Cell& cell, Var<Real> x, State<Real, Cell::kStates> s) {
    { cell.step(x, s) } -> std::convertible_to<State<Real, Cell::kStates>>;
    { cell.state_size(0) } -> std::convertible_to<Index>;
};

/// Output of all time steps (T, B, H) and the final state.
template <class Real, std::size_t N>
struct RecurrentResult {
    Var<Real> output;
    State<Real, N> state;
};

/// Runs a cell over a sequence x (T, B, I), from a state or from zeros.
/// @throws ShapeError for another rank, or a state that does not fit; names module and time step of what a cell throws
template <class Real, class Cell>
class Recurrent : private detail::Loop<Real> {
public:
    static constexpr std::size_t kStates = Cell::kStates;
    using State = unroll::State<Real, kStates>;
    using Result = RecurrentResult<Real, kStates>;

    /// The cell's constructor is called with the scope and the arguments.
    template <class... Arguments>
    explicit Recurrent(Scope<Real> at, Arguments&&... arguments)
        : detail::Loop<Real>(at, kStates), cell_(at, std::forward<Arguments>(arguments)...) {
        static_assert(RecurrentCell<Cell, Real>);
        this->mark_weights();
    }

    Result operator()(Var<Real> x, std::optional<State> state = {}, const LoopOptions& options = {}) const {
        if (!state) state.emplace();
        Var<Real> output = detail::Loop<Real>::run(std::move(x), state->data(), options);
        return {std::move(output), std::move(*state)};
    }
    /// The same in place: empty Vars in `state` stand for zeros, and it becomes the final state (after an exception it is
    /// what it was).
    Var<Real> run(Var<Real> x, State& state, const LoopOptions& options = {}) const {
        Result made = (*this)(std::move(x), state, options);
        state = std::move(made.state);
        return std::move(made.output);
    }
    /// What the cell's `project` makes of x (…, I), for LoopOptions::projected; x where the cell has none.
    using detail::Loop<Real>::project;

    const Cell& cell() const noexcept { return cell_; }
    Index output_size() const { return cell_.state_size(0); }
    using detail::Loop<Real>::scope;

private:
    template <class, class>
    friend class Stacked;

    Index state_size(int k) const override { return cell_.state_size(k); }
    Var<Real> project_input(Var<Real> x) const override {
        if constexpr (requires { cell_.project(std::move(x)); }) x = cell_.project(std::move(x));
        return x;
    }
    void step(Var<Real> x, Var<Real>* state) const override {
        State before;
        for (std::size_t k = 0; k < kStates; ++k) before[k] = std::move(state[k]);
        State after = cell_.step(std::move(x), std::move(before));
        for (std::size_t k = 0; k < kStates; ++k) state[k] = std::move(after[k]);
    }

    Cell cell_;
};

}  // namespace unroll
