// What the tests of layers share: filled arrays, comparisons, and a cell as a user would write it.
#pragma once

#include <unroll/layers/init.hpp>
#include <unroll/layers/recurrent.hpp>
#include <unroll/tests/golden/golden.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace unroll::test {

/// Elements in (−1, 1), each different.
template <class Real>
Tensor<Real> filled_tensor(const Shape& shape, std::uint64_t seed) {
    const std::vector<double> values = golden::fill(seed, static_cast<std::size_t>(shape.size()), 1.0);
    Tensor<Real> out = empty<Real>(shape);
    for (std::size_t i = 0; i < values.size(); ++i) out.data()[i] = Real(values[i]);
    return out;
}
template <class Real>
Var<Real> filled(const Shape& shape, std::uint64_t seed) {
    return Var<Real>(filled_tensor<Real>(shape, seed));
}

inline IntTensor integers(const std::vector<std::int64_t>& values) {
    IntTensor out = IntTensor::from_shape({values.size()});
    std::copy(values.begin(), values.end(), out.data());
    return out;
}
inline std::vector<std::int64_t> list(const IntTensor& values) { return {values.begin(), values.end()}; }

template <class Real>
std::vector<double> elements(const Real* data, Index size) {
    std::vector<double> out;
    for (Index i = 0; i < size; ++i) out.push_back(static_cast<double>(data[i]));
    return out;
}
template <class Real>
std::vector<double> elements(const Var<Real>& x) {
    return elements(x.data(), x.size());
}
template <class Real>
std::vector<double> elements(const Tensor<Real>& x) {
    return elements(x.data(), static_cast<Index>(x.size()));
}

/// Equal in number, and each within `tolerance` of the largest expected one; tolerance 0: the same numbers.
inline void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
                        const std::string& what = "") {
    ASSERT_FALSE(expected.empty()) << what;
    ASSERT_EQ(got.size(), expected.size()) << what;
    double largest = 0;
    for (const double e : expected) largest = std::max(largest, std::fabs(e));
    for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_LE(std::fabs(got[i] - expected[i]), tolerance * largest)
            << what << ", element " << i << ": " << got[i] << ", not " << expected[i];
}

template <class Real>
void expect_same(const Var<Real>& got, const Var<Real>& expected, double tolerance = 0, const std::string& what = "") {
    ASSERT_EQ(to_string(got.shape()), to_string(expected.shape())) << what;
    expect_near(elements(got), elements(expected), tolerance, what);
}

/// Σ x ⊙ fixed random numbers: a loss that gives every element a gradient of its own.
template <class Real>
Var<Real> weighed(const Var<Real>& x, std::uint64_t seed) {
    return sum(x * filled<Real>(x.shape(), seed));
}

/// All parameters' gradients by name.
template <class Real>
std::map<std::string, std::vector<double>> gradients_of(ParameterStore<Real>& store) {
    std::map<std::string, std::vector<double>> out;
    for (const auto& [name, entry] : store.names()) out[name] = elements(store.at(name).gradient());
    return out;
}

inline void expect_same(const std::map<std::string, std::vector<double>>& got,
                        const std::map<std::string, std::vector<double>>& expected, double tolerance = 0) {
    ASSERT_EQ(got.size(), expected.size());
    for (const auto& [name, values] : expected) {
        ASSERT_TRUE(got.contains(name)) << name;
        expect_near(got.at(name), values, tolerance, name);
    }
}

/// A cell as a user writes it, from elementary ops: f = sigmoid(x·A + h·U + b); h' = f ⊙ h + (1 − f) ⊙ tanh(x·C).
template <class Real>
struct UserCell {
    static constexpr int kStates = 1;
    UserCell(Scope<Real> at, Size input, Size hidden)
        : hidden(hidden),
          a(at.parameter("a", {input, hidden}, init::normal<Real>(0, 0.5))),
          u(at.parameter("u", {hidden, hidden}, init::normal<Real>(0, 0.5))),
          c(at.parameter("c", {input, hidden}, init::normal<Real>(0, 0.5))),
          b(at.parameter("b", {hidden}, init::normal<Real>(0, 0.5))) {}
    Index state_size(int) const { return hidden; }
    State<Real, 1> step(Var<Real> x, State<Real, 1> s) const {
        const Var<Real> f = sigmoid(matmul<Real>(x, a) + matmul<Real>(s[0], u) + b);
        return {f * s[0] + (1 - f) * tanh(matmul<Real>(x, c))};
    }

    Index hidden;
    Parameter<Real> a, u, c, b;
};

}  // namespace unroll::test
