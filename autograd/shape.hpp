// Sizes and shapes: small values without allocation, and NumPy's broadcasting rule on them.
#pragma once

#include <unroll/autograd/error.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace unroll {

/// A count or position; signed so that differences have a meaning.
using Index = std::int64_t;

/// An integer that counts: any but bool.
template <class I>
concept CountingInteger = std::integral<I> && !std::same_as<I, bool>;

/// A size in an option struct. It has no default, so that a forgotten one does not compile.
class Size {
public:
    template <CountingInteger I>
    constexpr Size(I value) noexcept : value_(static_cast<Index>(value)) {}
    constexpr operator Index() const noexcept { return value_; }

private:
    Index value_;
};

/// The lengths of an array's axes, slowest first; rank 0 is a scalar. At most six axes and 2⁴⁸ elements.
class Shape {
public:
    static constexpr std::size_t kMaxRank = 6;

    constexpr Shape() noexcept = default;
    /// @throws ShapeError for more than six axes, a negative length, or too many elements
    Shape(std::initializer_list<Index> lengths) : Shape(lengths.begin(), lengths.size()) {}
    template <class Integer>
    Shape(const Integer* lengths, std::size_t rank) {
        set_rank(rank);
        Index bits = 0;
        for (std::size_t i = 0; i < rank; ++i) bits |= lengths_[i] = static_cast<Index>(lengths[i]);
        if (rank > 3 || bits >> 16 != 0) check();
    }

    std::size_t rank() const noexcept { return rank_; }
    /// Number of elements: the product of all lengths, 1 for a scalar.
    Index size() const noexcept {
        Index product = 1;
        for (std::size_t i = 0; i < rank_; ++i) product *= lengths_[i];
        return product;
    }
    Index operator[](std::size_t axis) const noexcept { return lengths_[axis]; }
    Index& operator[](std::size_t axis) noexcept { return lengths_[axis]; }
    Index back() const noexcept { return lengths_[rank_ - 1]; }
    const Index* begin() const noexcept { return lengths_.data(); }
    const Index* end() const noexcept { return lengths_.data() + rank_; }

    /// Puts an axis of length 1 before axis `at` (0 ≤ at ≤ rank). @throws ShapeError for more than six axes
    void insert(std::size_t at);
    /// Takes axis `at` away. @throws ShapeError for a scalar
    void erase(std::size_t at);
    /// The same shape with one more axis before axis `at` (0 ≤ at ≤ rank).
    Shape inserted(std::size_t at, Index length) const;
    /// The same shape without axis `at`.
    Shape erased(std::size_t at) const;
    /// The same shape with another length of axis `at`.
    Shape replaced(std::size_t at, Index length) const;

    friend bool operator==(const Shape& a, const Shape& b) noexcept {
        if (a.rank_ != b.rank_) return false;
        for (std::size_t i = 0; i < a.rank_; ++i)
            if (a.lengths_[i] != b.lengths_[i]) return false;
        return true;
    }

private:
    void set_rank(std::size_t rank);
    void check() const;

    std::array<Index, kMaxRank> lengths_{};
    std::uint32_t rank_ = 0;
};

/// "(2, 3)", "()" for a scalar, "(4,)" for one axis, as NumPy prints it.
std::string to_string(const Shape& shape);

namespace detail {

/// NumPy's broadcast of two shapes. @throws ShapeError in the name of `op` when they do not fit.
Shape broadcast(std::string_view op, const Shape& a, const Shape& b);
/// Whether `from` broadcasts to exactly `to`.
bool broadcasts_to(const Shape& from, const Shape& to) noexcept;
/// An axis counted from the end when negative. @throws IndexError in the name of `op`.
std::size_t normal_axis(std::string_view op, Index axis, std::size_t rank);

}  // namespace detail
}  // namespace unroll
