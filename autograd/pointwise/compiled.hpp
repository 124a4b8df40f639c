// From a user's function to its program: recording, the table of all programs, and their derivatives.
//
// Every program exists once in a process and lives to its end: the table holds one entry for each *structure* of a
// function. Numbers that a function captures do not count for the structure (but for the few in kStructural, which
// simplify it): they become parameters, scalar inputs behind the operands, which the caller hands over at each run. So
// a rate that changes at every step adds no entry. Entries can be read from any thread. Running them, and tensors, are
// not this file's business.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <unroll/autograd/pointwise/adjoint.hpp>
#include <unroll/autograd/pointwise/recorder.hpp>

namespace unroll::detail {

/// The derivative of a program for one set of wanted inputs, for any set of outputs that have gradients.
class CompiledAdjoint {
public:
    CompiledAdjoint(const Program& program, Mask wanted, int operands)
        : adjoint_(differentiate(program, wanted, operands)), wanted_(wanted) {}

    Mask wanted() const { return wanted_; }
    /// What to run instead of the program itself, and what it saves.
    const Adjoint& adjoint() const { return adjoint_; }
    /// What to run backward when the outputs in `present` have gradients. Derived at first use.
    const BackwardProgram& backward(Mask present) const;

private:
    struct Partial {
        Mask present;
        BackwardProgram backward;
        std::unique_ptr<const Partial> next;
    };

    const Adjoint adjoint_;
    const Mask wanted_;
    // Read without a lock, extended at the front under one.
    mutable std::atomic<const Partial*> partials_{nullptr};
    mutable std::unique_ptr<const Partial> owned_;
    mutable std::mutex extending_;
};

class CompiledPointwise {
public:
    CompiledPointwise(Program program, int operands);

    /// Inputs: the operands, then the parameters.
    const Program& program() const { return program_; }
    int operands() const { return operands_; }
    int parameters() const { return program_.inputs - operands_; }
    int results() const { return static_cast<int>(program_.outputs.size()); }
    /// The derivative for these operands. Derived at first use.
    const CompiledAdjoint& adjoint(Mask wanted) const;

private:
    struct Entry {
        Entry(const Program& program, Mask wanted, int operands, std::unique_ptr<const Entry> next_in)
            : adjoint(program, wanted, operands), next(std::move(next_in)) {}

        CompiledAdjoint adjoint;
        std::unique_ptr<const Entry> next;
    };

    const Program program_;
    const int operands_;
    mutable std::atomic<const Entry*> adjoints_{nullptr};
    mutable std::unique_ptr<const Entry> owned_;
    mutable std::mutex extending_;
};

/// A function, ready to run. The parameters stand in memory of this thread, until the next function is recorded on it.
struct PointwiseCall {
    const CompiledPointwise* function;
    std::span<const double> parameters;
};

/// Numbers that stay in a program, since knowing them makes it simpler.
inline constexpr double kStructural[] = {0.0, 1.0, -1.0};

/// Finishes what the recorder holds. With `lift`, numbers become parameters. Throws ValueError without results or with
/// more than 64 operands or results.
PointwiseCall intern(Recorder& recorder, int operands, std::span<const Symbol> results, bool lift);

/// The extended forward program and the derivative for these operands as text, with the parameters as the numbers that
/// they are now.
std::string to_string(const PointwiseCall& call, Mask wanted, std::span<const std::string> operand_names = {},
                      std::span<const std::string> result_names = {});

/// How many programs there are so far; for tests.
std::size_t interned_programs();

template <class Result>
inline constexpr bool is_single_result = std::is_convertible_v<Result, Symbol>;

/// How many results a function's return type stands for: a symbol or number, or a tuple, pair or array of them.
template <class Result>
constexpr std::size_t result_count() {
    if constexpr (is_single_result<Result>) {
        return 1;
    } else {
        static_assert(
            requires { std::tuple_size<Result>::value; },
            "a pointwise function returns a symbol, or a std::tuple, std::pair or std::array of symbols");
        return std::tuple_size_v<Result>;
    }
}

template <class Function, std::size_t... Operand>
PointwiseCall record_pointwise(Function& function, bool lift, std::index_sequence<Operand...>) {
    constexpr int kOperands = static_cast<int>(sizeof...(Operand));
    Recorder recorder(kOperands);
    const auto result = function(recorder.symbol(static_cast<Register>(Operand))...);
    using Result = std::remove_const_t<decltype(result)>;
    if constexpr (is_single_result<Result>) {
        const Symbol results[] = {result};
        return intern(recorder, kOperands, results, lift);
    } else {
        static_assert(result_count<Result>() > 0, "a pointwise function returns at least one result");
        return std::apply(
            [&](const auto&... each) {
                const Symbol results[] = {Symbol(each)...};
                return intern(recorder, kOperands, results, lift);
            },
            result);
    }
}

/// The program of a function of that many symbols. A function without captures is recorded once in the life of the
/// process (so it must not read variables: it has nothing to read but its operands); any other one is recorded at each
/// call, without allocating once its structure is known, and looked up.
template <std::size_t Operands, class Function>
PointwiseCall compile_pointwise(Function&& function) {
    static_assert(Operands <= kMaxOperands, "a pointwise function has at most 64 operands");
    constexpr auto kSequence = std::make_index_sequence<Operands>{};
    if constexpr (std::is_empty_v<std::remove_cvref_t<Function>>) {
        static const CompiledPointwise& compiled = *record_pointwise(function, false, kSequence).function;
        return {&compiled, {}};
    } else {
        return record_pointwise(function, true, kSequence);
    }
}

}  // namespace unroll::detail
