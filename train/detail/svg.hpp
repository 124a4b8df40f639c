// The pieces of a chart as SVG text: escaped text, lines, paths through many points, colours. It knows no axes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace unroll::detail {

struct Point {
    double x, y;  ///< pixels; NaN: a gap
};

struct Frame {
    double left, top, right, bottom;
};

/// Number of colours; the i-th has the classes "c<i>" (as stroke) and "t<i>" (as fill).
std::size_t hue_count() noexcept;
/// The classes of a chart and their colours in light and dark surroundings.
std::string style_sheet();

/// Text for between tags or within quotes. What XML cannot hold at all is replaced: control characters by '?', U+FFFE,
/// U+FFFF and bytes that are not UTF-8 by U+FFFD.
std::string escaped(std::string_view text);
/// About how wide text is in pixels.
double text_width(std::string_view text, double font_size);

/// The text, or as much of it as is not wider than `width` and "…".
std::string fitted(std::string_view text, double font_size, double width);

/// Of neighbours on one column of pixels the first, lowest, highest and last, in their order; gaps stay.
std::vector<Point> thinned(const std::vector<Point>& points);
/// "M… L…": lines between neighbours, or the points alone between gaps, each as a line of no length (a dot, with round ends).
std::string path_of(const std::vector<Point>& points);
std::string dots_of(const std::vector<Point>& points);

/// Append one element each; empty text appends nothing.
void put_text(std::string& svg, Point at, std::string_view style, std::string_view anchor, std::string_view text);
void put_line(std::string& svg, Point from, Point to, std::string_view style);
/// Both of them: lines in the style, dots in the style "spot" besides.
void put_path(std::string& svg, const std::vector<Point>& points, std::string_view style);

}  // namespace unroll::detail
