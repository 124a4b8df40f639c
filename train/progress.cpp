// Putting the line together, and drawing it over itself.
#include <unroll/data/number_text.hpp>
#include <unroll/train/interrupt.hpp>
#include <unroll/train/progress.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace unroll {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";
constexpr int kShortestBar = 8;
constexpr int kLongestBar = 40;

struct Part {
    std::string text;
    int importance;      // the least important goes first
    bool close = false;  // stands one column after the part before it, not two
    bool is_bar = false;
};

std::string styled(bool colors, std::string_view style, std::string_view text) {
    return colors && !text.empty() ? fmt::format("\x1b[{}m{}\x1b[0m", style, text) : std::string(text);
}

std::string repeated(std::string_view piece, int count) {
    std::string all;
    for (int i = 0; i < count; ++i) all += piece;
    return all;
}

// Half a column at a time where there are characters for it.
std::string bar_of(double fraction, int columns, const Terminal& terminal) {
    if (!terminal.unicode) {
        const int done = static_cast<int>(fraction * (columns - 2));
        return "[" + std::string(static_cast<std::size_t>(done), '#') +
               std::string(static_cast<std::size_t>(columns - 2 - done), '.') + "]";
    }
    const int halves = static_cast<int>(fraction * columns * 2);
    std::string done = repeated("━", halves / 2);
    const bool half = halves % 2 == 1;
    if (half) done += "╸";
    const int rest = columns - halves / 2 - (half ? 1 : 0);
    if (rest == 0) return styled(terminal.colors, "32", done);
    if (terminal.colors) return styled(true, "36", done) + styled(true, "90", repeated("━", rest));
    return done + repeated("─", rest);
}

std::string of_all(Index number, Index all) {
    return all > 0 ? with_commas(number) + "/" + with_commas(all) : with_commas(number);
}

/// Three digits behind the point; of a loss that is out of all bounds, four digits in all.
std::string loss_text(double loss) {
    return std::abs(loss) < 1e5 ? fmt::format("{:.3f}", loss) : fmt::format("{:.4g}", loss);
}

std::vector<Part> parts_of(const ProgressStatus& status, const Terminal& terminal, std::string_view loss_unit,
                           std::string_view speed_unit) {
    const auto strong = [&](std::string_view text) { return styled(terminal.colors, "1", text); };
    const auto faint = [&](std::string_view text) { return styled(terminal.colors, "90", text); };
    const bool has_train = !std::isnan(status.train_loss);
    const bool has_validation = !std::isnan(status.validation_loss);
    std::vector<Part> parts;
    if (status.epoch > 0) parts.push_back({"epoch " + of_all(status.epoch, status.epochs), 40});
    if (!std::isnan(status.fraction)) {
        if (terminal.interactive) parts.push_back({"", 50, true, true});
        // Rounded down, so that 100% means done.
        parts.push_back({fmt::format("{:3.0f}%", std::floor(100 * std::clamp(status.fraction, 0.0, 1.0))), 80, true});
    }
    if (status.step > 0) parts.push_back({"step " + of_all(status.step, status.steps), 20});
    if (has_train) parts.push_back({"train " + strong(loss_text(status.train_loss)), 90});
    if (has_validation) parts.push_back({"val " + strong(loss_text(status.validation_loss)), 100});
    if (has_train || has_validation) parts.push_back({faint(loss_unit), 10, true});
    if (status.units_per_second > 0)
        parts.push_back({fmt::format("{} {}", compact_number(status.units_per_second), speed_unit), 30});
    if (!std::isnan(status.seconds_left)) parts.push_back({duration_text(status.seconds_left) + " left", 60});
    return parts;
}

}  // namespace

std::string ProgressBar::line(const ProgressStatus& status, const Terminal& terminal, std::string_view loss_unit,
                              std::string_view speed_unit) {
    std::vector<Part> parts = parts_of(status, terminal, loss_unit, speed_unit);
    // The last column stays free: some terminals go to the next line when it is written.
    const int room = terminal.interactive ? terminal.width - 1 : std::numeric_limits<int>::max();
    const auto columns = [&] {
        int sum = 0;
        for (const Part& part : parts)
            sum += (sum == 0 ? 0 : part.close ? 1 : 2) + (part.is_bar ? kShortestBar : columns_of(part.text));
        return sum;
    };
    while (!parts.empty() && columns() > room)
        parts.erase(std::min_element(parts.begin(), parts.end(),
                                     [](const Part& a, const Part& b) { return a.importance < b.importance; }));
    const int free = room - columns();
    std::string line;
    for (const Part& part : parts) {
        if (!line.empty()) line += part.close ? " " : "  ";
        line += part.is_bar ? bar_of(std::clamp(status.fraction, 0.0, 1.0), std::min(kShortestBar + free, kLongestBar),
                                     terminal)
                            : part.text;
    }
    return line;
}

ProgressBar::ProgressBar(ProgressOptions options)
    : options_(std::move(options)),
      terminal_(options_.terminal ? *options_.terminal : inspect_terminal(::fileno(options_.out))),
      start_(options_.clock()),
      last_drawn_(-std::numeric_limits<double>::infinity()) {}

ProgressBar::~ProgressBar() {
    try {
        finish();
    } catch (...) {  // the line is not worth the process
    }
}

void ProgressBar::update(const ProgressStatus& status) {
    status_ = status;
    any_ = fresh_ = true;
    const double now = options_.clock();
    const double wait =
        terminal_.interactive ? options_.redraw_seconds : std::max(options_.plain_seconds, (now - start_) / 20);
    if (now - last_drawn_ >= wait) draw();
}

void ProgressBar::print(std::string_view text) {
    if (text.empty()) return;
    const bool stood = standing_;
    clear();
    std::string safe = without_controls(text);
    if (safe.back() != '\n') safe += '\n';
    put(safe);
    if (stood) draw();
}

void ProgressBar::clear() {
    if (!standing_) return;
    put(kClearLine);
    detail::show_cursor();
    standing_ = false;
    fresh_ = true;
    last_drawn_ = -std::numeric_limits<double>::infinity();
}

void ProgressBar::finish() {
    if (any_ && (fresh_ || standing_)) {
        draw();
        if (terminal_.interactive) put("\n");
    }
    detail::show_cursor();
    standing_ = any_ = fresh_ = false;
}

void ProgressBar::draw() {
    last_drawn_ = options_.clock();
    fresh_ = false;
    if (!terminal_.interactive) {
        put(line(status_, terminal_, options_.loss_unit, options_.speed_unit) + "\n");
        return;
    }
    if (!options_.terminal) terminal_.width = inspect_terminal(::fileno(options_.out)).width;  // it may have changed
    if (!standing_ && !options_.write) detail::hide_cursor(::fileno(options_.out));
    put("\r" + line(status_, terminal_, options_.loss_unit, options_.speed_unit) + "\x1b[K");
    standing_ = true;
}

void ProgressBar::put(std::string_view text) {
    if (options_.write) {
        options_.write(text);
        return;
    }
    std::fwrite(text.data(), 1, text.size(), options_.out);
    std::fflush(options_.out);
}

}  // namespace unroll
