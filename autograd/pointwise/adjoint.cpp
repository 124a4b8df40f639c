// Reverse accumulation on programs, and the choice of what the forward pass saves for it.
#include <unroll/autograd/pointwise/adjoint.hpp>

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include <unroll/autograd/error.hpp>
#include <unroll/autograd/kernels/fuse.hpp>
#include <unroll/autograd/pointwise/cut.hpp>
#include <unroll/autograd/pointwise/recorder.hpp>
#include <unroll/autograd/pointwise/rules.hpp>

namespace unroll::detail {

namespace {

bool has(Mask mask, int bit) { return bit < kMaxOperands && (mask >> bit & 1) != 0; }

/// Copies the instructions of a program; `known` holds the registers of its inputs in the builder. Returns those of
/// all its registers.
std::vector<Register> copy_into(Builder& builder, const Program& program, std::vector<Register> known) {
    for (const Instruction& i : program.code) {
        if (i.op == Opcode::constant) {
            known.push_back(builder.constant(i.value));
            continue;
        }
        const auto of = [&](Register r, int position) {
            return position < operand_count(i.op) ? known[r] : Register{0};
        };
        known.push_back(builder.emit(i.op, of(i.a, 0), of(i.b, 1), of(i.c, 2)));
    }
    return known;
}

Program fused(Program program) {
    program.code.resize(
        static_cast<std::size_t>(fuse(program.code.data(), static_cast<int>(program.code.size()), program.inputs,
                                      program.outputs.data(), static_cast<int>(program.outputs.size()))));
    return program;
}

/// A program and its derivative, in one builder.
class Derivation {
public:
    Derivation(const Program& program, Mask wanted, int operands)
        : program_(program), wanted_(wanted), operands_(operands), recorder_(program.inputs) {}

    Adjoint run() {
        copy_forward();
        accumulate();
        choose_kept();
        return assemble();
    }

private:
    Builder& builder() { return recorder_.builder(); }

    void copy_forward() {
        std::vector<Register> inputs;
        for (int i = 0; i < program_.inputs; ++i) inputs.push_back(static_cast<Register>(i));
        const std::vector<Register> copies = copy_into(builder(), program_, std::move(inputs));
        for (const Register r : program_.outputs) outputs_.push_back(copies[r]);
        forward_size_ = builder().size();
    }

    void accumulate() {
        // Which values depend on a wanted input smoothly.
        std::vector<bool> active(static_cast<std::size_t>(forward_size_), false);
        for (int r = 0; r < forward_size_; ++r) {
            if (r < program_.inputs) {
                active[static_cast<std::size_t>(r)] = r < operands_ && has(wanted_, r);
                continue;
            }
            const Instruction& instruction = builder().at(static_cast<Register>(r));
            const auto operand = operands(instruction);
            for (std::size_t i = 0; i < operand.size(); ++i) {
                if (active[operand[i]] && rules::has_gradient(instruction.op, static_cast<int>(i))) {
                    active[static_cast<std::size_t>(r)] = true;
                }
            }
        }

        for (std::size_t k = 0; k < outputs_.size(); ++k) gradients_.push_back(builder().add_input());
        builder().set_simplify(Simplify::gradient);
        std::vector<std::optional<Register>> gradient(static_cast<std::size_t>(forward_size_));
        const auto add = [&](Register r, Register contribution) {
            if (builder().is_constant(contribution, 0)) return;
            gradient[r] = gradient[r] ? builder().emit(Opcode::add, *gradient[r], contribution) : contribution;
        };
        for (std::size_t k = 0; k < outputs_.size(); ++k) {
            if (active[outputs_[k]]) add(outputs_[k], gradients_[k]);
        }
        for (int r = forward_size_ - 1; r >= program_.inputs; --r) {
            if (!gradient[static_cast<std::size_t>(r)]) continue;
            const Instruction instruction = builder().at(static_cast<Register>(r));  // a copy: the rules append
            const auto operand = operands(instruction);
            rules::Terms terms{recorder_.symbol(*gradient[static_cast<std::size_t>(r)]), 0, 0, 0,
                               recorder_.symbol(static_cast<Register>(r))};
            Symbol* const fields[] = {&terms.a, &terms.b, &terms.c};
            for (std::size_t i = 0; i < operand.size(); ++i) *fields[i] = recorder_.symbol(operand[i]);
            for (std::size_t i = 0; i < operand.size(); ++i) {
                const int position = static_cast<int>(i);
                if (!active[operand[i]] || !rules::has_gradient(instruction.op, position)) continue;
                add(operand[i], recorder_.register_of(rules::gradient(instruction.op, position, terms)));
            }
        }
        for (int i = 0; i < program_.inputs; ++i) {
            const auto& found = gradient[static_cast<std::size_t>(i)];
            gradient_of_input_.push_back(found ? static_cast<int>(results_.size()) : -1);
            if (found) results_.push_back(*found);
        }
    }

    void choose_kept() {
        const int n = builder().size();
        std::vector<bool> reached(static_cast<std::size_t>(n), false);
        for (const Register r : results_) reached[r] = true;
        // What the derivative reads from the forward part stays marked there; the forward part itself is not walked
        // through.
        for (int r = n - 1; r >= forward_size_; --r) {
            if (!reached[static_cast<std::size_t>(r)]) continue;
            for (const Register operand : operands(builder().at(static_cast<Register>(r)))) reached[operand] = true;
        }

        std::vector<Keepable> values;
        for (int r = 0; r < forward_size_; ++r) {
            const Register here = static_cast<Register>(r);
            const Instruction& instruction = builder().at(here);
            const bool is_input = r < program_.inputs;
            const bool is_output = std::find(outputs_.begin(), outputs_.end(), here) != outputs_.end();
            Keepable value{is_input    ? (r < operands_ ? kKeepInput : 0)
                           : is_output ? kKeepOutput
                                       : kKeepResult,
                           is_input ? kNever : recompute_cost(instruction.op),
                           bool(reached[static_cast<std::size_t>(r)]),
                           {}};
            for (const Register operand : operands(instruction)) value.operands.push_back(operand);
            values.push_back(std::move(value));
        }
        for (const int r : cheapest_to_keep(values)) kept_.push_back(static_cast<Register>(r));
        for (std::size_t k = 0; k < gradients_.size(); ++k) {
            if (reached[gradients_[k]]) used_gradients_.push_back(static_cast<std::uint16_t>(k));
        }
    }

    Adjoint assemble() {
        Adjoint adjoint;
        std::vector<Register> read_registers, forward_outputs = outputs_;
        std::vector<Source>& reads = adjoint.backward.reads;
        const auto read = [&](Register r, Source::Kind kind, std::size_t index) {
            read_registers.push_back(r);
            reads.push_back({kind, static_cast<std::uint16_t>(index)});
        };
        std::vector<Register> kept_outputs, kept_results;
        for (const Register r : kept_) {
            if (r < program_.inputs) {
                read(r, Source::Kind::input, r);
                if (r < operands_) adjoint.needs_input |= Mask{1} << r;
            } else {
                const bool is_output = std::find(outputs_.begin(), outputs_.end(), r) != outputs_.end();
                (is_output ? kept_outputs : kept_results).push_back(r);
            }
        }
        for (const Register r : kept_outputs) {
            const auto k = static_cast<std::size_t>(std::find(outputs_.begin(), outputs_.end(), r) - outputs_.begin());
            read(r, Source::Kind::output, k);
            adjoint.needs_output |= Mask{1} << k;
        }
        for (std::size_t s = 0; s < kept_results.size(); ++s) {
            read(kept_results[s], Source::Kind::saved, s);
            forward_outputs.push_back(kept_results[s]);
        }
        for (const std::uint16_t k : used_gradients_) read(gradients_[k], Source::Kind::gradient, k);

        std::vector<Register> inputs;
        for (int i = 0; i < program_.inputs; ++i) inputs.push_back(static_cast<Register>(i));
        adjoint.saved = static_cast<int>(kept_results.size());
        builder().finish(inputs, forward_outputs, adjoint.forward);
        builder().finish(read_registers, results_, adjoint.backward.program);
        adjoint.backward.fused = fused(adjoint.backward.program);
        adjoint.backward.gradient_of_input = gradient_of_input_;
        return adjoint;
    }

    const Program& program_;
    const Mask wanted_;
    const int operands_;
    Recorder recorder_;
    int forward_size_ = 0;                // registers below are the forward part
    std::vector<Register> outputs_;       // of the program
    std::vector<Register> gradients_;     // of each output
    std::vector<Register> results_;       // gradients of inputs
    std::vector<int> gradient_of_input_;  // by input: position in results_, or -1
    std::vector<Register> kept_;          // forward values that the derivative starts from
    std::vector<std::uint16_t> used_gradients_;
};

}  // namespace

Adjoint differentiate(const Program& program, Mask wanted, int operands) {
    UNROLL_ASSERT(operands <= program.inputs && operands <= kMaxOperands && program.outputs.size() <= kMaxOperands);
    return Derivation(program, wanted, operands).run();
}

BackwardProgram without_absent(const BackwardProgram& backward, Mask present) {
    Recorder recorder(backward.program.inputs);
    Builder& builder = recorder.builder();
    builder.set_simplify(Simplify::zeros);
    std::vector<Register> inputs;
    for (std::size_t i = 0; i < backward.reads.size(); ++i) {
        const bool absent = backward.reads[i].kind == Source::Kind::gradient && !has(present, backward.reads[i].index);
        inputs.push_back(absent ? builder.constant(0) : static_cast<Register>(i));
    }
    const std::vector<Register> copies = copy_into(builder, backward.program, std::move(inputs));

    BackwardProgram result;
    std::vector<Register> results;
    for (const int k : backward.gradient_of_input) {
        const bool nonzero =
            k >= 0 && !builder.is_constant(copies[backward.program.outputs[static_cast<std::size_t>(k)]], 0);
        result.gradient_of_input.push_back(nonzero ? static_cast<int>(results.size()) : -1);
        if (nonzero) results.push_back(copies[backward.program.outputs[static_cast<std::size_t>(k)]]);
    }
    std::vector<bool> reached(static_cast<std::size_t>(builder.size()), false);
    for (const Register r : results) reached[r] = true;
    for (int r = builder.size() - 1; r >= backward.program.inputs; --r) {
        if (!reached[static_cast<std::size_t>(r)]) continue;
        for (const Register operand : operands(builder.at(static_cast<Register>(r)))) reached[operand] = true;
    }
    std::vector<Register> kept;
    for (std::size_t i = 0; i < backward.reads.size(); ++i) {
        if (!reached[i]) continue;
        kept.push_back(static_cast<Register>(i));
        result.reads.push_back(backward.reads[i]);
    }
    builder.finish(kept, results, result.program);
    result.fused = fused(result.program);
    return result;
}

std::string to_string(const Adjoint& adjoint, std::span<const std::string> input_names,
                      std::span<const std::string> output_names) {
    const auto name = [](std::span<const std::string> names, char letter, std::size_t i) {
        return i < names.size() ? names[i] : fmt::format("{}{}", letter, i);
    };
    const std::size_t n_outputs = adjoint.forward.outputs.size() - static_cast<std::size_t>(adjoint.saved);
    std::vector<std::string> forward_outputs;
    for (std::size_t k = 0; k < n_outputs; ++k) forward_outputs.push_back(name(output_names, 'y', k));
    for (int s = 0; s < adjoint.saved; ++s) forward_outputs.push_back(fmt::format("s{}", s));

    std::vector<std::string> reads, results;
    for (const Source& source : adjoint.backward.reads) {
        switch (source.kind) {
        case Source::Kind::input: reads.push_back(name(input_names, 'x', source.index)); break;
        case Source::Kind::output: reads.push_back(name(output_names, 'y', source.index)); break;
        case Source::Kind::saved: reads.push_back(fmt::format("s{}", source.index)); break;
        case Source::Kind::gradient: reads.push_back("g" + name(output_names, 'y', source.index)); break;
        }
    }
    for (std::size_t i = 0; i < adjoint.backward.gradient_of_input.size(); ++i) {
        if (adjoint.backward.gradient_of_input[i] >= 0) results.push_back("g" + name(input_names, 'x', i));
    }
    return fmt::format("{}\n\n{}", to_string(adjoint.forward, input_names, forward_outputs),
                       to_string(adjoint.backward.program, reads, results));
}

}  // namespace unroll::detail
