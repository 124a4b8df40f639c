// ChildTape: records a part of a graph for a node of another tape. Values and parameters that it takes from outside are
// captured: their gradients go straight to the slots of the tape above.
#pragma once

#include <unroll/autograd/tape.hpp>

namespace unroll {

namespace detail {
/// Pauses recording on this thread or lets it go on; says what was before.
bool set_no_grad(bool paused) noexcept;
/// The innermost tape of this thread, whether recording is paused or not.
template <class Real>
Tape<Real>*& current_tape_of_thread() noexcept;
}  // namespace detail

template <class Real>
class ChildTape {
public:
    /// Records on this thread until pause().
    explicit ChildTape(Tape<Real>& parent);
    ChildTape(const ChildTape&) = delete;
    ChildTape& operator=(const ChildTape&) = delete;
    ~ChildTape();

    /// Stops recording.
    void pause() noexcept;
    /// What was taken from outside, in the order of first use.
    const Vars<Real>& captured() const noexcept;
    bool needs(const Var<Real>& value) const;
    /// Runs back from `outputs` with the given gradients (empty ones are skipped).
    void backward(std::span<const Var<Real>> outputs, std::span<const Tensor<Real>> upstream);
    Tape<Real>& tape() noexcept { return tape_; }

private:
    Tape<Real> tape_;
    Tape<Real>* before_;
    bool recording_ = true;
    bool no_grad_before_;
};

extern template class ChildTape<float>;
extern template class ChildTape<double>;
extern template class ChildTape<Dual<double>>;

}  // namespace unroll
