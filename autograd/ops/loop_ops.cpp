// The three ops that a loop through time is made of: x[t] for all t, c + x·W in place, and the stack of all outputs.
//
// Each hands memory on instead of copying it: x[t] are slices of x, c + x·W takes the memory of c over, and outputs that
// lie one behind the other in a slab are stacked by pointing at them. Their gradients take the same way back.
#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/ops.hpp>

#include <algorithm>

namespace unroll {
namespace {

/// y[t] = x[t] along axis 0; shares memory. gx is the gradients of all y[t], one behind the other.
template <class Real>
struct Unbind {
    static constexpr std::string_view name = "unbind";

    void infer(Shapes& s) const {
        s.require(s.in(0).rank() >= 1 && s.in(0)[0] >= 1,
                  "at least one axis, and at least one element along it, are needed");
        s.outputs(s.in(0)[0], s.in(0).erased(0));
    }
    void forward(Forward<Real>& f) const {
        const Index part = f.out_shape(0).size();
        detail::Value<Real>& x = f.input(0);
        // The slices of a value that nobody else holds may be overwritten, each by its last reader.
        const bool ours = f.last_handle(0) && part > 0 && x.data == x.block->template as<Real>();
        if (ours && !x.block->slab)
            detail::Slab::cut(*x.block, f.outputs(), static_cast<std::size_t>(part) * sizeof(Real));
        for (Index t = 0; t < f.outputs(); ++t) f.place(t, x, x.data + t * part, ours);
        if (!ours && x.exclusive) x.exclusive = false;
    }
    void backward(Backward<Real>& b) const { b.pass_joined(); }
};

/// y[t] = x[t] stacked along a new axis 0. Slices of one slab that follow each other are not copied.
template <class Real>
struct StackFirst {
    static constexpr std::string_view name = "stack";

    void infer(Shapes& s) const {
        s.require(s.inputs() > 0, "at least one operand is needed");
        for (Index i = 1; i < s.inputs(); ++i) s.require(s.in(i) == s.in(0), "all operands must have the same shape");
        s.output(s.in(0).inserted(0, s.inputs()));
    }
    void forward(Forward<Real>& f) const {
        const Index part = f.in_shape(0).size();
        detail::Value<Real>& first = f.input(0);
        bool joined = first.block && first.block->slab && part > 0;
        for (Index i = 1; joined && i < f.inputs(); ++i)
            joined = f.input(i).block.get() == first.block.get() && f.input(i).data == first.data + i * part;
        if (joined) {
            for (Index i = 0; i < f.inputs(); ++i) f.input(i).exclusive = false;
            f.place(0, first, first.data, false);
            return;
        }
        Real* y = f.out(0);
        for (Index i = 0; i < f.inputs(); ++i) std::copy_n(f.in(i).data, part, y + i * part);
    }
    void backward(Backward<Real>& b) const {
        const Index part = b.out_shape(0).size() / b.inputs();
        for (Index i = 0; i < b.inputs(); ++i) b.pass_slice(i, 0, i * part);
    }
};

/// y = c + x·W with c (…, N), x (…, K), W (K, N). Saves x and W.
/// gc = gy; gx = gy·Wᵀ; gW = xᵀ·gy, deferred.
template <class Real>
struct AddLinear {
    static constexpr std::string_view name = "add_linear";
    bool zero = false;  // x is known to be all zeros: its products are nothing

    void infer(Shapes& s) const {
        const Shape &c = s.in(0), &x = s.in(1), &w = s.in(2);
        s.require(c.rank() >= 1 && x.rank() == c.rank() && w.rank() == 2,
                  "c (…, N), x (…, K) and a weight (K, N) are needed");
        s.require(x.back() == w[0], "the last axis of x must be as long as axis 0 of the weight (K, N)");
        s.require(c == x.replaced(x.rank() - 1, w[1]), "c must have the shape of x·W");
        s.output(c);
    }
    void forward(Forward<Real>& f) {
        zero = f.known_zero(1);
        const Index n = f.in_shape(2)[1], k = f.in_shape(2)[0];
        const Index rows = n == 0 ? 0 : f.in(0).size / n;
        if (!f.take(0, 0)) std::copy_n(f.in(0).data, f.in(0).size, f.out(0));
        if (!zero) f.multiply(2, rows, k, n, f.in(1).data, true, f.out(0));
        if (f.needs(2)) f.save_in(1);
        if (f.needs(1)) f.save_in(2);
    }
    void backward(Backward<Real>& b) const {
        const Shape& shape = b.out_shape(0);
        const Index n = shape.back(), rows = shape.erased(shape.rank() - 1).size();  // rows also where n is 0
        if (b.needs(1)) b.add_transposed_product(1, 2, rows, b.in_shape(1).back(), n);
        if (zero)
            b.add_zeros(2);
        else if (b.needs(2))
            b.add_product(2, b.in_operand(1), b.gout_operand(0), rows, b.in_shape(2)[0], n);
        b.pass(0, 0);
    }
};

}  // namespace

template <class Real>
Var<Real> add_linear(Var<Real> c, Var<Real> x, Var<Real> weight) {
    return apply(AddLinear<Real>{}, std::move(c), std::move(x), std::move(weight));
}

template <class Real>
Vars<Real> unbind(Var<Real> x) {
    if (!x) detail::fail_usage("unbind", "the operand is an empty Var");
    Vars<Real> out(x.rank() ? static_cast<std::size_t>(x.shape()[0]) : 0);
    if (out.size() == 1) {  // one part is the whole under another shape
        out[0] = squeeze(std::move(x), 0);
        return out;
    }
    std::array<Var<Real>, 1> in{std::move(x)};
    apply_all<Real>(Unbind<Real>{}, std::span<Var<Real>>(in), std::span<Var<Real>>(out));
    return out;
}

template <class Real>
Var<Real> stack(Vars<Real> parts, Index axis) {
    if (parts.empty()) detail::fail_shape("stack", "at least one operand is needed");
    const std::size_t to = detail::normal_axis("stack", axis, parts[0].rank() + 1);
    // One part is the whole under another shape. Of a parameter it is a copy, as several are: it may change later.
    if (parts.size() == 1 && parts[0] && !parts[0].internal()->parameter)
        return unsqueeze(std::move(parts[0]), static_cast<Index>(to));
    const std::size_t rank = parts[0].rank();
    std::array<Var<Real>, 1> out;
    apply_all<Real>(StackFirst<Real>{}, std::span<Var<Real>>(parts), std::span<Var<Real>>(out));
    if (to == 0) return std::move(out[0]);
    Axes order;
    for (std::size_t i = 1; i <= to; ++i) order.push_back(static_cast<Index>(i));
    order.push_back(0);
    for (std::size_t i = to + 1; i <= rank; ++i) order.push_back(static_cast<Index>(i));
    return permute(std::move(out[0]), order);
}

#define UNROLL_INSTANTIATE(R)                           \
    template Var<R> add_linear(Var<R>, Var<R>, Var<R>); \
    template Vars<R> unbind(Var<R>);                    \
    template Var<R> stack(Vars<R>, Index);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
