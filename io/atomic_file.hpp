// Files written whole or not at all. It knows bytes and paths; what the bytes mean is its callers' business.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace unroll {

/// A file that appears under its name only when it is complete.
///
/// The bytes go to a temporary file in the same folder; `commit` flushes it to the disk, renames it onto the name, and
/// flushes the folder. Until then, and after any failure, a file that already stood there is untouched. An object that
/// dies without `commit` removes its temporary file. A symbolic link is followed: its target is replaced. The mode of
/// a file that is replaced is kept. Only a process that is killed can leave a temporary file (`.unroll-….tmp`) behind.
///
/// Throws IoError, in one line that names the file and the reason, when the folder is missing or not writable, the name
/// belongs to a folder, a device or a read-only file, or the disk is full.
class AtomicFile {
public:
    explicit AtomicFile(const std::filesystem::path& path);
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;
    ~AtomicFile();

    /// Appends bytes. Small pieces are gathered, so that a write per number is affordable.
    void write(std::span<const std::byte> bytes);
    void write(std::string_view text);

    /// Brings what was written to the disk, so that little is left that can fail in `commit`.
    void sync();

    /// Makes the file appear. Once only; nothing can be written afterwards (UsageError).
    void commit();

private:
    void flush();
    void write_through(const std::byte* bytes, std::size_t count);
    void discard() noexcept;
    [[noreturn]] void fail(int error_number);

    std::filesystem::path path_;       // as the caller said it, for messages
    std::filesystem::path target_;     // the same with links followed
    std::filesystem::path temporary_;  // empty once renamed or removed
    std::string gathered_;
    int descriptor_ = -1;
};

/// Writes a whole file by AtomicFile.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);
/// The same for a file written piece by piece; an exception out of `write` leaves the old file as it was.
void write_file_atomically(const std::filesystem::path& path, const std::function<void(AtomicFile&)>& write);

/// Throws the IoError that writing `path` would throw for its folder or its name, without touching anything that stands
/// there: a long run can find out at its start that its result has no place. (A disk that fills up later is not seen.)
void check_writable(const std::filesystem::path& path);

}  // namespace unroll
