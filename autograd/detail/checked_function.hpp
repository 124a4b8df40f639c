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

/// A function under check in one number type.
template <class Real>
struct CheckedBody {
    /// Calls the function on these real arrays; its outputs, in order.
    std::function<std::vector<Var<Real>>(std::span<const Var<Real>> in)> evaluate;
    std::vector<ParameterStore<Real>*> stores;  ///< of the twins, in order; `evaluate` keeps them
};

/// A function under check: its real arrays, and itself in the number types that are needed.
struct CheckedFunction {
    std::vector<CheckInput> inputs;
    CheckedBody<float> in_float;
    CheckedBody<double> in_double;
    CheckedBody<Dual<double>> in_dual;
    /// By twin: fills the double store with values given by the user; empty where the initialisers' stay.
    std::vector<std::function<void(ParameterStore<double>&)>> values;
};

template <class T>
inline constexpr bool is_twin_v = false;
template <class Build>
inline constexpr bool is_twin_v<Twin<Build>> = true;

/// A real array: CheckInput, or anything of xtensor whose elements are floating-point numbers.
template <class T>
constexpr bool is_real_array() {
    using Plain = std::remove_cvref_t<T>;
    if constexpr (std::is_same_v<Plain, CheckInput>)
        return true;
    else if constexpr (ArrayLike<Plain>)
        return std::is_floating_point_v<typename Plain::value_type>;
    else
        return false;
}

template <class Array>
CheckInput make_input(const Array& array) {
    if constexpr (std::is_same_v<Array, CheckInput>) {
        return array;
    } else {
        CheckInput input{empty<double>(shape_of(array))};
        double* to = input.value.data();
        for (auto at = array.template cbegin<xt::layout_type::row_major>(),
                  end = array.template cend<xt::layout_type::row_major>();
             at != end; ++at)
            *to++ = static_cast<double>(*at);
        return input;
    }
}

/// What a real array is in one number type: the next of the Vars that are handed in.
template <class Real>
struct BoundArray {
    Var<Real> get(std::span<const Var<Real>> in, std::size_t& next) { return in[next++]; }
};

/// A model in one number type.
template <class Real, class Build>
struct BoundTwin {
    using Model = decltype(std::declval<const Build&>()(std::declval<Scope<Real>>()));

    BoundTwin(const Twin<Build>& twin, std::uint64_t seed, std::vector<ParameterStore<Real>*>& stores)
        : store(seed + stores.size()), model(new Model(twin.build()(Scope<Real>(store)))) {
        stores.push_back(&store);
    }
    Model& get(std::span<const Var<Real>>, std::size_t&) { return *model; }

    ParameterStore<Real> store;
    std::unique_ptr<Model> model;
};

/// Anything else: a fresh copy for each call.
template <class T>
struct BoundOther {
    explicit BoundOther(const T& value) : original(value) {}
    template <class In>
    T& get(const In&, std::size_t&) {
        return copy.emplace(original);
    }

    T original;
    std::optional<T> copy;
};

template <class Real, class T>
auto bind_argument(const T& argument, std::uint64_t seed, std::vector<ParameterStore<Real>*>& stores) {
    if constexpr (is_real_array<T>())
        return std::make_shared<BoundArray<Real>>();
    else if constexpr (is_twin_v<T>)
        return std::make_shared<BoundTwin<Real, std::remove_cvref_t<decltype(argument.build())>>>(argument, seed,
                                                                                                  stores);
    else
        return std::make_shared<BoundOther<T>>(argument);
}

/// The Vars in what a function returned: a Var, an array, or a tuple, pair or range of them.
template <class Real, class Result>
void collect_outputs(const Result& result, std::vector<Var<Real>>& out) {
    if constexpr (std::is_base_of_v<Var<Real>, Result>) {
        out.push_back(result);
    } else if constexpr (ArrayLike<Result>) {
        out.push_back(Var<Real>(result));
    } else if constexpr (requires { std::tuple_size<Result>::value; }) {
        std::apply([&](const auto&... each) { (collect_outputs<Real>(each, out), ...); }, result);
    } else {
        static_assert(
            requires { result.begin(); },
            "a function under check must return a Var of its number type, or a tuple, pair or range of them");
        for (const auto& each : result) collect_outputs<Real>(each, out);
    }
}

template <class Real, class F, class... Args>
CheckedBody<Real> bind_body(F& f, std::uint64_t seed, const Args&... args) {
    CheckedBody<Real> body;
    // Braces: twins are made from the left to the right.
    std::tuple bound{bind_argument<Real>(args, seed, body.stores)...};
    body.evaluate = [&f, bound = std::move(bound)](std::span<const Var<Real>> in) {
        std::size_t next = 0;
        std::vector<Var<Real>> out;
        std::apply(
            [&](const auto&... each) {
                std::tuple<decltype(each->get(in, next))...> handed{each->get(in, next)...};
                collect_outputs<Real>(std::apply(f, handed), out);
            },
            bound);
        return out;
    };
    return body;
}

template <class... Args>
CheckedFunction checked_arguments(const Args&... args) {
    CheckedFunction function;
    const auto add = [&](const auto& argument) {
        using T = std::remove_cvref_t<decltype(argument)>;
        if constexpr (is_real_array<T>())
            function.inputs.push_back(make_input(argument));
        else if constexpr (is_twin_v<T>)
            function.values.push_back(argument.values());
    };
    (add(args), ...);
    return function;
}

/// Gives the real arrays among the arguments the names that they have in the text of a macro's arguments, where they have none.
void name_inputs(CheckedFunction& function, std::string_view text, std::span<const bool> real);

}  // namespace detail
}  // namespace unroll
