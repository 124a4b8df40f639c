// What the first and the second signal do. Each test runs in a process of its own.
#include <unroll/tests/support/temporary_folder.hpp>
#include <unroll/train/interrupt.hpp>

#include <gtest/gtest.h>

#include <csignal>

namespace {

using unroll::InterruptGuard;
using unroll::test::exit_code_of_child;
using unroll::test::holds_in_child;

TEST(InterruptGuard, TheFirstSignalOnlySetsTheFlag) {
    for (const int signal_number : {SIGINT, SIGTERM})
        EXPECT_TRUE(holds_in_child([&] {
            InterruptGuard guard;
            const bool before = guard.requested() || guard.exit_code() != 0;
            std::raise(signal_number);
            return !before && guard.requested() && guard.signal_number() == signal_number &&
                   guard.exit_code() == 128 + signal_number;
        }));
}

TEST(InterruptGuard, TheSecondSignalEndsTheProcess) {
    for (const int first : {SIGINT, SIGTERM})
        for (const int second : {SIGINT, SIGTERM})
            EXPECT_EQ(exit_code_of_child([&] {
                          InterruptGuard guard;
                          std::raise(first);
                          std::raise(second);
                          return 0;
                      }),
                      -second);
}

volatile std::sig_atomic_t calls_of_old_handler = 0;
void old_handler(int) { calls_of_old_handler = calls_of_old_handler + 1; }

TEST(InterruptGuard, TheOldHandlersComeBackWithTheLastGuard) {
    EXPECT_TRUE(holds_in_child([] {
        std::signal(SIGINT, old_handler);
        {
            InterruptGuard outer;
            {
                InterruptGuard inner;
                std::raise(SIGINT);
            }
            if (!outer.requested() || calls_of_old_handler != 0) return false;
        }
        std::raise(SIGINT);
        InterruptGuard later;
        return calls_of_old_handler == 1 && !later.requested();
    }));
    EXPECT_EQ(exit_code_of_child([] {
                  std::signal(SIGTERM, SIG_DFL);
                  { InterruptGuard guard; }
                  std::raise(SIGTERM);
                  return 0;
              }),
              -SIGTERM);
}

TEST(InterruptGuard, TheCursorIsHiddenUnderAGuardAndShownByEveryWayOut) {
    unroll::test::TemporaryFolder folder;
    const auto written_by = [&](auto body) {
        const std::filesystem::path path = folder / "terminal";
        exit_code_of_child([&] {
            body(::fileno(std::fopen(path.c_str(), "w")));
            return 0;
        });
        return unroll::test::content_of(path);
    };
    const std::string hidden_and_shown = "\x1b[?25l\x1b[?25h";
    EXPECT_EQ(written_by([](int terminal) { unroll::detail::hide_cursor(terminal); }), "");
    EXPECT_EQ(written_by([](int terminal) {
                  InterruptGuard guard;
                  unroll::detail::hide_cursor(terminal);
                  unroll::detail::hide_cursor(terminal);
              }),
              hidden_and_shown);
    EXPECT_EQ(written_by([](int terminal) {
                  InterruptGuard guard;
                  unroll::detail::hide_cursor(terminal);
                  std::raise(SIGINT);
                  std::raise(SIGINT);
              }),
              hidden_and_shown);
    EXPECT_EQ(written_by([](int terminal) {
                  InterruptGuard guard;
                  unroll::detail::hide_cursor(terminal);
                  std::exit(0);
              }),
              hidden_and_shown);
}

}  // namespace
