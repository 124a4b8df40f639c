// The log of a run as JSON lines: one object per line, written as it happens, read again for charts. What the fields mean
// is its callers' business, except "step" when a run is resumed.
#pragma once

#include <unroll/autograd/shape.hpp>

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace unroll {

/// Appends lines to a file. Each line is written by one call to the system and stands in the file when `write` returns, so
/// that a run that is killed leaves whole lines. IoError: the file cannot be opened or written, the disk is full (what
/// stood in the file stays, without a part of a line).
class JsonLog {
public:
    /// A new, empty log; one that stood there is emptied.
    static JsonLog create(const std::filesystem::path& path);

    /// Goes on with the log of a run resumed after `step` steps: the first line with a greater "step", and all after it, are
    /// cut off, and so is a last line that was not finished. A log that is not there begins empty. IoError: a line that is
    /// not a JSON object.
    static JsonLog resume(const std::filesystem::path& path, Index step);

    JsonLog(JsonLog&& other) noexcept;
    JsonLog& operator=(JsonLog&& other) noexcept;
    ~JsonLog();

    /// One line. Fields stand in the given order; numbers that JSON does not know (NaN, ±∞) become null.
    /// ValueError: not an object.
    void write(const nlohmann::ordered_json& entry);

private:
    JsonLog(std::filesystem::path path, int descriptor);

    std::filesystem::path path_;
    int descriptor_;
};

/// The objects of a log; a last line that was not finished is left out. IoError: the file cannot be read, or a line (named)
/// is not a JSON object. An empty log is no error.
std::vector<nlohmann::json> read_json_log(const std::filesystem::path& path);

/// Two numeric fields of the lines that have both.
struct LogColumn {
    std::vector<double> x;
    std::vector<double> y;
};
LogColumn column_of(const std::vector<nlohmann::json>& log, const std::string& x, const std::string& y);

}  // namespace unroll
