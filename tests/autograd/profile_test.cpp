// Profiles: ops by phase and module; spans inside others; the trace; only one at a time.
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/parameter.hpp>
#include <unroll/autograd/profile.hpp>

#include "../support/error_message.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

namespace unroll {
namespace {

TEST(Profile, CountsCallsByPhaseModuleAndOp) {
    ParameterStore<double> store;
    const Scope<double> at = Scope<double>(store) / "part";
    const auto w = at.parameter("w", {2, 2}, [](std::span<double> v, const Shape&, RandomStream&) {
        for (double& x : v) x = 0.5;
    });
    Profile profile;
    EXPECT_THAT(test::error_message<UsageError>([] { Profile second; }), ::testing::HasSubstr("another Profile"));
    {
        Tape<double> tape;
        Var<double> x(full<double>({3, 2}, 1.0));
        {
            const auto guard = at.enter();
            for (int i = 0; i < 4; ++i) x = tanh(linear<double>(x, w));
        }
        tape.backward(sum(x));
    }
    std::int64_t forward = 0, backward = 0, products = 0;
    for (const ProfileEntry& e : profile.entries()) {
        EXPECT_GE(e.seconds, 0);
        if (e.op == "tanh" && e.phase == "forward") forward += e.module == "part" ? e.calls : 0;
        if (e.op == "tanh" && e.phase == "backward") backward += e.module == "part" ? e.calls : 0;
        if (e.op == "deferred_product") products += e.calls;
    }
    EXPECT_EQ(forward, 4);
    EXPECT_EQ(backward, 4);
    EXPECT_EQ(products, 1);
    EXPECT_THAT(profile.table(), ::testing::HasSubstr("linear"));
    const auto trace = nlohmann::json::parse(profile.chrome_trace());
    EXPECT_EQ(trace.at("traceEvents").size(), 4 * 4 + 2 + 1);
}

TEST(Profile, ASpanInsideAnotherIsTakenOffIt) {
    Profile profile;
    const auto wait = [](int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); };
    {
        const ProfileSpan outer("mine", "outer");
        for (int i = 0; i < 2; ++i) {
            const ProfileSpan inner("mine", "inner");
            wait(20);
        }
    }
    const ProfileSpan after("mine", "not ended");
    const auto entries = profile.entries();
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries[0].op, "inner");
    EXPECT_GE(entries[0].seconds, 0.04);
    EXPECT_LT(entries[1].seconds, entries[0].seconds);
}

TEST(Profile, NamesAreEscapedInTheTrace) {
    ParameterStore<double> store;
    const Scope<double> at = Scope<double>(store) / "say \"hi\"\\";
    Profile profile;
    {
        const auto guard = at.enter();
        sum(Var<double>(1.0));
    }
    const auto trace = nlohmann::json::parse(profile.chrome_trace());
    EXPECT_EQ(trace.at("traceEvents").at(0).at("args").at("module"), "say \"hi\"\\");
}

TEST(Profile, MayFallWhileAnotherThreadComputes) {
    std::atomic<bool> stop{false};
    std::thread other([&] {
        const Var<double> x(full<double>({3}, 0.5));
        while (!stop) tanh(x);
    });
    for (int i = 0; i < 300; ++i) Profile().entries();
    stop = true;
    other.join();
}

TEST(Profile, WithoutOneNothingIsTimed) {
    sum(Var<double>(1.0));
    Profile profile;
    EXPECT_TRUE(profile.entries().empty());
}

}  // namespace
}  // namespace unroll
