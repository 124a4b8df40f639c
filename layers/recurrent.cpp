// The loop through time.
#include <unroll/layers/recurrent.hpp>

#include <unroll/autograd/checkpoint.hpp>
#include <unroll/autograd/detail/packed_weight.hpp>
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
void move_before(const SlabScope& slabs, Var<Real>& entered, const Var<Real>& first) {
    if (!entered || !first || !(entered.shape() == first.shape())) return;
    Value<Real>& from = *entered.internal();
    const Value<Real>& to = *first.internal();
    void* place = slabs.before_first(to.block.get(), to.data);
    if (place) from.move_to(to.block, static_cast<Real*>(place));
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

/// x (T, B, …) with zeros behind each row's length if something there is not finite: in a backward pass even a zero gradient
/// times NaN is NaN.
template <class Real>
Var<Real> without_padding(Var<Real> x, const IntTensor& lengths) {
    const Index steps = x.shape()[0], batch = x.shape()[1], features = x.shape()[2];
    const auto clean = [&](Index t, Index b) {
        return t < lengths.data()[b] || all_finite(x.data() + (t * batch + b) * features, features);
    };
    bool all_clean = true;
    for (Index t = 0; t < steps && all_clean; ++t)
        for (Index b = 0; b < batch && all_clean; ++b) all_clean = clean(t, b);
    if (all_clean) return x;
    Vars<Real> masks;
    for (Index t = 0; t < steps; ++t) masks.push_back(running<Real>(lengths, t));
    return choose(stack(std::move(masks)), x, Var<Real>(0));
}

/// What a step returned must be what the next one, and whoever reads the final state, expects.
template <class Real>
void check_returned(const Loop<Real>& loop, std::span<const Var<Real>> state, Index batch) {
    for (std::size_t k = 0; k < state.size(); ++k) {
        if (!state[k]) fail_usage("recurrent", fmt::format("the cell's step returned an empty Var as state {}", k));
        const Shape expected{batch, loop.state_size(static_cast<int>(k))};
        if (!(state[k].shape() == expected))
            fail_shape("recurrent",
                       fmt::format("the cell's step must return state {} as ({}, {})", k, batch, expected[1]),
                       {state[k].shape()});
    }
}

/// Steps begin ≤ i < end of a loop of `total`, counted in the order in which they run.
struct Steps {
    Index begin, end, total;
    bool reverse;

    Index count() const noexcept { return end - begin; }
    Index time(Index i) const noexcept { return reverse ? total - 1 - i : i; }
    /// The first time step among these, and the place of step i in their inputs, which are in the order of time.
    Index first_time() const noexcept { return reverse ? total - end : begin; }
    std::size_t place(Index i) const noexcept { return static_cast<std::size_t>(time(i) - first_time()); }
};

/// Steps of a loop at work. Inputs and outputs are those of these steps, in the order of time; the state becomes the last.
template <class Real>
struct StepRun {
    std::span<Var<Real>> xs;
    Steps steps;
    std::span<Var<Real>> state, outputs;
    const Loop<Real>& loop;
    const LoopOptions& options;

    /// In what several steps are worth: packed weights, and slabs. (Each stands on the stack of a function of its own,
    /// which one step does not pay for.)
    void run() const {
        if (steps.total < 4) return run_in_slabs();
        const PackScope<Real> packed;
        run_in_slabs();
    }

private:
    void run_in_slabs() const {
        if (!Tape<Real>::current() || steps.count() <= 1) return run_each(nullptr);
        SlabScope slabs(steps.count());
        run_each(&slabs);
    }
    void run_each(SlabScope* slabs) const;
};

template <class Real>
void StepRun<Real>::run_each(SlabScope* slabs) const {
    Vars<Real> entered, before;
    // Not where a checkpointed loop goes on: gradients would be added up in another order than without checkpoints.
    if (Tape<Real>::current() && steps.total > 1 && steps.begin == 0)
        for (Var<Real>& s : state) {
            const bool zero = s.internal()->zero;
            s = apply(Enter<Real>{}, std::move(s));
            s.internal()->zero = zero;
            entered.push_back(s);
        }
    const Index batch = state[0].shape()[0];
    for (Index i = steps.begin; i < steps.end; ++i) {
        const StepGuard guard(steps.time(i));
        if (slabs) slabs->begin_step(i - steps.begin);
        if (options.truncate > 0 && i > 0 && i % options.truncate == 0)
            for (Var<Real>& s : state) s = s.detach();
        if (options.lengths) before.assign(state.begin(), state.end());
        loop.step(std::move(xs[steps.place(i)]), state.data());
        check_returned<Real>(loop, state, batch);
        Var<Real> output = state[0];
        if (options.lengths) {
            const Var<Real> mask = running<Real>(*options.lengths, steps.time(i));
            for (std::size_t k = 0; k < state.size(); ++k) state[k] = choose(mask, state[k], before[k]);
            output = choose(mask, state[0], Var<Real>(0));
        }
        if (slabs && i == steps.begin)
            for (std::size_t k = 0; k < entered.size(); ++k) {
                const auto same = [&](const Var<Real>& s) { return s.data() == state[k].data(); };
                // A cell may return one value as two states: the place before it is for the first of them.
                if (std::none_of(state.begin(), state.begin() + static_cast<std::ptrdiff_t>(k), same))
                    move_before(*slabs, entered[k], state[k]);
                entered[k] = {};
            }
        outputs[steps.place(i)] = std::move(output);
    }
}

/// The loop in segments, each one node: a child tape that is recorded again when gradients come back. Gradients are added up
/// in the same order as in the plain loop, so that they have the same bits.
template <class Real>
Var<Real> run_segments(Var<Real> x, std::span<Var<Real>> state, const Loop<Real>& loop, const LoopOptions& options) {
    const Index total = x.shape()[0];
    // A segment runs again in backward, when the caller's lengths may be gone.
    const auto lengths = options.lengths ? std::make_shared<const IntTensor>(*options.lengths) : nullptr;
    // The last output of a segment is its state, unless rows end at different steps.
    const bool last_is_state = !lengths;
    Vars<Real> inner, last;
    for (Index begin = 0; begin < total; begin += options.checkpoint) {
        const Steps steps{begin, std::min(total, begin + options.checkpoint), total, options.reverse};
        Vars<Real> in{slice(x, 0, steps.first_time(), steps.first_time() + steps.count())};
        in.insert(in.end(), state.begin(), state.end());
        Vars<Real> out = checkpoint<Real>(
            [=, &loop](std::span<const Var<Real>> given) {
                Vars<Real> xs = unbind(given[0]), outputs(xs.size()), s(given.begin() + 1, given.end());
                LoopOptions own = options;
                own.lengths = lengths.get();
                StepRun<Real>{xs, steps, s, outputs, loop, own}.run();
                if (last_is_state) outputs.erase(outputs.begin() + (steps.reverse ? 0 : steps.count() - 1));
                if (!outputs.empty()) s.push_back(stack(std::move(outputs)));
                return s;
            },
            in);
        for (Var<Real>& s : state) {
            s = std::move(out.front());
            out.erase(out.begin());
        }
        inner.push_back(out.empty() ? Var<Real>() : std::move(out[0]));
        last.push_back(state[0]);
    }
    Vars<Real> parts;
    for (std::size_t i = 0; i < inner.size(); ++i) {
        const std::size_t k = options.reverse ? inner.size() - 1 - i : i;
        Var<Real> end = last_is_state ? unsqueeze(last[k], 0) : Var<Real>();
        if (options.reverse) std::swap(inner[k], end);
        if (inner[k]) parts.push_back(std::move(inner[k]));
        if (end) parts.push_back(std::move(end));
    }
    return concat(parts, 0);
}

template <class Real>
Var<Real> run_loop(Var<Real> x, std::span<Var<Real>> state, const Loop<Real>& loop, const LoopOptions& options) {
    if (options.checkpoint > 0 && Tape<Real>::current()) return run_segments(std::move(x), state, loop, options);
    const Index total = x.shape()[0];
    const Steps all{0, total, total, options.reverse};
    Vars<Real> outputs(static_cast<std::size_t>(total));
    if (total == 1) {  // as in sampling: no list of inputs
        Var<Real> only = squeeze(std::move(x), 0);
        StepRun<Real>{{&only, 1}, all, state, outputs, loop, options}.run();
    } else {
        Vars<Real> xs = unbind(std::move(x));
        StepRun<Real>{xs, all, state, outputs, loop, options}.run();
    }
    return stack(std::move(outputs));
}

/// A zero state, known to be zero.
template <class Real>
Var<Real> zero_state(const Shape& shape) {
    Var<Real> zero(zeros<Real>(shape));
    zero.internal()->zero = true;
    return zero;
}

}  // namespace

void check_loop_options(const Shape& x, const LoopOptions& options) {
    if (x[0] < 1) fail_shape("recurrent", "the input must have at least one time step", {x});
    if (options.truncate < 0 || options.checkpoint < 0)
        fail_value("recurrent",
                   fmt::format("truncate and checkpoint are numbers of steps, 0 (off) or more; got {} and {}",
                               options.truncate, options.checkpoint));
    if (!options.lengths) return;
    if (!(shape_of(*options.lengths) == Shape{x[1]}))
        fail_shape("recurrent", "lengths must have one element for each row", {x, shape_of(*options.lengths)});
    for (const std::int64_t length : *options.lengths)
        if (length < 1 || length > x[0])
            fail_value("recurrent", fmt::format("each length must be 1 to T = {}; got {}", x[0], length));
}

void check_both_directions(std::string_view layer, const LoopOptions& options) {
    if (options.reverse) fail_usage(layer, "reverse is for one direction; both run here");
    if (options.projected)
        fail_usage(layer, "the input can be projected for one direction only: each has weights of its own");
}

template <class Real>
Var<Real> Loop<Real>::run(Var<Real> x, Var<Real>* state, const LoopOptions& options) const {
    const auto guard = at_.enter();
    Undo<Real> undo(at_.store());
    if (!x) fail_usage("recurrent", "the input is an empty Var");
    if (x.rank() != 3) fail_shape("recurrent", "the input must be (T, B, features)", {x.shape()});
    const Index batch = x.shape()[1];
    const auto shape_of_state = [&](std::size_t k) { return Shape{batch, state_size(static_cast<int>(k))}; };
    for (std::size_t k = 0; k < states_; ++k)
        if (state[k] && !(state[k].shape() == shape_of_state(k)))
            fail_shape("recurrent",
                       fmt::format("state {} must be ({}, {}) for this input", k, batch, shape_of_state(k)[1]),
                       {x.shape(), state[k].shape()});
    check_loop_options(x.shape(), options);
    for (std::size_t k = 0; k < states_; ++k)
        if (!state[k]) state[k] = zero_state<Real>(shape_of_state(k));
    if (options.lengths) x = without_padding(std::move(x), *options.lengths);
    if (!options.projected) x = project_input(std::move(x));
    Var<Real> output = run_loop<Real>(std::move(x), {state, states_}, *this, options);
    if (guard.first()) output = at_.leave(std::move(output));
    undo.keep();
    return output;
}

template <class Real>
Var<Real> Loop<Real>::project(Var<Real> x) const {
    const auto guard = at_.enter();
    Undo<Real> undo(at_.store());
    x = project_input(std::move(x));
    undo.keep();
    return x;
}

/// A weight (in, out) whose rows are the features of a state.
template <class Real>
void Loop<Real>::mark_weights() const {
    for (ParameterEntry<Real>* entry : at_.store().entries())
        for (std::size_t k = 0; k < states_; ++k)
            if (entry->number >= first_ && entry->shape.rank() == 2 &&
                entry->shape[0] == state_size(static_cast<int>(k)))
                entry->in_loop = true;
}

template class Loop<float>;
template class Loop<double>;
template class Loop<Dual<double>>;

}  // namespace unroll::detail
