// The strict UTF-8 decoder (RFC 3629, section 4) and its inverse.
#include <unroll/autograd/error.hpp>
#include <unroll/data/utf8.hpp>

#include <fmt/format.h>

#include <cstdint>

namespace unroll {
namespace {

constexpr bool is_surrogate(char32_t code_point) { return code_point >= 0xD800 && code_point <= 0xDFFF; }

[[noreturn]] void fail_decode(std::string_view bytes, std::size_t at, std::string_view fault) {
    detail::fail_value("decode_utf8", fmt::format("byte {} (0x{:02X}) is not valid UTF-8: {}", at,
                                                  static_cast<unsigned char>(bytes[at]), fault));
}

// One code point of several bytes from `at`, which it moves on.
char32_t decode_long(std::string_view bytes, std::size_t& at) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    if (first < 0xC0) fail_decode(bytes, at, "a continuation byte without a start");
    if (first >= 0xF8) fail_decode(bytes, at, "no character starts with this byte");
    const std::size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    char32_t code_point = first & (0xFFu >> (length + 1));
    for (std::size_t k = 1; k < length; ++k) {
        if (at + k >= bytes.size()) fail_decode(bytes, at, "the text ends within this character");
        const auto next = static_cast<unsigned char>(bytes[at + k]);
        if ((next & 0xC0u) != 0x80u) fail_decode(bytes, at, fmt::format("byte {} of {} is missing", k + 1, length));
        code_point = (code_point << 6) | (next & 0x3Fu);
    }
    constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code_point < kLeast[length]) fail_decode(bytes, at, "an overlong form");
    if (is_surrogate(code_point)) fail_decode(bytes, at, "a surrogate");
    if (code_point > 0x10FFFF) fail_decode(bytes, at, "above U+10FFFF");
    at += length;
    return code_point;
}

// One code point from `at`, which it moves on.
char32_t decode_one(std::string_view bytes, std::size_t& at) {
    const auto byte = static_cast<unsigned char>(bytes[at]);
    return byte < 0x80 ? bytes[at++] : decode_long(bytes, at);
}

}  // namespace

std::u32string decode_utf8(std::string_view bytes) {
    std::u32string code_points;
    code_points.reserve(bytes.size());
    for (std::size_t at = 0; at < bytes.size();) code_points.push_back(decode_one(bytes, at));
    return code_points;
}

std::u32string decode_utf8_lossy(std::string_view bytes) {
    std::u32string code_points;
    code_points.reserve(bytes.size());
    for (std::size_t at = 0; at < bytes.size();) {
        try {
            code_points.push_back(decode_one(bytes, at));
        } catch (const ValueError&) {
            code_points.push_back(U'\uFFFD');
            ++at;
        }
    }
    return code_points;
}

void append_utf8(std::string& bytes, char32_t code_point) {
    if (is_surrogate(code_point) || code_point > 0x10FFFF)
        detail::fail_value("encode_utf8",
                           fmt::format("U+{:04X} is not a character", static_cast<std::uint32_t>(code_point)));
    const auto continuation = [&](int shift) {
        bytes.push_back(static_cast<char>(0x80u | ((code_point >> shift) & 0x3Fu)));
    };
    if (code_point < 0x80) {
        bytes.push_back(static_cast<char>(code_point));
    } else if (code_point < 0x800) {
        bytes.push_back(static_cast<char>(0xC0u | (code_point >> 6)));
        continuation(0);
    } else if (code_point < 0x10000) {
        bytes.push_back(static_cast<char>(0xE0u | (code_point >> 12)));
        continuation(6);
        continuation(0);
    } else {
        bytes.push_back(static_cast<char>(0xF0u | (code_point >> 18)));
        continuation(12);
        continuation(6);
        continuation(0);
    }
}

std::string encode_utf8(std::u32string_view code_points) {
    std::string bytes;
    bytes.reserve(code_points.size());
    for (const char32_t code_point : code_points) append_utf8(bytes, code_point);
    return bytes;
}

std::string describe_code_point(char32_t code_point) {
    const auto number = static_cast<std::uint32_t>(code_point);
    if (code_point == U'\n') return "the newline (U+000A)";
    if (code_point == U'\r') return "the carriage return (U+000D)";
    if (code_point == U'\t') return "the tabulator (U+0009)";
    const bool control = code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0);
    if (control || is_surrogate(code_point) || code_point > 0x10FFFF) return fmt::format("U+{:04X}", number);
    std::string bytes;
    append_utf8(bytes, code_point);
    return fmt::format("'{}' (U+{:04X})", bytes, number);
}

}  // namespace unroll
