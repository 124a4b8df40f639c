// The tape: how it stands and falls, its nodes in chunks, and whose gradient has a slot.
#include <unroll/autograd/tape.hpp>

#include <unroll/autograd/parameter.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

namespace unroll {
namespace detail {
namespace {

// Which tapes stand: slot id % kTapes holds the id of a standing tape.
constexpr std::uint64_t kTapes = 4096;
std::atomic<std::uint64_t> standing[kTapes];
std::atomic<std::uint64_t> next_tape{1};

std::uint64_t register_tape() {
    for (std::uint64_t tries = 0; tries < kTapes; ++tries) {
        const std::uint64_t id = next_tape.fetch_add(1, std::memory_order_relaxed);
        std::uint64_t none = 0;
        if (standing[id % kTapes].compare_exchange_strong(none, id)) return id;
    }
    fail_usage("Tape", fmt::format("more than {} tapes stand at once", kTapes));
}

void unregister_tape(std::uint64_t id) noexcept { standing[id % kTapes].store(0); }

constexpr std::size_t kChunkBytes = std::size_t{1} << 15;

thread_local constinit bool no_grad = false;

template <class Real>
Tape<Real>*& current_tape() noexcept {
    thread_local constinit Tape<Real>* tape = nullptr;
    return tape;
}

}  // namespace

bool set_no_grad(bool paused) noexcept { return std::exchange(no_grad, paused); }

template <class Real>
Tape<Real>*& current_tape_of_thread() noexcept {
    return current_tape<Real>();
}
template Tape<float>*& current_tape_of_thread() noexcept;
template Tape<double>*& current_tape_of_thread() noexcept;
template Tape<Dual<double>>*& current_tape_of_thread() noexcept;

bool tape_alive(std::uint64_t id) noexcept {
    return id != 0 && standing[id % kTapes].load(std::memory_order_relaxed) == id;
}

}  // namespace detail

NoGrad::NoGrad() noexcept : before_(detail::no_grad) { detail::no_grad = true; }
NoGrad::~NoGrad() { detail::no_grad = before_; }
bool NoGrad::active() noexcept { return detail::no_grad; }

// ---- Standing and falling ----

template <class Real>
Tape<Real>::Tape(TapeOptions options) : id_(detail::register_tape()), options_(options) {
    outer_ = detail::current_tape<Real>();
    detail::current_tape<Real>() = this;
}

template <class Real>
Tape<Real>::Tape(Tape& parent, TapeOptions options)
    : id_(detail::register_tape()), parent_(&parent), options_(options) {}

template <class Real>
Tape<Real>::~Tape() {
    // Tapes may fall in another order than they were made.
    for (Tape** at = &detail::current_tape<Real>(); !parent_ && *at; at = &(*at)->outer_) {
        if (*at != this) continue;
        *at = outer_;
        break;
    }
    clear();
    for (char* chunk : chunks_) detail::pool_free(chunk);
    detail::unregister_tape(id_);
}

template <class Real>
Tape<Real>* Tape<Real>::current() noexcept {
    return detail::no_grad ? nullptr : detail::current_tape<Real>();
}

template <class Real>
void Tape<Real>::clear() noexcept {
    while (first_) {
        detail::Node* next = first_->next;
        destroy_node(first_);
        first_ = next;
    }
    last_ = nullptr;
}

// ---- Nodes ----

template <class Real>
detail::Node* Tape<Real>::new_node(const detail::OpInfo<Real>& info, std::uint32_t inputs, std::uint32_t outputs,
                                   std::uint32_t saved) {
    constexpr std::size_t kAlign = 16;
    const std::size_t head = sizeof(detail::Node) + inputs * sizeof(Index) + saved * sizeof(void*);
    const std::size_t op_offset = (head + kAlign - 1) / kAlign * kAlign;
    const std::size_t bytes = (op_offset + info.bytes + kAlign - 1) / kAlign * kAlign;
    if (chunks_.empty() || chunk_used_ + bytes > detail::kChunkBytes) {
        chunks_.push_back(static_cast<char*>(detail::pool_allocate(std::max(bytes, detail::kChunkBytes))));
        chunk_used_ = 0;
    }
    auto* node = new (chunks_.back() + chunk_used_) detail::Node{};
    chunk_used_ += bytes;
    node->info = &info;
    node->number = end_number_++;
    node->inputs = inputs;
    node->outputs = outputs;
    node->saved = saved;
    node->op_offset = static_cast<std::uint32_t>(op_offset);
    node->place = detail::current_place();
    node->previous = last_;
    if (last_)
        last_->next = node;
    else
        first_ = node;
    last_ = node;
    return node;
}

template <class Real>
void Tape<Real>::destroy_node(detail::Node* node) noexcept {
    void** saved = node->saved_values();
    for (std::uint32_t i = 0; i < node->saved; ++i)
        detail::ValueRef<Real>::release(static_cast<detail::Value<Real>*>(saved[i]));
    static_cast<const detail::OpInfo<Real>*>(node->info)->destroy(node->op());
}

template <class Real>
void Tape<Real>::destroy_last() noexcept {
    detail::Node* previous = last_->previous;
    destroy_node(last_);
    last_ = previous;
    if (previous)
        previous->next = nullptr;
    else
        first_ = nullptr;
}

template <class Real>
void Tape<Real>::drop_before(Index number) {
    if (state_ == State::running) detail::fail_usage("drop_before", "a backward sweep is running");
    while (first_ && first_->number < number) {
        detail::Node* next = first_->next;
        for (std::uint32_t k = 0; k < first_->outputs; ++k) slot(first_->first_output + k).flags |= detail::kGone;
        // Whole chunks that hold nothing else are given back.
        const bool chunk_ends =
            !next || (chunks_.size() > 1 && !(reinterpret_cast<char*>(next) >= chunks_[0] &&
                                              reinterpret_cast<char*>(next) < chunks_[0] + detail::kChunkBytes));
        destroy_node(first_);
        first_ = next;
        if (chunk_ends && chunks_.size() > 1) {
            detail::pool_free(chunks_[0]);
            for (std::size_t i = 1; i < chunks_.size(); ++i) chunks_[i - 1] = chunks_[i];
            chunks_.pop_back();
        }
        first_number_ = next ? next->number : end_number_;
    }
    for (Leaf& leaf : leaves_) leaf.uses.drop_before(first_number_);
    for (Constant& constant : constants_) constant.uses.drop_before(first_number_);
    if (first_)
        first_->previous = nullptr;
    else
        last_ = nullptr;
}

template <class Real>
void Tape<Real>::drop_from(Index number) {
    if (state_ == State::running) detail::fail_usage("drop_from", "a backward sweep is running");
    while (last_ && last_->number >= number) {
        for (std::uint32_t k = 0; k < last_->outputs; ++k) slot(last_->first_output + k).flags |= detail::kGone;
        destroy_last();
    }
    end_number_ = std::max(first_number_, std::min(end_number_, number));
    for (Leaf& leaf : leaves_) leaf.uses.drop_from(end_number_);
    for (Constant& constant : constants_) constant.uses.drop_from(end_number_);
}

// ---- Slots ----

template <class Real>
Index Tape<Real>::new_slot(const Shape& shape, std::uint32_t flags) {
    slots_.add(shape, flags);
    return slots_.end_number() - 1;
}

template <class Real>
bool Tape<Real>::needs_leaf(const detail::Value<Real>& value) const {
    if (value.parameter) return !value.parameter->frozen;
    for (const Tape* above = parent_; above; above = above->parent_)
        if (value.tape == above->id_) return above->needs(value);
    if (detail::tape_alive(value.tape))
        detail::fail_usage("Tape",
                           "an operand was recorded by another tape that still stands, so its gradient would be lost; "
                           "use one tape, or detach() the operand");
    return false;
}

template <class Real>
Index Tape<Real>::slot_for(detail::Value<Real>& value) {
    return needs(value) ? needed_slot(value) : -1;
}

template <class Real>
Index Tape<Real>::leaf_slot(detail::Value<Real>& value, Index user) {
    if (value.parameter) {
        for (Leaf& leaf : leaves_) {
            if (leaf.parameter != value.parameter) continue;
            if (user >= 0) leaf.uses.add(user, value.version->number);
            return leaf.slot;
        }
        const Index number = new_slot(value.shape, detail::kLeaf);
        if (parent_) {
            const Index above = parent_->slot_for(value);
            slots_[number].captured = above;
            captured_.push_back(Var<Real>::from(detail::ValueRef<Real>::share(&value)));
        }
        slots_[number].parameter = value.parameter;
        leaves_.push_back({value.parameter, number, {}});
        if (user >= 0) leaves_.back().uses.add(user, value.version->number);
        return number;
    }
    const Index above = parent_->slot_for(value);
    for (Index number = 0; number < slots_.end_number(); ++number)
        if (slots_[number].captured == above) return number;
    const Index number = new_slot(value.shape, detail::kLeaf);
    slots_[number].captured = above;
    captured_.push_back(Var<Real>::from(detail::ValueRef<Real>::share(&value)));
    return number;
}

template <class Real>
void Tape<Real>::note_constant(const detail::VersionRef& version, Index user) {
    if (parent_)
        return parent_->note_constant(version, parent_->end_number_);  // the node that will stand for this tape
    if (state_ == State::running) return;  // a part that runs again: noted when it ran first
    for (Constant& known : constants_)
        if (known.version.get() == version.get()) return known.uses.add(user, version->number);
    constants_.push_back({version, {}});
    constants_.back().uses.add(user, version->number);
}

template <class Real>
void Tape<Real>::watch(const Var<Real>& x) {
    if (!x) detail::fail_usage("watch", "the Var is empty");
    if (state_ != State::recording) detail::fail_usage("watch", "this tape has been differentiated already");
    detail::Value<Real>& value = *x.internal();
    Index number = slot_for(value);
    if (number < 0) {
        if (value.parameter)
            detail::fail_usage("watch",
                               fmt::format("{} is frozen; thaw it to watch its gradient", value.parameter->name));
        number = new_slot(value.shape, detail::kLeaf);
        value.tape = id_;
        value.slot = number;
    }
    if (slot(number).captured >= 0) detail::fail_usage("watch", "the value belongs to the parent tape; watch it there");
    if (value.exclusive) value.exclusive = false;
    if (slot(number).flags & detail::kWatched) return;
    slot(number).flags |= detail::kWatched;
    watched_.push_back(number);
}

template <class Real>
void Tape<Real>::hook(const Var<Real>& x, Hook hook) {
    if (state_ != State::recording) detail::fail_usage("hook", "this tape has been differentiated already");
    const Index number = x ? slot_for(*x.internal()) : -1;
    if (number < 0 || slot(number).captured >= 0)
        detail::fail_usage("hook", "the value needs no gradient on this tape; watch it first");
    slot(number).flags |= detail::kHooked;
    hooks_.push_back({number, std::move(hook)});
}

template <class Real>
Tensor<Real> Tape<Real>::gradient(const Var<Real>& x) const {
    const detail::Value<Real>* value = x.internal();
    Index number = -1;
    if (value && value->parameter) {
        for (const Leaf& leaf : leaves_)
            if (leaf.parameter == value->parameter) number = leaf.slot;
    } else if (value && value->tape == id_) {
        number = value->slot;
    }
    if (number < 0 || !slots_.contains(number) || !(slots_[number].flags & detail::kWatched))
        detail::fail_usage("gradient", "the value is not watched: call tape.watch(x) before the forward pass uses it");
    const detail::Slot<Real>& s = slots_[number];
    Tensor<Real> out = empty<Real>(s.shape);
    if (s.flags & detail::kDense)
        std::copy_n(s.grad, out.size(), out.data());
    else
        std::fill_n(out.data(), out.size(), Real(0));
    return out;
}

template <class Real>
void Tape<Real>::fail_non_finite(std::string_view op, Index node, detail::Place place, std::string_view what) {
    throw NonFiniteError(fmt::format("[{}] {} ({}){}", op, what, node < 0 ? "a constant" : fmt::format("node {}", node),
                                     detail::place_suffix(place)));
}

template class Tape<float>;
template class Tape<double>;
template class Tape<Dual<double>>;

}  // namespace unroll
