// What the tests of the tape share: a small model and its input.
#pragma once

#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/parameter.hpp>

#include <algorithm>
#include <initializer_list>
#include <span>

namespace unroll::test {

inline Tensor<double> values(const Shape& shape, std::initializer_list<double> list) {
    Tensor<double> tensor = empty<double>(shape);
    std::copy(list.begin(), list.end(), tensor.data());
    return tensor;
}

struct Model {
    ParameterStore<double> store{7};
    Parameter<double> w, b;
    Model() {
        const Scope<double> at(store);
        const auto draw = [](std::span<double> v, const Shape&, RandomStream& random) {
            for (double& x : v) x = random.normal();
        };
        w = at.parameter("w", {3, 2}, draw);
        b = at.parameter("b", {2}, draw);
    }
    Var<double> loss(const Var<double>& x) const { return sum(tanh(linear<double>(x, w, b))); }
};

inline const Var<double> kInput(values({4, 3}, {.1, -.2, .3, .5, .4, -.6, .7, .9, -.8, .2, -.3, .6}));

}  // namespace unroll::test
