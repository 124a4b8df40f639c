// Reading and writing the bytes of safetensors files; the header's text is detail/safetensors_header.cpp's.
#include <unroll/autograd/error.hpp>
#include <unroll/io/atomic_file.hpp>
#include <unroll/io/detail/safetensors_header.hpp>
#include <unroll/io/safetensors.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace unroll {
namespace {

/// Bytes that are read from any place, in memory or in a file.
class Source {
public:
    Source(std::string name, std::uint64_t size) : name_(std::move(name)), size_(size) {}
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    virtual ~Source() = default;

    virtual void read(std::uint64_t offset, std::byte* out, std::uint64_t count) const = 0;
    const std::string& name() const noexcept { return name_; }
    std::uint64_t size() const noexcept { return size_; }

protected:
    std::string name_;
    std::uint64_t size_;
};

class MemorySource : public Source {
public:
    MemorySource(std::string name, std::span<const std::byte> bytes)
        : Source(std::move(name), bytes.size()), bytes_(bytes) {}
    void read(std::uint64_t offset, std::byte* out, std::uint64_t count) const override {
        std::copy_n(bytes_.data() + offset, count, out);
    }

private:
    std::span<const std::byte> bytes_;
};

class FileSource : public Source {
public:
    explicit FileSource(const std::filesystem::path& path) : Source(path.string(), 0) {
        // Opening a pipe without O_NONBLOCK would wait for somebody to write into it.
        descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (descriptor_ < 0) detail::fail_read(name_, detail::system_text(errno));
        try {
            struct stat about {};
            if (::fstat(descriptor_, &about) != 0) detail::fail_read(name_, detail::system_text(errno));
            if (S_ISDIR(about.st_mode)) detail::fail_read(name_, "it is a folder");
            if (!S_ISREG(about.st_mode)) detail::fail_read(name_, "it is not a regular file");
            if (about.st_size == 0) detail::fail_read(name_, "it is empty");
            size_ = static_cast<std::uint64_t>(about.st_size);
        } catch (...) {
            ::close(descriptor_);
            throw;
        }
    }
    ~FileSource() override { ::close(descriptor_); }

    void read(std::uint64_t offset, std::byte* out, std::uint64_t count) const override {
        while (count > 0) {
            const ssize_t got = ::pread(descriptor_, out, count, static_cast<off_t>(offset));
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) detail::fail_read(name_, detail::system_text(errno));
            if (got == 0) detail::fail_read(name_, "it became shorter while it was read");
            out += got;
            offset += static_cast<std::uint64_t>(got);
            count -= static_cast<std::uint64_t>(got);
        }
    }

private:
    int descriptor_ = -1;
};

constexpr std::uint64_t kLengthBytes = 8;

struct Opened {
    detail::SafetensorsHeader header;
    std::uint64_t data_begin;
};

Opened read_header(const Source& source) {
    if (source.size() < kLengthBytes)
        detail::fail_read(source.name(),
                          fmt::format("{} bytes are no safetensors file, nor the beginning of one", source.size()));
    std::uint64_t length = 0;
    source.read(0, reinterpret_cast<std::byte*>(&length), kLengthBytes);
    if (length > detail::kLongestHeader)
        detail::fail_read(
            source.name(),
            "it is no safetensors file (its first 8 bytes ask for a header longer than 100,000,000 bytes)");
    if (length > source.size() - kLengthBytes)
        detail::fail_read(source.name(),
                          fmt::format("it is truncated or no safetensors file: a header of {} bytes does not fit into "
                                      "its {} bytes",
                                      length, source.size()));
    std::string text(length, '\0');
    source.read(kLengthBytes, reinterpret_cast<std::byte*>(text.data()), length);
    try {
        const std::uint64_t data_begin = kLengthBytes + length;
        return {detail::parse_safetensors_header(text, source.size() - data_begin), data_begin};
    } catch (const detail::HeaderFault& fault) {
        detail::fail_read(source.name(), fault.reason);
    }
}

StateDict metadata_of(const detail::SafetensorsHeader& header, const std::string& origin) {
    StateDict dict;
    dict.set_origin(origin);
    for (const auto& [key, text] : header.metadata) dict.put_json_text(key, text);
    return dict;
}

StateDict read_all(const Source& source) {
    try {
        const auto [header, data_begin] = read_header(source);
        StateDict dict = metadata_of(header, source.name());
        for (const detail::TensorPlace& place : header.tensors) {
            const std::uint64_t count = place.end - place.begin;
            auto bytes = std::make_shared_for_overwrite<std::byte[]>(count);
            source.read(data_begin + place.begin, bytes.get(), count);
            dict.put(place.name, StoredTensor(place.dtype, place.shape, std::move(bytes), count));
        }
        return dict;
    } catch (const std::bad_alloc&) {
        detail::fail_read(source.name(), "there is not enough memory for it");
    }
}

/// Passes the pieces of a file on in their order. @throws ValueError for a header that is too long
template <class Write>
void write_pieces(const StateDict& dict, Write write) {
    const detail::HeaderText header = detail::format_safetensors_header(dict);
    if (header.text.size() > detail::kLongestHeader)
        detail::fail_value("safetensors",
                           fmt::format("a header of {} bytes is longer than the format's 100,000,000; put large "
                                       "JSON values elsewhere",
                                       header.text.size()));
    const std::uint64_t length = header.text.size();
    write(std::as_bytes(std::span(&length, 1)));
    write(std::as_bytes(std::span(header.text)));
    for (const StateDict::Entry* entry : header.order) write(entry->tensor().bytes());
}

}  // namespace

StateDict read_safetensors(const std::filesystem::path& path) { return read_all(FileSource(path)); }

StateDict parse_safetensors(std::span<const std::byte> bytes, const std::string& origin) {
    return read_all(MemorySource(origin, bytes));
}

SafetensorsInfo read_safetensors_info(const std::filesystem::path& path) {
    const FileSource source(path);
    const detail::SafetensorsHeader header = read_header(source).header;
    SafetensorsInfo info;
    for (const detail::TensorPlace& place : header.tensors)
        info.tensors.push_back({place.name, place.dtype, place.shape, place.end - place.begin});
    info.metadata = metadata_of(header, source.name());
    info.file_bytes = source.size();
    return info;
}

void write_safetensors(const std::filesystem::path& path, const StateDict& dict) {
    write_file_atomically(path, [&](AtomicFile& file) { write_safetensors(file, dict); });
}

void write_safetensors(AtomicFile& file, const StateDict& dict) {
    write_pieces(dict, [&](std::span<const std::byte> bytes) { file.write(bytes); });
}

std::string format_safetensors(const StateDict& dict) {
    std::string out;
    write_pieces(dict, [&](std::span<const std::byte> bytes) {
        out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    });
    return out;
}

}  // namespace unroll
