// Recorder: ties symbols to the builder that records them on this thread.
//
// Recordings may nest (a pointwise function that calls another one); symbols of one are refused in another. It does
// not decide what a recording becomes: compiled.hpp and adjoint.cpp do.
#pragma once

#include <cstdint>

#include <unroll/autograd/pointwise/builder.hpp>
#include <unroll/autograd/pointwise/symbol.hpp>

namespace unroll::detail {

/// For as long as it lives, operations on symbols on this thread are added to its builder.
class Recorder {
public:
    /// Borrows a builder of this thread that is not in use.
    explicit Recorder(int inputs);
    Recorder(const Recorder&) = delete;
    Recorder& operator=(const Recorder&) = delete;
    ~Recorder();

    Builder& builder() { return *builder_; }
    Symbol symbol(Register r) const { return Symbol(number_, r); }
    /// The symbol's register; of a number, that of a constant. Throws UsageError for a symbol of another recording.
    Register register_of(Symbol symbol);

    /// The innermost recording of this thread; throws UsageError if there is none.
    static Recorder& current();

private:
    Recorder* outer_;
    Builder* builder_;
    std::uint64_t number_;  // differs from every other recording of this process
};

}  // namespace unroll::detail
