// The characters a model knows, and their numbers. It knows nothing of files and batches.
#pragma once

#include <unroll/autograd/tensor.hpp>

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace unroll {

struct VocabularyOptions {
    /// One more id, the last, for every character that the vocabulary does not have. It is decoded as U+FFFD (�).
    bool add_unknown = false;
};

/// Characters (UTF-8 code points) ↔ ids 0 … size() − 1.
///
/// An id stands for the same character for ever once the vocabulary is built; a model keeps it in its file (`to_json`).
class Vocabulary {
public:
    /// The distinct characters of `text` in the order of their code points. ValueError: text is empty or not UTF-8.
    static Vocabulary from_text(std::string_view text, const VocabularyOptions& options = {});

    /// The given characters in the given order. ValueError: none, one twice, a surrogate or above U+10FFFF.
    explicit Vocabulary(std::u32string characters, const VocabularyOptions& options = {});

    /// Number of ids, that of the unknown one included.
    Index size() const noexcept;
    bool contains(char32_t character) const noexcept { return id_or_negative(character) >= 0; }
    /// The character of an id (U+FFFD for the unknown one). IndexError: id outside [0, size()).
    char32_t at(Index id) const;
    /// The id of a character; the unknown id where there is one. ValueError: neither.
    Index id(char32_t character) const;
    std::optional<Index> unknown_id() const noexcept;

    /// Ids (N,) of a text of N characters. A character that the vocabulary does not have becomes `replacement` if one
    /// is given, else the unknown id if there is one, else it is a ValueError that names it, its position (from 0), line
    /// and column (from 1). Invalid UTF-8: ValueError; a replacement outside [0, size()): IndexError.
    IntTensor encode(std::string_view text, std::optional<Index> replacement = std::nullopt) const;

    /// The UTF-8 text of ids of any shape, in row-major order. IndexError: id outside [0, size()).
    std::string decode(const IntTensor& ids) const;
    /// The UTF-8 text of one id, for text that is written as it is made.
    std::string decode(Index id) const;

    /// {"type": "characters", "characters": "…", "unknown": false}; `from_json` is its inverse. ValueError: not that.
    nlohmann::json to_json() const;
    static Vocabulary from_json(const nlohmann::json& json);

    bool operator==(const Vocabulary& other) const noexcept;

private:
    Index id_or_negative(char32_t character) const noexcept;

    std::u32string characters_;  // by id
    bool has_unknown_ = false;
    std::array<std::int32_t, 128> ascii_ids_{};  // −1: not there
    std::unordered_map<char32_t, std::int32_t> other_ids_;
};

}  // namespace unroll
