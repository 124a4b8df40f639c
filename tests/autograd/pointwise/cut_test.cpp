// The choice of values to keep, against trying all choices on small random graphs.
#include <unroll/autograd/pointwise/cut.hpp>

#include <cstdint>
#include <random>

#include <gtest/gtest.h>

namespace {

using unroll::detail::cheapest_to_keep;
using unroll::detail::Keepable;
using unroll::detail::kNever;

// What it costs to provide everything needed from a set of kept values.
int cost_of(const std::vector<Keepable>& values, std::uint32_t kept) {
    std::vector<bool> wanted(values.size());
    int cost = 0;
    for (std::size_t v = values.size(); v-- > 0;) {
        if (kept >> v & 1) cost += values[v].keep_cost;
        if (!(wanted[v] || values[v].needed) || (kept >> v & 1)) continue;
        cost = std::min(cost + values[v].recompute_cost, kNever);
        for (const int u : values[v].operands) wanted[static_cast<std::size_t>(u)] = true;
    }
    return cost;
}

TEST(CheapestToKeep, IsAsCheapAsTheBestOfAllChoices) {
    std::mt19937 draw(7);
    for (int trial = 0; trial < 300; ++trial) {
        const std::size_t n = 2 + draw() % 8;
        std::vector<Keepable> values;
        for (std::size_t v = 0; v < n; ++v) {
            const bool input = v < 2 || draw() % 6 == 0;
            Keepable value{input ? 6 : 10, input ? kNever : draw() % 3 == 0 ? 30 : 1, draw() % 3 == 0, {}};
            for (int i = 0; i < 2 && !input; ++i) value.operands.push_back(static_cast<int>(draw() % v));
            values.push_back(value);
        }
        int best = kNever;
        for (std::uint32_t kept = 0; kept < (1u << n); ++kept) best = std::min(best, cost_of(values, kept));
        std::uint32_t chosen = 0;
        for (const int v : cheapest_to_keep(values)) chosen |= 1u << v;
        EXPECT_EQ(cost_of(values, chosen), best) << "trial " << trial;
    }
}

TEST(CheapestToKeep, KeepsNothingForNothing) {
    const std::vector<Keepable> values = {{6, kNever, false, {}}, {10, 30, false, {0}}};
    EXPECT_TRUE(cheapest_to_keep(values).empty());
    EXPECT_TRUE(cheapest_to_keep({}).empty());
}

}  // namespace
