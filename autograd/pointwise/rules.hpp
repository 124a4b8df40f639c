// The meaning of every elementwise operation, in one place: formula, special values, value and derivative.
//
// One struct per opcode. `value` computes the result for any Real; `gradient_a` (b, c) is the contribution to the
// gradient of the first (second, third) operand, written in symbols, from the result's gradient g, the operands a, b,
// c and the result y. An operand without such a function gets no gradient: it acts on the result by steps only. The
// values and gradients are PyTorch's unless said otherwise.
//
// Both the single ops of the catalogue (tanh(x) is a program of one instruction) and fused programs take their
// derivatives from here; composite functions (gelu, clip, …) stand in symbol.cpp and need no rule. Vector kernels for
// float are elsewhere (kernels/) and are tested against these values.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

#include <unroll/autograd/kernels/opcode.hpp>
#include <unroll/autograd/pointwise/symbol.hpp>
#include <unroll/autograd/scalar.hpp>

namespace unroll::detail::rules {

/// What a derivative may be made of. Operands that the operation does not have are 0.
struct Terms {
    Symbol g;        ///< gradient of the result
    Symbol a, b, c;  ///< operands
    Symbol y;        ///< result
};

template <Opcode op>
struct Rule {
    static constexpr Opcode kOpcode = op;
};

/// y = a + b
struct Add : Rule<Opcode::add> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return a + b;
    }
    static Symbol gradient_a(Terms t) { return t.g; }
    static Symbol gradient_b(Terms t) { return t.g; }
};

/// y = a - b
struct Sub : Rule<Opcode::sub> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return a - b;
    }
    static Symbol gradient_a(Terms t) { return t.g; }
    static Symbol gradient_b(Terms t) { return -t.g; }
};

/// y = a·b; ga = g·b, gb = g·a
struct Mul : Rule<Opcode::mul> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return a * b;
    }
    static Symbol gradient_a(Terms t) { return t.g * t.b; }
    static Symbol gradient_b(Terms t) { return t.g * t.a; }
};

/// y = a/b; ga = g/b, gb = -g/b·y. a/0 is ±∞, or NaN for a = 0.
struct Div : Rule<Opcode::div> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return a / b;
    }
    static Symbol gradient_a(Terms t) { return t.g / t.b; }
    static Symbol gradient_b(Terms t) { return -(t.g / t.b * t.y); }
};

/// y = -a
struct Neg : Rule<Opcode::neg> {
    template <class Real>
    static Real value(const Real& a) {
        return -a;
    }
    static Symbol gradient_a(Terms t) { return -t.g; }
};

/// y = the larger of a and b, NaN if either is NaN. The larger gets g, each of two equal ones g/2; beside a NaN both
/// get g.
struct Maximum : Rule<Opcode::maximum> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        using scalar::maximum;
        return maximum(a, b);
    }
    static Symbol gradient_a(Terms t) { return where(t.a < t.b, 0, where(t.a == t.b, 0.5 * t.g, t.g)); }
    static Symbol gradient_b(Terms t) { return where(t.b < t.a, 0, where(t.a == t.b, 0.5 * t.g, t.g)); }
};

/// y = the smaller of a and b; NaN and gradients as for maximum.
struct Minimum : Rule<Opcode::minimum> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        using scalar::minimum;
        return minimum(a, b);
    }
    static Symbol gradient_a(Terms t) { return where(t.b < t.a, 0, where(t.a == t.b, 0.5 * t.g, t.g)); }
    static Symbol gradient_b(Terms t) { return where(t.a < t.b, 0, where(t.a == t.b, 0.5 * t.g, t.g)); }
};

/// y = a·b + c, rounded after the product and again after the sum: the same bits as the two operations. A builder
/// takes it apart and puts it together again when a program is finished, so that its derivative is that of a product
/// and a sum.
struct Fma : Rule<Opcode::fma> {
    template <class Real>
    static Real value(const Real& a, const Real& b, const Real& c) {
        const Real product = a * b;
        return product + c;
    }
};

/// y = a²; ga = 2·a·g
struct Square : Rule<Opcode::square> {
    template <class Real>
    static Real value(const Real& a) {
        return a * a;
    }
    static Symbol gradient_a(Terms t) { return t.g * (2 * t.a); }
};

/// y = 1/a; ga = -g·y²
struct Reciprocal : Rule<Opcode::reciprocal> {
    template <class Real>
    static Real value(const Real& a) {
        return Real(1) / a;
    }
    static Symbol gradient_a(Terms t) { return -(t.g * square(t.y)); }
};

/// y = √a, NaN for a < 0; ga = g/(2y): infinite at 0, NaN there if g = 0.
struct Sqrt : Rule<Opcode::sqrt> {
    template <class Real>
    static Real value(const Real& a) {
        using std::sqrt;
        return sqrt(a);
    }
    static Symbol gradient_a(Terms t) { return t.g / (2 * t.y); }
};

/// y = 1/√a: ∞ at 0, NaN for a < 0; ga = -g·y³/2
struct Rsqrt : Rule<Opcode::rsqrt> {
    template <class Real>
    static Real value(const Real& a) {
        using scalar::rsqrt;
        return rsqrt(a);
    }
    static Symbol gradient_a(Terms t) { return t.g * (-0.5 * t.y * square(t.y)); }
};

/// y = |a|; ga = g·sign(a): 0 at 0
struct Abs : Rule<Opcode::abs> {
    template <class Real>
    static Real value(const Real& a) {
        using std::abs;
        return abs(a);
    }
    static Symbol gradient_a(Terms t) { return t.g * sign(t.a); }
};

/// y = -1, 0 or 1; NaN stays NaN (PyTorch: 0). No gradient.
struct Sign : Rule<Opcode::sign> {
    template <class Real>
    static Real value(const Real& a) {
        using scalar::sign;
        return sign(a);
    }
};

/// y = eᵃ; ga = g·y
struct Exp : Rule<Opcode::exp> {
    template <class Real>
    static Real value(const Real& a) {
        using std::exp;
        return exp(a);
    }
    static Symbol gradient_a(Terms t) { return t.g * t.y; }
};

/// y = eᵃ - 1, without cancellation near 0; ga = g·(y + 1)
struct Expm1 : Rule<Opcode::expm1> {
    template <class Real>
    static Real value(const Real& a) {
        using std::expm1;
        return expm1(a);
    }
    static Symbol gradient_a(Terms t) { return t.g * (t.y + 1); }
};

/// y = natural logarithm: -∞ at 0, NaN for a < 0; ga = g/a
struct Log : Rule<Opcode::log> {
    template <class Real>
    static Real value(const Real& a) {
        using std::log;
        return log(a);
    }
    static Symbol gradient_a(Terms t) { return t.g / t.a; }
};

/// y = log(1 + a), without cancellation near 0: -∞ at -1, NaN below; ga = g/(1 + a)
struct Log1p : Rule<Opcode::log1p> {
    template <class Real>
    static Real value(const Real& a) {
        using std::log1p;
        return log1p(a);
    }
    static Symbol gradient_a(Terms t) { return t.g / (t.a + 1); }
};

/// y = sine of a in radians, NaN at ±∞; ga = g·cos(a)
struct Sin : Rule<Opcode::sin> {
    template <class Real>
    static Real value(const Real& a) {
        using std::sin;
        return sin(a);
    }
    static Symbol gradient_a(Terms t) { return t.g * cos(t.a); }
};

/// y = cosine of a in radians, NaN at ±∞; ga = -g·sin(a)
struct Cos : Rule<Opcode::cos> {
    template <class Real>
    static Real value(const Real& a) {
        using std::cos;
        return cos(a);
    }
    static Symbol gradient_a(Terms t) { return -(t.g * sin(t.a)); }
};

/// y = hyperbolic tangent, in [-1, 1]; ga = g·(1 - y²)
struct Tanh : Rule<Opcode::tanh> {
    template <class Real>
    static Real value(const Real& a) {
        using std::tanh;
        return tanh(a);
    }
    static Symbol gradient_a(Terms t) { return tanh_gradient(t.g, t.y); }
};

/// y = 1/(1 + e⁻ᵃ), in [0, 1], both tails accurate; ga = g·y·(1 - y)
struct Sigmoid : Rule<Opcode::sigmoid> {
    template <class Real>
    static Real value(const Real& a) {
        using scalar::sigmoid;
        return sigmoid(a);
    }
    static Symbol gradient_a(Terms t) { return sigmoid_gradient(t.g, t.y); }
};

/// y = max(a, 0); NaN stays NaN. ga = 0 where y <= 0, else g.
struct Relu : Rule<Opcode::relu> {
    template <class Real>
    static Real value(const Real& a) {
        using scalar::relu;
        return relu(a);
    }
    static Symbol gradient_a(Terms t) { return where(t.y <= 0, 0, t.g); }
};

/// y = log(1 + eᵃ), neither overflowing for large a nor vanishing before eᵃ does; ga = g·sigmoid(a)
struct Softplus : Rule<Opcode::softplus> {
    template <class Real>
    static Real value(const Real& a) {
        using scalar::softplus;
        return softplus(a);
    }
    static Symbol gradient_a(Terms t) { return t.g * sigmoid(t.a); }
};

/// y = error function, in [-1, 1]; ga = g·2/√π·exp(-a²)
struct Erf : Rule<Opcode::erf> {
    template <class Real>
    static Real value(const Real& a) {
        using std::erf;
        return erf(a);
    }
    static Symbol gradient_a(Terms t) { return t.g * (1.12837916709551257390 * exp(-square(t.a))); }
};

/// y = aᵇ as std::pow (√a and 1/√a for the numbers ±½): 1 for b = 0, NaN for a < 0 with a fraction for b. ga = g·b·aᵇ⁻¹,
/// but 0 for b = 0; gb = g·y·log(a), but 0 for a = 0 with b >= 0.
struct Pow : Rule<Opcode::pow> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        using std::pow;
        return pow(a, b);
    }
    static Symbol gradient_a(Terms t) { return where(t.b == 0, 0, t.g * (t.b * pow(t.a, t.b - 1))); }
    static Symbol gradient_b(Terms t) { return where(t.a == 0 && 0 <= t.b, 0, t.g * (t.y * log(t.a))); }
};

/// y = 1 where a < b, else 0 (also beside NaN). No gradient, as for all truth values.
struct Less : Rule<Opcode::less> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return Real(a < b ? 1 : 0);
    }
};

/// y = 1 where a <= b, else 0 (also beside NaN)
struct LessEqual : Rule<Opcode::less_equal> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return Real(a <= b ? 1 : 0);
    }
};

/// y = 1 where a equals b, else 0 (also beside NaN)
struct Equal : Rule<Opcode::equal> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return Real(a == b ? 1 : 0);
    }
};

/// y = 1 where a differs from b (also beside NaN), else 0
struct NotEqual : Rule<Opcode::not_equal> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return Real(a != b ? 1 : 0);
    }
};

/// y = 1 where neither a nor b is 0, else 0; NaN counts as true
struct LogicalAnd : Rule<Opcode::logical_and> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return Real(a != Real(0) && b != Real(0) ? 1 : 0);
    }
};

/// y = 1 where a or b is not 0, else 0; NaN counts as true
struct LogicalOr : Rule<Opcode::logical_or> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return Real(a != Real(0) || b != Real(0) ? 1 : 0);
    }
};

/// y = 1 where a is 0, else 0
struct LogicalNot : Rule<Opcode::logical_not> {
    template <class Real>
    static Real value(const Real& a) {
        return Real(a == Real(0) ? 1 : 0);
    }
};

/// y = a != 0 ? b : c; NaN in a counts as true, NaN in the branch not taken does not count. gb = g where a != 0 and 0
/// elsewhere, gc the other way round, whatever stands in the branch not taken.
struct Select : Rule<Opcode::select> {
    template <class Real>
    static Real value(const Real& a, const Real& b, const Real& c) {
        return a != Real(0) ? b : c;
    }
    static Symbol gradient_b(Terms t) { return where(t.a, t.g, 0); }
    static Symbol gradient_c(Terms t) { return where(t.a, 0, t.g); }
};

/// y = a·(1 - b²): what tanh's gradient is made of, with b = tanh(x). gb = -2·g·a·b
struct TanhGradient : Rule<Opcode::tanh_gradient> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return a * (Real(1) - b * b);
    }
    static Symbol gradient_a(Terms t) { return tanh_gradient(t.g, t.b); }
    static Symbol gradient_b(Terms t) { return t.g * t.a * (-2 * t.b); }
};

/// y = a·(b·(1 - b)): what sigmoid's gradient is made of, with b = sigmoid(x). gb = g·a·(1 - 2b)
struct SigmoidGradient : Rule<Opcode::sigmoid_gradient> {
    template <class Real>
    static Real value(const Real& a, const Real& b) {
        return a * (b * (Real(1) - b));
    }
    static Symbol gradient_a(Terms t) { return sigmoid_gradient(t.g, t.b); }
    static Symbol gradient_b(Terms t) { return t.g * t.a * (1 - 2 * t.b); }
};

/// Calls f(Add{}), f(Sub{}), … : every rule once, in the order of the opcodes.
template <class Function>
constexpr void for_each(Function&& f) {
    f(Add{}), f(Sub{}), f(Mul{}), f(Div{}), f(Neg{}), f(Maximum{}), f(Minimum{}), f(Fma{}), f(Square{}),
        f(Reciprocal{}), f(Sqrt{}), f(Rsqrt{}), f(Abs{}), f(Sign{}), f(Exp{}), f(Expm1{}), f(Log{}), f(Log1p{}),
        f(Sin{}), f(Cos{}), f(Tanh{}), f(Sigmoid{}), f(Relu{}), f(Softplus{}), f(Erf{}), f(Pow{}), f(Less{}),
        f(LessEqual{}), f(Equal{}), f(NotEqual{}), f(LogicalAnd{}), f(LogicalOr{}), f(LogicalNot{}), f(Select{}),
        f(TanhGradient{}), f(SigmoidGradient{});
}

/// The value of any operation for one element. Operands that it does not have are ignored; `constant` has no value
/// here.
template <class Real>
using Value = Real (*)(const Real& a, const Real& b, const Real& c);

template <class Real>
inline constexpr auto kValues = [] {
    std::array<Value<Real>, static_cast<std::size_t>(Opcode::count)> table{};
    for_each([&table]<class Rule>(Rule) {
        table[static_cast<std::size_t>(Rule::kOpcode)] = [](const Real& a, [[maybe_unused]] const Real& b,
                                                            [[maybe_unused]] const Real& c) {
            if constexpr (operand_count(Rule::kOpcode) == 1) {
                return Rule::value(a);
            } else if constexpr (operand_count(Rule::kOpcode) == 2) {
                return Rule::value(a, b);
            } else {
                return Rule::value(a, b, c);
            }
        };
    });
    return table;
}();

/// Whether an operand (0, 1, 2) of an operation can have a gradient.
bool has_gradient(Opcode op, int operand);
/// The contribution to that operand's gradient, recorded as instructions. Only where has_gradient.
Symbol gradient(Opcode op, int operand, const Terms& terms);

}  // namespace unroll::detail::rules
