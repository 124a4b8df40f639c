// custom_cell [LEARNING_RATE]: a cell of your own, defined, proven, trained. Change the first struct; the rest stays.
#include <fmt/format.h>
#include <unroll/autograd/gradcheck.hpp>
#include <unroll/data/number_text.hpp>
#include <unroll/layers/stacked.hpp>
#include <unroll/optim/optimizer.hpp>
#include <unroll/train/progress.hpp>

using namespace unroll;

// 1. The cell: a minimal gated unit (Zhou et al. 2016). One gate f says how much of the state h is new.
//        f  = σ(W_f x + U_f h + b_f),   n = tanh(W_n x + U_n (f ⊙ h) + b_n),   h' = h + f ⊙ (n − h)
// A cell is one step in time and keeps nothing. `Real` is float where it trains, double or a dual number where it is checked.
template <class Real>
struct MinimalGatedUnit {
    static constexpr int kStates = 1;  // arrays in the state; an LSTM has two
    Index hidden;
    Linear<Real> input, gate, candidate;
    MinimalGatedUnit(Scope<Real> at, Size in, Size size)  // `at`: where its parameters go, and what they are called
        : hidden(size),
          input(at / "input", {.in_features = in, .out_features = 2 * size}),
          gate(at / "gate", {.in_features = size, .out_features = size, .bias = false}),
          candidate(at / "candidate", {.in_features = size, .out_features = size, .bias = false}) {}
    Index state_size(int) const { return hidden; }
    Var<Real> project(Var<Real> x) const { return input(x); }  // optional: W x + b, one product for all time steps
    State<Real, 1> step(Var<Real> x, State<Real, 1> state) const {
        const Var<Real> h = state[0];
        const auto parts = split(x, 2);
        const Var<Real> f = sigmoid(parts[0] + gate(h));
        const Var<Real> n = tanh(parts[1] + candidate(f * h));
        return {h + f * (n - h)};
    }
};

// 2. A model: Stacked makes layers of any cell. The task: at each of the numbers ±1, is the sum so far above that to come?
template <class Real>
struct Balance : Module {
    Stacked<Real, MinimalGatedUnit<Real>> rnn;
    Linear<Real> head;
    Balance(Scope<Real> at, Size hidden)
        : rnn(at / "rnn", 1, hidden, {.num_layers = 2, .bidirectional = true}),
          head(at / "head", {.in_features = rnn.output_size(), .out_features = 2}) {}
    Var<Real> operator()(Var<Real> x) const { return head(rnn(x).output); }  // (T, B, 1) to logits (T, B, 2)
};

int main(int argc, char** argv) try {
    if (help_shown(argc, argv, "custom_cell [LEARNING_RATE]")) return 0;
    // 3. The proof: the gradient of every parameter, against differences and against dual numbers, which are exact.
    const auto proof = gradcheck([](auto& m, auto x) { return m(x); }, twin<Balance>(3), full<double>({5, 2, 1}, 0.7));
    if (!proof) return fmt::print("{}\n", proof), 1;
    fmt::print("gradients: {} entries are right, the worst to {:.0e}\n", proof.entries(), proof.worst().error);
    // 4. Training, each step on 32 new sequences of 20 numbers.
    ParameterStore<float> store(/*seed=*/1);
    const Balance<float> model(store, 16);
    AdamW<float> optimizer(store, {.lr = argc > 1 ? parse_number(argv[1], "the learning rate") : 3e-3});
    RandomStream random(/*seed=*/7);
    Tensor<float> x = empty<float>({20, 32, 1});
    IntTensor answers = IntTensor::from_shape({20, 32});
    ProgressBar bar({.loss_unit = "nats"});
    double sum = 0;
    for (int step = 1; step <= 250; ++step) {
        for (int row = 0; row < 32; ++row) {
            float all = 0, so_far = 0;
            for (int t = 0; t < 20; ++t) all += x(t, row, 0) = random.below(2) == 0 ? -1.0f : 1.0f;
            for (int t = 0; t < 20; ++t) answers(t, row) = 2 * (so_far += x(t, row, 0)) > all;
        }
        Tape<float> tape;  // writes down what is computed …
        const Var<float> loss = cross_entropy(model(x), answers);
        optimizer.zero_grad();
        backward(loss);  // … and goes through it backwards
        optimizer.step();
        sum += loss.item();
        bar.update({.step = step, .steps = 250, .train_loss = loss.item()});
        if (step % 50 == 0) bar.print(fmt::format("steps to {:3}: loss {:.4g} nats", step, std::exchange(sum, 0) / 50));
    }
    bar.finish(), check_output();
} catch (const std::exception& error) {
    return fmt::print(stderr, "custom_cell: {}\n", error.what()), 1;
}
