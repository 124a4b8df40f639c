// The problem of tests/golden/optimizers.json for every number type, and optimisers made from their names and options.
#pragma once

#include <unroll/optim/optimizer.hpp>
#include <unroll/tests/golden/golden.hpp>

#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace unroll::test {

inline const nlohmann::json& golden_optimizers() {
    static const nlohmann::json document = golden::load("optimizers.json");
    return document;
}

/// "Adam {"amsgrad":true,"lr":0.05}"
inline std::string title_of(const nlohmann::json& test) {
    std::string title = test.at("name").get<std::string>() + " " + test.at("options").dump();
    if (test.contains("groups")) title += " " + test.at("groups").dump();
    return title;
}

/// A store of parameters with these shapes, all elements 0.
template <class Real>
std::unique_ptr<ParameterStore<Real>> make_store(const std::vector<std::pair<std::string, Shape>>& parameters) {
    auto store = std::make_unique<ParameterStore<Real>>(1);
    Scope<Real> at(*store);
    for (const auto& [name, shape] : parameters)
        at.parameter(name, shape, [](std::span<Real> values, const Shape&, RandomStream&) {
            for (Real& value : values) value = Real(0);
        });
    return store;
}

/// All elements in the order of the parameters, as double.
template <class Real>
std::vector<double> values_of(const ParameterStore<Real>& store) {
    std::vector<double> values;
    for (const auto* entry : store.entries())
        for (Index i = 0; i < entry->shape.size(); ++i) values.push_back(static_cast<double>(entry->value->data[i]));
    return values;
}

/// A dense gradient arrives for a parameter: element i becomes of(i).
template <class Real, class Function>
void set_gradient(ParameterStore<Real>& store, const detail::ParameterEntry<Real>& entry, const Function& of) {
    std::vector<Real> gradient(static_cast<std::size_t>(entry.shape.size()));
    for (Index i = 0; i < entry.shape.size(); ++i) gradient[static_cast<std::size_t>(i)] = Real(of(i));
    store.gradients().add_dense(entry, gradient.data());
}

/// All gradients in the order of the parameters, zeros where none has arrived.
template <class Real>
std::vector<double> gradients_of(ParameterStore<Real>& store) {
    std::vector<double> all;
    for (const auto* entry : store.entries()) {
        const Real* g = store.gradients().data(*entry);
        for (Index i = 0; i < entry->shape.size(); ++i) all.push_back(static_cast<double>(g[i]));
    }
    return all;
}

/// Two parameters, a (3·copies) and b (2·copies, 2): copies of the golden problem behind one another, and its
/// gradients.
template <class Real>
struct Problem {
    std::unique_ptr<ParameterStore<Real>> store;
    std::vector<double> start, slope, shift, cubic, drift;
    int n = 0;

    explicit Problem(Index copies = 1)
        : store(make_store<Real>({{"a", Shape{3 * copies}}, {"b", Shape{2 * copies, 2}}})) {
        const nlohmann::json& rule = golden_optimizers().at("about");
        start = golden::numbers(rule.at("start"));
        slope = golden::numbers(rule.at("slope"));
        shift = golden::numbers(rule.at("shift"));
        cubic = golden::numbers(rule.at("cubic"));
        drift = golden::numbers(rule.at("drift"));
        for (auto* entry : store->entries())
            for (Index i = 0; i < entry->shape.size(); ++i) entry->value->data[i] = Real(start[element(*entry, i)]);
    }

    /// The golden element that element i of a parameter repeats.
    static std::size_t element(const detail::ParameterEntry<Real>& entry, Index i) {
        return static_cast<std::size_t>(entry.name == "a" ? i % 3 : 3 + i % 4);
    }

    /// The gradients of step number n + 1 arrive.
    void next_gradients() {
        ++n;
        store->zero_grad();
        for (const auto* entry : store->entries())
            set_gradient(*store, *entry, [&](Index i) {
                const std::size_t k = element(*entry, i);
                const Real p = entry->value->data[i];
                return Real(slope[k]) * (p + Real(shift[k])) + Real(cubic[k]) * (p * p * p) + Real(drift[k]) * Real(n);
            });
    }

    void steps(Optimizer<Real>& optimizer, int count) {
        for (int i = 0; i < count; ++i) {
            next_gradients();
            optimizer.step();
        }
    }
};

// Options from their names in a golden case; "betas" are two.
template <class Options>
void read_options(Options& options, const nlohmann::json& given) {
    std::size_t known = 0;
    const auto read = [&](const char* name, auto& field) {
        if (!given.contains(name)) return;
        field = given.at(name).get<std::remove_reference_t<decltype(field)>>();
        ++known;
    };
#define UNROLL_READ(field) \
    if constexpr (requires { options.field; }) read(#field, options.field)
    UNROLL_READ(lr);
    UNROLL_READ(momentum);
    UNROLL_READ(dampening);
    UNROLL_READ(weight_decay);
    UNROLL_READ(nesterov);
    UNROLL_READ(lr_decay);
    UNROLL_READ(initial_accumulator_value);
    UNROLL_READ(eps);
    UNROLL_READ(alpha);
    UNROLL_READ(centered);
    UNROLL_READ(rho);
    UNROLL_READ(amsgrad);
    UNROLL_READ(maximize);
    UNROLL_READ(momentum_decay);
#undef UNROLL_READ
    if constexpr (requires { options.beta1; }) {
        if (given.contains("betas")) {
            options.beta1 = given.at("betas").at(0).get<double>();
            options.beta2 = given.at("betas").at(1).get<double>();
            ++known;
        }
    }
    if (known != given.size()) throw std::runtime_error("an option of " + given.dump() + " was not understood");
}

template <class Real, template <class> class Kind, class Options>
std::unique_ptr<Optimizer<Real>> make_as(ParameterStore<Real>& store, const nlohmann::json& test) {
    Options options;
    read_options(options, test.at("options"));
    auto optimizer = std::make_unique<Kind<Real>>(store, options);
    if (test.contains("groups")) {
        const char* prefixes[] = {"a", "b"};
        for (std::size_t g = 0; g < 2; ++g)
            optimizer->add_group(prefixes[g], [&](Options& own) { read_options(own, test.at("groups").at(g)); });
    }
    return optimizer;
}

/// The optimiser of a case {"name", "options", "groups"}.
template <class Real>
std::unique_ptr<Optimizer<Real>> make_optimizer(ParameterStore<Real>& store, const nlohmann::json& test) {
    const auto name = test.at("name").get<std::string>();
#define UNROLL_MAKE(Kind) \
    if (name == #Kind) return make_as<Real, Kind, Kind##Options>(store, test)
    UNROLL_MAKE(SGD);
    UNROLL_MAKE(Adagrad);
    UNROLL_MAKE(RMSprop);
    UNROLL_MAKE(Adadelta);
    UNROLL_MAKE(Adam);
    UNROLL_MAKE(AdamW);
    UNROLL_MAKE(RAdam);
    UNROLL_MAKE(NAdam);
#undef UNROLL_MAKE
    throw std::runtime_error("no optimiser is called " + name);
}

}  // namespace unroll::test
