// The cells of RNN, LSTM and GRU: one step each, PyTorch's equations, names and order of gates.
//
// Weights lie as (in, out) in memory; files hold PyTorch's (out, in). Each cell is the unit that Recurrent loops over, and
// the model of how to write one's own.
#pragma once

#include <unroll/autograd/ops/pointwise.hpp>
#include <unroll/layers/recurrent.hpp>

namespace unroll {

enum class Nonlinearity { tanh, relu };

/// Where a GRU applies its reset gate.
enum class GruReset {
    after_product,  ///< n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn)): PyTorch, cuDNN
    before_product  ///< n = tanh(W_in x + b_in + W_hn (r ⊙ h) + b_hn): the original paper (Cho et al. 2014)
};

/// Sizes and choices of one cell.
struct CellOptions {
    Size input_size;
    Size hidden_size;
    bool bias = true;
    Nonlinearity nonlinearity = Nonlinearity::tanh;  ///< RNN
    Index proj_size = 0;                             ///< LSTM: h has this many features instead of hidden_size; 0: none
    std::optional<double> forget_bias = {};          ///< LSTM: b_ih of the forget gate starts here, and b_hh at 0
    GruReset reset = GruReset::after_product;        ///< GRU
    /// Parameter names are weight_ih + suffix, …; "_l0", "_l0_reverse" inside RNN, LSTM, GRU.
    std::string_view suffix = "";
};

/// h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of it.
/// Parameters: weight_ih (I, H), weight_hh (H, H), bias_ih (H), bias_hh (H), all U(−1/√H, 1/√H).
template <class Real>
class RNNCell {
public:
    static constexpr int kStates = 1;
    RNNCell(Scope<Real> at, const CellOptions& options);

    Index state_size(int) const { return hidden_size_; }
    Index projected_size() const { return hidden_size_; }
    Var<Real> project(Var<Real> x) const;
    State<Real, 1> step(Var<Real> projected, State<Real, 1> state) const;
    const Scope<Real>& scope() const noexcept { return at_; }

private:
    Scope<Real> at_;
    Index hidden_size_;
    Nonlinearity nonlinearity_;
    Parameter<Real> weight_ih_, weight_hh_, bias_ih_, bias_hh_;
};

/// i, f, o = sigmoid, g = tanh of the four parts of W_ih x + b_ih + W_hh h + b_hh;
/// c' = f ⊙ c + i ⊙ g; h' = o ⊙ tanh(c'), or its projection W_hr h'. State: h, c.
/// Parameters: weight_ih (I, 4H), weight_hh (H_out, 4H), bias_ih (4H), bias_hh (4H), weight_hr (H, proj).
/// Hochreiter and Schmidhuber 1997; Gers et al. 2000.
template <class Real>
class LSTMCell {
public:
    static constexpr int kStates = 2;
    LSTMCell(Scope<Real> at, const CellOptions& options);

    Index state_size(int k) const { return k == 0 && proj_size_ > 0 ? proj_size_ : hidden_size_; }
    Index projected_size() const { return 4 * hidden_size_; }
    Var<Real> project(Var<Real> x) const;
    State<Real, 2> step(Var<Real> projected, State<Real, 2> state) const;
    const Scope<Real>& scope() const noexcept { return at_; }

private:
    Scope<Real> at_;
    Index hidden_size_, proj_size_;
    Parameter<Real> weight_ih_, weight_hh_, bias_ih_, bias_hh_, weight_hr_;
};

/// r, z = sigmoid(W_i x + b_i + W_h h + b_h); n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn)); h' = (1 − z) ⊙ n + z ⊙ h.
/// Parameters: weight_ih (I, 3H), weight_hh (H, 3H), bias_ih (3H), bias_hh (3H). Cho et al. 2014; see GruReset.
template <class Real>
class GRUCell {
public:
    static constexpr int kStates = 1;
    GRUCell(Scope<Real> at, const CellOptions& options);

    Index state_size(int) const { return hidden_size_; }
    Index projected_size() const { return 3 * hidden_size_; }
    Var<Real> project(Var<Real> x) const;
    State<Real, 1> step(Var<Real> projected, State<Real, 1> state) const;
    const Scope<Real>& scope() const noexcept { return at_; }

private:
    Scope<Real> at_;
    Index hidden_size_;
    GruReset reset_;
    Parameter<Real> weight_ih_, weight_hh_, bias_ih_, bias_hh_;
};

#define UNROLL_DECLARE(R)              \
    extern template class RNNCell<R>;  \
    extern template class LSTMCell<R>; \
    extern template class GRUCell<R>;
UNROLL_DECLARE(float)
UNROLL_DECLARE(double)
UNROLL_DECLARE(Dual<double>)
#undef UNROLL_DECLARE

}  // namespace unroll
