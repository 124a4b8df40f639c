// Growing arrays over the pool, for the tape's own bookkeeping: a new tape in every training step allocates nothing.
#pragma once

#include <unroll/autograd/pool.hpp>

#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace unroll::detail {

/// A vector of trivially copyable things; memory comes from the pool.
template <class T>
class PoolVector {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    PoolVector() noexcept = default;
    PoolVector(const PoolVector&) = delete;
    PoolVector& operator=(const PoolVector&) = delete;
    ~PoolVector() {
        if (data_) pool_free(data_);
    }

    void push_back(const T& value) {
        if (size_ == capacity_) reserve(capacity_ ? capacity_ * 2 : 16);
        data_[size_++] = value;
    }
    void resize(std::size_t size, const T& value) {
        if (size > capacity_) reserve(size);
        for (std::size_t i = size_; i < size; ++i) data_[i] = value;
        size_ = size;
    }
    void pop_back() noexcept { --size_; }
    void clear() noexcept { size_ = 0; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    T& operator[](std::size_t i) noexcept { return data_[i]; }
    const T& operator[](std::size_t i) const noexcept { return data_[i]; }
    T& back() noexcept { return data_[size_ - 1]; }
    T* begin() noexcept { return data_; }
    T* end() noexcept { return data_ + size_; }
    const T* begin() const noexcept { return data_; }
    const T* end() const noexcept { return data_ + size_; }

private:
    void reserve(std::size_t capacity) {
        T* data = static_cast<T*>(pool_allocate(capacity * sizeof(T)));
        if (size_) std::memcpy(static_cast<void*>(data), data_, size_ * sizeof(T));
        if (data_) pool_free(data_);
        data_ = data;
        capacity_ = capacity;
    }

    T* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

/// Things with numbers, in chunks that never move.
template <class T>
class ChunkList {
public:
    static constexpr std::int64_t kPerChunk = 256;

    ChunkList() noexcept = default;
    ChunkList(const ChunkList&) = delete;
    ChunkList& operator=(const ChunkList&) = delete;
    ~ChunkList() { truncate(0); }

    std::int64_t end_number() const noexcept { return end_; }
    bool contains(std::int64_t number) const noexcept { return number >= 0 && number < end_; }

    /// Adds one, which has the last number.
    template <class... Arguments>
    T& add(Arguments&&... arguments) {
        const std::int64_t chunk = end_ / kPerChunk;
        if (chunk == static_cast<std::int64_t>(chunks_.size())) {
            void* memory = pool_allocate(sizeof(T) * kPerChunk);
            chunks_.push_back(static_cast<T*>(memory));
        }
        return *new (static_cast<void*>(&chunks_[chunk][end_++ % kPerChunk])) T(std::forward<Arguments>(arguments)...);
    }
    T& operator[](std::int64_t number) noexcept { return chunks_[number / kPerChunk][number % kPerChunk]; }
    const T& operator[](std::int64_t number) const noexcept { return chunks_[number / kPerChunk][number % kPerChunk]; }
    /// Destroys all from `number` on.
    void truncate(std::int64_t number) noexcept {
        while (end_ > number) {
            --end_;
            (*this)[end_].~T();
        }
        while (!chunks_.empty() && (static_cast<std::int64_t>(chunks_.size()) - 1) * kPerChunk >= end_) {
            pool_free(chunks_.back());
            chunks_.pop_back();
        }
    }

private:
    PoolVector<T*> chunks_;
    std::int64_t end_ = 0;
};

}  // namespace unroll::detail
