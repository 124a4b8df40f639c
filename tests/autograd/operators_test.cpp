// Operators and functions of two operands: a Var on one side, and on the other a Var, an array, an expression or a number.
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/autograd/ops.hpp>

#include "../support/random_tensor.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace unroll {
namespace {

using test::random_tensor;

// The other side, in a form that xtensor or the language knows.
const xt::xarray<double> kArray = {{0.5, 1.25, 2.0}, {1.5, 0.75, 1.0}};

// Type-erased, so that the many forms below cost little to compile.
template <class Real>
using Function = std::function<Var<Real>(const Var<Real>& x)>;

/// Whether both functions have the same values and the same gradient, to the bit.
template <class Real>
bool agree(const Function<Real>& f, const Function<Real>& g) {
    Tensor<Real> upstream = empty<Real>({2, 3});
    for (std::size_t i = 0; i < upstream.size(); ++i)
        upstream.data()[i] = static_cast<Real>(0.3 * static_cast<double>(i) - 0.7);
    std::vector<Tensor<Real>> found;
    for (const Function<Real>& each : {f, g}) {
        Tape<Real> tape;
        const Var<Real> x(random_tensor({2, 3}, 5, 0.5, 2));
        tape.watch(x);
        const Var<Real> y = each(x);
        tape.backward({&y, 1}, {&upstream, 1});
        const Tensor<Real> shared = y.value();
        found.push_back(shared);
        found.push_back(tape.gradient(x));
    }
    return found[0] == found[2] && found[1] == found[3];
}

/// The values and the Var's gradient are the same as with a Var on the other side.
template <class Real, class Op, class Other>
void expect_like_a_var(const char* what, Op op, const Other& other, const Var<Real>& as_var) {
    using V = Var<Real>;
    EXPECT_TRUE(agree<Real>([&](const V& x) { return op(x, other); }, [&](const V& x) { return op(x, as_var); }))
        << what;
    EXPECT_TRUE(agree<Real>([&](const V& x) { return op(other, x); }, [&](const V& x) { return op(as_var, x); }))
        << what;
}

template <class Real, class Op>
void expect_any_side(const char* name, Op op) {
    SCOPED_TRACE(name);
    const Var<Real> array(kArray);
    expect_like_a_var<Real>("array of double", op, kArray, array);
    expect_like_a_var<Real>("array of float", op, xt::xarray<float>(kArray), array);
    Tensor<Real> tensor = empty<Real>({2, 3});
    std::copy(kArray.begin(), kArray.end(), tensor.data());
    expect_like_a_var<Real>("Tensor", op, tensor, array);
    expect_like_a_var<Real>("expression", op, kArray + 0.25, Var<Real>(xt::xarray<double>(kArray + 0.25)));
    const xt::xarray<double> row = {0.5, 1.5, 2.5};
    expect_like_a_var<Real>("row that broadcasts", op, row, Var<Real>(row));
    expect_like_a_var<Real>("whole numbers", op, IntTensor{1, 2, 3}, Var<Real>(IntTensor{1, 2, 3}));
    expect_like_a_var<Real>("double", op, 1.75, Var<Real>(1.75));
    expect_like_a_var<Real>("float", op, 1.75f, Var<Real>(1.75));
    expect_like_a_var<Real>("int", op, 2, Var<Real>(2.0));
    expect_like_a_var<Real>("its own number", op, Real(1.75), Var<Real>(1.75));
    ParameterStore<Real> store;
    const Parameter<Real> parameter =
        Scope<Real>(store).parameter("p", {3}, [](std::span<Real> values, const Shape&, RandomStream&) {
            std::fill(values.begin(), values.end(), Real(0.5));
        });
    expect_like_a_var<Real>("Parameter", op, parameter, Var<Real>(xt::xarray<double>{0.5, 0.5, 0.5}));
}

/// All of them are made by one macro: the common forms are enough for most.
template <class Op>
void expect_common_sides(const char* name, Op op) {
    SCOPED_TRACE(name);
    expect_like_a_var<float>("array", op, kArray, Var<float>(kArray));
    expect_like_a_var<float>("expression", op, kArray + 0.25, Var<float>(xt::xarray<double>(kArray + 0.25)));
    expect_like_a_var<float>("number", op, 1.75, Var<float>(1.75));
}

TEST(Operators, TakeAnyOperandOnEitherSide) {
    using V = Var<float>;
    expect_any_side<float>("-", [](const auto& a, const auto& b) -> V { return a - b; });
    expect_any_side<double>("/", [](const auto& a, const auto& b) -> Var<double> { return a / b; });
    expect_common_sides("+", [](const auto& a, const auto& b) -> V { return a + b; });
    expect_common_sides("*", [](const auto& a, const auto& b) -> V { return a * b; });
    expect_common_sides("/", [](const auto& a, const auto& b) -> V { return a / b; });
}

TEST(Functions, TakeAnyOperandOnEitherSide) {
    using V = Var<float>;
    expect_common_sides("add", [](const auto& a, const auto& b) -> V { return add(a, b); });
    expect_common_sides("sub", [](const auto& a, const auto& b) -> V { return sub(a, b); });
    expect_common_sides("mul", [](const auto& a, const auto& b) -> V { return mul(a, b); });
    expect_common_sides("div", [](const auto& a, const auto& b) -> V { return div(a, b); });
    expect_common_sides("pow", [](const auto& a, const auto& b) -> V { return pow(a, b); });
    expect_common_sides("maximum", [](const auto& a, const auto& b) -> V { return maximum(a, b); });
    expect_common_sides("minimum", [](const auto& a, const auto& b) -> V { return minimum(a, b); });
    expect_common_sides("where", [](const auto& a, const auto& b) -> V { return where(kArray > 1.0, a, b); });
}

TEST(Operators, TemporaryVarsAndMasks) {
    using V = Var<float>;
    const xt::xarray<bool> mask = {{true, false, true}, {false, false, true}};
    EXPECT_TRUE(agree<float>([](const V& x) { return V(x * 1.5) - kArray; },
                             [](const V& x) { return V(x * 1.5) - V(kArray); }));
    EXPECT_TRUE(agree<float>([](const V& x) { return kArray / V(x * 1.5); },
                             [](const V& x) { return V(kArray) / V(x * 1.5); }));
    EXPECT_TRUE(
        agree<float>([&](const V& x) { return where(mask, x, 2); }, [&](const V& x) { return where(mask, x, V(2)); }));
}

TEST(Operators, ResultsOfOperatorsBesideArraysAreVars) {
    const Var<float> x(1.0f);
    const Tensor<float> t = full<float>({2}, 3);
    const xt::xarray<double> a = {1.0, 2.0};
    static_assert(std::is_same_v<decltype(x * t), Var<float>>);
    static_assert(std::is_same_v<decltype(t * x), Var<float>>);
    static_assert(std::is_same_v<decltype(a - x), Var<float>>);
    static_assert(std::is_same_v<decltype((a + a) / x), Var<float>>);
    static_assert(std::is_same_v<decltype(2 + x), Var<float>>);
    static_assert(std::is_same_v<decltype(-x), Var<float>>);
    EXPECT_EQ((t * x).shape(), Shape({2}));
}

template <class A, class B>
concept Addable = requires(A a, B b) {
    a + b;
};

TEST(Operators, DifferentNumberTypesDoNotMix) {
    static_assert(!Addable<Var<float>, Var<double>>);
    static_assert(Addable<Var<float>, Var<float>>);
}

TEST(Operators, LongExpressionsOfMixedOperands) {
    const xt::xarray<double> mask = {{1.0, 0.0, 1.0}, {0.0, 1.0, 1.0}};
    EXPECT_GRADIENTS(
        [&](auto x, auto w) {
            return 2.0 * (mask * x - 1) / (w * w + kArray) + (1 - mask) * pow(2.0, x) - maximum(x, 0.1) * mask;
        },
        random_tensor({2, 3}, 5, 0.5, 2), random_tensor({3}, 6));
}

}  // namespace
}  // namespace unroll
