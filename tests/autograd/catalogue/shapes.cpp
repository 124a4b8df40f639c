// Sample rows of the ops on shapes.
#include "samples.hpp"

namespace unroll::test {

void shape_samples(Samples& samples) {
    auto& rows = samples.right;
    const Operand x{"TBI"};
    rows.push_back({"reshape", "an open length", {{"T34"}}, [](auto& x) { return reshape(x(0), {-1, 6}); }});
    rows.push_back({"reshape", "to a shape", {{"234"}}, [](auto& x) { return reshape(x(0), Shape{4, 6, 1}); }});
    rows.push_back({"reshape", "one element to a scalar", {{"11"}}, [](auto& x) { return reshape(x(0), Shape{}); }});
    rows.push_back({"transpose", "the last two axes", {x}, [](auto& x) { return transpose(x(0)); }});
    rows.push_back({"transpose", "the outer axes", {x}, [](auto& x) { return transpose(x(0), 0, 2); }});
    rows.push_back({"permute", "a cycle", {x}, [](auto& x) { return permute(x(0), {2, 0, 1}); }});
    rows.push_back({"permute", "four axes, some from the end", {{"KTBI"}}, [](auto& x) {
                        return permute(x(0), {-1, 1, 0, -2});
                    }});
    rows.push_back({"squeeze", "a middle axis", {{"T1I"}}, [](auto& x) { return squeeze(x(0), 1); }});
    rows.push_back({"unsqueeze", "in front", {{"BI"}}, [](auto& x) { return unsqueeze(x(0), 0); }});
    rows.push_back({"unsqueeze", "behind", {{"BI"}}, [](auto& x) { return unsqueeze(x(0), -1); }});
    rows.push_back({"broadcast_to", "along new axes and axes of length 1", {{"B1"}}, [](auto& x) {
                        return broadcast_to(x(0), Shape{2, x[0].shape()[0], 4});
                    }});
    rows.push_back({"broadcast_to", "a scalar", {{""}}, [](auto& x) { return broadcast_to(x(0), Shape{2, 3}); }});
    rows.push_back({"slice", "the first axis", {{"5BI"}}, [](auto& x) { return slice(x(0), 0, 1, 4); }});
    rows.push_back(
        {"slice", "the last axis, bounds from the end", {{"TB4"}}, [](auto& x) { return slice(x(0), -1, -3, -1); }});
    rows.push_back({"slice", "nothing", {{"5BI"}}, [](auto& x) { return slice(x(0), 0, 2, 2); }, "", "", 8, true});
    rows.push_back({"select", "the first axis", {{"5BI"}}, [](auto& x) { return select(x(0), 0, 3); }});
    rows.push_back({"select", "a middle axis, from the end", {{"T3I"}}, [](auto& x) { return select(x(0), 1, -1); }});
    rows.push_back({"split", "equal parts", {{"TB6"}}, [](auto& x) { return split(x(0), 3); }});
    rows.push_back({"split", "unequal parts of the first axis", {{"6BI"}}, [](auto& x) {
                        return split(x(0), {1, 3, 2}, 0);
                    }});
    rows.push_back({"unbind", "", {{"5BI"}}, [](auto& x) { return unbind(x(0)); }});
    rows.push_back({"concat", "the first axis", {{"TI"}, {"BI"}, {"1I"}}, [](auto& x) {
                        return concat({x(0), x(1), x(2)});
                    }});
    rows.push_back({"concat", "the last axis", {{"TBI"}, {"TBI"}, {"TBH"}}, [](auto& x) {
                        return concat({x(0), x(1), x(2)}, -1);
                    }});
    rows.push_back({"stack", "in front", {{"BI"}, {"BI"}, {"BI"}}, [](auto& x) { return stack({x(0), x(1), x(2)}); }});
    rows.push_back({"stack", "behind", {{"BI"}, {"BI"}}, [](auto& x) { return stack({x(0), x(1)}, -1); }});
    rows.push_back({"flip", "every axis", {x}, [](auto& x) { return flip(x(0), {}); }});
    rows.push_back({"flip", "two axes", {x}, [](auto& x) { return flip(x(0), {0, -1}); }});

    auto& wrong = samples.wrong;
    wrong.push_back({"reshape", "another size", {x}, [](auto& x) { return reshape(x(0), {7, -1}); }});
    wrong.push_back({"reshape", "two open lengths", {x}, [](auto& x) { return reshape(x(0), {-1, -1}); }});
    wrong.push_back({"reshape", "a negative length", {x}, [](auto& x) { return reshape(x(0), {-2, 30}); }});
    wrong.push_back({"transpose", "an axis that is not there", {x}, [](auto& x) { return transpose(x(0), 0, 3); }});
    wrong.push_back({"transpose", "one axis only", {{"I"}}, [](auto& x) { return transpose(x(0)); }});
    wrong.push_back({"permute", "too few axes", {x}, [](auto& x) { return permute(x(0), {1, 0}); }});
    wrong.push_back({"permute", "an axis twice", {x}, [](auto& x) { return permute(x(0), {1, 0, 1}); }});
    wrong.push_back({"squeeze", "a longer axis", {x}, [](auto& x) { return squeeze(x(0), 1); }});
    wrong.push_back({"squeeze", "an axis that is not there", {x}, [](auto& x) { return squeeze(x(0), 5); }});
    wrong.push_back({"unsqueeze", "a place that is not there", {x}, [](auto& x) { return unsqueeze(x(0), 5); }});
    wrong.push_back({"unsqueeze", "a seventh axis", {{"111111"}}, [](auto& x) { return unsqueeze(x(0), 0); }});
    wrong.push_back({"broadcast_to", "another length", {x}, [](auto& x) {
                         return broadcast_to(x(0), Shape{5, 3, 8});
                     }});
    wrong.push_back({"broadcast_to", "fewer axes", {x}, [](auto& x) { return broadcast_to(x(0), Shape{3, 4}); }});
    wrong.push_back({"slice", "a bound behind the end", {x}, [](auto& x) { return slice(x(0), 1, 0, 4); }});
    wrong.push_back({"slice", "bounds in the wrong order", {x}, [](auto& x) { return slice(x(0), 1, 2, 1); }});
    wrong.push_back({"slice", "an axis that is not there", {x}, [](auto& x) { return slice(x(0), 3, 0, 1); }});
    wrong.push_back({"select", "an index behind the end", {x}, [](auto& x) { return select(x(0), 1, 3); }});
    wrong.push_back({"select", "an axis that is not there", {x}, [](auto& x) { return select(x(0), 3, 0); }});
    wrong.push_back({"split", "a length that is no multiple", {x}, [](auto& x) { return split(x(0), 3); }});
    wrong.push_back({"split", "no parts", {x}, [](auto& x) { return split(x(0), 0); }});
    wrong.push_back({"split", "lengths that do not add up", {x}, [](auto& x) { return split(x(0), {1, 2}); }});
    wrong.push_back({"split", "a negative length", {x}, [](auto& x) { return split(x(0), {5, -1}); }});
    wrong.push_back({"unbind", "a scalar", {{""}}, [](auto& x) { return unbind(x(0)); }});
    wrong.push_back({"concat", "other lengths beside the axis", {{"TI"}, {"TH"}}, [](auto& x) {
                         return concat({x(0), x(1)});
                     }});
    wrong.push_back({"concat", "other ranks", {{"TI"}, {"I"}}, [](auto& x) { return concat({x(0), x(1)}); }});
    wrong.push_back({"concat", "an axis that is not there", {{"TI"}, {"TI"}}, [](auto& x) {
                         return concat({x(0), x(1)}, 2);
                     }});
    wrong.push_back({"stack", "other shapes", {{"BI"}, {"BH"}}, [](auto& x) { return stack({x(0), x(1)}); }});
    wrong.push_back({"stack", "a place that is not there", {{"BI"}, {"BI"}}, [](auto& x) {
                         return stack({x(0), x(1)}, 3);
                     }});
    wrong.push_back({"flip", "an axis that is not there", {x}, [](auto& x) { return flip(x(0), {3}); }});
    wrong.push_back({"flip", "an axis twice", {x}, [](auto& x) { return flip(x(0), {1, 1}); }});
}

}  // namespace unroll::test
