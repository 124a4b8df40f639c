// The strict parser of safetensors headers. It reads events, not a tree: hostile nesting ends it at the third level.
#include <unroll/io/detail/safetensors_header.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace unroll::detail {
namespace {

using nlohmann::json;

constexpr std::string_view kMetadata = "__metadata__";

/// Takes the parser's events one by one; the first that the format does not allow ends it by a HeaderFault.
class HeaderReader : public nlohmann::json_sax<json> {
public:
    SafetensorsHeader header;

    bool start_object(std::size_t) override {
        if (at_ == At::start) {
            at_ = At::top;
        } else if (at_ == At::entry && name_ == kMetadata) {
            at_ = At::metadata;
        } else if (at_ == At::entry) {
            tensor_ = TensorPlace{};
            lengths_.clear();
            offsets_.clear();
            seen_.fill(false);
            at_ = At::info;
        } else {
            wrong("an object");
        }
        return true;
    }

    bool key(std::string& key) override {
        if (at_ == At::top) {
            if (key.empty()) fail("a tensor has no name");
            if (!names_.insert(key).second) fail(fmt::format("the name {} is there twice", in_quotes(key)));
            name_ = std::move(key);
            at_ = At::entry;
        } else if (at_ == At::metadata) {
            if (key.empty() || key == kMetadata) fail(fmt::format("the metadata has a key {}", in_quotes(key)));
            if (!keys_.insert(key).second) fail(fmt::format("the metadata key {} is there twice", in_quotes(key)));
            key_ = std::move(key);
            at_ = At::metadata_value;
        } else {
            const auto field = std::find(kFields.begin(), kFields.end(), key);
            if (field == kFields.end()) fail(fmt::format("{} has a field {}", tensor_name(), in_quotes(key)));
            field_ = static_cast<std::size_t>(field - kFields.begin());
            if (std::exchange(seen_[field_], true))
                fail(fmt::format("{} has the field {} twice", tensor_name(), *field));
            at_ = At::field;
        }
        return true;
    }

    bool string(std::string& text) override {
        if (at_ == At::metadata_value) {
            header.metadata.emplace_back(std::move(key_), std::move(text));
            at_ = At::metadata;
        } else if (at_ == At::field && field_ == kDType) {
            const std::optional<DType> dtype = dtype_of(text);
            if (!dtype) fail(fmt::format("{} has the unknown dtype {}", tensor_name(), in_quotes(text)));
            tensor_.dtype = *dtype;
            at_ = At::info;
        } else {
            wrong("a string");
        }
        return true;
    }

    bool start_array(std::size_t) override {
        if (at_ != At::field || field_ == kDType) wrong("a list");
        at_ = field_ == kShape ? At::shape : At::offsets;
        return true;
    }

    bool number_unsigned(std::uint64_t number) override {
        if (at_ == At::shape) {
            if (lengths_.size() == Shape::kMaxRank) fail(fmt::format("{} has more than six axes", tensor_name()));
            lengths_.push_back(number);
        } else if (at_ == At::offsets) {
            if (offsets_.size() == 2) fail(fmt::format("{} has more than two data_offsets", tensor_name()));
            offsets_.push_back(number);
        } else {
            wrong("a number");
        }
        return true;
    }

    bool end_array() override {
        if (at_ == At::offsets && offsets_.size() != 2) fail(fmt::format("{} has not two data_offsets", tensor_name()));
        at_ = At::info;
        return true;
    }

    bool end_object() override {
        if (at_ == At::info) finish_tensor();
        at_ = at_ == At::top ? At::done : At::top;
        return true;
    }

    bool null() override { wrong("null"); }
    bool boolean(bool) override { wrong("true or false"); }
    bool number_integer(std::int64_t) override { wrong("a negative number"); }
    bool number_float(double, const std::string&) override { wrong("a number that is not whole or too large"); }
    bool binary(binary_t&) override { wrong("binary data"); }

    bool parse_error(std::size_t position, const std::string&, const json::exception& error) override {
        const std::string_view text = error.what();
        if (text.find("UTF-8") != std::string_view::npos)
            fail(fmt::format("the header is not UTF-8 (at its byte {})", position));
        fail(fmt::format("the header is not valid JSON (at its byte {})", position));
    }

private:
    enum class At : std::uint8_t { start, top, entry, info, field, shape, offsets, metadata, metadata_value, done };
    static constexpr std::array<std::string_view, 3> kFields{"dtype", "shape", "data_offsets"};
    static constexpr std::size_t kDType = 0, kShape = 1;

    [[noreturn]] static void fail(std::string reason) { throw HeaderFault{std::move(reason)}; }
    [[noreturn]] void wrong(std::string_view found) const {
        std::string where = "the header";
        if (at_ == At::entry) where = fmt::format("the entry {}", in_quotes(name_));
        if (at_ == At::metadata_value) where = fmt::format("the metadata value of {}", in_quotes(key_));
        if (at_ == At::field || at_ == At::shape || at_ == At::offsets)
            where = fmt::format("the {} of {}", kFields[field_], tensor_name());
        fail(fmt::format("{} is {} or holds it, which the format does not allow", where, found));
    }
    std::string tensor_name() const { return "the tensor " + in_quotes(name_); }

    void finish_tensor() {
        for (std::size_t k = 0; k < kFields.size(); ++k)
            if (!seen_[k]) fail(fmt::format("{} has no {}", tensor_name(), kFields[k]));
        const std::optional<std::uint64_t> bytes = checked_bytes(tensor_.dtype, lengths_);
        const std::string too_large = fmt::format("the shape of {} is too large", tensor_name());
        if (!bytes) fail(too_large);
        tensor_.begin = offsets_[0];
        tensor_.end = offsets_[1];
        try {
            tensor_.shape = Shape(lengths_.data(), lengths_.size());
        } catch (const ShapeError&) {
            fail(too_large);
        }
        if (tensor_.end < tensor_.begin) fail(fmt::format("{} ends before it begins", tensor_name()));
        if (tensor_.end - tensor_.begin != *bytes)
            fail(fmt::format("{} has {} bytes of data, {} {} needs {}", tensor_name(), tensor_.end - tensor_.begin,
                             to_string(tensor_.dtype), to_string(tensor_.shape), *bytes));
        tensor_.name = std::move(name_);
        header.tensors.push_back(std::move(tensor_));
    }

    At at_ = At::start;
    std::string name_;
    std::string key_;
    std::size_t field_ = 0;
    std::array<bool, 3> seen_{};
    TensorPlace tensor_;
    std::vector<std::uint64_t> lengths_;
    std::vector<std::uint64_t> offsets_;
    std::unordered_set<std::string> names_;
    std::unordered_set<std::string> keys_;
};

void check_side_by_side(const SafetensorsHeader& header, std::uint64_t data_bytes) {
    std::vector<const TensorPlace*> places;
    places.reserve(header.tensors.size());
    for (const TensorPlace& place : header.tensors) places.push_back(&place);
    std::ranges::sort(places, {}, [](const TensorPlace* place) { return std::pair(place->begin, place->end); });
    std::uint64_t at = 0;
    for (const TensorPlace* place : places) {
        if (place->begin != at)
            throw HeaderFault{fmt::format("the tensor {} {}", in_quotes(place->name),
                                          place->begin < at ? "overlaps another one" : "comes after a hole")};
        at = place->end;
    }
    if (at > data_bytes)
        throw HeaderFault{fmt::format("it is truncated: {} bytes of data are missing", at - data_bytes)};
    if (at < data_bytes) throw HeaderFault{fmt::format("{} bytes stand after the last tensor", data_bytes - at)};
}

std::string json_string(const std::string& text) { return json(text).dump(); }

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes) {
    const std::size_t length = text.find_last_not_of(' ') + 1;
    if (text.empty() || text.front() != '{') throw HeaderFault{"the header does not begin with '{'"};
    if (text[length - 1] != '}') throw HeaderFault{"the header does not end with '}' and spaces"};
    if (text.find('\0') != std::string_view::npos) throw HeaderFault{"the header holds a zero byte"};
    HeaderReader reader;
    json::sax_parse(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(length), &reader);
    SafetensorsHeader header = std::move(reader.header);
    std::unordered_set<std::string_view> names;
    for (const TensorPlace& place : header.tensors) names.insert(place.name);
    for (auto& [key, value] : header.metadata) {
        if (names.contains(key)) throw HeaderFault{fmt::format("{} is a tensor and a metadata key", in_quotes(key))};
        if (!is_json_text(value)) value = json_string(value);
    }
    check_side_by_side(header, data_bytes);
    return header;
}

HeaderText format_safetensors_header(const StateDict& dict) {
    std::vector<const StateDict::Entry*> texts, tensors;
    for (const StateDict::Entry& entry : dict.entries()) (entry.is_json() ? texts : tensors).push_back(&entry);
    HeaderText header{{}, tensors};
    const auto width = [](const StateDict::Entry* entry) { return size_of(entry->tensor().dtype()); };
    std::ranges::stable_sort(header.order, std::greater<>(), width);
    std::unordered_map<const StateDict::Entry*, std::uint64_t> begins;
    std::uint64_t at = 0;
    for (const StateDict::Entry* entry : header.order) {
        begins.emplace(entry, at);
        at += entry->tensor().bytes().size();
    }

    std::string& out = header.text;
    out = "{";
    if (!texts.empty()) {
        out += "\"__metadata__\":{";
        for (const StateDict::Entry* entry : texts)
            out += fmt::format("{}{}:{}", entry == texts.front() ? "" : ",", json_string(entry->name),
                               json_string(entry->json_text()));
        out += "}";
    }
    for (const StateDict::Entry* entry : tensors) {
        const StoredTensor& tensor = entry->tensor();
        const std::uint64_t begin = begins.at(entry);
        out += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                           out.size() > 1 ? "," : "", json_string(entry->name), to_string(tensor.dtype()),
                           fmt::join(tensor.shape().begin(), tensor.shape().end(), ","), begin,
                           begin + tensor.bytes().size());
    }
    out += "}";
    out.resize((out.size() + 7) / 8 * 8, ' ');
    return header;
}

}  // namespace unroll::detail
