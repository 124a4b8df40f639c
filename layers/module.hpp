// Module: what a layer or model is. Parameters belong to the store, so there is little to it.
#pragma once

#include <unroll/autograd/parameter.hpp>

#include <string>

namespace unroll {

/// Base of layers and models. A model needs nothing from it but its name in the type system; a layer that wants its path in
/// errors, on the tape and in forward hooks hands over its scope:
///
///     Var<Real> operator()(Var<Real> x) const { const auto guard = at_.enter(); …; return at_.leave(y); }
struct Module {};

/// One line for each layer (a parameter path), its shapes, numbers of parameters, bytes, and the total.
template <class Real>
std::string summary(const ParameterStore<Real>& store);

}  // namespace unroll

/// A model is printed as the summary of its store.
template <class Real>
struct fmt::formatter<unroll::ParameterStore<Real>> : unroll::detail::TextFormatter {
    fmt::appender format(const unroll::ParameterStore<Real>& store, fmt::format_context& context) const {
        return write(unroll::summary(store), context);
    }
};
