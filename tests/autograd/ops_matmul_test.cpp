// Products: matmul against a plain loop for every combination of ranks, transposes and broadcasts, linear, deferral, errors.
// Formatted by hand: a short lambda with braces inside stays on one line.
// clang-format off
#include <unroll/tests/autograd/ops_support.hpp>

#include <unroll/autograd/checkpoint.hpp>
#include <unroll/autograd/detail/packed_weight.hpp>
#include <unroll/autograd/parameter.hpp>

namespace unroll {
namespace {

using namespace test;

/// numpy.matmul after swapping the last two axes where asked for.
Array reference(Array a, Array b, bool ta, bool tb) {
    const auto swapped = [](const Array& x) {
        Array out = x;
        const std::size_t r = x.shape.rank();
        const Index rows = x.shape[r - 2], columns = x.shape[r - 1];
        out.shape = x.shape.replaced(r - 2, columns).replaced(r - 1, rows);
        for (Index i = 0; i < x.shape.size(); ++i) {
            const Index matrix = i / (rows * columns), row = i / columns % rows, column = i % columns;
            out.values[static_cast<std::size_t>(matrix * rows * columns + column * rows + row)] = x.values[static_cast<std::size_t>(i)];
        }
        return out;
    };
    if (ta) a = swapped(a);
    if (tb) b = swapped(b);
    const bool row = a.shape.rank() == 1, column = b.shape.rank() == 1;
    if (row) a.shape = a.shape.inserted(0, 1);
    if (column) b.shape = b.shape.inserted(1, 1);
    const auto batch = [](const Shape& s) { return Shape(s.begin(), s.rank() - 2); };
    const Index m = a.shape[a.shape.rank() - 2], k = a.shape.back(), n = b.shape.back();
    Array out{detail::broadcast("", batch(a.shape), batch(b.shape)), {}};
    const auto matrix = [](const Shape& own, const Shape& whole, Index at) {  // which matrix of an operand is used
        Index position = 0, step = 1;
        for (std::size_t i = 1; i <= whole.rank(); ++i) {
            const Index here = at % whole[whole.rank() - i];
            at /= whole[whole.rank() - i];
            if (i > own.rank()) continue;
            if (own[own.rank() - i] != 1) position += here * step;
            step *= own[own.rank() - i];
        }
        return position;
    };
    for (Index at = 0; at < out.shape.size(); ++at) {
        const Index ia = matrix(batch(a.shape), out.shape, at) * m * k, ib = matrix(batch(b.shape), out.shape, at) * k * n;
        for (Index i = 0; i < m; ++i)
            for (Index j = 0; j < n; ++j) {
                double sum = 0;
                for (Index l = 0; l < k; ++l)
                    sum += a.values[static_cast<std::size_t>(ia + i * k + l)] * b.values[static_cast<std::size_t>(ib + l * n + j)];
                out.values.push_back(sum);
            }
    }
    if (!row) out.shape = out.shape.inserted(out.shape.rank(), m);
    if (!column) out.shape = out.shape.inserted(out.shape.rank(), n);
    return out;
}

void check(const Shape& a_shape, const Shape& b_shape, bool ta, bool tb) {
    SCOPED_TRACE(to_string(a_shape) + (ta ? "ᵀ" : "") + "·" + to_string(b_shape) + (tb ? "ᵀ" : ""));
    const Array a = filled(1, a_shape), b = filled(2, b_shape);
    const Array c = reference(a, b, ta, tb);
    expect_values(matmul(a.var<double>(), b.var<double>(), ta, tb), c.shape, c.values, 1e-14);
    expect_values(matmul(a.var<float>(), b.var<float>(), ta, tb), c.shape, c.values, 1e-6);
    expect_gradients([&](const auto& in) { return matmul(in[0], in[1], ta, tb); }, {a, b});
    // Gradients that join others, and an operand that needs none.
    expect_gradients([&](const auto& in) { return matmul(in[0], in[1] * 2.0, ta, tb) + sum(in[0]) * sum(in[1]); }, {a, b});
    // One side alone.
    expect_gradients([&](const auto& in) { return matmul(in[0], b.var<std::remove_cvref_t<decltype(in[0].data()[0])>>(), ta, tb); }, {a});
    expect_gradients([&](const auto& in) { return matmul(a.var<std::remove_cvref_t<decltype(in[0].data()[0])>>(), in[0], ta, tb); }, {b});
}

TEST(Matmul, AllRanksTransposesAndBroadcasts) {
    const Index m = 2, k = 3, n = 4;
    const std::vector<Shape> batches = {{}, {2}, {3, 1}, {1, 2}};
    for (const Shape& ba : batches)
        for (const Shape& bb : batches)
            for (const bool ta : {false, true})
                for (const bool tb : {false, true}) {
                    const auto whole = [](Shape s, Index rows, Index columns) {
                        s = s.inserted(s.rank(), rows);
                        return s.inserted(s.rank(), columns);
                    };
                    check(whole(ba, ta ? k : m, ta ? m : k), whole(bb, tb ? n : k, tb ? k : n), ta, tb);
                }
}

TEST(Matmul, VectorsOnEitherSide) {
    check({4}, {4}, false, false);
    for (const bool t : {false, true}) {
        check({4}, t ? Shape{5, 4} : Shape{4, 5}, false, t);
        check({4}, t ? Shape{2, 5, 4} : Shape{2, 4, 5}, false, t);
        check(t ? Shape{4, 3} : Shape{3, 4}, {4}, t, false);
        check(t ? Shape{2, 4, 3} : Shape{2, 3, 4}, {4}, t, false);
    }
}

TEST(Matmul, LengthsOfZeroAndOne) {
    for (const Index m : {0, 1, 2})
        for (const Index k : {0, 1, 3})
            for (const Index n : {0, 1, 4}) {
                check({m, k}, {k, n}, false, false);
                check({k, m}, {n, k}, true, true);
                check({2, m, k}, {k, n}, false, false);
                check({2, m, k}, {1, k, n}, false, false);
            }
    check({0, 2, 3}, {3, 4}, false, false);
    check({0, 2, 3}, {1, 3, 4}, false, false);
    check({2, 3}, {0, 3, 4}, false, false);
}

TEST(Matmul, OfAValueWithItself) {
    expect_gradients([](const auto& in) { return matmul(in[0], in[0]); }, {filled(4, {3, 3})});
    expect_gradients([](const auto& in) { return matmul(in[0], in[0], true, false); }, {filled(5, {3, 4})});
    expect_gradients([](const auto& in) { return matmul(in[0], in[0]); }, {filled(6, {5})});
    expect_gradients([](const auto& in) { return matmul(in[0], in[0], false, true); }, {filled(7, {2, 3, 4})});
}

/// A weight used at ten steps, on either side, transposed or not: one product in backward, and the right gradient.
TEST(Matmul, WeightsAreMultipliedOnceInBackward) {
    const Index h = 3, steps = 10;
    for (const Index batch : {1, 4})
        for (const bool left : {false, true})
            for (const bool t : {false, true})
                for (const bool vector : {false, true}) {
                    if (vector && batch > 1) continue;
                    ParameterStore<double> store(1);
                    Scope<double> at(store);
                    const Array w = filled(8, {h, h});
                    const auto weight = at.parameter("w", {h, h}, [&](std::span<double> v, const Shape&, RandomStream&) {
                        std::copy(w.values.begin(), w.values.end(), v.begin());
                    });
                    const Array x = filled(9, vector ? Shape{h} : left ? Shape{h, batch} : Shape{batch, h});
                    const auto loss = [&](const auto& m) {
                        auto s = x.var<double>();
                        for (Index i = 0; i < steps; ++i) s = tanh(left ? matmul(m, s, t) : matmul(s, m, false, t));
                        return sum(s * s);
                    };
                    const auto expected = test::gradients_of([&](const auto& in) { return loss(in[0]); }, {w}, {1.0});
                    store.zero_grad();
                    Tape<double> tape;
                    tape.backward(loss(weight));
                    EXPECT_EQ(tape.deferred_products(), 1) << batch << left << t << vector;
                    const Tensor<double> g = weight.gradient();
                    for (std::size_t i = 0; i < w.values.size(); ++i) EXPECT_NEAR(g.data()[i], expected[0][i], 1e-14);
                }
}

/// In a loop, matmul by a parameter takes the way of linear, with weights that are packed once: the same bits.
TEST(Matmul, ByAParameterInALoopIsWhatLinearMakes) {
    const Index rows = 7, h = 130;
    ParameterStore<float> store(1);
    const Array w = filled(20, {h, h}), x = filled(21, {rows, h});
    const auto weight = Scope<float>(store).parameter("w", {h, h}, [&](std::span<float> v, const Shape&, RandomStream&) {
        for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(0.1 * w.values[i]);
    });
    const auto run = [&](auto product) {
        store.zero_grad();
        Tape<float> tape;
        const detail::PackScope<float> packed;
        const Var<float> first = x.var<float>();
        tape.watch(first);
        Var<float> s = first;
        for (Index i = 0; i < 5; ++i) s = tanh(product(s));
        tape.backward(sum(s * s));
        std::vector<float> all(s.data(), s.data() + s.size());
        for (const Tensor<float>& g : {tape.gradient(first), weight.gradient()}) all.insert(all.end(), g.begin(), g.end());
        return all;
    };
    const auto plain = run([&](const Var<float>& s) { return matmul<float>(s, weight); });
    const auto linears = run([&](const Var<float>& s) { return linear<float>(s, weight); });
    EXPECT_EQ(plain, linears);
    const auto apart = run([&](const Var<float>& s) { return transpose(matmul<float>(weight, transpose(s, 0, 1), true), 0, 1); });
    ASSERT_EQ(plain.size(), apart.size());
    for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(plain[i], apart[i], 2e-5 * (1 + std::abs(apart[i])));
}

/// A loop's packed weights follow the parameter and leave out steps that have no rows.
TEST(Matmul, InALoopFollowsItsParameterAndTakesAnyNumberOfRows) {
    const Index h = 130;
    ParameterStore<float> store(1);
    const Array w = filled(22, {h, h}), x = filled(23, {6, h});
    const auto weight = Scope<float>(store).parameter("w", {h, h}, [&](std::span<float> v, const Shape&, RandomStream&) {
        for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(w.values[i]);
    });
    const detail::PackScope<float> packed;
    const Var<float> before = matmul<float>(x.var<float>(), weight);
    for (float& v : weight.mutable_value()) v *= 2;
    const Var<float> after = matmul<float>(x.var<float>(), weight);
    for (Index i = 0; i < before.size(); ++i) ASSERT_EQ(after.data()[i], 2 * before.data()[i]);

    Tape<float> tape;
    const Var<float> in = x.var<float>();
    tape.watch(in);
    Var<float> total = 0;
    for (const Index rows : {4, 0, 4, 1, 4, 0}) total = total + sum(matmul<float>(slice(in, 0, 0, rows), weight));
    tape.backward(total);
    const Tensor<float> gx = tape.gradient(in);
    for (Index l = 0; l < h; ++l) {
        double row = 0;
        for (Index j = 0; j < h; ++j) row += 2 * w.values[static_cast<std::size_t>(l * h + j)];
        ASSERT_NEAR(gx.data()[l], 4 * row, 1e-3) << l;
        ASSERT_NEAR(gx.data()[3 * h + l], 3 * row, 1e-3) << l;
        ASSERT_EQ(gx.data()[5 * h + l], 0) << l;
    }
}

/// What runs again in backward, outside of the loop, is what ran inside it.
TEST(Matmul, OfACheckpointInALoopHasTheBitsItWillHaveAgain) {
    const Index h = 130;
    ParameterStore<float> store(1);
    const Array w = filled(24, {h, h}), x = filled(25, {6, h});
    const auto weight = Scope<float>(store).parameter("w", {h, h}, [&](std::span<float> v, const Shape&, RandomStream&) {
        for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(w.values[i]);
    });
    const auto part = [&](std::span<const Var<float>> in) { return Vars<float>{matmul<float>(in[0], weight)}; };
    const Vars<float> in{x.var<float>()};
    const Var<float> outside = part(in)[0];
    Tape<float> tape;
    tape.watch(in[0]);
    const detail::PackScope<float> packed;
    const Var<float> inside = checkpoint<float>(part, in)[0];
    for (Index i = 0; i < outside.size(); ++i) ASSERT_EQ(inside.data()[i], outside.data()[i]) << i;
}

TEST(Linear, IsAProductAndABias) {
    const Array x = filled(10, {2, 3, 4}), w = filled(11, {4, 5}), wt = filled(12, {5, 4}), b = filled(13, {5});
    Array y = reference(x, w, false, false), yt = reference(x, wt, false, true);
    expect_values(linear(x.var<double>(), w.var<double>()), y.shape, y.values, 1e-14);
    for (std::size_t i = 0; i < y.values.size(); ++i) {
        y.values[i] += b.values[i % 5];
        yt.values[i] += b.values[i % 5];
    }
    expect_values(linear(x.var<float>(), w.var<float>(), b.var<float>()), y.shape, y.values, 1e-6);
    expect_values(linear(x.var<double>(), wt.var<double>(), b.var<double>(), true), yt.shape, yt.values, 1e-14);
    expect_gradients([](const auto& in) { return linear(in[0], in[1], in[2]); }, {x, w, b});
    expect_gradients([](const auto& in) { return linear(in[0], in[1], in[2], true); }, {x, wt, b});
    expect_gradients([](const auto& in) { return linear(in[0], in[1]) * in[2]; }, {filled(14, {4}), w, b});
}

TEST(Matmul, WrongShapesAreNamed) {
    const Array x = filled(1, {2, 3});
    const auto other = [](const Shape& s) { return filled(2, s).var<double>(); };
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return matmul(v, other({4, 5})); }),
              "[matmul] the inner lengths must be equal: (…, M, K)·(…, K, N); got (2, 3) and (4, 5)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return matmul(v, other({3, 5}), true); }),
              "[matmul] the inner lengths must be equal: (…, M, K)·(…, K, N) after transposing as asked for; got (2, 3) and (3, 5)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return matmul(other({4}), v); }),
              "[matmul] the inner lengths must be equal: (…, M, K)·(…, K, N); got (4,) and (2, 3)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return matmul(v, other({})); }),
              "[matmul] operands must have at least one axis; got (2, 3) and ()");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return matmul(v, other({3}), false, true); }),
              "[matmul] a vector cannot be transposed; got (2, 3) and (3,)");
    EXPECT_EQ(message_of<ShapeError>(filled(1, {2, 4, 3}), [&](auto v) { return matmul(v, other({5, 3, 4})); }),
              "[matmul] the leading axes must broadcast: lengths are equal or one of them is 1; got (2, 4, 3) and (5, 3, 4)");
    EXPECT_EQ(message_of<UsageError>(x, [&](auto v) { return matmul(v, decltype(v)()); }), "[matmul] operand 1 is an empty Var");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return linear(v, other({4, 5})); }),
              "[linear] the last axis of x must be as long as axis 0 of the weight (K, N); got (2, 3) and (4, 5)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return linear(v, other({4, 5}), {}, true); }),
              "[linear] the last axis of x must be as long as axis 1 of the transposed weight (N, K); got (2, 3) and (4, 5)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return linear(v, other({3, 5}), other({4})); }),
              "[linear] the bias must have one element for each output; got (2, 3), (3, 5) and (4,)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return linear(v, other({3})); }),
              "[linear] x (…, K) and a weight with two axes are needed; got (2, 3) and (3,)");
}

}  // namespace
}  // namespace unroll
