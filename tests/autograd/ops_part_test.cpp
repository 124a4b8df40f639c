// Parts and wholes: slice, select, split, concat. Values, shared memory, gradients (several readers of one value), errors.
// Formatted by hand: a short lambda with braces inside stays on one line.
// clang-format off
#include <unroll/autograd/parameter.hpp>
#include <unroll/tests/autograd/ops_support.hpp>

namespace unroll {
namespace {

using namespace test;

TEST(Parts, SliceAlongAnyAxis) {
    const Array x = counted({3, 4, 2});
    expect_values(slice(x.var<double>(), 0, 1, 3), {2, 4, 2}, std::vector<double>(x.values.begin() + 8, x.values.end()));
    expect_values(slice(x.var<float>(), 1, 1, 3), {3, 2, 2}, {2, 3, 4, 5, 10, 11, 12, 13, 18, 19, 20, 21});
    expect_values(slice(x.var<double>(), -1, -1, 2), {3, 4, 1}, {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23});
    expect_values(slice(x.var<double>(), 1, -3, -1), {3, 2, 2}, {2, 3, 4, 5, 10, 11, 12, 13, 18, 19, 20, 21});
    expect_values(slice(x.var<double>(), 1, 2, 2), {3, 0, 2}, {});
    const Var<double> v = x.var<double>();
    EXPECT_EQ(slice(v, 0, 1, 2).data(), v.data() + 8);
    EXPECT_FALSE(v.internal()->exclusive);
    const Var<double> row = filled(1, {1, 5}).var<double>();
    EXPECT_EQ(slice(row, 1, 2, 4).data(), row.data() + 2);
    for (const Index axis : {0, 1, 2})
        for (const Index end : {1, 2})
            expect_gradients([&](const auto& in) { return slice(in[0], axis, 0, end); }, {filled(2, {3, 4, 2})});
}

TEST(Parts, SlicesOfOneValueAddUpTheirGradients) {
    for (const Index axis : {0, 1})
        expect_gradients([&](const auto& in) {
            const auto& x = in[0];
            return slice(x, axis, 0, 2) * slice(x, axis, 1, 3) + slice(x, axis, 2, 4) * in[1] + exp(slice(x, axis, 0, 2));
        }, {filled(3, {4, 4}), filled(4, axis == 0 ? Shape{2, 4} : Shape{4, 2})});
    expect_gradients([](const auto& in) { return in[0] * slice(in[0], 0, 0, 3) + slice(in[0], 0, 0, 3); }, {filled(5, {3, 2})});
}

TEST(Parts, SelectRemovesTheAxis) {
    const Array x = counted({3, 4, 2});
    expect_values(select(x.var<double>(), 0, -1), {4, 2}, std::vector<double>(x.values.begin() + 16, x.values.end()));
    expect_values(select(x.var<float>(), 1, 2), {3, 2}, {4, 5, 12, 13, 20, 21});
    expect_values(select(Array{{2}, {3, 4}}.var<double>(), 0, 1), {}, {4});
    const Var<double> v = x.var<double>();
    EXPECT_EQ(select(v, 0, 1).data(), v.data() + 8);
    for (const Index axis : {0, 1, 2})
        expect_gradients([&](const auto& in) { return select(in[0], axis, 1) * select(in[0], axis, 0); }, {filled(6, {3, 4, 2})});
}

TEST(Parts, SplitIntoEqualAndUnequalParts) {
    const Array x = counted({2, 6});
    const auto equal = split(x.var<double>(), 3);
    ASSERT_EQ(equal.size(), 3u);
    expect_values(equal[1], {2, 2}, {2, 3, 8, 9});
    const auto unequal = split(x.var<double>(), {1, 0, 5});
    ASSERT_EQ(unequal.size(), 3u);
    expect_values(unequal[0], {2, 1}, {0, 6});
    expect_values(unequal[1], {2, 0}, {});
    expect_values(unequal[2], {2, 5}, {1, 2, 3, 4, 5, 7, 8, 9, 10, 11});
    const Var<double> v = x.var<double>();
    EXPECT_EQ(split(v, 2, 0)[1].data(), v.data() + 6);
    for (const Index axis : {0, 1}) {
        const Shape shape = axis == 0 ? Shape{6, 2} : Shape{2, 6};
        expect_gradients([&](const auto& in) {
            const auto p = split(in[0], 3, axis);
            return exp(p[0]) * p[1] + p[2] * p[0];
        }, {filled(7, shape)});
        expect_gradients([&](const auto& in) {  // one part unused
            const auto p = split(in[0], 3, axis);
            return exp(p[0]) * p[2];
        }, {filled(8, shape)});
        expect_gradients([&](const auto& in) {
            const auto p = split(in[0], {1, 3, 2}, axis);
            return exp(p[1]) * p[0];
        }, {filled(9, shape)});
    }
}

TEST(Parts, MorePartsThanAnOpSaysOneByOne) {
    const Array x = filled(10, {3, 40});
    Axes lengths(20, 2);
    lengths[3] = 1;
    lengths[4] = 3;
    expect_gradients([&](const auto& in) { return concat(split(in[0], lengths, 1), 1) * in[0]; }, {x});
    expect_gradients([](const auto& in) { return concat(split(in[0], 40, 1), 1) * in[0]; }, {x});
    EXPECT_EQ(split(x.var<double>(), lengths).size(), 20u);
}

TEST(Parts, ConcatAlongAnyAxis) {
    const Var<double> a = counted({2, 1}).var<double>(), b = Array{{2, 2}, {5, 6, 7, 8}}.var<double>();
    expect_values(concat({a, b}, 1), {2, 3}, {0, 5, 6, 1, 7, 8});
    expect_values(concat({b, Array{{1, 2}, {1, 2}}.var<double>()}), {3, 2}, {5, 6, 7, 8, 1, 2});
    expect_values(concat(Vars<double>{b}, -1), {2, 2}, {5, 6, 7, 8});
    for (const Index axis : {0, 1, -1}) {
        const auto shaped = [&](Index n) { return Shape{3, 2, 4}.replaced(static_cast<std::size_t>(axis < 0 ? 2 : axis), n); };
        expect_gradients([&](const auto& in) { return concat({in[0], in[1], in[2]}, axis); },
                         {filled(11, shaped(1)), filled(12, shaped(3)), filled(13, shaped(2))});
        expect_gradients([&](const auto& in) { return concat({in[0], exp(in[0]), in[0] * in[1], in[0]}, axis); },
                         {filled(14, shaped(2)), filled(15, shaped(1))});
    }
    expect_gradients([](const auto& in) { return concat({in[0], in[1]}, 0); }, {Array{{0, 2}, {}}, filled(16, {1, 2})});
}

TEST(Parts, GradientsHandedOnAreNotChangedByLaterOnes) {
    // The gradient of concat is taken over by its operands, which get more from elsewhere, in the order that hurts most.
    for (const Index axis : {0, 1})
        expect_gradients([&](const auto& in) {
            const auto y = concat({in[0], in[1]}, axis);
            const auto z = reshape(y, {-1}) * 3.0;
            return concat({z, reshape(exp(y), {-1}), reshape(in[0] * in[1], {-1})}, 0);
        }, {filled(17, {2, 3}), filled(18, {2, 3})});
}

TEST(Parts, WrongPartsAreNamed) {
    const Array x = filled(1, {2, 3});
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return slice(v, 1, 0, 4); }),
              "[slice] position 4 is out of range along axis 1 of length 3 (allowed: -3 to 3)");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return slice(v, 1, -4, 2); }),
              "[slice] position -4 is out of range along axis 1 of length 3 (allowed: -3 to 3)");
    EXPECT_EQ(message_of<ValueError>(x, [](auto v) { return slice(v, 1, 2, 1); }), "[slice] the end 1 lies before the begin 2");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return slice(v, 2, 0, 1); }),
              "[slice] axis 2 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return select(v, 0, 2); }),
              "[select] position 2 is out of range along axis 0 of length 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return select(v, 0, -3); }),
              "[select] position -3 is out of range along axis 0 of length 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return split(v, 2, 1); }),
              "[split] axis 1 cannot be split into 2 equal parts; got (2, 3)");
    EXPECT_EQ(message_of<ValueError>(x, [](auto v) { return split(v, 0, 1); }),
              "[split] the number of parts must be 1 or more; got 0");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return split(v, {1, 1}, 1); }),
              "[split] the lengths (1, 1) must be 0 or more, and their sum the length of axis 1; got (2, 3)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return split(v, {4, -1}, 1); }),
              "[split] the lengths (4, -1) must be 0 or more, and their sum the length of axis 1; got (2, 3)");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return split(v, 1, 2); }),
              "[split] axis 2 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return concat({v, v, filled(1, {2, 2}).var<double>()}, 0); }),
              "[concat] operands must have the same shape but for axis 0; got (2, 3), (2, 3) and (2, 2)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return concat({v, filled(1, {3}).var<double>()}, 0); }),
              "[concat] operands must have the same shape but for axis 0; got (2, 3) and (3,)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto) { return concat(Vars<double>{}); }), "[concat] at least one operand is needed");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return concat({sum(v.detach())}); }),
              "[concat] operands must have at least one axis; got ()");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return concat({v}, 2); }),
              "[concat] axis 2 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<UsageError>(x, [](auto v) { return concat({v, Var<double>()}); }), "[concat] operand 1 is an empty Var");
}

TEST(Parts, ErrorsWithoutAnOperandNameModuleAndTimeStep) {
    ParameterStore<double> store;
    const auto guard = (Scope<double>(store) / "part").enter();
    const detail::StepGuard step(3);
    const auto message = [](auto action) { return test::error_message<ShapeError>(action); };
    EXPECT_EQ(message([] { concat(Vars<double>{}); }),
              "[concat] at least one operand is needed (in part, time step 3)");
    EXPECT_EQ(message([] { stack(Vars<double>{}); }), "[stack] at least one operand is needed (in part, time step 3)");
    EXPECT_EQ(message([] { Shape{1, 1, 1, 1, 1, 1, 1}; }),
              "[Shape] an array has at most 6 axes; got 7 (in part, time step 3)");
    EXPECT_EQ(message([] { Shape{2, -1}; }),
              "[Shape] an axis has a length of 0 or more; got (2, -1) (in part, time step 3)");
    EXPECT_EQ(message([] { Shape{1 << 30, 1 << 30}; }),
              "[Shape] an array has at most 2⁴⁸ elements; got (1073741824, 1073741824) (in part, time step 3)");
}

TEST(Unbind, ASliceThatIsLookedAtIsNotOverwritten) {
    ParameterStore<double> store;
    RandomStream& random = Scope<double>(store).random("mask");
    Vars<double> rows = unbind(Var<double>(full<double>({2, 8}, 1.0)) + 1.0);
    const Tensor<double> seen = rows[0].value();
    const Var<double> y = dropout(std::move(rows[0]), 0.5, random);
    EXPECT_EQ(seen, full<double>({8}, 2.0));
    EXPECT_NE(Tensor<double>(y.value()), seen);
}

}  // namespace
}  // namespace unroll
