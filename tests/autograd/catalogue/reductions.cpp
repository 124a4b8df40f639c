// Sample rows of the ops over axes.
#include "samples.hpp"

namespace unroll::test {

void reduction_samples(Samples& samples) {
    auto& rows = samples.right;
    const Operand x{"TBI", -0.6, 1.4};  // sums do not cancel
    rows.push_back({"sum", "everything", {x}, [](auto& x) { return sum(x(0)); }});
    rows.push_back({"sum", "the first axis", {x}, [](auto& x) { return sum(x(0), {0}); }});
    rows.push_back({"sum", "a middle axis, kept", {x}, [](auto& x) { return sum(x(0), {1}, true); }});
    rows.push_back({"sum", "two axes, one from the end", {x}, [](auto& x) { return sum(x(0), {-1, 0}); }});
    rows.push_back({"mean", "everything", {x}, [](auto& x) { return mean(x(0)); }, "", "T0 B0 I0"});
    rows.push_back({"mean", "the last axis", {x}, [](auto& x) { return mean(x(0), {-1}); }, "", "I0"});
    rows.push_back({"mean", "outer axes, kept", {x}, [](auto& x) { return mean(x(0), {0, 2}, true); }, "", "T0 I0"});
    rows.push_back({"max", "everything", {x}, [](auto& x) { return max(x(0)); }, "T0 B0 I0"});
    rows.push_back({"max", "the last axis", {x}, [](auto& x) { return max(x(0), {-1}); }, "I0"});
    rows.push_back({"max", "two axes, kept", {x}, [](auto& x) { return max(x(0), {0, 1}, true); }, "T0 B0"});
    rows.push_back({"min", "everything", {x}, [](auto& x) { return min(x(0)); }, "T0 B0 I0"});
    rows.push_back({"min", "the first axis, kept", {x}, [](auto& x) { return min(x(0), {0}, true); }, "T0"});
    rows.push_back({"logsumexp", "everything", {x}, [](auto& x) { return logsumexp(x(0)); }, "", "T0 B0 I0"});
    rows.push_back({"logsumexp", "the last axis", {x}, [](auto& x) { return logsumexp(x(0), {-1}); }, "", "I0"});
    rows.push_back({"logsumexp",
                    "outer axes, kept",
                    {x},
                    [](auto& x) {
                        return logsumexp(x(0), {0, 2}, true);
                    },
                    "",
                    "T0 I0"});
    rows.push_back({"var", "everything", {x}, [](auto& x) { return var(x(0)); }, "", "T0 B0 I0"});
    rows.push_back({"var", "the last axis", {x}, [](auto& x) { return var(x(0), {-1}); }, "", "I0 I1"});
    rows.push_back({"var",
                    "outer axes, no correction, kept",
                    {x},
                    [](auto& x) {
                        return var(x(0), {0, 2}, 0, true);
                    },
                    "",
                    "T0 I0"});
    rows.push_back({"argmax",
                    "beside its operand",
                    {x},
                    [](auto& x) {
                        return std::pair{argmax(x[0], 1), x(0) * 2};
                    },
                    "B0"});

    auto& wrong = samples.wrong;
    wrong.push_back({"sum", "an axis that is not there", {x}, [](auto& x) { return sum(x(0), {3}); }});
    wrong.push_back({"sum", "an axis named twice", {x}, [](auto& x) { return sum(x(0), {1, -2}); }});
    wrong.push_back({"mean", "an axis that is not there", {x}, [](auto& x) { return mean(x(0), {-4}); }});
    wrong.push_back({"max", "an axis that is not there", {x}, [](auto& x) { return max(x(0), {3}); }});
    wrong.push_back({"max", "nothing to choose from", {{"B0"}}, [](auto& x) { return max(x(0), {1}); }});
    wrong.push_back({"min", "an axis that is not there", {x}, [](auto& x) { return min(x(0), {-4}); }});
    wrong.push_back({"logsumexp", "an axis that is not there", {x}, [](auto& x) { return logsumexp(x(0), {3}); }});
    wrong.push_back({"var", "an axis that is not there", {x}, [](auto& x) { return var(x(0), {3}); }});
    wrong.push_back({"argmax", "an axis that is not there", {x}, [](auto& x) { return argmax(x[0], 3); }});
}

}  // namespace unroll::test
