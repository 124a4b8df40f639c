// Profiles: ops by phase and module; no time twice; the trace; only one at a time.
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/parallel.hpp>
#include <unroll/autograd/parameter.hpp>
#include <unroll/autograd/profile.hpp>
#include <unroll/layers/rnn.hpp>
#include <unroll/optim/clip.hpp>
#include <unroll/optim/optimizer.hpp>

#include "../support/error_message.hpp"
#include "../support/threads_as_before.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <set>
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

/// What a training step of an LSTM does, all phases of it, with the batch in parts.
void training_step(ParameterStore<float>& store, const LSTM<float>& lstm, Optimizer<float>& optimizer,
                   DataParallel<float>& parallel, Index checkpoint) {
    const Index T = 12, B = 40, I = 4;
    const Tensor<float> x = full<float>({T, B, I}, 0.3f);
    store.zero_grad();
    parallel.backward(B, [&](Shard part) {
        const Var<float> rows = slice(Var<float>(x), 1, part.begin, part.end);
        return sum(square(lstm(rows, {}, {.checkpoint = checkpoint}).output));
    });
    clip_grad_norm(store, 1.0);
    clip_grad_value(store, 0.01);
    optimizer.step();
}

TEST(Profile, ShowsEveryPhaseOfATrainingStep) {
    ParameterStore<float> store(1);
    const LSTM<float> lstm(Scope<float>(store) / "lstm", {.input_size = 4, .hidden_size = 6});
    Adam<float> optimizer(store);
    DataParallel<float> parallel(store);
    Profile profile;
    training_step(store, lstm, optimizer, parallel, 0);
    std::set<std::string> seen, traced;
    for (const ProfileEntry& e : profile.entries())
        seen.insert(e.phase + " " + (e.phase == "forward" || e.phase == "backward" ? "ops" : e.op));
    EXPECT_THAT(seen,
                ::testing::ElementsAre("add gradients", "backward ops", "clip clip_grad_norm", "clip clip_grad_value",
                                       "forward ops", "step optimizer", "zero gradients"));
    const auto trace = nlohmann::json::parse(profile.chrome_trace());
    for (const auto& event : trace.at("traceEvents")) traced.insert(event.at("cat"));
    EXPECT_THAT(traced, ::testing::ElementsAre("add", "backward", "clip", "forward", "step", "zero"));
}

// The node of a segment that runs again encloses all that the segment does.
TEST(Profile, NoTimeIsCountedTwice) {
    const test::ThreadsAsBefore restore;
    set_num_threads(1);
    ParameterStore<float> store(1);
    const LSTM<float> lstm(Scope<float>(store) / "lstm", {.input_size = 4, .hidden_size = 64});
    Adam<float> optimizer(store);
    DataParallel<float> parallel(store);
    const auto begin = ProfileSpan::now();
    Profile profile;
    training_step(store, lstm, optimizer, parallel, 3);
    const std::vector<ProfileEntry> entries = profile.entries();
    const double wall = std::chrono::duration<double>(ProfileSpan::now() - begin).count();
    double sum = 0, again = 0;
    for (const ProfileEntry& e : entries) {
        EXPECT_GE(e.seconds, 0) << e.op;
        sum += e.seconds;
        if (e.op == "checkpoint" && e.phase == "backward") again += static_cast<double>(e.calls);
    }
    EXPECT_GE(again, 4);
    EXPECT_LE(sum, wall);
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
