// softmax, log_softmax, layer_norm, dropout: PyTorch's numbers, special values, gradients, draws, errors.
// Formatted by hand: a short lambda with braces inside stays on one line.
// clang-format off
#include <unroll/tests/autograd/ops_support.hpp>
#include <unroll/tests/support/special_values.hpp>

#include <limits>

namespace unroll {
namespace {

using nlohmann::json;
using namespace test;

using unroll::test::kInfinity;
using unroll::test::kNaN;

TEST(Normalised, NumbersOfPyTorch) {
    EXPECT_GE(expect_golden("softmax", {"input"}, [](const auto& in, const json& c) {
        return softmax(in[0], c.at("options").at("axis").get<Index>());
    }), 4);
    EXPECT_GE(expect_golden("log_softmax", {"input"}, [](const auto& in, const json& c) {
        return log_softmax(in[0], c.at("options").at("axis").get<Index>());
    }), 4);
    // PyTorch normalises over several axes at once; here these are one.
    EXPECT_GE(expect_golden("layer_norm", {"input", "weight", "bias"}, [](const auto& in, const json& c) {
        const double eps = c.at("options").at("eps");
        if (in.size() == 1) return layer_norm(in[0], {}, {}, eps);
        if (in[1].rank() == 1) return layer_norm(in[0], in[1], in[2], eps);
        return reshape(layer_norm(reshape(in[0], {in[0].shape()[0], -1}), reshape(in[1], {-1}), reshape(in[2], {-1}), eps), in[0].shape());
    }), 4);
}

TEST(Normalised, GradientsAlongAnyAxis) {
    const Array x = filled(1, {3, 4, 2}, 2.0);
    for (const Index axis : {0, 1, 2, -1, -3}) {
        expect_gradients([&](const auto& in) { return softmax(in[0], axis); }, {x});
        expect_gradients([&](const auto& in) { return log_softmax(in[0], axis) * in[0]; }, {x});
    }
    const Array w = filled(2, {4}), b = filled(3, {4});
    expect_gradients([](const auto& in) { return layer_norm(in[0]); }, {filled(4, {2, 3, 4})}, 1e-7);
    expect_gradients([](const auto& in) { return layer_norm(in[0], in[1], in[2]); }, {filled(5, {2, 3, 4}), w, b}, 1e-7);
    expect_gradients([](const auto& in) { return sum(in[0]) * layer_norm(exp(in[0]), in[1] * 2.0, in[2], 0.1) + in[1] * in[2]; },
                     {filled(6, {3, 4}), w, b});
    expect_gradients([](const auto& in) { return layer_norm(in[0], in[0], in[0]); }, {filled(7, {4}, 2.0)});
    expect_gradients([](const auto& in) { return layer_norm(in[0].detach(), in[1], in[2]); }, {Array{{0, 4}, {}}, w, b});
}

TEST(Normalised, FloatsOfManySizes) {
    for (const Index n : {1, 2, 15, 16, 17, 65, 300}) {
        const Array x = filled(8, {3, n}, 5.0), w = filled(9, {n}), b = filled(10, {n});
        expect_values(softmax(x.var<float>()), {3, n}, test::elements(softmax(x.var<double>())), 1e-6);
        expect_values(log_softmax(x.var<float>()), {3, n}, test::elements(log_softmax(x.var<double>())), 1e-6);
        expect_values(layer_norm(x.var<float>(), w.var<float>(), b.var<float>()), {3, n},
                      test::elements(layer_norm(x.var<double>(), w.var<double>(), b.var<double>())), 4e-6);
    }
    const Array flat{{2, 20}, std::vector<double>(40, 1000.25)};
    expect_values(layer_norm(flat.var<float>()), {2, 20}, std::vector<double>(40, 0.0), 0.0);
}

TEST(Normalised, SpecialValues) {
    const Array x{{4, 2}, {-kInfinity, 0, 1000, -1000, kNaN, 0, -kInfinity, -kInfinity}};
    for (const auto& y : {test::elements(softmax(x.var<double>())), test::elements(softmax(x.var<float>()))}) {
        EXPECT_EQ((std::vector<double>(y.begin(), y.begin() + 4)), (std::vector<double>{0, 1, 1, 0}));
        for (std::size_t i = 4; i < 8; ++i) EXPECT_TRUE(std::isnan(y[i])) << i;
    }
    expect_values(log_softmax(Array{{1, 2}, {-kInfinity, 0}}.var<float>()), {1, 2}, {-kInfinity, 0});
    expect_values(softmax(Array{{2, 0}, {}}.var<float>()), {2, 0}, {});
    expect_values(softmax(Array{{0, 2}, {}}.var<float>(), 0), {0, 2}, {});
    expect_values(softmax(Array{{1}, {7}}.var<float>()), {1}, {1});
    expect_values(layer_norm(Array{{2, 1}, {7, -3}}.var<float>()), {2, 1}, {0, 0});
}

TEST(Normalised, WrongOperandsAreNamed) {
    const Array x = filled(1, {2, 3});
    const auto other = [](const Shape& s) { return filled(2, s).var<double>(); };
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return softmax(v, 2); }), "[softmax] axis 2 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto) { return log_softmax(other({})); }), "[log_softmax] at least one axis is needed; got ()");
    EXPECT_EQ(message_of<UsageError>(x, [&](auto) { return log_softmax(Var<double>()); }), "[log_softmax] operand 0 is an empty Var");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return layer_norm(v, other({2}), other({2})); }),
              "[layer_norm] weight and bias must have one element for each of the last axis; got (2, 3), (2,) and (2,)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return layer_norm(v, other({3}), other({1, 3})); }),
              "[layer_norm] weight and bias must have one element for each of the last axis; got (2, 3), (3,) and (1, 3)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto) { return layer_norm(other({2, 0})); }),
              "[layer_norm] x needs a last axis of at least one element; got (2, 0)");
    EXPECT_EQ(message_of<UsageError>(x, [&](auto v) { return layer_norm(v, other({3})); }), "[layer_norm] give both weight and bias, or neither");
    EXPECT_EQ(message_of<ValueError>(x, [&](auto v) { return layer_norm(v, {}, {}, -1e-5); }), "[layer_norm] eps must be 0 or more; got -1e-05");
}

/// Which elements of n a call of dropout keeps.
template <class Real>
std::vector<bool> kept(const Shape& shape, double p, RandomStream& random) {
    const Var<Real> y = dropout(Var<Real>(full<Real>(shape, Real(1))), p, random);
    std::vector<bool> out;
    for (const double e : test::elements(y)) out.push_back(e != 0);
    return out;
}

TEST(Dropout, DrawsBySeedStreamCallAndElementOnly) {
    RandomStream a(1, 2, 5), b(1, 2, 5), c(1, 2, 5);
    const auto mask = kept<float>({1000}, 0.3, a);
    EXPECT_EQ(a.counter(), 6u);
    EXPECT_EQ(kept<double>({10, 25, 4}, 0.3, b), mask);
    EXPECT_EQ(kept<Dual<double>>({1000}, 0.3, c), mask);
    EXPECT_NE(kept<float>({1000}, 0.3, a), mask);  // the next call
    RandomStream seed(2, 2, 5), stream(1, 3, 5);
    EXPECT_NE(kept<float>({1000}, 0.3, seed), mask);
    EXPECT_NE(kept<float>({1000}, 0.3, stream), mask);
    a.set_counter(5);
    const auto fewer = kept<float>({100}, 0.3, a);
    EXPECT_TRUE(std::equal(fewer.begin(), fewer.end(), mask.begin()));
    // What is dropped at one p is dropped at every larger one.
    b.set_counter(5);
    const auto larger = kept<float>({1000}, 0.5, b);
    for (std::size_t i = 0; i < mask.size(); ++i) EXPECT_TRUE(mask[i] || !larger[i]);
}

TEST(Dropout, KeepsItsShareAndTheMean) {
    RandomStream random(3, "share");
    constexpr Index n = 100000;
    for (const double p : {0.01, 0.2, 0.5, 0.9}) {
        const Var<float> y = dropout(Var<float>(full<float>({n}, 2.0f)), p, random);
        double zeros = 0;
        for (const double e : test::elements(y)) {
            zeros += e == 0;
            if (e != 0) {
                EXPECT_NEAR(e, 2.0 / (1 - p), 2e-4 / (1 - p));
            }
        }
        EXPECT_NEAR(zeros / n, p, 5 * std::sqrt(p * (1 - p) / n));
    }
    // Neighbours, and elements 16 apart (one random word has two), do not know of each other.
    const auto mask = kept<float>({n}, 0.5, random);
    for (const std::size_t distance : {1u, 16u, 32u, 64u, 128u}) {
        double equal = 0;
        for (std::size_t i = 0; i + distance < mask.size(); ++i) equal += mask[i] == mask[i + distance];
        EXPECT_NEAR(equal / n, 0.5, 0.01) << distance;
    }
}

TEST(Dropout, GradientIsTheSameMask) {
    for (const double p : {0.3, 1.0})
        expect_gradients([&](const auto& in) {
            RandomStream random(4, 5, 6);
            return dropout(in[0], p, random) * 2.0 + in[0] * dropout(exp(in[0]), p, random);
        }, {filled(11, {3, 5, 11})});
    RandomStream random(4, 5, 6);
    const Array x = filled(12, {300});
    Tape<float> tape;
    const Var<float> v = x.var<float>();
    tape.watch(v);
    const Var<float> y = dropout(v, 0.4, random);
    backward(sum(y));
    const Tensor<float> g = tape.gradient(v);
    for (Index i = 0; i < 300; ++i) EXPECT_EQ(y.data()[i], g.data()[i] * v.data()[i]);
}

TEST(Dropout, TakesMemoryOverAndIgnoresWhatItDrops) {
    RandomStream random(7, 8, 9), again(7, 8, 9);
    const Array x = filled(13, {200});
    Var<float> y = exp(x.var<float>());
    const float* data = y.data();
    y = dropout(std::move(y), 0.5, random);
    EXPECT_EQ(y.data(), data);
    expect_values(y, {200}, test::elements(dropout(exp(x.var<float>()), 0.5, again)), 0.0);
    const Var<float> bad(full<float>({64}, std::numeric_limits<float>::quiet_NaN()));
    Index nans = 0;
    for (const double e : test::elements(dropout(bad, 0.5, random))) nans += std::isnan(e) ? 1 : 0;
    EXPECT_GT(nans, 10);
    EXPECT_LT(nans, 54);
}

TEST(Dropout, CertaintiesAndErrors) {
    RandomStream random(10, 11, 12);
    const Array x = filled(14, {4});
    const Var<double> v = x.var<double>();
    EXPECT_EQ(dropout(v, 0.0, random).data(), v.data());
    EXPECT_EQ(random.counter(), 12u);
    expect_values(dropout(v, 1.0, random), {4}, {0, 0, 0, 0});
    expect_values(dropout(Array{{0, 3}, {}}.var<float>(), 0.5, random), {0, 3}, {});
    EXPECT_EQ(kept<double>({4000}, 1e-9, random).size(), 4000u);
    for (const double p : {-0.1, 1.0001, kNaN, kInfinity})
        EXPECT_EQ(message_of<ValueError>(x, [&](auto u, RandomStream& r) { return dropout(u, p, r); }),
                  fmt::format("[dropout] p must be 0 to 1; got {}", p));
    EXPECT_EQ(message_of<UsageError>(x, [](auto, RandomStream& r) { return dropout(Var<double>(), 0.5, r); }),
              "[dropout] operand 0 is an empty Var");
    // A tape that can record no more.
    Tape<double> tape;
    tape.watch(v);
    backward(sum(v * 2.0));
    const std::uint64_t counter = random.counter();
    EXPECT_THROW(dropout(v, 0.5, random), UsageError);
    EXPECT_EQ(random.counter(), counter);
}

TEST(Dropout, ADrawWhoseResultIsRefusedIsTakenBack) {
    ParameterStore<double> store;
    RandomStream& random = Scope<double>(store).random("mask");
    const Var<double> x(full<double>({64}, 1.7e308));  // of the elements that are kept, twice as much
    Tape<double> tape({.check_finite = true});
    tape.watch(x);
    const Var<double> y = x * 1.0;
    EXPECT_THROW(dropout(y, 0.5, random), NonFiniteError);
    EXPECT_EQ(random.counter(), 0u);
    EXPECT_EQ(tape.node_count(), 1);
}

}  // namespace
}  // namespace unroll
