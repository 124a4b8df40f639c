// Recorder: the stack of recordings of a thread, with builders that are used again.
#include <unroll/autograd/pointwise/recorder.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include <unroll/autograd/error.hpp>

namespace unroll::detail {

namespace {

struct Recordings {
    Recorder* innermost = nullptr;
    std::size_t depth = 0;
    std::vector<std::unique_ptr<Builder>> builders;  // one for each depth reached so far

    Builder* builder() {
        if (depth == builders.size()) builders.push_back(std::make_unique<Builder>());
        return builders[depth].get();
    }
};

Recordings& recordings() {
    thread_local Recordings instance;
    return instance;
}

std::atomic<std::uint64_t> next_number{1};

}  // namespace

Recorder::Recorder(int inputs)
    : outer_(recordings().innermost),
      builder_(recordings().builder()),
      number_(next_number.fetch_add(1, std::memory_order_relaxed)) {
    builder_->start(inputs);
    recordings().innermost = this;
    ++recordings().depth;
}

Recorder::~Recorder() {
    recordings().innermost = outer_;
    --recordings().depth;
}

Recorder& Recorder::current() {
    Recorder* const recorder = recordings().innermost;
    if (recorder == nullptr) {
        fail_usage("pointwise", "a symbol is used outside of the pointwise function that it was handed to");
    }
    return *recorder;
}

Register Recorder::register_of(Symbol symbol) {
    if (symbol.recording_ == 0) return builder_->constant(symbol.constant_);
    if (symbol.recording_ != number_) {
        fail_usage("pointwise",
                   "a symbol of another pointwise call is used; hand the value over as one more operand instead");
    }
    return symbol.register_;
}

}  // namespace unroll::detail
