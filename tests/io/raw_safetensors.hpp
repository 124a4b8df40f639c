// Safetensors files put together by hand, right or wrong, for the tests of the reader.
#pragma once

#include <unroll/autograd/error.hpp>
#include <unroll/io/safetensors.hpp>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace unroll::test {

/// The bytes of a file with this header and this data; the length says `length` if it is given.
inline std::string raw_file(std::string_view header, std::string_view data, std::int64_t length = -1) {
    const std::uint64_t count = length < 0 ? header.size() : static_cast<std::uint64_t>(length);
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &count, 8);
    return bytes + std::string(header) + std::string(data);
}

inline StateDict parse(std::string_view bytes) { return parse_safetensors(std::as_bytes(std::span(bytes)), "f"); }

/// Why a file with these bytes is refused, without the file's name; "accepted" if it is not.
inline std::string refusal(std::string_view bytes) {
    try {
        parse(bytes);
    } catch (const IoError& error) {
        const std::string message = error.what();
        const std::string before = "cannot read 'f': ";
        return message.starts_with(before) ? message.substr(before.size()) : "without the file's name: " + message;
    }
    return "accepted";
}

}  // namespace unroll::test
