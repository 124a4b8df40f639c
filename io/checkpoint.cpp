// The mark of our own files, and the row of checkpoints.
#include <unroll/autograd/detail/fnv1a.hpp>
#include <unroll/autograd/error.hpp>
#include <unroll/io/atomic_file.hpp>
#include <unroll/io/checkpoint.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cstdint>
#include <system_error>

namespace unroll {
namespace {

namespace fs = std::filesystem;

// Raised whenever older readers could not use a newer file, or newer ones not an older file.
constexpr std::uint64_t kVersion = 1;
constexpr const char* kMark = "unroll";
constexpr std::array<std::string_view, 2> kKinds{"model", "checkpoint"};

std::string hexadecimal(const detail::Fnv1a& sum) { return fmt::format("{:016x}", sum.hash); }

/// Over names, types, shapes and bytes of all tensors: what shows a bit that has fallen over.
std::string tensor_checksum(const StateDict& dict) {
    detail::Fnv1a sum;
    for (const StateDict::Entry& entry : dict.entries()) {
        if (entry.is_json()) continue;
        const StoredTensor& tensor = entry.tensor();
        sum.take_each(fmt::format("{} {} {};", entry.name, to_string(tensor.dtype()), to_string(tensor.shape())));
        sum.take_each(tensor.bytes());
    }
    return hexadecimal(sum);
}

/// Over names and texts of all JSON entries.
std::string metadata_checksum(const StateDict& dict) {
    detail::Fnv1a sum;
    for (const StateDict::Entry& entry : dict.entries())
        if (entry.is_json()) sum.take_each(fmt::format("{} {};", entry.name, entry.json_text()));
    return hexadecimal(sum);
}

StateDict marked(const StateDict& dict, std::string_view kind) {
    StateDict out;
    out.put_json(kMark, {{"kind", kind},
                         {"version", kVersion},
                         {"checksum", tensor_checksum(dict)},
                         {"metadata_checksum", metadata_checksum(dict)}});
    for (const StateDict::Entry& entry : dict.entries())
        if (entry.is_json())
            out.put_json_text(entry.name, entry.json_text());
        else
            out.put(entry.name, entry.tensor());
    return out;
}

std::string_view kind_of(const StateDict& dict) {
    const StateDict::Entry* mark = dict.find(kMark);
    if (!mark || !mark->is_json()) return {};
    const nlohmann::json json = dict.json(kMark);
    if (!json.is_object() || !json.contains("kind")) return {};
    for (const std::string_view kind : kKinds)
        if (json["kind"] == kind) return kind;
    return {};
}

// Only the header is read before the file is known to be what it should be.
StateDict load(const fs::path& path, std::string_view kind) {
    const auto fail = [&](std::string_view reason) { detail::fail_read(path.string(), reason); };
    const SafetensorsInfo info = read_safetensors_info(path);
    const std::string_view found = unroll::kind_of(info);
    if (found.empty()) fail(fmt::format("it is a safetensors file of another program, not a {} of unroll", kind));
    if (found != kind) fail(fmt::format("it is a {}, not a {}", found, kind));
    const nlohmann::json mark = info.metadata.json(kMark);
    const auto version = mark.find("version");
    if (version == mark.end() || !version->is_number_unsigned())
        fail("it does not say which version of the format it has");
    if (*version != kVersion)
        fail(fmt::format("it has version {} of the format, {} than {}, the one that is known",
                         version->get<std::uint64_t>(), *version > kVersion ? "newer" : "older", kVersion));
    StateDict dict = read_safetensors(path).without(kMark);
    const auto sum = mark.find("checksum"), metadata_sum = mark.find("metadata_checksum");
    if (sum == mark.end() || *sum != tensor_checksum(dict))
        fail("its tensors are not those that were written (wrong checksum)");
    if (metadata_sum != mark.end() && *metadata_sum != metadata_checksum(dict))  // older files have none
        fail("its metadata are not those that were written (wrong checksum)");
    return dict;
}

// "run.safetensors" → "run.2.safetensors"
fs::path numbered(const fs::path& path, Index number) {
    fs::path out = path;
    return out.replace_filename(fmt::format("{}.{}{}", path.stem().string(), number, path.extension().string()));
}

void rename_or_fail(const fs::path& from, const fs::path& to) {
    std::error_code error;
    fs::rename(from, to, error);
    if (error)
        throw IoError(fmt::format("cannot rename '{}' to '{}': {}", from.string(), to.string(), error.message()));
}

// Moves every checkpoint one place on. `path` stays, under both its names, until it is replaced.
void move_on(const fs::path& path, Index keep) {
    std::error_code ignored;
    for (Index k = keep; fs::remove(numbered(path, k), ignored); ++k) {
    }
    Index gap = 1;  // the first number that is free, or the last one, which becomes so
    while (gap < keep - 1 && fs::exists(numbered(path, gap), ignored)) ++gap;
    fs::remove(numbered(path, gap), ignored);
    for (Index k = gap - 1; k >= 1; --k) rename_or_fail(numbered(path, k), numbered(path, k + 1));
    if (!fs::exists(path, ignored)) return;
    std::error_code error;
    fs::create_hard_link(path, numbered(path, 1), error);
    if (!error) return;
    if (!fs::copy_file(path, numbered(path, 1), error))  // a file system without links
        throw IoError(
            fmt::format("cannot copy '{}' to '{}': {}", path.string(), numbered(path, 1).string(), error.message()));
}

}  // namespace

void save_model(const std::filesystem::path& path, const StateDict& model) {
    write_safetensors(path, marked(model, "model"));
}

StateDict load_model(const std::filesystem::path& path) { return load(path, "model"); }

void save_checkpoint(const std::filesystem::path& path, const StateDict& state, const CheckpointOptions& options) {
    if (options.keep < 1)
        detail::fail_value("save_checkpoint", fmt::format("keep must be at least 1, it is {}", options.keep));
    const StateDict all = marked(state, "checkpoint");
    AtomicFile file(path);
    write_safetensors(file, all);
    if (options.keep > 1) {
        file.sync();
        std::error_code ignored;
        const fs::path target = fs::weakly_canonical(path, ignored);
        move_on(target.empty() ? path : target, options.keep);
    }
    file.commit();
}

StateDict load_checkpoint(const std::filesystem::path& path) { return load(path, "checkpoint"); }

std::string_view kind_of(const SafetensorsInfo& info) { return kind_of(info.metadata); }

}  // namespace unroll
