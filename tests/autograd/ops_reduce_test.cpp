// Reductions over axes: values against loops and NumPy's conventions, gradients, special values, errors.
// Formatted by hand: a short lambda with braces inside stays on one line.
// clang-format off
#include <unroll/tests/autograd/ops_support.hpp>
#include <unroll/tests/support/special_values.hpp>


namespace unroll {
namespace {

using namespace test;

using unroll::test::kInfinity;
using unroll::test::kNaN;

/// Every way to choose axes of a rank-3 array, negative ones among them.
const std::vector<Axes> kAxes = {{}, {0}, {1}, {-1}, {0, 1}, {1, 2}, {0, -1}, {2, 0, 1}};

/// The groups of elements that reduce to one, in the order of the results, by plain counting.
std::vector<std::vector<double>> groups(const Array& x, const Axes& axes) {
    bool reduced[3] = {axes.empty(), axes.empty(), axes.empty()};
    for (const Index a : axes) reduced[a < 0 ? a + 3 : a] = true;
    std::vector<std::vector<double>> out;
    const Index n0 = x.shape[0], n1 = x.shape[1], n2 = x.shape[2];
    for (Index i = 0; i < (reduced[0] ? 1 : n0); ++i)
        for (Index j = 0; j < (reduced[1] ? 1 : n1); ++j)
            for (Index k = 0; k < (reduced[2] ? 1 : n2); ++k) {
                std::vector<double> group;
                for (Index a = reduced[0] ? 0 : i; a < (reduced[0] ? n0 : i + 1); ++a)
                    for (Index b = reduced[1] ? 0 : j; b < (reduced[1] ? n1 : j + 1); ++b)
                        for (Index c = reduced[2] ? 0 : k; c < (reduced[2] ? n2 : k + 1); ++c)
                            group.push_back(x.values[static_cast<std::size_t>((a * n1 + b) * n2 + c)]);
                out.push_back(group);
            }
    return out;
}

Shape reduced_shape(const Array& x, const Axes& axes, bool keep) {
    Shape shape;
    for (std::size_t i = 0; i < 3; ++i) {
        const bool reduced = axes.empty() || std::find(axes.begin(), axes.end(), static_cast<Index>(i)) != axes.end() ||
                             std::find(axes.begin(), axes.end(), static_cast<Index>(i) - 3) != axes.end();
        if (!reduced || keep) shape = shape.inserted(shape.rank(), reduced ? 1 : x.shape[i]);
    }
    return shape;
}

template <class Op, class Reference>
void check(Op op, Reference reference) {
    const Array x = filled(3, {3, 4, 5}, 2.0);
    for (const Axes& axes : kAxes)
        for (const bool keep : {false, true}) {
            std::vector<double> expected;
            for (const auto& group : groups(x, axes)) expected.push_back(reference(group));
            expect_values(op(x.var<double>(), axes, keep), reduced_shape(x, axes, keep), expected, 1e-14);
            expect_values(op(x.var<float>(), axes, keep), reduced_shape(x, axes, keep), expected, 1e-6);
            expect_gradients([&](const auto& in) { return op(in[0], axes, keep); }, {x});
        }
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{1, 1, 1}})
        expect_gradients([&](const auto& in) { return op(in[0], Axes{}, false); }, {filled(4, shape)});
}

double total(const std::vector<double>& x) {
    double s = 0;
    for (const double v : x) s += v;
    return s;
}

TEST(Reduce, SumAddsUpOverAnyAxes) {
    check([](auto x, const Axes& axes, bool keep) { return sum(x, axes, keep); }, total);
}

TEST(Reduce, MeanDividesByTheNumberOfElements) {
    check([](auto x, const Axes& axes, bool keep) { return mean(x, axes, keep); },
          [](const auto& g) { return total(g) / static_cast<double>(g.size()); });
}

TEST(Reduce, MaxAndMinOverAnyAxes) {
    check([](auto x, const Axes& axes, bool keep) { return max(x, axes, keep); },
          [](const auto& g) { return *std::max_element(g.begin(), g.end()); });
    check([](auto x, const Axes& axes, bool keep) { return min(x, axes, keep); },
          [](const auto& g) { return *std::min_element(g.begin(), g.end()); });
}

TEST(Reduce, LogSumExpOverAnyAxes) {
    check([](auto x, const Axes& axes, bool keep) { return logsumexp(x, axes, keep); }, [](const auto& g) {
        double s = 0;
        for (const double v : g) s += std::exp(v);
        return std::log(s);
    });
}

TEST(Reduce, VarianceOverAnyAxes) {
    check([](auto x, const Axes& axes, bool keep) { return var(x, axes, 0, keep); }, [](const auto& g) {
        const double m = total(g) / static_cast<double>(g.size());
        double s = 0;
        for (const double v : g) s += (v - m) * (v - m);
        return s / static_cast<double>(g.size());
    });
    const Array x = filled(5, {2, 6});
    expect_values(var(x.var<double>(), {1}) * 5.0, {2}, test::elements(var(x.var<double>(), {1}, 0) * 6.0), 1e-14);
}

TEST(Reduce, SumsOfManyFloatsStayAccurate) {
    const Index n = 3'000'001;
    EXPECT_NEAR(mean(Var<float>(full<float>({n}, 0.1f))).item(), 0.1f, 1e-7f);
    const Array x = filled(6, {100'003}, 1.0);
    EXPECT_NEAR(var(x.var<float>()).item(), var(x.var<double>()).item(), 2e-6);
}

// Whatever the layout: a million elements a column, and gradients of what was broadcast along the last, first or middle
// axis. Columns are added up in groups of 64, these in groups of 64, these one by one.
TEST(Reduce, SumsOfManyFloatsAlongAnyAxisStayAccurate) {
    constexpr Index kRows = 1000000;
    constexpr double kError = (64 + 64 + kRows / 4096.0) * 0x1p-24;
    const Var<float> x(full<float>({kRows, 2}, 0.1f));
    EXPECT_NEAR(sum(x, {0}).data()[1], 1e5, kError * 1e5);
    EXPECT_NEAR(mean(x, {0}).data()[1], 0.1, kError * 0.1);
    EXPECT_LT(var(x, {0}).data()[1], kError * kError);
    EXPECT_NEAR(logsumexp(x, {0}).data()[1], 0.1 + std::log(1e6), 4e-6);
    for (const Shape& shape : {Shape{1}, Shape{}, Shape{1, 1}, Shape{1, 2}, Shape{kRows, 1}}) {
        Tape<float> tape;
        const Var<float> w(full<float>(shape, 1.0f));
        tape.watch(w);
        tape.backward(sum(x * w));
        const double each = 2e5 / static_cast<double>(shape.size());
        for (const float g : tape.gradient(w)) ASSERT_NEAR(g, each, 2 * kError * each) << to_string(shape);
    }
    Tape<float> tape;
    const Var<float> middle(full<float>({2, 1, 2}, 1.0f));
    tape.watch(middle);
    tape.backward(sum(reshape(x, {2, kRows / 2, 2}) * middle));
    for (const float g : tape.gradient(middle)) EXPECT_NEAR(g, 5e4, kError * 5e4);
}

TEST(Reduce, TiesShareTheGradientEqually) {
    const Array x{{2, 4}, {3, 1, 3, 3, -2, 5, -2, 0}};
    auto g = test::gradients_of([](const auto& in) { return max(in[0], {1}); }, {x}, {6, 10});
    EXPECT_EQ(g[0], (std::vector<double>{2, 0, 2, 2, 0, 10, 0, 0}));
    g = test::gradients_of([](const auto& in) { return min(in[0], {1}); }, {x}, {6, 10});
    EXPECT_EQ(g[0], (std::vector<double>{0, 6, 0, 0, 5, 0, 5, 0}));
    // The dual number of a tie has the mean of the derivatives.
    Tensor<Dual<double>> d = empty<Dual<double>>({3});
    d.data()[0] = {2.0, 1.0};
    d.data()[1] = {1.0, 7.0};
    d.data()[2] = {2.0, 4.0};
    EXPECT_EQ(max(Var<Dual<double>>(d)).item().derivative, 2.5);
}

TEST(Reduce, NanAndInfinityGoThrough) {
    const Array x{{3, 3}, {1, kNaN, 2, kInfinity, 0, -kInfinity, 4, 5, kNaN}};
    expect_values(max(x.var<double>(), {1}), {3}, {kNaN, kInfinity, kNaN});
    expect_values(min(x.var<float>(), {1}), {3}, {kNaN, -kInfinity, kNaN});
    expect_values(sum(x.var<double>(), {1}), {3}, {kNaN, kNaN, kNaN});
    expect_values(logsumexp(x.var<double>(), {1}), {3}, {kNaN, kInfinity, kNaN});
    expect_values(logsumexp(Array{{2}, {-kInfinity, -kInfinity}}.var<float>()), {}, {-kInfinity});
    const auto g = test::gradients_of([](const auto& in) { return logsumexp(in[0], {1}); },
                                      {Array{{2, 2}, {-kInfinity, -kInfinity, -kInfinity, 3}}}, {1, 1});
    EXPECT_EQ(g[0], (std::vector<double>{0, 0, 0, 1}));
    EXPECT_TRUE(std::isnan(var(Array{{1}, {3.0}}.var<double>()).item()));
}

TEST(Reduce, OverNoElements) {
    const Array x{{2, 0}, {}};
    expect_values(sum(x.var<double>(), {1}), {2}, {0, 0});
    expect_values(mean(x.var<double>(), {1}), {2}, {kNaN, kNaN});
    expect_values(logsumexp(x.var<double>(), {1}), {2}, {-kInfinity, -kInfinity});
    expect_values(sum(x.var<float>(), {0}), {0}, {});
    expect_values(max(x.var<float>(), {0}), {0}, {});
    EXPECT_TRUE(test::gradients_of([](const auto& in) { return sum(in[0], {1}); }, {x}, {1, 1})[0].empty());
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return max(v, {1}); }),
              "[max] there is no element to choose from; got (2, 0)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return argmax(v, 1); }),
              "[argmax] there is no element to choose from; got (2, 0)");
}

TEST(Reduce, ArgmaxNamesTheFirstLargest) {
    const Array x{{2, 3, 2}, {1, 8, 5, 7, 5, 8, 0, kNaN, 4, 9, 4, kNaN}};
    EXPECT_EQ(argmax(x.var<double>(), 1), (IntTensor{{1, 0}, {1, 0}}));
    EXPECT_EQ(argmax(x.var<float>()), (IntTensor{{1, 1, 1}, {1, 1, 1}}));
    EXPECT_EQ(argmax(x.var<float>(), 0).dimension(), 2u);
    EXPECT_EQ(argmax(Array{{3}, {2, 1, 2}}.var<double>())(), 0);
}

TEST(Reduce, WrongAxesAreNamed) {
    const Array x = filled(1, {2, 3});
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return sum(v, {2}); }),
              "[sum] axis 2 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return mean(v, {0, -3}); }),
              "[mean] axis -3 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<ValueError>(x, [](auto v) { return logsumexp(v, {1, -1}); }), "[logsumexp] axis -1 is named twice");
    EXPECT_EQ(message_of<ValueError>(x, [](auto v) { return var(v, {0, 0}); }), "[var] axis 0 is named twice");
    EXPECT_EQ(message_of<ValueError>(x, [](auto v) { return max(v, {0, 1, 0, 1, 0, 1, 0, 1}); }), "[max] axis 0 is named twice");
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return argmax(v, 5); }),
              "[argmax] axis 5 is out of range for an array of rank 2 (allowed: -2 to 1)");
    EXPECT_EQ(message_of<UsageError>(x, [](auto v) { return sum(decltype(v)()); }), "[sum] operand 0 is an empty Var");
}

TEST(Reduce, NumbersOfPyTorch) {
    EXPECT_GE(test::expect_golden("logsumexp", {"input"}, [](const auto& in, const auto& c) {
        return logsumexp(in[0], {c.at("options").at("axis").template get<Index>()});
    }), 4);
    EXPECT_GE(test::expect_golden("var", {"input"}, [](const auto& in, const auto& c) {
        const auto& options = c.at("options");
        return var(in[0], {options.at("axis").template get<Index>()}, options.at("unbiased").template get<bool>() ? 1 : 0);
    }), 6);
}

}  // namespace
}  // namespace unroll
