// Weights in the order in which oneDNN's product kernels read them. A loop through time multiplies by the same weight at
// every step: packed once, it is read at 1.2 to 1.6 times the speed. Only float weights are packed, where oneDNN has
// such kernels for the processor; elsewhere callers multiply by the plain weight.
#pragma once

#include <unroll/autograd/pool.hpp>
#include <unroll/autograd/shape.hpp>

#include <cstddef>
#include <cstdint>

namespace unroll::detail {

/// W (k, n), packed in groups of columns.
template <class Real>
class PackedWeight {
public:
    /// Whether products of so many rows gain by packing: one is a matrix–vector product, and with many the plain product packs
    /// for itself.
    static constexpr bool pays(Index rows) noexcept { return rows >= 2 && rows < 512; }
    /// Null where packing does not pay or is not possible. `rows`: of the products to come.
    /// @param transposed the array holds Wᵀ (n, k)
    static PackedWeight make(const Real* weight, bool transposed, Index rows, Index k, Index n);

    explicit operator bool() const noexcept { return static_cast<bool>(block_); }
    /// y (rows, n) = x (rows, k)·W, or += where `accumulate`. The threads of the pool share the groups of a large product.
    void multiply(Index rows, const Real* x, bool accumulate, Real* y) const;

private:
    Index begin(Index group) const noexcept { return n_ * group / groups_; }
    void multiply_group(Index group, Index rows, const Real* x, bool accumulate, Real* y) const;

    BlockRef block_;
    Index k_ = 0, n_ = 0, groups_ = 1;
    std::size_t group_bytes_ = 0;
};

/// While it stands, products of this thread by a parameter are made with that parameter packed: for loops of several steps.
/// A parameter that changes meanwhile is packed anew.
template <class Real>
class PackScope {
public:
    PackScope() noexcept;
    PackScope(const PackScope&) = delete;
    PackScope& operator=(const PackScope&) = delete;
    ~PackScope();

    /// y = x·W or y += x·W by the packed weight, which is made when it is first asked for. False, with nothing done, outside
    /// such a scope or where weights of this size, or for so many rows, are not packed.
    /// @param version of the weight: another one than before has other values
    static bool multiply(const Real* weight, std::uint64_t version, Index rows, Index k, Index n, const Real* x,
                         bool accumulate, Real* y);

private:
    struct Entry {
        const Real* weight;
        std::uint64_t version;
        Index k, n;
        PackedWeight<Real> packed;
    };
    static constexpr std::size_t kMost = 32;
    Entry& entry(std::size_t i) noexcept { return reinterpret_cast<Entry*>(entries_)[i]; }

    PackScope* outer_;
    std::size_t count_ = 0;
    alignas(Entry) std::byte entries_[kMost * sizeof(Entry)];  // the first count_
};

/// While it stands, scopes around it do not count. What runs now and again later, outside of them, has the same bits then.
template <class Real>
class NoPackScope {
public:
    NoPackScope() noexcept;
    NoPackScope(const NoPackScope&) = delete;
    NoPackScope& operator=(const NoPackScope&) = delete;
    ~NoPackScope();

private:
    PackScope<Real>* before_;
};

}  // namespace unroll::detail
