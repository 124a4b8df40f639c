// What a chart holds, at its edges too. How it looks was judged by eye.
#include <unroll/autograd/error.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/tests/support/temporary_folder.hpp>
#include <unroll/train/line_chart.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace {

using unroll::LineChart;
using unroll::test::error_message;

// Tags closed in the order they were opened, quotes and ampersands in their places. Enough for what the charts are made of.
bool is_well_formed(const std::string& svg) {
    std::vector<std::string> open;
    for (std::size_t at = 0; at < svg.size(); ++at) {
        if (svg[at] == '&') {
            const std::size_t end = svg.find(';', at);
            const std::string name = svg.substr(at, end - at + 1);
            if (name != "&amp;" && name != "&lt;" && name != "&gt;" && name != "&quot;") return false;
        }
        if (svg[at] != '<') continue;
        const std::size_t end = svg.find('>', at);
        if (end == std::string::npos) return false;
        const std::string tag = svg.substr(at + 1, end - at - 1);
        const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
        if (tag[0] == '/') {
            if (open.empty() || "/" + open.back() != tag) return false;
            open.pop_back();
        } else if (tag.back() != '/') {
            open.push_back(name);
        }
        at = end;
    }
    return open.empty();
}

std::size_t count_of(const std::string& text, const std::string& piece) {
    std::size_t count = 0;
    for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++count;
    return count;
}

TEST(LineChart, ShowsTitleLabelsLinesAndLastValues) {
    LineChart chart({.title = "Loss & learning", .subtitle = "<split>", .x_label = "step", .y_label = "nats"});
    chart.add({.name = "train", .x = {1, 2, 3}, .y = {4, 3, 2.25}})
        .add({.name = "validation", .x = {1, 3}, .y = {4.1, 2.5}, .points = true})
        .add_level("5-gram", 1.669);
    const std::string svg = chart.to_svg();
    EXPECT_TRUE(is_well_formed(svg));
    for (const char* piece :
         {"<title>Loss &amp; learning</title>", ">&lt;split&gt;<", ">step<", ">nats<", ">train 2.250<",
          ">validation 2.500<", ">5-gram 1.669<", "2 lines; train ends at 2.250; validation ends at 2.500",
          "prefers-color-scheme:dark", "<title>step 3: 2.500</title>"})
        EXPECT_NE(svg.find(piece), std::string::npos) << piece;
    EXPECT_EQ(count_of(svg, "<path class=\"line"), 2u);
    EXPECT_EQ(count_of(svg, "<circle"), 2u);
    EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(LineChart, SmoothingDrawsTheValuesBehind) {
    std::vector<double> x;
    std::vector<double> y;
    for (int i = 0; i < 200; ++i) {
        x.push_back(i);
        y.push_back(2 + (i % 2 == 0 ? 0.5 : -0.5));
    }
    LineChart chart({});
    chart.add({.name = "noisy", .x = x, .y = y, .smoothing = 0.95});
    const std::string svg = chart.to_svg();
    EXPECT_EQ(count_of(svg, "<path class=\"behind"), 1u);
    // At the end half as many neighbours: (−.5)·(1 − .95)/(1 + .95) off the mean.
    EXPECT_NE(svg.find(">noisy 1.987<"), std::string::npos);
}

TEST(LineChart, NothingToShowIsSaid) {
    LineChart empty({.title = "Empty"});
    EXPECT_NE(empty.to_svg().find(">no values yet<"), std::string::npos);
    LineChart nan({.log_y = true});
    nan.add({.name = "a", .x = {1, 2, 3}, .y = {NAN, INFINITY, -1}}).add({.name = "b", .x = {}, .y = {}});
    nan.add_level("level", 1);
    EXPECT_NE(nan.to_svg().find(">no values yet<"), std::string::npos);
    EXPECT_TRUE(is_well_formed(nan.to_svg()));
}

TEST(LineChart, ValuesThatCannotBeShownAreGaps) {
    LineChart chart({.log_y = true});
    chart.add({.name = "a", .x = {1, 2, 3, 4, 5, 6}, .y = {1, 2, NAN, 3, 0, 4}, .smoothing = 0.5});
    chart.add({.name = "far", .x = {1}, .y = {INFINITY}}).add_level("none", NAN).add_level("negative", -1);
    const std::string svg = chart.to_svg();
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
    EXPECT_EQ(svg.find("negative"), std::string::npos);
    EXPECT_EQ(count_of(svg, "h0"), 4u);  // two dots of the line and of the values behind it
}

TEST(LineChart, OneValueAndExtremeValuesAreDrawn) {
    const double huge = std::numeric_limits<double>::max();
    for (const bool log : {false, true})
        for (const double value : {0.0, 1.0, -1.0, huge, -huge, 5e-324}) {
            LineChart chart({.log_x = log, .log_y = log});
            chart.add({.name = "one", .x = {value}, .y = {value}})
                .add({.name = "two", .x = {1, value}, .y = {1, value}});
            const std::string svg = chart.to_svg();
            EXPECT_TRUE(is_well_formed(svg));
            EXPECT_EQ(svg.find("\"nan"), std::string::npos) << value;
            EXPECT_EQ(svg.find("\"inf"), std::string::npos) << value;
        }
}

TEST(LineChart, ManyLinesHaveALegendAndNoLabelsAtTheirEnds) {
    LineChart chart({});
    for (int i = 0; i < 10; ++i)
        chart.add({.name = "line " + std::to_string(i), .x = {0, 1}, .y = {double(i), double(i)}});
    const std::string svg = chart.to_svg();
    EXPECT_NE(svg.find(">line 3<"), std::string::npos);
    EXPECT_EQ(svg.find(">line 3 3.000<"), std::string::npos);
    EXPECT_EQ(count_of(svg, "<path class=\"line c0\""), 1u);
    EXPECT_EQ(count_of(svg, "<path class=\"line c0 dashed\""), 1u);
    LineChart both({.legend = true});
    both.add({.name = "only", .x = {0, 1}, .y = {1, 2}});
    EXPECT_NE(both.to_svg().find(">only<"), std::string::npos);
    EXPECT_NE(both.to_svg().find(">only 2.000<"), std::string::npos);
}

TEST(LineChart, AMillionValuesMakeASmallFile) {
    std::vector<double> x(1000000);
    std::vector<double> y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<double>(i);
        y[i] = std::sin(static_cast<double>(i));
    }
    LineChart chart({});
    chart.add({.name = "sine", .x = x, .y = y});
    EXPECT_LT(chart.to_svg().size(), 80000u);
}

TEST(LineChart, SmallPicturesHoldTogether) {
    LineChart chart({.title = "T", .subtitle = "S", .x_label = "x", .y_label = "y", .width = 240, .height = 160});
    chart.add({.name = "a name that is far too long for this", .x = {0, 1}, .y = {0, 1}});
    const std::string svg = chart.to_svg();
    EXPECT_TRUE(is_well_formed(svg));
    EXPECT_NE(svg.find("… 1.000<"), std::string::npos);
}

TEST(LineChart, OptionsAndSeriesAreChecked) {
    EXPECT_EQ(error_message<unroll::ValueError>([] { LineChart({.width = 100}); }),
              "[LineChart] width must be 240 to 10000 pixels, not 100");
    EXPECT_EQ(error_message<unroll::ValueError>([] { LineChart({.height = 20000}); }),
              "[LineChart] height must be 160 to 10000 pixels, not 20000");
    LineChart chart({});
    EXPECT_EQ(error_message<unroll::ValueError>([&] {
                  chart.add({.name = "loss", .x = {1, 2}, .y = {1}});
              }),
              "[LineChart] the series 'loss' has 2 x and 1 y");
    EXPECT_EQ(error_message<unroll::ValueError>([&] { chart.add({.name = "", .x = {}, .y = {}, .smoothing = 1}); }),
              "[LineChart] smoothing must be in [0, 1), not 1");
}

TEST(LineChart, IsWrittenWholeOrNotAtAll) {
    unroll::test::TemporaryFolder folder;
    LineChart chart({.title = "T"});
    chart.add({.name = "a", .x = {0, 1}, .y = {0, 1}});
    chart.save(folder / "loss.svg");
    EXPECT_EQ(unroll::test::content_of(folder / "loss.svg"), chart.to_svg());
    EXPECT_EQ(folder.entries(), 1u);
    EXPECT_EQ(error_message<unroll::IoError>([&] { chart.save(folder.path() / "no" / "loss.svg"); }),
              "cannot write '" + (folder.path() / "no" / "loss.svg").string() + "': the folder '" +
                  (folder.path() / "no").string() + "' does not exist");
}

}  // namespace
