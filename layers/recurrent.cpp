// The loop through time.
#include <unroll/layers/recurrent.hpp>

#include <unroll/autograd/checkpoint.hpp>
#include <unroll/autograd/ops/pointwise.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace unroll::detail {
namespace {

/// y = x in memory of its own, so that it can be put in front of the slab of the states that follow it; gx = gy.
template <class Real>
struct Enter {
    static constexpr std::string_view name = "enter_loop";
    void infer(Shapes& s) const { s.output(s.in(0)); }
    void forward(Forward<Real>& f) const {
        const NoSlabs plain;
        std::copy_n(f.in(0).data, f.in(0).size, f.out(0));
    }
    void backward(Backward<Real>& b) const { b.pass(0, 0); }
};

/// Moves a state that entered the loop to the place before the first state of the loop, so that the states that steps
/// 0 … T−1 read lie one behind the other, and their weight products are one product.
template <class Real>
void move_before(Var<Real>& entered, const Var<Real>& first) {
    if (!entered || !first || !(entered.shape() == first.shape())) return;
    Value<Real>& from = *entered.internal();
    const Value<Real>& to = *first.internal();
    void* place = SlabScope::before_first(to.block.get(), to.data);
    if (!place) return;
    std::copy_n(from.data, from.shape.size(), static_cast<Real*>(place));
    from.data = static_cast<Real*>(place);
    from.block = to.block;
}

/// A (B, 1) mask by row: 1 where the row still runs at time step t.
template <class Real>
Var<Real> running(const IntTensor& lengths, Index t) {
    Tensor<Real> mask = empty<Real>({static_cast<Index>(lengths.size()), 1});
    for (std::size_t b = 0; b < lengths.size(); ++b) mask.data()[b] = Real(t < lengths.data()[b] ? 1 : 0);
    return Var<Real>(std::move(mask));
}

template <class Real>
Var<Real> choose(const Var<Real>& mask, const Var<Real>& yes, const Var<Real>& no) {
    return pointwise([](auto m, auto a, auto b) { return where(m, a, b); }, mask, yes, no);
}

/// Steps [begin, end) of the loop.
template <class Real>
void run_steps(Vars<Real>& xs, Index begin, Index end, Index total, std::span<Var<Real>> state, Vars<Real>& outputs,
               StepFunction<Real> step, const LoopOptions& options) {
    const bool recording = Tape<Real>::current() != nullptr;
    std::optional<SlabScope> slabs;
    std::array<Var<Real>, 8> entered;
    if (recording && end - begin > 1) {
        slabs.emplace(end - begin);
        for (std::size_t k = 0; k < state.size() && k < entered.size(); ++k) {
            const bool zero = state[k].internal()->zero;
            state[k] = apply(Enter<Real>{}, std::move(state[k]));
            state[k].internal()->zero = zero;
            entered[k] = state[k];
        }
    }
    Vars<Real> before;
    for (Index i = begin; i < end; ++i) {
        const Index t = options.reverse ? total - 1 - i : i;
        const StepGuard guard(t);
        if (slabs) slabs->begin_step(i - begin);
        if (options.truncate > 0 && i > 0 && i % options.truncate == 0)
            for (Var<Real>& s : state) s = s.detach();
        if (options.lengths) before.assign(state.begin(), state.end());
        step.call(step.cell, std::move(xs[static_cast<std::size_t>(t)]), state);
        Var<Real> output = state[0];
        if (options.lengths) {
            const Var<Real> mask = running<Real>(*options.lengths, t);
            for (std::size_t k = 0; k < state.size(); ++k) state[k] = choose(mask, state[k], before[k]);
            output = choose(mask, state[0], Var<Real>(0));
        }
        if (slabs && i == begin)
            for (std::size_t k = 0; k < state.size() && k < entered.size(); ++k) {
                move_before(entered[k], state[k]);
                entered[k] = {};
            }
        outputs[static_cast<std::size_t>(t)] = std::move(output);
    }
}

}  // namespace

template <class Real>
Var<Real> zero_state(Index batch, Index size) {
    Var<Real> zero(zeros<Real>({batch, size}));
    zero.internal()->zero = true;
    return zero;
}

void check_loop_options(const Shape& x, const LoopOptions& options) {
    if (x[0] < 1) fail_shape("recurrent", "the input must have at least one time step", {x});
    if (options.truncate < 0 || options.checkpoint < 0)
        fail_value("recurrent", fmt::format("truncate and checkpoint are numbers of steps, 0 (off) or more; got {} and {}",
                                            options.truncate, options.checkpoint));
    if (!options.lengths) return;
    if (!(shape_of(*options.lengths) == Shape{x[1]}))
        fail_shape("recurrent", "lengths must have one element for each row", {x, shape_of(*options.lengths)});
    for (const std::int64_t length : *options.lengths)
        if (length < 1 || length > x[0])
            fail_value("recurrent", fmt::format("each length must be 1 to T = {}; got {}", x[0], length));
}

template <class Real>
void check_loop_input(const Var<Real>& x, std::span<const Var<Real>> state, std::span<const Index> sizes,
                      const LoopOptions& options) {
    if (!x) fail_usage("recurrent", "the input is an empty Var");
    if (x.rank() != 3) fail_shape("recurrent", "the input must be (T, B, features)", {x.shape()});
    for (std::size_t k = 0; k < state.size(); ++k)
        if (state[k] && !(state[k].shape() == Shape{x.shape()[1], sizes[k]}))
            fail_shape("recurrent", fmt::format("state {} must be ({}, {}) for this input", k, x.shape()[1], sizes[k]),
                       {x.shape(), state[k].shape()});
    check_loop_options(x.shape(), options);
}

template <class Real>
Var<Real> run_loop(Var<Real> x, std::span<Var<Real>> state, StepFunction<Real> step, const LoopOptions& options) {
    const Index total = x.shape()[0];
    Vars<Real> outputs(static_cast<std::size_t>(total));
    if (options.checkpoint > 0 && Tape<Real>::current()) {
        // Each segment is one node: a child tape that is recorded again when gradients come back.
        const Index count = static_cast<Index>(state.size());
        for (Index begin = 0; begin < total; begin += options.checkpoint) {
            const Index end = std::min(total, begin + options.checkpoint);
            Vars<Real> in;
            for (Index i = begin; i < end; ++i) in.push_back(select(x, 0, options.reverse ? total - 1 - i : i));
            for (const Var<Real>& s : state) in.push_back(s);
            LoopOptions inner = options;
            inner.checkpoint = 0;
            // The segment runs again in backward, when the caller's lengths may be gone.
            const auto lengths = options.lengths ? std::make_shared<const IntTensor>(*options.lengths) : nullptr;
            const bool reverse = options.reverse;
            Vars<Real> out = checkpoint<Real>(
                [=](std::span<const Var<Real>> given) {
                    const Index steps = end - begin;
                    Vars<Real> xs(static_cast<std::size_t>(total)), results(static_cast<std::size_t>(total));
                    for (Index i = 0; i < steps; ++i)
                        xs[static_cast<std::size_t>(reverse ? total - 1 - begin - i : begin + i)] = given[static_cast<std::size_t>(i)];
                    Vars<Real> s(given.begin() + steps, given.end());
                    LoopOptions segment = inner;
                    segment.reverse = reverse;
                    segment.lengths = lengths.get();
                    run_steps<Real>(xs, begin, end, total, s, results, step, segment);
                    Vars<Real> made;
                    for (Index i = begin; i < end; ++i)
                        made.push_back(std::move(results[static_cast<std::size_t>(reverse ? total - 1 - i : i)]));
                    for (Var<Real>& last : s) made.push_back(std::move(last));
                    return made;
                },
                in);
            for (Index i = begin; i < end; ++i)
                outputs[static_cast<std::size_t>(options.reverse ? total - 1 - i : i)] = std::move(out[static_cast<std::size_t>(i - begin)]);
            for (Index k = 0; k < count; ++k)
                state[static_cast<std::size_t>(k)] = std::move(out[static_cast<std::size_t>(end - begin + k)]);
        }
        return stack(outputs);
    }
    Vars<Real> xs = unbind(std::move(x));
    run_steps(xs, 0, total, total, state, outputs, step, options);
    return stack(outputs);
}

#define UNROLL_INSTANTIATE(R)                                                                        \
    template Var<R> zero_state<R>(Index, Index);                                                     \
    template void check_loop_input<R>(const Var<R>&, std::span<const Var<R>>, std::span<const Index>, const LoopOptions&); \
    template Var<R> run_loop(Var<R>, std::span<Var<R>>, StepFunction<R>, const LoopOptions&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll::detail
