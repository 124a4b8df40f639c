// Products and sums over raw arrays: the one door to oneDNN, the BLAS and our own matrix–vector kernels.
//
// Float products go to oneDNN (to CBLAS where it is switched off), double ones to CBLAS, dual ones to a plain loop. Each
// call to them runs on one thread, whatever OpenMP is set to. A large product outside parallel parts is cut into groups of
// columns, or of rows where it has few columns, which the threads of the pool share; how it is cut depends on its shape
// only, and so do the bits.
#pragma once

#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/shape.hpp>

namespace unroll::detail {

/// Makes products of the libraries run on the calling thread alone while it stands, and leaves the user's setting as it was.
class OneLibraryThread {
public:
    OneLibraryThread();
    OneLibraryThread(const OneLibraryThread&) = delete;
    OneLibraryThread& operator=(const OneLibraryThread&) = delete;
    ~OneLibraryThread();

private:
    int before_ = 1;
};

/// Into how many groups a product of n columns is cut, for the threads to share: where a batch has too few rows to be cut,
/// large weights are. It depends on sizes and on the program, never on the number of threads, and so do the bits.
Index column_groups(bool large, Index n) noexcept;

/// C (M,N) = op(A)·op(B), or C += where `accumulate`; op(A) is (M,K), op(B) is (K,N), row-major with row lengths lda, ldb, ldc.
template <class Real>
void gemm(bool transpose_a, bool transpose_b, Index m, Index n, Index k, const Real* a, Index lda, const Real* b,
          Index ldb, bool accumulate, Real* c, Index ldc);

/// to[n] = (+=) the sum over rows of a (rows, n), in a fixed order.
template <class Real>
void column_sums(const Real* a, Index rows, Index n, bool accumulate, Real* to);

/// y[i] += x[i].
template <class Real>
void add_to(Real* y, const Real* x, Index n);

/// Sums `from` (of shape from_shape) over the axes along which `to_shape` was broadcast.
template <class Real>
void reduce_broadcast(const Real* from, const Shape& from_shape, bool accumulate, Real* to, const Shape& to_shape);

/// Writes `from` broadcast to to_shape.
template <class Real>
void expand_broadcast(const Real* from, const Shape& from_shape, Real* to, const Shape& to_shape);

/// b (n,m) = aᵀ for a (m,n).
template <class Real>
void transpose(const Real* a, Index m, Index n, Real* b);

}  // namespace unroll::detail
