// The table of programs, and derivatives made at first use.
#include <unroll/autograd/pointwise/compiled.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include <unroll/autograd/error.hpp>

namespace unroll::detail {

const BackwardProgram& CompiledAdjoint::backward(Mask present) const {
    const std::size_t results = adjoint_.forward.outputs.size() - static_cast<std::size_t>(adjoint_.saved);
    const Mask all = results == kMaxOperands ? ~Mask{0} : (Mask{1} << results) - 1;
    if ((present & all) == all) return adjoint_.backward;
    const auto find = [&]() -> const Partial* {
        const Partial* p = partials_.load(std::memory_order_acquire);
        while (p != nullptr && p->present != present) p = p->next.get();
        return p;
    };
    if (const Partial* p = find()) return p->backward;
    const std::lock_guard lock(extending_);
    if (const Partial* p = find()) return p->backward;
    auto fresh = std::make_unique<Partial>(Partial{present, without_absent(adjoint_.backward, present), nullptr});
    fresh->next = std::move(owned_);
    owned_ = std::move(fresh);
    partials_.store(owned_.get(), std::memory_order_release);
    return owned_->backward;
}

CompiledPointwise::CompiledPointwise(Program program, int operands)
    : program_(std::move(program)), operands_(operands) {
    check(program_);
}

const CompiledAdjoint& CompiledPointwise::adjoint(Mask wanted) const {
    const auto find = [&]() -> const Entry* {
        const Entry* e = adjoints_.load(std::memory_order_acquire);
        while (e != nullptr && e->adjoint.wanted() != wanted) e = e->next.get();
        return e;
    };
    if (const Entry* e = find()) return e->adjoint;
    const std::lock_guard lock(extending_);
    if (const Entry* e = find()) return e->adjoint;
    auto fresh = std::make_unique<Entry>(program_, wanted, operands_, std::move(owned_));
    owned_ = std::move(fresh);
    adjoints_.store(owned_.get(), std::memory_order_release);
    return owned_->adjoint;
}

namespace {

struct Table {
    std::shared_mutex mutex;
    std::unordered_multimap<std::uint64_t, std::unique_ptr<const CompiledPointwise>> programs;
};

Table& table() {
    // Never destroyed: programs may still be run while other static objects die.
    static Table* const instance = new Table;
    return *instance;
}

/// What this thread needs to record without allocating, and the programs it met last.
struct Scratch {
    std::vector<Register> inputs, outputs, number;
    Program finished, lifted;
    std::vector<double> parameters;
    std::array<const CompiledPointwise*, 64> recent{};
};

Scratch& scratch() {
    thread_local Scratch instance;
    return instance;
}

bool is_structural(double value) {
    return std::any_of(std::begin(kStructural), std::end(kStructural), [value](double s) {
        return std::bit_cast<std::uint64_t>(s) == std::bit_cast<std::uint64_t>(value);
    });
}

/// Turns the constants of a program into inputs behind the others; `parameters` receives their values.
void lift_constants(const Program& program, Scratch& scratch) {
    scratch.parameters.clear();
    for (const Instruction& i : program.code) {
        if (i.op == Opcode::constant && !is_structural(i.value)) scratch.parameters.push_back(i.value);
    }
    Program& lifted = scratch.lifted;
    lifted.inputs = program.inputs + static_cast<int>(scratch.parameters.size());
    lifted.code.clear();
    std::vector<Register>& number = scratch.number;
    number.clear();
    for (int i = 0; i < program.inputs; ++i) number.push_back(static_cast<Register>(i));
    int next_parameter = program.inputs;
    for (Instruction i : program.code) {
        if (i.op == Opcode::constant && !is_structural(i.value)) {
            number.push_back(static_cast<Register>(next_parameter++));
            continue;
        }
        const int n = operand_count(i.op);
        if (n > 0) i.a = number[i.a];
        if (n > 1) i.b = number[i.b];
        if (n > 2) i.c = number[i.c];
        number.push_back(static_cast<Register>(lifted.registers()));
        lifted.code.push_back(i);
    }
    lifted.outputs.clear();
    for (const Register r : program.outputs) lifted.outputs.push_back(number[r]);
}

const CompiledPointwise& find_or_add(const Program& program, int operands, Scratch& scratch) {
    const std::uint64_t hash = hash_of(program) * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(operands);
    const CompiledPointwise*& recent = scratch.recent[hash % scratch.recent.size()];
    const auto is_it = [&](const CompiledPointwise& known) {
        return known.operands() == operands && known.program() == program;
    };
    if (recent != nullptr && is_it(*recent)) return *recent;

    Table& all = table();
    const auto find = [&]() -> const CompiledPointwise* {
        const auto [begin, end] = all.programs.equal_range(hash);
        const auto at = std::find_if(begin, end, [&](const auto& entry) { return is_it(*entry.second); });
        return at == end ? nullptr : at->second.get();
    };
    {
        const std::shared_lock lock(all.mutex);
        recent = find();
    }
    if (recent == nullptr) {
        const std::unique_lock lock(all.mutex);
        recent = find();
        if (recent == nullptr) {
            recent =
                all.programs.emplace(hash, std::make_unique<const CompiledPointwise>(program, operands))->second.get();
        }
    }
    return *recent;
}

}  // namespace

PointwiseCall intern(Recorder& recorder, int operands, std::span<const Symbol> results, bool lift) {
    if (results.empty() || results.size() > kMaxOperands) {
        fail_value("pointwise", "the function must have between 1 and 64 results");
    }
    if (operands > kMaxOperands) fail_value("pointwise", "the function must have at most 64 operands");
    Scratch& mine = scratch();
    mine.inputs.clear();
    for (int i = 0; i < operands; ++i) mine.inputs.push_back(static_cast<Register>(i));
    mine.outputs.clear();
    for (const Symbol result : results) mine.outputs.push_back(recorder.register_of(result));
    recorder.builder().finish(mine.inputs, mine.outputs, mine.finished);
    if (!lift) return {&find_or_add(mine.finished, operands, mine), {}};
    lift_constants(mine.finished, mine);
    return {&find_or_add(mine.lifted, operands, mine), mine.parameters};
}

std::string to_string(const PointwiseCall& call, Mask wanted, std::span<const std::string> operand_names,
                      std::span<const std::string> result_names) {
    const std::vector<double> numbers(call.parameters.begin(), call.parameters.end());
    std::vector<std::string> names(operand_names.begin(), operand_names.end());
    const std::size_t operands = static_cast<std::size_t>(call.function->operands());
    for (std::size_t i = names.size(); i < operands; ++i) names.push_back(fmt::format("x{}", i));
    names.resize(operands);
    for (const double number : numbers)
        names.push_back(number < 0 ? fmt::format("({})", number) : fmt::format("{}", number));
    return to_string(call.function->adjoint(wanted).adjoint(), names, result_names);
}

std::size_t interned_programs() {
    Table& all = table();
    const std::shared_lock lock(all.mutex);
    return all.programs.size();
}

}  // namespace unroll::detail
