// What the tape tells about layers: where the first value that is not finite appeared, what a checkpointed loop holds, and the
// drawing by module and time step.
#include <unroll/layers/rnn.hpp>
#include <unroll/layers/stacked.hpp>

#include <unroll/tests/layers/layer_support.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace unroll {
namespace {

using namespace test;
using testing::HasSubstr;

/// A user's cell in which, at one time step, a value (log of −1) or a gradient (of √0) is not finite.
struct FaultyCell : UserCell<double> {
    using UserCell<double>::UserCell;
    State<double, 1> step(Var<double> x, State<double, 1> s) const {
        State<double, 1> next = UserCell<double>::step(std::move(x), std::move(s));
        if (detail::current_place().step != at) return next;
        return {next[0] + (in_backward ? sqrt(next[0] * 0.0) : log(next[0] * 0.0 - 1.0))};
    }
    static inline Index at = 0;
    static inline bool in_backward = false;
};

TEST(FirstNonFinite, IsNamedByOpModuleAndTimeStep) {
    for (const Index checkpoint : {0, 2})
        for (const Index step : {0, 3, 4})
            for (const bool in_backward : {false, true}) {
                SCOPED_TRACE(testing::Message() << "checkpoint " << checkpoint << ", step " << step
                                                << (in_backward ? ", backward" : ", forward"));
                FaultyCell::at = step;
                FaultyCell::in_backward = in_backward;
                ParameterStore<double> store(1);
                const Stacked<double, FaultyCell> deep(Scope<double>(store) / "deep", Size(4), Size(3),
                                                       {.num_layers = 2});
                const auto run = [&] {
                    Tape<double> tape({.check_finite = true});
                    backward(weighed(deep(filled<double>({5, 2, 4}, 1), {}, {.checkpoint = checkpoint}).output, 901));
                };
                // Forward meets the first layer first, backward the last.
                const std::string message = error_message<NonFiniteError>(run);
                EXPECT_THAT(message, HasSubstr(in_backward ? "[sqrt]" : "[log]"));
                EXPECT_THAT(message, HasSubstr(in_backward ? "gradient" : "forward made a value"));
                EXPECT_THAT(message,
                            HasSubstr(fmt::format("(in deep.layer{}, time step {})", in_backward ? 1 : 0, step)));
                for (const auto& [name, values] : gradients_of(store))
                    EXPECT_EQ(values, std::vector<double>(values.size())) << name;
            }
}

TEST(Count, ACheckpointHoldsItsInputs) {
    ParameterStore<double> store(1);
    const Recurrent<double, UserCell<double>> layer(Scope<double>(store) / "rnn", Size(4), Size(6));
    Tape<double> tape;
    layer(filled<double>({20, 3, 4}, 1), {}, {.checkpoint = 10});
    Index checkpoints = 0;
    for (const TapeCount& c : tape.count())
        if (c.op == "checkpoint") {
            checkpoints += c.nodes;
            EXPECT_EQ(c.saved_bytes, 2 * (10 * 3 * 4 + 3 * 6) * 8);  // ten steps of input and a state, twice
        }
    EXPECT_EQ(checkpoints, 2);
}

TEST(Drawing, IsClusteredByModuleAndTimeStep) {
    ParameterStore<double> store(1);
    const RNN<double> rnn(Scope<double>(store) / "model" / "rnn", {.input_size = 4, .hidden_size = 3});
    Tape<double> tape;
    rnn(filled<double>({2, 1, 4}, 1));
    const std::string text = tape.graphviz();
    EXPECT_THAT(text, HasSubstr("label=\"model.rnn"));
    for (const char* step : {"label=\"t = 0\"", "label=\"t = 1\""}) {
        const std::size_t first = text.find(step);
        ASSERT_NE(first, std::string::npos) << text;
        EXPECT_EQ(text.find(step, first + 1), std::string::npos) << "one cluster for each step\n" << text;
    }
    EXPECT_EQ(text.find("t = 2"), std::string::npos);
    // A step's nodes stand inside its cluster, and braces are balanced.
    EXPECT_LT(text.find("label=\"t = 0\""), text.find("add_linear"));
    EXPECT_EQ(std::count(text.begin(), text.end(), '{'), std::count(text.begin(), text.end(), '}'));
}

}  // namespace
}  // namespace unroll
