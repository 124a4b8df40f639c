// Positions, tokens and classes on their way into an op: checked against their range and copied into pooled memory.
#pragma once

#include <unroll/autograd/tensor.hpp>

#include <string_view>

namespace unroll::detail {

using Indices = Tensor<std::int64_t>;

/// A copy of `index`, in which `ignored` (if given) has become −1.
/// @param what what one of them is called in the message: "token"
/// @throws IndexError naming the first that is not in [0, length), with its position
Indices checked_indices(std::string_view op, std::string_view what, const IntTensor& index, Index length,
                        const Index* ignored = nullptr);

}  // namespace unroll::detail
