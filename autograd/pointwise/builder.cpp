// Builder: storage of the instructions, merging of equal ones, and the last step to a Program. What is rewritten
// stands in simplify.cpp.
#include <unroll/autograd/pointwise/builder.hpp>

#include <algorithm>
#include <bit>
#include <utility>

#include <unroll/autograd/error.hpp>

namespace unroll::detail {

namespace {

constexpr Register kNone = 0xffff;

std::uint64_t hash_of(const Instruction& instruction) {
    std::uint64_t h = static_cast<std::uint64_t>(instruction.op) | std::uint64_t{instruction.a} << 8 |
                      std::uint64_t{instruction.b} << 24 | std::uint64_t{instruction.c} << 40;
    h ^= std::bit_cast<std::uint64_t>(instruction.value) * 0x9e3779b97f4a7c15u;
    h *= 0xbf58476d1ce4e5b9u;
    return h ^ (h >> 29);
}

bool same(const Instruction& a, const Instruction& b) {
    return a.op == b.op && a.a == b.a && a.b == b.b && a.c == b.c &&
           std::bit_cast<std::uint64_t>(a.value) == std::bit_cast<std::uint64_t>(b.value);
}

constexpr bool is_commutative(Opcode op) {
    return op == Opcode::add || op == Opcode::mul || op == Opcode::maximum || op == Opcode::minimum ||
           op == Opcode::equal || op == Opcode::not_equal || op == Opcode::logical_and || op == Opcode::logical_or;
}

}  // namespace

void Builder::start(int inputs) {
    nodes_.clear();
    table_.assign(128, kNone);
    set_simplify(Simplify::exact);
    for (int i = 0; i < inputs; ++i) add_input();
}

Register Builder::append(const Instruction& instruction) {
    if (size() >= kMaxRegisters) {
        fail_value("pointwise", "the function has more than 1024 operands and operations; split it into several calls");
    }
    nodes_.push_back(instruction);
    return static_cast<Register>(nodes_.size() - 1);
}

Register Builder::add_input() { return append({Opcode::count, 0, 0, 0, 0.0}); }

void Builder::insert(Register r) {
    const std::size_t mask = table_.size() - 1;
    std::size_t slot = hash_of(nodes_[r]) & mask;
    while (table_[slot] != kNone) slot = (slot + 1) & mask;
    table_[slot] = r;
}

void Builder::rehash() {
    table_.assign(table_.size() * 2, kNone);
    for (std::size_t r = 0; r < nodes_.size(); ++r) {
        if (!is_input(static_cast<Register>(r))) insert(static_cast<Register>(r));
    }
}

Register Builder::constant(double value) { return emit(Opcode::constant, 0, 0, 0, value); }

Register Builder::emit(Opcode op, Register a, Register b, Register c) {
    if (op == Opcode::fma) return emit(Opcode::add, emit(Opcode::mul, a, b), c);
    if (is_commutative(op) && is_constant(a)) std::swap(a, b);  // the rewritings look for constants in second place
    if (const auto known = simplified(op, a, b, c)) return *known;
    // The other order is the same operation; what is added stays in the order in which it was written.
    if (is_commutative(op) && a != b) {
        if (const auto known = find({op, b, a, c, 0.0})) return *known;
    }
    return emit(op, a, b, c, 0.0);
}

std::optional<Register> Builder::find(const Instruction& instruction) const {
    const std::size_t mask = table_.size() - 1;
    for (std::size_t slot = hash_of(instruction) & mask; table_[slot] != kNone; slot = (slot + 1) & mask) {
        if (same(nodes_[table_[slot]], instruction)) return table_[slot];
    }
    return {};
}

Register Builder::emit(Opcode op, Register a, Register b, Register c, double value) {
    const Instruction instruction{op, a, b, c, value};
    if (const auto known = find(instruction)) return *known;
    const Register r = append(instruction);
    if (nodes_.size() * 2 > table_.size()) {
        rehash();
    } else {
        insert(r);
    }
    return r;
}

void Builder::finish(std::span<const Register> inputs, std::span<const Register> outputs, Program& program) {
    const std::size_t n = nodes_.size();
    number_.assign(n, kNone);
    for (std::size_t i = 0; i < inputs.size(); ++i) number_[inputs[i]] = static_cast<Register>(i);
    uses_.assign(n, 0);
    for (const Register r : outputs)
        uses_[r] += 2;  // never seen as used once, so that no other instruction swallows it
    for (std::size_t r = n; r-- > 0;) {
        if (uses_[r] == 0 || number_[r] != kNone) continue;
        for (const Register operand : operands(nodes_[r])) ++uses_[operand];
    }

    const auto swallowed = [&](Register r) {
        return nodes_[r].op == Opcode::mul && uses_[r] == 1 && number_[r] == kNone;
    };
    // A product with one reader disappears into it if that is a sum; the first of two products does, so that text
    // keeps its order.
    for (std::size_t r = 0; r < n; ++r) {
        const Instruction& node = nodes_[r];
        if (uses_[r] == 0 || number_[r] != kNone || node.op != Opcode::add) continue;
        if (swallowed(node.a)) {
            uses_[node.a] = 0;
        } else if (swallowed(node.b)) {
            uses_[node.b] = 0;
        }
    }

    program.inputs = static_cast<int>(inputs.size());
    program.code.clear();
    for (std::size_t r = 0; r < n; ++r) {
        if (uses_[r] == 0 || number_[r] != kNone) continue;
        Instruction instruction = nodes_[r];
        UNROLL_ASSERT(instruction.op != Opcode::count);
        if (instruction.op == Opcode::add && (uses_[instruction.b] == 0 || uses_[instruction.a] == 0)) {
            const bool first = uses_[instruction.a] == 0;
            const Instruction& product = nodes_[first ? instruction.a : instruction.b];
            instruction = {Opcode::fma, product.a, product.b, first ? instruction.b : instruction.a, 0.0};
        }
        const int n_operands = operand_count(instruction.op);
        Register* const fields[] = {&instruction.a, &instruction.b, &instruction.c};
        for (int i = 0; i < n_operands; ++i) *fields[i] = number_[*fields[i]];
        number_[r] = static_cast<Register>(program.registers());
        program.code.push_back(instruction);
    }
    program.outputs.clear();
    for (const Register r : outputs) program.outputs.push_back(number_[r]);
}

}  // namespace unroll::detail
