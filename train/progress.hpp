// One line that tells how a training run goes. It formats and draws; the numbers come from the training loop.
#pragma once

#include <unroll/autograd/shape.hpp>
#include <unroll/train/clock.hpp>
#include <unroll/train/terminal.hpp>

#include <cstdio>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace unroll {

/// What the line shows. What is NaN or 0 is not known and left out.
struct ProgressStatus {
    Index epoch = 0;   ///< from 1
    Index epochs = 0;  ///< in all
    Index step = 0;
    Index steps = 0;                                                    ///< in all
    double train_loss = std::numeric_limits<double>::quiet_NaN();       ///< nats per character
    double validation_loss = std::numeric_limits<double>::quiet_NaN();  ///< nats per character
    double units_per_second = std::numeric_limits<double>::quiet_NaN();
    double fraction = std::numeric_limits<double>::quiet_NaN();  ///< of the whole run, in [0, 1]
    double seconds_left = std::numeric_limits<double>::quiet_NaN();
};

struct ProgressOptions {
    std::FILE* out = stdout;  ///< where the line and the text between go
    std::string loss_unit = "nats/char";
    std::string speed_unit = "chars/s";
    double redraw_seconds = 0.1;  ///< least time between two redraws in a terminal
    double plain_seconds = 5;     ///< least time between two lines elsewhere; grows to a twentieth of the time passed
    std::optional<Terminal> terminal = std::nullopt;        ///< instead of looking at `out`
    std::function<void(std::string_view)> write = nullptr;  ///< instead of writing to `out`
    Clock clock = steady_seconds;
};

/// In a terminal, a line that is drawn over itself:
///
///     epoch 3/50 ━━━━━━━━━╸━━━━━━━━━━━━━━━━ 24%  step 1,234/5,400  train 1.612  val 1.588 nats/char  412k chars/s  1:23 left
///
/// It never takes more than one line: where the terminal is narrow, the bar gets shorter and the less important parts go.
/// Elsewhere (a file, a pipe, TERM=dumb) the same as plain lines, one every few seconds, ever rarer in a long run.
/// The cursor is hidden only while an InterruptGuard lives, and shown again by every way out. What cannot be written is
/// lost without an error: a closed terminal must not end a training run.
class ProgressBar {
public:
    explicit ProgressBar(ProgressOptions options = {});
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;
    /// Leaves the last line standing.
    ~ProgressBar();

    /// Takes new numbers; draws if it is time to. Cheap enough to be called after every step.
    void update(const ProgressStatus& status);
    /// Prints text (a sample, a message) above the line, on lines of its own. Control characters in it are replaced.
    void print(std::string_view text);
    /// Takes the line away, so that others can write to the terminal; the next update draws it again.
    void clear();
    /// Draws the last numbers for good and ends the line.
    void finish();

    /// The line for a status: at most `terminal.width` − 1 columns.
    static std::string line(const ProgressStatus& status, const Terminal& terminal, std::string_view loss_unit,
                            std::string_view speed_unit);

private:
    void draw();
    void put(std::string_view text);

    ProgressOptions options_;
    Terminal terminal_;
    ProgressStatus status_;
    double start_;
    double last_drawn_;
    bool any_ = false;       // there are numbers
    bool fresh_ = false;     // numbers that have not been drawn
    bool standing_ = false;  // the line stands in the terminal, the cursor at its end
};

}  // namespace unroll
