// The line at several widths, when it is drawn, and what else may be printed.
#include <unroll/train/progress.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace {

using unroll::columns_of;
using unroll::ProgressBar;
using unroll::ProgressOptions;
using unroll::ProgressStatus;
using unroll::Terminal;

const ProgressStatus kFull{.epoch = 3,
                           .epochs = 50,
                           .step = 1234,
                           .steps = 5400,
                           .train_loss = 1.6123,
                           .validation_loss = 1.5877,
                           .units_per_second = 412345,
                           .fraction = 0.2285,
                           .seconds_left = 83};

std::string line_of(const ProgressStatus& status, const Terminal& terminal) {
    return ProgressBar::line(status, terminal, "nats/char", "chars/s");
}

TEST(ProgressLine, AWideTerminalShowsEverything) {
    EXPECT_EQ(line_of(kFull, {.interactive = true, .width = 200}),
              "epoch 3/50 ━━━━━━━━━─────────────────────────────── "
              " 22%  step 1,234/5,400  train 1.612  val 1.588 nats/char  412k chars/s  1:23 left");
    EXPECT_EQ(line_of(kFull, {.interactive = true, .unicode = false, .width = 110}),
              "epoch 3/50 [###...........]  22%  step 1,234/5,400  train 1.612  val 1.588 nats/char  412k chars/s  "
              "1:23 left");
}

TEST(ProgressLine, PlainTextHasNoBar) {
    EXPECT_EQ(line_of(kFull, {.interactive = false, .width = 20}),
              "epoch 3/50  22%  step 1,234/5,400  train 1.612  val 1.588 nats/char  412k chars/s  1:23 left");
}

TEST(ProgressLine, NeverTakesMoreThanItsLine) {
    for (const bool colors : {false, true})
        for (const bool unicode : {false, true})
            for (int width = 1; width < 160; ++width) {
                const Terminal terminal{.interactive = true, .unicode = unicode, .colors = colors, .width = width};
                EXPECT_LE(columns_of(line_of(kFull, terminal)), width - 1) << width;
            }
}

TEST(ProgressLine, ANarrowTerminalKeepsTheLosses) {
    EXPECT_EQ(line_of(kFull, {.interactive = true, .width = 72}),
              "epoch 3/50 ━━━━╸───────────────  22%  train 1.612  val 1.588  1:23 left");
    EXPECT_EQ(line_of(kFull, {.interactive = true, .width = 30}), " 22%  train 1.612  val 1.588");
    EXPECT_EQ(line_of(kFull, {.interactive = true, .width = 10}), "val 1.588");
    EXPECT_EQ(line_of(kFull, {.interactive = true, .width = 9}), "");
}

TEST(ProgressLine, WhatIsNotKnownIsLeftOut) {
    EXPECT_EQ(line_of({.step = 7}, {.interactive = true, .width = 80}), "step 7");
    EXPECT_EQ(line_of({.epoch = 2, .train_loss = 4}, {.interactive = true, .width = 80}),
              "epoch 2  train 4.000 nats/char");
    EXPECT_EQ(line_of({}, {.interactive = true, .width = 80}), "");
}

TEST(ProgressLine, HugeLossesStayShort) {
    EXPECT_EQ(line_of({.train_loss = 1.8449e27, .validation_loss = INFINITY}, {.interactive = true, .width = 80}),
              "train 1.845e+27  val inf nats/char");
    EXPECT_EQ(line_of({.train_loss = 14316.71}, {.interactive = true, .width = 80}), "train 14316.710 nats/char");
}

TEST(ProgressLine, ABarFillsWithTheFraction) {
    const Terminal terminal{.interactive = true, .width = 16};
    const auto bar = [&](double fraction) { return line_of({.fraction = fraction}, terminal); };
    EXPECT_EQ(bar(0), "──────────   0%");
    EXPECT_EQ(bar(0.25), "━━╸───────  25%");
    EXPECT_EQ(bar(0.999), "━━━━━━━━━╸  99%");
    EXPECT_EQ(bar(1), "━━━━━━━━━━ 100%");
    EXPECT_EQ(bar(7), bar(1));
    EXPECT_EQ(bar(-7), bar(0));
}

// A bar whose output and clock the test holds.
struct Watched {
    std::string out;
    double now = 0;
    ProgressBar bar;

    explicit Watched(const Terminal& terminal)
        : bar([&] {
              ProgressOptions options;
              options.terminal = terminal;
              options.write = [this](std::string_view text) { out += text; };
              options.clock = [this] { return now; };
              return options;
          }()) {}

    std::string taken() { return std::exchange(out, {}); }
};

TEST(ProgressBar, RedrawsAtMostEveryTenthOfASecond) {
    Watched w({.interactive = true, .width = 80});
    w.bar.update({.step = 1});
    EXPECT_EQ(w.taken(), "\rstep 1\x1b[K");
    w.now = 0.09;
    w.bar.update({.step = 2});
    EXPECT_EQ(w.taken(), "");
    w.now = 0.11;
    w.bar.update({.step = 3});
    EXPECT_EQ(w.taken(), "\rstep 3\x1b[K");
    w.bar.update({.step = 4});
    w.bar.finish();
    EXPECT_EQ(w.taken(), "\rstep 4\x1b[K\n");
    w.bar.finish();
    EXPECT_EQ(w.taken(), "");
}

TEST(ProgressBar, TextStandsAboveTheLine) {
    Watched w({.interactive = true, .width = 80});
    w.bar.update({.step = 1});
    w.taken();
    w.bar.print("ROMEO:\x1b[2J\nBut soft");
    EXPECT_EQ(w.taken(), "\r\x1b[KROMEO:?[2J\nBut soft\n\rstep 1\x1b[K");
    w.bar.print("");
    EXPECT_EQ(w.taken(), "");
    w.bar.clear();
    EXPECT_EQ(w.taken(), "\r\x1b[K");
    w.bar.print("text\n");
    EXPECT_EQ(w.taken(), "text\n");
    w.bar.update({.step = 2});
    EXPECT_EQ(w.taken(), "\rstep 2\x1b[K");
}

TEST(ProgressBar, PlainLinesComeSeldomAndEverMoreSeldom) {
    Watched w({.interactive = false});
    int lines = 0;
    for (int i = 0; i < 3600 * 10; ++i) {  // an hour, ten updates a second
        w.now = i / 10.0;
        w.bar.update({.step = i + 1});
        const std::string text = w.taken();
        if (text.empty()) continue;
        ++lines;
        EXPECT_EQ(text.back(), '\n');
        EXPECT_EQ(text.find('\r'), std::string::npos);
        EXPECT_EQ(text.find('\x1b'), std::string::npos);
    }
    EXPECT_GT(lines, 60);
    EXPECT_LT(lines, 120);
    w.bar.print("sample");
    EXPECT_EQ(w.taken(), "sample\n");
    w.bar.finish();
    EXPECT_EQ(w.taken(), "step 36,000\n");
}

TEST(ProgressBar, TheLastLineStandsWhenTheBarDies) {
    std::string out;
    {
        ProgressOptions options;
        options.terminal = Terminal{.interactive = true, .width = 80};
        options.write = [&](std::string_view text) { out += text; };
        ProgressBar bar(options);
        bar.update({.step = 9});
    }
    EXPECT_EQ(out, "\rstep 9\x1b[K\rstep 9\x1b[K\n");
    out.clear();
    {
        ProgressBar never_used({.write = [&](std::string_view text) { out += text; }});
    }
    EXPECT_EQ(out, "");
}

}  // namespace
