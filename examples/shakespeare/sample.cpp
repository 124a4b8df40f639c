// Writing text, and the command `sample`.
#include "sample.hpp"

#include "corpus.hpp"

#include <unroll/train/interrupt.hpp>
#include <unroll/train/terminal.hpp>

#include <cstdio>

namespace shakespeare {

using namespace unroll;

void generate(const CharModel<float>& model, const IntTensor& prime, Index length, const Sampler& sampler,
              RandomStream& random, const std::function<bool(Index)>& take) {
    if (length <= 0) return;
    const Var<float> table = model.table();
    CharModel<float>::State state;
    IntTensor token = IntTensor::from_shape({1, 1});
    Var<float> logits;
    for (const std::int64_t id : prime) {
        token(0, 0) = id;
        logits = model(token, state, table);
    }
    for (Index written = 0;;) {
        token(0, 0) = sampler(logits, random);
        if (!take(token(0, 0)) || ++written == length) return;
        logits = model(token, state, table);
    }
}

int run(const SampleOptions& options) {
    const Sampler sampler({.temperature = options.temperature, .top_k = options.top_k, .top_p = options.top_p});
    const SavedModel saved = read_model(options.model);
    const IntTensor prime = encode_prime(saved.vocabulary, options.prime);
    RandomStream random(options.seed, "sample");
    InterruptGuard interrupt;
    // What a model wrote must not move a terminal's cursor; in a file or a pipe it stays as it is.
    const bool terminal = inspect_terminal(1).interactive;
    const auto show = [&](const std::string& text) {
        const std::string shown = terminal ? without_controls(text) : text;
        std::fwrite(shown.data(), 1, shown.size(), stdout);
    };
    show(options.prime);
    generate(*saved.model, prime, options.length, sampler, random, [&](Index id) {
        const std::string text = saved.vocabulary.decode(id);
        show(text);
        if (terminal || text == "\n") std::fflush(stdout);  // a pipe gets whole lines
        return !interrupt.requested() && std::ferror(stdout) == 0;
    });
    show("\n");
    return interrupt.exit_code();
}

}  // namespace shakespeare
