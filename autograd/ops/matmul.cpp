// Products: matmul (2-D and batched, either side transposed) and linear. Weight gradients are deferred products.
#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/ops.hpp>

namespace unroll {
namespace {

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
        s.require(x.back() == k, transposed ? "the last axis of x must be as long as axis 1 of the transposed weight (N, K)"
                                            : "the last axis of x must be as long as axis 0 of the weight (K, N)");
        if (s.inputs() > 2) s.require(s.in(2).rank() == 1 && s.in(2)[0] == n, "the bias must have one element for each output");
        s.output(x.replaced(x.rank() - 1, n));
    }
    void forward(Forward<Real>& f) const {
        const Index n = f.out_shape(0).back(), k = f.in_shape(0).back();
        const Index rows = k == 0 ? f.out_shape(0).size() / std::max<Index>(n, 1) : f.in(0).size / k;
        Real* y = f.out(0);
        const bool bias = f.inputs() > 2;
        if (bias)
            for (Index r = 0; r < rows; ++r) std::copy_n(f.in(2).data, n, y + r * n);
        detail::gemm(false, transposed, rows, n, k, f.in(0).data, k, f.in(1).data, transposed ? k : n, bias, y, n);
        if (f.needs(1)) f.save_in(0);
        if (f.needs(0)) f.save_in(1);
    }
    void backward(Backward<Real>& b) const {
        const Index n = b.out_shape(0).back(), size = b.out_shape(0).size();
        const Index rows = n == 0 ? 0 : size / n;
        if (b.needs(0)) {
            const auto gx = b.grad(0);
            const Index k = b.in_shape(0).back();
            detail::gemm(false, !transposed, rows, k, n, b.gout(0).data, n, b.in(1).data, transposed ? k : n, gx.adding, gx.data, k);
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

}  // namespace

template <class Real>
Var<Real> linear(Var<Real> x, Var<Real> weight, Var<Real> bias, bool transposed) {
    if (bias) return apply(Linear_<Real>{transposed}, std::move(x), std::move(weight), std::move(bias));
    return apply(Linear_<Real>{transposed}, std::move(x), std::move(weight));
}

#define UNROLL_INSTANTIATE(R) template Var<R> linear(Var<R>, Var<R>, Var<R>, bool);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
