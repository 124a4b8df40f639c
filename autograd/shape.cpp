// Shapes: checks, broadcasting, text.
#include <unroll/autograd/shape.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace unroll {

void Shape::set_rank(std::size_t rank) {
    if (rank > kMaxRank)
        detail::fail_shape("Shape", fmt::format("an array has at most {} axes; got {}", kMaxRank, rank));
    rank_ = static_cast<std::uint32_t>(rank);
}

void Shape::check() const {
    double size = 1;  // whose multiplications do not overflow
    for (std::size_t i = 0; i < rank_; ++i) {
        if (lengths_[i] < 0) detail::fail_shape("Shape", "an axis has a length of 0 or more", {*this});
        if (lengths_[i] > 0) size *= static_cast<double>(lengths_[i]);
    }
    if (size > 0x1p48) detail::fail_shape("Shape", "an array has at most 2⁴⁸ elements", {*this});
}

void Shape::insert(std::size_t at) {
    set_rank(rank_ + 1u);
    for (std::size_t i = rank_ - 1u; i > at; --i) lengths_[i] = lengths_[i - 1];
    lengths_[at] = 1;
}

void Shape::erase(std::size_t at) {
    if (rank_ == 0) detail::fail_shape("Shape", "a scalar has no axis that could be taken away");
    --rank_;
    for (std::size_t i = at; i < rank_; ++i) lengths_[i] = lengths_[i + 1];
    lengths_[rank_] = 0;
}

Shape Shape::inserted(std::size_t at, Index length) const {
    Shape out = *this;
    out.insert(at);
    out.lengths_[at] = length;
    if (length != 1) out.check();
    return out;
}

Shape Shape::erased(std::size_t at) const {
    Shape out = *this;
    out.erase(at);
    return out;
}

Shape Shape::replaced(std::size_t at, Index length) const {
    Shape out = *this;
    out.lengths_[at] = length;
    if (length > lengths_[at]) out.check();
    return out;
}

std::string to_string(const Shape& shape) {
    if (shape.rank() == 1) return fmt::format("({},)", shape[0]);
    return fmt::format("({})", fmt::join(shape.begin(), shape.end(), ", "));
}

namespace detail {

Shape broadcast(std::string_view op, const Shape& a, const Shape& b) {
    if (a == b) return a;
    Shape out = a.rank() >= b.rank() ? a : b;
    const std::size_t shared = std::min(a.rank(), b.rank());
    for (std::size_t i = 1; i <= shared; ++i) {
        const Index m = a[a.rank() - i], n = b[b.rank() - i];
        if (m != n && m != 1 && n != 1)
            fail_shape(op, "shapes must broadcast: aligned at the last axis, lengths are equal or one of them is 1",
                       {a, b});
        out[out.rank() - i] = m == 1 ? n : m;
    }
    if (out == a || out == b) return out;
    return Shape(out.begin(), out.rank());  // which may have too many elements
}

bool broadcasts_to(const Shape& from, const Shape& to) noexcept {
    if (from.rank() > to.rank()) return false;
    for (std::size_t i = 1; i <= from.rank(); ++i) {
        const Index m = from[from.rank() - i];
        if (m != to[to.rank() - i] && m != 1) return false;
    }
    return true;
}

std::size_t normal_axis(std::string_view op, Index axis, std::size_t rank) {
    const Index r = static_cast<Index>(rank);
    if (axis < -r || axis >= r)
        fail_index(op, fmt::format("axis {} is out of range for an array of rank {} (allowed: {} to {})", axis, rank,
                                   -r, r - 1));
    return static_cast<std::size_t>(axis < 0 ? axis + r : axis);
}

}  // namespace detail
}  // namespace unroll
