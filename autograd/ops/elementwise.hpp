// Elementwise functions and operators on Vars. Operands broadcast as in NumPy; on either side of a binary one there may be a
// Var, an array or expression, or a number. Formulas, derivatives and special values: pointwise/rules.hpp.
#pragma once

#include <unroll/autograd/var.hpp>

#include <type_traits>

namespace unroll {
namespace detail {

enum class Binary { add, sub, mul, div, pow, maximum, minimum };

template <class Real>
Var<Real> binary(Binary op, Var<Real> a, Var<Real> b);

/// A number, array or expression beside the Var V: it becomes a constant.
template <class T, class V>
concept ConstantBeside = !VarLike<T> && (ArrayLike<T> || NumberOf<std::remove_cvref_t<T>, RealOf<V>>);
/// A Var beside the Var V, of its number type.
template <class T, class V>
concept VarBeside = VarLike<T> && std::same_as<RealOf<T>, RealOf<V>>;

/// The number type of two operands of which one at least is a Var.
template <class A, class B>
struct PairReal {};
template <VarLike A, ConstantBeside<A> B>
struct PairReal<A, B> {
    using type = RealOf<A>;
};
template <VarLike B, ConstantBeside<B> A>
struct PairReal<A, B> {
    using type = RealOf<B>;
};
template <VarLike A, VarBeside<A> B>
struct PairReal<A, B> {
    using type = RealOf<A>;
};

template <class A, class B>
using PairVar = Var<typename PairReal<A, B>::type>;

/// Whether B may stand on the right of A.
template <class B, class A>
concept OperandBeside = VarLike<PairVar<A, B>>;

}  // namespace detail

// xtensor has unconstrained operators for anything beside an array; these are more constrained, and so are chosen.

#define UNROLL_BINARY(function, op)                                                                                    \
    template <class A, detail::OperandBeside<A> B>                                                                     \
    detail::PairVar<A, B> function(A&& a, B&& b) {                                                                     \
        return detail::binary<typename detail::PairReal<A, B>::type>(                                                  \
            detail::Binary::op, detail::PairVar<A, B>(std::forward<A>(a)), detail::PairVar<A, B>(std::forward<B>(b))); \
    }
UNROLL_BINARY(operator+, add)
UNROLL_BINARY(operator-, sub)
UNROLL_BINARY(operator*, mul)
UNROLL_BINARY(operator/, div)
UNROLL_BINARY(add, add)
UNROLL_BINARY(sub, sub)
UNROLL_BINARY(mul, mul)
UNROLL_BINARY(div, div)
/// xʸ
UNROLL_BINARY(pow, pow)
/// Equal operands share the gradient equally.
UNROLL_BINARY(maximum, maximum)
UNROLL_BINARY(minimum, minimum)
#undef UNROLL_BINARY

template <class Real>
Var<Real> operator-(Var<Real> x);
template <class Real>
Var<Real> neg(Var<Real> x);
template <class Real>
Var<Real> exp(Var<Real> x);
template <class Real>
Var<Real> expm1(Var<Real> x);
template <class Real>
Var<Real> log(Var<Real> x);
template <class Real>
Var<Real> log1p(Var<Real> x);
template <class Real>
Var<Real> sqrt(Var<Real> x);
template <class Real>
Var<Real> rsqrt(Var<Real> x);
template <class Real>
Var<Real> abs(Var<Real> x);
template <class Real>
Var<Real> sign(Var<Real> x);
template <class Real>
Var<Real> square(Var<Real> x);
template <class Real>
Var<Real> reciprocal(Var<Real> x);
template <class Real>
Var<Real> sin(Var<Real> x);
template <class Real>
Var<Real> cos(Var<Real> x);
template <class Real>
Var<Real> tanh(Var<Real> x);
/// 1 / (1 + e⁻ˣ)
template <class Real>
Var<Real> sigmoid(Var<Real> x);
template <class Real>
Var<Real> erf(Var<Real> x);
template <class Real>
Var<Real> relu(Var<Real> x);
/// x·Φ(x), by erf.
template <class Real>
Var<Real> gelu(Var<Real> x);
/// x·sigmoid(x)
template <class Real>
Var<Real> silu(Var<Real> x);
/// log(1 + eˣ)
template <class Real>
Var<Real> softplus(Var<Real> x);
template <class Real>
Var<Real> log_sigmoid(Var<Real> x);
/// x where x > 0, slope·x elsewhere.
template <class Real>
Var<Real> leaky_relu(Var<Real> x, double slope = 0.01);
/// x where x > 0, alpha·(eˣ − 1) elsewhere.
template <class Real>
Var<Real> elu(Var<Real> x, double alpha = 1.0);
/// x kept within [low, high]; the gradient flows where it was inside.
template <class Real>
Var<Real> clip(Var<Real> x, double low, double high);

}  // namespace unroll
