// The bare matrix products of a training step, by dnnl_sgemm: what the step would cost if nothing else did. The shapes
// are those of the recurrent layers, with mode "train" those of the projection to the vocabulary too. No activations,
// no sums over threads, no transpositions are counted.
//
// With several threads there are two ways, and the driver takes the better one: "omp" gives every product to all
// threads; "rows" gives every thread rows of the batch, and each its own products over all time steps.
#include <algorithm>
#include <barrier>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include <dnnl.h>
#include <omp.h>

#include "protocol.hpp"

namespace {

using unroll::peers::Job;
using unroll::peers::Request;

std::vector<float> noise(std::int64_t rows, std::int64_t columns) {
    return unroll::peers::fill(1, static_cast<std::size_t>(rows * columns), 1.0);
}

/// C (m, n) = A·B + beta·C, row-major; A is (m, k), or (k, m) where it is transposed.
void multiply(bool transpose_a, std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const float* b,
              float beta, float* c) {
    if (dnnl_sgemm(transpose_a ? 'T' : 'N', 'N', m, n, k, 1.0f, a, transpose_a ? m : k, b, n, beta, c, n) !=
        dnnl_success)
        throw std::runtime_error("dnnl_sgemm refused a product");
}

/// A projection y = x·W of many rows at once: forward, input gradient, weight gradient.
struct Projection {
    std::int64_t rows, in, out;
    std::vector<float> w = noise(in, out), w_transposed = noise(out, in), gw = noise(in, out);

    Projection(std::int64_t rows_, std::int64_t in_, std::int64_t out_) : rows(rows_), in(in_), out(out_) {}
    void forward(const float* x, float* y) { multiply(false, rows, out, in, x, w.data(), 0, y); }
    void backward(const float* x, const float* gy, float* gx) {
        multiply(false, rows, in, out, gy, w_transposed.data(), 0, gx);
        multiply(true, in, out, rows, x, gy, 0, gw.data());
    }
    double flops() const { return 6.0 * static_cast<double>(rows * in * out); }
};

/// One layer and direction: all steps of the input at once, the recurrent product step by step, and the same backward.
struct Layer {
    std::int64_t steps, batch, hidden, out;
    Projection input;
    std::vector<float> x, gx, h, gh, gates, ggates, w, w_transposed, gw;

    Layer(const Request& r, std::int64_t rows, std::int64_t width)
        : steps(r.seq_len),
          batch(rows),
          hidden(r.hidden),
          out(r.gates() * r.hidden),
          input(steps * batch, width, out),
          x(noise(steps * batch, width)),
          gx(x),
          h(noise(steps * batch, hidden)),
          gh(h),
          gates(noise(steps * batch, out)),
          ggates(gates),
          w(noise(hidden, out)),
          w_transposed(w),
          gw(w) {}

    void run() {
        input.forward(x.data(), gates.data());
        for (std::int64_t t = 0; t < steps; ++t)
            multiply(false, batch, out, hidden, &h[t * batch * hidden], w.data(), 1, &gates[t * batch * out]);
        for (std::int64_t t = steps; t-- > 0;)
            multiply(false, batch, hidden, out, &ggates[t * batch * out], w_transposed.data(), 0,
                     &gh[t * batch * hidden]);
        input.backward(x.data(), ggates.data(), gx.data());
        multiply(true, hidden, out, steps * batch, h.data(), ggates.data(), 0, gw.data());
    }
    double flops() const { return input.flops() + 6.0 * static_cast<double>(steps * batch * hidden * out); }
};

/// All products of a step over `rows` rows of the batch.
struct Products {
    std::vector<Layer> layers;
    std::vector<Projection> head;
    std::vector<float> y, gy, logits;

    Products(const Request& r, std::int64_t rows) {
        for (std::int64_t l = 0; l < r.layers; ++l)
            for (std::int64_t d = 0; d < r.directions(); ++d) layers.emplace_back(r, rows, r.width(l));
        if (r.mode != "train") return;
        const auto width = r.directions() * r.hidden;
        head.emplace_back(r.seq_len * rows, width, r.vocab);
        y = noise(r.seq_len * rows, width);
        gy = y;
        logits = noise(r.seq_len * rows, r.vocab);
    }

    void run() {
        for (auto& layer : layers) layer.run();
        for (auto& projection : head) {
            projection.forward(y.data(), logits.data());
            projection.backward(y.data(), logits.data(), gy.data());
        }
    }
    double flops() const {
        double sum = 0;
        for (const auto& layer : layers) sum += layer.flops();
        for (const auto& projection : head) sum += projection.flops();
        return sum;
    }
};

/// Threads that live as long as the job; each runs its own part, with one OpenMP thread, whenever a step begins.
class Team {
public:
    explicit Team(std::vector<Products> parts) : parts_(std::move(parts)), gate_(static_cast<long>(parts_.size())) {
        for (std::size_t k = 1; k < parts_.size(); ++k)
            threads_.emplace_back([this, k] {
                omp_set_num_threads(1);
                for (gate_.arrive_and_wait(); !done_; gate_.arrive_and_wait()) {
                    parts_[k].run();
                    gate_.arrive_and_wait();
                }
            });
    }
    ~Team() {
        done_ = true;
        gate_.arrive_and_wait();
        for (auto& thread : threads_) thread.join();
    }
    void run() {
        gate_.arrive_and_wait();
        parts_[0].run();
        gate_.arrive_and_wait();
    }

private:
    std::vector<Products> parts_;
    std::barrier<> gate_;
    bool done_ = false;
    std::vector<std::thread> threads_;
};

Job gemm(const Request& r) {
    const auto n = r.options.value("size", std::int64_t{2048});
    omp_set_num_threads(r.threads);
    Job job;
    job.step = [n, a = noise(n, n), b = noise(n, n), c = noise(n, n)]() mutable {
        multiply(false, n, n, n, a.data(), b.data(), 0, c.data());
    };
    job.facts["flops"] = 2.0 * static_cast<double>(n * n * n);
    return job;
}

Job set_up(const Request& r) {
    if (r.mode == "gemm") return gemm(r);
    if (r.mode != "train" && r.mode != "recurrent") unroll::peers::unsupported(r);
    const auto split = r.options.value("split", std::string("omp"));
    const std::int64_t count = split == "rows" ? r.threads : 1;
    if (count > r.batch) throw std::runtime_error("fewer rows than threads");
    omp_set_num_threads(split == "rows" ? 1 : r.threads);
    std::vector<Products> parts;
    double flops = 0;
    for (std::int64_t k = 0; k < count; ++k) {
        parts.emplace_back(r, r.batch * (k + 1) / count - r.batch * k / count);
        flops += parts.back().flops();
    }
    auto team = std::make_shared<Team>(std::move(parts));
    Job job;
    job.step = [team] { team->run(); };
    job.facts["flops"] = flops;
    return job;
}

}  // namespace

int main() { return unroll::peers::serve(set_up); }
