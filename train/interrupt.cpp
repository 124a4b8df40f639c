// The handler touches lock-free atomics and calls async-signal-safe functions only.
#include <unroll/train/interrupt.hpp>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <string_view>

#include <unistd.h>

namespace unroll {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM};

std::atomic<int> received{0};
std::atomic<int> cursor_descriptor{-1};  // of the terminal whose cursor is hidden
static_assert(std::atomic<int>::is_always_lock_free);

std::mutex guards_mutex;
int guards = 0;
struct sigaction before[std::size(kSignals)];

// The handler has a stack of its own. oneDNN's generated code does not bear that the system writes a signal's frame below
// the stack pointer while it runs: the heap was found corrupt after Ctrl-C in the middle of a product.
alignas(64) char handler_stack[std::size_t{1} << 16];
stack_t stack_before{};

void write_quietly(int descriptor, std::string_view text) noexcept {
    if (::write(descriptor, text.data(), text.size()) < 0) return;  // a terminal that is gone needs no cursor
}

extern "C" void unroll_on_interrupt(int signal_number) {
    const int kept = errno;
    int none = 0;
    if (!received.compare_exchange_strong(none, signal_number)) {
        detail::show_cursor();
        struct sigaction ordinary {};
        ordinary.sa_handler = SIG_DFL;
        ::sigaction(signal_number, &ordinary, nullptr);
        ::raise(signal_number);  // takes effect when this handler returns
    }
    errno = kept;
}

}  // namespace

InterruptGuard::InterruptGuard() {
    std::lock_guard lock(guards_mutex);
    if (guards++ > 0) return;
    received = 0;
    struct sigaction ours {};
    ours.sa_handler = unroll_on_interrupt;
    ours.sa_flags = SA_RESTART | SA_ONSTACK;  // reads and writes of the program go on undisturbed
    stack_t stack{};
    stack.ss_sp = handler_stack;
    stack.ss_size = sizeof handler_stack;
    ::sigaltstack(&stack, &stack_before);
    for (const int signal_number : kSignals) ::sigaddset(&ours.sa_mask, signal_number);
    for (std::size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &ours, &before[i]);
}

InterruptGuard::~InterruptGuard() {
    std::lock_guard lock(guards_mutex);
    if (--guards > 0) return;
    detail::show_cursor();
    for (std::size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
    ::sigaltstack(&stack_before, nullptr);
    received = 0;
}

int InterruptGuard::signal_number() const noexcept { return received; }

namespace detail {

bool hide_cursor(int descriptor) noexcept {
    std::lock_guard lock(guards_mutex);
    if (guards == 0) return false;
    if (cursor_descriptor.exchange(descriptor) == descriptor) return true;
    // std::exit does not unwind the stack that holds the guard.
    [[maybe_unused]] static const int registered = std::atexit(show_cursor);
    write_quietly(descriptor, "\x1b[?25l");
    return true;
}

void show_cursor() noexcept {
    const int descriptor = cursor_descriptor.exchange(-1);
    if (descriptor >= 0) write_quietly(descriptor, "\x1b[?25h");
}

}  // namespace detail
}  // namespace unroll
