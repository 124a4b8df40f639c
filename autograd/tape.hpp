// The tape: records what ops do, in order, and runs it backwards.
//
// Nodes stand in chunks in the order in which they ran, with absolute numbers; each names its op, the gradient slots of
// its operands, and the values that it saved. `backward` is one reverse loop. Slots belong to values that need a
// gradient; deferred products wait in them until they are read. This file knows no op.
#pragma once

#include <unroll/autograd/detail/packed_weight.hpp>
#include <unroll/autograd/op.hpp>
#include <unroll/autograd/pool_vector.hpp>
#include <unroll/autograd/slab.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace unroll {

template <class Real>
class Gradients;

struct TapeOptions {
    /// Look at every output and every gradient, and throw NonFiniteError where the first one is not finite.
    bool check_finite = false;
};

struct BackwardOptions {
    /// Keep what was recorded, so that backward can run again. Otherwise each value is freed after its last use.
    bool keep = false;
};

/// A value or gradient was infinite or not a number; the message names op, module path and time step.
class NonFiniteError : public ValueError {
public:
    using ValueError::ValueError;
};

namespace detail {

/// One thing that ran. Behind it in memory: operand slots, saved values, the op itself.
struct Node {
    const void* info;  // OpInfo<Real>
    Node* previous;
    Node* next;
    Index number;
    Index first_output;  // slot of output 0; the others follow
    std::uint64_t saved_in, saved_out;
    std::uint32_t inputs, outputs, saved, op_offset;
    Place place;

    Index* input_slots() noexcept { return reinterpret_cast<Index*>(this + 1); }
    void** saved_values() noexcept { return reinterpret_cast<void**>(input_slots() + inputs); }
    void* op() noexcept { return reinterpret_cast<char*>(this) + op_offset; }
};

enum SlotFlag : std::uint32_t {
    kDense = 1,     ///< grad holds a gradient
    kReadOnly = 2,  ///< somebody else reads this memory: copy before adding
    kWatched = 4,   ///< kept after backward
    kHooked = 8,
    kLeaf = 16,    ///< no node made it
    kGone = 32,    ///< its node was dropped from the front
    kStolen = 64,  ///< an operand's slot has taken this memory over
};

/// The gradient of one value.
template <class Real>
struct Slot {
    Shape shape;
    Real* grad = nullptr;
    BlockRef block;
    SlabRef slab;
    ParameterEntry<Real>* parameter = nullptr;
    std::int32_t slice = -1;
    std::int32_t pending = -1;  ///< newest deferred contribution
    std::uint32_t flags = 0;
    std::int32_t pending_rows = 0;
    Index captured = -1;  ///< slot of the parent tape that this one stands for

    Slot(const Shape& of, std::uint32_t with) noexcept : shape(of), flags(with) {}

    /// Forgets the gradient and what waits for it.
    void release() noexcept {
        grad = nullptr;
        block = BlockRef();
        pending = -1;
        pending_rows = 0;
        flags &= ~static_cast<std::uint32_t>(kDense | kReadOnly | kStolen);
    }
};

/// A contribution that waits: a product aᵀ·b, or rows to be scattered.
template <class Real>
struct Pending {
    BlockRef a_block, b_block;
    const Real* a = nullptr;
    const Real* b = nullptr;
    const std::int64_t* indices = nullptr;
    Index rows = 0, m = 0, n = 0;
    std::int32_t older = -1;

    /// Adds the rows to those of `to` that they belong to.
    void scatter(Real* to) const;
};

/// The nodes that use a parameter, and which of its values they saw.
class Uses {
public:
    bool any() const noexcept { return last_ >= 0; }
    /// Whether there is a node that saw other values than those of `version`.
    bool outdated(std::uint64_t version) const noexcept {
        return any() && (version_ != version || last_outdated_ >= first_);
    }
    void add(Index node, std::uint64_t version) noexcept {
        if (!any())
            first_ = node;
        else if (version_ != version)
            last_outdated_ = last_;
        last_ = node;
        version_ = version;
    }
    /// The tape has forgotten all nodes before `node`.
    void drop_before(Index node) noexcept {
        if (last_ < node)
            *this = {};
        else
            first_ = std::max(first_, node);
    }
    /// The tape has forgotten `node` and all after it.
    void drop_from(Index node) noexcept {
        if (first_ >= node) *this = {};
        last_ = std::min(last_, node - 1);
        last_outdated_ = std::min(last_outdated_, last_);
    }

private:
    Index first_ = -1, last_ = -1;
    Index last_outdated_ = -1;   // the last one that saw older values than the last of all
    std::uint64_t version_ = 0;  // of the values that the last one saw
};

/// Whether the tape with this identity still stands.
bool tape_alive(std::uint64_t id) noexcept;

}  // namespace detail

/// What a tape holds, op by op.
struct TapeCount {
    std::string op;
    Index nodes = 0;
    Index saved_bytes = 0;  ///< bytes of what these nodes keep: values (one kept twice counts once), positions, masks
    Index node_bytes = 0;   ///< bytes of the nodes themselves
};

/// Records on this thread while it stands. Tapes nest; the innermost one records.
template <class Real>
class [[nodiscard]] Tape {
public:
    using Hook = std::function<void(Tensor<Real>& gradient)>;

    explicit Tape(TapeOptions options = {});
    Tape(const Tape&) = delete;
    Tape& operator=(const Tape&) = delete;
    ~Tape();

    /// The tape that records on this thread; nothing where none does (or NoGrad stands).
    static Tape* current() noexcept;

    /// Asks for a gradient of x: a constant becomes a leaf, the gradient of any value is kept after backward.
    void watch(const Var<Real>& x);
    /// The gradient of a watched value after backward; zeros if none arrived. @throws UsageError if it is not watched.
    Tensor<Real> gradient(const Var<Real>& x) const;
    /// Runs `hook` on the gradient of x once it is complete, before it flows on; the hook may change it in place.
    void hook(const Var<Real>& x, Hook hook);

    /// d loss / d everything that needs it: added to the parameters' gradients, kept for watched values.
    /// @param loss one element. @throws ShapeError, UsageError
    void backward(const Var<Real>& loss, BackwardOptions options = {});
    /// The same for outputs of any shape with gradients from upstream, one for each.
    void backward(std::span<const Var<Real>> outputs, std::span<const Tensor<Real>> upstream,
                  BackwardOptions options = {});
    /// The same, added to `into` instead of the stores' own gradients: one entry for each store that is used.
    /// @throws UsageError if there is none for the store of a parameter
    void backward_into(const Var<Real>& loss, std::span<Gradients<Real>* const> into, BackwardOptions options = {});

    /// Nodes recorded and not dropped.
    Index node_count() const noexcept { return end_number_ - first_number_; }
    /// Number of the next node: everything recorded from here on has this number or a larger one.
    Index position() const noexcept { return end_number_; }
    /// Forgets all nodes before `number`; values made by them become constants. Nodes and what they keep are given back, but
    /// for a slot of some hundred bytes for each value: for a stream without end, take a new tape from time to time.
    void drop_before(Index number);
    /// Forgets `number` and all nodes after it, as if they had not been recorded; values made by them become constants.
    void drop_from(Index number);

    /// Products that were deferred and then multiplied, one for all time steps of a weight (cut where more than
    /// 4,096 rows have come together).
    Index deferred_products() const noexcept { return deferred_products_; }

    /// Nodes and bytes by op, largest first. A checkpoint counts the inputs that it keeps.
    std::vector<TapeCount> count() const;
    /// Every node on one line: number, op, operands, output shapes, module path, time step.
    std::string dump() const;
    /// A drawing for Graphviz, clustered by module and time step.
    std::string graphviz() const;

    // ---- What follows is for ops and other parts of unroll ----

    /// The slot of a value's gradient, or -1 if it needs none. Makes leaves of parameters and captured values.
    /// @throws UsageError for a value of another tape that still stands
    Index slot_for(detail::Value<Real>& value);
    /// The same for a value that is known to need a gradient.
    /// @param user the node that uses it; −1: none
    Index needed_slot(detail::Value<Real>& value, Index user = -1) {
        return value.tape == id_ && !value.parameter ? value.slot : leaf_slot(value, user);
    }
    /// The same without making anything.
    bool needs(const detail::Value<Real>& value) const {
        if (value.parameter || (value.tape != id_ && value.tape != 0)) return needs_leaf(value);
        return value.tape != 0 && slots_.contains(value.slot) && !(slots_[value.slot].flags & detail::kGone);
    }

private:
    friend class Forward<Real>;
    friend class Backward<Real>;
    template <class>
    friend class ChildTape;

    struct HookEntry {
        Index slot;
        Hook hook;
    };
    struct Transposed {
        const Real* weight;  // (m, n)
        Index m, n;
        Index uses;
        detail::PackedWeight<Real> packed;  // of the transpose
        detail::BlockRef plain;             // the transpose
        detail::BlockRef keep;
    };
    struct Leaf {
        detail::ParameterEntry<Real>* parameter;
        Index slot;
        detail::Uses uses;
    };
    struct Constant {
        detail::VersionRef version;
        detail::Uses uses;
    };
    enum class State { recording, running, finished };

    Tape(Tape& parent, TapeOptions options);  // a child

    detail::Node* new_node(const detail::OpInfo<Real>& info, std::uint32_t inputs, std::uint32_t outputs,
                           std::uint32_t saved);
    void destroy_node(detail::Node* node) noexcept;
    void destroy_last() noexcept;
    void clear() noexcept;
    Index new_slot(const Shape& shape, std::uint32_t flags);
    // Of what this tape has not recorded itself: parameters, and values of other tapes.
    Index leaf_slot(detail::Value<Real>& value, Index user);
    bool needs_leaf(const detail::Value<Real>& value) const;
    /// Node `user` of this tape keeps a parameter's memory, to which no gradient flows.
    void note_constant(const detail::VersionRef& version, Index user);

    detail::Slot<Real>& slot(Index number) noexcept { return slots_[number]; }

    // Gradient slots (gradient_slots.cpp).
    /// Where the gradient of a slot is collected: of a value from outside a child tape, in a tape above it.
    std::pair<Tape*, Index> home(Index slot) noexcept;
    Gradients<Real>* target(const ParameterStore<Real>* store) const noexcept;
    Accumulator<Real> accumulate(Index slot);
    void add_to_slot(Index slot, const Real* gradient);
    void reduce_to_slot(Index slot, const Real* gradient, const Shape& shape);
    void settle(Index slot);  // deferred contributions are added up
    void multiply_pending(Index slot, std::span<const std::int32_t> order);
    /// to (rows, m) = (+=) g (rows, n)·Wᵀ for the weight W (m, n).
    void multiply_transposed(Operand<Real> weight, Index rows, Index m, Index n, const Real* g, bool adding, Real* to);

    // The sweep (sweep.cpp).
    using Outputs = std::span<const Var<Real>>;
    using Upstream = std::span<const Tensor<Real>>;
    using Into = std::span<Gradients<Real>* const>;
    void sweep(Outputs outputs, Upstream upstream, Into into, BackwardOptions options);
    void check_call(Outputs outputs, Upstream upstream, Into into) const;
    void start_sweep(Outputs outputs, Upstream upstream);
    void run_sweep(bool keep);
    void run_hooks(Index slot);
    bool wanted(detail::Node& node) const noexcept;
    void complete_leaf(const Leaf& leaf);  // its gradient is whole, and hooks have run
    void add_to_store(const Leaf& leaf);
    void finish_sweep(bool keep);
    void abandon_sweep() noexcept;
    void check_finite_gradients(detail::Node& node);
    /// @param node its number; −1: none, as no operand needs a gradient
    [[noreturn]] static void fail_non_finite(std::string_view op, Index node, detail::Place place,
                                             std::string_view what);

    std::uint64_t id_ = 0;
    Tape* parent_ = nullptr;
    Tape* outer_ = nullptr;
    TapeOptions options_;
    State state_ = State::recording;

    detail::PoolVector<char*> chunks_;
    std::size_t chunk_used_ = 0;
    detail::Node* first_ = nullptr;
    detail::Node* last_ = nullptr;
    Index first_number_ = 0, end_number_ = 0;

    detail::ChunkList<detail::Slot<Real>> slots_;
    detail::ChunkList<detail::Pending<Real>> pending_;
    std::vector<Transposed, detail::PoolAllocator<Transposed>> transposed_;  // of one sweep
    detail::PoolVector<Leaf> leaves_;
    // Parameters' memory that is kept for backward, but for leaves': of frozen ones, and what is read under another name.
    // The outermost tape has it for all below.
    std::vector<Constant, detail::PoolAllocator<Constant>> constants_;
    detail::PoolVector<Index> watched_;
    Vars<Real> captured_;  // of a child: what it takes from outside
    std::vector<HookEntry> hooks_;
    std::uint64_t sweep_ = 0;
    Index deferred_products_ = 0;
    std::span<Gradients<Real>* const> into_;
};

/// Nothing is recorded on this thread while it stands.
class [[nodiscard]] NoGrad {
public:
    NoGrad() noexcept;
    NoGrad(const NoGrad&) = delete;
    NoGrad& operator=(const NoGrad&) = delete;
    ~NoGrad();
    static bool active() noexcept;

private:
    bool before_;
};

/// Tape<Real>::current()->backward(loss). @throws UsageError without a tape in scope
template <class Real>
void backward(const Var<Real>& loss, BackwardOptions options = {}) {
    Tape<Real>* tape = Tape<Real>::current();
    if (!tape)
        detail::fail_usage("backward", "no tape is in scope: `Tape<Real> tape;` must stand before the forward pass");
    tape->backward(loss, options);
}

extern template class Tape<float>;
extern template class Tape<double>;
extern template class Tape<Dual<double>>;

}  // namespace unroll
