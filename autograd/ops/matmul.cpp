// Products: matmul (2-D and batched, either side transposed) and linear. Weight gradients are deferred products.
#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/ops/detail/strided.hpp>

#include <algorithm>

namespace unroll {
namespace {

/// The product of all lengths but the last: where that is 0, there are rows without elements, and gradients that are 0.
Index rows_of(const Shape& shape) { return shape.erased(shape.rank() - 1).size(); }

/// y = x·W (+ b) with x (…, K), W (K, N) or, transposed, (N, K), b (N).
/// Saves x and W. gx = gy·Wᵀ; gW = xᵀ·gy, deferred; gb = the sum of gy over all rows.
template <class Real>
struct Linear_ {
    static constexpr std::string_view name = "linear";
    bool transposed;

    void infer(Shapes& s) const {
        const Shape &x = s.in(0), &w = s.in(1);
        s.require(x.rank() >= 1 && w.rank() == 2, "x (…, K) and a weight with two axes are needed");
        const Index k = w[transposed ? 1 : 0], n = w[transposed ? 0 : 1];
        s.require(x.back() == k, transposed
                                     ? "the last axis of x must be as long as axis 1 of the transposed weight (N, K)"
                                     : "the last axis of x must be as long as axis 0 of the weight (K, N)");
        if (s.inputs() > 2)
            s.require(s.in(2).rank() == 1 && s.in(2)[0] == n, "the bias must have one element for each output");
        s.output(x.replaced(x.rank() - 1, n));
    }
    void forward(Forward<Real>& f) const {
        const Index n = f.out_shape(0).back(), k = f.in_shape(0).back();
        const Index rows = rows_of(f.out_shape(0));
        Real* y = f.out(0);
        const bool bias = f.inputs() > 2;
        if (bias)
            for (Index r = 0; r < rows; ++r) std::copy_n(f.in(2).data, n, y + r * n);
        if (transposed)
            detail::gemm(false, true, rows, n, k, f.in(0).data, k, f.in(1).data, k, bias, y, n);
        else
            f.multiply(1, rows, k, n, f.in(0).data, bias, y);
        if (f.needs(1)) f.save_in(0);
        if (f.needs(0)) f.save_in(1);
    }
    void backward(Backward<Real>& b) const {
        const Index n = b.out_shape(0).back(), rows = rows_of(b.out_shape(0));
        if (b.needs(0)) {
            const Index k = b.in_shape(0).back();
            if (transposed) {
                const auto gx = b.grad(0);
                detail::gemm(false, false, rows, k, n, b.gout(0).data, n, b.in(1).data, k, gx.adding, gx.data, k);
            } else {
                b.add_transposed_product(0, 1, rows, k, n);
            }
        }
        if (b.needs(1)) {
            const Index k = b.in_shape(1)[transposed ? 1 : 0];
            if (transposed)
                b.add_product(1, b.gout_operand(0), b.in_operand(0), rows, n, k);
            else
                b.add_product(1, b.in_operand(0), b.gout_operand(0), rows, k, n);
        }
        if (b.inputs() > 2 && b.needs(2)) b.add_reduced(2, b.gout(0).data, b.out_shape(0));
    }
};

/// c = a·b as numpy.matmul: (…, M, K)·(…, K, N), leading axes broadcast, vectors (K) on either side; each side that is not a
/// vector may be transposed in its last two axes.
/// Saves a and b. ga = gc·bᵀ, gb = aᵀ·gc, summed over axes along which an operand was broadcast; deferred for what stands
/// on the right of all rows, and for parameters anywhere.
/// Errors: ShapeError for scalars, transposed vectors, inner lengths that differ, leading axes that do not broadcast.
template <class Real>
struct Matmul {
    static constexpr std::string_view name = "matmul";
    bool transpose_a, transpose_b;

    /// The product as matrices: C (m, n) = op(L)·op(R), once for each element of `batch`. A vector on the right is taken as
    /// the row on the left, since products with a single row are the fast ones.
    struct Plan {
        Index l = 0, r = 1;  // which operand stands left and right
        bool tl, tr;
        Index m = 1, k, n = 1;
        Shape batch;
        detail::Strides l_step{}, r_step{};  // from one matrix to the next; 0 where broadcast

        Index l_row() const { return tl ? m : k; }
        Index r_row() const { return tr ? k : n; }
        bool single() const { return batch.size() == 1; }
        /// Whether it is one product of rows with a matrix, as `linear` has it.
        bool plain() const { return single() && l == 0 && !tl && !tr; }
        template <class F>
        void each(F f) const {  // f(offset in L, offset in R, offset in C)
            Index at[Shape::kMaxRank] = {};
            Index left = 0, right = 0;
            for (Index i = 0; i < batch.size(); ++i) {
                f(left, right, i * m * n);
                for (std::size_t axis = batch.rank(); axis-- > 0;) {
                    left += l_step[axis];
                    right += r_step[axis];
                    if (++at[axis] < batch[axis]) break;
                    left -= l_step[axis] * batch[axis];
                    right -= r_step[axis] * batch[axis];
                    at[axis] = 0;
                }
            }
        }
    };
    static Shape leading(const Shape& s) { return s.rank() < 3 ? Shape() : Shape(s.begin(), s.rank() - 2); }
    static detail::Strides steps(const Shape& own, const Shape& batch, Index matrix) {
        detail::Strides out{};
        Index step = matrix;
        for (std::size_t i = 1; i <= own.rank(); ++i) {
            const Index length = own[own.rank() - i];
            out[batch.rank() - i] = length == 1 ? 0 : step;
            step *= length;
        }
        return out;
    }
    Plan plan(const Shape& a, const Shape& b) const {
        const auto length = [](const Shape& s, std::size_t from_end) { return s[s.rank() - from_end]; };
        Plan p;
        const bool vector = b.rank() == 1 && a.rank() > 1;
        p.l = vector ? 1 : 0;
        p.r = vector ? 0 : 1;
        p.tl = !vector && transpose_a;
        p.tr = vector ? !transpose_a : transpose_b;
        const Shape &l = vector ? b : a, &r = vector ? a : b;
        p.k = l.rank() == 1 ? l[0] : length(l, p.tl ? 2 : 1);
        if (l.rank() > 1) p.m = length(l, p.tl ? 1 : 2);
        if (r.rank() > 1) p.n = length(r, p.tr ? 2 : 1);
        const Shape lb = leading(l), rb = leading(r);
        if (rb.size() == 1 && !p.tl) {  // rows of all matrices, one below the other
            p.m *= lb.size();
        } else if (lb.size() == 1 && p.m == 1 && p.tr) {
            p.n *= rb.size();
        } else {
            p.batch = detail::broadcast(name, lb, rb);
            p.l_step = steps(lb, p.batch, p.m * p.k);
            p.r_step = steps(rb, p.batch, p.k * p.n);
        }
        return p;
    }

    void infer(Shapes& s) const {
        const Shape &a = s.in(0), &b = s.in(1);
        s.require(a.rank() >= 1 && b.rank() >= 1, "operands must have at least one axis");
        s.require((a.rank() > 1 || !transpose_a) && (b.rank() > 1 || !transpose_b), "a vector cannot be transposed");
        const Index ka = transpose_a ? a[a.rank() - 2] : a.back();
        const Index kb = b.rank() == 1 || transpose_b ? b.back() : b[b.rank() - 2];
        s.require(ka == kb, transpose_a || transpose_b
                                ? "the inner lengths must be equal: (…, M, K)·(…, K, N) after transposing as asked for"
                                : "the inner lengths must be equal: (…, M, K)·(…, K, N)");
        const Shape la = leading(a), lb = leading(b);
        for (std::size_t i = 1; i <= std::min(la.rank(), lb.rank()); ++i) {
            const Index x = la[la.rank() - i], y = lb[lb.rank() - i];
            s.require(x == y || x == 1 || y == 1,
                      "the leading axes must broadcast: lengths are equal or one of them is 1");
        }
        Shape c = detail::broadcast(name, la, lb);
        if (a.rank() > 1) c = c.inserted(c.rank(), transpose_a ? a.back() : a[a.rank() - 2]);
        if (b.rank() > 1) c = c.inserted(c.rank(), transpose_b ? b[b.rank() - 2] : b.back());
        s.output(c);
    }
    void forward(Forward<Real>& f) const {
        const Plan p = plan(f.in_shape(0), f.in_shape(1));
        const Real *l = f.in(p.l).data, *r = f.in(p.r).data;
        Real* c = f.out(0);
        if (p.plain())
            f.multiply(1, p.m, p.k, p.n, l, false, c);
        else
            p.each([&](Index i, Index j, Index to) {
                detail::gemm(p.tl, p.tr, p.m, p.n, p.k, l + i, p.l_row(), r + j, p.r_row(), false, c + to, p.n);
            });
        if (f.needs(1)) f.save_in(0);
        if (f.needs(0)) f.save_in(1);
    }
    void backward(Backward<Real>& b) const {
        const Plan p = plan(b.in_shape(0), b.in_shape(1));
        for (const Index i : {p.l, p.r})
            if (b.needs(i) && !defer(b, p, i)) multiply(b, p, i);
    }
    /// The gradient of operand i, at once.
    void multiply(Backward<Real>& b, const Plan& p, Index i) const {
        const bool left = i == p.l;
        if (left && p.plain() && b.is_parameter(p.r)) return b.add_transposed_product(0, 1, p.m, p.k, p.n);
        const auto to = b.grad(i);
        const Real *g = b.gout(0).data, *other = b.in(left ? p.r : p.l).data;
        bool adding = to.adding;
        if (!adding && to.size != p.batch.size() * p.k * (left ? p.m : p.n)) {
            std::fill_n(to.data, to.size, Real(0));  // broadcast: several products go to one place
            adding = true;
        }
        p.each([&](Index il, Index ir, Index ic) {
            const Real* x = other + (left ? ir : il);
            Real* y = to.data + (left ? il : ir);
            if (left && p.tl)
                detail::gemm(p.tr, true, p.k, p.m, p.n, x, p.r_row(), g + ic, p.n, adding, y, p.m);
            else if (left)
                detail::gemm(false, !p.tr, p.m, p.k, p.n, g + ic, p.n, x, p.r_row(), adding, y, p.k);
            else if (p.tr)
                detail::gemm(true, p.tl, p.n, p.k, p.m, g + ic, p.n, x, p.l_row(), adding, y, p.k);
            else
                detail::gemm(!p.tl, false, p.k, p.n, p.m, x, p.l_row(), g + ic, p.n, adding, y, p.n);
        });
    }
    /// The gradient of operand i as a product that waits, if i is a weight: a parameter, or what all rows are multiplied with.
    bool defer(Backward<Real>& b, const Plan& p, Index i) const {
        const bool left = i == p.l;
        const auto flat = [](Index rows, Index columns) {
            return rows == 1 || columns == 1;
        };  // equal to its transpose
        const bool turn_x = left ? !p.tr && !flat(p.k, p.n) : p.tl && !flat(p.m, p.k);
        const bool turn_g = left && !flat(p.m, p.n);
        const bool weight = b.is_parameter(i) || (!left && !turn_x && !b.is_parameter(p.l));
        if (!p.single() || !weight) return false;
        Operand<Real> x = b.in_operand(left ? p.r : p.l), g = b.gout_operand(0);
        detail::BlockRef x_block, g_block;
        if (turn_x) x = transposed(x, p.k, left ? p.n : p.m, x_block);
        if (turn_g) g = transposed(g, p.m, p.n, g_block);
        const Index rows = left ? p.n : p.m, outer = left ? p.m : p.n;
        if (left ? p.tl : !p.tr)
            b.add_product(i, x, g, rows, p.k, outer);
        else
            b.add_product(i, g, x, rows, outer, p.k);
        return true;
    }
    static Operand<Real> transposed(Operand<Real> x, Index rows, Index columns, detail::BlockRef& keep) {
        keep = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(rows * columns) * sizeof(Real)));
        detail::transpose(x.data, rows, columns, keep->template as<Real>());
        return {keep->template as<Real>(), keep.get()};
    }
};

}  // namespace

template <class Real>
Var<Real> matmul(Var<Real> a, Var<Real> b, bool transpose_a, bool transpose_b) {
    return apply(Matmul<Real>{transpose_a, transpose_b}, std::move(a), std::move(b));
}

template <class Real>
Var<Real> linear(Var<Real> x, Var<Real> weight, Var<Real> bias, bool transposed) {
    if (bias) return apply(Linear_<Real>{transposed}, std::move(x), std::move(weight), std::move(bias));
    return apply(Linear_<Real>{transposed}, std::move(x), std::move(weight));
}

#define UNROLL_INSTANTIATE(R)                           \
    template Var<R> matmul(Var<R>, Var<R>, bool, bool); \
    template Var<R> linear(Var<R>, Var<R>, Var<R>, bool);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
