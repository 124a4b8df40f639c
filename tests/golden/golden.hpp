// Reads the golden numbers of this folder, and repeats in C++ the rule that filled their inputs.
// It compares nothing, and knows no tensor: tests turn its plain vectors into what they need.
#pragma once

#include <unroll/tests/support/source_folder.hpp>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace unroll::golden {

/// `count` numbers in (−scale, scale), the same bits as fill() of golden_common.py.
inline std::vector<double> fill(std::uint64_t seed, std::size_t count, double scale = 0.5) {
    std::vector<double> values(count);
    for (double& value : values) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        value = scale * (static_cast<double>(seed >> 33) / 1073741824.0 - 1.0);
    }
    return values;
}

/// A number, or one of the strings "inf", "-inf", "nan" that stand for what JSON cannot write.
inline double number(const nlohmann::json& value) {
    if (value.is_number()) return value.get<double>();
    const auto& text = value.get_ref<const std::string&>();
    if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
    return (text == "-inf" ? -1.0 : 1.0) * std::numeric_limits<double>::infinity();
}

/// A flat list of numbers.
inline std::vector<double> numbers(const nlohmann::json& list) {
    std::vector<double> values;
    values.reserve(list.size());
    for (const auto& value : list) values.push_back(number(value));
    return values;
}

/// The numbers of an entry {"shape": …} that is either filled ("seed", "scale") or written out ("values").
inline std::vector<double> entry(const nlohmann::json& given) {
    if (given.contains("values")) return numbers(given.at("values"));
    std::size_t count = 1;
    for (const auto& extent : given.at("shape")) count *= extent.get<std::size_t>();
    return fill(given.at("seed").get<std::uint64_t>(), count, given.value("scale", 0.5));
}

/// The file of this folder with this name, after a check that fill() here is the fill() that made it.
inline nlohmann::json load(const std::string& name) {
    const std::string path = test::source_file("tests/golden/" + name);
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot read golden numbers from " + path);
    auto document = nlohmann::json::parse(file);
    if (fill(1, 4) != numbers(document.at("fill_seed_1")))
        throw std::runtime_error("the fill rule of " + path + " is not that of golden.hpp");
    return document;
}

}  // namespace unroll::golden
