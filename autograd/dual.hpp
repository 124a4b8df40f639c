// Dual<Real>: a number with a derivative, a + b·ε with ε² = 0. Running any code on it gives the exact derivative along
// one direction.
//
// It is the third number type of the project (float trains, double and Dual<double> check). Arithmetic, comparison and
// the elementwise functions are found by argument-dependent lookup, so that generic code and xtensor treat it like a
// plain number. It holds one direction only, and records nothing: gradients with respect to many variables are the
// tape's business.
//
// Derivatives at kinks are those of the ops (and PyTorch's): abs'(0) = sign'(x) = relu'(0) = 0; maximum and minimum
// give half to each of two equal arguments; floor, ceil, trunc and round have derivative 0; d pow(x, y)/dx = 0 where y
// = 0, d pow(x, y)/dy = 0 where x = 0 and y >= 0. sqrt'(0) = ∞.
#pragma once

#include <cmath>
#include <iosfwd>
#include <limits>
#include <type_traits>

#include <fmt/format.h>

#include <unroll/autograd/scalar.hpp>

namespace unroll {

template <class Real>
struct Dual {
    using value_type = Real;

    Real value;
    Real derivative;

    /// Uninitialised, as a plain number is: arrays of Dual need no constructor call per element.
    Dual() = default;

    /// A constant: derivative 0.
    template <class Number>
    requires std::is_arithmetic_v<Number>
    constexpr Dual(Number constant) : value(static_cast<Real>(constant)), derivative(0) {}

    constexpr Dual(const Real& constant) requires(!std::is_arithmetic_v<Real>) : value(constant), derivative(0) {}

    constexpr Dual(const Real& value_in, const Real& derivative_in) : value(value_in), derivative(derivative_in) {}

    /// Drops the derivative.
    template <class Number>
    requires std::is_arithmetic_v<Number>
    explicit constexpr operator Number() const { return static_cast<Number>(value); }

    constexpr Dual& operator+=(const Dual& b) { return *this = *this + b; }
    constexpr Dual& operator-=(const Dual& b) { return *this = *this - b; }
    constexpr Dual& operator*=(const Dual& b) { return *this = *this * b; }
    constexpr Dual& operator/=(const Dual& b) { return *this = *this / b; }

    friend constexpr Dual operator+(const Dual& a) { return a; }
    friend constexpr Dual operator-(const Dual& a) { return {-a.value, -a.derivative}; }

    friend constexpr Dual operator+(const Dual& a, const Dual& b) {
        return {a.value + b.value, a.derivative + b.derivative};
    }
    friend constexpr Dual operator-(const Dual& a, const Dual& b) {
        return {a.value - b.value, a.derivative - b.derivative};
    }
    friend constexpr Dual operator*(const Dual& a, const Dual& b) {
        return {a.value * b.value, a.derivative * b.value + a.value * b.derivative};
    }
    friend constexpr Dual operator/(const Dual& a, const Dual& b) {
        const Real quotient = a.value / b.value;
        return {quotient, (a.derivative - quotient * b.derivative) / b.value};
    }

    // With plain numbers: as above with derivative 0, but without forming 0·∞.
    template <class Number>
    requires std::is_arithmetic_v<Number>
    friend constexpr Dual operator+(const Dual& a, Number b) { return {a.value + static_cast<Real>(b), a.derivative}; }
    template <class Number>
    requires std::is_arithmetic_v<Number>
    friend constexpr Dual operator+(Number a, const Dual& b) { return {static_cast<Real>(a) + b.value, b.derivative}; }
    template <class Number>
    requires std::is_arithmetic_v<Number>
    friend constexpr Dual operator-(const Dual& a, Number b) { return {a.value - static_cast<Real>(b), a.derivative}; }
    template <class Number>
    requires std::is_arithmetic_v<Number>
    friend constexpr Dual operator-(Number a, const Dual& b) { return {static_cast<Real>(a) - b.value, -b.derivative}; }
    template <class Number>
    requires std::is_arithmetic_v<Number>
    friend constexpr Dual operator*(const Dual& a, Number b) {
        return {a.value * static_cast<Real>(b), a.derivative * static_cast<Real>(b)};
    }
    template <class Number>
    requires std::is_arithmetic_v<Number>
    friend constexpr Dual operator*(Number a, const Dual& b) {
        return {static_cast<Real>(a) * b.value, static_cast<Real>(a) * b.derivative};
    }
    template <class Number>
    requires std::is_arithmetic_v<Number>
    friend constexpr Dual operator/(const Dual& a, Number b) {
        return {a.value / static_cast<Real>(b), a.derivative / static_cast<Real>(b)};
    }
    template <class Number>
    requires std::is_arithmetic_v<Number>
    friend constexpr Dual operator/(Number a, const Dual& b) {
        const Real quotient = static_cast<Real>(a) / b.value;
        return {quotient, -quotient * b.derivative / b.value};
    }

    // Comparisons see the value alone, so that a program takes the same branches on Dual as on plain numbers.
    friend constexpr bool operator==(const Dual& a, const Dual& b) { return a.value == b.value; }
    friend constexpr bool operator!=(const Dual& a, const Dual& b) { return a.value != b.value; }
    friend constexpr bool operator<(const Dual& a, const Dual& b) { return a.value < b.value; }
    friend constexpr bool operator<=(const Dual& a, const Dual& b) { return a.value <= b.value; }
    friend constexpr bool operator>(const Dual& a, const Dual& b) { return a.value > b.value; }
    friend constexpr bool operator>=(const Dual& a, const Dual& b) { return a.value >= b.value; }

    friend constexpr const Real& value_of(const Dual& x) { return x.value; }
    friend constexpr const Real& derivative_of(const Dual& x) { return x.derivative; }

    friend bool isfinite(const Dual& x) {
        using std::isfinite;
        return isfinite(x.value) && isfinite(x.derivative);
    }
    friend bool isnan(const Dual& x) {
        using std::isnan;
        return isnan(x.value) || isnan(x.derivative);
    }
    /// A value or a derivative is infinite and neither is NaN, so that exactly one of isfinite, isinf and isnan holds.
    friend bool isinf(const Dual& x) { return !isfinite(x) && !isnan(x); }
    friend bool signbit(const Dual& x) {
        using std::signbit;
        return signbit(x.value);
    }

    template <class Character, class Traits>
    friend std::basic_ostream<Character, Traits>& operator<<(std::basic_ostream<Character, Traits>& out,
                                                             const Dual& x) {
        return out << x.value << " + " << x.derivative << 'e';
    }

    friend Dual exp(const Dual& x) {
        using std::exp;
        const Real y = exp(x.value);
        return {y, x.derivative * y};
    }
    friend Dual expm1(const Dual& x) {
        using std::exp;
        using std::expm1;
        return {expm1(x.value), x.derivative * exp(x.value)};
    }
    friend Dual log(const Dual& x) {
        using std::log;
        return {log(x.value), x.derivative / x.value};
    }
    friend Dual log2(const Dual& x) {
        using std::log2;
        return {log2(x.value), x.derivative / (x.value * Real(0.69314718055994530942))};
    }
    friend Dual log10(const Dual& x) {
        using std::log10;
        return {log10(x.value), x.derivative / (x.value * Real(2.30258509299404568402))};
    }
    friend Dual log1p(const Dual& x) {
        using std::log1p;
        return {log1p(x.value), x.derivative / (x.value + Real(1))};
    }
    friend Dual sqrt(const Dual& x) {
        using std::sqrt;
        const Real y = sqrt(x.value);
        return {y, x.derivative / (y + y)};
    }
    friend Dual cbrt(const Dual& x) {
        using std::cbrt;
        const Real y = cbrt(x.value);
        return {y, x.derivative / (Real(3) * y * y)};
    }
    friend Dual rsqrt(const Dual& x) {
        using scalar::rsqrt;
        const Real y = rsqrt(x.value);
        return {y, x.derivative * Real(-0.5) * y * y * y};
    }
    friend Dual reciprocal(const Dual& x) { return Real(1) / x; }
    friend Dual square(const Dual& x) { return {x.value * x.value, (x.value + x.value) * x.derivative}; }

    friend Dual sin(const Dual& x) {
        using std::cos;
        using std::sin;
        return {sin(x.value), x.derivative * cos(x.value)};
    }
    friend Dual cos(const Dual& x) {
        using std::cos;
        using std::sin;
        return {cos(x.value), -x.derivative * sin(x.value)};
    }
    friend Dual tan(const Dual& x) {
        using std::tan;
        const Real y = tan(x.value);
        return {y, x.derivative * (Real(1) + y * y)};
    }
    friend Dual atan(const Dual& x) {
        using std::atan;
        return {atan(x.value), x.derivative / (Real(1) + x.value * x.value)};
    }
    friend Dual sinh(const Dual& x) {
        using std::cosh;
        using std::sinh;
        return {sinh(x.value), x.derivative * cosh(x.value)};
    }
    friend Dual cosh(const Dual& x) {
        using std::cosh;
        using std::sinh;
        return {cosh(x.value), x.derivative * sinh(x.value)};
    }
    friend Dual tanh(const Dual& x) {
        using std::tanh;
        const Real y = tanh(x.value);
        return {y, x.derivative * (Real(1) - y * y)};
    }
    friend Dual erf(const Dual& x) {
        using std::erf;
        using std::exp;
        return {erf(x.value), x.derivative * Real(1.12837916709551257390) * exp(-(x.value * x.value))};
    }
    friend Dual erfc(const Dual& x) {
        using std::erfc;
        using std::exp;
        return {erfc(x.value), x.derivative * Real(-1.12837916709551257390) * exp(-(x.value * x.value))};
    }
    friend Dual sigmoid(const Dual& x) {
        using scalar::sigmoid;
        const Real y = sigmoid(x.value);
        return {y, x.derivative * (y * (Real(1) - y))};
    }
    friend Dual softplus(const Dual& x) {
        using scalar::sigmoid;
        using scalar::softplus;
        return {softplus(x.value), x.derivative * sigmoid(x.value)};
    }
    friend Dual relu(const Dual& x) { return x.value <= Real(0) ? Dual(0) : x; }

    friend Dual sign(const Dual& x) {
        using scalar::sign;
        return {sign(x.value), Real(0)};
    }
    friend Dual abs(const Dual& x) {
        using scalar::sign;
        using std::abs;
        return {abs(x.value), x.value == Real(0) ? Real(0) : x.derivative * sign(x.value)};
    }
    friend Dual fabs(const Dual& x) { return abs(x); }
    friend Dual floor(const Dual& x) {
        using std::floor;
        return {floor(x.value), Real(0)};
    }
    friend Dual ceil(const Dual& x) {
        using std::ceil;
        return {ceil(x.value), Real(0)};
    }
    friend Dual trunc(const Dual& x) {
        using std::trunc;
        return {trunc(x.value), Real(0)};
    }
    friend Dual round(const Dual& x) {
        using std::round;
        return {round(x.value), Real(0)};
    }

    friend Dual pow(const Dual& x, const Dual& y) {
        using std::log;
        using std::pow;
        const Real power = pow(x.value, y.value);
        Real derivative(0);
        // A constant exponent or base must not add 0·log(x) or 0·pow(0, -1): either may be 0·∞.
        if (x.derivative != Real(0) && y.value != Real(0)) {
            derivative += x.derivative * (y.value * pow(x.value, y.value - Real(1)));
        }
        if (y.derivative != Real(0) && !(x.value == Real(0) && y.value >= Real(0))) {
            derivative += y.derivative * (power * log(x.value));
        }
        return {power, derivative};
    }
    template <class Number>
    requires std::is_arithmetic_v<Number>
    friend Dual pow(const Dual& x, Number y) { return pow(x, Dual(y)); }
    template <class Number>
    requires std::is_arithmetic_v<Number>
    friend Dual pow(Number x, const Dual& y) { return pow(Dual(x), y); }

    /// NaN if either is NaN; half of each derivative where the two are equal.
    friend Dual maximum(const Dual& a, const Dual& b) {
        if (a.value == b.value) return midpoint(a, b);
        return a.value > b.value || a.value != a.value ? a : b;
    }
    friend Dual minimum(const Dual& a, const Dual& b) {
        if (a.value == b.value) return midpoint(a, b);
        return a.value < b.value || a.value != a.value ? a : b;
    }
    /// As maximum and minimum, but a NaN gives way to the other argument, as std::fmax and std::fmin do.
    friend Dual fmax(const Dual& a, const Dual& b) {
        return a.value != a.value ? b : b.value != b.value ? a : maximum(a, b);
    }
    friend Dual fmin(const Dual& a, const Dual& b) {
        return a.value != a.value ? b : b.value != b.value ? a : minimum(a, b);
    }

    /// a·b + c, rounded as a product and then a sum.
    friend Dual fma(const Dual& a, const Dual& b, const Dual& c) { return a * b + c; }

private:
    static constexpr Dual midpoint(const Dual& a, const Dual& b) {
        return {a.value, Real(0.5) * a.derivative + Real(0.5) * b.derivative};
    }
};

static_assert(std::is_trivially_default_constructible_v<Dual<double>> && std::is_trivially_copyable_v<Dual<double>>);

template <class Real>
inline constexpr bool is_dual_v = false;
template <class Real>
inline constexpr bool is_dual_v<Dual<Real>> = true;

}  // namespace unroll

/// Limits of the value; as numbers their derivative is 0.
template <class Real>
class std::numeric_limits<unroll::Dual<Real>> : public std::numeric_limits<Real> {
    using Base = std::numeric_limits<Real>;

public:
    static constexpr unroll::Dual<Real> min() noexcept { return Base::min(); }
    static constexpr unroll::Dual<Real> max() noexcept { return Base::max(); }
    static constexpr unroll::Dual<Real> lowest() noexcept { return Base::lowest(); }
    static constexpr unroll::Dual<Real> epsilon() noexcept { return Base::epsilon(); }
    static constexpr unroll::Dual<Real> round_error() noexcept { return Base::round_error(); }
    static constexpr unroll::Dual<Real> infinity() noexcept { return Base::infinity(); }
    static constexpr unroll::Dual<Real> quiet_NaN() noexcept { return Base::quiet_NaN(); }
    static constexpr unroll::Dual<Real> signaling_NaN() noexcept { return Base::signaling_NaN(); }
    static constexpr unroll::Dual<Real> denorm_min() noexcept { return Base::denorm_min(); }
};

// xtensor's maximum, where, … accept what xtl calls a scalar. Declared instead of included: this header stays free of
// xtl.
namespace xtl {
template <class T>
struct is_scalar;
template <class Real>
struct is_scalar<unroll::Dual<Real>> : std::true_type {};
}  // namespace xtl

/// `{:.3f}` formats both parts: "1.500 + 2.000e", with e for ε.
template <class Real, class Character>
struct fmt::formatter<unroll::Dual<Real>, Character> : fmt::formatter<Real, Character> {
    template <class Context>
    auto format(const unroll::Dual<Real>& x, Context& context) const -> decltype(context.out()) {
        auto out = fmt::formatter<Real, Character>::format(x.value, context);
        for (const char c : {' ', '+', ' '}) *out++ = static_cast<Character>(c);
        context.advance_to(out);
        out = fmt::formatter<Real, Character>::format(x.derivative, context);
        *out++ = static_cast<Character>('e');
        return out;
    }
};
