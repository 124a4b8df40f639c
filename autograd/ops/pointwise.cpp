// The op behind every elementwise function: runs a pointwise program and, backward, its adjoint program.
#include <unroll/autograd/ops/pointwise.hpp>

#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/kernels/pointwise_generic.hpp>
#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/op.hpp>
#include <unroll/autograd/threads.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace unroll::detail {
namespace {

constexpr int kMost = 160;  // operands, parameters, saved values and gradients of one program together
constexpr int kMostSaved = 63;

template <class Real>
struct Executor {
    using In = GenericIn<Real>;
    using Out = GenericOut<Real>;
    static void run(const Program& p, Index rows, Index cols, const In* in, const Out* out) {
        run_generic<Real>(p.code.data(), static_cast<int>(p.code.size()), p.inputs, p.outputs.data(),
                          static_cast<int>(p.outputs.size()), rows, cols, in, out);
    }
};

template <>
struct Executor<float> {
    using In = detail::In;
    using Out = detail::Out;
    static void run(const Program& p, Index rows, Index cols, const In* in, const Out* out) {
        kernels().run(p.code.data(), static_cast<int>(p.code.size()), p.inputs, p.outputs.data(),
                      static_cast<int>(p.outputs.size()), rows, cols, in, out);
    }
};

/// Runs a program over all rows and columns; threads share a large one. Every element is computed alone, so that the cut
/// changes no bits.
template <class Real>
void run_program(const Program& p, Index rows, Index cols, const typename Executor<Real>::In* in,
                 const typename Executor<Real>::Out* out) {
    constexpr Index kLarge = Index{1} << 17, kParts = 4;  // instructions on elements, some ten microseconds
    const Index lines = rows == 1 ? cols : rows;
    if (rows * cols * static_cast<Index>(p.code.size()) < kLarge || lines < kParts || in_parallel_part())
        return Executor<Real>::run(p, rows, cols, in, out);
    parallel_for(kParts, [&](Index part) {
        const Index begin = lines * part / kParts, count = lines * (part + 1) / kParts - begin;
        typename Executor<Real>::In part_in[kMost];
        typename Executor<Real>::Out part_out[kMost];
        for (int i = 0; i < p.inputs; ++i) {
            part_in[i] = in[i];
            part_in[i].data += begin * (rows == 1 ? in[i].col_stride : in[i].row_stride);
        }
        for (std::size_t k = 0; k < p.outputs.size(); ++k) {
            part_out[k] = out[k];
            part_out[k].data += begin * (rows == 1 ? 1 : out[k].row_stride);
        }
        Executor<Real>::run(p, rows == 1 ? 1 : count, rows == 1 ? count : cols, part_in, part_out);
    });
}

/// A result's shape as rows and columns; one row if all operands have that shape.
struct Grid {
    Index rows = 1, cols = 1;
    Grid(const Shape& shape, bool plain) {
        if (plain) cols = shape.size();
        if (plain || shape.rank() == 0) return;
        cols = shape.back();
        for (std::size_t i = 0; i + 1 < shape.rank(); ++i) rows *= shape[i];
    }
};

/// The shape that an operand has when `parts` of it lie side by side and each is broadcast to `result`.
Shape joined_shape(const Shape& result, Index parts) {
    return parts == 1 || result.rank() == 0 ? result : result.replaced(result.rank() - 1, result.back() * parts);
}

bool is_joined_shape(const Shape& shape, const Shape& result, Index parts) {
    return parts == 1 ? shape == result : shape == joined_shape(result, parts);
}

/// What an operand of so many parts is broadcast from and to. Where single columns are broadcast the parts have an axis of
/// their own: (…, parts, 1) and (…, parts, columns).
struct Spread {
    Shape from, to;
    Spread(const Shape& shape, const Shape& result, Index parts) : from(shape), to(joined_shape(result, parts)) {
        if (parts == 1 || from.back() == to.back()) return;
        for (Shape* s : {&from, &to}) *s = s->replaced(s->rank() - 1, s->back() / parts).inserted(s->rank() - 1, parts);
    }
};

/// How one part of an operand of shape `shape` is read as an array of shape `result`.
template <class Real>
struct Reading {
    const Real* data = nullptr;
    Index row_stride = 0, col_stride = 0;
    bool expand = false;  // into an array of its own first
};

template <class Real>
Reading<Real> reading(const Real* data, const Shape& shape, const Shape& result, const Grid& grid, Index part,
                      Index parts) {
    if (is_joined_shape(shape, result, parts)) return {data + part * grid.cols, parts * grid.cols, 1, false};
    const Shape joined = joined_shape(result, parts);
    if (shape.size() == 1 && parts == 1) return {data, 0, 0, false};
    // A row vector: only its last axis is longer than 1.
    if (shape.rank() >= 1 && shape.back() == joined.back() && shape.size() == shape.back())
        return {data + part * grid.cols, 0, 1, false};
    // One value for each row.
    if (parts == 1 && shape.rank() == result.rank() && shape.back() == 1 &&
        shape.replaced(shape.rank() - 1, grid.cols) == result)
        return {data, 1, 0, false};
    return {data, 0, 0, true};
}

/// y₁, y₂, … = program(operands). Saves what the adjoint program reads: operands, results, and what the extended program
/// keeps of its costly instructions.
template <class Real>
struct Pointwise {
    static constexpr std::string_view name = "pointwise";

    const CompiledPointwise* function;
    const CompiledAdjoint* adjoint = nullptr;
    std::span<const PointwiseOperand> operands;
    const PointwiseCall* call;  // with the numbers of this call; valid while recording only, saved for backward
    std::string_view shown = name;
    bool plain = true;  // all operands have the shape of the results
    static constexpr int kPlaces = 8;
    // The operand whose memory holds it, or −1.
    std::array<std::int8_t, kPlaces> saved_at{-1, -1, -1, -1, -1, -1, -1, -1};

    std::string_view display_name() const noexcept { return shown; }

    void infer(Shapes& s) {
        const Shape& first = s.in(operands[0].input);
        for (const PointwiseOperand& o : operands) plain = plain && o.parts == 1 && s.in(o.input) == first;
        s.outputs(function->results(), plain ? first : broadcast_shape(s));
    }

    Shape broadcast_shape(const Shapes& s) const {
        Shape result;
        bool first = true;
        for (const PointwiseOperand& o : operands) {
            if (o.part != 0) continue;
            Shape shape = s.in(o.input);
            if (o.parts > 1) {
                s.require(shape.rank() >= 1 && shape.back() % o.parts == 0,
                          "the last axis must be a multiple of the number of columns");
                shape = shape.replaced(shape.rank() - 1, shape.back() / o.parts);
            }
            result = first ? shape : broadcast(shown, result, shape);
            first = false;
        }
        for (const PointwiseOperand& o : operands)
            s.require(o.parts == 1 || s.in(o.input).back() == result.back() * o.parts ||
                          result.rank() < Shape::kMaxRank,
                      "single columns that are broadcast need an axis more, and there are six already");
        return result;
    }

    void forward(Forward<Real>& f) {
        Mask wanted = 0;
        if (f.recording())
            for (std::size_t i = 0; i < operands.size(); ++i)
                if (f.needs(operands[i].input)) wanted |= Mask{1} << i;
        const Shape& result = f.out_shape(0);
        const Program* program = &function->program();
        int saved = 0;
        if (wanted) {
            adjoint = &function->adjoint(wanted);
            program = &adjoint->adjoint().forward;
            saved = adjoint->adjoint().saved;
        }
        if (!fits(*program) || saved > kMostSaved || (wanted && !fits(adjoint->adjoint().backward.program)))
            fail_value(shown,
                       fmt::format("the function is too large: at most {} operands and numbers that it holds, and "
                                   "{} results to be kept for backward, fit into one; cut it in two",
                                   kMost, kMostSaved));
        typename Executor<Real>::In in[kMost];
        typename Executor<Real>::Out out[kMost];
        const Grid grid(result, plain);
        Real numbers[kMost];
        PoolVector<Real*> expanded;
        for (std::size_t i = 0; i < operands.size(); ++i) {
            const PointwiseOperand& o = operands[i];
            const Real* data = f.in(o.input).data;
            in[i] = plain ? typename Executor<Real>::In{data, grid.cols, 1}
                          : read(data, f.in_shape(o.input), result, grid, o, expanded);
        }
        const std::span<const double> parameters = call->parameters;
        for (std::size_t p = 0; p < parameters.size(); ++p) {
            numbers[p] = Real(parameters[p]);
            in[operands.size() + p] = {&numbers[p], 0, 0};
        }
        const int results = function->results();
        for (int k = 0; k < results; ++k) out[k] = {f.out(k), grid.cols, false};
        // What is saved takes the place of operands that nobody will read again: less memory to write, and the same for backward.
        std::size_t free = 0;
        for (int j = 0; j < saved; ++j) {
            std::int8_t place = -1;
            for (; place < 0 && j < kPlaces && free < operands.size(); ++free)
                if (replaceable(f, free, result)) place = static_cast<std::int8_t>(free);
            if (j < kPlaces) saved_at[static_cast<std::size_t>(j)] = place;
            if (place < 0) {
                out[results + j] = {f.save(result), grid.cols, false};
                continue;
            }
            out[results + j] = {const_cast<Real*>(in[place].data), in[place].row_stride, false};
            f.save_in(operands[static_cast<std::size_t>(place)].input);
        }
        run_program<Real>(*program, grid.rows, grid.cols, in, out);
        for (Real* memory : expanded) pool_free(memory);
        if (!wanted) return;
        const Adjoint& a = adjoint->adjoint();
        for (std::size_t i = 0; i < operands.size(); ++i)
            if (a.needs_input >> i & 1) f.save_in(operands[i].input);
        for (int k = 0; k < results; ++k)
            if (a.needs_output >> k & 1) f.save_out(k);
        if (!parameters.empty())
            std::copy_n(numbers, parameters.size(), f.save(Shape{static_cast<Index>(parameters.size())}));
    }

    void backward(unroll::Backward<Real>& b) const {
        Mask present = 0;
        for (int k = 0; k < function->results(); ++k)
            if (b.gout(k)) present |= Mask{1} << k;
        const BackwardProgram& plan = adjoint->backward(present);
        if (plan.program.code.empty() && hand_on(b, plan)) return;
        const Shape& result = b.out_shape(0);
        const Grid grid(result, plain);
        typename Executor<Real>::In in[kMost];
        typename Executor<Real>::Out out[kMost];
        PoolVector<Real*> temporary;
        const int saved = adjoint->adjoint().saved;
        const Real* numbers = nullptr;
        if (function->parameters() > 0) numbers = b.saved(saved_number(saved)).data;
        for (int i = 0; i < plan.program.inputs; ++i) {
            const Source& source = plan.reads[static_cast<std::size_t>(i)];
            switch (source.kind) {
            case Source::Kind::input:
                if (source.index >= operands.size()) {
                    in[i] = {numbers + (source.index - operands.size()), 0, 0};
                } else if (const PointwiseOperand& o = operands[source.index]; plain) {
                    in[i] = {b.in(o.input).data, grid.cols, 1};
                } else {
                    in[i] = read(b.in(o.input).data, b.saved_in_shape(o.input), result, grid, o, temporary);
                }
                break;
            case Source::Kind::output: in[i] = {b.out(source.index).data, grid.cols, 1}; break;
            case Source::Kind::saved: {
                const int place = place_of(source.index);
                if (place < 0) {
                    in[i] = {b.saved(saved_number(source.index)).data, grid.cols, 1};
                } else {
                    const PointwiseOperand& o = operands[static_cast<std::size_t>(place)];
                    in[i] = {b.in(o.input).data + o.part * grid.cols, o.parts * grid.cols, 1};
                }
                break;
            }
            case Source::Kind::gradient: in[i] = {b.gout(source.index).data, grid.cols, 1}; break;
            }
        }
        // Where each gradient goes: straight to its place if the operand was not broadcast, otherwise to a full array first.
        struct Target {
            Real* data;
            bool adding, direct;
        };
        Target targets[64];  // of the inputs that are needed
        Mask needed = 0;
        bool twice = false;
        for (Index i = 0, inputs = b.inputs(); i < inputs; ++i) {
            if (!b.needs(i)) continue;
            needed |= Mask{1} << i;
            for (Index j = 0; j < i; ++j) twice = twice || b.same_slot(i, j);
        }
        for (std::size_t s = 0; s < operands.size(); ++s) {
            const PointwiseOperand& o = operands[s];
            if (o.part != 0 || !(needed >> o.input & 1)) continue;
            Target& target = targets[o.input];
            bool complete = !twice;  // every part gets a gradient, so that nothing need be set to zero first
            for (int p = 0; p < o.parts; ++p)
                complete = complete && plan.gradient_of_input[s + static_cast<std::size_t>(p)] >= 0;
            target.direct = plain || is_joined_shape(b.in_shape(o.input), result, o.parts);
            const Index size = grid.rows * grid.cols * o.parts;
            if (target.direct) {
                const auto place = b.grad(o.input);
                target.data = place.data;
                target.adding = place.adding;
            } else {
                temporary.push_back(static_cast<Real*>(pool_allocate(static_cast<std::size_t>(size) * sizeof(Real))));
                target.data = temporary.back();
                target.adding = false;
            }
            if (!target.adding && !complete) {
                std::fill_n(target.data, size, Real(0));
                target.adding = true;
            }
        }
        for (std::size_t s = 0; s < operands.size(); ++s) {
            const int k = plan.gradient_of_input[s];
            const PointwiseOperand& o = operands[s];
            if (k < 0) continue;
            if (!(needed >> o.input & 1)) {  // the op that made it was dropped from the tape
                temporary.push_back(
                    static_cast<Real*>(pool_allocate(static_cast<std::size_t>(grid.rows * grid.cols) * sizeof(Real))));
                out[k] = {temporary.back(), grid.cols, false};
                continue;
            }
            const Target& target = targets[o.input];
            out[k] = {target.data + o.part * grid.cols, o.parts * grid.cols, target.adding};
        }
        const Program& program = std::is_same_v<Real, float> ? plan.fused : plan.program;
        run_program<Real>(program, grid.rows, grid.cols, in, out);
        for (std::size_t s = 0; s < operands.size(); ++s) {
            const PointwiseOperand& o = operands[s];
            if (o.part != 0 || !(needed >> o.input & 1) || targets[o.input].direct) continue;
            const Spread spread(b.in_shape(o.input), result, o.parts);
            const Accumulator<Real> sum = b.grad(o.input);
            reduce_broadcast(targets[o.input].data, spread.to, sum.adding, sum.data, spread.from);
        }
        for (Real* memory : temporary) pool_free(memory);
    }

private:
    static bool fits(const Program& p) { return p.inputs <= kMost && static_cast<int>(p.outputs.size()) <= kMost; }
    /// The backward pass of sums, whose gradients are those of their results: they are passed on as they are.
    bool hand_on(unroll::Backward<Real>& b, const BackwardProgram& plan) const {
        for (const PointwiseOperand& o : operands)
            if (o.parts > 1) return false;
        for (std::size_t s = 0; s < operands.size(); ++s) {
            if (plan.gradient_of_input[s] >= 0 || !b.needs(operands[s].input)) continue;
            const Accumulator<Real> zero = b.grad(operands[s].input);  // the gradient of sign(x) is there, and is zero
            if (!zero.adding) std::fill_n(zero.data, zero.size, Real(0));
        }
        // visit(input, output, whole) for each operand whose gradient is that of an output, or its sum.
        const auto each = [&](auto visit) {
            for (std::size_t s = 0; s < operands.size(); ++s) {
                const int k = plan.gradient_of_input[s];
                if (k < 0 || !b.needs(operands[s].input)) continue;
                const Source& g = plan.reads[plan.program.outputs[static_cast<std::size_t>(k)]];
                const Index i = operands[s].input;
                visit(i, Index{g.index}, plain || b.in_shape(i).size() == b.out_shape(g.index).size());
            }
        };
        Index takers = 0;
        each([&](Index i, Index k, bool whole) {
            takers += whole;
            if (!whole) b.pass(i, k);
        });
        each([&](Index i, Index k, bool whole) {         // last, since memory is taken over
            if (whole && takers > 1) b.gout_operand(k);  // by several: who adds to it makes a copy
            if (whole) b.pass(i, k);
        });
        return true;
    }
    int place_of(int saved) const { return saved < kPlaces ? saved_at[static_cast<std::size_t>(saved)] : -1; }
    /// Which of the op's own saved arrays holds saved value j.
    Index saved_number(int j) const {
        Index number = 0;
        for (int i = 0; i < j; ++i) number += place_of(i) < 0;
        return number;
    }
    /// Whether an operand's memory may be overwritten: no handle is left but this call's, backward does not read it, and it
    /// was not broadcast.
    bool replaceable(const Forward<Real>& f, std::size_t s, const Shape& result) const {
        const PointwiseOperand& o = operands[s];
        if (!f.may_overwrite(o.input)) return false;
        if (!plain && !is_joined_shape(f.in_shape(o.input), result, o.parts)) return false;
        for (std::size_t other = 0; other < operands.size(); ++other)
            if (operands[other].input == o.input && (adjoint->adjoint().needs_input >> other & 1)) return false;
        return true;
    }
    typename Executor<Real>::In read(const Real* data, const Shape& shape, const Shape& result, const Grid& grid,
                                     const PointwiseOperand& o, PoolVector<Real*>& temporary) const {
        const Reading<Real> r = reading(data, shape, result, grid, o.part, o.parts);
        if (!r.expand) return {r.data, r.row_stride, r.col_stride};
        const Spread spread(shape, result, o.parts);
        temporary.push_back(
            static_cast<Real*>(pool_allocate(static_cast<std::size_t>(spread.to.size()) * sizeof(Real))));
        expand_broadcast(data, spread.from, temporary.back(), spread.to);
        return {temporary.back() + o.part * grid.cols, o.parts * grid.cols, 1};
    }
};

}  // namespace

template <class Real>
void run_pointwise(std::string_view name, const PointwiseCall& call, std::span<const PointwiseOperand> operands,
                   std::span<Var<Real>> in, std::span<Var<Real>> out) {
    Pointwise<Real> op{call.function, nullptr, operands, &call, name};
    run_op<Real>(op, in, out);
}

template void run_pointwise(std::string_view, const PointwiseCall&, std::span<const PointwiseOperand>,
                            std::span<Var<float>>, std::span<Var<float>>);
template void run_pointwise(std::string_view, const PointwiseCall&, std::span<const PointwiseOperand>,
                            std::span<Var<double>>, std::span<Var<double>>);
template void run_pointwise(std::string_view, const PointwiseCall&, std::span<const PointwiseOperand>,
                            std::span<Var<Dual<double>>>, std::span<Var<Dual<double>>>);

}  // namespace unroll::detail
