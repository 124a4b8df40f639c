// RNN, LSTM, GRU under PyTorch's options, names, shapes and initialisation: stacks of Recurrent over the cells of cells.hpp.
// Bidirectional and Stacked (stacked.hpp) do the same for any cell.
#pragma once

#include <unroll/layers/cells.hpp>
#include <unroll/layers/packed.hpp>
#include <unroll/layers/stacked.hpp>

namespace unroll {

struct RNNOptions {
    Size input_size;
    Size hidden_size;
    Index num_layers = 1;
    Nonlinearity nonlinearity = Nonlinearity::tanh;
    bool bias = true;
    bool batch_first = false;  ///< input and output are (B, T, …); states never are
    double dropout = 0;        ///< on the output of every layer but the last, in training, a new mask each time step
    bool bidirectional = false;
};
struct LSTMOptions {
    Size input_size;
    Size hidden_size;
    Index num_layers = 1;
    bool bias = true;
    bool batch_first = false;
    double dropout = 0;
    bool bidirectional = false;
    Index proj_size = 0;
    std::optional<double> forget_bias = {};
};
struct GRUOptions {
    Size input_size;
    Size hidden_size;
    Index num_layers = 1;
    bool bias = true;
    bool batch_first = false;
    double dropout = 0;
    bool bidirectional = false;
    GruReset reset = GruReset::after_product;
};

/// Output (T, B, D·H_out), or (B, T, …) with batch_first, or (T, …) unbatched; final states (D·L, B, H), or (D·L, H)
/// unbatched. D is 2 with bidirectional, otherwise 1; row layer·D + direction.
template <class Real, std::size_t N>
struct RecurrentOutput {
    Var<Real> output;
    State<Real, N> state;
};

/// What RNN, LSTM and GRU have in common.
template <class Real, class Cell>
class RecurrentLayers : public Module {
public:
    static constexpr std::size_t kStates = Cell::kStates;
    using State = unroll::State<Real, kStates>;
    using Output = RecurrentOutput<Real, kStates>;

    /// x (T, B, I), (B, T, I) with batch_first, or (T, I); a missing state is zero.
    /// @throws ShapeError naming what is expected
    Output operator()(Var<Real> x, std::optional<State> state = {}, const LoopOptions& options = {}) const;
    /// Sequences of different lengths; the output is packed the same way. State rows are in the caller's order.
    /// @throws ShapeError, ValueError, UsageError
    PackedOutput<Real, kStates> operator()(const PackedSequence<Real>& x, std::optional<State> state = {},
                                           LoopOptions options = {}) const;

    /// What the first layer makes of x (…, I) before it looks at its state: x·W_ih and the biases that can be added to it.
    /// (…, G·H) with G = 1, 4, 3 for RNN, LSTM, GRU. The layers take it in place of x (with the same axes) under
    /// LoopOptions::projected; rows of project(embedding.weight) are what tokens give.
    /// @throws ShapeError; UsageError for a bidirectional layer
    Var<Real> project(Var<Real> x) const;

    Index output_size() const { return layers_.output_size(); }
    const Scope<Real>& scope() const noexcept { return at_; }

protected:
    RecurrentLayers(Scope<Real> at, std::string_view name, const CellOptions& cell, Index num_layers,
                    bool bidirectional, double dropout, bool batch_first);

private:
    /// @param batch B, or −1 for an unbatched input. @throws ShapeError
    void check_states(const Shape& x, const std::optional<State>& state, Index batch) const;
    /// @throws UsageError
    void check_options(const LoopOptions& options) const;
    /// Of the last axis of the input.
    Index input_width(const LoopOptions& options) const;
    Output run(Var<Real> x, std::optional<State> state, const LoopOptions& options) const;

    std::string_view name_;
    Scope<Real> at_;
    Index input_size_, num_layers_, directions_;
    bool batch_first_;
    Stacked<Real, Cell> layers_;
};

template <class Real>
class RNN final : public RecurrentLayers<Real, RNNCell<Real>> {
public:
    RNN(Scope<Real> at, const RNNOptions& options);
};
template <class Real>
class LSTM final : public RecurrentLayers<Real, LSTMCell<Real>> {
public:
    LSTM(Scope<Real> at, const LSTMOptions& options);
};
template <class Real>
class GRU final : public RecurrentLayers<Real, GRUCell<Real>> {
public:
    GRU(Scope<Real> at, const GRUOptions& options);
};

#define UNROLL_DECLARE(R)                                  \
    extern template class RecurrentLayers<R, RNNCell<R>>;  \
    extern template class RecurrentLayers<R, LSTMCell<R>>; \
    extern template class RecurrentLayers<R, GRUCell<R>>;  \
    extern template class RNN<R>;                          \
    extern template class LSTM<R>;                         \
    extern template class GRU<R>;
UNROLL_DECLARE(float)
UNROLL_DECLARE(double)
UNROLL_DECLARE(Dual<double>)
#undef UNROLL_DECLARE

}  // namespace unroll
