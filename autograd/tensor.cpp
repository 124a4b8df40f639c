// What makes a tensor, compiled once for the number types that everybody uses.
#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/tensor.hpp>

namespace unroll {

#define UNROLL_INSTANTIATE(R)                                       \
    template Tensor<R> empty(const Shape&);                         \
    template Tensor<R> full(const Shape&, std::type_identity_t<R>); \
    template Tensor<R> zeros(const Shape&);                         \
    template Tensor<R> alias(detail::BlockRef, R*, const Shape&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
