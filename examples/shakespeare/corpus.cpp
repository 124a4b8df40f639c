// Reading a text and encoding it.
#include "corpus.hpp"

#include <unroll/data/text_file.hpp>

#include <fmt/format.h>

namespace shakespeare {

using namespace unroll;

Corpus read_corpus(const std::filesystem::path& path, double val_fraction,
                   const std::optional<Vocabulary>& vocabulary) {
    const std::string text = read_text_file(path);
    try {
        Vocabulary known = vocabulary ? *vocabulary : Vocabulary::from_text(text);
        IntTensor ids = known.encode(text);
        TrainValidationSplit split = split_train_validation(static_cast<Index>(ids.size()), val_fraction);
        if (split.validation.size() == 1)
            throw ValueError("the validation part would be a single character, with nothing to predict");
        return {std::move(known), std::move(ids), std::move(split)};
    } catch (const ValueError& error) {
        throw ValueError(fmt::format("{}: {}", path.string(), error.what()));
    }
}

IntTensor encode_prime(const Vocabulary& vocabulary, const std::string& prime) {
    if (prime.empty()) return {vocabulary.contains(U'\n') ? vocabulary.id(U'\n') : 0};
    try {
        return vocabulary.encode(prime);
    } catch (const ValueError& error) {
        throw ValueError(fmt::format("--prime: {}", error.what()));
    }
}

}  // namespace shakespeare
