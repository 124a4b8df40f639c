// Builder: what an operation can be replaced by before it is added. Each rewriting is one line; builder.hpp says which
// are allowed when.
#include <unroll/autograd/pointwise/builder.hpp>
#include <unroll/autograd/pointwise/rules.hpp>

#include <cmath>

namespace unroll::detail {

namespace {

/// The reciprocal of ±2ᵏ, which a division may be turned into a product with; 0 for other numbers.
double exact_reciprocal(double x) {
    int exponent = 0;
    const double fraction = std::frexp(x, &exponent);
    // Within ±100 the reciprocal is a normal number for float too.
    return std::fabs(fraction) == 0.5 && std::abs(exponent) <= 100 ? 1.0 / x : 0.0;
}

bool is_truth_value(Opcode op) {
    return op == Opcode::less || op == Opcode::less_equal || op == Opcode::equal || op == Opcode::not_equal ||
           op == Opcode::logical_and || op == Opcode::logical_or || op == Opcode::logical_not;
}

/// Whether a masked gradient (Builder::is_masked_gradient) is not zero: what its condition says, or the opposite.
Register where_set(Builder& builder, const Instruction& masked) {
    return builder.is_constant(masked.c, 0) ? masked.a : builder.emit(Opcode::logical_not, masked.a);
}

/// Of conditions inside each other one is left, so that everything that sets a gradient to zero is seen from outside:
/// c ? (m ? u : 0) : (n ? v : 0) is (c ? m : n) ? (c ? u : v) : 0.
template <class IsMasked>
Register select_of_masked(Builder& builder, Register c, Register yes, Register no, IsMasked is_masked) {
    const auto mask = [&](Register r) {
        return is_masked(r) ? where_set(builder, builder.at(r)) : builder.constant(1);
    };
    const auto value = [&](Register r) {
        if (!is_masked(r)) return r;
        return builder.is_constant(builder.at(r).c, 0) ? builder.at(r).b : builder.at(r).c;
    };
    const auto opposite = [&](Register r) { return builder.emit(Opcode::logical_not, r); };
    Register set, any;
    if (builder.is_constant(no, 0)) {
        set = builder.emit(Opcode::logical_and, c, mask(yes));
        any = value(yes);
    } else if (builder.is_constant(yes, 0)) {
        set = builder.emit(Opcode::logical_and, opposite(c), mask(no));
        any = value(no);
    } else {
        if (!is_masked(yes))
            set = builder.emit(Opcode::logical_or, c, mask(no));
        else if (!is_masked(no))
            set = builder.emit(Opcode::logical_or, opposite(c), mask(yes));
        else
            set = builder.emit(Opcode::select, c, mask(yes), mask(no));
        any = builder.emit(Opcode::select, c, value(yes), value(no));
    }
    return builder.emit(Opcode::select, set, any, builder.constant(0));
}

}  // namespace

std::optional<Register> Builder::simplified(Opcode op, Register a, Register b, Register c) {
    const Register operand[] = {a, b, c};
    const int count = operand_count(op);
    double value[3] = {};
    int constants = 0;
    for (int i = 0; i < count; ++i) {
        if (!is_constant(operand[i])) continue;
        value[i] = nodes_[operand[i]].value;
        ++constants;
    }
    if (constants == count) {
        return constant(rules::kValues<double>[static_cast<std::size_t>(op)](value[0], value[1], value[2]));
    }
    if (mode_ != Simplify::exact) {
        if (const auto known = simplified_gradient(op, a, b)) return known;
    }
    if (op == Opcode::pow && is_constant(b)) return simplified_power(a, nodes_[b].value);
    if (const auto known = simplified_arithmetic(op, a, b)) return known;
    return simplified_logic(op, a, b, c);
}

std::optional<Register> Builder::simplified_arithmetic(Opcode op, Register a, Register b) {
    const auto is = [&](Register r, Opcode wanted) { return nodes_[r].op == wanted; };
    switch (op) {
    case Opcode::add:
        if (is_constant(b, 0)) return a;
        if (is(b, Opcode::neg)) return emit(Opcode::sub, a, nodes_[b].a);
        if (is(a, Opcode::neg)) return emit(Opcode::sub, b, nodes_[a].a);
        break;
    case Opcode::sub:
        if (is_constant(b, 0)) return a;
        if (is_constant(a, 0)) return emit(Opcode::neg, b);
        if (is(b, Opcode::neg)) return emit(Opcode::add, a, nodes_[b].a);
        break;
    case Opcode::mul:
        if (is_constant(b, 1)) return a;
        if (is_constant(b, -1)) return emit(Opcode::neg, a);
        if (a == b) return emit(Opcode::square, a);
        if (is(a, Opcode::neg) && is_constant(b)) return emit(Opcode::mul, nodes_[a].a, constant(-nodes_[b].value));
        if (is(a, Opcode::neg) && is(b, Opcode::neg)) return emit(Opcode::mul, nodes_[a].a, nodes_[b].a);
        break;
    case Opcode::div:
        if (is_constant(a, 1)) return emit(Opcode::reciprocal, b);
        if (is_constant(b)) {
            const double factor = exact_reciprocal(nodes_[b].value);
            if (factor != 0) return emit(Opcode::mul, a, constant(factor));
        }
        break;
    case Opcode::neg:
        if (is(a, Opcode::neg)) return nodes_[a].a;
        if (is(a, Opcode::sub)) return emit(Opcode::sub, nodes_[a].b, nodes_[a].a);
        break;
    case Opcode::square:
    case Opcode::abs:
        if (is(a, Opcode::neg) || is(a, Opcode::abs)) return emit(op, nodes_[a].a);
        break;
    case Opcode::maximum:
    case Opcode::minimum:
        if (a == b) return a;
        break;
    default: break;
    }
    return {};
}

std::optional<Register> Builder::simplified_power(Register base, double exponent) {
    if (exponent == 0) return constant(1);
    if (exponent == 1) return base;
    if (exponent == 2) return emit(Opcode::square, base);
    if (exponent == 3) return emit(Opcode::mul, base, emit(Opcode::square, base));
    if (exponent == -1) return emit(Opcode::reciprocal, base);
    if (exponent == 0.5) return emit(Opcode::sqrt, base);
    if (exponent == -0.5) return emit(Opcode::rsqrt, base);
    return {};
}

std::optional<Register> Builder::simplified_logic(Opcode op, Register a, Register b, Register c) {
    const auto is = [&](Register r, Opcode wanted) { return nodes_[r].op == wanted; };
    switch (op) {
    case Opcode::less:
        if (a == b) return constant(0);
        break;
    case Opcode::logical_and:
        if (is_constant(b, 0)) return b;
        if ((a == b || is_constant(b)) && is_truth_value(nodes_[a].op)) return a;
        break;
    case Opcode::logical_or:
        if (is_constant(b) && nodes_[b].value != 0) return constant(1);
        if ((a == b || is_constant(b)) && is_truth_value(nodes_[a].op)) return a;
        break;
    case Opcode::logical_not:
        if (is(a, Opcode::equal)) return emit(Opcode::not_equal, nodes_[a].a, nodes_[a].b);
        if (is(a, Opcode::not_equal)) return emit(Opcode::equal, nodes_[a].a, nodes_[a].b);
        if (is(a, Opcode::logical_not) && is_truth_value(nodes_[nodes_[a].a].op)) return nodes_[a].a;
        break;
    case Opcode::select:
        if (is_constant(a)) return nodes_[a].value != 0 ? b : c;
        if (b == c) return b;
        if (is(a, Opcode::logical_not)) return emit(Opcode::select, nodes_[a].a, c, b);
        if (is_masked_gradient(b) || is_masked_gradient(c))
            return select_of_masked(*this, a, b, c, [this](Register r) { return is_masked_gradient(r); });
        break;
    default: break;
    }
    return {};
}

/// A gradient that a condition sets to zero on some elements.
bool Builder::is_masked_gradient(Register r) const {
    return mode_ == Simplify::gradient && r >= gradient_begin_ && nodes_[r].op == Opcode::select &&
           (is_constant(nodes_[r].b, 0) || is_constant(nodes_[r].c, 0));
}

std::optional<Register> Builder::simplified_gradient(Opcode op, Register a, Register b) {
    const bool unary = op == Opcode::neg;
    const bool product = op == Opcode::mul;
    const bool linear_in_first = op == Opcode::div || op == Opcode::tanh_gradient || op == Opcode::sigmoid_gradient;
    if (op == Opcode::sub && a == b) return constant(0);
    if (op == Opcode::add && is_masked_gradient(a) && is_masked_gradient(b)) return sum_of_masked(a, b);
    if (!unary && !product && !linear_in_first) return {};
    if (is_constant(a, 0) || (product && is_constant(b, 0))) return constant(0);

    // f(m ? u : 0) is m ? f(u) : 0, so that an infinite factor does not turn the zero into NaN.
    const bool in_first = is_masked_gradient(a);
    if (!in_first && !(product && is_masked_gradient(b))) return {};
    const Instruction masked = nodes_[in_first ? a : b];
    const auto apply = [&](Register u) {
        return is_constant(u, 0) ? u : unary ? emit(op, u) : in_first ? emit(op, u, b) : emit(op, a, u);
    };
    const Register first = apply(masked.b);
    const Register second = apply(masked.c);
    return emit(Opcode::select, masked.a, first, second);
}

std::optional<Register> Builder::sum_of_masked(Register a, Register b) {
    const Instruction x = nodes_[a], y = nodes_[b];
    if (x.a == y.a) {
        const Register first = emit(Opcode::add, x.b, y.b);
        const Register second = emit(Opcode::add, x.c, y.c);
        return emit(Opcode::select, x.a, first, second);
    }
    // Different conditions: the sum is zero where both say so, and has to stay so under what it will be multiplied
    // with.
    const Register any = emit(Opcode::logical_or, where_set(*this, x), where_set(*this, y));
    const Register sum = emit(Opcode::add, a, b, 0, 0.0);
    return emit(Opcode::select, any, sum, constant(0));
}

}  // namespace unroll::detail
