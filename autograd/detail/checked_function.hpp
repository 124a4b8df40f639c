// One generic callable with its arguments, ready to be run in any number type: what gradcheck() and its relatives hand to
// their .cpp files. Nothing is checked here.
#pragma once

#include <unroll/autograd/parameter.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace unroll {

/// A real array for a function under check. Arrays and xtensor expressions turn into one by themselves; written out, it takes
/// a name for the report, or keeps the array out of the check: CheckInput{.value = x, .differentiate = false}.
struct CheckInput {
    Tensor<double> value;
    std::string name = {};
    bool differentiate = true;  ///< false: handed over as a constant Var
};

/// How a model is made for a function under check: once for each number type, over a store of its own, with equal values of
/// equally named parameters. See twin().
template <class Build>
class Twin {
public:
    explicit Twin(Build build) : build_(std::move(build)) {}

    /// Takes values, frozen state and random streams from this store (of any number type) instead of the initialisers'.
    template <class Real>
    Twin& with(const ParameterStore<Real>& store) {
        values_ = [&store](ParameterStore<double>& to) { to.copy_from(store); };
        return *this;
    }

    /// @private
    const Build& build() const noexcept { return build_; }
    /// @private
    const std::function<void(ParameterStore<double>&)>& values() const noexcept { return values_; }

private:
    Build build_;
    std::function<void(ParameterStore<double>&)> values_;
};

/// The model Model<Real>(Scope<Real>, arguments…): `twin<CharModel>(65)`.
template <template <class...> class Model, class... Arguments>
auto twin(Arguments... arguments) {
    return Twin([arguments...]<class Real>(Scope<Real> at) { return Model<Real>(at, arguments...); });
}
/// Whatever `build` makes of a scope: `twin([]<class Real>(Scope<Real> at) { return MyModel<Real, 3>(at / "rnn", 4); })`.
template <class Build>
auto twin(Build build) {
    return Twin<Build>(std::move(build));
}

namespace detail {

/// A function under check in one number type, with its arguments.
template <class Real>
class CheckedBody {
public:
    explicit CheckedBody(std::uint64_t seed);
    CheckedBody(const CheckedBody&) = delete;
    CheckedBody& operator=(const CheckedBody&) = delete;
    virtual ~CheckedBody();

    /// Calls the function on these real arrays and adds its outputs to `out`, in order.
    virtual void evaluate(std::span<const Var<Real>> in, std::vector<Var<Real>>& out) = 0;

    /// The stores of the twins, in order.
    const std::vector<std::unique_ptr<ParameterStore<Real>>>& stores() const noexcept { return stores_; }
    ParameterStore<Real>& add_store();

private:
    std::uint64_t seed_;
    std::vector<std::unique_ptr<ParameterStore<Real>>> stores_;
};

/// A function under check: its real arrays, and itself in the number types that are needed.
struct CheckedFunction {
    CheckedFunction();
    CheckedFunction(CheckedFunction&&) noexcept;
    CheckedFunction& operator=(CheckedFunction&&) noexcept;
    ~CheckedFunction();

    void add_input(const CheckInput& input);
    void add_input(const Var<double>& value);
    void add_values(const std::function<void(ParameterStore<double>&)>& given);
    /// Gives the real arrays among the arguments the names that they have in the text of a macro's arguments, where they
    /// have none. @param real by argument: whether it is one
    void name_inputs(std::string_view text, std::initializer_list<bool> real);

    std::vector<CheckInput> inputs;
    // Whoever makes them keeps them.
    CheckedBody<float>* in_float = nullptr;
    CheckedBody<double>* in_double = nullptr;
    CheckedBody<Dual<double>>* in_dual = nullptr;
    /// By twin: fills the double store with values given by the user; empty where the initialisers' stay.
    std::vector<std::function<void(ParameterStore<double>&)>> values;
};

template <class T>
inline constexpr bool is_twin_v = false;
template <class Build>
inline constexpr bool is_twin_v<Twin<Build>> = true;

/// Anything of xtensor whose elements are floating-point numbers.
template <class T>
concept RealExpression = ArrayLike<T> && std::floating_point<typename T::value_type>;
/// A real array, with the name that reports use or without.
template <class T>
concept RealArray = RealExpression<T> || std::same_as<T, CheckInput>;

/// An argument in one number type. In general: a fresh copy for each call.
template <class Real, class T>
class BoundArgument {
public:
    BoundArgument(const T& value, CheckedBody<Real>&) : original_(value) {}
    T& get(const Var<Real>*&) { return copy_.emplace(original_); }

private:
    T original_;
    std::optional<T> copy_;
};

/// A real array: the next of the Vars that are handed in.
template <class Real, RealArray T>
class BoundArgument<Real, T> {
public:
    BoundArgument(const T&, CheckedBody<Real>&) {}
    Var<Real> get(const Var<Real>*& next) { return *next++; }
};

/// A model over a store of its own.
template <class Real, class Build>
class BoundArgument<Real, Twin<Build>> {
public:
    BoundArgument(const Twin<Build>& twin, CheckedBody<Real>& body)
        : model_(twin.build()(Scope<Real>(body.add_store()))) {}
    auto& get(const Var<Real>*&) { return model_; }

private:
    decltype(std::declval<const Build&>()(std::declval<Scope<Real>>())) model_;
};

template <class Real>
void add_output(const Var<Real>& output, std::vector<Var<Real>>& out);

/// The Vars in what a function returned: a Var, an array, or a tuple, pair or range of them.
template <class Real, class Result>
void collect_outputs(const Result& result, std::vector<Var<Real>>& out) {
    if constexpr (std::is_base_of_v<Var<Real>, Result>) {
        add_output<Real>(result, out);
    } else if constexpr (ArrayLike<Result>) {
        add_output<Real>(Var<Real>(result), out);
    } else if constexpr (requires { std::tuple_size<Result>::value; }) {
        std::apply([&](const auto&... each) { (collect_outputs<Real>(each, out), ...); }, result);
    } else {
        static_assert(
            requires { result.begin(); },
            "a function under check must return a Var of its number type, or a tuple, pair or range of them");
        for (const auto& each : result) collect_outputs<Real>(each, out);
    }
}

/// Arguments from the left to the right; twins are made in this order.
template <class Real, class... Args>
class BoundArguments {
public:
    explicit BoundArguments(CheckedBody<Real>&) {}
    template <class F, class... Handed>
    void call(F& f, const Var<Real>*, std::vector<Var<Real>>& out, Handed&... handed) {
        collect_outputs<Real>(f(handed...), out);
    }
};
template <class Real, class First, class... Rest>
class BoundArguments<Real, First, Rest...> {
public:
    BoundArguments(CheckedBody<Real>& body, const First& first, const Rest&... rest)
        : first_(first, body), rest_(body, rest...) {}
    /// Calls f on what was handed over so far and all that stands here. @param next the first real array not handed over
    template <class F, class... Handed>
    void call(F& f, const Var<Real>* next, std::vector<Var<Real>>& out, Handed&... handed) {
        auto&& first = first_.get(next);
        rest_.call(f, next, out, handed..., first);
    }

private:
    BoundArgument<Real, First> first_;
    BoundArguments<Real, Rest...> rest_;
};

template <class Real, class F, class... Args>
class BoundFunction final : public CheckedBody<Real> {
public:
    BoundFunction(F& f, std::uint64_t seed, const Args&... args)
        : CheckedBody<Real>(seed), f_(f), arguments_(*this, args...) {}
    void evaluate(std::span<const Var<Real>> in, std::vector<Var<Real>>& out) override {
        arguments_.call(f_, in.data(), out);
    }

private:
    F& f_;
    BoundArguments<Real, Args...> arguments_;
};

template <class... Args>
CheckedFunction checked_arguments(const Args&... args) {
    CheckedFunction function;
    const auto add = [&]<class T>(const T& argument) {
        if constexpr (RealArray<T>)
            function.add_input(argument);
        else if constexpr (is_twin_v<T>)
            function.add_values(argument.values());
    };
    (add(args), ...);
    return function;
}

#define UNROLL_DECLARE(R)                 \
    extern template class CheckedBody<R>; \
    extern template void add_output(const Var<R>&, std::vector<Var<R>>&);
UNROLL_DECLARE(float)
UNROLL_DECLARE(double)
UNROLL_DECLARE(Dual<double>)
#undef UNROLL_DECLARE

}  // namespace detail
}  // namespace unroll
