// Products and sums over raw arrays.
#include <unroll/autograd/linalg.hpp>

#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/threads.hpp>

#include <cblas.h>
#if UNROLL_WITH_ONEDNN
#include <dnnl.h>
#endif
#include <dlfcn.h>

#include <algorithm>
#include <type_traits>

namespace unroll::detail {
namespace {

/// OpenMP's and OpenBLAS' thread settings, if they are in the process at all. OpenMP's is the calling thread's own.
struct Threads {
    int (*omp_get)() = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
    void (*omp_set)(int) = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
    int (*blas_get)() = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "openblas_get_num_threads"));
    void (*blas_set)(int) = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
};

const Threads& threads() {
    static const Threads found;
    return found;
}

/// OpenBLAS built on plain threads has one setting for the whole process: one thread, set at the first product.
void use_one_blas_thread() {
    static const bool done = [] {
        if (threads().blas_set) threads().blas_set(1);
        return true;
    }();
    (void)done;
}

#if UNROLL_WITH_ONEDNN
void library_gemm(bool ta, bool tb, Index m, Index n, Index k, const float* a, Index lda, const float* b, Index ldb,
                  bool accumulate, float* c, Index ldc) {
    const OneLibraryThread one;
    const dnnl_status_t status =
        dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, accumulate ? 1.0f : 0.0f, c, ldc);
    UNROLL_ASSERT(status == dnnl_success);
}
#else
void library_gemm(bool ta, bool tb, Index m, Index n, Index k, const float* a, Index lda, const float* b, Index ldb,
                  bool accumulate, float* c, Index ldc) {
    const OneLibraryThread one;
    use_one_blas_thread();
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, static_cast<int>(m),
                static_cast<int>(n), static_cast<int>(k), 1.0f, a, static_cast<int>(lda), b, static_cast<int>(ldb),
                accumulate ? 1.0f : 0.0f, c, static_cast<int>(ldc));
}
#endif

void library_gemm(bool ta, bool tb, Index m, Index n, Index k, const double* a, Index lda, const double* b, Index ldb,
                  bool accumulate, double* c, Index ldc) {
    const OneLibraryThread one;
    use_one_blas_thread();
    cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, static_cast<int>(m),
                static_cast<int>(n), static_cast<int>(k), 1.0, a, static_cast<int>(lda), b, static_cast<int>(ldb),
                accumulate ? 1.0 : 0.0, c, static_cast<int>(ldc));
}

void library_gemm(bool ta, bool tb, Index m, Index n, Index k, const Dual<double>* a, Index lda, const Dual<double>* b,
                  Index ldb, bool accumulate, Dual<double>* c, Index ldc) {
    for (Index i = 0; i < m; ++i)
        for (Index j = 0; j < n; ++j) {
            Dual<double> sum = accumulate ? c[i * ldc + j] : Dual<double>(0.0);
            for (Index l = 0; l < k; ++l)
                sum += (ta ? a[l * lda + i] : a[i * lda + l]) * (tb ? b[j * ldb + l] : b[l * ldb + j]);
            c[i * ldc + j] = sum;
        }
}

}  // namespace

OneLibraryThread::OneLibraryThread() {
    const Threads& t = threads();
    if (t.omp_get && t.omp_set && (before_ = t.omp_get()) != 1)
        t.omp_set(1);
    else
        before_ = 1;
}

OneLibraryThread::~OneLibraryThread() {
    if (before_ != 1) threads().omp_set(before_);
}

namespace {

/// One product, its row lengths as the caller knows them.
template <class Real>
struct Product {
    bool ta, tb;
    Index m, n, k;
    const Real* a;
    Index lda;
    const Real* b;
    Index ldb;
    bool accumulate;
    Real* c;
    Index ldc;

    /// Columns [begin, end) of it.
    Product columns(Index begin, Index end) const {
        Product part = *this;
        part.n = end - begin;
        part.b += tb ? begin * ldb : begin;
        part.c += begin;
        return part;
    }

    /// Rows [begin, end) of it.
    Product rows(Index begin, Index end) const {
        Product part = *this;
        part.m = end - begin;
        part.a += ta ? begin : begin * lda;
        part.c += begin * ldc;
        return part;
    }

    /// On the calling thread.
    void run() const {
        if constexpr (std::is_same_v<Real, float>) {
            // One row: a matrix–vector product, which is bound by reading the matrix; one product of vectors: a rank-one
            // update.
            if (m == 1 && !ta) {
                if (tb)
                    kernels().gemv_t(n, k, a, b, ldb, accumulate ? 1.0f : 0.0f, c);
                else
                    kernels().gemv_n(k, n, a, b, ldb, accumulate ? 1.0f : 0.0f, c);
                return;
            }
            if (k == 1 && accumulate && ta && !tb) {
                kernels().ger(m, n, a, b, c, ldc);
                return;
            }
        }
        library_gemm(ta, tb, m, n, k, a, lda, b, ldb, accumulate, c, ldc);
    }
};

constexpr Index kMostGroups = 4;

Index groups_of(bool large, Index length, Index least) noexcept {
    return !large || in_parallel_part() ? 1 : std::clamp<Index>(length / least, 1, kMostGroups);
}

}  // namespace

Index column_groups(bool large, Index n) noexcept {
    constexpr Index kColumns = 256;
    return groups_of(large, n, kColumns);
}

template <class Real>
void gemm(bool ta, bool tb, Index m, Index n, Index k, const Real* a, Index lda, const Real* b, Index ldb,
          bool accumulate, Real* c, Index ldc) {
    if (m == 0 || n == 0) return;
    if (k == 0) {
        if (!accumulate)
            for (Index i = 0; i < m; ++i) std::fill_n(c + i * ldc, n, Real(0));
        return;
    }
    // Row lengths of matrices with a single row may be 0 or less than what the libraries accept.
    const Product<Real> product{
        ta, tb, m, n, k, a, std::max(lda, ta ? m : k), b, std::max(ldb, tb ? k : n), accumulate, c, std::max(ldc, n)};
    constexpr Index kLarge = Index{1} << 22;  // multiplications
    constexpr Index kRows = 128;
    const bool large = m * n * k >= kLarge;
    if (const Index groups = column_groups(large, n); groups > 1)
        return parallel_for(groups, [&](Index g) { product.columns(n * g / groups, n * (g + 1) / groups).run(); });
    if (const Index groups = groups_of(large, m, kRows); groups > 1)
        return parallel_for(groups, [&](Index g) { product.rows(m * g / groups, m * (g + 1) / groups).run(); });
    product.run();
}

template <class Real>
void column_sums(const Real* a, Index rows, Index n, bool accumulate, Real* to) {
    if constexpr (std::is_same_v<Real, float>) {
        constexpr Index kLarge = Index{1} << 18;  // elements
        const Index groups = column_groups(rows * n >= kLarge, n);
        parallel_for(groups, [&](Index g) {
            const Index begin = n * g / groups, end = n * (g + 1) / groups;
            kernels().column_sum(rows, end - begin, a + begin, n, accumulate ? 1.0f : 0.0f, to + begin);
        });
        return;
    }
    if (!accumulate) std::fill_n(to, n, Real(0));
    for (Index r = 0; r < rows; ++r)
        for (Index j = 0; j < n; ++j) to[j] += a[r * n + j];
}

template <class Real>
void add_to(Real* y, const Real* x, Index n) {
    if constexpr (std::is_same_v<Real, float>) {
        kernels().add(x, y, n);
        return;
    }
    for (Index i = 0; i < n; ++i) y[i] += x[i];
}

namespace {

/// Calls visit(position in the small array, position in the large array) for every element of the large one, in order.
template <class Visit>
void walk(const Shape& small, const Shape& large, Visit visit) {
    const std::size_t rank = large.rank();
    Index stride[Shape::kMaxRank] = {};
    Index step = 1;
    for (std::size_t i = 1; i <= small.rank(); ++i) {
        const std::size_t axis = rank - i;
        const Index length = small[small.rank() - i];
        stride[axis] = length == 1 ? 0 : step;
        step *= length;
    }
    const Index total = large.size();
    Index at[Shape::kMaxRank] = {};
    Index position = 0;
    for (Index i = 0; i < total; ++i) {
        visit(position, i);
        for (std::size_t axis = rank; axis-- > 0;) {
            position += stride[axis];
            if (++at[axis] < large[axis]) break;
            position -= stride[axis] * large[axis];
            at[axis] = 0;
        }
    }
}

}  // namespace

template <class Real>
void reduce_broadcast(const Real* from, const Shape& from_shape, bool accumulate, Real* to, const Shape& to_shape) {
    const std::size_t more = from_shape.rank() - to_shape.rank();
    const auto kept = [&](std::size_t axis) { return axis < more ? 1 : to_shape[axis - more]; };
    // The last axes that are kept are columns, those before them that are not are rows; the others are walked over.
    std::size_t axis = from_shape.rank();
    Index columns = 1, rows = 1;
    for (; axis > 0 && kept(axis - 1) == from_shape[axis - 1]; --axis) columns *= from_shape[axis - 1];
    for (; axis > 0 && kept(axis - 1) == 1; --axis) rows *= from_shape[axis - 1];
    if (axis == 0) {
        column_sums(from, rows, columns, accumulate, to);
        return;
    }
    if (!accumulate) std::fill_n(to, to_shape.size(), Real(0));
    walk(Shape(to_shape.begin(), axis > more ? axis - more : 0), Shape(from_shape.begin(), axis),
         [&](Index small, Index large) {
             column_sums(from + large * rows * columns, rows, columns, true, to + small * columns);
         });
}

template <class Real>
void expand_broadcast(const Real* from, const Shape& from_shape, Real* to, const Shape& to_shape) {
    walk(from_shape, to_shape, [&](Index small, Index large) { to[large] = from[small]; });
}

template <class Real>
void transpose(const Real* a, Index m, Index n, Real* b) {
    if constexpr (std::is_same_v<Real, float>) {
        constexpr Index kLarge = Index{1} << 16, kParts = 8;  // elements
        const Index parts = m * n < kLarge ? 1 : std::min(kParts, n);
        parallel_for(parts, [&](Index p) {
            const Index begin = n * p / parts, end = n * (p + 1) / parts;
            kernels().transpose(m, end - begin, a + begin, n, b + begin * m, m);
        });
        return;
    }
    constexpr Index kTile = 16;
    for (Index i0 = 0; i0 < m; i0 += kTile)
        for (Index j0 = 0; j0 < n; j0 += kTile)
            for (Index j = j0; j < std::min(n, j0 + kTile); ++j)
                for (Index i = i0; i < std::min(m, i0 + kTile); ++i) b[j * m + i] = a[i * n + j];
}

#define UNROLL_INSTANTIATE(R)                                                                               \
    template void gemm(bool, bool, Index, Index, Index, const R*, Index, const R*, Index, bool, R*, Index); \
    template void column_sums(const R*, Index, Index, bool, R*);                                            \
    template void add_to(R*, const R*, Index);                                                              \
    template void reduce_broadcast(const R*, const Shape&, bool, R*, const Shape&);                         \
    template void expand_broadcast(const R*, const Shape&, R*, const Shape&);                               \
    template void transpose(const R*, Index, Index, R*);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll::detail
