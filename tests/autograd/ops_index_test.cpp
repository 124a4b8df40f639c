// Choosing by position and by mask: embedding, index_select, gather, one_hot, masked_fill, where.
// Formatted by hand: a short lambda with braces inside stays on one line.
// clang-format off
#include <unroll/tests/autograd/ops_support.hpp>

#include <unroll/autograd/parameter.hpp>

#include <limits>

namespace unroll {
namespace {

using namespace test;


TEST(Embedding, TakesRows) {
    const Array w = counted({4, 3});
    expect_values(embedding(w.var<double>(), integers({2, 2}, {3, 0, 1, 3})), {2, 2, 3}, {9, 10, 11, 0, 1, 2, 3, 4, 5, 9, 10, 11});
    expect_values(embedding(w.var<float>(), integers({}, {2})), {3}, {6, 7, 8});
    expect_values(embedding(w.var<float>(), integers({0, 5}, {})), {0, 5, 3}, {});
    const IntTensor tokens = integers({5}, {1, 3, 1, 0, 1});
    expect_gradients([&](const auto& in) { return embedding(in[0], tokens); }, {filled(1, {4, 3})});
    // Rows that came from an op, with other gradients beside them.
    expect_gradients([&](const auto& in) { return sum(embedding(exp(in[0]), tokens) * 2.0) + sum(in[0]); }, {filled(1, {4, 3})});
}

TEST(Embedding, PaddingRowHasNoGradient) {
    const auto g = test::gradients_of([](const auto& in) { return embedding(in[0], IntTensor{0, 2, 2, 1}, 2); }, {filled(1, {3, 2})},
                                      {1, 2, 3, 4, 5, 6, 7, 8});
    EXPECT_EQ(g[0], (std::vector<double>{1, 2, 7, 8, 0, 0}));
    expect_values(embedding(counted({3, 1}).var<double>(), IntTensor{2, 0}, 2), {2, 1}, {2, 0});
}

TEST(Embedding, OfAParameterTouchesItsRowsOnly) {
    ParameterStore<float> store(1);
    const auto weight = Scope<float>(store).parameter("w", {1000, 2}, [](std::span<float> v, const Shape&, RandomStream&) {
        std::fill(v.begin(), v.end(), 1.0f);
    });
    for (int step = 0; step < 2; ++step) {
        store.zero_grad();
        Tape<float> tape;
        tape.backward(sum(embedding(weight, IntTensor{{7, 999}, {7, 3}}) * 1.5f));
        EXPECT_EQ(store.gradients().state(weight.entry()), Gradients<float>::State::rows);
        EXPECT_EQ(store.gradients().touched_rows(weight.entry()).size(), 3u);
        const Tensor<float> g = weight.gradient();
        EXPECT_EQ(g(7, 1), 3.0f);
        EXPECT_EQ(g(999, 0), 1.5f);
        EXPECT_EQ(g(3, 0), 1.5f);
        EXPECT_EQ(g(0, 0), 0.0f);
    }
    store.zero_grad();
    Tape<float> tape;
    tape.backward(sum(index_select(weight, 0, IntTensor{5, 5})));
    EXPECT_EQ(store.gradients().touched_rows(weight.entry()).size(), 1u);
    EXPECT_EQ(weight.gradient()(5, 0), 2.0f);
}

TEST(Choosing, IndexSelectAlongAnyAxis) {
    const Array x = counted({3, 2, 2});
    expect_values(index_select(x.var<double>(), 0, IntTensor{2, 0, 2}), {3, 2, 2}, {8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11});
    expect_values(index_select(x.var<float>(), 1, IntTensor{1}), {3, 1, 2}, {2, 3, 6, 7, 10, 11});
    expect_values(index_select(x.var<float>(), -1, IntTensor{1, 0}), {3, 2, 2}, {1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10});
    expect_values(index_select(x.var<float>(), 1, integers({0}, {})), {3, 0, 2}, {});
    for (const Index axis : {0, 1, 2})
        expect_gradients([&](const auto& in) { return index_select(in[0], axis, IntTensor{1, 0, 1, 1}) * index_select(in[0], axis, IntTensor{0, 0, 1, 1}); },
                         {filled(2, {3, 2, 4})});
}

TEST(Choosing, GatherAsPyTorch) {
    const Array x = counted({2, 3});
    expect_values(gather(x.var<double>(), 1, integers({2, 2}, {2, 2, 0, 1})), {2, 2}, {2, 2, 3, 4});
    expect_values(gather(x.var<float>(), 0, IntTensor{{1, 0}}), {1, 2}, {3, 1});
    expect_values(gather(x.var<float>(), 0, IntTensor{{1, 0, 1}, {0, 0, 1}, {1, 1, 1}}), {3, 3}, {3, 1, 5, 0, 1, 5, 3, 4, 5});
    expect_gradients([](const auto& in) { return gather(in[0], 1, IntTensor{{2, 2, 0, 1}, {0, 1, 1, 1}}); }, {filled(3, {2, 3})});
    expect_gradients([](const auto& in) { return gather(exp(in[0]), -2, integers({2, 1, 1}, {1, 0})) * sum(in[0]); }, {filled(4, {3, 2, 2})});
}

TEST(Choosing, OneHot) {
    expect_values(Var<float>(one_hot<float>(integers({2, 2}, {2, 0, 1, 1}), 3)), {2, 2, 3}, {0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0});
    expect_values(Var<double>(one_hot<double>(integers({}, {1}), 2)), {2}, {0, 1});
    expect_values(Var<double>(one_hot<double>(integers({0}, {}), 0)), {0, 0}, {});
}

TEST(Choosing, MaskedFillAndWhere) {
    const Array x = counted({2, 3});
    const xt::xarray<bool> row = {true, false, false};
    xt::xarray<bool> column = xt::xarray<bool>::from_shape({2, 1});
    column(0, 0) = false;
    column(1, 0) = true;
    expect_values(masked_fill(x.var<double>(), row, -1.5), {2, 3}, {-1.5, 1, 2, -1.5, 4, 5});
    expect_values(masked_fill(x.var<float>(), column, -std::numeric_limits<double>::infinity()), {2, 3},
                  {0, 1, 2, -std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                   -std::numeric_limits<double>::infinity()});
    const Array y = Array{{3}, {10, 20, 30}};
    expect_values(where(column, x.var<double>(), y.var<double>()), {2, 3}, {10, 20, 30, 3, 4, 5});
    expect_gradients([&](const auto& in) { return masked_fill(in[0], row, 2.0) * in[0]; }, {filled(5, {2, 3})});
    expect_gradients([&](const auto& in) { return where(column, in[0], in[1]); }, {filled(6, {2, 3}), filled(7, {3})});
    // What was not chosen does not matter, whatever it is.
    const Array bad{{3}, {std::nan(""), 1, 2}};
    const auto g = test::gradients_of([&](const auto& in) { return sum(masked_fill(log(in[0]), row, 0.0)); }, {bad}, {1});
    EXPECT_EQ(g[0][1], 1.0);
    EXPECT_EQ(masked_fill(bad.var<double>(), row, 0.0).data()[0], 0.0);
}

TEST(Choosing, IndicesOutOfRangeAreNamed) {
    const Array w = filled(1, {4, 3});
    EXPECT_EQ(message_of<IndexError>(w, [](auto v) { return embedding(v, IntTensor{{0, 1}, {4, 2}}); }),
              "[embedding] token 4 at position (1, 0) is out of range (allowed: 0 to 3)");
    EXPECT_EQ(message_of<IndexError>(w, [](auto v) { return embedding(v, IntTensor{0, 1, -1}); }),
              "[embedding] token -1 at position 2 is out of range (allowed: 0 to 3)");
    EXPECT_EQ(message_of<IndexError>(w, [](auto v) { return embedding(v, IntTensor{0}, 4); }),
              "[embedding] padding_idx 4 is out of range (allowed: 0 to 3, or −1 for none)");
    EXPECT_EQ(message_of<IndexError>(w, [](auto v) { return embedding(v, IntTensor{0}, -2); }),
              "[embedding] padding_idx -2 is out of range (allowed: 0 to 3, or −1 for none)");
    EXPECT_EQ(message_of<ShapeError>(filled(1, {4}), [](auto v) { return embedding(v, IntTensor{0}); }),
              "[embedding] the weight must be (V, E); got (4,)");
    EXPECT_EQ(message_of<ShapeError>(w, [](auto v) { return embedding(v, integers({1, 1, 1, 1, 1, 1}, {0})); }),
              "[embedding] tokens have at most 5 axes, but there are 6; got (4, 3)");
    EXPECT_EQ(message_of<IndexError>(w, [](auto v) { return index_select(v, 1, IntTensor{0, 3}); }),
              "[index_select] index 3 at position 1 is out of range (allowed: 0 to 2)");
    EXPECT_EQ(message_of<ShapeError>(w, [](auto v) { return index_select(v, 1, IntTensor{{0, 1}}); }),
              "[index_select] the positions must be a list; got (4, 3) and (1, 2)");
    EXPECT_EQ(message_of<IndexError>(w, [](auto v) { return index_select(v, 2, IntTensor{0}); }),
              "[index_select] axis 2 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<IndexError>(filled(1, {0, 3}), [](auto v) { return index_select(v, 0, IntTensor{0}); }),
              "[index_select] index 0 at position 0 is out of range (allowed: none)");
    EXPECT_EQ(message_of<IndexError>(w, [](auto v) { return gather(v, 0, IntTensor{{0, 1, 4}}); }),
              "[gather] index 4 at position (0, 2) is out of range (allowed: 0 to 3)");
    EXPECT_EQ(message_of<ShapeError>(w, [](auto v) { return gather(v, 0, IntTensor{0, 1}); }),
              "[gather] the index must have x's rank and be no longer than x in any other axis; got (4, 3) and (2,)");
    EXPECT_EQ(message_of<ShapeError>(w, [](auto v) { return gather(v, 0, IntTensor{{0, 1, 0, 1}}); }),
              "[gather] the index must have x's rank and be no longer than x in any other axis; got (4, 3) and (1, 4)");
    EXPECT_EQ(message_of<IndexError>(w, [](auto) { return one_hot<double>(IntTensor{1, 2}, 2); }),
              "[one_hot] index 2 at position 1 is out of range (allowed: 0 to 1)");
    EXPECT_EQ(message_of<ValueError>(w, [](auto) { return one_hot<double>(IntTensor{1}, -2); }),
              "[one_hot] the number of classes must be 0 or more; got -2");
    EXPECT_EQ(message_of<ShapeError>(w, [](auto v) { return masked_fill(v, xt::xarray<bool>{true, false}, 0); }),
              "[masked_fill] the mask must broadcast to x; got (4, 3) and (2,)");
    EXPECT_EQ(message_of<ShapeError>(w, [](auto v) { return where(xt::xarray<bool>{true, false}, v, v); }).substr(0, 7), "[where]");
    for (const auto& f : {+[](Var<double> v) { return embedding(v, IntTensor{0}); }, +[](Var<double> v) { return gather(v, 0, IntTensor{0}); },
                          +[](Var<double> v) { return index_select(v, 0, IntTensor{0}); }})
        EXPECT_NE(message_of<UsageError>(w, [&](auto) { return f(Var<double>()); }).find("operand 0 is an empty Var"), std::string::npos);
}

TEST(Choosing, NumbersOfPyTorch) {
    EXPECT_EQ(test::expect_golden("embedding", {"weight"}, [](const auto& in, const auto& c) {
        const auto tokens = c.at("constants").at("input").at("values").template get<std::vector<std::int64_t>>();
        const auto shape = c.at("constants").at("input").at("shape").template get<std::vector<Index>>();
        Index padding = c.at("options").value("padding_idx", Index{-100});
        if (padding == -1) padding += in[0].shape()[0];  // PyTorch counts from the end, and has another way to say none
        return embedding(in[0], integers(Shape(shape.data(), shape.size()), tokens), std::max<Index>(padding, -1));
    }), 3);
}

}  // namespace
}  // namespace unroll
