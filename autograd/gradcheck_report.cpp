// How the result of a gradient check reads, and what the inputs of a macro are called.
#include <unroll/autograd/gradcheck.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace unroll {
namespace {

/// "[2, 0, 5]" for an entry of an operand.
std::string position(const GradcheckComparison& c) {
    if (c.entry < 0) return c.shape.rank() == 0 ? "" : " along a random direction";
    std::string text = "]";
    Index rest = c.entry;
    for (std::size_t axis = c.shape.rank(); axis-- > 0;) {
        text = (axis > 0 ? ", " : "") + std::to_string(rest % c.shape[axis]) + text;
        rest /= c.shape[axis];
    }
    return "[" + text;
}

/// How far above its bar; a NaN is above everything.
double excess(const GradcheckComparison& c) {
    if (c.passed()) return c.bar > 0 ? c.error / c.bar : 0;
    const double ratio = c.error / c.bar;
    return ratio > 1 ? ratio : std::numeric_limits<double>::infinity();
}

}  // namespace

bool GradcheckResult::passed() const noexcept {
    return problems.empty() && !comparisons.empty() &&
           std::all_of(comparisons.begin(), comparisons.end(), [](const GradcheckComparison& c) { return c.passed(); });
}

const GradcheckComparison& GradcheckResult::worst() const {
    if (comparisons.empty()) detail::fail_usage("gradcheck", "nothing was compared, so there is no worst entry");
    return *std::max_element(
        comparisons.begin(), comparisons.end(),
        [](const GradcheckComparison& a, const GradcheckComparison& b) { return excess(a) < excess(b); });
}

Index GradcheckResult::entries() const noexcept {
    Index count = 0;
    for (const GradcheckComparison& c : comparisons) count += c.entries;
    return count;
}

std::string to_string(const GradcheckResult& result) {
    std::string text = fmt::format("gradient check {}: {} entries compared\n", result.passed() ? "passed" : "FAILED",
                                   result.entries());
    for (const std::string& problem : result.problems) text += fmt::format("  {}\n", problem);
    if (result.comparisons.empty()) return text;
    std::size_t operand = 0, shape = 0, check = 0;
    for (const GradcheckComparison& c : result.comparisons) {
        operand = std::max(operand, c.operand.size());
        shape = std::max(shape, to_string(c.shape).size());
        check = std::max(check, c.check.size());
    }
    for (const GradcheckComparison& c : result.comparisons)
        text += fmt::format("  {:<{}}  {:<{}}  {:<{}}  {:>6} {}  error {:.1e}  bar {:.1e}{}\n", c.operand, operand,
                            to_string(c.shape), shape, c.check, check, c.entries,
                            c.entries == 1 ? "entry  " : "entries", c.error, c.bar, c.passed() ? "" : "  FAILED");
    const GradcheckComparison& worst = result.worst();
    text += fmt::format("worst: {}{}, {}: {:.15g}, expected {:.15g}", worst.operand, position(worst), worst.check,
                        worst.analytic, worst.numeric);
    return text;
}

namespace detail {

void name_inputs(CheckedFunction& function, std::string_view text, std::span<const bool> real) {
    // Pieces between commas that stand in no bracket.
    std::vector<std::string> pieces;
    std::string piece;
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
        if (!quoted && (c == '(' || c == '[' || c == '{')) ++depth;
        if (!quoted && (c == ')' || c == ']' || c == '}')) --depth;
        if (!quoted && depth == 0 && c == ',') {
            pieces.push_back(std::move(piece));
            piece.clear();
        } else if (!piece.empty() || !std::isspace(static_cast<unsigned char>(c))) {
            piece += c;
        }
    }
    pieces.push_back(std::move(piece));
    // Before the arguments stand the function and perhaps options. Anything else was cut in the wrong places.
    if (pieces.size() != real.size() + 1 && pieces.size() != real.size() + 2) return;
    const std::size_t first = pieces.size() - real.size();
    constexpr std::size_t kLongest = 40;
    std::size_t input = 0;
    for (std::size_t i = 0; i < real.size(); ++i) {
        if (!real[i]) continue;
        CheckInput& named = function.inputs[input++];
        if (named.name.empty() && pieces[first + i].size() <= kLongest) named.name = pieces[first + i];
    }
}

}  // namespace detail
}  // namespace unroll
