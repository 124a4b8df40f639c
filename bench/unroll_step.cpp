// Our side of scripts/bench-peers: what each mode computes stands in bench/peers/README.md. Compiled without -march, as a
// user's program is.
#include <unroll/unroll.hpp>

#include "peers/protocol.hpp"

#include <cmath>
#include <memory>
#include <optional>
#include <variant>

namespace {

using namespace unroll;
using peers::Job;
using peers::Request;

Tensor<float> filled(std::uint64_t seed, const Shape& shape, double scale) {
    const std::vector<float> values = peers::fill(seed, static_cast<std::size_t>(shape.size()), scale);
    Tensor<float> tensor = empty<float>(shape);
    std::copy(values.begin(), values.end(), tensor.data());
    return tensor;
}

/// Parameter k of the store from fill(first + k), drawn in the order of PyTorch's (out, in) axes.
void fill_parameters(ParameterStore<float>& store, std::uint64_t first, double scale, bool embedding_first) {
    std::uint64_t k = first;
    for (auto* entry : store.entries()) {
        const double s = embedding_first && k == first ? 1.0 : scale;
        const std::vector<float> values = peers::fill(k++, static_cast<std::size_t>(entry->shape.size()), s);
        Tensor<float> to = Parameter<float>(*entry).mutable_value();
        const Index rows = entry->shape[0], cols = entry->shape.size() / rows;
        for (Index i = 0; i < entry->shape.size(); ++i)
            to.data()[i] = values[static_cast<std::size_t>(entry->transposed ? i % cols * rows + i / cols : i)];
    }
}

double norm_of_matrices(ParameterStore<float>& store) {
    double sum = 0;
    for (auto* entry : store.entries()) {
        if (entry->shape.rank() != 2) continue;
        const Tensor<float> g = Parameter<float>(*entry).gradient();
        for (const float v : g) sum += static_cast<double>(v) * v;
    }
    return std::sqrt(sum);
}

/// A user's LSTM cell, written with pointwise; parameters as the built-in one has them.
template <class Real>
struct UserLstm {
    static constexpr int kStates = 2;
    Index hidden;
    Parameter<Real> weight_ih, weight_hh, bias_ih, bias_hh;

    UserLstm(Scope<Real> at, Size input, Size size)
        : hidden(size),
          weight_ih(at.parameter("weight_ih", {input, 4 * size}, init::xavier_uniform<Real>(), true)),
          weight_hh(at.parameter("weight_hh", {size, 4 * size}, init::xavier_uniform<Real>(), true)),
          bias_ih(at.parameter("bias_ih", {4 * size}, init::constant<Real>(0))),
          bias_hh(at.parameter("bias_hh", {4 * size}, init::constant<Real>(0))) {}
    Index state_size(int) const { return hidden; }
    Var<Real> project(Var<Real> x) const { return linear<Real>(std::move(x), weight_ih, bias_ih + bias_hh); }
    State<Real, 2> step(Var<Real> x, State<Real, 2> s) const {
        return pointwise(
            [](auto i, auto f, auto g, auto o, auto c) {
                auto next = sigmoid(f) * c + sigmoid(i) * tanh(g);
                return std::tuple{sigmoid(o) * tanh(next), next};
            },
            columns<4>(add_linear<Real>(std::move(x), std::move(s[0]), weight_hh)), std::move(s[1]));
    }
};

/// RNN, LSTM or GRU behind one call that keeps a state for each part of a batch.
template <class Layer>
struct Carried {
    Layer layer;
    std::vector<std::optional<typename Layer::State>> states = std::vector<std::optional<typename Layer::State>>(16);

    Var<float> operator()(Var<float> x, Index part, bool carry) {
        auto& state = states[static_cast<std::size_t>(part)];
        auto made = layer(std::move(x), carry ? state : std::nullopt);
        for (auto& s : made.state) s = s.detach();
        if (carry) state = std::move(made.state);
        return std::move(made.output);
    }
};

using AnyLayer = std::variant<Carried<RNN<float>>, Carried<LSTM<float>>, Carried<GRU<float>>>;

AnyLayer make_layer(Scope<float> at, const Request& r) {
    if (r.cell == "rnn")
        return Carried<RNN<float>>{RNN<float>(at, {.input_size = r.input,
                                                   .hidden_size = r.hidden,
                                                   .num_layers = r.layers,
                                                   .bidirectional = r.bidirectional})};
    if (r.cell == "gru")
        return Carried<GRU<float>>{GRU<float>(at, {.input_size = r.input,
                                                   .hidden_size = r.hidden,
                                                   .num_layers = r.layers,
                                                   .bidirectional = r.bidirectional})};
    return Carried<LSTM<float>>{LSTM<float>(
        at,
        {.input_size = r.input, .hidden_size = r.hidden, .num_layers = r.layers, .bidirectional = r.bidirectional})};
}

Var<float> run(AnyLayer& layer, Var<float> x, Index part = 0, bool carry = true) {
    return std::visit([&](auto& l) { return l(std::move(x), part, carry); }, layer);
}

struct CharModel {
    ParameterStore<float> store{1};
    Embedding<float> embed;
    AnyLayer rnn;
    Linear<float> head;

    explicit CharModel(const Request& r)
        : embed(Scope<float>(store) / "embed", {.num_embeddings = r.vocab, .embedding_dim = r.input}),
          rnn(make_layer(Scope<float>(store) / "rnn", r)),
          head(Scope<float>(store) / "head", {.in_features = r.directions() * r.hidden, .out_features = r.vocab}) {
        fill_parameters(store, 1, 1.0 / std::sqrt(static_cast<double>(r.hidden)), true);
    }
    Var<float> logits(const IntTensor& tokens, Index part = 0) { return head(run(rnn, embed(tokens), part)); }
};

/// Rows [begin, end) of the batch: inputs and targets (T, rows), as peers/README.md says.
std::pair<IntTensor, IntTensor> text(const Request& r, Index begin, Index end) {
    const std::vector<std::size_t> shape{static_cast<std::size_t>(r.seq_len), static_cast<std::size_t>(end - begin)};
    IntTensor inputs(shape), targets(shape);
    for (Index b = begin; b < end; ++b) {
        const auto row =
            peers::tokens(7 + static_cast<std::uint64_t>(b), static_cast<std::size_t>(r.seq_len + 1), r.vocab);
        for (Index t = 0; t < r.seq_len; ++t) {
            inputs(t, b - begin) = row[static_cast<std::size_t>(t)];
            targets(t, b - begin) = row[static_cast<std::size_t>(t + 1)];
        }
    }
    return {inputs, targets};
}

Job train(const Request& r) {
    struct Side {
        CharModel model;
        Adam<float> adam;
        DataParallel<float> parallel;
        std::vector<std::pair<IntTensor, IntTensor>> parts;
        double loss = 0;
        explicit Side(const Request& r) : model(r), adam(model.store, {.lr = 2e-3}), parallel(model.store), parts(16) {}
    };
    auto side = std::make_shared<Side>(r);
    Job job;
    job.step = [side, r] {
        side->adam.zero_grad();
        side->loss = static_cast<double>(side->parallel.backward(r.batch, [&](Shard s) {
            auto& part = side->parts[static_cast<std::size_t>(s.number)];
            if (part.first.size() != static_cast<std::size_t>(r.seq_len * (s.end - s.begin)))
                part = text(r, s.begin, s.end);
            const double share = static_cast<double>(s.end - s.begin) / static_cast<double>(r.batch);
            const Var<float> mean = cross_entropy(side->model.logits(part.first, s.number), part.second);
            return share == 1.0 ? mean : mean * share;
        }));
        clip_grad_norm(side->model.store, 5.0);
        side->adam.step();
    };
    job.loss = [side] { return side->loss; };
    return job;
}

/// The recurrent layers alone; `make` builds the layer in a store.
template <class Run>
Job recurrent_job(const Request& r, std::shared_ptr<ParameterStore<float>> store, Run run_layer,
                  bool input_gradient = true) {
    struct Side {
        DataParallel<float> parallel;
        Tensor<float> x, upstream;
        std::vector<Tensor<float>> xs = std::vector<Tensor<float>>(16), ups = xs;
        double value = 0;
    };
    auto side =
        std::make_shared<Side>(Side{DataParallel<float>(*store), filled(801, {r.seq_len, r.batch, r.input}, 1.0),
                                    filled(901, {r.seq_len, r.batch, r.directions() * r.hidden}, 1.0)});
    const auto rows = [](const Tensor<float>& all, Index begin, Index end) {
        const Index T = static_cast<Index>(all.shape()[0]), B = static_cast<Index>(all.shape()[1]),
                    n = static_cast<Index>(all.shape()[2]);
        Tensor<float> part = empty<float>({T, end - begin, n});
        for (Index t = 0; t < T; ++t)
            std::copy_n(all.data() + (t * B + begin) * n, (end - begin) * n, part.data() + t * (end - begin) * n);
        return part;
    };
    Job job;
    job.step = [=] {
        store->zero_grad();
        side->value = static_cast<double>(side->parallel.backward(r.batch, [&](Shard s) {
            const auto k = static_cast<std::size_t>(s.number);
            if (side->xs[k].dimension() != 3 || static_cast<Index>(side->xs[k].shape()[1]) != s.end - s.begin) {
                side->xs[k] = rows(side->x, s.begin, s.end);
                side->ups[k] = rows(side->upstream, s.begin, s.end);
            }
            const Var<float> x(alias<float>({}, side->xs[k].data(), shape_of(side->xs[k])));
            if (input_gradient) Tape<float>::current()->watch(x);
            const Var<float> y = run_layer(x);
            return sum(y * Var<float>(alias<float>({}, side->ups[k].data(), shape_of(side->ups[k]))));
        }));
    };
    job.loss = [side] { return side->value; };
    job.gradient_norm = [store] { return norm_of_matrices(*store); };
    return job;
}

Job recurrent(const Request& r) {
    auto store = std::make_shared<ParameterStore<float>>(1);
    auto layer = std::make_shared<AnyLayer>(make_layer(Scope<float>(*store), r));
    fill_parameters(*store, 1, 1.0 / std::sqrt(static_cast<double>(r.hidden)), false);
    return recurrent_job(r, store, [layer](const Var<float>& x) { return run(*layer, x, 0, false); });
}

Job user_pointwise(const Request& r) {
    auto store = std::make_shared<ParameterStore<float>>(1);
    auto layer = std::make_shared<Stacked<float, UserLstm<float>>>(Scope<float>(*store), Size(r.input), Size(r.hidden),
                                                                   StackOptions{.num_layers = r.layers});
    fill_parameters(*store, 1, 1.0 / std::sqrt(static_cast<double>(r.hidden)), false);
    return recurrent_job(r, store, [layer](const Var<float>& x) { return (*layer)(x).output; });
}

/// An LSTM cell from elementary ops, as a user writes it who knows nothing else.
template <class Real>
struct ElementaryLstm {
    static constexpr int kStates = 2;
    Index hidden;
    Parameter<Real> weight_ih, weight_hh, bias;

    ElementaryLstm(Scope<Real> at, Size input, Size size)
        : hidden(size),
          weight_ih(at.parameter("weight_ih", {input, 4 * size}, init::xavier_uniform<Real>())),
          weight_hh(at.parameter("weight_hh", {size, 4 * size}, init::xavier_uniform<Real>())),
          bias(at.parameter("bias", {4 * size}, init::constant<Real>(0))) {}
    Index state_size(int) const { return hidden; }
    State<Real, 2> step(Var<Real> x, State<Real, 2> s) const {
        const auto& [h, c] = s;
        const auto gates = split(matmul<Real>(x, weight_ih) + matmul<Real>(h, weight_hh) + bias, 4, 1);
        const auto i = sigmoid(gates[0]), f = sigmoid(gates[1]), g = tanh(gates[2]), o = sigmoid(gates[3]);
        const Var<Real> next = f * c + i * g;
        return {o * tanh(next), next};
    }
};

Job cell(const Request& r) {
    auto store = std::make_shared<ParameterStore<float>>(1);
    auto layer =
        std::make_shared<Recurrent<float, ElementaryLstm<float>>>(Scope<float>(*store), Size(r.input), Size(r.hidden));
    fill_parameters(*store, 1, 1.0 / std::sqrt(static_cast<double>(r.hidden)), false);
    return recurrent_job(
        r, store, [layer](const Var<float>& x) { return (*layer)(x).output; }, false);
}

Job min_char_rnn(const Request& r) {
    struct Side {
        ParameterStore<float> store{1};
        RNN<float> rnn;
        Linear<float> head;
        Adagrad<float> adagrad;
        std::vector<std::int64_t> stream;
        std::size_t position = 0;
        std::optional<State<float, 1>> state;
        double loss = 0;
        explicit Side(const Request& r)
            : rnn(Scope<float>(store) / "rnn", {.input_size = r.vocab, .hidden_size = r.hidden}),
              head(Scope<float>(store) / "head", {.in_features = r.hidden, .out_features = r.vocab}),
              adagrad(store, {.lr = 0.1}),
              stream(peers::tokens(7, 100001, r.vocab)) {
            RandomStream random(1, "weights");
            for (auto* entry : store.entries())
                for (float& v : Parameter<float>(*entry).mutable_value())
                    v = entry->shape.rank() == 2 ? static_cast<float>(0.01 * random.normal()) : 0.0f;
        }
    };
    auto side = std::make_shared<Side>(r);
    Job job;
    job.step = [side, r] {
        Side& s = *side;
        const auto steps = static_cast<std::size_t>(r.seq_len);
        if (s.position + steps + 1 > s.stream.size()) {
            s.position = 0;
            s.state.reset();
        }
        IntTensor inputs(std::vector<std::size_t>{steps, 1}), targets(std::vector<std::size_t>{steps, 1});
        std::copy_n(s.stream.begin() + static_cast<std::ptrdiff_t>(s.position), steps, inputs.begin());
        std::copy_n(s.stream.begin() + static_cast<std::ptrdiff_t>(s.position) + 1, steps, targets.begin());
        s.position += steps;
        s.adagrad.zero_grad();
        Tape<float> tape;
        auto made = s.rnn(Var<float>(one_hot<float>(inputs, r.vocab)), s.state);
        const Var<float> loss = cross_entropy(s.head(made.output), targets, {.reduction = Reduction::sum});
        tape.backward(loss);
        s.state = State<float, 1>{made.state[0].detach()};
        clip_grad_value(s.store, 5.0);
        s.adagrad.step();
        s.loss = static_cast<double>(loss.item()) / static_cast<double>(r.seq_len);
    };
    job.loss = [side] { return side->loss; };
    job.facts["units"] = r.seq_len;
    return job;
}

Job inference(const Request& r) {
    auto model = std::make_shared<CharModel>(r);
    model->store.eval();
    const Index shards = shard_count(model->store, r.batch);
    auto parts = std::make_shared<std::vector<IntTensor>>();
    for (Index s = 0; s < shards; ++s)
        parts->push_back(text(r, r.batch * s / shards, r.batch * (s + 1) / shards).first);
    Job job;
    job.step = [=] { parallel_for(shards, [&](Index s) { model->logits((*parts)[static_cast<std::size_t>(s)], s); }); };
    job.facts["units"] = r.seq_len * r.batch;
    return job;
}

Job sample(const Request& r) {
    auto model = std::make_shared<CharModel>(r);
    model->store.eval();
    auto sampler = std::make_shared<Sampler>();
    auto random = std::make_shared<RandomStream>(1, "sample");
    auto token = std::make_shared<IntTensor>(IntTensor::from_shape({1, 1}));
    token->fill(0);
    constexpr Index kCharacters = 500;
    Job job;
    job.step = [=] {
        std::visit(
            [&](auto& rnn) {
                auto& state = rnn.states[0];
                const Var<float> table = rnn.layer.project(model->embed.weight);
                for (Index k = 0; k < kCharacters; ++k) {
                    auto made = rnn.layer(embedding(table, *token), std::move(state), {.projected = true});
                    state = std::move(made.state);
                    (*token)(0, 0) = (*sampler)(model->head(std::move(made.output)), *random);
                }
            },
            model->rnn);
    };
    job.facts["units"] = kCharacters;
    return job;
}

Job gemm(const Request& r) {
    const Index n = r.options.value("size", 2048);
    auto a = std::make_shared<Var<float>>(filled(1, {n, n}, 1.0)),
         b = std::make_shared<Var<float>>(filled(2, {n, n}, 1.0));
    Job job;
    job.step = [=] { matmul(*a, *b); };
    job.facts["flops"] = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    return job;
}

Job set_up(const Request& r) {
    set_num_threads(r.threads);
    if (r.mode == "train") return train(r);
    if (r.mode == "recurrent") return recurrent(r);
    if (r.mode == "pointwise" && r.cell == "lstm" && !r.bidirectional) return user_pointwise(r);
    if (r.mode == "cell" && r.cell == "lstm" && r.layers == 1 && !r.bidirectional) return cell(r);
    if (r.mode == "min_char_rnn" && r.cell == "rnn" && r.batch == 1 && !r.bidirectional) return min_char_rnn(r);
    if (r.mode == "inference") return inference(r);
    if (r.mode == "sample" && r.batch == 1 && !r.bidirectional) return sample(r);
    if (r.mode == "gemm") return gemm(r);
    peers::unsupported(r);
}

}  // namespace

int main() { return peers::serve(set_up); }
