// The cells' equations, written out with plain loops, and float against double.
#include <unroll/layers/cells.hpp>

#include <unroll/autograd/gradcheck.hpp>
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/tests/layers/layer_support.hpp>

#include <fmt/format.h>

namespace unroll {
namespace {

using test::elements;
using test::filled;
using test::filled_tensor;

constexpr Index kB = 3, kI = 4, kH = 6;

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

/// x (B, in) · W (in, out) + b, element by element; an empty name is no bias.
std::vector<double> affine(const ParameterStore<double>& store, const std::string& weight, const std::string& bias,
                           const std::vector<double>& x, Index in, Index out) {
    const auto w = elements(store.at(weight));
    const auto b = bias.empty() ? std::vector<double>(static_cast<std::size_t>(out)) : elements(store.at(bias));
    std::vector<double> y;
    for (Index r = 0; r < kB; ++r)
        for (Index j = 0; j < out; ++j) {
            double sum = b[static_cast<std::size_t>(j)];
            for (Index k = 0; k < in; ++k)
                sum += x[static_cast<std::size_t>(r * in + k)] * w[static_cast<std::size_t>(k * out + j)];
            y.push_back(sum);
        }
    return y;
}

/// Gate `which` of row r, unit u in (B, gates·H).
double gate(const std::vector<double>& y, Index gates, Index r, Index which, Index u) {
    return y[static_cast<std::size_t>((r * gates + which) * kH + u)];
}

TEST(Cells, LstmGatesAreInputForgetCellOutput) {
    ParameterStore<double> store(1);
    const LSTMCell<double> cell(store, {.input_size = kI, .hidden_size = kH});
    const auto x = filled<double>({kB, kI}, 1), h = filled<double>({kB, kH}, 2), c = filled<double>({kB, kH}, 3);
    const auto next = cell.step(cell.project(x), {h, c});
    const auto a = affine(store, "weight_ih", "bias_ih", elements(x), kI, 4 * kH),
               b = affine(store, "weight_hh", "bias_hh", elements(h), kH, 4 * kH);
    for (Index r = 0; r < kB; ++r)
        for (Index u = 0; u < kH; ++u) {
            const auto z = [&](Index g) { return gate(a, 4, r, g, u) + gate(b, 4, r, g, u); };
            const double c2 = sigmoid_of(z(1)) * c.data()[r * kH + u] + sigmoid_of(z(0)) * std::tanh(z(2));
            EXPECT_NEAR(next[1].data()[r * kH + u], c2, 1e-14);
            EXPECT_NEAR(next[0].data()[r * kH + u], sigmoid_of(z(3)) * std::tanh(c2), 1e-14);
        }
}

TEST(Cells, GruGatesAreResetUpdateNewAndTheResetLiesBehindTheProductOrBeforeIt) {
    for (const GruReset reset : {GruReset::after_product, GruReset::before_product})
        for (const bool bias : {true, false}) {
            ParameterStore<double> store(1);
            const GRUCell<double> cell(store, {.input_size = kI, .hidden_size = kH, .bias = bias, .reset = reset});
            const auto x = filled<double>({kB, kI}, 1), h = filled<double>({kB, kH}, 2);
            const auto next = cell.step(cell.project(x), {h})[0];
            const auto a = affine(store, "weight_ih", bias ? "bias_ih" : "", elements(x), kI, 3 * kH);
            const auto b = affine(store, "weight_hh", bias ? "bias_hh" : "", elements(h), kH, 3 * kH);
            std::vector<double> kept = elements(h);
            for (Index r = 0; r < kB; ++r)
                for (Index u = 0; u < kH; ++u)
                    kept[static_cast<std::size_t>(r * kH + u)] *= sigmoid_of(gate(a, 3, r, 0, u) + gate(b, 3, r, 0, u));
            const auto n = affine(store, "weight_hh", bias ? "bias_hh" : "", kept, kH, 3 * kH);
            for (Index r = 0; r < kB; ++r)
                for (Index u = 0; u < kH; ++u) {
                    const double reset_gate = sigmoid_of(gate(a, 3, r, 0, u) + gate(b, 3, r, 0, u));
                    const double update = sigmoid_of(gate(a, 3, r, 1, u) + gate(b, 3, r, 1, u));
                    const double inner =
                        reset == GruReset::after_product ? reset_gate * gate(b, 3, r, 2, u) : gate(n, 3, r, 2, u);
                    const double fresh = std::tanh(gate(a, 3, r, 2, u) + inner);
                    EXPECT_NEAR(next.data()[r * kH + u], (1 - update) * fresh + update * h.data()[r * kH + u], 1e-14);
                }
        }
}

TEST(Cells, RnnIsTanhOrReluOfTheSum) {
    for (const Nonlinearity f : {Nonlinearity::tanh, Nonlinearity::relu}) {
        ParameterStore<double> store(1);
        const RNNCell<double> cell(store, {.input_size = kI, .hidden_size = kH, .nonlinearity = f});
        const auto x = filled<double>({kB, kI}, 1), h = filled<double>({kB, kH}, 2);
        const auto next = cell.step(cell.project(x), {h})[0];
        const auto a = affine(store, "weight_ih", "bias_ih", elements(x), kI, kH),
                   b = affine(store, "weight_hh", "bias_hh", elements(h), kH, kH);
        for (std::size_t i = 0; i < a.size(); ++i)
            EXPECT_NEAR(next.data()[i], f == Nonlinearity::tanh ? std::tanh(a[i] + b[i]) : std::max(0.0, a[i] + b[i]),
                        1e-14);
    }
}

TEST(Cells, AProjectionIsAProductBehindTheCell) {
    ParameterStore<double> store(1);
    const LSTMCell<double> cell(store, {.input_size = kI, .hidden_size = kH, .proj_size = 2});
    EXPECT_EQ(cell.state_size(0), 2);
    EXPECT_EQ(cell.state_size(1), kH);
    const auto h = filled<double>({kB, 2}, 2), c = filled<double>({kB, kH}, 3), x = filled<double>({kB, kI}, 1);
    const auto next = cell.step(cell.project(x), {h, c});
    const auto a = affine(store, "weight_ih", "bias_ih", elements(x), kI, 4 * kH),
               b = affine(store, "weight_hh", "bias_hh", elements(h), 2, 4 * kH);
    std::vector<double> inner;
    for (Index r = 0; r < kB; ++r)
        for (Index u = 0; u < kH; ++u)
            inner.push_back(sigmoid_of(gate(a, 4, r, 3, u) + gate(b, 4, r, 3, u)) *
                            std::tanh(next[1].data()[r * kH + u]));
    test::expect_near(elements(next[0]), affine(store, "weight_hr", "", inner, kH, 2), 1e-14);
}

TEST(Cells, BothResetsOfAGruAgreeWhereTheResetGateIsOpen) {
    // With r = 1 (a large bias) and no b_hn they are the same function: weights can be taken over.
    ParameterStore<double> store(1), other(2);
    const GRUCell<double> after(store, {.input_size = kI, .hidden_size = kH}),
        before(other, {.input_size = kI, .hidden_size = kH, .reset = GruReset::before_product});
    std::fill_n(store.at("bias_ih").mutable_value().data(), kH, 100.0);
    other.copy_from(store);
    const auto x = filled<double>({kB, kI}, 1), h = filled<double>({kB, kH}, 2);
    test::expect_same(before.step(before.project(x), {h})[0], after.step(after.project(x), {h})[0], 1e-14);
}

/// One step of a cell, projection included.
template <class Cell, class X, class States>
auto one_step(const Cell& cell, X x, const States& states) {
    const auto next = cell.step(cell.project(x), states);
    return std::vector(next.begin(), next.end());
}

template <template <class> class Cell>
auto cell_twin(const CellOptions& options) {
    return twin([options]<class Real>(Scope<Real> at) { return Cell<Real>(at, options); });
}

TEST(Cells, GradientsAreRightAndFloatFollowsDoubleOnEveryInstructionSet) {
    const auto x = filled_tensor<double>({kB, kI}, 1), h = filled_tensor<double>({kB, kH}, 2),
               c = filled_tensor<double>({kB, kH}, 3);
    const CellOptions plain{.input_size = kI, .hidden_size = kH};
    const auto with_h = [](auto& cell, auto in, auto s) { return one_step(cell, in, std::array{s}); };
    const auto with_both = [](auto& cell, auto in, auto s, auto m) { return one_step(cell, in, std::array{s, m}); };
    CellOptions relu = plain, before = plain, projected = plain;
    relu.nonlinearity = Nonlinearity::relu;
    before.reset = GruReset::before_product;
    projected.proj_size = 2;
    const auto p = filled_tensor<double>({kB, 2}, 2);
    EXPECT_GRADIENTS(with_h, cell_twin<RNNCell>(plain), x, h);
    EXPECT_GRADIENTS(with_h, cell_twin<RNNCell>(relu), x, h);
    EXPECT_GRADIENTS(with_both, cell_twin<LSTMCell>(plain), x, h, c);
    EXPECT_GRADIENTS(with_both, cell_twin<LSTMCell>(projected), x, p, c);
    EXPECT_GRADIENTS(with_h, cell_twin<GRUCell>(plain), x, h);
    EXPECT_GRADIENTS(with_h, cell_twin<GRUCell>(before), x, h);
    for (const auto& result : {compare_float_double(with_h, cell_twin<RNNCell>(plain), x, h),
                               compare_float_double(with_both, cell_twin<LSTMCell>(plain), x, h, c),
                               compare_float_double(with_both, cell_twin<LSTMCell>(projected), x, p, c),
                               compare_float_double(with_h, cell_twin<GRUCell>(plain), x, h),
                               compare_float_double(with_h, cell_twin<GRUCell>(before), x, h)})
        EXPECT_TRUE(result.passed()) << to_string(result);
}

TEST(Cells, OptionsOfAnotherCellAreRefused) {
    ParameterStore<double> store;
    const Scope<double> at(store);
    const CellOptions projected{.input_size = 3, .hidden_size = 4, .proj_size = 2},
        biased{.input_size = 3, .hidden_size = 4, .forget_bias = 1.0};
    for (const CellOptions& o : {projected, biased}) {
        EXPECT_THROW(GRUCell<double>(at, o), ValueError);
        EXPECT_THROW(RNNCell<double>(at, o), ValueError);
    }
    EXPECT_TRUE(store.entries().empty());
}

}  // namespace
}  // namespace unroll
