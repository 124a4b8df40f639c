// The command `inspect`: reads a file's header and prints it for people.
#include "inspect.hpp"

#include <unroll/data/number_text.hpp>
#include <unroll/data/vocabulary.hpp>
#include <unroll/io/checkpoint.hpp>
#include <unroll/train/terminal.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

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

void print_field(const std::string& name, const std::string& text) { fmt::print("{:<14}{}\n", name, text); }

/// A JSON object field by field, nested ones on one line.
void print_object(const std::string& name, const nlohmann::json& json) {
    std::string text;
    for (const auto& [key, value] : json.items())
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key,
                            value.is_string() ? value.get<std::string>() : value.dump());
    print_field(name, without_controls(text));
}

}  // namespace

int run(const InspectOptions& options) {
    const SafetensorsInfo info = read_safetensors_info(options.model);
    const std::string_view kind = kind_of(info);
    print_field("file", options.model.string());
    print_field("kind", kind.empty() ? "safetensors file of another program" : fmt::format("{} of unroll", kind));
    print_field("size", with_commas(static_cast<Index>(info.file_bytes)) + " bytes");
    const StateDict& metadata = info.metadata;
    for (const StateDict::Entry& entry : metadata.entries()) {
        if (entry.name == "unroll") continue;
        const nlohmann::json json = metadata.json(entry.name);
        std::string known;
        if (entry.name.ends_with("vocabulary")) known = characters_of(json);
        if (!known.empty())
            print_field(entry.name, known);
        else if (json.is_object())
            print_object(entry.name, json);
        else
            print_field(entry.name, without_controls(json.is_string() ? json.get<std::string>() : json.dump()));
    }
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
