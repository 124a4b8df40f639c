// Speed of the float kernels, for each instruction set of this machine: elementwise functions, the gates of an LSTM as a
// pointwise program, matrix-vector products, rows and optimiser steps. Whole layers and peers are timed elsewhere.
//     bench_kernels_bench --benchmark_filter=avx512
#include <cstdlib>
#include <new>
#include <random>
#include <string>

#include <benchmark/benchmark.h>

#include <unroll/autograd/kernels/fuse.hpp>
#include <unroll/autograd/kernels/kernels.hpp>

namespace {

using namespace unroll::detail;

/// Floats at a multiple of 64 bytes, as the library's pool hands them out.
class Floats {
public:
    explicit Floats(std::int64_t n)
        : data_(
              static_cast<float*>(::operator new(static_cast<std::size_t>(n) * sizeof(float), std::align_val_t(64)))) {
        std::mt19937 random(1);
        std::normal_distribution<float> normal;
        for (std::int64_t i = 0; i < n; ++i) data_[i] = normal(random);
    }
    Floats(const Floats&) = delete;
    Floats& operator=(const Floats&) = delete;
    ~Floats() { ::operator delete(data_, std::align_val_t(64)); }
    float* data() const { return data_; }

private:
    float* data_;
};

void map(benchmark::State& state, const FloatKernels& k, FloatKernels::Map FloatKernels::*function) {
    const std::int64_t n = state.range(0);
    const Floats x(n), y(n);
    for (auto _ : state) {
        (k.*function)(x.data(), y.data(), n);
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations() * n);
}

void one_add(benchmark::State& state, const FloatKernels& k) {
    const Floats x(4), y(4), z(4);
    const Instruction code[] = {{Opcode::add, 0, 1, 0, 0.0}};
    const std::uint16_t outputs[] = {2};
    const In in[] = {{x.data(), 4, 1}, {y.data(), 4, 1}};
    const Out out[] = {{z.data(), 4, false}};
    for (auto _ : state) {
        k.run(code, 1, 2, outputs, 1, 1, 4, in, out);
        benchmark::ClobberMemory();
    }
}

/// i, f, g, o are columns of a (B, 4H) matrix; h, c', tanh(c') and the four gates are written.
void lstm_forward(benchmark::State& state, const FloatKernels& k) {
    const std::int64_t B = state.range(0), H = state.range(1);
    const Floats gates(4 * B * H), c(B * H), h(B * H), c_next(B * H), tanh_c(B * H), saved(4 * B * H);
    const Instruction code[] = {{Opcode::sigmoid, 0, 0, 0, 0.0}, {Opcode::sigmoid, 1, 0, 0, 0.0},
                                {Opcode::tanh, 2, 0, 0, 0.0},    {Opcode::sigmoid, 3, 0, 0, 0.0},
                                {Opcode::mul, 5, 7, 0, 0.0},     {Opcode::fma, 6, 4, 9, 0.0},
                                {Opcode::tanh, 10, 0, 0, 0.0},   {Opcode::mul, 8, 11, 0, 0.0}};
    const std::uint16_t outputs[] = {12, 10, 5, 6, 7, 8, 11};
    In in[5];
    Out out[7] = {{h.data(), H, false}, {c_next.data(), H, false}};
    for (int g = 0; g < 4; ++g) {
        in[g] = {gates.data() + g * H, 4 * H, 1};
        out[2 + g] = {saved.data() + g * H, 4 * H, false};
    }
    in[4] = {c.data(), H, 1};
    out[6] = {tanh_c.data(), H, false};
    for (auto _ : state) {
        k.run(code, 8, 5, outputs, 7, B, H, in, out);
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations() * B * H);
}

/// From i, f, g, o, tanh(c'), c, gh, gc' to the gradients of the four pre-activations and of c.
void lstm_adjoint(benchmark::State& state, const FloatKernels& k) {
    const std::int64_t B = state.range(0), H = state.range(1);
    const Floats saved(4 * B * H), tanh_c(B * H), c(B * H), gh(B * H), gc(B * H), g_gates(4 * B * H), g_c(B * H);
    Instruction code[] = {{Opcode::mul, 6, 4, 0, 0.0},
                          {Opcode::sigmoid_gradient, 8, 3, 0, 0.0},
                          {Opcode::mul, 6, 3, 0, 0.0},
                          {Opcode::tanh_gradient, 10, 4, 0, 0.0},
                          {Opcode::add, 11, 7, 0, 0.0},
                          {Opcode::mul, 12, 2, 0, 0.0},
                          {Opcode::sigmoid_gradient, 13, 0, 0, 0.0},
                          {Opcode::mul, 12, 5, 0, 0.0},
                          {Opcode::sigmoid_gradient, 15, 1, 0, 0.0},
                          {Opcode::mul, 12, 0, 0, 0.0},
                          {Opcode::tanh_gradient, 17, 2, 0, 0.0},
                          {Opcode::mul, 12, 1, 0, 0.0}};
    std::uint16_t outputs[] = {14, 16, 18, 9, 19};
    const int n_code = fuse(code, 12, 8, outputs, 5);
    In in[8];
    Out out[5];
    for (int g = 0; g < 4; ++g) {
        in[g] = {saved.data() + g * H, 4 * H, 1};
        out[g] = {g_gates.data() + g * H, 4 * H, false};
    }
    const float* rest[] = {tanh_c.data(), c.data(), gh.data(), gc.data()};
    for (int j = 0; j < 4; ++j) in[4 + j] = {rest[j], H, 1};
    out[4] = {g_c.data(), H, false};
    for (auto _ : state) {
        k.run(code, n_code, 8, outputs, 5, B, H, in, out);
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations() * B * H);
}

void gemv(benchmark::State& state, const FloatKernels& k, bool transposed) {
    const std::int64_t K = state.range(0), N = state.range(1);
    const Floats W(K * N), x(K), y(N);
    for (auto _ : state) {
        if (transposed) {
            k.gemv_t(K, N, y.data(), W.data(), N, 0.0f, x.data());
        } else {
            k.gemv_n(K, N, x.data(), W.data(), N, 0.0f, y.data());
        }
        benchmark::ClobberMemory();
    }
    state.counters["flop"] =
        benchmark::Counter(static_cast<double>(state.iterations() * 2 * K * N), benchmark::Counter::kIsRate);
}

void transpose(benchmark::State& state, const FloatKernels& k) {
    const std::int64_t K = state.range(0), N = state.range(1);
    const Floats A(K * N), B(K * N);
    for (auto _ : state) {
        k.transpose(K, N, A.data(), N, B.data(), K);
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(state.iterations() * K * N * 8);
}

void cross_entropy(benchmark::State& state, const FloatKernels& k) {
    const std::int64_t M = state.range(0), N = state.range(1);
    const Floats x(M * N), y(M * N), loss(M);
    auto* target = new std::int64_t[static_cast<std::size_t>(M)]();
    for (auto _ : state) {
        k.cross_entropy_rows(M, N, x.data(), N, target, loss.data(), y.data(), N);
        benchmark::ClobberMemory();
    }
    delete[] target;
    state.SetItemsProcessed(state.iterations() * M * N);
}

void adam(benchmark::State& state, const FloatKernels& k) {
    const std::int64_t n = state.range(0);
    const Floats p(n), g(n), a(n), v(n);
    for (std::int64_t i = 0; i < n; ++i) v.data()[i] *= v.data()[i];
    const AdamStep step{.lr = 1e-9, .bias_correction1 = 0.5, .bias_correction2 = 0.5};
    for (auto _ : state) {
        k.adam(step, n, p.data(), g.data(), a.data(), v.data(), nullptr);
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations() * n);
}

void norm(benchmark::State& state, const FloatKernels& k) {
    const std::int64_t n = state.range(0);
    const Floats g(n);
    for (auto _ : state) benchmark::DoNotOptimize(k.sum_of_squares(g.data(), n));
    state.SetBytesProcessed(state.iterations() * n * 4);
}

void register_all(const FloatKernels& k) {
    const auto name = [&k](const char* what) { return std::string(k.name) + "/" + what; };
    const auto add = [&](const char* what, auto function, auto... arguments) {
        return benchmark::RegisterBenchmark(name(what).c_str(),
                                            [=, &k](benchmark::State& state) { function(state, k, arguments...); });
    };
    add("exp", map, &FloatKernels::exp)->Arg(4096);
    add("tanh", map, &FloatKernels::tanh)->Arg(4096);
    add("sigmoid", map, &FloatKernels::sigmoid)->Arg(4096);
    add("log", map, &FloatKernels::log)->Arg(4096);
    add("erf", map, &FloatKernels::erf)->Arg(4096);
    add("run_one_add_of_4", one_add);
    add("lstm_forward", lstm_forward)->Args({1, 128})->Args({50, 128})->Args({32, 256});
    add("lstm_adjoint", lstm_adjoint)->Args({1, 128})->Args({50, 128})->Args({32, 256});
    add("gemv_n", gemv, false)->Args({100, 100})->Args({128, 512})->Args({512, 2048});
    add("gemv_t", gemv, true)->Args({100, 100})->Args({128, 512})->Args({512, 2048});
    add("transpose", transpose)->Args({128, 512})->Args({512, 2048});
    add("cross_entropy_rows", cross_entropy)->Args({2500, 65})->Args({32, 8192});
    add("adam", adam)->Arg(16'384)->Arg(1 << 20);
    add("sum_of_squares", norm)->Arg(16'384)->Arg(1 << 20);
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return EXIT_FAILURE;
    for (const Isa isa : {Isa::avx512, Isa::avx2, Isa::baseline}) {
        if (isa_available(isa)) register_all(kernels(isa));
    }
    benchmark::RunSpecifiedBenchmarks();
    return EXIT_SUCCESS;
}
