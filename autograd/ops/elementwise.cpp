// Elementwise functions on Vars: each is a pointwise program of one expression.
#include <unroll/autograd/ops/elementwise.hpp>
#include <unroll/autograd/ops/pointwise.hpp>

namespace unroll {
namespace detail {
namespace {

constexpr PointwiseOperand kOne[] = {{0, 0, 1}};
constexpr PointwiseOperand kTwo[] = {{0, 0, 1}, {1, 0, 1}};

template <class Real, class Function>
Var<Real> run_one(std::string_view name, Function function, Var<Real> x) {
    Var<Real> out;
    run_pointwise<Real>(name, compile_pointwise<1>(function), kOne, {&x, 1}, {&out, 1});
    return out;
}

template <class Real, class Function>
Var<Real> run_two(std::string_view name, Function function, Var<Real> a, Var<Real> b) {
    std::array<Var<Real>, 2> in{std::move(a), std::move(b)};
    Var<Real> out;
    run_pointwise<Real>(name, compile_pointwise<2>(function), kTwo, in, {&out, 1});
    return out;
}

}  // namespace

template <class Real>
Var<Real> binary(Binary op, Var<Real> a, Var<Real> b) {
    switch (op) {
    case Binary::add:
        return run_two(
            "add", [](Symbol s, Symbol t) { return s + t; }, std::move(a), std::move(b));
    case Binary::sub:
        return run_two(
            "sub", [](Symbol s, Symbol t) { return s - t; }, std::move(a), std::move(b));
    case Binary::mul:
        return run_two(
            "mul", [](Symbol s, Symbol t) { return s * t; }, std::move(a), std::move(b));
    case Binary::div:
        return run_two(
            "div", [](Symbol s, Symbol t) { return s / t; }, std::move(a), std::move(b));
    case Binary::pow:
        return run_two(
            "pow", [](Symbol s, Symbol t) { return pow(s, t); }, std::move(a), std::move(b));
    case Binary::maximum:
        return run_two(
            "maximum", [](Symbol s, Symbol t) { return maximum(s, t); }, std::move(a), std::move(b));
    case Binary::minimum:
        return run_two(
            "minimum", [](Symbol s, Symbol t) { return minimum(s, t); }, std::move(a), std::move(b));
    }
    UNROLL_ASSERT(false);
}

template Var<float> binary(Binary, Var<float>, Var<float>);
template Var<double> binary(Binary, Var<double>, Var<double>);
template Var<Dual<double>> binary(Binary, Var<Dual<double>>, Var<Dual<double>>);

}  // namespace detail

template <class Real>
Var<Real> neg(Var<Real> x) {
    return detail::run_one(
        "neg", [](Symbol s) { return -s; }, std::move(x));
}

template <class Real>
Var<Real> operator-(Var<Real> x) {
    return neg(std::move(x));
}

#define UNROLL_UNARY(f)                                       \
    template <class Real>                                     \
    Var<Real> f(Var<Real> x) {                                \
        return detail::run_one(                               \
            #f, [](Symbol s) { return f(s); }, std::move(x)); \
    }                                                         \
    template Var<float> f(Var<float>);                        \
    template Var<double> f(Var<double>);                      \
    template Var<Dual<double>> f(Var<Dual<double>>);
UNROLL_UNARY(exp)
UNROLL_UNARY(expm1)
UNROLL_UNARY(log)
UNROLL_UNARY(log1p)
UNROLL_UNARY(sqrt)
UNROLL_UNARY(rsqrt)
UNROLL_UNARY(abs)
UNROLL_UNARY(sign)
UNROLL_UNARY(square)
UNROLL_UNARY(reciprocal)
UNROLL_UNARY(sin)
UNROLL_UNARY(cos)
UNROLL_UNARY(tanh)
UNROLL_UNARY(sigmoid)
UNROLL_UNARY(erf)
UNROLL_UNARY(relu)
UNROLL_UNARY(gelu)
UNROLL_UNARY(silu)
UNROLL_UNARY(softplus)
UNROLL_UNARY(log_sigmoid)
#undef UNROLL_UNARY

template <class Real>
Var<Real> leaky_relu(Var<Real> x, double slope) {
    return detail::run_one(
        "leaky_relu", [slope](Symbol s) { return leaky_relu(s, slope); }, std::move(x));
}

template <class Real>
Var<Real> elu(Var<Real> x, double alpha) {
    return detail::run_one(
        "elu", [alpha](Symbol s) { return elu(s, alpha); }, std::move(x));
}

template <class Real>
Var<Real> clip(Var<Real> x, double low, double high) {
    return detail::run_one(
        "clip", [low, high](Symbol s) { return clip(s, low, high); }, std::move(x));
}

#define UNROLL_INSTANTIATE(R)                   \
    template Var<R> neg(Var<R>);                \
    template Var<R> operator-(Var<R>);          \
    template Var<R> leaky_relu(Var<R>, double); \
    template Var<R> elu(Var<R>, double);        \
    template Var<R> clip(Var<R>, double, double);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
