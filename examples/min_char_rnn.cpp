// min_char_rnn: the classic character model in a page (A. Karpathy, "min-char-rnn", 2015), its loop on our layers.
//
//     min_char_rnn FILE [STEPS [LEARNING_RATE]]
//
// Reads 25 characters at a time, predicts the next one at each, and from time to time writes text of its own.
#include <unroll/unroll.hpp>

#include <fmt/format.h>

#include <cmath>

using namespace unroll;

int main(int argc, char** argv) try {
    if (help_shown(argc, argv, "min_char_rnn FILE [STEPS [LEARNING_RATE]]")) return 0;
    const std::string text = read_text_file(argv[1]);
    const Vocabulary vocabulary = Vocabulary::from_text(text);
    const Index V = vocabulary.size(), H = 100, T = 25;
    const Index steps = argc > 2 ? parse_count(argv[2], "the number of steps") : 100'000;
    const IntTensor ids = vocabulary.encode(text);
    fmt::print("{} characters, {} distinct\n", ids.size(), V);

    ParameterStore<float> store(/*seed=*/1);
    const Scope<float> at(store);
    const RNN<float> rnn(at / "rnn", {.input_size = V, .hidden_size = H});
    const Linear<float> head(at / "head", {.in_features = H, .out_features = V});
    RandomStream random(1, "weights and samples");
    for (auto* entry : store.entries())  // small weights, no biases
        for (float& weight : store.at(entry->name).mutable_value())
            weight = entry->shape.rank() == 2 ? static_cast<float>(0.01 * random.normal()) : 0.0f;
    store.freeze("rnn.bias_hh_l0");  // PyTorch's second bias, which the classic loop does not have
    Adagrad<float> optimizer(store, {.lr = argc > 3 ? parse_number(argv[3], "the learning rate") : 0.1, .eps = 1e-4});
    StreamBatcher batches(ids, {.batch_size = 1, .seq_len = T});
    SmoothedLoss smooth(0.999, T * std::log(V));  // nats per 25 characters
    std::optional<RNN<float>::State> state;
    InterruptGuard interrupt;  // Ctrl-C ends the loop
    ProgressBar bar({.loss_unit = "nats per window", .speed_unit = "chars/s"});

    for (Index step = 0; step <= steps && !interrupt.requested(); ++step) {
        const StreamBatch& batch = batches.next();
        if (batch.starts_pass) state.reset();
        if (step % 1000 == 0) {
            std::string sample = fmt::format("---- step {}, loss {:.5g} ----\n", step, smooth.value());
            std::optional<RNN<float>::State> memory = state;
            IntTensor token = IntTensor::from_shape({1, 1});
            token(0, 0) = batch.inputs(0, 0);
            for (int i = 0; i < 200; ++i) {
                auto [output, after] = rnn(one_hot<float>(token, V), memory);
                memory = after;
                token(0, 0) = Sampler()(head(output), random);
                sample += vocabulary.decode(token(0, 0));
            }
            bar.print(sample);
        }
        Tape<float> tape;
        auto [output, after] = rnn(one_hot<float>(batch.inputs, V), state);
        const Var<float> loss = cross_entropy(head(output), batch.targets, {.reduction = Reduction::sum});
        state = after;  // carried on; the gradient does not flow back over the cut between two windows
        optimizer.zero_grad();
        backward(loss);
        clip_grad_value(store, 5.0);
        optimizer.step();
        smooth.add(loss.item());
        bar.update({.step = step, .steps = steps, .train_loss = smooth.value()});
    }
    bar.finish();
    check_output();
    return interrupt.exit_code();
} catch (const std::exception& error) {
    fmt::print(stderr, "min_char_rnn: {}\n", error.what());
    return 1;
}
