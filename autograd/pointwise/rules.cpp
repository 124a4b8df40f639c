// Finds the derivative of an operation that is known at run time only.
#include <unroll/autograd/pointwise/rules.hpp>

#include <unroll/autograd/error.hpp>

namespace unroll::detail::rules {

namespace {

using Gradient = Symbol (*)(Terms);

struct Gradients {
    Gradient of_operand[static_cast<int>(Opcode::count)][3] = {};

    constexpr Gradients() {
        for_each([this]<class Rule>(Rule) {
            Gradient* const row = of_operand[static_cast<int>(Rule::kOpcode)];
            if constexpr (requires(Terms t) { Rule::gradient_a(t); }) row[0] = &Rule::gradient_a;
            if constexpr (requires(Terms t) { Rule::gradient_b(t); }) row[1] = &Rule::gradient_b;
            if constexpr (requires(Terms t) { Rule::gradient_c(t); }) row[2] = &Rule::gradient_c;
        });
    }
};

constexpr Gradients kGradients;

}  // namespace

bool has_gradient(Opcode op, int operand) { return kGradients.of_operand[static_cast<int>(op)][operand] != nullptr; }

Symbol gradient(Opcode op, int operand, const Terms& terms) {
    const Gradient rule = kGradients.of_operand[static_cast<int>(op)][operand];
    UNROLL_ASSERT(rule != nullptr);
    return rule(terms);
}

}  // namespace unroll::detail::rules
