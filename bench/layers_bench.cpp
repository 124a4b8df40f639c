// Time of every layer, for one sequence and for a batch: inference, and forward with backward (zeroing included).
//     UNROLL_NUM_THREADS=2 bench_layers_bench --benchmark_filter=LSTM
#include <unroll/unroll.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace unroll;

constexpr Index kT = 50, kI = 64, kH = 128, kVocabulary = 65;

IntTensor tokens(Index batch) {
    IntTensor t = xt::zeros<std::int64_t>({static_cast<std::size_t>(kT), static_cast<std::size_t>(batch)});
    std::int64_t i = 0;
    for (auto& token : t) token = (i++ * 7919) % kVocabulary;
    return t;
}

Var<float> input(Index batch) {
    Tensor<float> x = empty<float>(Shape{kT, batch, kI});
    for (std::size_t i = 0; i < x.size(); ++i)
        x.data()[i] = static_cast<float>(i * 2654435761u % 2001u) / 1000.0f - 1.0f;
    return Var<float>(std::move(x));
}

/// Runs `layer` on `x` as the second argument says. @param x of (T, B, …)
template <class Layer, class Input>
void run(benchmark::State& state, ParameterStore<float>& store, const Layer& layer, const Input& x) {
    const auto output = [](const auto& made) {
        if constexpr (requires { made.output; })
            return made.output;
        else
            return made;
    };
    const bool training = state.range(1) != 0;
    Tensor<float> upstream;
    {
        const NoGrad pause;
        upstream = full<float>(output(layer(x)).shape(), 1e-3f);
    }
    for (auto _ : state) {
        if (!training) {
            benchmark::DoNotOptimize(output(layer(x)).data());
            continue;
        }
        store.zero_grad();
        Tape<float> tape;
        if constexpr (std::is_same_v<Input, Var<float>>) tape.watch(x);
        const Var<float> y = output(layer(x));
        tape.backward({&y, 1}, {&upstream, 1});
    }
    state.SetItemsProcessed(state.iterations() * kT * state.range(0));
}

/// Registers a layer made by `make(store)` at B = 1 and 32, without and with backward.
template <class Make>
void add(const char* name, Make make) {
    benchmark::RegisterBenchmark(name,
                                 [make](benchmark::State& state) {
                                     ParameterStore<float> store(1);
                                     const auto layer = make(store);
                                     if constexpr (std::is_same_v<std::remove_cv_t<decltype(layer)>, Embedding<float>>)
                                         run(state, store, layer, tokens(state.range(0)));
                                     else
                                         run(state, store, layer, input(state.range(0)));
                                 })
        ->ArgsProduct({{1, 32}, {0, 1}})
        ->ArgNames({"B", "backward"})
        ->Unit(benchmark::kMicrosecond)
        ->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return EXIT_FAILURE;
    using Store = ParameterStore<float>;
    add("Embedding",
        [](Store& at) { return Embedding<float>(at, {.num_embeddings = kVocabulary, .embedding_dim = kI}); });
    add("Linear", [](Store& at) { return Linear<float>(at, {.in_features = kI, .out_features = kH}); });
    add("LayerNorm", [](Store& at) { return LayerNorm<float>(at, {.normalized_shape = kI}); });
    add("Dropout", [](Store& at) { return Dropout<float>(at, {.p = 0.5}); });
    add("RNN", [](Store& at) { return RNN<float>(at, {.input_size = kI, .hidden_size = kH}); });
    add("LSTM", [](Store& at) { return LSTM<float>(at, {.input_size = kI, .hidden_size = kH}); });
    add("GRU", [](Store& at) { return GRU<float>(at, {.input_size = kI, .hidden_size = kH}); });
    add("LSTM 2 layers", [](Store& at) {
        return LSTM<float>(at, {.input_size = kI, .hidden_size = kH, .num_layers = 2, .dropout = 0.5});
    });
    add("LSTM both directions",
        [](Store& at) { return LSTM<float>(at, {.input_size = kI, .hidden_size = kH, .bidirectional = true}); });
    add("LSTM projected",
        [](Store& at) { return LSTM<float>(at, {.input_size = kI, .hidden_size = kH, .proj_size = 64}); });
    add("Recurrent<LSTMCell>", [](Store& at) {
        return Recurrent<float, LSTMCell<float>>(at, CellOptions{.input_size = kI, .hidden_size = kH});
    });
    benchmark::RunSpecifiedBenchmarks();
    return EXIT_SUCCESS;
}
