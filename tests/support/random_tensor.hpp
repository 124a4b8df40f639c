// Arrays for tests: every element different, none special, the same in every run.
#pragma once

#include <unroll/autograd/random.hpp>
#include <unroll/autograd/tensor.hpp>

namespace unroll::test {

inline Tensor<double> random_tensor(const Shape& shape, std::uint64_t seed, double low = -1, double high = 1) {
    RandomStream random(seed, "random_tensor");
    Tensor<double> tensor = empty<double>(shape);
    for (double& x : tensor.storage()) x = random.uniform(low, high);
    return tensor;
}

}  // namespace unroll::test
