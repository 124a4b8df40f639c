// libtorch's side of the comparison: training steps, a cell from elementary ops, inference and sampling, written as its
// users write them. What each mode computes stands in README.md, so that other sides can do the same.
#include <cmath>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include <torch/torch.h>

#include "protocol.hpp"

namespace {

using torch::Tensor;
using unroll::peers::Job;
using unroll::peers::Request;

Tensor filled(std::uint64_t seed, at::IntArrayRef shape, double scale) {
    const auto count = static_cast<std::size_t>(c10::multiply_integers(shape));
    return torch::tensor(unroll::peers::fill(seed, count, scale)).reshape(shape);
}

/// The recurrent layers of any of the three kinds, with one shape of call.
struct Recurrent {
    torch::nn::LSTM lstm{nullptr};
    torch::nn::GRU gru{nullptr};
    torch::nn::RNN rnn{nullptr};
    Tensor h, c;

    Recurrent(const Request& r, std::int64_t input) {
        const auto set = [&](auto options) { return options.num_layers(r.layers).bidirectional(r.bidirectional); };
        if (r.cell == "lstm") lstm = torch::nn::LSTM(set(torch::nn::LSTMOptions(input, r.hidden)));
        if (r.cell == "gru") gru = torch::nn::GRU(set(torch::nn::GRUOptions(input, r.hidden)));
        if (r.cell == "rnn") rnn = torch::nn::RNN(set(torch::nn::RNNOptions(input, r.hidden)));
        h = torch::zeros({r.layers * r.directions(), r.batch, r.hidden});
        c = h.clone();
    }

    std::shared_ptr<torch::nn::Module> module() const {
        if (lstm) return lstm.ptr();
        if (gru) return gru.ptr();
        return rnn.ptr();
    }

    /// Runs from the carried state, and keeps the new one cut from the graph.
    Tensor operator()(const Tensor& x) {
        Tensor y, new_h, new_c = c;
        if (lstm) {
            std::tuple<Tensor, Tensor> state;
            std::tie(y, state) = lstm->forward(x, std::make_tuple(h, c));
            std::tie(new_h, new_c) = state;
        } else {
            std::tie(y, new_h) = gru ? gru->forward(x, h) : rnn->forward(x, h);
        }
        h = new_h.detach();
        c = new_c.detach();
        return y;
    }
};

struct CharModel : torch::nn::Module {
    torch::nn::Embedding embed;
    Recurrent rnn;
    torch::nn::Linear head;

    explicit CharModel(const Request& r)
        : embed(r.vocab, r.input), rnn(r, r.input), head(r.directions() * r.hidden, r.vocab) {
        register_module("embed", embed);
        register_module("rnn", rnn.module());
        register_module("head", head);
        torch::NoGradGuard guard;
        std::uint64_t k = 0;
        for (auto& parameter : parameters()) {
            const double scale = k == 0 ? 1.0 : 1.0 / std::sqrt(static_cast<double>(r.hidden));
            parameter.copy_(filled(1 + k++, parameter.sizes(), scale));
        }
    }

    Tensor forward(const Tensor& ids) { return head->forward(rnn(embed->forward(ids))); }
};

/// Row b of the batch is a text of its own, tokens(7 + b, T + 1): (inputs, targets), both (T, B).
std::pair<Tensor, Tensor> text(const Request& r) {
    auto all = torch::empty({r.seq_len + 1, r.batch}, torch::kLong);
    for (std::int64_t b = 0; b < r.batch; ++b) {
        const auto row =
            unroll::peers::tokens(7 + static_cast<std::uint64_t>(b), static_cast<std::size_t>(r.seq_len + 1), r.vocab);
        all.select(1, b).copy_(torch::tensor(row));
    }
    return {all.narrow(0, 0, r.seq_len).contiguous(), all.narrow(0, 1, r.seq_len).contiguous()};
}

Job train(const Request& r) {
    auto model = std::make_shared<CharModel>(r);
    auto adam = std::make_shared<torch::optim::Adam>(model->parameters(), torch::optim::AdamOptions(2e-3));
    auto last = std::make_shared<Tensor>();
    const auto [inputs, targets] = text(r);
    Job job;
    job.step = [=, ids = inputs, goal = targets.reshape({-1}), vocab = r.vocab] {
        adam->zero_grad();
        *last = torch::nn::functional::cross_entropy(model->forward(ids).reshape({-1, vocab}), goal);
        last->backward();
        torch::nn::utils::clip_grad_norm_(model->parameters(), 5.0);
        adam->step();
    };
    job.loss = [last] { return last->item<double>(); };
    return job;
}

Job recurrent(const Request& r) {
    auto rnn = std::make_shared<Recurrent>(r, r.input);
    torch::NoGradGuard guard;
    std::uint64_t k = 1;
    for (auto& parameter : rnn->module()->parameters())
        parameter.copy_(filled(k++, parameter.sizes(), 1.0 / std::sqrt(static_cast<double>(r.hidden))));
    auto x = filled(801, {r.seq_len, r.batch, r.input}, 1.0).requires_grad_();
    auto upstream = filled(901, {r.seq_len, r.batch, r.directions() * r.hidden}, 1.0);
    auto value = std::make_shared<Tensor>();
    const auto zeros = rnn->h;
    Job job;
    job.step = [=]() mutable {
        rnn->module()->zero_grad();
        x.mutable_grad() = Tensor();
        rnn->h = rnn->c = zeros;
        const auto y = rnn->operator()(x);
        y.backward(upstream);
        *value = y.detach();
    };
    job.gradient_norm = [rnn] {
        double sum = 0;
        for (const auto& parameter : rnn->module()->parameters())
            if (parameter.dim() == 2) sum += parameter.grad().square().sum().item<double>();
        return std::sqrt(sum);
    };
    job.loss = [value, upstream] { return (*value * upstream).sum().item<double>(); };
    return job;
}

/// An LSTM cell as one writes it who has only elementary ops.
Job cell(const Request& r) {
    const double scale = 1.0 / std::sqrt(static_cast<double>(r.hidden));
    const auto wx = filled(1, {r.input, 4 * r.hidden}, scale).requires_grad_();
    const auto wh = filled(2, {r.hidden, 4 * r.hidden}, scale).requires_grad_();
    const auto bias = filled(3, {4 * r.hidden}, scale).requires_grad_();
    const auto x = filled(801, {r.seq_len, r.batch, r.input}, 1.0);
    const auto upstream = filled(901, {r.seq_len, r.batch, r.hidden}, 1.0);
    const auto zeros = torch::zeros({r.batch, r.hidden});
    auto last = std::make_shared<Tensor>();
    Job job;
    job.step = [=, steps = r.seq_len] {
        for (auto w : {wx, wh, bias})
            if (w.grad().defined()) w.mutable_grad().zero_();
        auto h = zeros, c = zeros;
        std::vector<Tensor> outputs;
        for (std::int64_t t = 0; t < steps; ++t) {
            const auto gates = (x[t].mm(wx) + h.mm(wh) + bias).chunk(4, 1);
            const auto i = torch::sigmoid(gates[0]), f = torch::sigmoid(gates[1]);
            const auto g = torch::tanh(gates[2]), o = torch::sigmoid(gates[3]);
            c = f * c + i * g;
            h = o * torch::tanh(c);
            outputs.push_back(h);
        }
        *last = (torch::stack(outputs) * upstream).sum();
        last->backward();
    };
    job.loss = [last] { return last->item<double>(); };
    return job;
}

/// The classic loop on libtorch's layers: one-hot input, Adagrad 0.1, element-wise clip at 5, state carried.
Job min_char_rnn(const Request& r) {
    auto rnn = std::make_shared<Recurrent>(r, r.vocab);
    auto head = torch::nn::Linear(r.hidden, r.vocab);
    auto parameters = rnn->module()->parameters();
    for (const auto& parameter : head->parameters()) parameters.push_back(parameter);
    {
        torch::NoGradGuard guard;
        for (auto& parameter : parameters) parameter.dim() == 2 ? parameter.normal_(0, 0.01) : parameter.zero_();
    }
    auto adagrad = std::make_shared<torch::optim::Adagrad>(parameters, torch::optim::AdagradOptions(0.1));
    const auto stream = torch::tensor(unroll::peers::tokens(7, 100001, r.vocab));
    auto last = std::make_shared<Tensor>();
    Job job;
    job.step = [=, position = std::int64_t{0}, steps = r.seq_len, vocab = r.vocab]() mutable {
        if (position + steps + 1 > stream.size(0)) {
            position = 0;
            rnn->h = torch::zeros_like(rnn->h);
        }
        const auto x = torch::one_hot(stream.narrow(0, position, steps), vocab).to(torch::kFloat).unsqueeze(1);
        const auto goal = stream.narrow(0, position + 1, steps);
        position += steps;
        adagrad->zero_grad();
        const auto logits = head->forward(rnn->operator()(x)).squeeze(1);
        *last = torch::nn::functional::cross_entropy(
            logits, goal, torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
        last->backward();
        torch::nn::utils::clip_grad_value_(parameters, 5.0);
        adagrad->step();
    };
    job.loss = [last, steps = r.seq_len] { return last->item<double>() / static_cast<double>(steps); };
    job.facts["units"] = r.seq_len;
    return job;
}

Job inference(const Request& r) {
    auto model = std::make_shared<CharModel>(r);
    model->eval();
    Job job;
    job.step = [model, ids = text(r).first] {
        torch::NoGradGuard guard;
        model->forward(ids);
    };
    job.facts["units"] = r.seq_len * r.batch;
    return job;
}

Job sample(const Request& r) {
    auto model = std::make_shared<CharModel>(r);
    model->eval();
    Job job;
    constexpr std::int64_t kCharacters = 500;
    job.step = [model, id = torch::zeros({1, 1}, torch::kLong)]() mutable {
        torch::NoGradGuard guard;
        for (std::int64_t k = 0; k < kCharacters; ++k)
            id = torch::multinomial(torch::softmax(model->forward(id).reshape({1, -1}), 1), 1);
    };
    job.facts["units"] = kCharacters;
    return job;
}

Job set_up(const Request& r) {
    at::set_num_threads(r.threads);
    torch::manual_seed(1);
    if (r.mode == "train") return train(r);
    if (r.mode == "recurrent") return recurrent(r);
    if (r.mode == "cell" && r.cell == "lstm" && r.layers == 1 && !r.bidirectional) return cell(r);
    if (r.mode == "min_char_rnn" && r.batch == 1 && !r.bidirectional) return min_char_rnn(r);
    if (r.mode == "inference") return inference(r);
    if (r.mode == "sample" && r.batch == 1 && !r.bidirectional) return sample(r);
    unroll::peers::unsupported(r);
}

}  // namespace

int main() { return unroll::peers::serve(set_up); }
