// What an op is, and what it sees: Shapes when it is recorded, Forward when it computes, Backward when gradients flow.
//
// An op is one struct (on one screen), the same for unroll's own and for a user's:
//
//     template <class Real>
//     struct Square {                                             // y = x², saves x; gx = 2·x·gy
//         static constexpr std::string_view name = "square";
//         void infer(Shapes& s) const { s.output(s.in(0)); }      // throws ShapeError; nothing is changed yet
//         void forward(Forward<Real>& f) const {
//             for (Index i = 0; i < f.in(0).size; ++i) f.out(0)[i] = f.in(0)[i] * f.in(0)[i];
//             f.save_in(0);
//         }
//         void backward(Backward<Real>& b) const {
//             auto gx = b.grad(0);
//             for (Index i = 0; i < gx.size; ++i) gx.add(i, 2 * b.in(0)[i] * b.gout(0)[i]);
//         }
//     };
//     Var<float> y = apply(Square<float>{}, x);
//
// Members of the struct are the op's options; they are kept on the tape. Two more functions are for Tape::count():
// `std::span<const Var<Real>> held() const` gives values among them, `Index held_bytes() const` the bytes of other memory
// (positions, a mask). Gradients are added up, broadcasting is undone and products are deferred in the sink behind
// Backward, and nowhere else.
#pragma once

#include <unroll/autograd/var.hpp>

#include <array>
#include <span>
#include <string_view>

namespace unroll {

template <class Real>
class Backward;

namespace detail {
struct Node;
template <class Real>
struct Pending;

/// What the tape knows of an op's type.
template <class Real>
struct OpInfo {
    std::string_view (*name)(const void* op) noexcept;  ///< of this very op, where one type serves many
    std::uint32_t bytes;
    void (*backward)(const void* op, unroll::Backward<Real>& context);
    void (*relocate)(void* to, void* from) noexcept;
    void (*destroy)(void* op) noexcept;
    std::span<const Var<Real>> (*held)(const void* op) noexcept;  ///< values that the op's struct keeps, or nothing
    Index (*held_bytes)(const void* op) noexcept;                 ///< of other memory that it keeps, or nothing
};
}  // namespace detail

/// The operands' shapes, and the place where an op says the shapes of its outputs.
class Shapes {
public:
    Shapes(std::string_view op, const Shape* const* in, Index count) noexcept : op_(op), in_(in), inputs_(count) {}

    Index inputs() const noexcept { return inputs_; }
    const Shape& in(Index i) const noexcept { return *in_[i]; }
    /// Adds one output (at most sixteen this way).
    void output(const Shape& shape) {
        if (outputs_ == kMost || equal_) fail_output();
        new (out_at(outputs_++)) Shape(shape);
    }
    /// Any number of outputs of one shape, and no others.
    void outputs(Index count, const Shape& shape) {
        if (outputs_ != 0 || equal_) fail_outputs();
        new (out_at(0)) Shape(shape);
        outputs_ = count;
        equal_ = true;
    }
    Index outputs() const noexcept { return outputs_; }
    const Shape& out(Index k) const noexcept { return *const_cast<Shapes*>(this)->out_at(equal_ ? 0 : k); }

    /// Throws ShapeError with the op's name, every operand, the rule, the module path and the time step.
    [[noreturn]] void fail(std::string_view rule) const {
        detail::fail_shape(op_, rule, in_, static_cast<std::size_t>(inputs_));
    }
    void require(bool holds, std::string_view rule) const {
        if (!holds) fail(rule);
    }
    std::string_view op() const noexcept { return op_; }

private:
    [[noreturn]] void fail_output() const;
    [[noreturn]] void fail_outputs() const;

    std::string_view op_;
    const Shape* const* in_;
    Index inputs_;
    static constexpr Index kMost = 16;
    static_assert(std::is_trivially_destructible_v<Shape>);
    Shape* out_at(Index k) noexcept { return reinterpret_cast<Shape*>(out_) + k; }

    alignas(Shape) std::byte out_[kMost * sizeof(Shape)];  // set one by one: most ops have one output
    Index outputs_ = 0;
    bool equal_ = false;
};

/// Elements to read.
template <class Real>
struct View {
    const Real* data = nullptr;
    Index size = 0;
    const Real& operator[](Index i) const noexcept { return data[i]; }
    explicit operator bool() const noexcept { return data != nullptr; }
};

/// Where a gradient goes: the first contribution is written, later ones are added.
template <class Real>
struct Accumulator {
    Real* data = nullptr;
    Index size = 0;
    bool adding = false;
    void add(Index i, const Real& g) const noexcept { data[i] = adding ? data[i] + g : g; }
};

/// Elements, and the block of memory that holds them: deferred work keeps it.
template <class Real>
struct Operand {
    const Real* data = nullptr;
    detail::Block* block = nullptr;
};

/// What an op sees while it computes.
template <class Real>
class Forward {
public:
    Forward(const detail::OpInfo<Real>& info, std::span<Var<Real>> in, std::span<Var<Real>> out, const Shapes& shapes);
    Forward(const Forward&) = delete;
    Forward& operator=(const Forward&) = delete;
    ~Forward() {
        for (std::size_t j = 0; j < saved_count_; ++j) detail::ValueRef<Real>::release(saved_[j]);
    }

    Index inputs() const noexcept { return static_cast<Index>(in_.size()); }
    Index outputs() const noexcept { return static_cast<Index>(out_.size()); }
    View<Real> in(Index i) const noexcept {
        const auto* v = in_[static_cast<std::size_t>(i)].internal();
        return {v->data, v->shape.size()};
    }
    const Shape& in_shape(Index i) const noexcept { return in_[static_cast<std::size_t>(i)].internal()->shape; }
    const Shape& out_shape(Index k) const noexcept { return shapes_.out(k); }
    /// Memory of output k, made at the first call.
    Real* out(Index k);
    /// Whether a gradient of input i will be asked for; nothing need be saved for one that is not.
    bool needs(Index i) const noexcept { return i < 64 ? needed_ >> i & 1 : tape_ && needs_far(i); }
    /// Whether anything is recorded at all.
    bool recording() const noexcept { return tape_ != nullptr; }

    /// Keep input i, output k for backward (the first 64 of each).
    void save_in(Index i) noexcept { saved_in_ |= std::uint64_t{1} << i; }
    void save_out(Index k) noexcept { saved_out_ |= std::uint64_t{1} << k; }
    /// New memory of this shape, kept for backward; b.saved(0), b.saved(1), … in the order of these calls (at most 64).
    Real* save(const Shape& shape);

    /// Output k is input i from element `offset` on, without copying.
    void share(Index k, Index i, Index offset = 0);
    /// Output k takes over the memory of input i if nobody else can see it; says whether it did.
    bool take(Index k, Index i);
    /// Whether nobody but this op will read input i any more, so that it may be overwritten once it has been read.
    bool may_overwrite(Index i) const noexcept { return last_handle(i); }
    /// Output k stands for memory of another value from `data` on (a child tape's output, equal slices of one slab).
    void place(Index k, const detail::Value<Real>& from, Real* data, bool exclusive);
    /// Whether the value behind input i has no other handle, so that parts of it may be given away.
    bool last_handle(Index i) const noexcept;
    detail::Value<Real>& input(Index i) const noexcept { return *in_[static_cast<std::size_t>(i)].internal(); }
    bool known_zero(Index i) const noexcept { return input(i).zero; }

    /// y (rows, n) = (+=) x (rows, k)·W, where W (k, n) is input `weight`. In a loop, a parameter is packed once for all steps.
    void multiply(Index weight, Index rows, Index k, Index n, const Real* x, bool accumulate, Real* y) const;

    /// @private Called by apply: writes the node.
    void commit(void* op);

private:
    static constexpr std::size_t kMostSaved = 64;
    bool needs_far(Index i) const noexcept;
    detail::Value<Real>& put_output(Index k, detail::Value<Real>* value);
    /// Output k, which reads the memory of another value from `data` on.
    detail::Value<Real>& reading_output(Index k, const detail::Value<Real>& from, Real* data);

    const detail::OpInfo<Real>& info_;
    std::span<Var<Real>> in_;
    std::span<Var<Real>> out_;
    const Shapes& shapes_;
    Tape<Real>* tape_;  // null when nothing is recorded
    bool check_finite_ = false;
    std::uint64_t needed_ = 0;  // of the first 64 inputs
    std::uint64_t saved_in_ = 0;
    std::uint64_t saved_out_ = 0;
    std::size_t saved_count_ = 0;
    detail::Value<Real>* saved_[kMostSaved];  // the first saved_count_, each with a reference
};

/// What an op sees while gradients flow back through it. Inputs and outputs are there if they were saved.
template <class Real>
class Backward {
public:
    Backward(Tape<Real>& tape, detail::Node& node) noexcept : tape_(tape), node_(node) {}

    Index inputs() const noexcept;
    Index outputs() const noexcept;
    View<Real> in(Index i) const;
    View<Real> out(Index k) const;
    View<Real> saved(Index j) const;
    /// The shape of input i (if it needs a gradient or was saved) and of output k.
    const Shape& in_shape(Index i) const;
    const Shape& out_shape(Index k) const;
    /// The shape of an input that was saved.
    const Shape& saved_in_shape(Index i) const;
    /// Whether two inputs are the same value, so that their gradients go to one place.
    bool same_slot(Index i, Index j) const noexcept;
    /// Whether the gradient of input i is asked for.
    bool needs(Index i) const noexcept;
    /// Whether input i is a parameter, so that its products are worth deferring even if operands must be copied for it.
    bool is_parameter(Index i) const noexcept;
    /// The gradient of output k; empty where none has arrived (it is then zero). At least one has.
    View<Real> gout(Index k) const;

    /// The place for a gradient of input i's own shape.
    Accumulator<Real> grad(Index i);
    /// Adds a gradient of shape `shape`, to which input i was broadcast: summed over the broadcast axes.
    void add_reduced(Index i, const Real* gradient, const Shape& shape);
    /// The gradient of input i is that of output k (summed over broadcast axes). Taken over without copying where possible;
    /// call it last.
    void pass(Index i, Index k);
    /// The gradient of input i is the part of output k's from element `offset` on.
    void pass_slice(Index i, Index k, Index offset);
    /// The gradient of input 0 is the gradients of all outputs one behind the other (absent ones are zero).
    void pass_joined();
    /// The gradient of input i is zero as far as this op goes; it counts as arrived.
    void add_zeros(Index i);
    /// Adds aᵀ·b, with a (rows, m) and b (rows, n); input i is (m, n). Deferred: products of one operand are multiplied
    /// together when its gradient is read.
    void add_product(Index i, Operand<Real> a, Operand<Real> b, Index rows, Index m, Index n);
    /// Adds row r of `rows` (count, width) to row indices[r] of input i (height, width); negative indices are skipped.
    void add_rows(Index i, const std::int64_t* indices, detail::Block* keep, Operand<Real> rows, Index count,
                  Index width);

    /// Adds g·Wᵀ to the gradient of input `to`, where g (rows, n) is the gradient of output 0 and the saved input `weight` is
    /// W (m, n). A weight that is used again and again is transposed and packed once for the
    /// whole sweep.
    void add_transposed_product(Index to, Index weight, Index rows, Index m, Index n);

    Operand<Real> in_operand(Index i) const;
    Operand<Real> out_operand(Index k) const;
    Operand<Real> saved_operand(Index j) const;
    /// The gradient of output k, kept unchanged until deferred work is done.
    Operand<Real> gout_operand(Index k);

    /// @private
    Tape<Real>& tape() noexcept { return tape_; }

private:
    /// Where the gradient of input i is collected.
    std::pair<Tape<Real>*, Index> home(Index i) const noexcept;
    /// A contribution that waits in the slot of input i.
    detail::Pending<Real>& add_pending(Tape<Real>& tape, Index slot);

    Tape<Real>& tape_;
    detail::Node& node_;
};

namespace detail {

template <class Real, class Op>
constexpr OpInfo<Real> make_info() {
    OpInfo<Real> info{};
    info.bytes = sizeof(Op);
    info.backward = [](const void* op, unroll::Backward<Real>& b) { static_cast<const Op*>(op)->backward(b); };
    info.relocate = [](void* to, void* from) noexcept { new (to) Op(std::move(*static_cast<Op*>(from))); };
    info.destroy = [](void* op) noexcept { static_cast<Op*>(op)->~Op(); };
    info.name = [](const void* op) noexcept -> std::string_view {
        if constexpr (requires(const Op& o) { o.display_name(); }) return static_cast<const Op*>(op)->display_name();
        return Op::name;
    };
    if constexpr (requires(const Op& op) { op.held(); })
        info.held = [](const void* op) noexcept -> std::span<const Var<Real>> {
            return static_cast<const Op*>(op)->held();
        };
    if constexpr (requires(const Op& op) { op.held_bytes(); })
        info.held_bytes = [](const void* op) noexcept -> Index { return static_cast<const Op*>(op)->held_bytes(); };
    return info;
}

/// UsageError: `given` by infer, `asked` for by the call.
[[noreturn]] void fail_output_count(std::string_view op, Index given, Index asked);

template <class Real, class Op>
inline constexpr OpInfo<Real> kOpInfo = make_info<Real, Op>();

/// UsageError: an operand is an empty Var.
[[noreturn]] void fail_empty_operand(std::string_view op, std::size_t number);

/// Where the operands' shapes are; without allocation for the usual few.
template <class Real>
class InputShapes {
public:
    InputShapes(std::string_view op, std::span<Var<Real>> in) {
        for (std::size_t i = 0; i < in.size(); ++i)
            if (!in[i]) fail_empty_operand(op, i);
        if (in.size() > kFew) shapes_ = static_cast<const Shape**>(pool_allocate(in.size() * sizeof(const Shape*)));
        for (std::size_t i = 0; i < in.size(); ++i) shapes_[i] = &in[i].internal()->shape;
    }
    ~InputShapes() {
        if (shapes_ != few_) pool_free(shapes_);
    }
    InputShapes(const InputShapes&) = delete;
    InputShapes& operator=(const InputShapes&) = delete;
    const Shape* const* data() const noexcept { return shapes_; }

private:
    static constexpr std::size_t kFew = 8;
    const Shape* few_[kFew];
    const Shape** shapes_ = few_;
};

/// apply_all without copying the op, which is moved from if it is recorded.
template <class Real, class Op>
void run_op(Op& op, std::span<Var<Real>> in, std::span<Var<Real>> out) {
    const std::string_view name = kOpInfo<Real, Op>.name(&op);
    InputShapes<Real> in_shapes(name, in);
    Shapes shapes(name, in_shapes.data(), static_cast<Index>(in.size()));
    op.infer(shapes);
    if (static_cast<Index>(out.size()) != shapes.outputs())
        fail_output_count(name, shapes.outputs(), static_cast<Index>(out.size()));
    Forward<Real> forward(kOpInfo<Real, Op>, in, out, shapes);
    op.forward(forward);
    forward.commit(&op);
}

}  // namespace detail

/// Runs an op on `in` and records it; handles that are moved in let the op reuse their memory, and the tape may keep the
/// handles themselves, which are then empty. After an exception nothing has changed.
template <class Real, class Op>
void apply_all(Op op, std::span<Var<Real>> in, std::span<Var<Real>> out) {
    detail::run_op<Real>(op, in, out);
}

/// The same for an op with one output.
template <class Op, class Real, class... Vars>
Var<Real> apply(Op op, Var<Real> first, Vars... more) {
    std::array<Var<Real>, 1 + sizeof...(Vars)> in{std::move(first), std::move(more)...};
    std::array<Var<Real>, 1> out;
    detail::run_op<Real>(op, in, out);
    return std::move(out[0]);
}

extern template class Forward<float>;
extern template class Forward<double>;
extern template class Forward<Dual<double>>;
extern template class Backward<float>;
extern template class Backward<double>;
extern template class Backward<Dual<double>>;

}  // namespace unroll
