// Module: what a layer or model is. Parameters belong to the store, so there is little to it.
#pragma once

#include <unroll/autograd/parameter.hpp>

#include <cstdint>
#include <string>

namespace unroll {

/// Base of layers and models. A model needs nothing from it but its name in the type system; a layer that wants its path in
/// errors, on the tape and in forward hooks keeps its scope, and gives it out to be printed:
///
///     Var<Real> operator()(Var<Real> x) const { const auto guard = at_.enter(); …; return at_.leave(y); }
///     const Scope<Real>& scope() const noexcept { return at_; }
struct Module {};

namespace detail {

/// A call of many ops that fails leaves nothing behind: unless it is told to keep them, the nodes recorded on this thread's
/// tape while it stood are dropped, and the store's random streams are set back.
template <class Real>
class [[nodiscard]] Undo {
public:
    explicit Undo(ParameterStore<Real>& store);
    Undo(const Undo&) = delete;
    Undo& operator=(const Undo&) = delete;
    ~Undo();
    void keep() noexcept { kept_ = true; }

private:
    struct Counter {
        RandomStream* stream;
        std::uint64_t value;
    };

    Tape<Real>* tape_ = Tape<Real>::current();
    Index position_ = tape_ ? tape_->position() : 0;
    PoolVector<Counter> counters_;
    bool kept_ = false;
};

extern template class Undo<float>;
extern template class Undo<double>;
extern template class Undo<Dual<double>>;

}  // namespace detail

/// One line for each parameter below a path, with its shape and number of elements, and the total with its bytes.
template <class Real>
std::string summary(const Scope<Real>& at);
/// The same of all parameters.
template <class Real>
std::string summary(const ParameterStore<Real>& store);

/// A layer or model that tells its place: `const Scope<Real>& scope() const`. Those of the library do.
template <class M>
concept HasScope = requires(const M& module) {
    summary(module.scope());
};

/// Of the parameters of one layer or model.
template <HasScope M>
std::string summary(const M& module) {
    return summary(module.scope());
}

}  // namespace unroll

/// A store is printed as the summary of its model, a module as that of its own parameters.
template <class Real>
struct fmt::formatter<unroll::ParameterStore<Real>> : unroll::detail::TextFormatter {
    fmt::appender format(const unroll::ParameterStore<Real>& store, fmt::format_context& context) const {
        return write(unroll::summary(store), context);
    }
};
template <unroll::HasScope M>
struct fmt::formatter<M> : unroll::detail::TextFormatter {
    fmt::appender format(const M& module, fmt::format_context& context) const {
        return write(unroll::summary(module.scope()), context);
    }
};
