// Sample rows of the elementwise ops. Shapes broadcast against each other in the sweep itself (Catalogue.Broadcasting).
#include "samples.hpp"

#include <unroll/autograd/ops/pointwise.hpp>

namespace unroll::test {

void elementwise_samples(Samples& samples) {
    auto& rows = samples.right;
    const Operand a{"TBI"}, row{"I"}, away{"BI", -2, 2, 0.3}, positive{"BI", 0.3, 2}, wide{"BI", -4, 4};

    rows.push_back({"add", "a row", {a, row}, [](auto& x) { return x(0) + x(1); }});
    rows.push_back({"sub", "a row", {a, row}, [](auto& x) { return x(0) - x(1); }});
    rows.push_back({"mul", "equal shapes", {{"BI"}, {"BI"}}, [](auto& x) { return x(0) * x(1); }});
    rows.push_back({"div", "a column below", {{"BI"}, {"B1", -2, 2, 0.5}}, [](auto& x) { return x(0) / x(1); }});
    rows.push_back(
        {"pow", "positive bases", {positive, {"I", -2, 2}}, [](auto& x) { return pow(x(0), x(1)); }, "", "", 16});
    rows.push_back({"pow", "a whole exponent, any base", {away}, [](auto& x) { return pow(x(0), 3); }});
    rows.push_back({"pow", "a number as its base", {wide}, [](auto& x) { return pow(1.7, x(0)); }, "", "", 16});
    rows.push_back({"maximum", "equal shapes", {{"BI"}, {"BI"}}, [](auto& x) { return maximum(x(0), x(1)); }});
    rows.push_back({"minimum", "a number", {away}, [](auto& x) { return minimum(x(0), 0.2); }});
    rows.push_back({"minimum", "a row", {{"BI"}, {"I"}}, [](auto& x) { return minimum(x(0), x(1)); }});

    rows.push_back({"neg", "", {{"TBI"}}, [](auto& x) { return -x(0); }});
    rows.push_back({"exp", "", {wide}, [](auto& x) { return exp(x(0)); }});
    rows.push_back({"expm1", "", {wide}, [](auto& x) { return expm1(x(0)); }});
    rows.push_back({"log", "", {positive}, [](auto& x) { return log(x(0)); }});
    rows.push_back({"log1p", "", {{"BI", -0.7, 3}}, [](auto& x) { return log1p(x(0)); }});
    rows.push_back({"sqrt", "", {positive}, [](auto& x) { return sqrt(x(0)); }});
    rows.push_back({"rsqrt", "", {positive}, [](auto& x) { return rsqrt(x(0)); }});
    rows.push_back({"abs", "", {away}, [](auto& x) { return abs(x(0)); }});
    rows.push_back({"sign", "", {away}, [](auto& x) { return sign(x(0)); }, "", "", 8, true});
    rows.push_back({"square", "", {wide}, [](auto& x) { return square(x(0)); }});
    rows.push_back({"reciprocal", "", {away}, [](auto& x) { return reciprocal(x(0)); }});
    rows.push_back({"sin", "", {wide}, [](auto& x) { return sin(x(0)); }});
    rows.push_back({"cos", "", {wide}, [](auto& x) { return cos(x(0)); }});
    rows.push_back({"tanh", "", {wide}, [](auto& x) { return tanh(x(0)); }});
    rows.push_back({"sigmoid", "", {wide}, [](auto& x) { return sigmoid(x(0)); }});
    rows.push_back({"erf", "", {{"BI", -2, 2}}, [](auto& x) { return erf(x(0)); }});
    rows.push_back({"relu", "", {away}, [](auto& x) { return relu(x(0)); }});
    rows.push_back({"gelu", "", {wide}, [](auto& x) { return gelu(x(0)); }});
    rows.push_back({"silu", "", {wide}, [](auto& x) { return silu(x(0)); }});
    rows.push_back({"softplus", "", {wide}, [](auto& x) { return softplus(x(0)); }});
    rows.push_back({"log_sigmoid", "", {wide}, [](auto& x) { return log_sigmoid(x(0)); }});
    rows.push_back({"leaky_relu", "slope 0.3", {away}, [](auto& x) { return leaky_relu(x(0), 0.3); }});
    rows.push_back({"elu", "alpha 0.7", {away}, [](auto& x) { return elu(x(0), 0.7); }});
    rows.push_back({"clip", "both bounds reached", {{"BI", -2, 2}}, [](auto& x) { return clip(x(0), -0.81, 1.13); }});

    rows.push_back({"pointwise", "one result", {{"BI"}, {"I", -2, 2, 0.3}, {"B1"}}, [](auto& x) {
                        return pointwise([](auto a, auto b, auto c) { return tanh(a * b) / (2 + c * c); }, x(0), x(1),
                                         x(2));
                    }});
    rows.push_back({"pointwise", "two results and columns", {{"B8"}, {"B2"}}, [](auto& x) {
                        return pointwise(
                            [](auto i, auto f, auto g, auto o, auto c) {
                                auto next = sigmoid(f) * c + sigmoid(i) * tanh(g);
                                return std::tuple{sigmoid(o) * tanh(next), next};
                            },
                            columns<4>(x(0)), x(1));
                    }});
    rows.push_back({"pointwise", "single columns that are broadcast", {{"B2"}, {"BI"}}, [](auto& x) {
                        return pointwise([](auto a, auto b, auto c) { return tanh(a * c) + b; }, columns<2>(x(0)),
                                         x(1));
                    }});

    auto& wrong = samples.wrong;
    const Operand three{"BI"}, other{"BH"};
    wrong.push_back({"add", "lengths that do not broadcast", {three, other}, [](auto& x) { return x(0) + x(1); }});
    wrong.push_back({"sub", "lengths that do not broadcast", {three, other}, [](auto& x) { return x(0) - x(1); }});
    wrong.push_back({"mul", "lengths that do not broadcast", {three, other}, [](auto& x) { return x(0) * x(1); }});
    wrong.push_back({"div", "lengths that do not broadcast", {three, other}, [](auto& x) { return x(0) / x(1); }});
    wrong.push_back({"pow", "lengths that do not broadcast", {three, other}, [](auto& x) { return pow(x(0), x(1)); }});
    wrong.push_back(
        {"maximum", "lengths that do not broadcast", {three, other}, [](auto& x) { return maximum(x(0), x(1)); }});
    wrong.push_back(
        {"minimum", "lengths that do not broadcast", {three, other}, [](auto& x) { return minimum(x(0), x(1)); }});
    wrong.push_back({"pointwise", "lengths that do not broadcast", {three, three, other}, [](auto& x) {
                         return pointwise([](auto a, auto b, auto c) { return a + b * c; }, x(0), x(1), x(2));
                     }});
    wrong.push_back({"pointwise", "a last axis that is no multiple of the columns", {{"B7"}}, [](auto& x) {
                         return pointwise([](auto a, auto b) { return a * b; }, columns<2>(x(0)));
                     }});
}

}  // namespace unroll::test
