// pointwise: any expression of the elementwise functions as one op.
//
//     auto [h, c2] = pointwise([](auto i, auto f, auto g, auto o, auto c) {
//         auto c2 = sigmoid(f) * c + sigmoid(i) * tanh(g);
//         return std::tuple{sigmoid(o) * tanh(c2), c2};
//     }, columns<4>(gates), c);
//
// The function is called with symbols (pointwise/symbol.hpp), once for all elements; what it did becomes a program, which
// the library runs block by block with the processor's vector instructions, and whose derivative it derives. Operands
// broadcast as in NumPy. Use `where` instead of `if`; captured numbers may differ from call to call.
#pragma once

#include <unroll/autograd/pointwise/compiled.hpp>
#include <unroll/autograd/tape.hpp>

#include <array>
#include <tuple>

namespace unroll {

/// The N equal parts of a value along its last axis, each an operand of its own, without copying.
template <class Real, int N>
struct Columns {
    Var<Real> value;
};

/// (…, N·H) as N operands (…, H) of a pointwise function.
template <int N, class Real>
Columns<Real, N> columns(Var<Real> x) {
    static_assert(N >= 1);
    return {std::move(x)};
}

namespace detail {

/// Which part of which input an operand of the program is.
struct PointwiseOperand {
    std::uint8_t input;
    std::uint8_t part;
    std::uint8_t parts;
};

/// Runs and records a program. `operands` must live as long as the process (it is part of the code that calls).
template <class Real>
void run_pointwise(std::string_view name, const PointwiseCall& call, std::span<const PointwiseOperand> operands,
                   std::span<Var<Real>> in, std::span<Var<Real>> out);

template <class T>
struct OperandTraits {
    static constexpr int kParts = 1;
    using Real = void;
};
template <VarLike T>
struct OperandTraits<T> {
    static constexpr int kParts = 1;
    using Real = typename T::value_type;
};
template <class R, int N>
struct OperandTraits<Columns<R, N>> {
    static constexpr int kParts = N;
    using Real = R;
};

template <class... Reals>
struct FirstReal;
template <class R, class... More>
struct FirstReal<R, More...> {
    using type = R;
};
template <class... More>
struct FirstReal<void, More...> : FirstReal<More...> {};

template <class Real, class T>
Var<Real> operand_value(T&& operand) {
    return Var<Real>(std::forward<T>(operand));
}
template <class Real, int N>
Var<Real> operand_value(Columns<Real, N> operand) {
    return std::move(operand.value);
}

template <class... Operands>
constexpr auto operand_table() {
    constexpr std::size_t kSymbols = static_cast<std::size_t>((OperandTraits<Operands>::kParts + ...));
    std::array<PointwiseOperand, kSymbols> table{};
    std::size_t at = 0;
    std::uint8_t input = 0;
    const auto add = [&](int parts) {
        for (int p = 0; p < parts; ++p)
            table[at++] = {input, static_cast<std::uint8_t>(p), static_cast<std::uint8_t>(parts)};
        ++input;
    };
    (add(OperandTraits<Operands>::kParts), ...);
    return table;
}

/// The type of a function's result when it is called with N symbols.
template <class Function, std::size_t... I>
auto result_of(std::index_sequence<I...>)
    -> decltype(std::declval<Function&>()((static_cast<void>(I), std::declval<Symbol>())...));

template <class... Operands>
inline constexpr auto kOperandTable = operand_table<Operands...>();

/// pointwise() under another name: what single ops that are pointwise programs record. The name lives as long as the process.
template <class Function, class... Operands>
auto named_pointwise(std::string_view name, Function&& function, Operands&&... operands) {
    using Real = typename FirstReal<typename OperandTraits<std::remove_cvref_t<Operands>>::Real...>::type;
    constexpr auto& table = kOperandTable<std::remove_cvref_t<Operands>...>;
    const PointwiseCall call = compile_pointwise<table.size()>(function);
    std::array<Var<Real>, sizeof...(Operands)> in{operand_value<Real>(std::forward<Operands>(operands))...};
    using Result = decltype(result_of<Function>(std::make_index_sequence<table.size()>{}));
    std::array<Var<Real>, is_single_result<Result> ? 1 : result_count<Result>()> out;
    run_pointwise<Real>(name, call, table, in, out);
    if constexpr (is_single_result<Result>)
        return std::move(out[0]);
    else
        return out;
}

}  // namespace detail

/// Applies a function elementwise. Operands: Vars, columns<N>(Var), arrays, numbers; at least one Var. Returns one Var, or a
/// std::array of as many as the function has results. All results have the broadcast shape of the operands.
/// @throws ShapeError if shapes do not broadcast, or a last axis is no multiple of the number of columns
template <class Function, class... Operands>
auto pointwise(Function&& function, Operands&&... operands) {
    return detail::named_pointwise("pointwise", function, std::forward<Operands>(operands)...);
}

/// A function and its derivative as text, with what is saved for backward.
template <int Operands, class Function>
std::string pointwise_text(Function&& function, std::span<const std::string> names = {},
                           std::span<const std::string> results = {}) {
    const detail::PointwiseCall call = detail::compile_pointwise<static_cast<std::size_t>(Operands)>(function);
    const auto all = Operands == 64 ? ~detail::Mask{0} : (detail::Mask{1} << Operands) - 1;
    return detail::to_string(call, all, names, results);
}

}  // namespace unroll
