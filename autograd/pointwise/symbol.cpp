// Operations on symbols: each adds an instruction to the current recording, or is composed of others.
#include <unroll/autograd/pointwise/symbol.hpp>

#include <unroll/autograd/pointwise/recorder.hpp>

namespace unroll {

namespace {

using detail::Opcode;

template <class... Symbols>
Symbol record(Opcode op, Symbols... operands) {
    detail::Recorder& recorder = detail::Recorder::current();
    const detail::Register registers[] = {recorder.register_of(operands)...};
    constexpr std::size_t n = sizeof...(operands);
    return recorder.symbol(recorder.builder().emit(op, registers[0], n > 1 ? registers[n > 1] : detail::Register{0},
                                                   n > 2 ? registers[n > 2 ? 2 : 0] : detail::Register{0}));
}

}  // namespace

Symbol operator-(Symbol a) { return record(Opcode::neg, a); }
Symbol operator+(Symbol a, Symbol b) { return record(Opcode::add, a, b); }
Symbol operator-(Symbol a, Symbol b) { return record(Opcode::sub, a, b); }
Symbol operator*(Symbol a, Symbol b) { return record(Opcode::mul, a, b); }
Symbol operator/(Symbol a, Symbol b) { return record(Opcode::div, a, b); }

Symbol operator<(Symbol a, Symbol b) { return record(Opcode::less, a, b); }
Symbol operator<=(Symbol a, Symbol b) { return record(Opcode::less_equal, a, b); }
Symbol operator==(Symbol a, Symbol b) { return record(Opcode::equal, a, b); }
Symbol operator!=(Symbol a, Symbol b) { return record(Opcode::not_equal, a, b); }
Symbol operator&&(Symbol a, Symbol b) { return record(Opcode::logical_and, a, b); }
Symbol operator||(Symbol a, Symbol b) { return record(Opcode::logical_or, a, b); }
Symbol operator!(Symbol a) { return record(Opcode::logical_not, a); }

Symbol where(Symbol condition, Symbol a, Symbol b) { return record(Opcode::select, condition, a, b); }
Symbol maximum(Symbol a, Symbol b) { return record(Opcode::maximum, a, b); }
Symbol minimum(Symbol a, Symbol b) { return record(Opcode::minimum, a, b); }

Symbol fma(Symbol a, Symbol b, Symbol c) { return record(Opcode::fma, a, b, c); }
Symbol square(Symbol x) { return record(Opcode::square, x); }
Symbol reciprocal(Symbol x) { return record(Opcode::reciprocal, x); }
Symbol sqrt(Symbol x) { return record(Opcode::sqrt, x); }
Symbol rsqrt(Symbol x) { return record(Opcode::rsqrt, x); }
Symbol abs(Symbol x) { return record(Opcode::abs, x); }
Symbol sign(Symbol x) { return record(Opcode::sign, x); }
Symbol pow(Symbol x, Symbol exponent) { return record(Opcode::pow, x, exponent); }

Symbol exp(Symbol x) { return record(Opcode::exp, x); }
Symbol expm1(Symbol x) { return record(Opcode::expm1, x); }
Symbol log(Symbol x) { return record(Opcode::log, x); }
Symbol log1p(Symbol x) { return record(Opcode::log1p, x); }
Symbol sin(Symbol x) { return record(Opcode::sin, x); }
Symbol cos(Symbol x) { return record(Opcode::cos, x); }
Symbol erf(Symbol x) { return record(Opcode::erf, x); }

Symbol tanh(Symbol x) { return record(Opcode::tanh, x); }
Symbol sigmoid(Symbol x) { return record(Opcode::sigmoid, x); }
Symbol softplus(Symbol x) { return record(Opcode::softplus, x); }
Symbol relu(Symbol x) { return record(Opcode::relu, x); }
Symbol tanh_gradient(Symbol g, Symbol y) { return record(Opcode::tanh_gradient, g, y); }
Symbol sigmoid_gradient(Symbol g, Symbol y) { return record(Opcode::sigmoid_gradient, g, y); }

Symbol clip(Symbol x, Symbol low, Symbol high) {
    // By conditions instead of minimum and maximum: those would halve the gradient at the bounds.
    const Symbol raised = where(x < low, low, x);
    return where(high < raised, high, raised);
}

Symbol leaky_relu(Symbol x, Symbol slope) { return where(0 < x, x, slope * x); }

Symbol elu(Symbol x, Symbol alpha) { return where(0 < x, x, alpha * expm1(x)); }

Symbol gelu(Symbol x) { return 0.5 * x * (1 + erf(0.70710678118654752440 * x)); }

}  // namespace unroll
