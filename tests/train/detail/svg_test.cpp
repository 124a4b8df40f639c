// Text and paths as SVG has them.
#include <unroll/train/detail/svg.hpp>

#include <gtest/gtest.h>

#include <cmath>

namespace {

using unroll::detail::Point;

const Point kGap{NAN, NAN};

TEST(Svg, TextIsEscaped) {
    EXPECT_EQ(unroll::detail::escaped("a<b> & \"c\" é"), "a&lt;b&gt; &amp; &quot;c&quot; é");
    EXPECT_EQ(unroll::detail::escaped(std::string_view("\0\x1b", 2)), "??");
}

TEST(Svg, WhatXmlCannotHoldIsReplaced) {
    EXPECT_EQ(unroll::detail::escaped("caf\xE9 <\x9F\xC3"), "caf\uFFFD &lt;\uFFFD\uFFFD");
    EXPECT_EQ(unroll::detail::escaped("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
    EXPECT_EQ(unroll::detail::escaped("\uFFFD\uFFFE\uFFFF\U0001FFFF"), "\uFFFD\uFFFD\uFFFD\U0001FFFF");
}

TEST(Svg, PathsBreakAtGapsAndPointsAloneAreDots) {
    const std::vector<Point> points{{1, 2}, {3, 4}, kGap, {5, 6}, kGap, {7, 8}, {9, 10.25}};
    EXPECT_EQ(unroll::detail::path_of(points), "M1.0 2.0L3.0 4.0M7.0 8.0L9.0 10.2");
    EXPECT_EQ(unroll::detail::dots_of(points), "M5.0 6.0h0");
    EXPECT_EQ(unroll::detail::path_of({}), "");
    EXPECT_EQ(unroll::detail::dots_of({{1, 1}}), "M1.0 1.0h0");
    EXPECT_EQ(unroll::detail::path_of({kGap, kGap}), "");
}

TEST(Svg, ThinningKeepsTheExtremesOfEachColumn) {
    std::vector<Point> points;
    for (int i = 0; i < 100000; ++i) points.push_back({i / 1000.0, std::sin(i)});
    points[50500].y = 77;
    points[60600].y = -77;
    points[70700] = kGap;
    const auto few = unroll::detail::thinned(points);
    EXPECT_LE(few.size(), 4u * 102);
    double low = 0;
    double high = 0;
    int gaps = 0;
    double last = -1;
    for (const Point& point : few) {
        if (std::isnan(point.x)) {
            ++gaps;
            continue;
        }
        EXPECT_GT(point.x, last);
        last = point.x;
        low = std::min(low, point.y);
        high = std::max(high, point.y);
    }
    EXPECT_EQ(low, -77);
    EXPECT_EQ(high, 77);
    EXPECT_EQ(gaps, 1);
    EXPECT_EQ(few.back().x, points.back().x);
}

TEST(Svg, LongTextIsCutBetweenCharacters) {
    EXPECT_EQ(unroll::detail::fitted("short", 13, 100), "short");
    const std::string cut = unroll::detail::fitted("ééééééééééééééééé", 13, 60);
    EXPECT_EQ(cut, "ééééé…");
    EXPECT_LE(unroll::detail::text_width(cut, 13), 60);
    EXPECT_EQ(unroll::detail::fitted("text", 13, -5), "…");
}

TEST(Svg, EmptyTextIsNoElement) {
    std::string svg;
    unroll::detail::put_text(svg, {1, 2}, "ink", "start", "");
    unroll::detail::put_path(svg, {}, "line");
    EXPECT_EQ(svg, "");
}

}  // namespace
