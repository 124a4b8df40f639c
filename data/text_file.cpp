// Reading with the system's own calls, since streams do not say why they failed.
#include <unroll/autograd/error.hpp>
#include <unroll/data/text_file.hpp>

#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace unroll {
namespace {

struct Descriptor {
    int number;
    ~Descriptor() {
        if (number >= 0) ::close(number);
    }
};

}  // namespace

std::string read_text_file(const std::filesystem::path& path) {
    const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (file.number < 0) detail::fail_read(path.string(), detail::system_text(errno));
    struct stat about {};
    if (::fstat(file.number, &about) != 0) detail::fail_read(path.string(), detail::system_text(errno));
    if (S_ISDIR(about.st_mode)) detail::fail_read(path.string(), "it is a folder");

    // The size is only a first guess: a pipe has none and a file may grow.
    std::string text(static_cast<std::size_t>(about.st_size) + 1, '\0');
    std::size_t count = 0;
    for (;;) {
        if (count == text.size()) text.resize(2 * text.size() + 4096);
        const ssize_t got = ::read(file.number, text.data() + count, text.size() - count);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) detail::fail_read(path.string(), detail::system_text(errno));
        if (got == 0) break;
        count += static_cast<std::size_t>(got);
    }
    text.resize(count);
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
    if (text.empty()) detail::fail_read(path.string(), "it is empty");
    return text;
}

}  // namespace unroll
