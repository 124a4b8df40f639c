// Copies (or adds) an array between two layouts: the one loop behind transposing, slicing, joining, repeating, flipping.
#pragma once

#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/shape.hpp>

#include <array>

namespace unroll::detail {

/// Elements from one position to the next along each axis; 0 repeats an element, a negative one runs backwards.
using Strides = std::array<Index, Shape::kMaxRank>;

/// The strides of a contiguous array of this shape.
Strides contiguous(const Shape& shape) noexcept;

/// y[Σ i·to] = (+=) x[Σ i·from] for all i of `shape`. The elements written are distinct and none of them is read.
template <class Real>
void copy_strided(const Shape& shape, const Real* x, const Strides& from, Real* y, const Strides& to, bool add);

}  // namespace unroll::detail
