// What the tests of ops share: filled operands, comparisons of values, gradients against differences and dual numbers,
// and errors that must leave everything as it was.
#pragma once

#include <unroll/autograd/ops.hpp>
#include <unroll/tests/golden/golden.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace unroll::test {

/// An array's shape and elements in double, to be had in any number type.
struct Array {
    Shape shape;
    std::vector<double> values;

    template <class Real>
    Var<Real> var() const {
        Tensor<Real> out = empty<Real>(shape);
        for (std::size_t i = 0; i < values.size(); ++i) out.data()[i] = Real(values[i]);
        return Var<Real>(std::move(out));
    }
};

/// Random elements in (−scale, scale).
inline Array filled(std::uint64_t seed, const Shape& shape, double scale = 1.0) {
    return {shape, golden::fill(seed, static_cast<std::size_t>(shape.size()), scale)};
}

/// 0, 1, 2, …
inline Array counted(const Shape& shape) {
    Array out{shape, std::vector<double>(static_cast<std::size_t>(shape.size()))};
    for (std::size_t i = 0; i < out.values.size(); ++i) out.values[i] = static_cast<double>(i);
    return out;
}

inline IntTensor integers(const Shape& shape, const std::vector<std::int64_t>& values) {
    IntTensor out = IntTensor::from_shape(std::vector<std::size_t>(shape.begin(), shape.end()));
    std::copy(values.begin(), values.end(), out.data());
    return out;
}

template <class Real>
std::vector<double> elements(const Var<Real>& x) {
    std::vector<double> out;
    for (Index i = 0; i < x.size(); ++i) out.push_back(static_cast<double>(x.data()[i]));
    return out;
}

/// Shape and elements, the latter within `tolerance` of the largest finite one; NaN and infinities must be the same.
template <class Real>
void expect_values(const Var<Real>& x, const Shape& shape, const std::vector<double>& expected,
                   double tolerance = 1e-12) {
    ASSERT_EQ(to_string(x.shape()), to_string(shape));
    const std::vector<double> got = elements(x);
    ASSERT_EQ(got.size(), expected.size());
    double largest = 0;
    for (const double e : expected)
        if (std::isfinite(e)) largest = std::max(largest, std::fabs(e));
    for (std::size_t i = 0; i < got.size(); ++i) {
        if (std::isnan(expected[i]))
            EXPECT_TRUE(std::isnan(got[i])) << "element " << i << " is " << got[i];
        else if (std::isinf(expected[i]))
            EXPECT_EQ(got[i], expected[i]) << "element " << i;
        else
            EXPECT_LE(std::fabs(got[i] - expected[i]), tolerance * largest)
                << "element " << i << ": " << got[i] << ", not " << expected[i];
    }
}

/// Σ out ⊙ upstream, and its gradients by all operands.
template <class Function>
std::vector<std::vector<double>> gradients_of(Function f, const std::vector<Array>& operands,
                                              const std::vector<double>& upstream) {
    Tape<double> tape;
    Vars<double> in;
    for (const Array& a : operands) {
        in.push_back(a.var<double>());
        tape.watch(in.back());
    }
    const Var<double> out = f(in);
    Tensor<double> g = empty<double>(out.shape());
    std::copy_n(upstream.begin(), g.size(), g.data());
    tape.backward(std::span<const Var<double>>(&out, 1), std::span<const Tensor<double>>(&g, 1));
    std::vector<std::vector<double>> gradients;
    for (const Var<double>& x : in) {
        const Tensor<double> gx = tape.gradient(x);
        gradients.emplace_back(gx.data(), gx.data() + gx.size());
    }
    return gradients;
}

/// The gradients of f (which takes Vars<Real> for any Real) against fourth-order differences and dual numbers.
template <class Function>
void expect_gradients(Function f, const std::vector<Array>& operands, double tolerance = 1e-8) {
    const auto value = [&](const std::vector<Array>& at, auto zero, std::size_t which, std::size_t element) {
        using Real = decltype(zero);
        Vars<Real> in;
        for (const Array& a : at) in.push_back(a.var<Real>());
        if constexpr (is_dual_v<Real>) const_cast<Real*>(in[which].data())[element].derivative = 1;
        const Var<Real> out = f(in);
        const std::vector<double> upstream = golden::fill(900, static_cast<std::size_t>(out.size()), 1.0);
        Real total(0);
        for (Index i = 0; i < out.size(); ++i) total += out.data()[i] * upstream[static_cast<std::size_t>(i)];
        return total;
    };
    const std::vector<double> upstream = golden::fill(900, 100000, 1.0);
    const auto gradients = gradients_of(f, operands, upstream);
    for (std::size_t k = 0; k < operands.size(); ++k) {
        double largest = 0;
        for (const double g : gradients[k]) largest = std::max(largest, std::fabs(g));
        ASSERT_EQ(gradients[k].size(), operands[k].values.size());
        for (std::size_t i = 0; i < gradients[k].size(); ++i) {
            const Dual<double> dual = value(operands, Dual<double>(0.0), k, i);
            EXPECT_LE(std::fabs(gradients[k][i] - dual.derivative), 1e-12 * std::max(largest, 1e-300))
                << "operand " << k << ", element " << i << ": " << gradients[k][i] << ", dual " << dual.derivative;
            const double h = 1e-3;
            const auto at = [&](double step) {
                std::vector<Array> moved = operands;
                moved[k].values[i] += step * h;
                return value(moved, 0.0, k, i);
            };
            const double difference = (at(-2) - 8 * at(-1) + 8 * at(1) - at(2)) / (12 * h);
            EXPECT_LE(std::fabs(gradients[k][i] - difference), tolerance * std::max(largest, 1.0))
                << "operand " << k << ", element " << i << ": " << gradients[k][i] << ", differences " << difference;
        }
    }
}

inline Array golden_array(const nlohmann::json& entry) {
    const auto lengths = entry.at("shape").get<std::vector<Index>>();
    return {Shape(lengths.data(), lengths.size()), golden::entry(entry)};
}

/// Runs op(Vars<Real>, case) on the inputs that `keys` name, for every golden case of this name (that `wanted` accepts);
/// values and gradients must be PyTorch's. Returns the number of cases.
template <class Op, class Wanted>
int expect_golden(std::string_view name, const std::vector<std::string>& keys, Op op, Wanted wanted,
                  double tolerance = 1e-13) {
    static const nlohmann::json document = golden::load("ops.json");
    int cases = 0;
    for (const auto& c : document.at("cases")) {
        if (c.at("name").get<std::string>() != name || !wanted(c)) continue;
        SCOPED_TRACE(std::string(name) + " " + c.at("options").dump() + " " + c.at("inputs").dump());
        std::vector<Array> in;
        std::vector<std::string> used;
        for (const std::string& key : keys)
            if (c.at("inputs").contains(key)) {
                in.push_back(golden_array(c.at("inputs").at(key)));
                used.push_back(key);
            }
        Vars<double> vars;
        Vars<float> floats;
        for (const Array& a : in) {
            vars.push_back(a.var<double>());
            floats.push_back(a.var<float>());
        }
        const auto lengths = c.at("shape").template get<std::vector<Index>>();
        const Shape shape(lengths.data(), lengths.size());
        const std::vector<double> out = golden::numbers(c.at("out"));
        expect_values(op(vars, c), shape, out, tolerance);
        expect_values(op(floats, c), shape, out, 1e-5);
        const std::vector<double> upstream =
            shape.rank() == 0 ? std::vector<double>{1.0} : golden::fill(900, out.size(), 1.0);
        const auto gradients = gradients_of([&](const auto& v) { return op(v, c); }, in, upstream);
        for (std::size_t k = 0; k < in.size(); ++k)
            expect_values(Array{in[k].shape, gradients[k]}.var<double>(), in[k].shape,
                          golden::numbers(c.at("gradients").at(used[k])), tolerance);
        ++cases;
    }
    return cases;
}
template <class Op>
int expect_golden(std::string_view name, const std::vector<std::string>& keys, Op op) {
    return expect_golden(name, keys, op, [](const nlohmann::json&) { return true; });
}

/// The message of the error that `action(x, random)` throws; the tape, the random stream and x's gradient stay as they were.
template <class Error, class Action>
std::string message_of(const Array& x, Action action) {
    Tape<double> tape;
    const Var<double> v = x.var<double>();
    tape.watch(v);
    const Var<double> before = exp(v);
    RandomStream random(1, 2, 3);
    const Index nodes = tape.node_count();
    std::string message;
    if constexpr (requires { action(v, random); })
        message = error_message<Error>([&] { action(v, random); });
    else
        message = error_message<Error>([&] { action(v); });
    EXPECT_EQ(tape.node_count(), nodes);
    EXPECT_EQ(random.counter(), 3u);
    Tensor<double> ones = full<double>(before.shape(), 1.0);
    tape.backward(std::span<const Var<double>>(&before, 1), std::span<const Tensor<double>>(&ones, 1));
    const Tensor<double> gradient = tape.gradient(v);
    for (std::size_t i = 0; i < x.values.size(); ++i) EXPECT_DOUBLE_EQ(gradient.data()[i], std::exp(x.values[i]));
    return message;
}

}  // namespace unroll::test
