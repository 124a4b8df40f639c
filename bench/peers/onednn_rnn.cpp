// oneDNN's side of the comparison: its fused RNN primitives, forward_training and backward, for mode "recurrent".
//
// What a training step would need is counted in every repetition: the weights, kept plain as (in, gate, out), are
// reordered into the layouts that the two primitives prefer, since an optimiser has just changed them; the weight
// gradients are zeroed before, as oneDNN adds to them, and brought back into the plain layout after.
// With "layout": "native" the weights live in the layout that the forward primitive prefers and their gradients in that
// of the backward one, so that only the backward primitive's reorder is left.
// Layers that read as many features as they write share one primitive; others have their own, chained.
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include <dnnl.hpp>
#include <omp.h>

#include "protocol.hpp"

namespace {

using dnnl::memory;
using unroll::peers::Job;
using unroll::peers::Request;
using Arguments = std::unordered_map<int, memory>;

struct Engine {
    dnnl::engine engine{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream{engine};
};

/// What all four kinds of primitive have in common, once they are built.
struct Pair {
    dnnl::primitive forward, backward;
    dnnl::primitive_desc_base forward_desc, backward_desc;

    memory::desc of_forward(int argument) const { return forward_desc.query_md(dnnl::query::exec_arg_md, argument); }
    memory::desc of_backward(int argument) const { return backward_desc.query_md(dnnl::query::exec_arg_md, argument); }
};

struct Shapes {
    memory::desc x, h, c, wx, wh, bias, y;  // layouts that are given
    memory::desc wx_any, wh_any;            // layouts that oneDNN may choose
    dnnl::rnn_direction direction;
};

constexpr auto kTraining = dnnl::prop_kind::forward_training;
constexpr auto kBackward = dnnl::prop_kind::backward;

template <class Forward, class Backward>
Pair finish(const dnnl::engine& engine, const typename Forward::desc& forward,
            const typename Backward::desc& backward) {
    const typename Forward::primitive_desc first(forward, engine);
    const typename Backward::primitive_desc second(backward, engine, first);
    return {Forward(first), Backward(second), first, second};
}

Pair build_lstm(const dnnl::engine& engine, const Shapes& s) {
    return finish<dnnl::lstm_forward, dnnl::lstm_backward>(
        engine, {kTraining, s.direction, s.x, s.h, s.c, s.wx_any, s.wh_any, s.bias, s.y, s.h, s.c},
        {kBackward, s.direction, s.x, s.h, s.c,      s.wx_any, s.wh_any, s.bias, s.y, s.h,
         s.c,       s.x,         s.h, s.c, s.wx_any, s.wh_any, s.bias,   s.y,    s.h, s.c});
}

template <class Forward, class Backward>
Pair build_gru(const dnnl::engine& engine, const Shapes& s) {
    return finish<Forward, Backward>(engine, {kTraining, s.direction, s.x, s.h, s.wx_any, s.wh_any, s.bias, s.y, s.h},
                                     {kBackward, s.direction, s.x, s.h, s.wx_any, s.wh_any, s.bias, s.y, s.h, s.x, s.h,
                                      s.wx_any, s.wh_any, s.bias, s.y, s.h});
}

Pair build_rnn(const dnnl::engine& engine, const Shapes& s) {
    constexpr auto kTanh = dnnl::algorithm::eltwise_tanh;
    return finish<dnnl::vanilla_rnn_forward, dnnl::vanilla_rnn_backward>(
        engine, {kTraining, kTanh, s.direction, s.x, s.h, s.wx_any, s.wh_any, s.bias, s.y, s.h},
        {kBackward, kTanh, s.direction, s.x, s.h, s.wx_any, s.wh_any, s.bias, s.y, s.h, s.x, s.h, s.wx_any, s.wh_any,
         s.bias, s.y, s.h});
}

float* data(const memory& m) { return static_cast<float*>(m.get_data_handle()); }

memory zeros(const memory::desc& desc, const dnnl::engine& engine) {
    memory m(desc, engine);
    std::memset(m.get_data_handle(), 0, desc.get_size());
    return m;
}

/// Layers that share one primitive, with all the memory they use.
class Group {
public:
    Group(std::shared_ptr<Engine> engine, const Request& r, bool lbr, std::int64_t first, std::int64_t count, memory x,
          memory gx)
        : engine_(std::move(engine)), x_(std::move(x)), gx_(std::move(gx)) {
        const auto T = r.seq_len, B = r.batch, H = r.hidden, D = r.directions(), G = r.gates(), in = r.width(first);
        using tag = memory::format_tag;
        const auto desc = [](memory::dims dims, tag t) { return memory::desc(dims, memory::data_type::f32, t); };
        Shapes s;
        s.x = desc({T, B, in}, tag::tnc);
        s.y = desc({T, B, D * H}, tag::tnc);
        s.h = s.c = desc({count, D, B, H}, tag::ldnc);
        s.wx = desc({count, D, in, G, H}, tag::ldigo);
        s.wh = desc({count, D, H, G, H}, tag::ldigo);
        s.wx_any = desc({count, D, in, G, H}, tag::any);
        s.wh_any = desc({count, D, H, G, H}, tag::any);
        s.bias = desc({count, D, G + (lbr ? 1 : 0), H}, tag::ldgo);
        s.direction =
            D == 2 ? dnnl::rnn_direction::bidirectional_concat : dnnl::rnn_direction::unidirectional_left2right;
        const auto& e = engine_->engine;
        pair_ = r.cell == "lstm"  ? build_lstm(e, s)
                : r.cell == "rnn" ? build_rnn(e, s)
                : lbr             ? build_gru<dnnl::lbr_gru_forward, dnnl::lbr_gru_backward>(e, s)
                                  : build_gru<dnnl::gru_forward, dnnl::gru_backward>(e, s);

        wx_ = memory(s.wx, e);
        wh_ = memory(s.wh, e);
        bias_ = zeros(s.bias, e);
        set_weights(r, lbr, first, count);
        const bool native = r.options.value("layout", std::string("plain")) == "native";
        if (native) {
            wx_ = reordered(wx_, pair_.of_forward(DNNL_ARG_WEIGHTS_LAYER));
            wh_ = reordered(wh_, pair_.of_forward(DNNL_ARG_WEIGHTS_ITER));
        }
        y = memory(s.y, e);
        gy = memory(s.y, e);
        gwx = memory(native ? pair_.of_backward(DNNL_ARG_DIFF_WEIGHTS_LAYER) : s.wx, e);
        gwh = memory(native ? pair_.of_backward(DNNL_ARG_DIFF_WEIGHTS_ITER) : s.wh, e);
        gbias_ = memory(s.bias, e);
        const bool has_c = r.cell == "lstm";
        arguments(s, has_c);
    }

    void forward() {
        run(to_forward_);
        pair_.forward.execute(engine_->stream, forward_);
    }
    void backward() {
        run(to_backward_);
        for (const auto& m : added_to_) std::memset(m.get_data_handle(), 0, m.get_desc().get_size());
        pair_.backward.execute(engine_->stream, backward_);
        run(from_backward_);
    }

    memory y, gy, gwx, gwh;

private:
    struct Reorder {
        dnnl::reorder how;
        memory from, to;
    };

    void run(std::vector<Reorder>& reorders) {
        for (auto& reorder : reorders) reorder.how.execute(engine_->stream, reorder.from, reorder.to);
    }

    memory reordered(memory from, const memory::desc& wanted) {
        memory to = zeros(wanted, engine_->engine);
        dnnl::reorder(from, to).execute(engine_->stream, from, to);
        return to;
    }

    /// Memory of the layout `wanted` that follows `plain`: itself where the layouts agree.
    memory in_layout(const memory& plain, const memory::desc& wanted, std::vector<Reorder>& reorders, bool back) {
        if (plain.get_desc() == wanted) return plain;
        memory other = zeros(wanted, engine_->engine);
        const auto& from = back ? other : plain;
        const auto& to = back ? plain : other;
        reorders.push_back({dnnl::reorder(from, to), from, to});
        return other;
    }

    void arguments(const Shapes& s, bool has_c) {
        const auto& e = engine_->engine;
        forward_ = {{DNNL_ARG_SRC_LAYER, x_},
                    {DNNL_ARG_SRC_ITER, zeros(s.h, e)},
                    {DNNL_ARG_BIAS, bias_},
                    {DNNL_ARG_DST_LAYER, y},
                    {DNNL_ARG_DST_ITER, memory(s.h, e)},
                    {DNNL_ARG_WORKSPACE, memory(pair_.of_forward(DNNL_ARG_WORKSPACE), e)}};
        if (has_c) {
            forward_[DNNL_ARG_SRC_ITER_C] = zeros(s.c, e);
            forward_[DNNL_ARG_DST_ITER_C] = memory(s.c, e);
        }
        backward_ = forward_;
        forward_[DNNL_ARG_WEIGHTS_LAYER] = in_layout(wx_, pair_.of_forward(DNNL_ARG_WEIGHTS_LAYER), to_forward_, false);
        forward_[DNNL_ARG_WEIGHTS_ITER] = in_layout(wh_, pair_.of_forward(DNNL_ARG_WEIGHTS_ITER), to_forward_, false);
        backward_[DNNL_ARG_WEIGHTS_LAYER] =
            in_layout(wx_, pair_.of_backward(DNNL_ARG_WEIGHTS_LAYER), to_backward_, false);
        backward_[DNNL_ARG_WEIGHTS_ITER] =
            in_layout(wh_, pair_.of_backward(DNNL_ARG_WEIGHTS_ITER), to_backward_, false);

        const auto raw_gwx = in_layout(gwx, pair_.of_backward(DNNL_ARG_DIFF_WEIGHTS_LAYER), from_backward_, true);
        const auto raw_gwh = in_layout(gwh, pair_.of_backward(DNNL_ARG_DIFF_WEIGHTS_ITER), from_backward_, true);
        added_to_ = {raw_gwx, raw_gwh, gbias_};
        backward_.insert({{DNNL_ARG_DIFF_SRC_LAYER, gx_},
                          {DNNL_ARG_DIFF_SRC_ITER, memory(s.h, e)},
                          {DNNL_ARG_DIFF_WEIGHTS_LAYER, raw_gwx},
                          {DNNL_ARG_DIFF_WEIGHTS_ITER, raw_gwh},
                          {DNNL_ARG_DIFF_BIAS, gbias_},
                          {DNNL_ARG_DIFF_DST_LAYER, gy},
                          {DNNL_ARG_DIFF_DST_ITER, zeros(s.h, e)}});
        if (has_c) {
            backward_[DNNL_ARG_DIFF_SRC_ITER_C] = memory(s.c, e);
            backward_[DNNL_ARG_DIFF_DST_ITER_C] = zeros(s.c, e);
        }
    }

    /// The same numbers as a PyTorch layer whose parameters are filled in their order, in oneDNN's order of gates.
    void set_weights(const Request& r, bool lbr, std::int64_t first, std::int64_t count) {
        const auto H = r.hidden, G = r.gates(), D = r.directions();
        const double scale = 1.0 / std::sqrt(static_cast<double>(H));
        const auto gate_of = [&](std::int64_t g) { return r.cell == "gru" && g < 2 ? 1 - g : g; };
        for (std::int64_t l = 0; l < count; ++l)
            for (std::int64_t d = 0; d < D; ++d) {
                const auto part = l * D + d;
                const auto seed = 1 + 4 * static_cast<std::uint64_t>(first * D + part);
                const auto copy = [&](std::uint64_t k, std::int64_t in, float* to) {
                    const auto w = unroll::peers::fill(seed + k, static_cast<std::size_t>(G * H * in), scale);
                    for (std::int64_t g = 0; g < G; ++g)
                        for (std::int64_t o = 0; o < H; ++o)
                            for (std::int64_t i = 0; i < in; ++i)
                                to[((part * in + i) * G + gate_of(g)) * H + o] = w[(g * H + o) * in + i];
                };
                copy(0, r.width(first), data(wx_));
                copy(1, H, data(wh_));
                const auto b_ih = unroll::peers::fill(seed + 2, static_cast<std::size_t>(G * H), scale);
                const auto b_hh = unroll::peers::fill(seed + 3, static_cast<std::size_t>(G * H), scale);
                float* bias = data(bias_) + part * (G + (lbr ? 1 : 0)) * H;
                for (std::int64_t g = 0; g < G; ++g)
                    for (std::int64_t o = 0; o < H; ++o) {
                        const bool apart = lbr && g == 2;
                        bias[gate_of(g) * H + o] = b_ih[g * H + o] + (apart ? 0.0f : b_hh[g * H + o]);
                        if (apart) bias[3 * H + o] = b_hh[g * H + o];
                    }
            }
    }

    std::shared_ptr<Engine> engine_;
    Pair pair_;
    memory x_, gx_, wx_, wh_, bias_, gbias_;
    Arguments forward_, backward_;
    std::vector<Reorder> to_forward_, to_backward_, from_backward_;
    std::vector<memory> added_to_;
};

double sum_of_squares(const memory& m) {
    double sum = 0;
    const float* values = data(m);
    for (std::size_t k = 0; k < m.get_desc().get_size() / sizeof(float); ++k) sum += double{values[k]} * values[k];
    return sum;
}

Job set_up(const Request& r) {
    if (r.mode != "recurrent") unroll::peers::unsupported(r);
    omp_set_num_threads(r.threads);
    const bool lbr = r.cell == "gru" && r.options.value("lbr", true);
    auto engine = std::make_shared<Engine>();
    const memory::desc x_desc({r.seq_len, r.batch, r.input}, memory::data_type::f32, memory::format_tag::tnc);
    memory x(x_desc, engine->engine), gx(x_desc, engine->engine);
    const auto filled = unroll::peers::fill(801, x_desc.get_size() / sizeof(float), 1.0);
    std::memcpy(x.get_data_handle(), filled.data(), x_desc.get_size());

    auto groups = std::make_shared<std::vector<Group>>();
    for (std::int64_t first = 0; first < r.layers;) {
        const bool shared = !r.bidirectional && r.width(first) == r.hidden;
        const std::int64_t count = shared ? r.layers - first : 1;
        groups->emplace_back(engine, r, lbr, first, count, x, gx);
        x = groups->back().y;
        gx = groups->back().gy;
        first += count;
    }
    const auto upstream =
        std::make_shared<std::vector<float>>(unroll::peers::fill(901, x.get_desc().get_size() / sizeof(float), 1.0));
    std::memcpy(gx.get_data_handle(), upstream->data(), upstream->size() * sizeof(float));

    Job job;
    job.step = [groups, engine] {
        for (auto& group : *groups) group.forward();
        for (auto group = groups->rbegin(); group != groups->rend(); ++group) group->backward();
        engine->stream.wait();
    };
    job.loss = [y = x, upstream] {
        double sum = 0;
        for (std::size_t k = 0; k < upstream->size(); ++k) sum += double{data(y)[k]} * (*upstream)[k];
        return sum;
    };
    job.gradient_norm = [groups] {
        double sum = 0;
        for (const auto& group : *groups) sum += sum_of_squares(group.gwx) + sum_of_squares(group.gwh);
        return std::sqrt(sum);
    };
    return job;
}

}  // namespace

int main() { return unroll::peers::serve(set_up); }
