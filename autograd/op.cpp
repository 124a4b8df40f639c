// What ops see: operands and outputs in forward, saved values and gradients in backward.
#include <unroll/autograd/op.hpp>

#include <unroll/autograd/parameter.hpp>
#include <unroll/autograd/profile.hpp>
#include <unroll/autograd/tape.hpp>

#include <unroll/autograd/linalg.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace unroll {
namespace {

/// Number of bits set; a few at most, and no instruction that every processor has counts them.
int bits_in(std::uint64_t mask) noexcept {
    int count = 0;
    for (; mask; mask &= mask - 1) ++count;
    return count;
}

}  // namespace

void Shapes::fail_output() const {
    if (equal_) detail::fail_usage(op_, "infer calls output after outputs");
    detail::fail_usage(op_, fmt::format("infer calls output more than {} times: call outputs(count, shape)", kMost));
}

void Shapes::fail_outputs() const { detail::fail_usage(op_, "infer calls outputs after another output"); }

namespace detail {

void fail_output_count(std::string_view op, Index given, Index asked) {
    fail_usage(op,
               fmt::format("infer gives {} outputs where {} is asked for: apply is for one, apply_all for any number",
                           given, asked));
}

void fail_empty_operand(std::string_view op, std::size_t number) {
    fail_usage(op, fmt::format("operand {} is an empty Var", number));
}

}  // namespace detail

// ---- Forward ----

namespace {
/// A value of this shape with memory for its elements; of what is recorded in a loop, the slice of a slab.
template <class Real>
detail::Value<Real>* new_value(const Shape& shape, bool recorded) {
    if (detail::SlabScope* slabs = recorded ? detail::SlabScope::current() : nullptr) {
        void* data = nullptr;
        if (detail::BlockRef block = slabs->allocate(static_cast<std::size_t>(shape.size()) * sizeof(Real), &data)) {
            detail::Value<Real>* value = detail::Value<Real>::make();
            value->shape = shape;
            value->data = static_cast<Real*>(data);
            value->block = std::move(block);
            return value;
        }
    }
    return detail::Value<Real>::make(shape);
}

// When the op that is computing on this thread saw its operands; read by a Profile alone.
thread_local constinit ProfileSpan::Time forward_start{};
}  // namespace

template <class Real>
Forward<Real>::Forward(const detail::OpInfo<Real>& info, std::span<Var<Real>> in, std::span<Var<Real>> out,
                       const Shapes& shapes)
    : info_(info), in_(in), out_(out), shapes_(shapes), tape_(Tape<Real>::current()) {
    if (ProfileSpan::on()) forward_start = ProfileSpan::now();
    if (!tape_) return;
    check_finite_ = tape_->options_.check_finite;
    bool any = false;
    for (std::size_t i = 0; i < in_.size(); ++i) {
        if (!tape_->needs(*in_[i].internal())) continue;
        any = true;
        if (i < 64) needed_ |= std::uint64_t{1} << i;
    }
    if (any && tape_->state_ != Tape<Real>::State::recording)
        detail::fail_usage(shapes.op(), "this tape has been differentiated already; begin a new Tape for new values");
    if (any) return;
    tape_ = nullptr;
    // An op that hands on a constant that is not finite has not made it; whoever needs a gradient of it will say so.
    if (check_finite_)
        check_finite_ =
            std::ranges::all_of(in_, [](const Var<Real>& v) { return detail::all_finite(v.data(), v.size()); });
}

template <class Real>
bool Forward<Real>::needs_far(Index i) const noexcept {
    return tape_->needs(*in_[static_cast<std::size_t>(i)].internal());
}

template <class Real>
detail::Value<Real>& Forward<Real>::put_output(Index k, detail::Value<Real>* value) {
    out_[static_cast<std::size_t>(k)] = Var<Real>::from(detail::ValueRef<Real>::adopt(value));
    return *value;
}

template <class Real>
detail::Value<Real>& Forward<Real>::reading_output(Index k, const detail::Value<Real>& from, Real* data) {
    detail::Value<Real>& value = put_output(k, detail::Value<Real>::make());
    value.shape = shapes_.out(k);
    value.read(from, data);
    return value;
}

template <class Real>
Real* Forward<Real>::out(Index k) {
    if (auto* made = out_[static_cast<std::size_t>(k)].internal()) return made->data;
    detail::Value<Real>& value = put_output(k, new_value<Real>(shapes_.out(k), tape_ != nullptr));
    value.exclusive = true;
    return value.data;
}

template <class Real>
Real* Forward<Real>::save(const Shape& shape) {
    if (saved_count_ == kMostSaved)
        detail::fail_usage(shapes_.op(), fmt::format("forward may save at most {} arrays", kMostSaved));
    detail::Value<Real>* const value = new_value<Real>(shape, tape_ != nullptr);
    saved_[saved_count_++] = value;
    return value->data;
}

template <class Real>
void Forward<Real>::share(Index k, Index i, Index offset) {
    detail::Value<Real>& from = input(i);
    if (from.exclusive) from.exclusive = false;  // a parameter's value, read by several threads, is not written
    reading_output(k, from, from.data + offset).zero = from.zero;
}

template <class Real>
bool Forward<Real>::last_handle(Index i) const noexcept {
    const detail::ValueRef<Real>& ref = const_cast<Var<Real>&>(in_[static_cast<std::size_t>(i)]).reference();
    return ref.unique() && ref->exclusive && !ref->parameter && ref->block &&
           (ref->block->slab || ref->block->references.load(std::memory_order_acquire) == 1);
}

template <class Real>
bool Forward<Real>::take(Index k, Index i) {
    if (!last_handle(i)) return false;
    detail::Value<Real>& from = input(i);
    reading_output(k, from, from.data).exclusive = true;
    return true;
}

template <class Real>
void Forward<Real>::place(Index k, const detail::Value<Real>& from, Real* data, bool exclusive) {
    reading_output(k, from, data).exclusive = exclusive;
}

template <class Real>
void Forward<Real>::multiply(Index weight, Index rows, Index k, Index n, const Real* x, bool accumulate,
                             Real* y) const {
    const detail::Value<Real>& w = input(weight);
    if (w.parameter &&
        detail::PackScope<Real>::multiply(w.data, w.parameter->version->number, rows, k, n, x, accumulate, y))
        return;
    detail::gemm(false, false, rows, n, k, x, k, w.data, n, accumulate, y, n);
}

template <class Real>
void Forward<Real>::commit(void* op) {
    if (ProfileSpan::on()) ProfileSpan::record("forward", info_.name(op), detail::current_place(), forward_start);
    for (Index k = 0; k < outputs(); ++k)
        if (!out_[static_cast<std::size_t>(k)].internal())
            detail::fail_usage(shapes_.op(),
                               fmt::format("forward made no output {}: call out, share, take or place", k));
    if (check_finite_)
        for (const Var<Real>& v : out_)
            if (!detail::all_finite(v.data(), v.size()))
                Tape<Real>::fail_non_finite(info_.name(op), tape_ ? tape_->end_number_ : -1, detail::current_place(),
                                            "forward made a value that is not finite");
    if (!tape_) return;
    const auto saved =
        static_cast<std::uint32_t>(bits_in(saved_in_) + bits_in(saved_out_) + static_cast<int>(saved_count_));
    detail::Node* node =
        tape_->new_node(info_, static_cast<std::uint32_t>(in_.size()), static_cast<std::uint32_t>(out_.size()), saved);
    node->saved_in = saved_in_;
    node->saved_out = saved_out_;
    for (std::size_t i = 0; i < in_.size(); ++i)
        node->input_slots()[i] =
            needs(static_cast<Index>(i)) ? tape_->needed_slot(*in_[i].internal(), node->number) : -1;
    for (std::size_t k = 0; k < out_.size(); ++k) {
        detail::Value<Real>& value = *out_[k].internal();
        const Index number = tape_->new_slot(value.shape, 0);
        if (k == 0) node->first_output = number;
        value.tape = tape_->id_;
        value.slot = number;
        if (value.block && value.block->slab) {
            const Index slice = detail::Slab::slice_at(*value.block, value.data,
                                                       static_cast<std::size_t>(value.shape.size()) * sizeof(Real));
            if (slice >= 0) {
                detail::Slot<Real>& slot = tape_->slot(number);
                slot.slab = detail::SlabRef::share(value.block->slab);
                slot.slice = static_cast<std::int32_t>(slice);
            }
        }
    }
    void** to = node->saved_values();
    for (std::uint64_t bits = saved_in_; bits; bits &= bits - 1) {
        // The handle moves in: counting it up, and down again when the caller drops it, costs a twentieth of a small op.
        detail::ValueRef<Real> kept = std::move(in_[static_cast<std::size_t>(std::countr_zero(bits))].reference());
        // A parameter that gets a gradient has been noted above.
        if (kept->version && (!kept->parameter || kept->parameter->frozen))
            tape_->note_constant(kept->version, node->number);
        *to++ = kept.leak();
    }
    for (std::uint64_t bits = saved_out_; bits; bits &= bits - 1)
        *to++ = detail::ValueRef<Real>(out_[static_cast<std::size_t>(std::countr_zero(bits))].reference()).leak();
    const std::size_t arrays = std::exchange(saved_count_, 0);  // the node's from now on
    for (std::size_t j = 0; j < arrays; ++j) *to++ = saved_[j];
    info_.relocate(node->op(), op);
}

// ---- Backward ----

namespace {

template <class Real>
std::string_view op_name(detail::Node& node) {
    return static_cast<const detail::OpInfo<Real>*>(node.info)->name(node.op());
}

/// Input or output `number` (`what` says which), of those in `mask`, which stand behind `before` other saved values.
template <class Real>
detail::Value<Real>* saved_value(detail::Node& node, std::uint64_t mask, Index number, int before,
                                 std::string_view what) {
    if (number >= 64 || !(mask >> number & 1))
        detail::fail_usage(
            op_name<Real>(node),
            fmt::format("backward reads {}put {}, which forward did not save: call save_{}", what, number, what));
    const int place = before + bits_in(mask & ((std::uint64_t{1} << number) - 1));
    return static_cast<detail::Value<Real>*>(node.saved_values()[place]);
}

template <class Real>
detail::Value<Real>* saved_in(detail::Node& node, Index i) {
    return saved_value<Real>(node, node.saved_in, i, 0, "in");
}
template <class Real>
detail::Value<Real>* saved_out(detail::Node& node, Index k) {
    return saved_value<Real>(node, node.saved_out, k, bits_in(node.saved_in), "out");
}

/// The j-th array that forward saved beside inputs and outputs.
template <class Real>
detail::Value<Real>* saved_array(detail::Node& node, Index j) {
    const auto first = bits_in(node.saved_in) + bits_in(node.saved_out);
    const Index arrays = static_cast<Index>(node.saved) - first;
    if (j >= arrays)
        detail::fail_usage(op_name<Real>(node),
                           fmt::format("backward reads saved array {}, and forward saved {} of them", j, arrays));
    return static_cast<detail::Value<Real>*>(node.saved_values()[first + j]);
}

}  // namespace

template <class Real>
Index Backward<Real>::inputs() const noexcept {
    return node_.inputs;
}

template <class Real>
Index Backward<Real>::outputs() const noexcept {
    return node_.outputs;
}

template <class Real>
View<Real> Backward<Real>::in(Index i) const {
    const auto* v = saved_in<Real>(node_, i);
    return {v->data, v->shape.size()};
}

template <class Real>
View<Real> Backward<Real>::out(Index k) const {
    const auto* v = saved_out<Real>(node_, k);
    return {v->data, v->shape.size()};
}

template <class Real>
View<Real> Backward<Real>::saved(Index j) const {
    const auto* v = saved_array<Real>(node_, j);
    return {v->data, v->shape.size()};
}

template <class Real>
const Shape& Backward<Real>::in_shape(Index i) const {
    const Index slot = node_.input_slots()[i];
    if (slot >= 0) return tape_.slot(slot).shape;
    return saved_in<Real>(node_, i)->shape;
}

template <class Real>
const Shape& Backward<Real>::out_shape(Index k) const {
    return tape_.slot(node_.first_output + k).shape;
}

template <class Real>
const Shape& Backward<Real>::saved_in_shape(Index i) const {
    return saved_in<Real>(node_, i)->shape;
}

template <class Real>
bool Backward<Real>::same_slot(Index i, Index j) const noexcept {
    return node_.input_slots()[i] == node_.input_slots()[j];
}

template <class Real>
bool Backward<Real>::needs(Index i) const noexcept {
    const Index slot = node_.input_slots()[i];
    return slot >= 0 && tape_.slots_.contains(slot) && !(tape_.slot(slot).flags & detail::kGone);
}

template <class Real>
bool Backward<Real>::is_parameter(Index i) const noexcept {
    return needs(i) && tape_.slot(node_.input_slots()[i]).parameter != nullptr;
}

template <class Real>
View<Real> Backward<Real>::gout(Index k) const {
    const detail::Slot<Real>& slot = tape_.slot(node_.first_output + k);
    if (!(slot.flags & detail::kDense)) return {};
    return {slot.grad, slot.shape.size()};
}

template <class Real>
std::pair<Tape<Real>*, Index> Backward<Real>::home(Index i) const noexcept {
    return tape_.home(node_.input_slots()[i]);
}

template <class Real>
Accumulator<Real> Backward<Real>::grad(Index i) {
    return tape_.accumulate(node_.input_slots()[i]);
}

template <class Real>
void Backward<Real>::add_reduced(Index i, const Real* gradient, const Shape& shape) {
    if (needs(i)) tape_.reduce_to_slot(node_.input_slots()[i], gradient, shape);
}

template <class Real>
void Backward<Real>::pass(Index i, Index k) {
    if (!needs(i) || !gout(k)) return;
    if (in_shape(i).size() != out_shape(k).size()) {
        tape_.reduce_to_slot(node_.input_slots()[i], gout(k).data, out_shape(k));
        return;
    }
    pass_slice(i, k, 0);
}

template <class Real>
void Backward<Real>::pass_slice(Index i, Index k, Index offset) {
    if (!needs(i) || !gout(k)) return;
    const auto [tape, number] = home(i);
    detail::Slot<Real>& to = tape->slot(number);
    detail::Slot<Real>& from = tape_.slot(node_.first_output + k);
    const bool shared = from.flags & (detail::kReadOnly | detail::kWatched);
    if ((to.flags & detail::kDense) || ((from.flags & detail::kStolen) && !shared)) {
        tape_.add_to_slot(node_.input_slots()[i], from.grad + offset);
        return;
    }
    // The gradient of the output dies with this node, so the input takes its memory over; a second taker copies. Where it
    // is kept or waits in a product, it is shared, and a taker copies before it adds.
    to.grad = from.grad + offset;
    to.block = from.block;
    to.flags |= detail::kDense;
    if (shared) to.flags |= detail::kReadOnly;
    if (from.shape.size() == to.shape.size()) from.flags |= detail::kStolen;
}

template <class Real>
void Backward<Real>::pass_joined() {
    if (!needs(0)) return;
    const Index number = node_.input_slots()[0];
    const Index count = node_.outputs, part = out_shape(0).size();
    detail::Slot<Real>& to = tape_.slot(number);
    detail::Slot<Real>& first = tape_.slot(node_.first_output);
    bool joined = to.captured < 0 && !(to.flags & detail::kDense) && !to.parameter && first.block;
    bool read_only = false;
    for (Index k = 0; joined && k < count; ++k) {
        const detail::Slot<Real>& s = tape_.slot(node_.first_output + k);
        joined = (s.flags & detail::kDense) && s.block.get() == first.block.get() && s.grad == first.grad + k * part &&
                 !(s.flags & detail::kWatched);
        read_only = read_only || (s.flags & detail::kReadOnly);
    }
    if (joined) {
        to.grad = first.grad;
        to.block = first.block;
        to.flags |= detail::kDense | (read_only ? detail::kReadOnly : 0u);
        return;
    }
    const Accumulator<Real> acc = tape_.accumulate(number);
    for (Index k = 0; k < count; ++k) {
        const View<Real> g = gout(k);
        Real* at = acc.data + k * part;
        if (g && acc.adding)
            for (Index i = 0; i < part; ++i) at[i] += g[i];
        else if (g)
            std::copy_n(g.data, part, at);
        else if (!acc.adding)
            std::fill_n(at, part, Real(0));
    }
}

template <class Real>
detail::Pending<Real>& Backward<Real>::add_pending(Tape<Real>& tape, Index number) {
    detail::Pending<Real>& p = tape.pending_.add();
    p.older = std::exchange(tape.slot(number).pending, static_cast<std::int32_t>(tape.pending_.end_number() - 1));
    return p;
}

template <class Real>
void Backward<Real>::add_zeros(Index i) {
    if (!needs(i)) return;
    const auto [tape, number] = home(i);
    const detail::Slot<Real>& slot = tape->slot(number);
    if ((slot.flags & detail::kDense) || slot.pending >= 0) return;
    const Accumulator<Real> place = tape->accumulate(number);
    std::fill_n(place.data, place.size, Real(0));
}

template <class Real>
void Backward<Real>::add_product(Index i, Operand<Real> a, Operand<Real> b, Index rows, Index m, Index n) {
    if (!needs(i)) return;
    if (rows == 0) return add_zeros(i);
    // A vector is a row, whichever way it came: products of one slot have one shape.
    if (n == 1) {
        std::swap(a, b);
        std::swap(m, n);
    }
    const auto [tape, number] = home(i);
    constexpr std::int32_t kMostRows = 4096;
    if (tape->slot(number).pending_rows + rows > kMostRows && tape->slot(number).pending_rows > 0) tape->settle(number);
    detail::Pending<Real>& p = add_pending(*tape, number);
    p.a_block = detail::BlockRef::share(a.block);
    p.b_block = detail::BlockRef::share(b.block);
    p.a = a.data;
    p.b = b.data;
    p.rows = rows;
    p.m = m;
    p.n = n;
    tape->slot(number).pending_rows += static_cast<std::int32_t>(rows);
}

template <class Real>
void Backward<Real>::add_rows(Index i, const std::int64_t* indices, detail::Block* keep, Operand<Real> rows,
                              Index count, Index width) {
    if (!needs(i)) return;
    const auto [tape, number] = home(i);
    detail::Pending<Real>& p = add_pending(*tape, number);
    p.a_block = detail::BlockRef::share(keep);
    p.b_block = detail::BlockRef::share(rows.block);
    static constexpr std::int64_t kNone = -1;
    p.indices = count > 0 ? indices : &kNone;
    p.b = rows.data;
    p.rows = count;
    p.n = width;
}

template <class Real>
void Backward<Real>::add_transposed_product(Index to, Index weight, Index rows, Index m, Index n) {
    const Accumulator<Real> place = grad(to);
    tape_.multiply_transposed(in_operand(weight), rows, m, n, gout(0).data, place.adding, place.data);
}

template <class Real>
Operand<Real> Backward<Real>::in_operand(Index i) const {
    const auto* v = saved_in<Real>(node_, i);
    return {v->data, v->block.get()};
}

template <class Real>
Operand<Real> Backward<Real>::out_operand(Index k) const {
    const auto* v = saved_out<Real>(node_, k);
    return {v->data, v->block.get()};
}

template <class Real>
Operand<Real> Backward<Real>::saved_operand(Index j) const {
    const auto* v = saved_array<Real>(node_, j);
    return {v->data, v->block.get()};
}

template <class Real>
Operand<Real> Backward<Real>::gout_operand(Index k) {
    detail::Slot<Real>& slot = tape_.slot(node_.first_output + k);
    slot.flags |= detail::kReadOnly;
    return {slot.grad, slot.block.get()};
}

template class Forward<float>;
template class Forward<double>;
template class Forward<Dual<double>>;
template class Backward<float>;
template class Backward<double>;
template class Backward<Dual<double>>;

}  // namespace unroll
