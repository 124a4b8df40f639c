// Sample rows of the normalised and random ops.
#include "samples.hpp"

namespace unroll::test {

void normalised_samples(Samples& samples) {
    auto& rows = samples.right;
    const Operand x{"TBI", -2, 2};
    rows.push_back({"softmax", "the last axis", {x}, [](auto& x) { return softmax(x(0)); }});
    rows.push_back({"softmax", "the first axis", {x}, [](auto& x) { return softmax(x(0), 0); }});
    rows.push_back({"log_softmax", "the last axis", {x}, [](auto& x) { return log_softmax(x(0)); }});
    rows.push_back({"log_softmax", "a middle axis", {x}, [](auto& x) { return log_softmax(x(0), 1); }});
    rows.push_back({"layer_norm",
                    "weight and bias",
                    {x, {"I", 0.5, 2}, {"I"}},
                    [](auto& x) { return layer_norm(x(0), x(1), x(2)); },
                    "I0",
                    "",
                    32});
    rows.push_back({"layer_norm", "neither", {x}, [](auto& x) { return layer_norm(x(0)); }, "I0", "", 32});
    rows.push_back({"layer_norm",
                    "a large eps",
                    {{"BI"}, {"I"}, {"I"}},
                    [](auto& x) { return layer_norm(x(0), x(1), x(2), 0.3); },
                    "I0",
                    "",
                    16});
    rows.push_back({"dropout", "p 0.4", {x}, [](auto& x) { return dropout(x(0), 0.4, *x.random); }});
    rows.push_back({"dropout", "p 0 draws nothing", {x}, [](auto& x) { return dropout(x(0), 0.0, *x.random) * 2; }});

    auto& wrong = samples.wrong;
    wrong.push_back({"softmax", "an axis that is not there", {x}, [](auto& x) { return softmax(x(0), 3); }});
    wrong.push_back({"softmax", "a scalar", {{""}}, [](auto& x) { return softmax(x(0)); }});
    wrong.push_back({"log_softmax", "an axis that is not there", {x}, [](auto& x) { return log_softmax(x(0), -4); }});
    wrong.push_back({"log_softmax", "a scalar", {{""}}, [](auto& x) { return log_softmax(x(0)); }});
    wrong.push_back({"layer_norm", "a weight of another length", {x, {"B"}, {"I"}}, [](auto& x) {
                         return layer_norm(x(0), x(1), x(2));
                     }});
    wrong.push_back({"layer_norm", "a bias with two axes", {x, {"I"}, {"1I"}}, [](auto& x) {
                         return layer_norm(x(0), x(1), x(2));
                     }});
    wrong.push_back(
        {"layer_norm", "a weight without a bias", {x, {"I"}}, [](auto& x) { return layer_norm(x(0), x(1)); }});
    wrong.push_back({"layer_norm", "a scalar", {{""}}, [](auto& x) { return layer_norm(x(0)); }});
    wrong.push_back({"layer_norm", "a negative eps", {x}, [](auto& x) { return layer_norm(x(0), {}, {}, -1.0); }});
    wrong.push_back({"dropout", "p above 1", {x}, [](auto& x) { return dropout(x(0), 1.5, *x.random); }});
    wrong.push_back({"dropout", "p below 0", {x}, [](auto& x) { return dropout(x(0), -0.1, *x.random); }});
    wrong.push_back({"dropout", "p is no number", {x}, [](auto& x) { return dropout(x(0), std::nan(""), *x.random); }});
}

}  // namespace unroll::test
