// The small functions by which an op looks at its node, its operands and its gradients in backward, to be inlined into the
// ops that are run most. Everybody else calls those that op.cpp compiles.
#pragma once

#include <unroll/autograd/tape.hpp>

namespace unroll {
namespace detail {

/// Number of bits set; a few at most, and no instruction that every processor has counts them.
inline int bits_in(std::uint64_t mask) noexcept {
    int count = 0;
    for (; mask; mask &= mask - 1) ++count;
    return count;
}

/// UsageError: backward reads what forward did not save.
template <class Real>
[[noreturn]] void fail_not_saved(Node& node, Index number, std::string_view what);
template <class Real>
[[noreturn]] void fail_no_saved_array(Node& node, Index number, Index arrays);

/// Input or output `number` (`what` says which), of those in `mask`, which stand behind `before` other saved values.
template <class Real>
Value<Real>* saved_value(Node& node, std::uint64_t mask, Index number, int before, std::string_view what) {
    if (number >= 64 || !(mask >> number & 1)) fail_not_saved<Real>(node, number, what);
    const int place = before + bits_in(mask & ((std::uint64_t{1} << number) - 1));
    return static_cast<Value<Real>*>(node.saved_values()[place]);
}

template <class Real>
Value<Real>* saved_in(Node& node, Index i) {
    return saved_value<Real>(node, node.saved_in, i, 0, "in");
}
template <class Real>
Value<Real>* saved_out(Node& node, Index k) {
    return saved_value<Real>(node, node.saved_out, k, bits_in(node.saved_in), "out");
}

/// The j-th array that forward saved beside inputs and outputs.
template <class Real>
Value<Real>* saved_array(Node& node, Index j) {
    const int first = bits_in(node.saved_in) + bits_in(node.saved_out);
    const Index arrays = static_cast<Index>(node.saved) - first;
    if (j >= arrays) fail_no_saved_array<Real>(node, j, arrays);
    return static_cast<Value<Real>*>(node.saved_values()[first + j]);
}

}  // namespace detail

template <class Real>
inline Index Backward<Real>::inputs() const noexcept {
    return node_.inputs;
}

template <class Real>
inline Index Backward<Real>::outputs() const noexcept {
    return node_.outputs;
}

template <class Real>
inline View<Real> Backward<Real>::in(Index i) const {
    const auto* v = detail::saved_in<Real>(node_, i);
    return {v->data, v->shape.size()};
}

template <class Real>
inline View<Real> Backward<Real>::out(Index k) const {
    const auto* v = detail::saved_out<Real>(node_, k);
    return {v->data, v->shape.size()};
}

template <class Real>
inline View<Real> Backward<Real>::saved(Index j) const {
    const auto* v = detail::saved_array<Real>(node_, j);
    return {v->data, v->shape.size()};
}

template <class Real>
inline const Shape& Backward<Real>::in_shape(Index i) const {
    const Index slot = node_.input_slots()[i];
    if (slot >= 0) return tape_.slot(slot).shape;
    return detail::saved_in<Real>(node_, i)->shape;
}

template <class Real>
inline const Shape& Backward<Real>::out_shape(Index k) const {
    return tape_.slot(node_.first_output + k).shape;
}

template <class Real>
inline const Shape& Backward<Real>::saved_in_shape(Index i) const {
    return detail::saved_in<Real>(node_, i)->shape;
}

template <class Real>
inline bool Backward<Real>::same_slot(Index i, Index j) const noexcept {
    return node_.input_slots()[i] == node_.input_slots()[j];
}

template <class Real>
inline bool Backward<Real>::needs(Index i) const noexcept {
    const Index slot = node_.input_slots()[i];
    return slot >= 0 && tape_.slots_.contains(slot) && !(tape_.slot(slot).flags & detail::kGone);
}

template <class Real>
inline View<Real> Backward<Real>::gout(Index k) const {
    const detail::Slot<Real>& slot = tape_.slot(node_.first_output + k);
    if (!(slot.flags & detail::kDense)) return {};
    return {slot.grad, slot.shape.size()};
}

template <class Real>
inline Accumulator<Real> Backward<Real>::grad(Index i) {
    return tape_.accumulate(node_.input_slots()[i]);
}

template <class Real>
inline Operand<Real> Backward<Real>::in_operand(Index i) const {
    const auto* v = detail::saved_in<Real>(node_, i);
    return {v->data, v->block.get()};
}

template <class Real>
inline Operand<Real> Backward<Real>::out_operand(Index k) const {
    const auto* v = detail::saved_out<Real>(node_, k);
    return {v->data, v->block.get()};
}

template <class Real>
inline Operand<Real> Backward<Real>::saved_operand(Index j) const {
    const auto* v = detail::saved_array<Real>(node_, j);
    return {v->data, v->block.get()};
}

}  // namespace unroll
