// The cells of RNN, LSTM and GRU.
#include <unroll/layers/cells.hpp>

#include <fmt/format.h>

#include <cmath>

namespace unroll {
namespace {

/// hidden_size, once the options are known to be right: nothing may be built before.
template <class Real>
Index checked(const Scope<Real>& at, std::string_view layer, const CellOptions& o) {
    const auto guard = at.enter();
    if (o.input_size < 1)
        detail::fail_value(layer, fmt::format("input_size must be 1 or more; got {}", Index(o.input_size)));
    if (o.hidden_size < 1)
        detail::fail_value(layer, fmt::format("hidden_size must be 1 or more; got {}", Index(o.hidden_size)));
    if (o.proj_size < 0 || o.proj_size >= o.hidden_size)
        detail::fail_value(layer, fmt::format("proj_size must be 0 (none) to hidden_size − 1 = {}; got {}",
                                              Index(o.hidden_size) - 1, o.proj_size));
    if (layer != "LSTM" && (o.proj_size != 0 || o.forget_bias))
        detail::fail_value(layer, "proj_size and forget_bias are options of an LSTM");
    if (o.forget_bias && !o.bias) detail::fail_value(layer, "forget_bias needs bias = true");
    return o.hidden_size;
}

/// U(−1/√H, 1/√H), as PyTorch initialises everything in a recurrent layer.
template <class Real>
Initializer<Real> uniform_by(Index hidden_size) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(hidden_size));
    return [bound](std::span<Real> values, const Shape&, RandomStream& random) {
        for (Real& v : values) v = Real(random.uniform(-bound, bound));
    };
}

template <class Real>
Parameter<Real> weight(const Scope<Real>& at, const char* name, const CellOptions& o, Index in, Index out) {
    return at.parameter(std::string(name) + std::string(o.suffix), {in, out}, uniform_by<Real>(o.hidden_size), true);
}

template <class Real>
Parameter<Real> bias(const Scope<Real>& at, const char* name, const CellOptions& o, Index size) {
    if (!o.bias) return {};
    return at.parameter(std::string(name) + std::string(o.suffix), {size}, uniform_by<Real>(o.hidden_size));
}

}  // namespace

// ---- RNN ----

template <class Real>
RNNCell<Real>::RNNCell(Scope<Real> at, const CellOptions& o)
    : at_(at),
      hidden_size_(checked(at, "RNN", o)),
      nonlinearity_(o.nonlinearity),
      weight_ih_(weight(at, "weight_ih", o, o.input_size, o.hidden_size)),
      weight_hh_(weight(at, "weight_hh", o, o.hidden_size, o.hidden_size)),
      bias_ih_(bias(at, "bias_ih", o, o.hidden_size)),
      bias_hh_(bias(at, "bias_hh", o, o.hidden_size)) {}

template <class Real>
Var<Real> RNNCell<Real>::project(Var<Real> x) const {
    if (!bias_ih_) return linear<Real>(std::move(x), weight_ih_);
    return linear<Real>(std::move(x), weight_ih_, bias_ih_ + bias_hh_);
}

template <class Real>
State<Real, 1> RNNCell<Real>::step(Var<Real> projected, State<Real, 1> state) const {
    Var<Real> sum = add_linear<Real>(std::move(projected), std::move(state[0]), weight_hh_);
    return {nonlinearity_ == Nonlinearity::tanh ? tanh(std::move(sum)) : relu(std::move(sum))};
}

// ---- LSTM ----

template <class Real>
LSTMCell<Real>::LSTMCell(Scope<Real> at, const CellOptions& o)
    : at_(at),
      hidden_size_(checked(at, "LSTM", o)),
      proj_size_(o.proj_size),
      weight_ih_(weight(at, "weight_ih", o, o.input_size, 4 * o.hidden_size)),
      weight_hh_(weight(at, "weight_hh", o, o.proj_size > 0 ? o.proj_size : Index(o.hidden_size), 4 * o.hidden_size)),
      bias_ih_(bias(at, "bias_ih", o, 4 * o.hidden_size)),
      bias_hh_(bias(at, "bias_hh", o, 4 * o.hidden_size)) {
    if (proj_size_ > 0) weight_hr_ = weight(at, "weight_hr", o, hidden_size_, proj_size_);
    if (!o.forget_bias) return;
    std::fill_n(bias_ih_.mutable_value().data() + hidden_size_, hidden_size_, Real(*o.forget_bias));
    std::fill_n(bias_hh_.mutable_value().data() + hidden_size_, hidden_size_, Real(0));
}

template <class Real>
Var<Real> LSTMCell<Real>::project(Var<Real> x) const {
    if (!bias_ih_) return linear<Real>(std::move(x), weight_ih_);
    return linear<Real>(std::move(x), weight_ih_, bias_ih_ + bias_hh_);
}

template <class Real>
State<Real, 2> LSTMCell<Real>::step(Var<Real> projected, State<Real, 2> state) const {
    Var<Real> gates = add_linear<Real>(std::move(projected), std::move(state[0]), weight_hh_);
    auto [h, c] = pointwise(
        [](auto i, auto f, auto g, auto o, auto c) {
            auto next = sigmoid(f) * c + sigmoid(i) * tanh(g);
            return std::tuple{sigmoid(o) * tanh(next), next};
        },
        columns<4>(std::move(gates)), std::move(state[1]));
    if (proj_size_ > 0) h = linear<Real>(std::move(h), weight_hr_);
    return {std::move(h), std::move(c)};
}

// ---- GRU ----

template <class Real>
GRUCell<Real>::GRUCell(Scope<Real> at, const CellOptions& o)
    : at_(at),
      hidden_size_(checked(at, "GRU", o)),
      reset_(o.reset),
      weight_ih_(weight(at, "weight_ih", o, o.input_size, 3 * o.hidden_size)),
      weight_hh_(weight(at, "weight_hh", o, o.hidden_size, 3 * o.hidden_size)),
      bias_ih_(bias(at, "bias_ih", o, 3 * o.hidden_size)),
      bias_hh_(bias(at, "bias_hh", o, 3 * o.hidden_size)) {}

template <class Real>
Var<Real> GRUCell<Real>::project(Var<Real> x) const {
    return linear<Real>(std::move(x), weight_ih_, bias_ih_);
}

template <class Real>
State<Real, 1> GRUCell<Real>::step(Var<Real> projected, State<Real, 1> state) const {
    Var<Real> h = std::move(state[0]);
    if (reset_ == GruReset::after_product) {
        Var<Real> recurrent = linear<Real>(h, weight_hh_, bias_hh_);
        return {pointwise(
            [](auto xr, auto xz, auto xn, auto hr, auto hz, auto hn, auto before) {
                auto n = tanh(xn + sigmoid(xr + hr) * hn);
                return n + sigmoid(xz + hz) * (before - n);
            },
            columns<3>(std::move(projected)), columns<3>(std::move(recurrent)), std::move(h))};
    }
    // The product of n waits for the reset gate. Both products are with the whole weight, so that backward has one for it:
    // each leaves some columns unused.
    Var<Real> gates = linear<Real>(h, weight_hh_, bias_hh_);
    Var<Real> reset =
        pointwise([](auto xr, auto, auto, auto hr, auto, auto, auto before) { return sigmoid(xr + hr) * before; },
                  columns<3>(projected), columns<3>(gates), h);
    Var<Real> candidate = linear<Real>(std::move(reset), weight_hh_, bias_hh_);
    return {pointwise(
        [](auto, auto xz, auto xn, auto, auto hz, auto, auto, auto, auto hn, auto before) {
            auto fresh = tanh(xn + hn);
            return fresh + sigmoid(xz + hz) * (before - fresh);
        },
        columns<3>(std::move(projected)), columns<3>(std::move(gates)), columns<3>(std::move(candidate)),
        std::move(h))};
}

#define UNROLL_INSTANTIATE(R)   \
    template class RNNCell<R>;  \
    template class LSTMCell<R>; \
    template class GRUCell<R>;
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
