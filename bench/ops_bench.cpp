// Time of every op of the catalogue, forward alone and forward with backward, on operands of a small model's size: 3,200
// rows (64 sequences of 50 steps) of 128 features, and what fits beside them.
//     bench_ops_bench --benchmark_filter=softmax
#include <unroll/autograd/catalogue.hpp>
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/ops/pointwise.hpp>
#include <unroll/autograd/threads.hpp>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <functional>
#include <map>

namespace {

using namespace unroll;

constexpr Index kRows = 3200, kCols = 128, kClasses = 65;
const Shape kWide{kRows, kCols}, kLogits{kRows, kClasses}, kRow{kCols}, kSteps{50, 64, kCols};

using Operands = Vars<float>;
using Outputs = std::vector<Var<float>>;

/// One benchmark: the op's name in the catalogue, shapes of its operands (elements between 0.1 and 0.9), and its call.
struct Row {
    std::vector<Shape> operands;
    std::function<Outputs(const Operands&)> call;
};

/// An op of one result, whatever its type.
template <class F>
std::function<Outputs(const Operands&)> one(F f) {
    return [f](const Operands& in) { return Outputs{f(in)}; };
}
Outputs all(const Vars<float>& parts) { return {parts.begin(), parts.end()}; }

std::vector<float> draws(Index n, std::uint64_t stream) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = 0.1f + 0.8f * static_cast<float>((i * 2654435761u + stream * 40503u) % 65536u) / 65536.0f;
    return x;
}

IntTensor positions(const std::vector<std::size_t>& shape, Index below) {
    IntTensor index = xt::zeros<std::int64_t>(shape);
    std::int64_t i = 0;
    for (auto& p : index) p = (i++ * 7919) % below;
    return index;
}

std::map<std::string_view, Row> rows() {
    static const IntTensor targets = positions({kRows}, kClasses);
    static const IntTensor tokens = positions({64, 50}, kClasses);
    static const IntTensor order = positions({kRows}, kRows);
    static const IntTensor columns = positions({kRows, kCols}, kCols);
    static const xt::xarray<bool> mask = xt::equal(columns % 3, 0);
    static RandomStream random(1, 2, 3);

    std::map<std::string_view, Row> r;
#define UNROLL_UNARY(name) r[#name] = {{kWide}, one([](const Operands& in) { return name(in[0]); })};
    UNROLL_UNARY(exp)
    UNROLL_UNARY(expm1)
    UNROLL_UNARY(log)
    UNROLL_UNARY(log1p)
    UNROLL_UNARY(sqrt)
    UNROLL_UNARY(rsqrt)
    UNROLL_UNARY(abs)
    UNROLL_UNARY(sign)
    UNROLL_UNARY(square)
    UNROLL_UNARY(reciprocal)
    UNROLL_UNARY(sin)
    UNROLL_UNARY(cos)
    UNROLL_UNARY(tanh)
    UNROLL_UNARY(sigmoid)
    UNROLL_UNARY(erf)
    UNROLL_UNARY(relu)
    UNROLL_UNARY(gelu)
    UNROLL_UNARY(silu)
    UNROLL_UNARY(softplus)
    UNROLL_UNARY(log_sigmoid)
    UNROLL_UNARY(leaky_relu)
    UNROLL_UNARY(elu)
    UNROLL_UNARY(softmax)
    UNROLL_UNARY(log_softmax)
    UNROLL_UNARY(sum)
    UNROLL_UNARY(mean)
    UNROLL_UNARY(max)
    UNROLL_UNARY(min)
    UNROLL_UNARY(logsumexp)
    UNROLL_UNARY(var)
#undef UNROLL_UNARY
    r["neg"] = {{kWide}, one([](const Operands& in) { return -in[0]; })};
    r["add"] = {{kWide, kRow}, one([](const Operands& in) { return in[0] + in[1]; })};
    r["sub"] = {{kWide, kWide}, one([](const Operands& in) { return in[0] - in[1]; })};
    r["mul"] = {{kWide, kWide}, one([](const Operands& in) { return in[0] * in[1]; })};
    r["div"] = {{kWide, kWide}, one([](const Operands& in) { return in[0] / in[1]; })};
    r["pow"] = {{kWide, kWide}, one([](const Operands& in) { return pow(in[0], in[1]); })};
    r["maximum"] = {{kWide, kWide}, one([](const Operands& in) { return maximum(in[0], in[1]); })};
    r["minimum"] = {{kWide, kWide}, one([](const Operands& in) { return minimum(in[0], in[1]); })};
    r["clip"] = {{kWide}, one([](const Operands& in) { return clip(in[0], 0.2, 0.8); })};
    r["pointwise"] = {{kWide, kWide, kRow}, one([](const Operands& in) {
                          return pointwise([](auto a, auto b, auto c) { return sigmoid(a) * tanh(b) + c; }, in[0],
                                           in[1], in[2]);
                      })};

    r["matmul"] = {{kWide, {kCols, kCols}}, one([](const Operands& in) { return matmul(in[0], in[1]); })};
    r["linear"] = {{kWide, {kCols, 512}, {512}}, one([](const Operands& in) { return linear(in[0], in[1], in[2]); })};
    r["add_linear"] = {{{64, 512}, {64, kCols}, {kCols, 512}},
                       one([](const Operands& in) { return add_linear(in[0], in[1], in[2]); })};

    r["reshape"] = {{kWide}, one([](const Operands& in) { return reshape(in[0], {50, 64, -1}); })};
    r["transpose"] = {{kWide}, one([](const Operands& in) { return transpose(in[0]); })};
    r["permute"] = {{kSteps}, one([](const Operands& in) { return permute(in[0], {1, 0, 2}); })};
    r["squeeze"] = {{{kRows, 1, kCols}}, one([](const Operands& in) { return squeeze(in[0], 1); })};
    r["unsqueeze"] = {{kWide}, one([](const Operands& in) { return unsqueeze(in[0], 1); })};
    r["broadcast_to"] = {{kRow}, one([](const Operands& in) { return broadcast_to(in[0], kWide); })};
    r["slice"] = {{kWide}, one([](const Operands& in) { return slice(in[0], 1, 32, 96); })};
    r["select"] = {{kSteps}, one([](const Operands& in) { return select(in[0], 1, 3); })};
    r["split"] = {{kWide}, [](const Operands& in) { return all(split(in[0], 4)); }};
    r["unbind"] = {{kSteps}, [](const Operands& in) { return all(unbind(in[0])); }};
    r["concat"] = {{kWide, kWide}, one([](const Operands& in) { return concat<float>({in[0], in[1]}, 1); })};
    r["stack"] = {{kWide, kWide}, one([](const Operands& in) { return stack<float>({in[0], in[1]}, 0); })};
    r["flip"] = {{kSteps}, one([](const Operands& in) { return flip(in[0], {0}); })};

    r["gather"] = {{kWide}, one([](const Operands& in) { return gather(in[0], 1, columns); })};
    r["index_select"] = {{kWide}, one([](const Operands& in) { return index_select(in[0], 0, order); })};
    r["masked_fill"] = {{kWide}, one([](const Operands& in) { return masked_fill(in[0], mask, 0.0); })};
    r["where"] = {{kWide, kWide}, one([](const Operands& in) { return where(mask, in[0], in[1]); })};
    r["embedding"] = {{{kClasses, kCols}}, one([](const Operands& in) { return embedding(in[0], tokens); })};

    r["layer_norm"] = {{kWide, kRow, kRow}, one([](const Operands& in) { return layer_norm(in[0], in[1], in[2]); })};
    r["dropout"] = {{kWide}, one([](const Operands& in) { return dropout(in[0], 0.5, random); })};

    r["cross_entropy"] = {{kLogits}, one([](const Operands& in) { return cross_entropy(in[0], targets); })};
    r["nll_loss"] = {{kLogits}, one([](const Operands& in) { return nll_loss(in[0], targets); })};
    r["mse_loss"] = {{kWide, kWide}, one([](const Operands& in) { return mse_loss(in[0], in[1]); })};
    r["l1_loss"] = {{kWide, kWide}, one([](const Operands& in) { return l1_loss(in[0], in[1]); })};
    r["huber_loss"] = {{kWide, kWide}, one([](const Operands& in) { return huber_loss(in[0], in[1]); })};
    r["bce_with_logits"] = {{kWide, kWide}, one([](const Operands& in) { return bce_with_logits(in[0], in[1]); })};
    return r;
}

Operands operands_of(const Row& row) {
    Operands in;
    std::uint64_t stream = 0;
    for (const Shape& shape : row.operands) {
        const std::vector<float> values = draws(shape.size(), ++stream);
        Tensor<float> x = empty<float>(shape);
        std::copy(values.begin(), values.end(), x.data());
        in.push_back(Var<float>(std::move(x)));
    }
    return in;
}

void forward(benchmark::State& state, const Row& row) {
    const Operands in = operands_of(row);
    for (auto _ : state) {
        const Outputs out = row.call(in);
        benchmark::DoNotOptimize(out.back().data());
    }
}

void forward_and_backward(benchmark::State& state, const Row& row) {
    const Operands in = operands_of(row);
    std::vector<Tensor<float>> ones;
    for (const Var<float>& y : row.call(in)) ones.push_back(full<float>(y.shape(), 1.0f));
    for (auto _ : state) {
        Tape<float> tape;
        for (const Var<float>& x : in) tape.watch(x);
        const Outputs out = row.call(in);
        tape.backward(out, ones);
        benchmark::ClobberMemory();
    }
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return EXIT_FAILURE;
    set_num_threads(1);
    const auto table = rows();
    for (const CatalogueEntry& op : catalogue()) {
        if (!op.recorded) continue;  // what never needs a gradient is bookkeeping
        const auto found = table.find(op.name);
        if (found == table.end()) {
            fmt::print(stderr, "the op {} of the catalogue has no row here\n", op.name);
            return EXIT_FAILURE;
        }
        const auto add = [&](const char* what, auto function) {
            benchmark::RegisterBenchmark(fmt::format("{}/{}", op.name, what).c_str(), function, found->second)
                ->Unit(benchmark::kMicrosecond);
        };
        add("forward", forward);
        add("forward+backward", forward_and_backward);
    }
    benchmark::RunSpecifiedBenchmarks();
    return EXIT_SUCCESS;
}
