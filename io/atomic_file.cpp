// Writing through a temporary file, fsync and rename (POSIX).
#include <unroll/autograd/error.hpp>
#include <unroll/io/atomic_file.hpp>

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace unroll {
namespace {

constexpr std::size_t kGathered = std::size_t{1} << 16;  // bytes held back before they are passed on

[[noreturn]] void fail_write(const std::filesystem::path& path, std::string_view reason) {
    throw IoError(fmt::format("cannot write '{}': {}", path.string(), reason));
}

// The file that a chain of links ends at; it need not exist yet.
std::filesystem::path follow_links(const std::filesystem::path& path) {
    std::filesystem::path at = path;
    std::error_code ignored;
    for (int links = 0; std::filesystem::is_symlink(at, ignored); ++links) {
        if (links == 40) fail_write(path, detail::system_text(ELOOP));
        std::error_code error;
        const std::filesystem::path next = std::filesystem::read_symlink(at, error);
        if (error) fail_write(path, detail::system_text(error.value()));
        at = at.parent_path() / next;  // an absolute `next` replaces the whole
    }
    return at;
}

std::filesystem::path folder_of(const std::filesystem::path& target) {
    const std::filesystem::path folder = target.parent_path();
    return folder.empty() ? std::filesystem::path(".") : folder;
}

// Opens a new file beside the target. The name is short, for the target's may be as long as the system allows.
int open_beside(const std::filesystem::path& target, std::filesystem::path& temporary) {
    static std::atomic<unsigned> count{0};
    for (;;) {
        temporary = folder_of(target) / fmt::format(".unroll-{}-{}.tmp", ::getpid(), count++);
        const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        // A file of that name is a leftover of a killed process that had this number.
        if (descriptor >= 0 || (errno != EEXIST && errno != EINTR)) return descriptor;
    }
}

// Keeps a rename over the death of the machine. Some file systems cannot flush a folder (EINVAL); nothing is lost there
// that could be kept.
void flush_folder(const std::filesystem::path& folder) noexcept {
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    ::fsync(descriptor);
    ::close(descriptor);
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
    if (path.empty() || !path.has_filename()) fail_write(path, "it does not name a file");
    target_ = follow_links(path);
    struct stat before {};
    const bool exists = ::stat(target_.c_str(), &before) == 0;
    if (!exists && errno != ENOENT) fail_write(path, detail::system_text(errno));
    if (exists && S_ISDIR(before.st_mode)) fail_write(path, "it is a folder");
    // Renaming onto /dev/null would put a file in the place of the device.
    if (exists && !S_ISREG(before.st_mode)) fail_write(path, "it is not a regular file");
    if (exists && ::access(target_.c_str(), W_OK) != 0) fail_write(path, detail::system_text(errno));
    descriptor_ = open_beside(target_, temporary_);
    if (descriptor_ < 0) {
        const int error_number = errno;
        std::error_code ignored;
        const std::filesystem::path folder = folder_of(target_);
        if (error_number == ENOENT && !std::filesystem::exists(folder, ignored))
            fail_write(path, fmt::format("the folder '{}' does not exist", folder.string()));
        fail_write(path, fmt::format("cannot create a file in the folder '{}': {}", folder.string(),
                                     detail::system_text(error_number)));
    }
    if (exists && ::fchmod(descriptor_, before.st_mode & 07777) != 0) fail(errno);
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::write(std::span<const std::byte> bytes) {
    write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::write(std::string_view text) {
    if (descriptor_ < 0) detail::fail_usage("AtomicFile", "the file is committed or failed, nothing can be written");
    if (gathered_.size() + text.size() > kGathered) flush();
    if (text.size() >= kGathered)
        write_through(reinterpret_cast<const std::byte*>(text.data()), text.size());
    else
        gathered_.append(text);
}

void AtomicFile::sync() {
    if (descriptor_ < 0) detail::fail_usage("AtomicFile", "the file is committed or failed, it cannot be committed");
    flush();
    if (::fsync(descriptor_) != 0) fail(errno);
}

void AtomicFile::commit() {
    sync();
    const int descriptor = descriptor_;
    descriptor_ = -1;
    if (::close(descriptor) != 0 && errno != EINTR) fail(errno);
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail(errno);
    temporary_.clear();
    flush_folder(folder_of(target_));
}

void AtomicFile::flush() {
    write_through(reinterpret_cast<const std::byte*>(gathered_.data()), gathered_.size());
    gathered_.clear();
}

void AtomicFile::write_through(const std::byte* bytes, std::size_t count) {
    while (count > 0) {
        const ssize_t written = ::write(descriptor_, bytes, count);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) fail(written < 0 ? errno : ENOSPC);
        bytes += written;
        count -= static_cast<std::size_t>(written);
    }
}

void AtomicFile::discard() noexcept {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
    temporary_.clear();
}

void AtomicFile::fail(int error_number) {
    discard();
    fail_write(path_, detail::system_text(error_number));
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
    AtomicFile file(path);
    file.write(bytes);
    file.commit();
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
    AtomicFile file(path);
    file.write(text);
    file.commit();
}

void write_file_atomically(const std::filesystem::path& path, const std::function<void(AtomicFile&)>& write) {
    AtomicFile file(path);
    write(file);
    file.commit();
}

void check_writable(const std::filesystem::path& path) { AtomicFile never_committed(path); }

}  // namespace unroll
