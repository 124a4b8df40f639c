// Sample rows of the products.
#include "samples.hpp"

namespace unroll::test {

void product_samples(Samples& samples) {
    auto& rows = samples.right;
    rows.push_back({"matmul", "plain", {{"BI"}, {"IH"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    rows.push_back({"matmul", "left transposed", {{"IB"}, {"IH"}}, [](auto& x) { return matmul(x(0), x(1), true); }});
    rows.push_back(
        {"matmul", "right transposed", {{"BI"}, {"HI"}}, [](auto& x) { return matmul(x(0), x(1), false, true); }});
    rows.push_back(
        {"matmul", "both transposed", {{"IB"}, {"HI"}}, [](auto& x) { return matmul(x(0), x(1), true, true); }});
    rows.push_back(
        {"matmul", "square, so that it may meet itself", {{"II"}, {"II"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    rows.push_back(
        {"matmul", "square, left transposed", {{"II"}, {"II"}}, [](auto& x) { return matmul(x(0), x(1), true); }});
    rows.push_back({"matmul", "batched", {{"TBI"}, {"TIK"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    rows.push_back({"matmul", "batched, both transposed", {{"TIB"}, {"TKI"}}, [](auto& x) {
                        return matmul(x(0), x(1), true, true);
                    }});
    rows.push_back({"matmul", "one matrix for all", {{"TBI"}, {"IK"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    rows.push_back(
        {"matmul", "one matrix for all, on the left", {{"BI"}, {"TIK"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    rows.push_back(
        {"matmul", "batch axes that broadcast", {{"T1BI"}, {"KIH"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    rows.push_back({"matmul", "vector by matrix", {{"I"}, {"IH"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    rows.push_back({"matmul", "matrix by vector", {{"BI"}, {"I"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    rows.push_back({"matmul", "vector by vector", {{"I"}, {"I"}}, [](auto& x) { return matmul(x(0), x(1)); }});

    rows.push_back({"linear", "with bias", {{"TBI"}, {"IH"}, {"H"}}, [](auto& x) { return linear(x(0), x(1), x(2)); }});
    rows.push_back({"linear", "without bias", {{"BI"}, {"IH"}}, [](auto& x) { return linear(x(0), x(1)); }});
    rows.push_back({"linear", "transposed weight", {{"BI"}, {"HI"}, {"H"}}, [](auto& x) {
                        return linear(x(0), x(1), x(2), true);
                    }});
    rows.push_back({"linear", "a vector", {{"I"}, {"IH"}, {"H"}}, [](auto& x) { return linear(x(0), x(1), x(2)); }});
    rows.push_back({"linear", "square, so that it may meet itself", {{"II"}, {"II"}, {"I"}}, [](auto& x) {
                        return linear(x(0), x(1), x(2));
                    }});

    rows.push_back({"add_linear", "", {{"BH"}, {"BI"}, {"IH"}}, [](auto& x) { return add_linear(x(0), x(1), x(2)); }});
    rows.push_back(
        {"add_linear", "three axes", {{"TBH"}, {"TBI"}, {"IH"}}, [](auto& x) { return add_linear(x(0), x(1), x(2)); }});
    rows.push_back({"add_linear", "square, so that it may meet itself", {{"II"}, {"II"}, {"II"}}, [](auto& x) {
                        return add_linear(x(0), x(1), x(2));
                    }});

    auto& wrong = samples.wrong;
    wrong.push_back({"matmul", "inner lengths differ", {{"BI"}, {"BI"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    wrong.push_back({"matmul", "inner lengths differ after transposing", {{"BI"}, {"IH"}}, [](auto& x) {
                         return matmul(x(0), x(1), false, true);
                     }});
    wrong.push_back({"matmul", "a scalar", {{""}, {"BI"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    wrong.push_back(
        {"matmul", "batch axes that do not broadcast", {{"TBI"}, {"KIH"}}, [](auto& x) { return matmul(x(0), x(1)); }});
    wrong.push_back({"linear", "inner lengths differ", {{"BI"}, {"HI"}}, [](auto& x) { return linear(x(0), x(1)); }});
    wrong.push_back({"linear", "the transposed weight of another layer", {{"BI"}, {"IH"}}, [](auto& x) {
                         return linear(x(0), x(1), {}, true);
                     }});
    wrong.push_back({"linear", "a bias of another length", {{"BI"}, {"IH"}, {"I"}}, [](auto& x) {
                         return linear(x(0), x(1), x(2));
                     }});
    wrong.push_back(
        {"linear", "a bias with two axes", {{"BI"}, {"IH"}, {"1H"}}, [](auto& x) { return linear(x(0), x(1), x(2)); }});
    wrong.push_back({"linear", "a scalar", {{""}, {"IH"}}, [](auto& x) { return linear(x(0), x(1)); }});
    wrong.push_back(
        {"linear", "a weight with three axes", {{"BI"}, {"TIH"}}, [](auto& x) { return linear(x(0), x(1)); }});
    wrong.push_back({"add_linear", "c has another length", {{"BI"}, {"BI"}, {"IH"}}, [](auto& x) {
                         return add_linear(x(0), x(1), x(2));
                     }});
    wrong.push_back({"add_linear", "c has fewer rows", {{"H"}, {"BI"}, {"IH"}}, [](auto& x) {
                         return add_linear(x(0), x(1), x(2));
                     }});
}

}  // namespace unroll::test
