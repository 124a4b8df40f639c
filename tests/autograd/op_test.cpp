// What goes wrong in the struct of a user's op is said to its author, by the op's name.
#include <unroll/autograd/op.hpp>
#include <unroll/autograd/tape.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace unroll {
namespace {

using test::error_message;
using testing::HasSubstr;

/// y = x, wrong where it is told to be.
struct Faulty {
    static constexpr std::string_view name = "faulty";
    enum Fault {
        none,
        many_outputs,
        mixed_outputs,
        mixed_the_other_way,
        two_outputs,
        no_output,
        too_many_saved,
        reads_input,
        reads_output,
        reads_saved
    } fault;

    void infer(Shapes& s) const {
        if (fault == mixed_outputs) s.outputs(1, s.in(0));
        for (int i = 0; i < (fault == many_outputs ? 17 : fault == two_outputs ? 2 : 1); ++i) s.output(s.in(0));
        if (fault == mixed_the_other_way) s.outputs(1, s.in(0));
    }
    void forward(Forward<double>& f) const {
        for (int i = 0; fault == too_many_saved && i < 65; ++i) f.save({1});
        f.save({1})[0] = 1;
        if (fault != no_output) std::copy_n(f.in(0).data, f.in(0).size, f.out(0));
    }
    void backward(Backward<double>& b) const {
        if (fault == reads_input) b.in(0);
        if (fault == reads_output) b.out(0);
        if (fault == reads_saved) b.saved(1);
        b.pass(0, 0);
    }
};

std::string message_of(Faulty::Fault fault) {
    const detail::StepGuard step(3);
    const Var<double> x(full<double>({}, 2));
    return error_message<UsageError>([&] {
        Tape<double> tape;
        tape.watch(x);
        backward(apply(Faulty{fault}, x));
    });
}

TEST(Op, WhatItDoesWrongIsSaidByItsName) {
    EXPECT_EQ(message_of(Faulty::none), "no such error");
    EXPECT_EQ(message_of(Faulty::many_outputs),
              "[faulty] infer calls output more than 16 times: call outputs(count, shape) (at time step 3)");
    EXPECT_EQ(message_of(Faulty::mixed_outputs), "[faulty] infer calls output after outputs (at time step 3)");
    EXPECT_EQ(message_of(Faulty::mixed_the_other_way),
              "[faulty] infer calls outputs after another output (at time step 3)");
    EXPECT_EQ(message_of(Faulty::two_outputs),
              "[faulty] infer gives 2 outputs where 1 is asked for: apply is for one, apply_all for any number "
              "(at time step 3)");
    EXPECT_EQ(message_of(Faulty::no_output),
              "[faulty] forward made no output 0: call out, share, take or place (at time step 3)");
    EXPECT_EQ(message_of(Faulty::too_many_saved), "[faulty] forward may save at most 64 arrays (at time step 3)");
    EXPECT_EQ(message_of(Faulty::reads_input),
              "[faulty] backward reads input 0, which forward did not save: call save_in (at time step 3)");
    EXPECT_EQ(message_of(Faulty::reads_output),
              "[faulty] backward reads output 0, which forward did not save: call save_out (at time step 3)");
    EXPECT_EQ(message_of(Faulty::reads_saved),
              "[faulty] backward reads saved array 1, and forward saved 1 of them (at time step 3)");
}

}  // namespace
}  // namespace unroll
