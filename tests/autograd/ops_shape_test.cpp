// Shape ops: reshape, squeeze, unsqueeze, permute, transpose, broadcast_to, flip. Values, shared memory, gradients, errors.
// Formatted by hand: a short lambda with braces inside stays on one line.
// clang-format off
#include <unroll/tests/autograd/ops_support.hpp>

#include <unroll/autograd/ops/pointwise.hpp>
#include <unroll/autograd/parameter.hpp>

namespace unroll {
namespace {

using namespace test;

std::size_t at(const Shape& shape, std::initializer_list<Index> position) {
    std::size_t flat = 0, axis = 0;
    for (const Index i : position) flat = flat * static_cast<std::size_t>(shape[axis++]) + static_cast<std::size_t>(i);
    return flat;
}

TEST(Shapes, ReshapeKeepsOrderAndMemory) {
    const Array x = filled(1, {2, 3, 4});
    const Var<double> v = x.var<double>();
    const Var<double> y = reshape(v, {4, -1});
    expect_values(y, {4, 6}, x.values);
    EXPECT_EQ(y.data(), v.data());
    expect_values(reshape(v, y.shape()), {4, 6}, x.values);
    expect_values(reshape(v, {-1}), {24}, x.values);
    expect_values(reshape(Array{{1, 1}, {5}}.var<float>(), Axes{}), {}, {5});
    expect_values(reshape(Array{{0, 3}, {}}.var<float>(), {3, -1}), {3, 0}, {});
    expect_gradients([](const auto& in) { return reshape(in[0], {4, -1}); }, {x});
}

TEST(Shapes, SqueezeAndUnsqueeze) {
    const Array x = filled(2, {2, 1, 3});
    expect_values(squeeze(x.var<double>(), 1), {2, 3}, x.values);
    expect_values(unsqueeze(x.var<double>(), 0), {1, 2, 1, 3}, x.values);
    expect_values(unsqueeze(x.var<double>(), -1), {2, 1, 3, 1}, x.values);
    expect_values(unsqueeze(Array{{}, {7}}.var<float>(), 0), {1}, {7});
    expect_gradients([](const auto& in) { return unsqueeze(squeeze(in[0], -2), 1); }, {x});
}

TEST(Shapes, PermuteMovesEveryAxis) {
    const Array x = counted({2, 3, 4, 5});
    Axes order{0, 1, 2, 3};
    do {
        const Var<double> y = permute(x.var<double>(), order);
        Shape shape;
        for (const Index a : order) shape = shape.inserted(shape.rank(), x.shape[static_cast<std::size_t>(a)]);
        std::vector<double> expected(x.values.size());
        Index p[4];
        for (p[0] = 0; p[0] < shape[0]; ++p[0])
            for (p[1] = 0; p[1] < shape[1]; ++p[1])
                for (p[2] = 0; p[2] < shape[2]; ++p[2])
                    for (p[3] = 0; p[3] < shape[3]; ++p[3]) {
                        Index from[4];
                        for (std::size_t i = 0; i < 4; ++i) from[order[i]] = p[i];
                        expected[at(shape, {p[0], p[1], p[2], p[3]})] = x.values[at(x.shape, {from[0], from[1], from[2], from[3]})];
                    }
        expect_values(y, shape, expected);
        expect_gradients([&](const auto& in) { return permute(in[0], order); }, {filled(3, {2, 3, 1, 4})});
    } while (std::next_permutation(order.begin(), order.end()));
    expect_values(permute(counted({2, 3}).var<float>(), {-1, 0}), {3, 2}, {0, 3, 1, 4, 2, 5});
    expect_values(permute(Array{{}, {4}}.var<float>(), {}), {}, {4});
}

TEST(Shapes, TransposeByTilesAndBySharing) {
    const Array x = filled(4, {37, 50});
    std::vector<double> expected(x.values.size());
    for (std::size_t i = 0; i < 37; ++i)
        for (std::size_t j = 0; j < 50; ++j) expected[j * 37 + i] = x.values[i * 50 + j];
    expect_values(transpose(x.var<float>()), {50, 37}, expected, 1e-7);
    expect_values(transpose(transpose(x.var<double>()), 0, 1), x.shape, x.values);
    const Var<double> row = filled(5, {4, 1, 3}).var<double>();
    EXPECT_EQ(transpose(row, 0, 1).data(), row.data());
    EXPECT_NE(transpose(row, 0, 2).data(), row.data());
    expect_gradients([](const auto& in) { return transpose(in[0], 0, 1) * in[1]; }, {filled(6, {3, 1, 2}), filled(7, {1, 3, 2})});
    expect_gradients([](const auto& in) { return transpose(in[0]) * transpose(in[0]); }, {filled(8, {2, 3, 4})});
}

TEST(Shapes, BroadcastToRepeats) {
    const Array x = counted({2, 1, 3});
    expect_values(broadcast_to(x.var<double>(), {2, 2, 3}), {2, 2, 3}, {0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5});
    expect_values(broadcast_to(Array{{2, 1}, {1, 2}}.var<float>(), {2, 2, 3}), {2, 2, 3}, {1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2});
    expect_values(broadcast_to(Array{{}, {5}}.var<float>(), {2}), {2}, {5, 5});
    expect_values(broadcast_to(Array{{1}, {5}}.var<float>(), {2, 0}), {2, 0}, {});
    const Var<double> v = x.var<double>();
    EXPECT_EQ(broadcast_to(v, {1, 2, 1, 3}).data(), v.data());
    for (const Shape& to : {Shape{2, 4, 3}, Shape{5, 2, 1, 3}, Shape{2, 1, 3}, Shape{1, 2, 2, 3}})
        expect_gradients([&](const auto& in) { return broadcast_to(in[0], to); }, {filled(9, {2, 1, 3})});
    expect_gradients([](const auto& in) { return broadcast_to(in[0], {3, 4}); }, {filled(10, {3, 1})});
}

TEST(Shapes, FlipReverses) {
    const Array x = counted({2, 3});
    expect_values(flip(x.var<double>(), {1}), {2, 3}, {2, 1, 0, 5, 4, 3});
    expect_values(flip(x.var<float>(), {0}), {2, 3}, {3, 4, 5, 0, 1, 2});
    expect_values(flip(x.var<float>(), {}), {2, 3}, {5, 4, 3, 2, 1, 0});
    expect_values(flip(Array{{0, 2}, {}}.var<float>(), {0, 1}), {0, 2}, {});
    const Var<double> row = filled(11, {1, 3}).var<double>();
    EXPECT_EQ(flip(row, {0}).data(), row.data());
    for (const Axes& axes : {Axes{0}, Axes{1}, Axes{-1}, Axes{0, 2}, Axes{}})
        expect_gradients([&](const auto& in) { return flip(in[0], axes); }, {filled(12, {3, 1, 4})});
}

TEST(Shapes, ValuesNobodyElseHoldsKeepTheirMemoryToThemselves) {
    Var<double> x = exp(filled(13, {2, 3}).var<double>());
    const double* data = x.data();
    Var<double> y = reshape(transpose(reshape(std::move(x), {1, 6})), {3, 2});
    EXPECT_EQ(y.data(), data);
    EXPECT_TRUE(y.internal()->exclusive);
    const Var<double> z = reshape(y, {6});
    EXPECT_FALSE(y.internal()->exclusive);
    EXPECT_FALSE(z.internal()->exclusive);
}

/// Off the tape such a value takes the new shape itself; it is the same to whoever holds another handle, and to tapes.
TEST(Shapes, OffTheTapeAValueTakesTheShapeItself) {
    const Array x = filled(8, {2, 3});
    Var<double> alone = x.var<double>() + 0.0;
    const auto* value = alone.internal();
    Var<double> reshaped = reshape(std::move(alone), {3, 2});
    EXPECT_EQ(reshaped.internal(), value);
    const Var<double> other = reshaped;
    expect_values(unsqueeze(std::move(reshaped), 0), {1, 3, 2}, x.values);
    EXPECT_EQ(other.shape(), (Shape{3, 2}));
    Var<double> wrong = other + 0.0;
    EXPECT_THROW(reshape(std::move(wrong), {4}), ShapeError);

    const Var<double> in = x.var<double>();
    Tape<double> tape;
    tape.watch(in);
    Var<double> recorded = in * 2.0, constant;
    {
        const NoGrad pause;
        constant = reshape(std::move(recorded), {3, 2});
    }
    tape.backward(sum(constant * 3.0) + sum(in));
    EXPECT_EQ(tape.gradient(in), full<double>({2, 3}, 1.0)) << "nothing flows through what NoGrad made";
}

TEST(Shapes, WrongShapesAndAxesAreNamed) {
    const Array x = filled(1, {2, 3});
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return reshape(v, {4}); }), "[reshape] 6 elements do not fit the shape (4,); got (2, 3)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return reshape(v, Shape{7}); }), "[reshape] 6 elements do not fit the shape (7,); got (2, 3)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return reshape(v, {4, -1}); }), "[reshape] 6 elements do not fit the lengths (4, -1); got (2, 3)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return reshape(v, {0, -1}); }), "[reshape] 6 elements do not fit the lengths (0, -1); got (2, 3)");
    EXPECT_EQ(message_of<ValueError>(x, [](auto v) { return reshape(v, {-1, -1}); }), "[reshape] only one length may be −1; got (-1, -1)");
    EXPECT_EQ(message_of<ValueError>(x, [](auto v) { return reshape(v, {3, -2}); }), "[reshape] a length is 0 or more, or −1 once; got (3, -2)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return reshape(v, {1, 1, 1, 1, 1, 1, 6}); }), "[Shape] an array has at most 6 axes; got 7");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return squeeze(v, 0); }), "[squeeze] axis 0 must have length 1; got (2, 3)");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return squeeze(v, 2); }), "[squeeze] axis 2 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return unsqueeze(v, 3); }), "[unsqueeze] axis 3 is out of range for an array of rank 3 (allowed: -3 to 2)");
    EXPECT_EQ(message_of<ShapeError>(filled(1, {1, 1, 1, 1, 1, 2}), [](auto v) { return unsqueeze(v, 0); }),
              "[unsqueeze] an array has at most 6 axes; got (1, 1, 1, 1, 1, 2)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return permute(v, {0}); }), "[permute] one number for each axis is needed, but there are 1; got (2, 3)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return permute(v, {0, 1, 0, 1, 0, 1, 0}); }),
              "[permute] one number for each axis is needed, but there are 7; got (2, 3)");
    EXPECT_EQ(message_of<ValueError>(x, [](auto v) { return permute(v, {1, -1}); }), "[permute] axis -1 is named twice");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return permute(v, {0, 2}); }), "[permute] axis 2 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return transpose(v, 0, 2); }), "[transpose] axis 2 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return broadcast_to(v, {2, 4}); }),
              "[broadcast_to] the operand must broadcast to (2, 4): aligned at the last axis, lengths are equal or the operand's is 1; got (2, 3)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return broadcast_to(v, {3}); }).substr(0, 40), "[broadcast_to] the operand must broadcas");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return flip(v, {-3}); }), "[flip] axis -3 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<ValueError>(x, [](auto v) { return flip(v, {0, -2}); }), "[flip] axis -2 is named twice");
    EXPECT_EQ(message_of<UsageError>(x, [](auto v) { return flip(decltype(v)(), {}); }), "[flip] operand 0 is an empty Var");
}

TEST(Shapes, AScalarHasNoAxisToTakeAway) {
    Shape scalar;
    EXPECT_THROW((void)scalar.erased(0), ShapeError);
    EXPECT_THROW(scalar.erase(0), ShapeError);
    EXPECT_EQ(scalar, Shape());
    Shape full{1, 2, 3, 4, 5, 6};
    EXPECT_THROW((void)full.inserted(0, 1), ShapeError);
    EXPECT_THROW(full.insert(6), ShapeError);
    EXPECT_EQ(full, (Shape{1, 2, 3, 4, 5, 6}));
    EXPECT_THROW((void)Shape{2}.inserted(0, -1), ShapeError);
    full.erase(2);
    full.insert(0);
    EXPECT_EQ(full, (Shape{1, 1, 2, 4, 5, 6}));
}

TEST(Shapes, OfResultsWithMoreElementsThanMemoryAreRefused) {
    const Index many = Index{1} << 62;
    EXPECT_THROW(one_hot<float>(IntTensor({16}, 0), Index{1} << 60), ShapeError);
    EXPECT_THROW(matmul<float>(zeros<float>({Index{1} << 33, 0}), zeros<float>({0, Index{1} << 31})), ShapeError);
    EXPECT_THROW(split(Array{{4}, {1, 2, 3, 4}}.var<float>(), {many, many, many, many, 4}, 0), ShapeError);
    const auto along = [](Index axis) {
        Shape shape{1, 1, 1, 1, 1, 1};
        shape[static_cast<std::size_t>(axis)] = 2048;
        return Var<float>(zeros<float>(shape));
    };
    EXPECT_THROW(pointwise([](auto a, auto b, auto c, auto d, auto e, auto f) { return a + b + c + d + e + f; },
                           along(0), along(1), along(2), along(3), along(4), along(5)),
                 ShapeError);
}

TEST(Shapes, OfMoreElementsThanMemoryAreRefused) {
    const std::string message = error_message<ShapeError>([] { Shape{Index{1} << 31, Index{1} << 31}; });
    EXPECT_NE(message.find("2⁴⁸"), std::string::npos) << message;
    EXPECT_EQ((Shape{0, Index{1} << 40}).size(), 0);
    ParameterStore<double> store;
    EXPECT_THROW(Scope<double>(store).parameter("w", {Index{1} << 31, Index{1} << 32},
                                                [](std::span<double>, const Shape&, RandomStream&) {}),
                 ShapeError);
    EXPECT_TRUE(store.entries().empty());
}

}  // namespace
}  // namespace unroll
