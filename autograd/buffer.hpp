// The storage of a Tensor: pooled memory aligned to 64 bytes that it owns, or an alias of memory that somebody else owns.
//
// It is what xtensor expects of a container's storage. Copies are deep; `share` makes an alias. An alias stays one: to
// assign to it copies the elements into the memory it stands for, and a different size is a ShapeError.
#pragma once

#include <unroll/autograd/pool.hpp>
#include <unroll/autograd/shape.hpp>

#include <algorithm>
#include <iterator>
#include <memory>

namespace unroll {

template <class Real>
class Buffer {
public:
    using value_type = Real;
    using reference = Real&;
    using const_reference = const Real&;
    using pointer = Real*;
    using const_pointer = const Real*;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using iterator = Real*;
    using const_iterator = const Real*;
    using reverse_iterator = std::reverse_iterator<iterator>;
    using const_reverse_iterator = std::reverse_iterator<const_iterator>;
    using allocator_type = std::allocator<Real>;  // named because xtensor asks for it; memory comes from the pool

    Buffer() noexcept = default;
    explicit Buffer(size_type size) { own(size); }
    Buffer(size_type size, const Real& value) {
        own(size);
        std::fill_n(data_, size_, value);
    }
    Buffer(std::initializer_list<Real> values) : Buffer(values.begin(), values.end()) {}
    template <std::forward_iterator It>
    Buffer(It first, It last) {
        own(static_cast<size_type>(std::distance(first, last)));
        std::copy(first, last, data_);
    }
    Buffer(const Buffer& other) : Buffer(other.begin(), other.end()) {}
    Buffer(Buffer&& other) noexcept
        : block_(std::move(other.block_)), data_(other.data_), size_(other.size_), alias_(other.alias_) {
        other.forget();
    }
    Buffer& operator=(const Buffer& other) {
        if (this == &other) return *this;
        resize(other.size_);
        std::copy(other.begin(), other.end(), data_);
        return *this;
    }
    Buffer& operator=(Buffer&& other) {
        if (alias_ || other.alias_) return *this = static_cast<const Buffer&>(other);
        block_ = std::move(other.block_);
        data_ = other.data_;
        size_ = other.size_;
        other.forget();
        return *this;
    }
    ~Buffer() = default;

    /// An alias of `size` elements at `data`, which `owner` keeps alive (or, without owner, the caller).
    static Buffer share(detail::BlockRef owner, Real* data, size_type size) noexcept {
        Buffer buffer;
        buffer.block_ = std::move(owner);
        buffer.data_ = data;
        buffer.size_ = size;
        buffer.alias_ = true;
        return buffer;
    }
    bool is_alias() const noexcept { return alias_; }
    const detail::BlockRef& block() const noexcept { return block_; }

    /// Elements are not kept. @throws ShapeError when an alias would change its size.
    void resize(size_type size) {
        if (size == size_) return;
        if (alias_) fail_alias(size);
        own(size);
    }

    bool empty() const noexcept { return size_ == 0; }
    size_type size() const noexcept { return size_; }
    Real* data() noexcept { return data_; }
    const Real* data() const noexcept { return data_; }
    Real& operator[](size_type i) noexcept { return data_[i]; }
    const Real& operator[](size_type i) const noexcept { return data_[i]; }
    Real& front() noexcept { return data_[0]; }
    const Real& front() const noexcept { return data_[0]; }
    Real& back() noexcept { return data_[size_ - 1]; }
    const Real& back() const noexcept { return data_[size_ - 1]; }
    iterator begin() noexcept { return data_; }
    iterator end() noexcept { return data_ + size_; }
    const_iterator begin() const noexcept { return data_; }
    const_iterator end() const noexcept { return data_ + size_; }
    const_iterator cbegin() const noexcept { return data_; }
    const_iterator cend() const noexcept { return data_ + size_; }
    reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }
    reverse_iterator rend() noexcept { return reverse_iterator(begin()); }
    const_reverse_iterator rbegin() const noexcept { return const_reverse_iterator(end()); }
    const_reverse_iterator rend() const noexcept { return const_reverse_iterator(begin()); }
    const_reverse_iterator crbegin() const noexcept { return rbegin(); }
    const_reverse_iterator crend() const noexcept { return rend(); }

    friend bool operator==(const Buffer& a, const Buffer& b) {
        return a.size_ == b.size_ && std::equal(a.begin(), a.end(), b.begin());
    }
    friend void swap(Buffer& a, Buffer& b) {
        Buffer c = std::move(a);
        a = std::move(b);
        b = std::move(c);
    }

private:
    void own(size_type size) {
        block_ = detail::BlockRef::adopt(detail::Block::make(size * sizeof(Real)));
        data_ = block_->template as<Real>();
        size_ = size;
    }
    void forget() noexcept {
        data_ = nullptr;
        size_ = 0;
        alias_ = false;
    }
    [[noreturn]] void fail_alias(size_type size) const {
        throw ShapeError("[assign] an alias of " + std::to_string(size_) +
                         " elements (a parameter or a slice) cannot take " + std::to_string(size));
    }

    detail::BlockRef block_;
    Real* data_ = nullptr;
    size_type size_ = 0;
    bool alias_ = false;
};

}  // namespace unroll
