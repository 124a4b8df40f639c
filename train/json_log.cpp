// Appending, cutting and reading JSON lines.
#include <unroll/autograd/error.hpp>
#include <unroll/train/json_log.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace unroll {
namespace {

[[noreturn]] void fail_file(std::string_view what, const std::filesystem::path& path, int error_number) {
    throw IoError(fmt::format("cannot {} '{}': {}", what, path.string(), detail::system_text(error_number)));
}

int open_log(const std::filesystem::path& path, int flags) {
    const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
    if (descriptor < 0) fail_file(flags == O_RDONLY ? "read" : "write", path, errno);
    return descriptor;
}

struct Line {
    nlohmann::json entry;
    std::size_t end;  // bytes up to and with the line's newline
};

std::vector<Line> read_lines(const std::filesystem::path& path, int descriptor) {
    std::string text;
    char piece[1 << 16];
    for (;;) {
        const ssize_t got = ::read(descriptor, piece, sizeof piece);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail_file("read", path, errno);
        if (got == 0) break;
        text.append(piece, static_cast<std::size_t>(got));
    }
    std::vector<Line> lines;
    for (std::size_t begin = 0;;) {
        const std::size_t newline = text.find('\n', begin);
        if (newline == std::string::npos) return lines;
        nlohmann::json entry =
            nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                  text.begin() + static_cast<std::ptrdiff_t>(newline), nullptr, false);
        if (!entry.is_object())
            throw IoError(
                fmt::format("'{}' is not a log: line {} is not a JSON object", path.string(), lines.size() + 1));
        begin = newline + 1;
        lines.push_back({std::move(entry), begin});
    }
}

struct Reader {
    int descriptor;
    ~Reader() { ::close(descriptor); }
};

}  // namespace

JsonLog::JsonLog(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

JsonLog::JsonLog(JsonLog&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

JsonLog& JsonLog::operator=(JsonLog&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
    return *this;
}

JsonLog::~JsonLog() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

JsonLog JsonLog::create(const std::filesystem::path& path) {
    return JsonLog(path, open_log(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND));
}

JsonLog JsonLog::resume(const std::filesystem::path& path, Index step) {
    JsonLog log(path, open_log(path, O_RDWR | O_CREAT | O_APPEND));
    std::size_t keep = 0;
    for (const Line& line : read_lines(path, log.descriptor_)) {
        const auto found = line.entry.find("step");
        if (found != line.entry.end() && found->is_number() && found->get<double>() > static_cast<double>(step)) break;
        keep = line.end;
    }
    if (::ftruncate(log.descriptor_, static_cast<off_t>(keep)) != 0) fail_file("write", path, errno);
    return log;
}

void JsonLog::write(const nlohmann::ordered_json& entry) {
    if (!entry.is_object()) detail::fail_value("JsonLog", "a line must be a JSON object");
    // Text that is not UTF-8 must not end a run: it is written with replacement characters.
    const std::string line = entry.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
    struct stat before {};
    const bool regular = ::fstat(descriptor_, &before) == 0 && S_ISREG(before.st_mode);
    for (std::size_t done = 0; done < line.size();) {
        const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            const int error_number = written < 0 ? errno : ENOSPC;
            // Best effort: should the cut fail too, the reader leaves the unfinished line out.
            if (regular && ::ftruncate(descriptor_, before.st_size) != 0) errno = error_number;
            fail_file("write", path_, error_number);
        }
        done += static_cast<std::size_t>(written);
    }
}

std::vector<nlohmann::json> read_json_log(const std::filesystem::path& path) {
    const Reader file{open_log(path, O_RDONLY)};
    std::vector<nlohmann::json> entries;
    for (Line& line : read_lines(path, file.descriptor)) entries.push_back(std::move(line.entry));
    return entries;
}

LogColumn column_of(const std::vector<nlohmann::json>& log, const std::string& x, const std::string& y) {
    LogColumn column;
    for (const nlohmann::json& entry : log) {
        const auto at_x = entry.find(x);
        const auto at_y = entry.find(y);
        if (at_x == entry.end() || at_y == entry.end() || !at_x->is_number() || !at_y->is_number()) continue;
        column.x.push_back(at_x->get<double>());
        column.y.push_back(at_y->get<double>());
    }
    return column;
}

}  // namespace unroll
