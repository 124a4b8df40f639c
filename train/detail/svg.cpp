// Writing SVG.
#include <unroll/data/utf8.hpp>
#include <unroll/train/detail/svg.hpp>
#include <unroll/train/terminal.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

namespace unroll::detail {
namespace {

struct Hue {
    const char* light;
    const char* dark;
};
constexpr std::array kHues{Hue{"#0969da", "#58a6ff"}, Hue{"#d4620a", "#f0883e"}, Hue{"#1a7f5a", "#3fb98f"},
                           Hue{"#8250df", "#bc8cff"}, Hue{"#bf3989", "#f778ba"}, Hue{"#7d6608", "#d4b106"},
                           Hue{"#57606a", "#8b949e"}, Hue{"#0e7490", "#39c5cf"}};

// Bytes that are not UTF-8, and the two characters that XML cannot hold, become U+FFFD.
std::string with_replacements(std::string_view text) {
    std::u32string all = decode_utf8_lossy(text);
    for (char32_t& c : all)
        if (c == 0xFFFE || c == 0xFFFF) c = U'\uFFFD';
    return encode_utf8(all);
}

}  // namespace

std::size_t hue_count() noexcept { return kHues.size(); }

std::string style_sheet() {
    std::string light;
    std::string dark;
    for (std::size_t i = 0; i < kHues.size(); ++i) {
        light += fmt::format(".c{0}{{stroke:{1}}}.t{0}{{fill:{1}}}", i, kHues[i].light);
        dark += fmt::format(".c{0}{{stroke:{1}}}.t{0}{{fill:{1}}}", i, kHues[i].dark);
    }
    return fmt::format(
        "text{{font-family:system-ui,-apple-system,'Segoe UI','Helvetica Neue',Arial,'DejaVu Sans',sans-serif;"
        "font-size:13px}}"
        ".title{{font-size:18px;font-weight:600}}.strong{{font-weight:600}}"
        ".line{{fill:none;stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}}"
        ".behind{{fill:none;stroke-width:1;stroke-linejoin:round;stroke-linecap:round;opacity:.3}}"
        ".spot{{stroke-width:6}}.dashed{{stroke-dasharray:7 "
        "4}}.dot{{stroke-width:1.5}}.leader{{stroke-width:1;opacity:.5;fill:none}}"
        ".grid{{stroke-width:1}}.level{{stroke-width:1.25;stroke-dasharray:5 4}}"
        ".paper{{fill:#fff}}.dot{{stroke:#fff}}.ink{{fill:#1f2328}}.soft{{fill:#656d76}}"
        ".grid{{stroke:#e7eaee}}.base{{stroke:#afb8c1}}.level{{stroke:#8c959f}}{}"
        "@media(prefers-color-scheme:dark){{.paper{{fill:#0d1117}}.dot{{stroke:#0d1117}}.ink{{fill:#e6edf3}}"
        ".soft{{fill:#8b949e}}.grid{{stroke:#21262d}}.base{{stroke:#484f58}}.level{{stroke:#6e7681}}{}}}",
        light, dark);
}

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : without_controls(with_replacements(text))) {
        switch (c) {
        case '&': out += "&amp;"; break;
        case '<': out += "&lt;"; break;
        case '>': out += "&gt;"; break;
        case '"': out += "&quot;"; break;
        default: out += c;
        }
    }
    return out;
}

// Of a wide typeface in bold: what is narrower leaves some room.
double text_width(std::string_view text, double font_size) { return 0.66 * font_size * columns_of(text); }

std::string fitted(std::string_view text, double font_size, double width) {
    std::string all(text);
    if (text_width(all, font_size) <= width) return all;
    const auto is_continuation = [](char c) { return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u; };
    while (!all.empty() && text_width(all + "…", font_size) > width) {
        while (!all.empty() && is_continuation(all.back())) all.pop_back();
        if (!all.empty()) all.pop_back();
    }
    return all + "…";
}

std::vector<Point> thinned(const std::vector<Point>& points) {
    std::vector<Point> kept;
    for (std::size_t begin = 0; begin < points.size();) {
        std::size_t end = begin + 1;
        const double column = std::floor(points[begin].x);  // NaN is equal to nothing
        while (end < points.size() && std::floor(points[end].x) == column) ++end;
        if (end - begin <= 4) {
            kept.insert(kept.end(), points.begin() + begin, points.begin() + end);
        } else {
            const auto [low, high] = std::minmax_element(points.begin() + begin, points.begin() + end,
                                                         [](const Point& a, const Point& b) { return a.y < b.y; });
            std::array<std::ptrdiff_t, 4> chosen{static_cast<std::ptrdiff_t>(begin), low - points.begin(),
                                                 high - points.begin(), static_cast<std::ptrdiff_t>(end - 1)};
            std::sort(chosen.begin(), chosen.end());
            for (auto at = chosen.begin(); at != std::unique(chosen.begin(), chosen.end()); ++at)
                kept.push_back(points[static_cast<std::size_t>(*at)]);
        }
        begin = end;
    }
    return kept;
}

namespace {

bool is_gap(const std::vector<Point>& points, std::size_t i) { return i >= points.size() || std::isnan(points[i].x); }

bool is_alone(const std::vector<Point>& points, std::size_t i) {
    return !is_gap(points, i) && is_gap(points, i - 1) && is_gap(points, i + 1);  // before 0 is beyond the end
}

}  // namespace

std::string path_of(const std::vector<Point>& points) {
    std::string path;
    for (std::size_t i = 0; i < points.size(); ++i)
        if (!is_gap(points, i) && !is_alone(points, i))
            path += fmt::format("{}{:.1f} {:.1f}", is_gap(points, i - 1) ? "M" : "L", points[i].x, points[i].y);
    return path;
}

std::string dots_of(const std::vector<Point>& points) {
    std::string path;
    for (std::size_t i = 0; i < points.size(); ++i)
        if (is_alone(points, i)) path += fmt::format("M{:.1f} {:.1f}h0", points[i].x, points[i].y);
    return path;
}

void put_text(std::string& svg, Point at, std::string_view style, std::string_view anchor, std::string_view text) {
    if (text.empty()) return;
    fmt::format_to(std::back_inserter(svg),
                   "<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\" text-anchor=\"{}\">{}</text>\n", at.x, at.y, style,
                   anchor, escaped(text));
}

void put_line(std::string& svg, Point from, Point to, std::string_view style) {
    fmt::format_to(std::back_inserter(svg),
                   "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", from.x, from.y,
                   to.x, to.y, style);
}

void put_path(std::string& svg, const std::vector<Point>& points, std::string_view style) {
    const std::vector<Point> few = thinned(points);
    const auto put = [&](const std::string& path, std::string_view more) {
        if (!path.empty())
            fmt::format_to(std::back_inserter(svg), "<path class=\"{}{}\" d=\"{}\"/>\n", style, more, path);
    };
    put(path_of(few), "");
    put(dots_of(few), " spot");
}

}  // namespace unroll::detail
