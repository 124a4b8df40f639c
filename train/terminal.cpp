// Asking the system about a terminal, and measuring text.
#include <unroll/autograd/error.hpp>
#include <unroll/train/terminal.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

namespace unroll {
namespace {

std::string_view environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string_view() : std::string_view(value);
}

// The first of the three that is set counts (POSIX, "Environment Variables").
bool locale_has_utf8() {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
        std::string value(environment(name));
        if (value.empty()) continue;
        std::transform(value.begin(), value.end(), value.begin(),
                       [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
        return value.find("UTF-8") != std::string::npos || value.find("UTF8") != std::string::npos;
    }
    return false;
}

struct CodeRange {
    char32_t first, last;
};

// The blocks that matter in running text; the whole of Unicode's tables is not needed to keep a line on its line.
constexpr std::array kZeroWidth{CodeRange{0x0300, 0x036F}, CodeRange{0x0591, 0x05BD}, CodeRange{0x064B, 0x065F},
                                CodeRange{0x1AB0, 0x1AFF}, CodeRange{0x1DC0, 0x1DFF}, CodeRange{0x200B, 0x200F},
                                CodeRange{0x20D0, 0x20FF}, CodeRange{0xFE00, 0xFE0F}, CodeRange{0xFE20, 0xFE2F}};
constexpr std::array kDoubleWidth{
    CodeRange{0x1100, 0x115F},   CodeRange{0x2E80, 0x303E},   CodeRange{0x3041, 0x33FF},  CodeRange{0x3400, 0x4DBF},
    CodeRange{0x4E00, 0x9FFF},   CodeRange{0xA000, 0xA4CF},   CodeRange{0xAC00, 0xD7A3},  CodeRange{0xF900, 0xFAFF},
    CodeRange{0xFE30, 0xFE4F},   CodeRange{0xFF00, 0xFF60},   CodeRange{0xFFE0, 0xFFE6},  CodeRange{0x1F300, 0x1F64F},
    CodeRange{0x1F680, 0x1F6FF}, CodeRange{0x1F900, 0x1F9FF}, CodeRange{0x20000, 0x3FFFD}};

template <std::size_t N>
bool within(const std::array<CodeRange, N>& ranges, char32_t c) {
    return std::any_of(ranges.begin(), ranges.end(),
                       [c](CodeRange range) { return c >= range.first && c <= range.last; });
}

// Text that is shown need not be valid: what does not fit together is taken byte by byte.
char32_t next_character(std::string_view text, std::size_t& at) {
    const auto first = static_cast<unsigned char>(text[at++]);
    const std::size_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
    char32_t c = first & (more == 0 ? 0xFFu : 0x3Fu >> more);
    if (at + more > text.size()) return first;
    for (std::size_t k = 0; k < more; ++k) {
        const auto next = static_cast<unsigned char>(text[at + k]);
        if ((next & 0xC0u) != 0x80u) return first;
        c = c << 6 | (next & 0x3Fu);
    }
    at += more;
    return c;
}

}  // namespace

Terminal inspect_terminal(int descriptor) {
    Terminal terminal;
    const std::string_view kind = environment("TERM");
    terminal.interactive = ::isatty(descriptor) == 1 && kind != "dumb" && !kind.empty();
    terminal.unicode = locale_has_utf8();
    terminal.colors = terminal.interactive && environment("NO_COLOR").empty();
    winsize size{};
    if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        terminal.width = size.ws_col;
    else if (const int columns = std::atoi(std::string(environment("COLUMNS")).c_str()); columns > 0)
        terminal.width = columns;
    return terminal;
}

int columns_of(std::string_view text) {
    int columns = 0;
    for (std::size_t at = 0; at < text.size();) {
        if (text.substr(at, 2) == "\x1b[") {
            at += 2;
            while (at < text.size() && (text[at] < '@' || text[at] > '~')) ++at;
            if (at < text.size()) ++at;
            continue;
        }
        const char32_t c = next_character(text, at);
        if (!within(kZeroWidth, c)) columns += within(kDoubleWidth, c) ? 2 : 1;
    }
    return columns;
}

std::string without_controls(std::string_view text) {
    std::string safe;
    safe.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        const char32_t c = next_character(text, at);
        const bool control = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
        if (control)
            safe += '?';
        else
            safe.append(text.substr(begin, at - begin));
    }
    return safe;
}

bool help_shown(int argc, const char* const* argv, std::string_view usage) {
    for (int i = 1; i < argc; ++i) {
        if (argv[i] != std::string_view("--help") && argv[i] != std::string_view("-h")) continue;
        fmt::print("usage: {}\n", usage);
        check_output();
        return true;
    }
    int least = 0, most = 0;
    for (std::size_t at = usage.find(' '); at != usage.npos; at = usage.find(' ', at + 1)) {
        ++most;
        if (usage.substr(at + 1, 1) != "[") ++least;
    }
    if (argc - 1 < least) throw UsageError(fmt::format("too few arguments; usage: {}", usage));
    if (argc - 1 > most) throw UsageError(fmt::format("too many arguments; usage: {}", usage));
    return false;
}

void check_output() {
    errno = 0;
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
    throw IoError(
        fmt::format("cannot write the output: {}", errno != 0 ? detail::system_text(errno) : "a part of it is lost"));
}

}  // namespace unroll
