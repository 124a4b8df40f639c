// The tape: nodes in chunks, gradient slots, the reverse loop.
#include <unroll/autograd/tape.hpp>

#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/parameter.hpp>
#include <unroll/autograd/profile.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace unroll {
namespace detail {
namespace {

// Which tapes stand: slot id % kTapes holds the id of a standing tape.
constexpr std::uint64_t kTapes = 4096;
std::atomic<std::uint64_t> standing[kTapes];
std::atomic<std::uint64_t> next_tape{1};
std::atomic<std::uint64_t> next_sweep{1};

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
    registered_ = true;
}

template <class Real>
Tape<Real>::Tape(Tape* parent, bool) : id_(detail::register_tape()), parent_(parent), options_(parent->options_) {}

template <class Real>
Tape<Real>::~Tape() {
    if (registered_) detail::current_tape<Real>() = outer_;
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
void Tape<Real>::drop_before(Index number) {
    if (state_ == State::running) detail::fail_usage("drop_before", "a backward sweep is running");
    while (first_ && first_->number < number) {
        detail::Node* next = first_->next;
        for (std::uint32_t k = 0; k < first_->outputs; ++k) slot(first_->first_output + k).flags |= detail::kGone;
        // Whole chunks that hold nothing else are given back.
        const bool chunk_ends = !next || (chunks_.size() > 1 && !(reinterpret_cast<char*>(next) >= chunks_[0] &&
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
    if (first_)
        first_->previous = nullptr;
    else
        last_ = nullptr;
    // Leaves stay; slots before the first node that is left are given back unless a leaf stands among them.
    Index keep = first_ ? first_->first_output : slots_.end_number();
    for (const Leaf& leaf : leaves_) keep = std::min(keep, leaf.slot);
    for (const Index watched : watched_) keep = std::min(keep, watched);
    slots_.drop_before(keep);
}

// ---- Slots ----

template <class Real>
Index Tape<Real>::new_slot(const Shape& shape, std::uint32_t flags) {
    const Index number = slots_.add();
    slots_[number].shape = shape;
    slots_[number].flags = flags;
    return number;
}

template <class Real>
bool Tape<Real>::needs(const detail::Value<Real>& value) const {
    if (value.parameter) return !value.parameter->frozen;
    if (value.tape == 0) return false;
    if (value.tape == id_) return slots_.contains(value.slot) && !(slots_[value.slot].flags & detail::kGone);
    for (const Tape* above = parent_; above; above = above->parent_)
        if (value.tape == above->id_) return above->needs(value);
    if (detail::tape_alive(value.tape))
        detail::fail_usage("Tape", "an operand was recorded by another tape that still stands, so its gradient would be lost; "
                                   "use one tape, or detach() the operand");
    return false;
}

template <class Real>
Index Tape<Real>::slot_for(detail::Value<Real>& value) {
    return needs(value) ? needed_slot(value) : -1;
}

template <class Real>
Index Tape<Real>::needed_slot(detail::Value<Real>& value) {
    if (value.tape == id_ && !value.parameter) return value.slot;
    if (value.parameter) {
        for (const Leaf& leaf : leaves_)
            if (leaf.parameter == value.parameter) return leaf.slot;
        const Index number = new_slot(value.shape, detail::kLeaf);
        if (parent_) {
            const Index above = parent_->slot_for(value);
            slots_[number].captured = above;
            captured_.push_back(Var<Real>::from(detail::ValueRef<Real>::share(&value)));
        }
        slots_[number].parameter = value.parameter;
        leaves_.push_back({value.parameter, number, value.parameter->version});
        return number;
    }
    const Index above = parent_->slot_for(value);
    for (Index number = slots_.begin_number(); number < slots_.end_number(); ++number)
        if (slots_[number].captured == above) return number;
    const Index number = new_slot(value.shape, detail::kLeaf);
    slots_[number].captured = above;
    captured_.push_back(Var<Real>::from(detail::ValueRef<Real>::share(&value)));
    return number;
}

template <class Real>
void Tape<Real>::watch(const Var<Real>& x) {
    if (!x) detail::fail_usage("watch", "the Var is empty");
    if (state_ != State::recording) detail::fail_usage("watch", "this tape has been differentiated already");
    detail::Value<Real>& value = *x.internal();
    Index number = slot_for(value);
    if (number < 0) {
        if (value.parameter)
            detail::fail_usage("watch", fmt::format("{} is frozen; thaw it to watch its gradient", value.parameter->name));
        number = new_slot(value.shape, detail::kLeaf);
        value.tape = id_;
        value.slot = number;
    }
    if (slot(number).captured >= 0)
        detail::fail_usage("watch", "the value belongs to the parent tape; watch it there");
    value.exclusive = false;
    if (slot(number).flags & detail::kWatched) return;
    slot(number).flags |= detail::kWatched;
    watched_.push_back(number);
}

template <class Real>
void Tape<Real>::hook(const Var<Real>& x, Hook hook) {
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
Gradients<Real>* Tape<Real>::target(const ParameterStore<Real>* store) const noexcept {
    for (Gradients<Real>* gradients : into_)
        if (&gradients->store() == store) return gradients;
    return &const_cast<ParameterStore<Real>*>(store)->gradients();
}

template <class Real>
Accumulator<Real> Tape<Real>::accumulate(Index number) {
    if (slot(number).captured >= 0) return parent_->accumulate(slot(number).captured);
    detail::Slot<Real>& s = slot(number);
    const Index n = s.shape.size();
    const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(Real);
    if (s.flags & detail::kDense) {
        if (s.flags & detail::kReadOnly) {
            detail::BlockRef block = detail::BlockRef::adopt(detail::Block::make(bytes));
            std::copy_n(s.grad, n, block->template as<Real>());
            s.block = std::move(block);
            s.grad = s.block->template as<Real>();
            s.flags &= ~static_cast<std::uint32_t>(detail::kReadOnly);
        }
        return {s.grad, n, true};
    }
    s.grad = nullptr;
    if (s.parameter) s.grad = target(s.parameter->store)->place(*s.parameter);
    if (!s.grad && s.slab) {
        void* place = nullptr;
        s.block = s.slab->claim(s.slice, sweep_, &place);
        s.grad = static_cast<Real*>(place);
    }
    if (!s.grad) {
        s.block = detail::BlockRef::adopt(detail::Block::make(bytes));
        s.grad = s.block->template as<Real>();
    }
    s.flags |= detail::kDense;
    return {s.grad, n, false};
}

template <class Real>
void Tape<Real>::add_to_slot(Index number, const Real* gradient) {
    const Accumulator<Real> acc = accumulate(number);
    if (acc.adding)
        detail::add_to(acc.data, gradient, acc.size);
    else
        std::copy_n(gradient, acc.size, acc.data);
}

template <class Real>
void Tape<Real>::reduce_to_slot(Index number, const Real* gradient, const Shape& shape) {
    const Shape own = slot(number).shape;
    if (own == shape) {
        add_to_slot(number, gradient);
        return;
    }
    const Accumulator<Real> acc = accumulate(number);
    detail::reduce_broadcast(gradient, shape, acc.adding, acc.data, own);
}

template <class Real>
void Tape<Real>::settle(Index number) {
    if (slot(number).pending < 0) return;
    using detail::Pending;
    // In the order of arrival: the latest time step first.
    detail::PoolVector<std::int32_t> order;
    Index rows = 0;
    Index m = 0, n = 0;
    for (std::int32_t at = slot(number).pending; at >= 0; at = pending_[at].older) order.push_back(at);
    std::reverse(order.begin(), order.end());
    slot(number).pending = -1;
    slot(number).pending_rows = 0;
    bool up = true, down = true;
    const Pending<Real>* before = nullptr;
    for (const std::int32_t at : order) {
        const Pending<Real>& p = pending_[at];
        if (p.indices) continue;
        if (before) {
            up = up && p.a == before->a + before->rows * p.m && p.b == before->b + before->rows * p.n;
            down = down && p.a + p.rows * p.m == before->a && p.b + p.rows * p.n == before->b;
        }
        before = &p;
        rows += p.rows;
        m = p.m;
        n = p.n;
    }
    if (before) {
        const Accumulator<Real> acc = accumulate(number);
        const Real* a = up ? nullptr : before->a;
        const Real* b = up ? nullptr : before->b;
        if (up)
            for (const std::int32_t at : order)
                if (!pending_[at].indices) {
                    a = pending_[at].a;
                    b = pending_[at].b;
                    break;
                }
        detail::BlockRef packed_a, packed_b;
        if (!up && !down) {
            packed_a = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(rows * m) * sizeof(Real)));
            packed_b = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(rows * n) * sizeof(Real)));
            Real* to_a = packed_a->template as<Real>();
            Real* to_b = packed_b->template as<Real>();
            a = to_a;
            b = to_b;
            // The earliest time step first, as where the rows of all steps lie one behind the other: sums have the same bits.
            for (std::size_t i = order.size(); i-- > 0;) {
                const Pending<Real>& p = pending_[order[i]];
                if (p.indices) continue;
                to_a = std::copy_n(p.a, p.rows * m, to_a);
                to_b = std::copy_n(p.b, p.rows * n, to_b);
            }
        }
        const ProfileSpan span("backward", "deferred_product", detail::current_place());
        detail::gemm(true, false, m, n, rows, a, m, b, n, acc.adding, acc.data, n);
        ++deferred_products_;
    }
    // Rows of a parameter are scattered when the sweep is over; of any other value now.
    const bool wait = slot(number).parameter != nullptr;
    std::int32_t still = -1;
    for (const std::int32_t at : order) {
        Pending<Real>& p = pending_[at];
        if (!p.indices) {
            p = Pending<Real>();
            continue;
        }
        if (wait) {
            p.older = still;
            still = at;
            continue;
        }
        const Accumulator<Real> acc = accumulate(number);
        if (!acc.adding) std::fill_n(acc.data, acc.size, Real(0));
        for (Index r = 0; r < p.rows; ++r)
            if (p.indices[r] >= 0) detail::add_to(acc.data + p.indices[r] * p.n, p.b + r * p.n, p.n);
        p = Pending<Real>();
    }
    slot(number).pending = still;
}

template <class Real>
void Tape<Real>::release(detail::Slot<Real>& s) noexcept {
    s.grad = nullptr;
    s.block = detail::BlockRef();
    s.pending = -1;
    s.pending_rows = 0;
    s.flags &= ~static_cast<std::uint32_t>(detail::kDense | detail::kReadOnly | detail::kStolen);
}

template <class Real>
void Tape<Real>::multiply_transposed(Operand<Real> weight, Index rows, Index m, Index n, const Real* g, bool accumulate,
                                     Real* to) {
    // One list for all tapes below the outermost: a part that runs again multiplies in the same way as it would have done at once.
    if (parent_) return parent_->multiply_transposed(weight, rows, m, n, g, accumulate, to);
    // Products read a transposed matrix at 0.7 to 0.9 of the speed (bench/peers/products.cpp), and a packed one faster than
    // either. Both cost about as much as the product of fifty rows, so they are made for many rows, or when the weight comes
    // a second time.
    constexpr Index kManyRows = 512;
    constexpr std::size_t kMost = 64;  // weights that are made anew at every time step do not fill the list
    Transposed* found = nullptr;
    for (Transposed& t : transposed_)
        if (t.weight == weight.data && t.m == m && t.n == n) found = &t;
    if (!found && rows > 1 && transposed_.size() < kMost) {
        transposed_.push_back({weight.data, m, n, 0, {}, {}, detail::BlockRef::share(weight.block)});
        found = &transposed_.back();
    }
    if (!found || rows == 1 || (++found->uses < 2 && rows < kManyRows))
        return detail::gemm(false, true, rows, m, n, g, n, weight.data, n, accumulate, to, m);
    if (rows < kManyRows && !found->packed && !found->plain)
        found->packed = detail::PackedWeight<Real>::make(weight.data, true, rows, n, m);
    if (rows < kManyRows && found->packed) return found->packed.multiply(rows, g, accumulate, to);
    if (!found->plain) {
        found->plain = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(m * n) * sizeof(Real)));
        detail::transpose(weight.data, m, n, found->plain->template as<Real>());
    }
    detail::gemm(false, false, rows, m, n, g, n, found->plain->template as<Real>(), m, accumulate, to, m);
}

// ---- The sweep ----

template <class Real>
void Tape<Real>::start_sweep(std::span<const Var<Real>> outputs, std::span<const Tensor<Real>> upstream) {
    if (state_ == State::finished)
        detail::fail_usage("backward", "this tape has been differentiated already and its values are freed; record the forward "
                                       "pass again, or call the first backward with {.keep = true}");
    if (state_ == State::running) detail::fail_usage("backward", "a backward sweep over this tape is running already");
    if (outputs.size() != upstream.size()) detail::fail_usage("backward", "as many gradients as outputs are needed");
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        if (!outputs[i]) detail::fail_usage("backward", "the Var is empty");
        if (!needs(*outputs[i].internal()))
            detail::fail_usage("backward", "the value was not made on this tape from anything that needs a gradient (a parameter "
                                           "that is not frozen, or a watched value)");
        if (!(shape_of(upstream[i]) == outputs[i].shape()))
            detail::fail_shape("backward", "the gradient from upstream must have the shape of the output",
                               {outputs[i].shape(), shape_of(upstream[i])});
    }
    for (const Leaf& leaf : leaves_)
        if (leaf.parameter->version != leaf.version)
            detail::fail_usage("backward", fmt::format("the parameter {} was changed after the forward pass used it; call "
                                                       "backward before the optimiser's step", leaf.parameter->name));
    for (Index number = slots_.begin_number(); number < slots_.end_number(); ++number)
        if (slots_[number].flags & detail::kDense) release(slots_[number]);  // what an earlier, kept sweep left
    pending_.truncate(0);
    sweep_ = detail::next_sweep.fetch_add(1, std::memory_order_relaxed);
    deferred_products_ = 0;
    state_ = State::running;
    for (std::size_t i = 0; i < outputs.size(); ++i)
        add_to_slot(slot_for(*outputs[i].internal()), upstream[i].data());
}

template <class Real>
void Tape<Real>::run_sweep(BackwardOptions options) {
    const NoGrad pause;
    for (detail::Node* node = last_; node;) {
        bool arrived = false;
        for (std::uint32_t k = 0; k < node->outputs; ++k) {
            const Index number = node->first_output + k;
            if (slot(number).pending >= 0) settle(number);
            if (!(slot(number).flags & detail::kDense)) continue;
            arrived = true;
            if (slot(number).flags & detail::kHooked)
                for (const HookEntry& entry : hooks_)
                    if (entry.slot == number) {
                        const Accumulator<Real> own = accumulate(number);
                        Tensor<Real> view = alias<Real>({}, own.data, slot(number).shape);
                        entry.hook(view);
                    }
        }
        if (arrived) {
            detail::current_place() = node->place;
            Backward<Real> context(*this, *node);
            const ProfileSpan span("backward", static_cast<const detail::OpInfo<Real>*>(node->info)->shown(node->op()), node->place);
            static_cast<const detail::OpInfo<Real>*>(node->info)->backward(node->op(), context);
            if (options_.check_finite) check_finite_gradients(*node);
        }
        for (std::uint32_t k = 0; k < node->outputs; ++k) {
            detail::Slot<Real>& s = slot(node->first_output + k);
            if (!(s.flags & detail::kWatched)) release(s);
        }
        detail::Node* previous = node->previous;
        if (!options.keep) {
            destroy_node(node);
            last_ = previous;
            if (previous)
                previous->next = nullptr;
            else
                first_ = nullptr;
        }
        node = previous;
    }
}

template <class Real>
void Tape<Real>::finish_sweep(std::span<Gradients<Real>* const> into, BackwardOptions options) {
    into_ = into;
    for (const Leaf& leaf : leaves_) {
        if (slot(leaf.slot).captured >= 0) continue;
        settle(leaf.slot);
        detail::Slot<Real>& s = slot(leaf.slot);
        if (!leaf.parameter->hooks.empty()) {
            const Accumulator<Real> acc = accumulate(leaf.slot);
            if (!acc.adding) std::fill_n(acc.data, acc.size, Real(0));
            for (std::int32_t at = s.pending; at >= 0; at = pending_[at].older)
                for (Index r = 0; r < pending_[at].rows; ++r)
                    if (pending_[at].indices[r] >= 0)
                        detail::add_to(s.grad + pending_[at].indices[r] * pending_[at].n, pending_[at].b + r * pending_[at].n,
                                       pending_[at].n);
            s.pending = -1;
            Tensor<Real> view = alias<Real>({}, s.grad, s.shape);
            for (const Hook& hook : leaf.parameter->hooks) hook(view);
        }
        if (options_.check_finite && (s.flags & detail::kDense))
            for (Index i = 0; i < s.shape.size(); ++i)
                if (!detail::finite(s.grad[i]))
                    throw NonFiniteError(fmt::format("[backward] the gradient of the parameter {} is not finite", leaf.parameter->name));
    }
    // Nothing throws from here on: the parameters' gradients change all together.
    for (const Leaf& leaf : leaves_) {
        detail::Slot<Real>& s = slot(leaf.slot);
        if (s.captured >= 0) continue;
        Gradients<Real>& gradients = *target(leaf.parameter->store);
        if (s.flags & detail::kDense) {
            if (!s.block)
                gradients.arrived(*leaf.parameter);
            else
                gradients.add_dense(*leaf.parameter, s.grad);
        }
        detail::PoolVector<std::int32_t> order;
        for (std::int32_t at = s.pending; at >= 0; at = pending_[at].older) order.push_back(at);
        for (std::size_t i = order.size(); i-- > 0;) {
            const detail::Pending<Real>& p = pending_[order[i]];
            gradients.add_rows(*leaf.parameter, p.indices, p.b, p.rows, p.n);
        }
        if ((s.flags & detail::kWatched) && !(s.flags & detail::kDense)) {
            const Accumulator<Real> acc = accumulate(leaf.slot);
            std::copy_n(gradients.data(*leaf.parameter), acc.size, acc.data);
        }
        s.pending = -1;
        if (!(s.flags & detail::kWatched)) release(s);
    }
    for (const Index number : watched_)
        if (!slot(number).parameter) settle(number);
    pending_.truncate(0);
    transposed_.clear();
    into_ = {};
    state_ = options.keep ? State::recording : State::finished;
}

template <class Real>
void Tape<Real>::abandon_sweep() noexcept {
    for (Index number = slots_.begin_number(); number < slots_.end_number(); ++number) release(slots_[number]);
    pending_.truncate(0);
    transposed_.clear();
    into_ = {};
    state_ = State::finished;
}

template <class Real>
void Tape<Real>::backward(std::span<const Var<Real>> outputs, std::span<const Tensor<Real>> upstream, BackwardOptions options) {
    start_sweep(outputs, upstream);
    const detail::Place place = detail::current_place();
    try {
        run_sweep(options);
        finish_sweep({}, options);
    } catch (...) {
        detail::current_place() = place;
        abandon_sweep();
        throw;
    }
    detail::current_place() = place;
}

template <class Real>
void Tape<Real>::backward_into(const Var<Real>& loss, std::span<Gradients<Real>* const> into, BackwardOptions options) {
    if (loss && loss.size() != 1)
        detail::fail_shape("backward", "the loss must have exactly one element; reduce it with sum() or mean(), or give a gradient "
                                       "from upstream", {loss.shape()});
    const Tensor<Real> one = full<Real>(loss ? loss.shape() : Shape(), Real(1));
    start_sweep({&loss, 1}, {&one, 1});
    into_ = into;
    const detail::Place place = detail::current_place();
    try {
        run_sweep(options);
        finish_sweep(into, options);
    } catch (...) {
        detail::current_place() = place;
        abandon_sweep();
        throw;
    }
    detail::current_place() = place;
}

template <class Real>
void Tape<Real>::backward(const Var<Real>& loss, BackwardOptions options) {
    backward_into(loss, {}, options);
}

template <class Real>
void Tape<Real>::check_finite_gradients(detail::Node& node) {
    for (std::uint32_t i = 0; i < node.inputs; ++i) {
        const Index number = node.input_slots()[i];
        if (number < 0 || !slots_.contains(number)) continue;
        const detail::Slot<Real>& s = slot(number);
        if (!(s.flags & detail::kDense)) continue;
        for (Index e = 0; e < s.shape.size(); ++e)
            if (!detail::finite(s.grad[e])) fail_non_finite(node, fmt::format("backward made a gradient of operand {} that is not finite", i));
    }
}

template <class Real>
void Tape<Real>::fail_non_finite(const detail::Node& node, std::string_view what) const {
    throw NonFiniteError(fmt::format("[{}] {} (node {}){}", static_cast<const detail::OpInfo<Real>*>(node.info)->shown(const_cast<detail::Node&>(node).op()), what,
                                     node.number, detail::place_suffix(node.place)));
}

template class Tape<float>;
template class Tape<double>;
template class Tape<Dual<double>>;

}  // namespace unroll
