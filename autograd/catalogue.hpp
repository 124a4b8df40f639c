// The list of all ops. tests/autograd/catalogue/ has sample rows for each of them, and catalogue_test.cpp sweeps these: an op
// without an entry here, and an entry without a row there, fail.
#pragma once

#include <span>
#include <string_view>

namespace unroll {

/// One op of ops.hpp.
struct CatalogueEntry {
    std::string_view name;     ///< of the function, and of what it records: in errors, dumps, counts and profiles
    std::string_view family;   ///< "elementwise", "products", …: the section of ops.hpp
    std::string_view formula;  ///< what it computes, in one line
    bool recorded = true;      ///< false: its result never needs a gradient (argmax, one_hot)
};

/// All ops, family by family in the order of ops.hpp.
std::span<const CatalogueEntry> catalogue() noexcept;

}  // namespace unroll
