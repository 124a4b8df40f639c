// What the place that text goes to can do: whether it is a terminal, how wide, with which characters and colours. And how
// a small program begins, with its arguments, and ends, with its output.
#pragma once

#include <string>
#include <string_view>

namespace unroll {

struct Terminal {
    bool interactive = false;  ///< lines can be drawn over
    bool unicode = true;       ///< UTF-8 can be shown
    bool colors = false;
    int width = 80;  ///< columns
};

/// Looks at a file descriptor and the environment: TERM=dumb is not interactive, NO_COLOR turns colours off, the locale
/// (LC_ALL, LC_CTYPE, LANG) says whether UTF-8 can be shown; the width is the terminal's, else COLUMNS, else 80.
Terminal inspect_terminal(int descriptor);

/// Columns that UTF-8 text takes: combining marks none, East Asian wide characters and emoji two, escape sequences (ESC [ …)
/// none. Bytes that are not UTF-8 take one each.
int columns_of(std::string_view text);

/// Text that is safe to show: control characters but newline and tabulator become '?', so that what a model wrote cannot
/// move the cursor or change colours.
std::string without_controls(std::string_view text);

/// At the beginning of a program: true if it is asked for help, by --help or -h, which is then printed. `usage` is the
/// program's name and a word for each argument, in brackets if it may be left out: "min_char_rnn FILE [STEPS [RATE]]".
/// UsageError, with the usage, if there are too few arguments or too many.
bool help_shown(int argc, const char* const* argv, std::string_view usage);

/// At the end of a program: IoError if not all that was printed to stdout has arrived, as on a disk that is full.
void check_output();

}  // namespace unroll
