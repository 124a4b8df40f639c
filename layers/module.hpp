// Module: what a layer or model is. Parameters belong to the store, so there is little to it.
#pragma once

#include <unroll/autograd/parameter.hpp>

#include <cstdint>
#include <string>

namespace unroll {

/// Base of layers and models. A model needs nothing from it but its name in the type system; a layer that wants its path in
/// errors, on the tape and in forward hooks hands over its scope:
///
///     Var<Real> operator()(Var<Real> x) const { const auto guard = at_.enter(); …; return at_.leave(y); }
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

/// One line for each layer (a parameter path), its shapes, numbers of parameters, bytes, and the total.
template <class Real>
std::string summary(const ParameterStore<Real>& store);

}  // namespace unroll

/// A store is printed as the summary of its model.
template <class Real>
struct fmt::formatter<unroll::ParameterStore<Real>> : unroll::detail::TextFormatter {
    fmt::appender format(const unroll::ParameterStore<Real>& store, fmt::format_context& context) const {
        return write(unroll::summary(store), context);
    }
};
