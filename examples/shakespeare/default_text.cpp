// The cache, and the play that comes with the source.
#include "default_text.hpp"

#include "options.hpp"

#include <unroll/autograd/detail/fnv1a.hpp>
#include <unroll/data/text_file.hpp>

#include <fmt/format.h>

#include <cstdlib>

namespace shakespeare {

namespace fs = std::filesystem;

namespace {

/// Large enough to tell a file that was cut or edited; scripts/get-data compares its sha256.
bool is_tiny_shakespeare(const fs::path& file) {
    std::error_code error;
    if (fs::file_size(file, error) != 1'115'394 || error) return false;
    return unroll::detail::Fnv1a().take_each(unroll::read_text_file(file)).hash == 0x4016c93c3be74c18;
}

fs::path cached_tiny_shakespeare() {
    const char* cache = std::getenv("UNROLL_CACHE");
    const char* home = std::getenv("HOME");
    if (cache && *cache) return fs::path(cache) / "tinyshakespeare.txt";
    if (home && *home) return fs::path(home) / ".cache/unroll/tinyshakespeare.txt";
    return {};
}

}  // namespace

DefaultText default_text(const fs::path& cached, const fs::path& play) {
    if (is_tiny_shakespeare(cached)) return {cached, "tiny Shakespeare"};
    std::error_code error;
    const bool other = fs::exists(cached, error);
    if (fs::exists(play, error))
        return {play, fmt::format("the play that comes with the source, because {}",
                                  other ? fmt::format("{} is not the whole of tiny Shakespeare", cached.string())
                                        : "tiny Shakespeare is not in the cache (scripts/get-data tinyshakespeare)")};
    throw WrongUse("there is no text to learn from: give --data FILE, or run scripts/get-data tinyshakespeare first");
}

DefaultText default_text() { return default_text(cached_tiny_shakespeare(), UNROLL_PLAY); }

}  // namespace shakespeare
