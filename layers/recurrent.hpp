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
#include <unroll/autograd/parameter.hpp>

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
};

namespace detail {

/// A cell as the loop sees it, without its type.
template <class Real>
struct StepFunction {
    const void* cell;
    void (*call)(const void* cell, Var<Real> x, std::span<Var<Real>> state);
};

/// Runs over x (T, B, …) from `state`, which becomes the final state; returns the first state array of all steps (T, B, H).
template <class Real>
Var<Real> run_loop(Var<Real> x, std::span<Var<Real>> state, StepFunction<Real> step, const LoopOptions& options);

/// A zero state, known to be zero.
template <class Real>
Var<Real> zero_state(Index batch, Index size);

template <class Real>
void check_loop_input(const Var<Real>& x, std::span<const Var<Real>> state, std::span<const Index> sizes,
                      const LoopOptions& options);
/// Whether a loop over x (T, B, …) can run with these options. @throws ShapeError, ValueError
void check_loop_options(const Shape& x, const LoopOptions& options);

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
    explicit Recurrent(Scope<Real> at, Arguments&&... arguments) : at_(at), cell_(at, std::forward<Arguments>(arguments)...) {
        static_assert(RecurrentCell<Cell, Real>);
    }

    Result operator()(Var<Real> x, std::optional<State> state = {}, const LoopOptions& options = {}) const {
        const auto guard = at_.enter();
        std::array<Index, kStates> sizes;
        for (std::size_t k = 0; k < kStates; ++k) sizes[k] = cell_.state_size(static_cast<int>(k));
        detail::check_loop_input<Real>(x, state ? std::span<const Var<Real>>(*state) : std::span<const Var<Real>>(), sizes, options);
        Result result;
        for (std::size_t k = 0; k < kStates; ++k)
            result.state[k] = state && (*state)[k] ? std::move((*state)[k]) : detail::zero_state<Real>(x.shape()[1], sizes[k]);
        if constexpr (requires { cell_.project(x); }) x = cell_.project(std::move(x));
        const detail::StepFunction<Real> step{&cell_, [](const void* cell, Var<Real> xt, std::span<Var<Real>> s) {
            State now;
            for (std::size_t k = 0; k < kStates; ++k) now[k] = std::move(s[k]);
            State next = static_cast<const Cell*>(cell)->step(std::move(xt), std::move(now));
            for (std::size_t k = 0; k < kStates; ++k) s[k] = std::move(next[k]);
        }};
        result.output = detail::run_loop<Real>(std::move(x), result.state, step, options);
        result.output = at_.leave(std::move(result.output));
        return result;
    }

    const Cell& cell() const noexcept { return cell_; }
    Index output_size() const { return cell_.state_size(0); }

private:
    Scope<Real> at_;
    Cell cell_;
};

}  // namespace unroll
