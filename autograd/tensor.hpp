// Tensor: an xtensor container over our own storage. xtensor arrays and expressions go in, and it is one itself.
#pragma once

#include <unroll/autograd/buffer.hpp>
#include <unroll/autograd/xtensor.hpp>

#include <type_traits>

namespace unroll {

template <class Real>
struct Dual;

/// Row-major array of run-time rank (up to six axes without allocation for its shape).
template <class Real>
using Tensor =
    xt::xarray_container<Buffer<Real>, xt::layout_type::row_major, xt::svector<std::size_t, Shape::kMaxRank>>;

/// Class indices, tokens, lengths.
using IntTensor = xt::xarray<std::int64_t>;

/// Anything that xtensor can evaluate: arrays, views, expressions.
template <class E>
concept ArrayLike = xt::is_xexpression<std::remove_cvref_t<E>>::value;

/// The shape of an array or expression.
template <ArrayLike E>
Shape shape_of(const E& array) {
    const auto& lengths = array.shape();
    std::array<Index, Shape::kMaxRank> copy{};
    const std::size_t rank = array.dimension();
    for (std::size_t i = 0; i < rank && i < copy.size(); ++i) copy[i] = static_cast<Index>(lengths[i]);
    return Shape(copy.data(), rank);
}

/// A new tensor with elements not yet set.
template <class Real>
Tensor<Real> empty(const Shape& shape) {
    typename Tensor<Real>::shape_type lengths(shape.rank());
    for (std::size_t i = 0; i < shape.rank(); ++i) lengths[i] = static_cast<std::size_t>(shape[i]);
    return Tensor<Real>(lengths);
}

/// A new tensor, every element `value`.
template <class Real>
Tensor<Real> full(const Shape& shape, std::type_identity_t<Real> value) {
    Tensor<Real> out = empty<Real>(shape);
    std::fill_n(out.data(), out.size(), value);
    return out;
}

template <class Real>
Tensor<Real> zeros(const Shape& shape) {
    return full<Real>(shape, Real(0));
}

/// A tensor that stands for memory owned by `owner` (or, without owner, by the caller).
template <class Real>
Tensor<Real> alias(detail::BlockRef owner, Real* data, const Shape& shape) {
    typename Tensor<Real>::shape_type lengths(shape.rank());
    for (std::size_t i = 0; i < shape.rank(); ++i) lengths[i] = static_cast<std::size_t>(shape[i]);
    typename Tensor<Real>::strides_type strides(shape.rank());
    xt::compute_strides(lengths, xt::layout_type::row_major, strides);
    return Tensor<Real>(Buffer<Real>::share(std::move(owner), data, static_cast<std::size_t>(shape.size())),
                        std::move(lengths), std::move(strides));
}

namespace detail {

/// Of its elements.
template <class Real>
Index bytes_of(const Tensor<Real>& tensor) noexcept {
    return static_cast<Index>(tensor.size() * sizeof(Real));
}

}  // namespace detail

#define UNROLL_DECLARE(R)                                                  \
    extern template Tensor<R> empty(const Shape&);                         \
    extern template Tensor<R> full(const Shape&, std::type_identity_t<R>); \
    extern template Tensor<R> zeros(const Shape&);                         \
    extern template Tensor<R> alias(detail::BlockRef, R*, const Shape&);
UNROLL_DECLARE(float)
UNROLL_DECLARE(double)
UNROLL_DECLARE(Dual<double>)
#undef UNROLL_DECLARE

}  // namespace unroll
