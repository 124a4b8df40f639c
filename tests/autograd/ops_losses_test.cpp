// Losses: PyTorch's numbers, special values, gradients by both operands, errors.
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

template <class Vars>
using RealOf = typename std::remove_cvref_t<Vars>::value_type::value_type;

Reduction reduction_of(const json& c) {
    const std::string name = c.at("options").at("reduction");
    return name == "none" ? Reduction::none : name == "mean" ? Reduction::mean : Reduction::sum;
}

template <class Real>
CrossEntropyOptions<Real> options_of(const json& c) {
    CrossEntropyOptions<Real> o;
    o.ignore_index = c.at("options").at("ignore_index");
    o.label_smoothing = c.at("options").value("label_smoothing", 0.0);
    o.reduction = reduction_of(c);
    if (c.at("constants").contains("weight")) o.class_weights = golden_array(c.at("constants").at("weight")).var<Real>().value();
    return o;
}

IntTensor targets_of(const json& c) {
    const auto values = c.at("constants").at("target").at("values").get<std::vector<std::int64_t>>();
    return integers({static_cast<Index>(values.size())}, values);
}

TEST(Losses, NumbersOfPyTorch) {
    EXPECT_GE(expect_golden("cross_entropy", {"input"}, [](const auto& in, const json& c) {
        return cross_entropy(in[0], targets_of(c), options_of<RealOf<decltype(in)>>(c));
    }), 37);
    EXPECT_GE(expect_golden("nll_loss", {"input"}, [](const auto& in, const json& c) {
        return nll_loss(in[0], targets_of(c), options_of<RealOf<decltype(in)>>(c));
    }), 18);
    const auto target = [](const auto& in, const json& c) {
        return in.size() > 1 ? in[1] : golden_array(c.at("constants").at("target")).template var<RealOf<decltype(in)>>();
    };
    EXPECT_GE(expect_golden("mse_loss", {"input", "target"}, [&](const auto& in, const json& c) {
        return mse_loss(in[0], target(in, c), reduction_of(c));
    }), 3);
    EXPECT_GE(expect_golden("l1_loss", {"input", "target"}, [&](const auto& in, const json& c) {
        return l1_loss(in[0], target(in, c), reduction_of(c));
    }), 4);
    EXPECT_GE(expect_golden("huber_loss", {"input", "target"}, [&](const auto& in, const json& c) {
        return huber_loss(in[0], target(in, c), c.at("options").at("delta").get<double>(), reduction_of(c));
    }), 7);
    // PyTorch's weight of elements is a product with what reduction "none" gives.
    EXPECT_GE(expect_golden("bce_with_logits", {"input"}, [&](const auto& in, const json& c) {
        using Real = RealOf<decltype(in)>;
        const json& constants = c.at("constants");
        Var<Real> positives;
        if (constants.contains("pos_weight")) positives = golden_array(constants.at("pos_weight")).var<Real>();
        if (!constants.contains("weight")) return bce_with_logits(in[0], target(in, c), positives, reduction_of(c));
        const Var<Real> all = bce_with_logits(in[0], target(in, c), positives, Reduction::none) *
                              golden_array(constants.at("weight")).var<Real>();
        return reduction_of(c) == Reduction::none ? all : reduction_of(c) == Reduction::mean ? mean(all) : sum(all);
    }), 13);
}

TEST(CrossEntropy, OverSeveralAxesAndOfFloats) {
    const Array x = filled(1, {3, 2, 65}, 4.0);
    const IntTensor t = integers({3, 2}, {0, 64, 31, -100, 7, 7});
    for (const double smoothing : {0.0, 0.2})
        for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum})
            for (const bool weighted : {false, true}) {
                const auto loss = [&](const auto& in) {
                    using Real = RealOf<decltype(in)>;
                    CrossEntropyOptions<Real> o{.label_smoothing = smoothing, .reduction = reduction};
                    if (weighted) o.class_weights = (filled(2, {65}, 0.5).template var<Real>() + 1).value();
                    return cross_entropy(in[0], t, o);
                };
                expect_gradients(loss, {x});
                const Var<double> y = loss(Vars<double>{x.var<double>()});
                expect_values(loss(Vars<float>{x.var<float>()}), y.shape(), test::elements(y), 2e-6);
            }
    // It is what log_softmax and nll_loss give, and what one after the other gives.
    const Var<double> v = x.var<double>();
    EXPECT_NEAR(cross_entropy(v, t).item(), nll_loss(log_softmax(v), t).item(), 1e-14);
    EXPECT_NEAR(cross_entropy(v, t).item(), cross_entropy(reshape(v, {6, 65}), integers({6}, {0, 64, 31, -100, 7, 7})).item(), 1e-15);
    EXPECT_NEAR(cross_entropy(Var<float>(zeros<float>({50, 65})), IntTensor(xt::zeros<std::int64_t>({50}))).item(), std::log(65.0f), 1e-6f);
}

TEST(CrossEntropy, JoinsOtherGradients) {
    const IntTensor t{1, -100, 2};
    expect_gradients([&](const auto& in) { return cross_entropy(in[0], t) + sum(in[0] * in[0]) + nll_loss(in[0], t); }, {filled(3, {3, 4})});
    expect_gradients([&](const auto& in) { return sum(in[0] * in[0]) * 0.5 + cross_entropy(exp(in[0]), t, {.label_smoothing = 0.1}); },
                     {filled(3, {3, 4})});
}

TEST(CrossEntropy, SpecialValues) {
    const auto loss = [](std::vector<double> x, std::int64_t t) {
        const Array a{{1, 3}, std::move(x)};
        const double d = cross_entropy(a.var<double>(), IntTensor{t}).item();
        const double f = static_cast<double>(cross_entropy(a.var<float>(), IntTensor{t}).item());
        EXPECT_TRUE(d == f || (std::isnan(d) && std::isnan(f)) || std::fabs(d - f) < 1e-5) << d << " " << f;
        return d;
    };
    EXPECT_EQ(loss({0, -kInfinity, -kInfinity}, 0), 0.0);
    EXPECT_EQ(loss({0, -kInfinity, 0}, 1), kInfinity);
    EXPECT_TRUE(std::isnan(loss({kNaN, 0, 0}, 1)));
    EXPECT_TRUE(std::isnan(loss({0, kNaN, 0}, 0)));
    EXPECT_TRUE(std::isnan(loss({-kInfinity, -kInfinity, -kInfinity}, 0)));
    EXPECT_EQ(loss({1000, 0, 0}, 1), 1000.0);
    EXPECT_EQ(cross_entropy(Array{{1, 3}, {0, -kInfinity, 0}}.var<float>(), IntTensor{1}, {.label_smoothing = 0.5}).item(),
              std::numeric_limits<float>::infinity());
    // No target that counts: the mean is 0/0, a sum is 0, and a gradient of NaN reaches nothing.
    const Array x = filled(4, {2, 3});
    EXPECT_TRUE(std::isnan(cross_entropy(x.var<double>(), IntTensor{-100, -100}).item()));
    EXPECT_EQ(cross_entropy(x.var<double>(), IntTensor{-100, -100}, {.reduction = Reduction::sum}).item(), 0.0);
    const auto none = test::gradients_of([](const auto& in) { return cross_entropy(in[0], IntTensor{-100, -100}); }, {x}, {1});
    EXPECT_EQ(none[0], std::vector<double>(6, 0.0));
    EXPECT_TRUE(std::isnan(cross_entropy(Array{{0, 3}, {}}.var<float>(), integers({0}, {})).item()));
    EXPECT_EQ(cross_entropy(Array{{1}, {5}}.var<float>(), integers({}, {0})).item(), 0.0f);
    EXPECT_NEAR(cross_entropy(Array{{2}, {0, 0}}.var<double>(), integers({}, {1})).item(), std::log(2.0), 1e-15);
}

TEST(CrossEntropy, ReadsNothingBehindItsRowsAndSavesNothingWithoutATape) {
    const Array x = filled(5, {4, 7});
    const Var<float> v = x.var<float>();
    const IntTensor t{0, 6, 3, 3};
    const float free_of_tape = cross_entropy(v, t).item();
    Tape<float> tape;
    tape.watch(v);
    const Var<float> loss = cross_entropy(v, t);
    EXPECT_EQ(loss.item(), free_of_tape);
    ASSERT_EQ(tape.count().size(), 1u);
    EXPECT_EQ(tape.count()[0].op, "cross_entropy");
    EXPECT_EQ(tape.count()[0].saved_bytes, static_cast<Index>(4 * 7 * sizeof(float) + 4 * sizeof(std::int64_t)));
}

TEST(Losses, OfValuesByBothOperands) {
    const Array x = filled(6, {3, 4}, 2.0), y = filled(7, {3, 4}), p{{3, 4}, golden::fill(8, 12, 0.4)}, w{{4}, {0.5, 1.0, 2.0, 1.5}};
    for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
        expect_gradients([&](const auto& in) { return mse_loss(in[0], in[1], r); }, {x, y});
        expect_gradients([&](const auto& in) { return l1_loss(in[0], in[1], r); }, {x, y});
        expect_gradients([&](const auto& in) { return huber_loss(in[0], in[1], 0.7, r); }, {x, y});
        expect_gradients([&](const auto& in) { return bce_with_logits(in[0], in[1] + 0.5, {}, r); }, {x, p});
        expect_gradients([&](const auto& in) { return bce_with_logits(in[0], in[1] + 0.5, in[2], r); }, {x, p, w});
    }
    EXPECT_TRUE(std::isnan(mse_loss(Array{{0}, {}}.var<float>(), Array{{0}, {}}.var<float>()).item()));
    EXPECT_EQ(mse_loss(Array{{}, {3}}.var<float>(), Array{{}, {1}}.var<float>(), Reduction::none).item(), 4.0f);
}

TEST(Losses, WrongOperandsAndOptionsAreNamed) {
    const Array x = filled(1, {2, 3});
    const auto other = [](const Shape& s) { return filled(2, s).var<double>(); };
    EXPECT_EQ(message_of<IndexError>(x, [](auto v) { return cross_entropy(v, IntTensor{0, 3}); }),
              "[cross_entropy] target 3 at position 1 is out of range (allowed: 0 to 2, or -100 to be ignored)");
    EXPECT_EQ(message_of<IndexError>(filled(1, {2, 2, 3}), [](auto v) { return nll_loss(v, IntTensor{{0, 1}, {-1, 2}}); }),
              "[nll_loss] target -1 at position (1, 0) is out of range (allowed: 0 to 2, or -100 to be ignored)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return cross_entropy(v, IntTensor{0}); }),
              "[cross_entropy] scores (…, C) and targets (…) are needed; got (2, 3) and (1,)");
    EXPECT_EQ(message_of<ShapeError>(x, [](auto v) { return cross_entropy(v, IntTensor{{0, 1}}); }),
              "[cross_entropy] scores (…, C) and targets (…) are needed; got (2, 3) and (1, 2)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto) { return cross_entropy(other({}), integers({}, {0})); }),
              "[cross_entropy] the last axis holds the classes, at least one; got ()");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto) { return nll_loss(other({2, 0}), IntTensor{0, 0}); }),
              "[nll_loss] the last axis holds the classes, at least one; got (2, 0)");
    for (const double bad : {-0.1, 1.5, kNaN})
        EXPECT_EQ(message_of<ValueError>(x, [&](auto v) { return cross_entropy(v, IntTensor{0, 1}, {.label_smoothing = bad}); }),
                  fmt::format("[cross_entropy] label_smoothing must be 0 to 1; got {}", bad));
    EXPECT_EQ(message_of<ValueError>(x, [&](auto v) { return nll_loss(v, IntTensor{0, 1}, {.label_smoothing = 0.1}); }),
              "[nll_loss] label_smoothing needs logits: use cross_entropy");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return cross_entropy(v, IntTensor{0, 1}, {.class_weights = full<double>({2}, 1)}); }),
              "[cross_entropy] class_weights must have one element for each class; got (2, 3) and (2,)");
    EXPECT_EQ(message_of<UsageError>(x, [](auto) { return cross_entropy(Var<double>(), IntTensor{0}); }),
              "[cross_entropy] operand 0 is an empty Var");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return mse_loss(v, other({2, 1})); }),
              "[mse_loss] input and target must have the same shape; got (2, 3) and (2, 1)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return l1_loss(v, other({3})); }),
              "[l1_loss] input and target must have the same shape; got (2, 3) and (3,)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return huber_loss(v, other({6})); }),
              "[huber_loss] input and target must have the same shape; got (2, 3) and (6,)");
    for (const double bad : {0.0, -1.0, kNaN})
        EXPECT_EQ(message_of<ValueError>(x, [&](auto v) { return huber_loss(v, v, bad); }),
                  fmt::format("[huber_loss] delta must be more than 0; got {}", bad));
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return bce_with_logits(v, other({3, 2})); }),
              "[bce_with_logits] input and target must have the same shape; got (2, 3) and (3, 2)");
    EXPECT_EQ(message_of<ShapeError>(x, [&](auto v) { return bce_with_logits(v, v, other({2})); }),
              "[bce_with_logits] pos_weight must broadcast to input; got (2, 3) and (2,)");
    EXPECT_EQ(message_of<UsageError>(x, [&](auto v) { return bce_with_logits(v, Var<double>()); }),
              "[bce_with_logits] an operand is an empty Var");
}

}  // namespace
}  // namespace unroll
