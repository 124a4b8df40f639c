// Program: comparison, hash, check and text.
#include <unroll/autograd/pointwise/program.hpp>

#include <algorithm>
#include <bit>
#include <string_view>

#include <fmt/format.h>

#include <unroll/autograd/error.hpp>

namespace unroll::detail {

bool operator==(const Program& a, const Program& b) {
    const auto same = [](const Instruction& x, const Instruction& y) {
        return x.op == y.op && x.a == y.a && x.b == y.b && x.c == y.c &&
               std::bit_cast<std::uint64_t>(x.value) == std::bit_cast<std::uint64_t>(y.value);
    };
    return a.inputs == b.inputs && a.outputs == b.outputs &&
           std::equal(a.code.begin(), a.code.end(), b.code.begin(), b.code.end(), same);
}

std::uint64_t hash_of(const Program& program) {
    std::uint64_t h = static_cast<std::uint64_t>(program.inputs);
    const auto mix = [&h](std::uint64_t x) {
        h = (h ^ x) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    };
    for (const Instruction& i : program.code) {
        mix(static_cast<std::uint64_t>(i.op) | std::uint64_t{i.a} << 8 | std::uint64_t{i.b} << 24 |
            std::uint64_t{i.c} << 40);
        if (i.op == Opcode::constant) mix(std::bit_cast<std::uint64_t>(i.value));
    }
    for (const Register r : program.outputs) mix(r);
    return h;
}

void check(const Program& program) {
    UNROLL_ASSERT(program.inputs >= 0 && program.registers() <= kMaxRegisters);
    for (int r = program.inputs; r < program.registers(); ++r) {
        const Instruction& instruction = program.at(static_cast<Register>(r));
        UNROLL_ASSERT(instruction.op < Opcode::count);
        for (const Register operand : operands(instruction)) UNROLL_ASSERT(operand < r);
    }
    for (const Register r : program.outputs) UNROLL_ASSERT(r < program.registers());
}

namespace {

// How tightly an expression holds together; an operand that holds less than its place asks for goes into parentheses.
enum Binding : int { kOr, kAnd, kEquality, kComparison, kSum, kProduct, kUnary, kAtom };

struct Text {
    std::string text;
    Binding binding = kAtom;
};

class Printer {
public:
    Printer(const Program& program, std::span<const std::string> input_names, std::span<const std::string> output_names)
        : program_(program), input_names_(input_names), output_names_(output_names) {}

    std::string print() {
        const int n = program_.registers();
        names_.assign(static_cast<std::size_t>(n), {});
        std::vector<int> uses(static_cast<std::size_t>(n), 0);
        for (const Instruction& instruction : program_.code) {
            for (const Register r : operands(instruction)) ++uses[r];
        }
        for (int r = 0; r < program_.inputs; ++r) names_[static_cast<std::size_t>(r)] = name(input_names_, 'x', r);
        std::vector<int> output_of(static_cast<std::size_t>(n), -1);
        for (std::size_t k = program_.outputs.size(); k-- > 0;) output_of[program_.outputs[k]] = static_cast<int>(k);

        std::string lines;
        const auto line = [&lines](const std::string& left, const std::string& right) {
            lines += fmt::format("{}{} = {}", lines.empty() ? "" : "\n", left, right);
        };
        for (int r = program_.inputs; r < n; ++r) {
            const auto at = static_cast<std::size_t>(r);
            const Register here = static_cast<Register>(r);
            const bool repeated = uses[at] > 1 && program_.at(here).op != Opcode::constant;
            if (output_of[at] < 0 && !repeated) continue;
            const std::string left = output_of[at] >= 0 ? name(output_names_, 'y', output_of[at]) : fresh_name();
            line(left, expression(here).text);
            names_[at] = left;
        }
        for (std::size_t k = 0; k < program_.outputs.size(); ++k) {
            const Register r = program_.outputs[k];
            const bool first = output_of[r] == static_cast<int>(k);
            if (program_.is_input(r) || !first) line(name(output_names_, 'y', static_cast<int>(k)), names_[r]);
        }
        return lines;
    }

private:
    static std::string name(std::span<const std::string> names, char letter, int index) {
        const auto at = static_cast<std::size_t>(index);
        return at < names.size() ? names[at] : fmt::format("{}{}", letter, index);
    }

    std::string fresh_name() {
        const auto taken = [](std::span<const std::string> names, const std::string& wanted) {
            return std::find(names.begin(), names.end(), wanted) != names.end();
        };
        std::string wanted;
        do {
            wanted = fmt::format("t{}", next_name_++);
        } while (taken(input_names_, wanted) || taken(output_names_, wanted));
        return wanted;
    }

    std::string operand(Register r, Binding least) const {
        if (!names_[r].empty()) return names_[r];
        const Text part = expression(r);
        return part.binding < least ? "(" + part.text + ")" : part.text;
    }

    // Operators group to the left: the right operand must hold together more tightly.
    Text infix(std::string_view sign, Binding binding, Register a, Register b) const {
        const auto tighter = static_cast<Binding>(binding + 1);
        return {fmt::format("{} {} {}", operand(a, binding), sign, operand(b, tighter)), binding};
    }

    // Constants are kept in second place; people write them first.
    Text product(Register a, Register b) const {
        const bool constant_last = !program_.is_input(b) && program_.at(b).op == Opcode::constant;
        return constant_last ? infix("*", kProduct, b, a) : infix("*", kProduct, a, b);
    }

    Text expression(Register r) const {
        const Instruction& i = program_.at(r);
        switch (i.op) {
        case Opcode::constant: return {fmt::format("{}", i.value), i.value < 0 ? kUnary : kAtom};
        case Opcode::add: return infix("+", kSum, i.a, i.b);
        case Opcode::sub: return infix("-", kSum, i.a, i.b);
        case Opcode::mul: return product(i.a, i.b);
        case Opcode::div: return infix("/", kProduct, i.a, i.b);
        case Opcode::neg: return {"-" + operand(i.a, kUnary), kUnary};
        case Opcode::fma: return {fmt::format("{} + {}", product(i.a, i.b).text, operand(i.c, kProduct)), kSum};
        case Opcode::less: return infix("<", kComparison, i.a, i.b);
        case Opcode::less_equal: return infix("<=", kComparison, i.a, i.b);
        case Opcode::equal: return infix("==", kEquality, i.a, i.b);
        case Opcode::not_equal: return infix("!=", kEquality, i.a, i.b);
        case Opcode::logical_and: return infix("&&", kAnd, i.a, i.b);
        case Opcode::logical_or: return infix("||", kOr, i.a, i.b);
        case Opcode::logical_not: return {"!" + operand(i.a, kUnary), kUnary};
        default: break;
        }
        std::string arguments;
        for (const Register argument : operands(i)) {
            arguments += (arguments.empty() ? "" : ", ") + operand(argument, kOr);
        }
        return {fmt::format("{}({})", i.op == Opcode::select ? "where" : opcode_name(i.op), arguments), kAtom};
    }

    const Program& program_;
    std::span<const std::string> input_names_, output_names_;
    std::vector<std::string> names_;  // of registers that need not be spelled out again
    int next_name_ = 1;
};

}  // namespace

std::string to_string(const Program& program, std::span<const std::string> input_names,
                      std::span<const std::string> output_names) {
    return Printer(program, input_names, output_names).print();
}

}  // namespace unroll::detail
