// Copies between layouts: axes that lie the same way in both are joined, then the copy is one of rows, tiles or elements.
#include <unroll/autograd/ops/detail/strided.hpp>

#include <algorithm>

namespace unroll::detail {
namespace {

struct Axis {
    Index length, from, to;
};

template <bool kAdd, class Real>
void put(Real& to, const Real& from) {
    if constexpr (kAdd)
        to += from;
    else
        to = from;
}

/// One axis, the innermost.
template <bool kAdd, class Real>
void copy_line(const Axis& axis, const Real* x, Real* y) {
    if (axis.from == 1 && axis.to == 1)
        for (Index i = 0; i < axis.length; ++i) put<kAdd>(y[i], x[i]);
    else
        for (Index i = 0; i < axis.length; ++i) put<kAdd>(y[i * axis.to], x[i * axis.from]);
}

/// Two axes of which one is contiguous in x and the other in y: by tiles, so that both sides stay in the cache.
template <bool kAdd, class Real>
void copy_tiles(const Axis& a, const Axis& b, const Real* x, Real* y) {
    constexpr Index kTile = 16;
    for (Index i0 = 0; i0 < a.length; i0 += kTile)
        for (Index j0 = 0; j0 < b.length; j0 += kTile)
            for (Index i = i0; i < std::min(a.length, i0 + kTile); ++i)
                for (Index j = j0; j < std::min(b.length, j0 + kTile); ++j)
                    put<kAdd>(y[i * a.to + j * b.to], x[i * a.from + j * b.from]);
}

template <bool kAdd, class Real>
void copy(const Axis* axes, std::size_t rank, const Real* x, Real* y) {
    if (rank == 1) return copy_line<kAdd>(axes[0], x, y);
    if (rank == 2 && axes[1].from != axes[1].to) return copy_tiles<kAdd>(axes[0], axes[1], x, y);
    for (Index i = 0; i < axes[0].length; ++i) copy<kAdd>(axes + 1, rank - 1, x + i * axes[0].from, y + i * axes[0].to);
}

}  // namespace

Strides contiguous(const Shape& shape) noexcept {
    Strides strides{};
    Index step = 1;
    for (std::size_t i = shape.rank(); i-- > 0; step *= shape[i]) strides[i] = step;
    return strides;
}

template <class Real>
void copy_strided(const Shape& shape, const Real* x, const Strides& from, Real* y, const Strides& to, bool add) {
    if (shape.size() == 0) return;
    Axis axes[Shape::kMaxRank];
    std::size_t rank = 0;
    for (std::size_t i = 0; i < shape.rank(); ++i) {
        if (shape[i] == 1) continue;
        const Axis next{shape[i], from[i], to[i]};
        Axis* last = rank ? &axes[rank - 1] : nullptr;
        if (last && last->from == next.from * next.length && last->to == next.to * next.length)
            *last = {last->length * next.length, next.from, next.to};
        else
            axes[rank++] = next;
    }
    if (rank == 0) axes[rank++] = {1, 1, 1};
    // Beside the axis that is contiguous in y stands the one that is contiguous in x.
    if (rank > 2 && axes[rank - 1].from != 1)
        for (std::size_t i = 0; i + 2 < rank; ++i)
            if (axes[i].from == 1) {
                std::rotate(axes + i, axes + i + 1, axes + rank - 1);
                break;
            }
    if (add)
        copy<true>(axes, rank, x, y);
    else
        copy<false>(axes, rank, x, y);
}

#define UNROLL_INSTANTIATE(R) \
    template void copy_strided(const Shape&, const R*, const Strides&, R*, const Strides&, bool);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll::detail
