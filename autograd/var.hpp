// Var: a handle to a value, the thing that ops take and give. What happens to it is recorded by the tape (tape.hpp).
#pragma once

#include <unroll/autograd/detail/text_formatter.hpp>
#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/tensor.hpp>

#include <cmath>
#include <concepts>
#include <string>
#include <utility>
#include <vector>

namespace unroll {

template <class Real>
class Tape;
template <class Real>
class ParameterStore;

/// The number types of unroll: float trains, double checks, Dual<double> proves.
template <class T>
concept RealNumber = std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, Dual<double>>;

namespace detail {

/// Neither infinite nor NaN (of a Dual: both parts).
template <class Real>
bool finite(const Real& x) noexcept {
    using std::isfinite;
    return isfinite(x);
}

template <class Real>
bool all_finite(const Real* values, Index count) noexcept {
    for (Index i = 0; i < count; ++i)
        if (!finite(values[i])) return false;
    return true;
}

template <class Real>
struct ParameterEntry;

/// Which values a parameter has: counted up by every change. Whoever reads its memory under another name may outlive it.
struct ParameterVersion {
    std::atomic<std::uint32_t> references{1};
    std::uint64_t number = 0;
    std::string name;  ///< of the parameter

    static void destroy(ParameterVersion* version) noexcept { delete version; }
};
using VersionRef = Ref<ParameterVersion>;

/// What a Var points to. Its elements are contiguous, row-major, and not changed once made.
template <class Real>
struct Value {
    std::atomic<std::uint32_t> references{1};
    bool exclusive = false;  ///< nobody else reads its memory: an op may reuse it when this is the last handle
    bool zero = false;       ///< known to be all zeros
    bool in_piece = false;   ///< stands in the piece of memory of the block that it was made with, and holds on to it
    Real* data = nullptr;
    BlockRef block;  ///< keeps the memory; empty when it belongs to somebody who outlives the value
    Shape shape;
    std::uint64_t tape = 0;  ///< the tape that recorded it; 0: none
    Index slot = -1;         ///< where that tape keeps its gradient; -1: none needed
    ParameterEntry<Real>* parameter = nullptr;
    VersionRef version;  ///< of the parameter whose memory this is: its own value, and what reads it without copying

    /// Reads the memory of another value from `at` on.
    void read(const Value& from, Real* at) {
        block = from.block;
        version = from.version;
        data = at;
    }
    /// Has its elements at another place from now on; they are copied there.
    void move_to(const BlockRef& other, Real* at);

    static Value* make();
    /// With memory for its elements, in the same piece.
    static Value* make(const Shape& shape);
    static void destroy(Value* value) noexcept;

private:
    static constexpr std::size_t kBeforeBlock = 128;
    Block* first_block() noexcept;  // of a value in_piece: the one that it was made with
};

template <class Real>
using ValueRef = Ref<Value<Real>>;

/// A number of its own type or of C++'s.
template <class Number, class Real>
concept NumberOf = std::is_arithmetic_v<Number> || std::same_as<Number, Real>;
/// An array or expression that is not a Tensor of Reals already.
template <class E, class Real>
concept OtherArray = ArrayLike<E> && !std::same_as<std::remove_cvref_t<E>, Tensor<Real>>;

}  // namespace detail

/// A value on or off the tape. Copies are cheap and stand for the same value.
///
/// Arrays, expressions and numbers turn into constants. With a Tape in scope, what ops make of a Var that needs a
/// gradient is recorded; the Var of a tape that has ended is a plain value.
template <class Real>
class Var {
public:
    using value_type = Real;

    /// An empty handle: fit to be assigned to, and to say "none" where an argument is optional.
    Var() noexcept = default;
    /// A constant scalar.
    template <detail::NumberOf<Real> Number>
    Var(Number value) : Var(full<Real>({}, Real(value))) {}
    /// A constant; takes the tensor's memory over.
    Var(Tensor<Real>&& tensor);
    Var(const Tensor<Real>& tensor);
    /// A constant: the evaluated array or expression.
    template <detail::OtherArray<Real> E>
    Var(E&& array) : Var(evaluate(array)) {}

    explicit operator bool() const noexcept { return static_cast<bool>(value_); }
    const Shape& shape() const { return get().shape; }
    std::size_t rank() const { return get().shape.rank(); }
    /// Number of elements.
    Index size() const { return get().shape.size(); }
    const Real* data() const { return get().data; }
    /// The elements as an xtensor container that shares this value's memory.
    const Tensor<Real> value() const;
    /// The single element. @throws ShapeError unless there is exactly one.
    Real item() const;
    /// The same value, cut from the tape: no gradient flows through it.
    Var detach() const;

    /// @private
    detail::Value<Real>* internal() const noexcept { return value_.get(); }
    /// @private
    static Var from(detail::ValueRef<Real> value) noexcept {
        Var var;
        var.value_ = std::move(value);
        return var;
    }
    /// @private
    detail::ValueRef<Real>& reference() noexcept { return value_; }

protected:
    const detail::Value<Real>& get() const {
        if (!value_) detail::fail_usage("Var", "this Var is empty: assign a value to it before use");
        return *value_;
    }
    template <class E>
    static Tensor<Real> evaluate(const E& array) {
        Tensor<Real> out = empty<Real>(shape_of(array));
        Index i = 0;
        for (auto it = array.template cbegin<xt::layout_type::row_major>(),
                  end = array.template cend<xt::layout_type::row_major>();
             it != end; ++it)
            out.data()[i++] = Real(*it);
        return out;
    }

    detail::ValueRef<Real> value_;
};

/// A list of values; its memory comes from the pool.
template <class Real>
using Vars = std::vector<Var<Real>, detail::PoolAllocator<Var<Real>>>;

/// The number type of a Var or array.
template <class T>
using RealOf = typename std::remove_cvref_t<T>::value_type;

/// Whether T is a Var, or derived from one (a Parameter).
template <class T>
concept VarLike = std::derived_from<std::remove_cvref_t<T>, Var<RealOf<T>>>;

/// A Var with its shape and its first elements.
template <class Real>
std::string to_string(const Var<Real>& var);

#define UNROLL_DECLARE(R)                    \
    extern template struct detail::Value<R>; \
    extern template class Var<R>;
UNROLL_DECLARE(float)
UNROLL_DECLARE(double)
UNROLL_DECLARE(Dual<double>)
#undef UNROLL_DECLARE

}  // namespace unroll

template <>
struct fmt::formatter<unroll::Shape> : unroll::detail::TextFormatter {
    template <class Context>
    typename Context::iterator format(const unroll::Shape& shape, Context& context) const {
        return write(unroll::to_string(shape), context);
    }
};

template <class Real>
struct fmt::formatter<unroll::Var<Real>> : unroll::detail::TextFormatter {
    template <class Context>
    typename Context::iterator format(const unroll::Var<Real>& var, Context& context) const {
        return write(unroll::to_string(var), context);
    }
};
