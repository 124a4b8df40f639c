// Sample rows of the catalogue: for each op, calls that are right (swept by catalogue_test.cpp) and calls that are wrong
// (which must throw and change nothing). The rows stand by family in the files beside this one; to add an op, add its rows
// to its family.
#pragma once

#include <unroll/autograd/gradcheck.hpp>
#include <unroll/autograd/ops.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace unroll::test {

/// One operand of a sample: its shape as letters and digits, and the range of its elements.
struct Operand {
    /// Each letter is a size (B 3, T 5, I 4, H 6, V 7, K 2, M 8, N 9), each digit itself: "TBI" is (5, 3, 4), "1I" (1, 4). The
    /// sweep makes letters 0 and 1, too.
    std::string_view shape;
    double low = -1, high = 1;
    /// Elements keep at least this distance from 0.
    double hole = 0;
};

/// What a sample's function gets: its operands, and a random stream in its first state.
template <class Real>
struct Operands {
    Vars<Real> values;
    bool give = false;  ///< operands are handed over, so that the op may take their memory
    RandomStream* random = nullptr;

    /// Operand i, for its one use.
    Var<Real> operator()(std::size_t i) { return give ? std::move(values[i]) : values[i]; }
    /// Operand i, to be looked at.
    const Var<Real>& operator[](std::size_t i) const { return values[i]; }
};

/// A sample's function, the same in each number type.
class GenericFunction {
public:
    template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, GenericFunction>) GenericFunction(F f)
        : float_(body<float>(f)), double_(body<double>(f)), dual_(body<Dual<double>>(f)) {}

    template <class Real>
    std::vector<Var<Real>> operator()(Operands<Real>& operands) const {
        if constexpr (std::is_same_v<Real, float>) return float_(operands);
        if constexpr (std::is_same_v<Real, double>) return double_(operands);
        if constexpr (std::is_same_v<Real, Dual<double>>) return dual_(operands);
    }

private:
    template <class Real>
    using Body = std::function<std::vector<Var<Real>>(Operands<Real>&)>;
    template <class Real, class F>
    static Body<Real> body(F f) {
        return [f](Operands<Real>& operands) {
            std::vector<Var<Real>> out;
            detail::collect_outputs<Real>(f(operands), out);
            return out;
        };
    }

    Body<float> float_;
    Body<double> double_;
    Body<Dual<double>> dual_;
};

/// A right call.
struct Sample {
    std::string_view op;    ///< its entry in the catalogue
    std::string_view what;  ///< which options, in words
    std::vector<Operand> operands;
    GenericFunction function;
    /// Sizes that the op refuses with a typed error, and sizes at which its result is NaN or infinite by definition: "I0 T1".
    std::string_view refused = "", undefined = "";
    double epsilons = 8;  ///< how far float may be from double, in epsilons of the largest entry
    bool flat = false;    ///< the derivative is zero everywhere, and right so
};

/// A wrong call: shapes, options or indices that the op must refuse.
struct WrongCall {
    std::string_view op;
    std::string_view what;  ///< what is wrong
    std::vector<Operand> operands;
    GenericFunction function;
};

struct Samples {
    std::vector<Sample> right;
    std::vector<WrongCall> wrong;
};

void elementwise_samples(Samples& samples);
void product_samples(Samples& samples);
void reduction_samples(Samples& samples);
void shape_samples(Samples& samples);
void choosing_samples(Samples& samples);
void normalised_samples(Samples& samples);
void loss_samples(Samples& samples);

/// All of them, made once.
const Samples& all_samples();

}  // namespace unroll::test
