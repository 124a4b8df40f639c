// Hessian-vector products against derivatives that are known.
#include <unroll/autograd/hessian.hpp>
#include <unroll/autograd/ops.hpp>

#include "../support/random_tensor.hpp"

#include <gtest/gtest.h>

namespace unroll {
namespace {

using test::random_tensor;

TEST(Hessian, OfACubicIsSixXTimesTheDirection) {
    const Tensor<double> x = xt::xarray<double>{0.5, -1.25, 2.0}, v = xt::xarray<double>{1.0, 0.5, -3.0};
    const HessianVector h = hessian_vector_product(
        {v}, [](auto a) { return sum(square(a) * a); }, x);
    EXPECT_NEAR(h.value, 0.125 - 1.953125 + 8, 1e-14);
    ASSERT_EQ(h.product.size(), 1u);
    EXPECT_EQ(h.names[0], "input 0");
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_NEAR(h.gradient[0](i), 3 * x(i) * x(i), 1e-13);
        EXPECT_NEAR(h.product[0](i), 6 * x(i) * v(i), 1e-13);
    }
}

TEST(Hessian, MixedTermsOfABilinearFormGoCrosswise) {
    const Tensor<double> x = random_tensor({1, 3}, 1), w = random_tensor({3, 1}, 2);
    const Tensor<double> dx = random_tensor({1, 3}, 3), dw = random_tensor({3, 1}, 4);
    const HessianVector h = hessian_vector_product(
        {dx, dw}, [](auto a, auto b) { return sum(linear(a, b)); }, x, w);
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(h.product[0](0, i), dw(i, 0));
        EXPECT_EQ(h.product[1](i, 0), dx(0, i));
    }
}

template <class Real>
struct Quadratic {
    Parameter<Real> w;
    explicit Quadratic(Scope<Real> at) {
        w = at.parameter("w", {2}, [](std::span<Real> values, const Shape&, RandomStream&) {
            values[0] = Real(1);
            values[1] = Real(1);
        });
    }
};

TEST(Hessian, OfAModelIsTakenAtTheStoresValues) {
    ParameterStore<float> store;
    Quadratic<float> model{Scope<float>(store)};
    model.w.mutable_value()(0) = 2;
    model.w.mutable_value()(1) = -3;
    const Tensor<double> v = xt::xarray<double>{1.0, 10.0};
    const HessianVector h = hessian_vector_product(
        {v}, [](auto& m) { return sum(square(m.w) * m.w); }, twin<Quadratic>().with(store));
    EXPECT_EQ(h.names[0], "w");
    EXPECT_EQ(h.value, 8 - 27);
    EXPECT_EQ(h.product[0](0), 12);
    EXPECT_EQ(h.product[0](1), -180);
}

TEST(Hessian, WrongDirectionsAndResultsAreRefused) {
    const Tensor<double> x = xt::xarray<double>{0.5, -1.25, 2.0}, two = xt::xarray<double>{1.0, 2.0};
    const auto f = [](auto a) { return sum(a * a); };
    EXPECT_THROW(hessian_vector_product({}, f, x), ValueError);
    EXPECT_THROW(hessian_vector_product({two}, f, x), ShapeError);
    EXPECT_THROW(hessian_vector_product(
                     {x}, [](auto a) { return a * a; }, x),
                 ShapeError);
}

}  // namespace
}  // namespace unroll
