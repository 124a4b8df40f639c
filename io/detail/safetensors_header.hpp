// The header of a safetensors file as text and as data: parsed strictly, and written. It knows neither files nor the
// bytes of tensors; it is not installed.
#pragma once

#include <unroll/io/state_dict.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace unroll::detail {

/// Bytes of the longest header that is read or written.
inline constexpr std::uint64_t kLongestHeader = 100'000'000;

struct TensorPlace {
    std::string name;
    DType dtype = DType::f32;
    Shape shape;
    std::uint64_t begin = 0;  ///< bytes from the end of the header
    std::uint64_t end = 0;
};

struct SafetensorsHeader {
    std::vector<TensorPlace> tensors;                           ///< in the header's order
    std::vector<std::pair<std::string, std::string>> metadata;  ///< name → text of a JSON value
};

/// What is wrong with a header, in words that stand after the file's name and a colon.
struct HeaderFault {
    std::string reason;
};

/// Throws HeaderFault unless `text` is a header for exactly `data_bytes` bytes of data: one JSON object in UTF-8 from "{"
/// to "}" and spaces, names and keys once each, known types, the bytes of the tensors side by side from 0 to data_bytes.
/// A metadata value that is no JSON text (or one nested deeper than 64 levels) is taken as a JSON string.
SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes);

/// The header of a dictionary in its order, padded with spaces to a multiple of 8 bytes, and the tensors in the order in
/// which their bytes follow: wide elements first, so that every tensor is aligned to its elements.
struct HeaderText {
    std::string text;
    std::vector<const StateDict::Entry*> order;
};
HeaderText format_safetensors_header(const StateDict& dict);

}  // namespace unroll::detail
