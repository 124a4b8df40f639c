// A one-page model in libtorch, only ever compiled: scripts/bench-peers times the compiler on it. It is what its user
// writes for a recurrent cell of their own: the cell, a loop through time, a model around it, a few steps of training.
#include <iostream>
#include <utility>
#include <vector>

#include <torch/torch.h>

/// A cell with one gate: h' = (1 − z) ⊙ h + z ⊙ tanh(W x + U h + b), z = σ(W_z x + U_z h + b_z).
struct GateCellImpl : torch::nn::Module {
    torch::nn::Linear from_input, from_state;
    std::int64_t hidden;

    GateCellImpl(std::int64_t input_size, std::int64_t hidden_size)
        : from_input(input_size, 2 * hidden_size),
          from_state(torch::nn::LinearOptions(hidden_size, 2 * hidden_size).bias(false)),
          hidden(hidden_size) {
        register_module("from_input", from_input);
        register_module("from_state", from_state);
    }

    torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& h) {
        const auto parts = (from_input(x) + from_state(h)).chunk(2, 1);
        const auto z = torch::sigmoid(parts[0]);
        return (1 - z) * h + z * torch::tanh(parts[1]);
    }
};
TORCH_MODULE(GateCell);

struct CharModel : torch::nn::Module {
    torch::nn::Embedding embed;
    GateCell cell;
    torch::nn::Linear head;

    CharModel(std::int64_t vocab, std::int64_t hidden) : embed(vocab, 16), cell(16, hidden), head(hidden, vocab) {
        register_module("embed", embed);
        register_module("cell", cell);
        register_module("head", head);
    }

    torch::Tensor forward(const torch::Tensor& ids) {
        const auto x = embed(ids);
        auto h = torch::zeros({ids.size(1), cell->hidden});
        std::vector<torch::Tensor> outputs;
        for (std::int64_t t = 0; t < ids.size(0); ++t) {
            h = cell(x[t], h);
            outputs.push_back(h);
        }
        return head(torch::stack(outputs));
    }
};

int main() {
    torch::manual_seed(1);
    constexpr std::int64_t kVocab = 12, kSteps = 20, kBatch = 8;
    CharModel model(kVocab, 32);
    torch::optim::Adam adam(model.parameters(), torch::optim::AdamOptions(1e-2));
    for (int step = 0; step < 200; ++step) {
        const auto start = torch::randint(kVocab, {1, kBatch});
        const auto ids = torch::remainder(start + torch::arange(kSteps + 1).unsqueeze(1) * 5, kVocab);
        adam.zero_grad();
        const auto logits = model.forward(ids.narrow(0, 0, kSteps)).reshape({-1, kVocab});
        const auto loss = torch::nn::functional::cross_entropy(logits, ids.narrow(0, 1, kSteps).reshape({-1}));
        loss.backward();
        torch::nn::utils::clip_grad_norm_(model.parameters(), 1.0);
        adam.step();
        if (step % 50 == 0) std::cout << step << ' ' << loss.item<double>() << '\n';
    }
    torch::save(model.parameters(), "model.pt");
}
