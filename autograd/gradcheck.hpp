// gradcheck: proves the gradients of an op, a layer or a whole model.
//
//     GradcheckResult result = gradcheck([](auto x, auto w) { return tanh(matmul(x, w)); }, x, w);
//     GradcheckResult result = gradcheck([&](auto& model, auto x) { return model.loss(x, targets); }, twin<CharModel>(65), x);
//     fmt::print("{}\n", result);
//
// The same generic function runs in double and in dual numbers. What it may be given, and how each arrives in it:
//     a floating-point array or expression     a Var of the number type; its gradient is checked (CheckInput: or not)
//     twin<Model>(arguments…)                  Model<Real>&, made for each number type; each parameter's gradient is checked
//     anything else (IntTensor, masks, numbers, RandomStream)   T&, a fresh copy for each call
// It returns a Var, or a tuple, pair or range of them. In a GoogleTest: EXPECT_GRADIENTS(…), in gradcheck_gtest.hpp.
// compare_float_double() holds the same function in float, the numbers that train, against double.
#pragma once

#include <unroll/autograd/detail/checked_function.hpp>

namespace unroll {

/// What gradcheck looks at and how closely. All errors are relative to the largest entry of the operand's gradient, but to no
/// less than the noise of rounding divided by the bar: a gradient that is zero but for rounding passes. For differences the
/// noise is that of the outputs' values over the step (16 ε‖u⊙y‖/h, u from upstream): where outputs are 1e9 times what
/// varies in them, differences see little. For dual numbers it is that of the derivatives (4 ε‖u⊙y′‖), and of values up to
/// the size of the entry.
struct GradcheckOptions {
    double difference_bar = 1e-8;  ///< against a 4th-order central difference in double
    double dual_bar = 1e-12;       ///< against dual numbers, which give the derivative exactly
    double adjoint_bar = 1e-12;    ///< for ⟨u, Jv⟩ = ⟨Jᵀu, v⟩
    bool check_differences = true;
    bool check_dual = true;
    /// Also the derivative of the gradient: a backward sweep in dual numbers against differences of gradients.
    bool second_order = false;
    /// The step of the difference for an entry of size 1. Where the error is above the bar, other steps are tried as well.
    double step = 1e-3;
    /// Operands of up to so many entries are checked at every entry, larger ones at `sampled_entries` of them and along
    /// `directions` random directions through all of them.
    Index every_entry_up_to = 256;
    Index sampled_entries = 32;
    Index directions = 4;
    /// Standard deviation of what is added to the parameters that a twin's initialisers made: ones and zeros hide errors.
    double perturb_parameters = 0.1;
    /// Lets operands pass that have no entries, or no influence (gradient and derivative zero everywhere).
    bool allow_empty = false;
    std::uint64_t seed = 1;  ///< of the gradients from upstream, of directions and of parameters
};

/// How closely float must follow double.
struct FloatOptions {
    /// Allowed difference of any output or gradient entry, in float epsilons (2⁻²³ ≈ 1.2e-7) of the largest entry.
    double epsilons = 64;
    double perturb_parameters = 0.1;
    bool allow_empty = false;
    std::uint64_t seed = 1;
};

/// One operand under one check: the entry with the largest error.
struct GradcheckComparison {
    std::string check;    ///< "differences", "dual numbers", "adjoint identity", …
    std::string operand;  ///< name of the input, parameter or output; "all operands"
    Shape shape;          ///< the operand's
    Index entries = 0;    ///< how many entries (or directions) were compared
    Index entry = -1;     ///< the worst, in row-major order; -1: a direction through all entries
    double analytic = 0;  ///< what backward said there
    double numeric = 0;   ///< what the check said
    double error = 0;     ///< |analytic − numeric| relative to the operand's largest entry
    double bar = 0;
    bool passed() const noexcept { return error <= bar; }  // a NaN does not pass
};

struct GradcheckResult {
    std::vector<GradcheckComparison> comparisons;
    /// What makes the check itself void: nothing compared, a function that changes from call to call, …
    std::vector<std::string> problems;

    bool passed() const noexcept;
    explicit operator bool() const noexcept { return passed(); }
    /// The comparison that is farthest above (or nearest to) its bar. @throws UsageError if nothing was compared
    const GradcheckComparison& worst() const;
    /// The number of comparisons of an entry or a direction, over all checks.
    Index entries() const noexcept;
};

/// The problems, a line for each operand and check, and the worst entry.
std::string to_string(const GradcheckResult& result);

namespace detail {

GradcheckResult gradcheck(CheckedFunction& function, const GradcheckOptions& options);
GradcheckResult compare_float_double(CheckedFunction& function, const FloatOptions& options);

template <class T>
concept NotOptions =
    !std::is_same_v<std::remove_cvref_t<T>, GradcheckOptions> && !std::is_same_v<std::remove_cvref_t<T>, FloatOptions>;

/// The function's arguments, named as in `text` ("f, x, w") where they are real arrays.
template <class... Args>
CheckedFunction named_arguments(std::string_view text, const Args&... args) {
    CheckedFunction function = checked_arguments(args...);
    function.name_inputs(text, {RealArray<Args>...});
    return function;
}

template <class F, class... Args>
GradcheckResult gradcheck_named(std::string_view text, const GradcheckOptions& options, F&& f, const Args&... args) {
    BoundFunction<double, F, Args...> in_double(f, options.seed, args...);
    BoundFunction<Dual<double>, F, Args...> in_dual(f, options.seed, args...);
    CheckedFunction function = named_arguments(text, args...);
    function.in_double = &in_double;
    function.in_dual = &in_dual;
    return gradcheck(function, options);
}
template <NotOptions F, class... Args>
GradcheckResult gradcheck_named(std::string_view text, F&& f, const Args&... args) {
    return gradcheck_named(text, GradcheckOptions{}, f, args...);
}

template <class F, class... Args>
GradcheckResult compare_float_double_named(std::string_view text, const FloatOptions& options, F&& f,
                                           const Args&... args) {
    BoundFunction<float, F, Args...> in_float(f, options.seed, args...);
    BoundFunction<double, F, Args...> in_double(f, options.seed, args...);
    CheckedFunction function = named_arguments(text, args...);
    function.in_float = &in_float;
    function.in_double = &in_double;
    return compare_float_double(function, options);
}
template <NotOptions F, class... Args>
GradcheckResult compare_float_double_named(std::string_view text, F&& f, const Args&... args) {
    return compare_float_double_named(text, FloatOptions{}, f, args...);
}

}  // namespace detail

/// Checks f's gradients with respect to all real arrays and parameters, for random gradients from upstream, by
///   - 4th-order central differences in double,
///   - dual numbers: the exact directional derivative, along each entry,
///   - the adjoint identity ⟨u, Jv⟩ = ⟨Jᵀu, v⟩ along a random direction through everything,
///   - accumulation: each operand already holds a gradient when f's arrives,
///   - several outputs: all together and each alone,
///   - values: f gives the same twice, with and without a tape, in double and in dual numbers, and leaves its inputs alone.
/// @throws ValueError for options out of range; whatever f throws
template <class F, class... Args>
GradcheckResult gradcheck(const GradcheckOptions& options, F&& f, const Args&... args) {
    return detail::gradcheck_named("", options, f, args...);
}
template <detail::NotOptions F, class... Args>
GradcheckResult gradcheck(F&& f, const Args&... args) {
    return detail::gradcheck_named("", GradcheckOptions{}, f, args...);
}

/// Holds f's outputs and gradients in float against double, for each instruction set that this processor has. Inputs,
/// parameters and gradients from upstream are rounded to float first, so that both start from the same numbers.
/// @throws ValueError for options out of range; whatever f throws
template <class F, class... Args>
GradcheckResult compare_float_double(const FloatOptions& options, F&& f, const Args&... args) {
    return detail::compare_float_double_named("", options, f, args...);
}
template <detail::NotOptions F, class... Args>
GradcheckResult compare_float_double(F&& f, const Args&... args) {
    return detail::compare_float_double_named("", FloatOptions{}, f, args...);
}

}  // namespace unroll

template <>
struct fmt::formatter<unroll::GradcheckResult> : unroll::detail::TextFormatter {
    template <class Context>
    typename Context::iterator format(const unroll::GradcheckResult& result, Context& context) const {
        return write(unroll::to_string(result), context);
    }
};
