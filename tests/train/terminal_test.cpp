// Measuring text, making it safe, and looking at what is no terminal.
#include <unroll/autograd/error.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/tests/support/temporary_folder.hpp>
#include <unroll/train/terminal.hpp>

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace {

using unroll::check_output;
using unroll::columns_of;
using unroll::help_shown;
using unroll::inspect_terminal;
using unroll::without_controls;
using unroll::test::holds_in_child;

TEST(Terminal, TextIsMeasuredInColumns) {
    EXPECT_EQ(columns_of(""), 0);
    EXPECT_EQ(columns_of("loss 1.5"), 8);
    EXPECT_EQ(columns_of("━━╸──"), 5);
    EXPECT_EQ(columns_of("\x1b[1m1.612\x1b[0m"), 5);
    EXPECT_EQ(columns_of("三个苹果"), 8);
    EXPECT_EQ(columns_of("😀"), 2);
    EXPECT_EQ(columns_of("e\u0301"), 1);
    EXPECT_EQ(columns_of("\xFF\xC3"), 2);
    EXPECT_EQ(columns_of("a\x1b["), 1);
}

TEST(Terminal, ControlCharactersAreReplaced) {
    EXPECT_EQ(without_controls("a\nb\tc"), "a\nb\tc");
    EXPECT_EQ(without_controls("\x1b[2J\r\x07\x7f"), "?[2J???");
    EXPECT_EQ(without_controls("\u009b31m"), "?31m");
    EXPECT_EQ(without_controls("é三😀"), "é三😀");
}

TEST(Terminal, ArgumentsAreThoseOfTheUsage) {
    const auto said = [](std::vector<const char*> arguments, std::string_view usage) {
        arguments.insert(arguments.begin(), "/bin/program");
        return unroll::test::error_message<unroll::UsageError>(
            [&] { EXPECT_FALSE(help_shown(static_cast<int>(arguments.size()), arguments.data(), usage)); });
    };
    const std::string none = "no such error";
    EXPECT_EQ(said({}, "p"), none);
    EXPECT_EQ(said({"x"}, "p"), "too many arguments; usage: p");
    EXPECT_EQ(said({}, "p [X]"), none);
    EXPECT_EQ(said({"x"}, "p [X]"), none);
    EXPECT_EQ(said({"x", "y"}, "p [X]"), "too many arguments; usage: p [X]");
    EXPECT_EQ(said({"x"}, "p X Y [Z [A]]"), "too few arguments; usage: p X Y [Z [A]]");
    EXPECT_EQ(said({"x", "y"}, "p X Y [Z [A]]"), none);
    EXPECT_EQ(said({"x", "y", "z", ""}, "p X Y [Z [A]]"), none);
    EXPECT_EQ(said({"x", "y", "z", "a", "b"}, "p X Y [Z [A]]"), "too many arguments; usage: p X Y [Z [A]]");
}

TEST(Terminal, HelpIsTheUsageWhateverElseIsGiven) {
    for (const std::vector<const char*>& arguments :
         {std::vector{"p", "--help"}, {"p", "-h"}, {"p", "x", "y", "--help"}}) {
        testing::internal::CaptureStdout();
        EXPECT_TRUE(help_shown(static_cast<int>(arguments.size()), arguments.data(), "p X"));
        EXPECT_EQ(testing::internal::GetCapturedStdout(), "usage: p X\n");
    }
}

TEST(Terminal, OutputThatIsLostIsAnError) {
    for (const bool at_once : {false, true})
        EXPECT_TRUE(holds_in_child([&] {
            check_output();
            if (std::freopen("/dev/full", "w", stdout) == nullptr) return false;
            std::printf("not for long");
            if (at_once) std::fflush(stdout);  // fails, and nobody looks
            return unroll::test::io_error(check_output).starts_with("cannot write the output: ");
        }));
}

TEST(Terminal, AFileIsNotInteractive) {
    unroll::test::TemporaryFolder folder;
    EXPECT_TRUE(holds_in_child([&] {
        ::setenv("TERM", "xterm", 1);
        ::setenv("COLUMNS", "33", 1);
        const int file = ::open((folder / "f").c_str(), O_WRONLY | O_CREAT, 0600);
        const unroll::Terminal terminal = inspect_terminal(file);
        return !terminal.interactive && !terminal.colors && terminal.width == 33;
    }));
}

TEST(Terminal, TheEnvironmentDecidesAboutCharactersAndColours) {
    EXPECT_TRUE(holds_in_child([] {
        const int controller = ::posix_openpt(O_RDWR | O_NOCTTY);
        if (controller < 0 || ::grantpt(controller) != 0 || ::unlockpt(controller) != 0) return false;
        const int terminal = ::open(::ptsname(controller), O_RDWR | O_NOCTTY);
        winsize size{};
        size.ws_col = 57;
        ::ioctl(terminal, TIOCSWINSZ, &size);
        ::setenv("TERM", "xterm", 1);
        ::setenv("LANG", "de_DE.utf8", 1);
        for (const char* name : {"LC_ALL", "LC_CTYPE", "NO_COLOR"}) ::unsetenv(name);
        const unroll::Terminal full = inspect_terminal(terminal);
        ::setenv("LC_ALL", "C", 1);
        ::setenv("NO_COLOR", "1", 1);
        const unroll::Terminal simple = inspect_terminal(terminal);
        ::setenv("TERM", "dumb", 1);
        const unroll::Terminal dumb = inspect_terminal(terminal);
        return full.interactive && full.colors && full.unicode && full.width == 57 && simple.interactive &&
               !simple.colors && !simple.unicode && !dumb.interactive;
    }));
}

}  // namespace
