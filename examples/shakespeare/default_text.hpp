// Which text is learnt from when none is given.
#pragma once

#include <filesystem>
#include <string>

namespace shakespeare {

struct DefaultText {
    std::filesystem::path path;
    std::string which;  ///< for people: what text this is, and why it was taken
};

/// Tiny Shakespeare if `cached` is that very file, else the play. @throws WrongUse if neither is there
DefaultText default_text(const std::filesystem::path& cached, const std::filesystem::path& play);

/// From the place where scripts/get-data puts tiny Shakespeare (UNROLL_CACHE, else ~/.cache/unroll) and from the source
/// tree that this program was built from.
DefaultText default_text();

}  // namespace shakespeare
