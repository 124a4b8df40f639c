// StateDicts in safetensors files, which Python and PyTorch read: 8 bytes little-endian length of the header, the header as
// JSON, then the bytes of all tensors. What the entries mean is their owners' business.
#pragma once

#include <unroll/io/state_dict.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace unroll {

class AtomicFile;

/// What a file holds, read from its header alone.
struct SafetensorsInfo {
    struct TensorInfo {
        std::string name;
        DType dtype;
        Shape shape;
        std::uint64_t bytes;
    };
    std::vector<TensorInfo> tensors;
    StateDict metadata;  ///< the JSON entries
    std::uint64_t file_bytes = 0;
};

/// Reads a whole file; its name is the dictionary's origin. JSON entries come first, then tensors, both as the header has
/// them. A metadata value of a foreign file that is no JSON text becomes a JSON string.
///
/// Throws IoError, in one line that names the file and the reason, unless the file is whole and strictly as the format has
/// it: header of at most 100,000,000 bytes, a JSON object in UTF-8, no name or key twice, known dtypes (F64 F32 F16 BF16 I64
/// I32 I16 I8 U64 U32 U16 U8 BOOL), at most six axes, and the bytes of the tensors side by side from the header's end to
/// the file's. Memory is asked for only once all that is known to be so.
StateDict read_safetensors(const std::filesystem::path& path);
/// Reads and checks the header alone; errors as above.
SafetensorsInfo read_safetensors_info(const std::filesystem::path& path);

/// Writes a file whole or not at all (see AtomicFile). JSON entries go to the metadata as JSON text.
/// @throws IoError as AtomicFile does, ValueError if the header would be longer than 100,000,000 bytes
void write_safetensors(const std::filesystem::path& path, const StateDict& dict);
/// The same into a file that the caller commits.
void write_safetensors(AtomicFile& file, const StateDict& dict);

/// The same in memory. `origin` stands for the file's name in errors.
StateDict parse_safetensors(std::span<const std::byte> bytes, const std::string& origin);
std::string format_safetensors(const StateDict& dict);

}  // namespace unroll
