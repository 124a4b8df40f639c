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

/// A cell as the loop sees it, without its type.
template <class Real>
struct AnyCell {
    const void* cell;
    Index (*state_size)(const void* cell, int k);
    Var<Real> (*project)(const void* cell, Var<Real> x);  ///< null where the cell takes its input as it is
    void (*step)(const void* cell, Var<Real> x, std::span<Var<Real>> state);
};

/// Runs over x (T, B, …) from `state`, where an empty Var stands for zeros, and which becomes the final state.
/// @returns the first state array of all steps (T, B, H)
template <class Real>
Var<Real> run_recurrent(const Scope<Real>& at, const AnyCell<Real>& cell, Var<Real> x, std::span<Var<Real>> state,
                        const LoopOptions& options);

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
class Recurrent {
public:
    static constexpr std::size_t kStates = Cell::kStates;
    using State = unroll::State<Real, kStates>;
    using Result = RecurrentResult<Real, kStates>;

    /// The cell's constructor is called with the scope and the arguments.
    template <class... Arguments>
    explicit Recurrent(Scope<Real> at, Arguments&&... arguments)
        : at_(at), cell_(at, std::forward<Arguments>(arguments)...) {
        static_assert(RecurrentCell<Cell, Real>);
    }

    Result operator()(Var<Real> x, std::optional<State> state = {}, const LoopOptions& options = {}) const {
        if (!state) state.emplace();
        Var<Real> output = run(std::move(x), *state, options);
        return {std::move(output), std::move(*state)};
    }
    /// The same in place: empty Vars in `state` stand for zeros, and it becomes the final state.
    Var<Real> run(Var<Real> x, State& state, const LoopOptions& options = {}) const {
        return detail::run_recurrent<Real>(at_, any_cell(), std::move(x), state, options);
    }

    /// What the cell's `project` makes of x (…, I), for LoopOptions::projected; x where the cell has none.
    Var<Real> project(Var<Real> x) const {
        const auto guard = at_.enter();
        detail::Undo<Real> undo(at_.store());
        if constexpr (kProjects) x = cell_.project(std::move(x));
        undo.keep();
        return x;
    }

    const Cell& cell() const noexcept { return cell_; }
    Index output_size() const { return cell_.state_size(0); }
    const Scope<Real>& scope() const noexcept { return at_; }

private:
    static constexpr bool kProjects = requires(const Cell& cell, Var<Real> x) { cell.project(x); };
    detail::AnyCell<Real> any_cell() const noexcept {
        detail::AnyCell<Real> any{&cell_, [](const void* cell, int k) -> Index { return of(cell).state_size(k); },
                                  nullptr,
                                  [](const void* cell, Var<Real> x, std::span<Var<Real>> state) {
                                      State before;
                                      for (std::size_t k = 0; k < kStates; ++k) before[k] = std::move(state[k]);
                                      State after = of(cell).step(std::move(x), std::move(before));
                                      for (std::size_t k = 0; k < kStates; ++k) state[k] = std::move(after[k]);
                                  }};
        if constexpr (kProjects)
            any.project = [](const void* cell, Var<Real> x) -> Var<Real> { return of(cell).project(std::move(x)); };
        return any;
    }
    static const Cell& of(const void* cell) noexcept { return *static_cast<const Cell*>(cell); }

    Scope<Real> at_;
    Cell cell_;
};

}  // namespace unroll
