// The largest error of several, where a NaN is larger than anything.
#include <unroll/autograd/detail/comparison.hpp>

#include <algorithm>
#include <cmath>

namespace unroll::detail {

GradcheckComparison compare(std::string check, std::string operand, const Shape& shape, std::span<const Pair> pairs,
                            double largest, double bar) {
    GradcheckComparison worst{
        std::move(check), std::move(operand), shape, static_cast<Index>(pairs.size()), -1, 0, 0, 0, bar};
    for (const Pair& p : pairs)
        if (std::isfinite(p.numeric)) largest = std::max(largest, std::abs(p.numeric) / p.norm);
    bool first = true;
    for (const Pair& p : pairs) {
        const double floor = p.noise > 0 ? p.noise / (p.norm * bar) : 0;
        const double error =
            p.analytic == p.numeric ? 0 : std::abs(p.analytic - p.numeric) / (p.norm * std::max(largest, floor));
        if (!first && error <= worst.error) continue;
        if (std::isnan(worst.error)) break;
        first = false;
        worst.entry = p.entry;
        worst.analytic = p.analytic;
        worst.numeric = p.numeric;
        worst.error = error;
    }
    return worst;
}

}  // namespace unroll::detail
