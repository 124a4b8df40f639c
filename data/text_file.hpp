// Reading a text file whole. What the bytes mean (UTF-8, lines, fields) is its callers' business.
#pragma once

#include <filesystem>
#include <string>

namespace unroll {

/// The bytes of a file, unchanged but for a UTF-8 byte-order mark at the beginning, which is left out. IoError, in one
/// line that names the file and the reason: missing, a folder, without the right to read, empty, or broken while it was
/// read.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace unroll
