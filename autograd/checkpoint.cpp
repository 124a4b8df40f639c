// Gradient checkpointing.
#include <unroll/autograd/checkpoint.hpp>

#include <unroll/autograd/child_tape.hpp>
#include <unroll/autograd/detail/packed_weight.hpp>
#include <unroll/autograd/random.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace unroll {
namespace {

constexpr std::size_t kFew = 16;     // results of any shapes
constexpr std::size_t kMost = 4096;  // results of one shape

/// Outputs of a function that will run again. Its inputs are everything that the function took from the tape.
template <class Real>
struct Checkpoint {
    static constexpr std::string_view name = "checkpoint";

    std::shared_ptr<const CheckpointFunction<Real>> function;
    Vars<Real> inputs;
    Vars<Real> results;  // of the first run; empty afterwards
    std::shared_ptr<const DrawLog> draws;

    void infer(Shapes& s) const {
        if (results.size() > kFew) return s.outputs(static_cast<Index>(results.size()), results[0].shape());
        for (const Var<Real>& r : results) s.output(r.shape());
    }
    void forward(Forward<Real>& f) {
        for (std::size_t k = 0; k < results.size(); ++k) {
            const detail::Value<Real>& made = *results[k].internal();
            f.place(static_cast<Index>(k), made, made.data, false);
        }
        results.clear();
    }
    void backward(Backward<Real>& b) const {
        ChildTape<Real> child(b.tape());
        Vars<Real> again;
        DrawLog drawn;
        {
            const detail::NoPackScope<Real> plain;
            const DrawReplay replay(*draws);
            const DrawRecorder recorder(drawn);
            again = (*function)(inputs);
        }
        child.pause();
        if (drawn.counters.size() != draws->counters.size())
            detail::fail_usage("checkpoint",
                               "the function draws fewer random numbers when it runs again (was the store set to "
                               "evaluation since?)");
        bool alike = static_cast<Index>(again.size()) == b.outputs();
        for (std::size_t k = 0; alike && k < again.size(); ++k)
            alike = again[k].shape() == b.out_shape(static_cast<Index>(k));
        if (!alike) detail::fail_usage("checkpoint", "the function has other results when it runs again");
        Vars<Real> reached;
        std::vector<Tensor<Real>, detail::PoolAllocator<Tensor<Real>>> upstream;
        for (std::size_t k = 0; k < again.size(); ++k) {
            const View<Real> g = b.gout(static_cast<Index>(k));
            if (!g || !child.needs(again[k])) continue;
            reached.push_back(again[k]);
            upstream.push_back(alias<Real>({}, const_cast<Real*>(g.data), again[k].shape()));
        }
        if (!reached.empty()) child.backward(reached, upstream);
    }
    std::span<const Var<Real>> held() const noexcept { return inputs; }
    Index held_bytes() const noexcept {
        return static_cast<Index>(draws->counters.size() * sizeof(draws->counters[0]));
    }
};

}  // namespace

template <class Real>
Vars<Real> checkpoint(CheckpointFunction<Real> function, const Vars<Real>& inputs) {
    Tape<Real>* tape = Tape<Real>::current();
    if (!tape) return function(inputs);
    auto kept = std::make_shared<const CheckpointFunction<Real>>(std::move(function));
    auto draws = std::make_shared<DrawLog>();
    Vars<Real> results, captured;
    {
        ChildTape<Real> child(*tape);
        {
            const detail::NoPackScope<Real> plain;
            const DrawRecorder recorder(*draws);
            results = (*kept)(inputs);
        }
        child.pause();
        captured = child.captured();
    }
    if (captured.empty()) return results;
    const auto alike = [&](const Var<Real>& r) { return r.shape() == results[0].shape(); };
    if (results.size() > kMost || (results.size() > kFew && !std::ranges::all_of(results, alike)))
        detail::fail_usage(
            "checkpoint",
            fmt::format("a function has at most {} results, and where there are more than {} all must have "
                        "one shape; got {}",
                        kMost, kFew, results.size()));
    Vars<Real> out(results.size());
    apply_all<Real>(Checkpoint<Real>{std::move(kept), inputs, std::move(results), std::move(draws)},
                    std::span<Var<Real>>(captured), std::span<Var<Real>>(out));
    return out;
}

// ---- ChildTape ----

template <class Real>
ChildTape<Real>::ChildTape(Tape<Real>& parent)
    : tape_(parent, parent.options_),
      before_(detail::current_tape_of_thread<Real>()),
      no_grad_before_(detail::set_no_grad(false)) {
    detail::current_tape_of_thread<Real>() = &tape_;
}

template <class Real>
ChildTape<Real>::~ChildTape() {
    pause();
}

template <class Real>
void ChildTape<Real>::pause() noexcept {
    if (!recording_) return;
    recording_ = false;
    detail::current_tape_of_thread<Real>() = before_;
    detail::set_no_grad(no_grad_before_);
}

template <class Real>
const Vars<Real>& ChildTape<Real>::captured() const noexcept {
    return tape_.captured_;
}

template <class Real>
bool ChildTape<Real>::needs(const Var<Real>& value) const {
    return value && tape_.needs(*value.internal());
}

template <class Real>
void ChildTape<Real>::backward(std::span<const Var<Real>> outputs, std::span<const Tensor<Real>> upstream) {
    const NoGrad pause;
    tape_.check_call(outputs, upstream, {});
    tape_.start_sweep(outputs, upstream);
    tape_.run_sweep(false);
    tape_.state_ = Tape<Real>::State::finished;
}

#define UNROLL_INSTANTIATE(R)    \
    template class ChildTape<R>; \
    template Vars<R> checkpoint(CheckpointFunction<R>, const Vars<R>&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
