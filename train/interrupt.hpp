// Stopping cleanly on Ctrl-C and on a request to end (SIGINT, SIGTERM). It tells that a stop is wanted; what is saved
// then is its callers' business.
#pragma once

namespace unroll {

/// While a guard lives, the first SIGINT or SIGTERM only sets a flag, to be looked at between two steps. The second one
/// ends the process at once, as it would have without a guard, with the terminal's cursor shown again. The last guard to go
/// puts the handlers back that were there before the first one, and clears the flag. Guards may be nested; they may be
/// made and looked at on any thread.
///
///     InterruptGuard interrupt;
///     while (!interrupt.requested()) train_one_step();
///     save_checkpoint();
///     return interrupt.requested() ? interrupt.exit_code() : 0;
class InterruptGuard {
public:
    InterruptGuard();
    InterruptGuard(const InterruptGuard&) = delete;
    InterruptGuard& operator=(const InterruptGuard&) = delete;
    ~InterruptGuard();

    bool requested() const noexcept { return signal_number() != 0; }
    /// SIGINT, SIGTERM, or 0.
    int signal_number() const noexcept;
    /// What a shell shows for a process that the signal ended: 128 + its number; 0 without one.
    int exit_code() const noexcept { return requested() ? 128 + signal_number() : 0; }
};

namespace detail {

/// Hides the cursor of a terminal, if a guard lives: a process that a signal may end at any moment must not hide it, since
/// nobody would show it again. True if it is hidden now.
bool hide_cursor(int descriptor) noexcept;
/// Shows it again, if hide_cursor hid it.
void show_cursor() noexcept;

}  // namespace detail
}  // namespace unroll
