// Symbol: what stands for an operand while a pointwise function is recorded.
//
// pointwise(f, x, y) calls f once with symbols instead of arrays. Each operation on symbols adds one instruction to
// the program that is being recorded on this thread; the same operation on the same operands is added once, and
// operations on numbers are done at once. Nothing is computed here, and this header knows neither arrays nor programs:
// program.hpp says what is recorded, rules.hpp what each operation means.
//
// All functions are found by argument-dependent lookup only, so that they never take a plain number by accident.
// Composite functions (gelu, elu, clip, …) are written in terms of the others, in symbol.cpp.
#pragma once

#include <cstdint>
#include <type_traits>

namespace unroll {

namespace detail {
enum class Opcode : std::uint8_t;
class Recorder;
template <class>
inline constexpr bool always_false = false;
}  // namespace detail

/// A value inside a pointwise function: an operand, a number, or the result of an operation on them. Truth values are
/// 1 and 0; any value but 0 counts as true. A symbol means something only inside the call that made it: using it
/// later, or together with symbols of another call, throws UsageError.
class Symbol {
public:
    /// A number, the same for all elements. (An array or a Dual is not a number: hand it to pointwise as an operand.)
    template <class Number>
    requires std::is_arithmetic_v<Number> Symbol(Number constant) : constant_(static_cast<double>(constant)) {}

    /// A condition on elements has no single answer.
    template <class Bool>
    requires std::is_same_v<Bool, bool>
    explicit operator Bool() const {
        static_assert(detail::always_false<Bool>, "a pointwise function is recorded once for all elements: use "
                                                  "where(condition, a, b) instead of if, ?: and std::max");
        return false;
    }

    Symbol& operator+=(Symbol b) { return *this = *this + b; }
    Symbol& operator-=(Symbol b) { return *this = *this - b; }
    Symbol& operator*=(Symbol b) { return *this = *this * b; }
    Symbol& operator/=(Symbol b) { return *this = *this / b; }

    friend Symbol operator+(Symbol a) { return a; }
    friend Symbol operator-(Symbol a);
    friend Symbol operator+(Symbol a, Symbol b);
    friend Symbol operator-(Symbol a, Symbol b);
    friend Symbol operator*(Symbol a, Symbol b);
    friend Symbol operator/(Symbol a, Symbol b);

    // Comparisons give 1 where they hold and 0 elsewhere; with NaN only != holds.
    friend Symbol operator<(Symbol a, Symbol b);
    friend Symbol operator<=(Symbol a, Symbol b);
    friend Symbol operator>(Symbol a, Symbol b) { return b < a; }
    friend Symbol operator>=(Symbol a, Symbol b) { return b <= a; }
    friend Symbol operator==(Symbol a, Symbol b);
    friend Symbol operator!=(Symbol a, Symbol b);
    // Both sides are always evaluated: there is nothing to save by stopping early.
    friend Symbol operator&&(Symbol a, Symbol b);
    friend Symbol operator||(Symbol a, Symbol b);
    friend Symbol operator!(Symbol a);

    /// condition ? a : b. Neither the value nor the gradient of the branch not taken matters, even where it is NaN or
    /// infinite: where(x > 0, sqrt(x), 0) has gradient 0 for x <= 0.
    friend Symbol where(Symbol condition, Symbol a, Symbol b);
    /// Larger (smaller) of two; NaN if either is NaN. Where they are equal each gets half of the gradient.
    friend Symbol maximum(Symbol a, Symbol b);
    friend Symbol minimum(Symbol a, Symbol b);
    /// min(max(x, low), high); NaN stays NaN. The gradient reaches x where low <= x <= high, bounds included, as in
    /// PyTorch.
    friend Symbol clip(Symbol x, Symbol low, Symbol high);

    /// a·b + c, rounded as a product and then a sum.
    friend Symbol fma(Symbol a, Symbol b, Symbol c);
    friend Symbol square(Symbol x);
    friend Symbol reciprocal(Symbol x);
    friend Symbol sqrt(Symbol x);
    friend Symbol rsqrt(Symbol x);  ///< 1/√x
    friend Symbol abs(Symbol x);
    friend Symbol fabs(Symbol x) { return abs(x); }
    friend Symbol sign(Symbol x);
    friend Symbol pow(Symbol x, Symbol exponent);

    friend Symbol exp(Symbol x);
    friend Symbol expm1(Symbol x);
    friend Symbol log(Symbol x);
    friend Symbol log1p(Symbol x);
    friend Symbol sin(Symbol x);
    friend Symbol cos(Symbol x);
    friend Symbol erf(Symbol x);

    friend Symbol tanh(Symbol x);
    friend Symbol sigmoid(Symbol x);
    /// log(1 + eˣ). (PyTorch gives x for x > 20, which differs by less than 2.1e-9.)
    friend Symbol softplus(Symbol x);
    friend Symbol relu(Symbol x);
    /// x > 0 ? x : slope·x
    friend Symbol leaky_relu(Symbol x, Symbol slope);
    friend Symbol leaky_relu(Symbol x) { return leaky_relu(x, 0.01); }
    /// x > 0 ? x : alpha·(eˣ - 1)
    friend Symbol elu(Symbol x, Symbol alpha);
    friend Symbol elu(Symbol x) { return elu(x, 1.0); }
    /// x·Φ(x) with the normal distribution's Φ, by erf (Hendrycks & Gimpel 2016, eq. 1; not its tanh approximation).
    friend Symbol gelu(Symbol x);
    /// x·sigmoid(x)
    friend Symbol silu(Symbol x) { return x * sigmoid(x); }
    /// log(sigmoid(x)), accurate in both tails.
    friend Symbol log_sigmoid(Symbol x) { return -softplus(-x); }

    /// The derivative of tanh (of sigmoid) times g, where y is its result: g·(1 - y²), g·(y·(1 - y)).
    friend Symbol tanh_gradient(Symbol g, Symbol y);
    friend Symbol sigmoid_gradient(Symbol g, Symbol y);

private:
    friend class detail::Recorder;
    Symbol(std::uint64_t recording, std::uint16_t number) : recording_(recording), register_(number) {}

    std::uint64_t recording_ = 0;  // 0: a number
    union {
        double constant_;
        std::uint16_t register_;
    };
};

static_assert(sizeof(Symbol) == 16 && std::is_trivially_copyable_v<Symbol>);

}  // namespace unroll
