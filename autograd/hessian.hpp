// Hessian-vector products: how a gradient changes along a direction, exactly, for twice the price of a gradient. One backward
// sweep over dual numbers; the Hessian itself is never formed.
//
//     auto [value, names, gradient, product] =
//         hessian_vector_product({v}, [](auto x) { return sum(square(x) * x); }, x);  // product[0] = 6·x·v
#pragma once

#include <unroll/autograd/detail/checked_function.hpp>

namespace unroll {

/// What a backward sweep over dual numbers gives. The lists have one place for each real array, then one for each parameter.
struct HessianVector {
    double value = 0;                      ///< f(x)
    std::vector<std::string> names;        ///< "input 0", "rnn.weight_ih_l0"
    std::vector<Tensor<double>> gradient;  ///< ∇f(x)
    std::vector<Tensor<double>> product;   ///< ∇²f(x)·v
};

namespace detail {
HessianVector hessian_vector_product(CheckedFunction& function, std::span<const Tensor<double>> directions);
}

/// ∇²f(x)·v for f with one element as its result. f and its arguments are as for gradcheck(): real arrays, twin<Model>(…) over
/// a store's values by .with(store), anything else as it is.
/// @param directions v: one of equal shape for each real array, then one for each parameter that is not frozen
/// @throws ShapeError for directions of other shapes or a result of several elements, ValueError for another number of them
template <class F, class... Args>
HessianVector hessian_vector_product(const std::vector<Tensor<double>>& directions, F&& f, const Args&... args) {
    detail::BoundFunction<double, F, Args...> in_double(f, 0, args...);
    detail::BoundFunction<Dual<double>, F, Args...> in_dual(f, 0, args...);
    detail::CheckedFunction function = detail::checked_arguments(args...);
    function.in_double = &in_double;
    function.in_dual = &in_dual;
    return detail::hessian_vector_product(function, directions);
}

}  // namespace unroll
