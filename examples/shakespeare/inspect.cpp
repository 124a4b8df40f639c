// The command `inspect`: prints a file's header for people. A file of unroll is read whole, which tells damage.
#include "inspect.hpp"

#include <unroll/data/number_text.hpp>
#include <unroll/data/vocabulary.hpp>
#include <unroll/io/checkpoint.hpp>
#include <unroll/train/terminal.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace shakespeare {

using namespace unroll;

namespace {

/// The characters of a vocabulary on one line; nothing if it is none.
std::string characters_of(const nlohmann::json& json) {
    try {
        const Vocabulary vocabulary = Vocabulary::from_json(json);
        std::string text;
        for (Index id = 0; id < vocabulary.size(); ++id) {
            const std::string character = vocabulary.decode(id);
            text += character == "\n" ? "\\n" : character == "\t" ? "\\t" : without_controls(character);
        }
        return fmt::format("{} characters: {}", vocabulary.size(), text);
    } catch (const Error&) {
        return {};
    }
}

/// A JSON object field by field on one line, nested ones as JSON.
std::string fields_of(const nlohmann::json& json) {
    if (!json.is_object()) return json.is_string() ? json.get<std::string>() : json.dump();
    std::string text;
    for (const auto& [key, value] : json.items())
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key,
                            value.is_string() ? value.get<std::string>() : value.dump());
    return text;
}

}  // namespace

int run(const InspectOptions& options) {
    const SafetensorsInfo info = read_safetensors_info(options.model);
    const std::string_view kind = kind_of(info);
    if (kind == "model") load_model(options.model);
    if (kind == "checkpoint") load_checkpoint(options.model);
    std::vector<std::pair<std::string, std::string>> fields{
        {"file", options.model.string()},
        {"kind", kind.empty() ? "safetensors file of another program" : fmt::format("{} of unroll", kind)},
        {"size", with_commas(static_cast<Index>(info.file_bytes)) + " bytes"}};
    for (const StateDict::Entry& entry : info.metadata.entries()) {
        if (entry.name == "unroll") continue;
        const nlohmann::json json = info.metadata.json(entry.name);
        std::string text = entry.name.ends_with("vocabulary") ? characters_of(json) : std::string();
        if (text.empty()) text = fields_of(json);
        fields.emplace_back(without_controls(entry.name), without_controls(text));
    }
    std::size_t wide_field = 0;
    for (const auto& [name, text] : fields) wide_field = std::max(wide_field, name.size());
    for (const auto& [name, text] : fields) fmt::print("{:<{}}  {}\n", name, wide_field, text);

    std::size_t wide = 4;
    Index numbers = 0;
    for (const auto& tensor : info.tensors) {
        wide = std::max(wide, tensor.name.size());
        numbers += tensor.shape.size();
    }
    fmt::print("\n{:<{}}  {:<5} {:>14}  {}\n", "tensor", wide, "type", "numbers", "shape");
    for (const auto& tensor : info.tensors)
        fmt::print("{:<{}}  {:<5} {:>14}  {}\n", without_controls(tensor.name), wide, to_string(tensor.dtype),
                   with_commas(tensor.shape.size()), to_string(tensor.shape));
    fmt::print("{:<{}}  {:<5} {:>14}\n", "together", wide, "", with_commas(numbers));
    return 0;
}

}  // namespace shakespeare
