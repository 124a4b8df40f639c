// hello: a recurrent network with three hidden numbers learns to spell "hello".
//
//     hello [LEARNING_RATE]
//
// It reads h, e, l, l, and is to say at each letter which one comes next: h → e, e → l, l → l, l → o. After an l there
// is no telling from the letter alone: the network has to remember whether it has seen an l before. Shown are its
// predictions before and after training, and the word that it writes from "h" by reading its own output. The exit code
// is 0 if that word is "hello".
#include <unroll/data/number_text.hpp>
#include <unroll/layers/rnn.hpp>
#include <unroll/optim/optimizer.hpp>
#include <unroll/train/progress.hpp>

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <string_view>

using namespace unroll;

namespace {

constexpr std::string_view kLetters = "helo";
constexpr Index kHidden = 3;
const IntTensor kInput{0, 1, 2, 2};   // h e l l
const IntTensor kTarget{1, 2, 2, 3};  // e l l o

/// One-hot letters (T, 4) to logits (T, 4) of the letters that follow.
struct Speller : Module {
    RNN<float> rnn;
    Linear<float> head;

    explicit Speller(Scope<float> at)
        : rnn(at / "rnn", {.input_size = 4, .hidden_size = kHidden}),
          head(at / "head", {.in_features = kHidden, .out_features = 4}) {}

    /// `state` is what the network remembers: it goes in, and comes out changed.
    Var<float> operator()(const IntTensor& letters, std::optional<RNN<float>::State>& state) const {
        auto [output, after] = rnn(one_hot<float>(letters, 4), state);
        state = after;
        return head(output);
    }
    Var<float> read(const IntTensor& letters) const {
        std::optional<RNN<float>::State> nothing;
        return (*this)(letters, nothing);
    }
};

// ---- What is shown ----

const Terminal kTerminal = inspect_terminal(1);

std::string styled(std::string_view style, std::string_view text) {
    return kTerminal.colors ? fmt::format("\x1b[{}m{}\x1b[0m", style, text) : std::string(text);
}

/// A share in [0, 1] as a bar of so many columns, to an eighth of a column where there are characters for it.
std::string bar(double share, int columns) {
    static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const int eighths = static_cast<int>(std::lround(share * columns * 8));
    std::string text;
    for (int i = 0; i < eighths / 8; ++i) text += kTerminal.unicode ? "█" : "#";
    if (kTerminal.unicode)
        text += kEighths[eighths % 8];
    else if (eighths % 8 >= 4)
        text += '-';
    return text + std::string(static_cast<std::size_t>(columns - columns_of(text)), ' ');
}

/// A line for each time step: the letter read, how likely each letter is to follow, the one that does. Returns the loss.
double show(const Speller& model, std::string_view when) {
    const Var<float> logits = model.read(kInput);
    const double loss = cross_entropy(logits, kTarget).item();
    if (!std::isfinite(loss)) throw ValueError("the network has diverged: try a smaller learning rate");
    const Var<float> shares = softmax(logits);
    const IntTensor best = argmax(logits);
    fmt::print("\n  {} {}\n\n", styled("1", when), fmt::format("(loss {:.4g} nats per letter)", loss));
    fmt::print("  step  reads");
    for (const char letter : kLetters) fmt::print("   {:<11}", letter);
    fmt::print("   next\n");
    for (Index t = 0; t < 4; ++t) {
        fmt::print("  {:>3}     {}  ", t + 1, styled("1", kLetters.substr(static_cast<std::size_t>(kInput(t)), 1)));
        for (Index k = 0; k < 4; ++k) {
            const double share = shares.data()[4 * t + k];
            const bool chosen = k == best(t), wanted = k == kTarget(t);
            const std::string text = fmt::format("{} {:3.0f}%", bar(share, 6), 100 * share);
            fmt::print("   {}", styled(chosen ? (wanted ? "32" : "31") : "90", text));
        }
        const bool right = best(t) == kTarget(t);
        const std::string_view mark = right ? (kTerminal.unicode ? "✓" : "yes") : (kTerminal.unicode ? "✗" : "no");
        fmt::print("    {} {}\n", styled("1", kLetters.substr(static_cast<std::size_t>(kTarget(t)), 1)),
                   styled(right ? "32" : "31", mark));
    }
    return loss;
}

/// Four letters after "h", each the most likely one after those before it.
std::string write_from_h(const Speller& model) {
    std::string word = "h";
    std::optional<RNN<float>::State> state;
    while (word.size() < 5) {
        const IntTensor last{static_cast<Index>(kLetters.find(word.back()))};
        word += kLetters[static_cast<std::size_t>(argmax(model(last, state))(0))];
    }
    return word;
}

}  // namespace

int main(int argc, char** argv) try {
    if (help_shown(argc, argv, "hello [LEARNING_RATE]")) return 0;
    const double lr = argc > 1 ? parse_number(argv[1], "the learning rate") : 0.03;
    ParameterStore<float> store(/*seed=*/1);
    const Speller model(store);
    Adam<float> optimizer(store, {.lr = lr});
    fmt::print("\n  A network of {} hidden units, {} weights, learns what comes next in \"hello\".\n", kHidden,
               store.parameter_count());
    show(model, "Before training");

    fmt::print("\n  {}\n\n", styled("1", "Training"));
    ProgressBar bar({.loss_unit = "nats per letter"});
    for (int step = 1; step <= 100; ++step) {
        Tape<float> tape;  // from here on, what happens to the weights is written down …
        const Var<float> loss = cross_entropy(model.read(kInput), kTarget);
        optimizer.zero_grad();
        backward(loss);  // … and gone through backwards, from the loss to each weight
        optimizer.step();
        bar.update({.step = step, .steps = 100, .train_loss = loss.item(), .fraction = step / 100.0});
    }
    bar.finish();

    show(model, "After training");
    const std::string word = write_from_h(model);
    const bool learned = word == "hello";
    fmt::print("\n  From \"h\" it writes: {}\n\n", styled(learned ? "1;32" : "1;31", word));
    check_output();
    return learned ? 0 : 1;
} catch (const std::exception& error) {
    fmt::print(stderr, "hello: {}\n", error.what());
    return 1;
}
