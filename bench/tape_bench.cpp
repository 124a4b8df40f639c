// What the tape itself costs: time per node, forward and backward, on operands of four elements.
#include <unroll/autograd/ops.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace unroll;

/// A chain of products: each node has two operands that need gradients.
void chain(benchmark::State& state) {
    const Index nodes = state.range(0);
    const Var<float> x(full<float>({4}, 1.0f)), w(full<float>({4}, 1.0f));
    const Tensor<float> ones = full<float>({4}, 1.0f);
    for (auto _ : state) {
        Tape<float> tape;
        tape.watch(x);
        tape.watch(w);
        Var<float> y = x;
        for (Index i = 0; i < nodes; ++i) y = y * w;
        tape.backward({&y, 1}, {&ones, 1});
        benchmark::DoNotOptimize(tape.gradient(x).data());
    }
    state.counters["ns/node"] =
        benchmark::Counter(static_cast<double>(state.iterations()) * static_cast<double>(nodes) * 1e-9,
                           benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(chain)->Arg(1000)->Arg(1000000)->Unit(benchmark::kMillisecond);

void forward_only(benchmark::State& state) {
    Var<float> y(full<float>({4}, 1.0f)), w(full<float>({4}, 1.0f));
    for (auto _ : state) {
        y = y * w;
        benchmark::DoNotOptimize(y.data());
    }
}
BENCHMARK(forward_only);

}  // namespace

BENCHMARK_MAIN();
