// A text as numbers, cut into the part that is learnt from and the part that measures. It knows no model.
#pragma once

#include <unroll/data/split.hpp>
#include <unroll/data/vocabulary.hpp>

#include <filesystem>
#include <optional>

namespace shakespeare {

using unroll::Index;

struct Corpus {
    unroll::Vocabulary vocabulary;
    unroll::IntTensor ids;  ///< (N,)
    unroll::TrainValidationSplit split;

    unroll::IntTensor train() const { return part_of(ids, split.train); }
    unroll::IntTensor validation() const { return part_of(ids, split.validation); }
};

/// Reads a text. Without a vocabulary its own characters are taken.
/// @throws unroll::Error in one line that names the file
Corpus read_corpus(const std::filesystem::path& path, double val_fraction,
                   const std::optional<unroll::Vocabulary>& vocabulary = std::nullopt);

/// The numbers of the text that a sample goes on from; of a new line (or else the first character known) if it is empty.
/// @throws unroll::ValueError naming the first character that is not in the vocabulary
unroll::IntTensor encode_prime(const unroll::Vocabulary& vocabulary, const std::string& prime);

}  // namespace shakespeare
