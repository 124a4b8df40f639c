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

}  // namespace unroll
