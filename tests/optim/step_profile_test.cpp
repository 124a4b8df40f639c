// The profile of a whole training step: every phase of it, and no time twice.
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/parallel.hpp>
#include <unroll/autograd/profile.hpp>
#include <unroll/layers/rnn.hpp>
#include <unroll/optim/clip.hpp>
#include <unroll/optim/optimizer.hpp>

#include "../support/threads_as_before.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <set>
#include <string>

namespace unroll {
namespace {

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

TEST(StepProfile, ShowsEveryPhaseOfATrainingStep) {
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
TEST(StepProfile, NoTimeIsCountedTwice) {
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

}  // namespace
}  // namespace unroll
