// Stored tensors, their conversion, and the dictionary.
#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/error.hpp>
#include <unroll/io/state_dict.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace unroll {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are stored as memory has them, little-endian");

struct DTypeInfo {
    std::string_view name;
    std::size_t bytes;
};
// In the order of DType.
constexpr std::array<DTypeInfo, 13> kDTypes{{{"F64", 8},
                                             {"F32", 4},
                                             {"F16", 2},
                                             {"BF16", 2},
                                             {"I64", 8},
                                             {"I32", 4},
                                             {"I16", 2},
                                             {"I8", 1},
                                             {"U64", 8},
                                             {"U32", 4},
                                             {"U16", 2},
                                             {"U8", 1},
                                             {"BOOL", 1}}};

constexpr std::size_t kDeepest = 64;

bool is_utf8(const std::string& text) {
    try {
        nlohmann::json(text).dump();
    } catch (const nlohmann::json::type_error&) {
        return false;
    }
    return true;
}

// Why a JSON value does not survive being written; empty if it does.
std::string_view fault_of(const nlohmann::json& value, std::size_t depth) {
    if (depth > kDeepest) return "it is nested deeper than 64 levels";
    if (value.is_number_float() && !std::isfinite(value.get<double>()))
        return "JSON has no number that is not finite (put_scalar keeps one)";
    if (value.is_binary() || value.is_discarded()) return "binary values are no JSON";
    if (value.is_structured())
        for (const nlohmann::json& part : value)
            if (const std::string_view fault = fault_of(part, depth + 1); !fault.empty()) return fault;
    return {};
}

/// Accepts any JSON text that is not too deep, without building a value.
class DepthLimit : public nlohmann::json_sax<nlohmann::json> {
public:
    bool start_object(std::size_t) override { return ++depth_ <= kDeepest; }
    bool start_array(std::size_t) override { return ++depth_ <= kDeepest; }
    bool end_object() override { return --depth_, true; }
    bool end_array() override { return --depth_, true; }
    bool key(std::string&) override { return true; }
    bool string(std::string&) override { return true; }
    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(std::int64_t) override { return true; }
    bool number_unsigned(std::uint64_t) override { return true; }
    bool number_float(double, const std::string&) override { return true; }
    bool binary(binary_t&) override { return false; }
    bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override { return false; }

private:
    std::size_t depth_ = 0;
};

float from_half(std::uint16_t bits) noexcept {
    const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
    const std::uint32_t exponent = (bits >> 10) & 0x1Fu;
    const std::uint32_t fraction = bits & 0x3FFu;
    if (exponent == 0) {
        const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
    return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

float from_bfloat(std::uint16_t bits) noexcept { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

template <class Stored, class T, class Convert>
void convert_each(const std::byte* bytes, std::span<T> out, Convert convert) {
    for (std::size_t i = 0; i < out.size(); ++i) {
        Stored element;
        std::memcpy(&element, bytes + i * sizeof(Stored), sizeof(Stored));
        out[i] = T(convert(element));
    }
}

// Elements of one type as another. False: there is no such conversion.
template <class T>
bool convert(DType dtype, const std::byte* bytes, std::span<T> out) {
    const auto as_it_is = [](auto element) { return element; };
    if constexpr (detail::StoredAs<T>::value == DType::f32 || detail::StoredAs<T>::value == DType::f64) {
        switch (dtype) {
        case DType::f64: convert_each<double>(bytes, out, as_it_is); return true;
        case DType::f32: convert_each<float>(bytes, out, as_it_is); return true;
        case DType::f16: convert_each<std::uint16_t>(bytes, out, from_half); return true;
        case DType::bf16: convert_each<std::uint16_t>(bytes, out, from_bfloat); return true;
        default: return false;
        }
    } else if constexpr (std::same_as<T, std::int64_t>) {
        bool fits = true;
        const auto checked = [&](std::uint64_t element) {
            fits = fits && element <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
            return element;
        };
        switch (dtype) {
        case DType::i64: convert_each<std::int64_t>(bytes, out, as_it_is); return true;
        case DType::i32: convert_each<std::int32_t>(bytes, out, as_it_is); return true;
        case DType::i16: convert_each<std::int16_t>(bytes, out, as_it_is); return true;
        case DType::i8: convert_each<std::int8_t>(bytes, out, as_it_is); return true;
        case DType::u64: convert_each<std::uint64_t>(bytes, out, checked); return fits;
        case DType::u32: convert_each<std::uint32_t>(bytes, out, as_it_is); return true;
        case DType::u16: convert_each<std::uint16_t>(bytes, out, as_it_is); return true;
        case DType::u8: convert_each<std::uint8_t>(bytes, out, as_it_is); return true;
        default: return false;
        }
    } else {
        return false;
    }
}

std::string describe(const StateDict::Entry& entry) {
    if (entry.is_json()) return "a JSON value";
    return fmt::format("{} {}", to_string(entry.tensor().dtype()), to_string(entry.tensor().shape()));
}

// The lengths of a shape as files have them.
std::array<std::uint64_t, Shape::kMaxRank> unsigned_lengths(const Shape& shape) {
    std::array<std::uint64_t, Shape::kMaxRank> lengths{};
    std::copy(shape.begin(), shape.end(), lengths.begin());
    return lengths;
}

}  // namespace

std::string_view to_string(DType dtype) noexcept { return kDTypes[static_cast<std::size_t>(dtype)].name; }

std::optional<DType> dtype_of(std::string_view name) noexcept {
    for (std::size_t i = 0; i < kDTypes.size(); ++i)
        if (kDTypes[i].name == name) return static_cast<DType>(i);
    return std::nullopt;
}

std::size_t size_of(DType dtype) noexcept { return kDTypes[static_cast<std::size_t>(dtype)].bytes; }

namespace detail {

std::optional<std::uint64_t> checked_bytes(DType dtype, std::span<const std::uint64_t> lengths) noexcept {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 62;
    std::uint64_t bytes = size_of(dtype);
    bool none = false;
    for (const std::uint64_t length : lengths) {
        none = none || length == 0;
        if (length > kMost / bytes) return std::nullopt;
        bytes *= std::max<std::uint64_t>(length, 1);
    }
    return none ? 0 : bytes;
}

bool is_json_text(const std::string& text) {
    // The parser takes a zero byte for the end of its input.
    if (text.find('\0') != std::string::npos) return false;
    DepthLimit limit;
    return nlohmann::json::sax_parse(text, &limit);
}

std::string in_quotes(std::string_view text) {
    constexpr std::size_t kLongest = 100;
    std::string out = "\"";
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        // Cut between two characters only; C1 controls (C2 80 … C2 9F) steer terminals as well.
        if (i >= kLongest && (byte & 0xC0u) != 0x80u) return out + "…\"";
        const bool c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
        if (c1)
            out += fmt::format("\\u{:04x}", static_cast<unsigned char>(text[++i]));
        else if (byte < 0x20 || byte == 0x7F)
            out += fmt::format("\\u{:04x}", byte);
        else
            out += text[i];
    }
    return out + "\"";
}

}  // namespace detail

// ---- StoredTensor ----

StoredTensor::StoredTensor(DType dtype, const Shape& shape, std::shared_ptr<const std::byte[]> bytes, std::size_t count)
    : bytes_(std::move(bytes)), count_(count), shape_(shape), dtype_(dtype) {
    const auto lengths = unsigned_lengths(shape);
    if (detail::checked_bytes(dtype, {lengths.data(), shape.rank()}) != count)
        detail::fail_shape("StoredTensor", fmt::format("{} bytes are not what {} asks for", count, to_string(dtype)),
                           {shape});
}

template <Storable T>
StoredTensor::StoredTensor(std::span<const T> values, const Shape& shape)
    : count_(values.size() * size_of(detail::StoredAs<T>::value)), shape_(shape), dtype_(detail::StoredAs<T>::value) {
    const auto lengths = unsigned_lengths(shape);
    if (detail::checked_bytes(dtype_, {lengths.data(), shape.rank()}) != count_)
        detail::fail_shape("StoredTensor", fmt::format("{} values do not have the shape", values.size()), {shape});
    auto bytes = std::make_shared_for_overwrite<std::byte[]>(count_);
    if constexpr (std::same_as<T, Dual<double>>) {
        for (std::size_t i = 0; i < values.size(); ++i)
            std::memcpy(bytes.get() + i * sizeof(double), &values[i].value, sizeof(double));
    } else {
        static_assert(sizeof(bool) == 1);
        std::copy_n(reinterpret_cast<const std::byte*>(values.data()), count_, bytes.get());
    }
    bytes_ = std::move(bytes);
}

bool operator==(const StoredTensor& a, const StoredTensor& b) noexcept {
    return a.dtype_ == b.dtype_ && a.shape_ == b.shape_ && std::ranges::equal(a.bytes(), b.bytes());
}

// ---- StateDict ----

void StateDict::fail(const std::string& message) const {
    detail::fail_value("StateDict", origin_.empty() ? message : fmt::format("'{}': {}", origin_, message));
}

void StateDict::put_entry(Entry entry) {
    if (entry.name.empty()) fail("an entry needs a name");
    if (entry.name == "__metadata__") fail("the name \"__metadata__\" is the file format's own");
    if (!is_utf8(entry.name)) fail("a name is not UTF-8");
    if (contains(entry.name)) fail(fmt::format("the name {} is taken", detail::in_quotes(entry.name)));
    const auto place = places_.emplace(entry.name, entries_.size()).first;
    try {
        entries_.push_back(std::move(entry));
    } catch (...) {
        places_.erase(place);
        throw;
    }
}

void StateDict::put(std::string name, StoredTensor tensor) { put_entry({std::move(name), std::move(tensor)}); }

void StateDict::put_json(std::string name, const nlohmann::json& value) {
    std::string_view fault = fault_of(value, 1);
    std::string text;
    if (fault.empty()) {
        try {
            text = value.dump();
        } catch (const nlohmann::json::type_error&) {
            fault = "a text in it is not UTF-8";
        }
    }
    if (!fault.empty()) fail(fmt::format("{} cannot be kept: {}", detail::in_quotes(name), fault));
    put_entry({std::move(name), std::move(text)});
}

void StateDict::put_json_text(std::string name, std::string text) {
    if (!detail::is_json_text(text))
        fail(fmt::format("{} is not JSON text of at most 64 levels", detail::in_quotes(name)));
    put_entry({std::move(name), std::move(text)});
}

void StateDict::add(std::string_view prefix, const StateDict& other) {
    StateDict result = *this;
    for (const Entry& entry : other.entries_) result.put_entry({fmt::format("{}.{}", prefix, entry.name), entry.value});
    *this = std::move(result);
}

const StateDict::Entry* StateDict::find(std::string_view name) const noexcept {
    const auto found = places_.find(name);
    return found == places_.end() ? nullptr : &entries_[found->second];
}

const StateDict::Entry& StateDict::at(std::string_view name) const {
    if (const Entry* entry = find(name)) return *entry;
    std::string there;
    for (std::size_t i = 0; i < entries_.size() && i < 4; ++i)
        there += (i ? ", " : "; there are ") + detail::in_quotes(prefix_ + entries_[i].name);
    if (entries_.size() > 4) there += fmt::format(" and {} more", entries_.size() - 4);
    fail(fmt::format("there is no entry {}{}", detail::in_quotes(prefix_ + std::string(name)),
                     there.empty() ? "; it is empty" : there));
}

const StoredTensor& StateDict::stored(std::string_view name) const {
    const Entry& entry = at(name);
    if (entry.is_json()) fail(fmt::format("{} is a JSON value, not a tensor", detail::in_quotes(prefix_ + entry.name)));
    return entry.tensor();
}

void StateDict::check_shape(std::string_view name, const Shape& expected) const {
    const StoredTensor& tensor = stored(name);
    if (tensor.shape() == expected) return;
    throw ShapeError(fmt::format("[StateDict] {}{} must have the shape {}; it is {} {}",
                                 origin_.empty() ? "" : fmt::format("'{}': ", origin_),
                                 detail::in_quotes(prefix_ + std::string(name)), to_string(expected),
                                 to_string(tensor.dtype()), to_string(tensor.shape())));
}

template <Storable T>
void StateDict::copy_to(std::string_view name, std::span<T> out, Conversion conversion) const {
    const StoredTensor& tensor = stored(name);
    if (static_cast<std::size_t>(tensor.shape().size()) != out.size())
        check_shape(name, Shape{static_cast<Index>(out.size())});
    constexpr DType wanted = detail::StoredAs<T>::value;
    const std::byte* bytes = tensor.bytes().data();
    if (tensor.dtype() != wanted) {
        if (conversion == Conversion::allowed && convert(tensor.dtype(), bytes, out)) return;
        fail(fmt::format("{} must be {}{}; it is {}", detail::in_quotes(prefix_ + std::string(name)), to_string(wanted),
                         conversion == Conversion::allowed ? " or fit into it" : "", describe(at(name))));
    }
    if constexpr (std::same_as<T, bool>)
        convert_each<std::uint8_t>(bytes, out, [](std::uint8_t byte) { return byte != 0; });
    else if constexpr (std::same_as<T, Dual<double>>)
        convert_each<double>(bytes, out, [](double value) { return value; });
    else
        std::copy_n(bytes, tensor.bytes().size(), reinterpret_cast<std::byte*>(out.data()));
}

IntTensor StateDict::int_tensor(std::string_view name, Conversion conversion) const {
    const Shape& shape = stored(name).shape();
    IntTensor out = IntTensor::from_shape(std::vector<std::size_t>(shape.begin(), shape.end()));
    copy_to(name, std::span<std::int64_t>(out.data(), out.size()), conversion);
    return out;
}

nlohmann::json StateDict::json(std::string_view name) const {
    const Entry& entry = at(name);
    if (!entry.is_json())
        fail(
            fmt::format("{} must be a JSON value; it is {}", detail::in_quotes(prefix_ + entry.name), describe(entry)));
    return nlohmann::json::parse(entry.json_text());
}

bool StateDict::contains_prefix(std::string_view prefix) const noexcept {
    return std::ranges::any_of(entries_, [&](const Entry& entry) {
        return entry.name.size() > prefix.size() + 1 && entry.name.starts_with(prefix) &&
               entry.name[prefix.size()] == '.';
    });
}

StateDict StateDict::sub(std::string_view prefix) const {
    StateDict part;
    part.origin_ = origin_;
    part.prefix_ = fmt::format("{}{}.", prefix_, prefix);
    for (const Entry& entry : entries_)
        if (entry.name.size() > prefix.size() + 1 && entry.name.starts_with(prefix) && entry.name[prefix.size()] == '.')
            part.put_entry({entry.name.substr(prefix.size() + 1), entry.value});
    if (part.empty()) at(fmt::format("{}.…", prefix));
    return part;
}

StateDict StateDict::without(std::string_view name) const {
    at(name);
    StateDict rest;
    rest.origin_ = origin_;
    rest.prefix_ = prefix_;
    for (const Entry& entry : entries_)
        if (entry.name != name) rest.put_entry(entry);
    return rest;
}

bool operator==(const StateDict& a, const StateDict& b) noexcept {
    return a.size() == b.size() && std::ranges::all_of(a.entries_, [&](const StateDict::Entry& entry) {
               const StateDict::Entry* other = b.find(entry.name);
               return other && other->value == entry.value;
           });
}

#define UNROLL_INSTANTIATE(T)                                                     \
    template StoredTensor::StoredTensor(std::span<const T> values, const Shape&); \
    template void StateDict::copy_to(std::string_view, std::span<T>, Conversion) const;
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(Dual<double>)
UNROLL_INSTANTIATE(std::int64_t)
UNROLL_INSTANTIATE(std::uint64_t)
UNROLL_INSTANTIATE(std::uint8_t)
UNROLL_INSTANTIATE(bool)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
