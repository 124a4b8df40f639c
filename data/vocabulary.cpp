// Building, encoding, decoding, and the JSON form.
#include <unroll/autograd/error.hpp>
#include <unroll/data/utf8.hpp>
#include <unroll/data/vocabulary.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace unroll {
namespace {

constexpr char32_t kReplacementCharacter = 0xFFFD;

[[noreturn]] void fail_unknown(const std::u32string& text, std::size_t at) {
    const std::size_t line = 1 + static_cast<std::size_t>(std::count(text.begin(), text.begin() + at, U'\n'));
    const std::size_t newline = at == 0 ? std::u32string::npos : text.rfind(U'\n', at - 1);
    const std::size_t column = newline == std::u32string::npos ? at + 1 : at - newline;
    detail::fail_value("Vocabulary", fmt::format("{} at position {} (line {}, column {}) is not in the "
                                                 "vocabulary",
                                                 describe_code_point(text[at]), at, line, column));
}

void check_id(Index id, Index size, std::string_view what) {
    if (id < 0 || id >= size) detail::fail_index("Vocabulary", fmt::format("{} {} is outside [0, {})", what, id, size));
}

}  // namespace

Vocabulary Vocabulary::from_text(std::string_view text, const VocabularyOptions& options) {
    std::u32string characters = decode_utf8(text);
    if (characters.empty()) detail::fail_value("Vocabulary", "an empty text has no characters");
    std::sort(characters.begin(), characters.end());
    characters.erase(std::unique(characters.begin(), characters.end()), characters.end());
    return Vocabulary(std::move(characters), options);
}

Vocabulary::Vocabulary(std::u32string characters, const VocabularyOptions& options)
    : characters_(std::move(characters)), has_unknown_(options.add_unknown) {
    if (characters_.empty()) detail::fail_value("Vocabulary", "a vocabulary needs at least one character");
    ascii_ids_.fill(-1);
    for (std::size_t id = 0; id < characters_.size(); ++id) {
        const char32_t character = characters_[id];
        if (character > 0x10FFFF || (character >= 0xD800 && character <= 0xDFFF))
            detail::fail_value("Vocabulary", fmt::format("{} is not a character", describe_code_point(character)));
        if (contains(character))
            detail::fail_value("Vocabulary", fmt::format("{} is there twice", describe_code_point(character)));
        if (character < 128)
            ascii_ids_[character] = static_cast<std::int32_t>(id);
        else
            other_ids_.emplace(character, static_cast<std::int32_t>(id));
    }
}

Index Vocabulary::size() const noexcept { return static_cast<Index>(characters_.size()) + (has_unknown_ ? 1 : 0); }

char32_t Vocabulary::at(Index id) const {
    check_id(id, size(), "id");
    const auto position = static_cast<std::size_t>(id);
    return position < characters_.size() ? characters_[position] : kReplacementCharacter;
}

Index Vocabulary::id_or_negative(char32_t character) const noexcept {
    if (character < 128) return ascii_ids_[character];
    const auto found = other_ids_.find(character);
    return found == other_ids_.end() ? -1 : found->second;
}

Index Vocabulary::id(char32_t character) const {
    const Index id = id_or_negative(character);
    if (id >= 0) return id;
    if (has_unknown_) return size() - 1;
    detail::fail_value("Vocabulary", fmt::format("{} is not in the vocabulary", describe_code_point(character)));
}

std::optional<Index> Vocabulary::unknown_id() const noexcept {
    return has_unknown_ ? std::optional<Index>(size() - 1) : std::nullopt;
}

IntTensor Vocabulary::encode(std::string_view text, std::optional<Index> replacement) const {
    if (replacement) check_id(*replacement, size(), "the replacement id");
    const std::u32string characters = decode_utf8(text);
    const Index stand_in = replacement ? *replacement : has_unknown_ ? size() - 1 : -1;
    IntTensor ids = IntTensor::from_shape({characters.size()});
    std::int64_t* out = ids.data();
    for (std::size_t i = 0; i < characters.size(); ++i) {
        Index id = id_or_negative(characters[i]);
        if (id < 0) id = stand_in;
        if (id < 0) fail_unknown(characters, i);
        out[i] = id;
    }
    return ids;
}

std::string Vocabulary::decode(const IntTensor& ids) const {
    std::string text;
    text.reserve(ids.size());
    for (const std::int64_t id : ids) append_utf8(text, at(id));
    return text;
}

std::string Vocabulary::decode(Index id) const {
    std::string text;
    append_utf8(text, at(id));
    return text;
}

nlohmann::json Vocabulary::to_json() const {
    return {{"type", "characters"}, {"characters", encode_utf8(characters_)}, {"unknown", has_unknown_}};
}

Vocabulary Vocabulary::from_json(const nlohmann::json& json) {
    const auto field = [&](const char* name) -> const nlohmann::json* {
        if (!json.is_object()) return nullptr;
        const auto found = json.find(name);
        return found == json.end() ? nullptr : &*found;
    };
    const nlohmann::json* type = field("type");
    const nlohmann::json* characters = field("characters");
    const nlohmann::json* unknown = field("unknown");
    if (!type || !type->is_string() || *type != "characters" || !characters || !characters->is_string() || !unknown ||
        !unknown->is_boolean())
        detail::fail_value("Vocabulary", "the JSON value must be an object with \"type\": \"characters\", a string "
                                         "\"characters\" and a boolean \"unknown\"");
    return Vocabulary(decode_utf8(characters->get_ref<const std::string&>()), {.add_unknown = unknown->get<bool>()});
}

bool Vocabulary::operator==(const Vocabulary& other) const noexcept {
    return characters_ == other.characters_ && has_unknown_ == other.has_unknown_;
}

}  // namespace unroll
