// For the tests of pointwise programs: recording, running on single numbers, and random programs. No tensors.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/kernels/pointwise_generic.hpp>
#include <unroll/autograd/pointwise/adjoint.hpp>
#include <unroll/autograd/pointwise/recorder.hpp>

namespace unroll::test {

using Symbols = std::vector<Symbol>;
using Function = std::function<Symbols(const Symbols&)>;

inline detail::Program record(int inputs, const Function& function) {
    detail::Recorder recorder(inputs);
    std::vector<detail::Register> in, out;
    Symbols operands;
    for (int i = 0; i < inputs; ++i) {
        in.push_back(static_cast<detail::Register>(i));
        operands.push_back(recorder.symbol(in.back()));
    }
    for (const Symbol result : function(operands)) out.push_back(recorder.register_of(result));
    detail::Program program;
    recorder.builder().finish(in, out, program);
    detail::check(program);
    return program;
}

inline detail::Program record_unary(const std::function<Symbol(Symbol)>& function) {
    return record(1, [&](const Symbols& x) { return Symbols{function(x[0])}; });
}

inline detail::Program record_binary(const std::function<Symbol(Symbol, Symbol)>& function) {
    return record(2, [&](const Symbols& x) { return Symbols{function(x[0], x[1])}; });
}

/// A program of one instruction, as it stands, past all simplification.
inline detail::Program single(detail::Opcode op) {
    const int n = detail::operand_count(op);
    detail::Program program{n, {{op, 0, 0, 0, 0.0}}, {static_cast<detail::Register>(n)}};
    if (n > 1) program.code[0].b = 1;
    if (n > 2) program.code[0].c = 2;
    return program;
}

/// The outputs of a program for one element.
template <class Real>
std::vector<Real> evaluate(const detail::Program& program, const std::vector<Real>& inputs) {
    std::vector<detail::GenericIn<Real>> in;
    for (const Real& x : inputs) in.push_back({&x, 0, 0});
    std::vector<Real> results(program.outputs.size());
    std::vector<detail::GenericOut<Real>> out;
    for (Real& y : results) out.push_back({&y, 0, false});
    detail::run_generic<Real>(program.code.data(), static_cast<int>(program.code.size()), program.inputs,
                              program.outputs.data(), static_cast<int>(program.outputs.size()), 1, 1, in.data(),
                              out.data());
    return results;
}

/// The gradients of all inputs, by the extended forward program and the derivative; 0 where there is none.
template <class Real>
std::vector<Real> run_backward(const detail::Adjoint& adjoint, const detail::BackwardProgram& backward,
                               const std::vector<Real>& inputs, const std::vector<Real>& output_gradients) {
    const std::vector<Real> forward = evaluate(adjoint.forward, inputs);
    const std::size_t n_outputs = forward.size() - static_cast<std::size_t>(adjoint.saved);
    std::vector<Real> reads;
    for (const detail::Source& source : backward.reads) {
        switch (source.kind) {
        case detail::Source::Kind::input: reads.push_back(inputs[source.index]); break;
        case detail::Source::Kind::output: reads.push_back(forward[source.index]); break;
        case detail::Source::Kind::saved: reads.push_back(forward[n_outputs + source.index]); break;
        case detail::Source::Kind::gradient: reads.push_back(output_gradients[source.index]); break;
        }
    }
    const std::vector<Real> results = evaluate(backward.program, reads);
    std::vector<Real> gradients;
    for (const int k : backward.gradient_of_input)
        gradients.push_back(k < 0 ? Real(0) : results[static_cast<std::size_t>(k)]);
    return gradients;
}

inline std::vector<double> gradients(const detail::Program& program, const std::vector<double>& inputs,
                                     const std::vector<double>& output_gradients) {
    const detail::Adjoint adjoint = detail::differentiate(program, ~detail::Mask{0});
    return run_backward(adjoint, adjoint.backward, inputs, output_gradients);
}

inline double gradient(const detail::Program& program, double x) { return gradients(program, {x}, {1.0})[0]; }

/// NaN equals NaN, and 0 equals -0.
inline bool same_number(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// A random straight-line function, as symbols and as plain numbers at once. `smooth` keeps to operations that are
/// smooth and tame on inputs in (-1, 1), so that differences and duals can judge the derivative.
class RandomFunction {
public:
    RandomFunction(std::uint32_t seed, int inputs, int operations, bool smooth)
        : seed_(seed), inputs_(inputs), operations_(operations), smooth_(smooth) {}

    template <class Value>
    std::vector<Value> operator()(const std::vector<Value>& inputs) const {
        using namespace unroll::scalar;
        using std::abs, std::cos, std::erf, std::exp, std::expm1, std::log, std::log1p, std::sin, std::sqrt, std::tanh;
        std::mt19937 draw(seed_);
        std::vector<Value> values(inputs);
        const auto pick = [&] { return values[draw() % values.size()]; };
        for (int i = 0; i < operations_; ++i) {
            const Value a = pick(), b = pick(), c = pick();
            switch (draw() % (smooth_ ? 16 : 34)) {
            case 0: values.push_back(a + b); break;
            case 1: values.push_back(a - b); break;
            case 2: values.push_back(0.7 * a * b); break;
            case 3: values.push_back(-a); break;
            case 4: values.push_back(tanh(a)); break;
            case 5: values.push_back(sigmoid(a)); break;
            case 6: values.push_back(sin(a)); break;
            case 7: values.push_back(cos(a)); break;
            case 8: values.push_back(exp(0.1 * tanh(a))); break;
            case 9: values.push_back(a / (2.0 + square(b))); break;
            case 10: values.push_back(softplus(a)); break;
            case 11: values.push_back(sqrt(1.5 + tanh(a))); break;
            case 12: values.push_back(log1p(square(a))); break;
            case 13: values.push_back(erf(a)); break;
            case 14: values.push_back(a * b + c); break;
            case 15: values.push_back(tanh(1.0 - a)); break;
            case 16: values.push_back(a * b); break;
            case 17: values.push_back(a / b); break;
            case 18: values.push_back(abs(a)); break;
            case 19: values.push_back(sign(a)); break;
            case 20: values.push_back(maximum(a, b)); break;
            case 21: values.push_back(minimum(a, b)); break;
            case 22: values.push_back(log(a)); break;
            case 23: values.push_back(sqrt(a)); break;
            case 24: values.push_back(exp(a)); break;
            case 25: values.push_back(relu(a)); break;
            case 26: values.push_back(choose(a < b, a, c)); break;
            case 27: values.push_back(choose(a <= b, b, c)); break;
            case 28: values.push_back(choose(a == b, c, a)); break;
            case 29: values.push_back(choose(a != c, b, a)); break;
            case 30: values.push_back(choose(!(a < b) || b < c, a, b)); break;
            case 31: values.push_back(choose(a < b && b < c, c, b)); break;
            case 32: values.push_back(reciprocal(a)); break;
            case 33: values.push_back(expm1(a)); break;
            }
        }
        std::vector<Value> results;
        for (int k = 0; k < 3; ++k) results.push_back(values[values.size() - 1 - static_cast<std::size_t>(2 * k)]);
        return results;
    }

    int inputs() const { return inputs_; }
    detail::Program program() const {
        return record(inputs_, [this](const Symbols& x) { return (*this)(x); });
    }

private:
    static Symbol choose(Symbol condition, Symbol a, Symbol b) { return where(condition, a, b); }
    template <class Real>
    static Real choose(bool condition, Real a, Real b) {
        return condition ? a : b;
    }

    std::uint32_t seed_;
    int inputs_, operations_;
    bool smooth_;
};

}  // namespace unroll::test
