// Recurrent layers in float, the numbers that train, against double, on every instruction set: small weights, weights that
// loops pack, and weights that are cut into groups of columns.
#include <unroll/layers/rnn.hpp>
#include <unroll/layers/sequential.hpp>

#include <unroll/autograd/gradcheck.hpp>
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/tests/layers/layer_support.hpp>

namespace unroll {
namespace {

using namespace test;

/// Errors of one step are carried into the next: this many epsilons of the largest entry for some ten steps.
constexpr FloatOptions kFloat{.epsilons = 64};

/// Output and final states of a layer.
const auto everything = [](auto& layer, auto x) {
    auto made = layer(x);
    std::vector<std::remove_cvref_t<decltype(made.output)>> all{made.output};
    all.insert(all.end(), made.state.begin(), made.state.end());
    return all;
};

struct Sizes {
    Index T, B, I, H;
};
class RecurrentFloat : public ::testing::TestWithParam<Sizes> {};

TEST_P(RecurrentFloat, FollowsDouble) {
    const auto [T, B, I, H] = GetParam();
    const auto x = filled_tensor<double>({T, B, I}, 1);
    for (const Nonlinearity f : {Nonlinearity::tanh, Nonlinearity::relu})
        EXPECT_FLOAT_LIKE_DOUBLE(
            kFloat, everything,
            twin<RNN>(RNNOptions{.input_size = I, .hidden_size = H, .nonlinearity = f, .bidirectional = true}), x);
    for (const Index projected : {Index{0}, H / 2})
        EXPECT_FLOAT_LIKE_DOUBLE(
            kFloat, everything,
            twin<LSTM>(LSTMOptions{.input_size = I, .hidden_size = H, .proj_size = projected, .forget_bias = 1.0}), x);
    EXPECT_FLOAT_LIKE_DOUBLE(kFloat, everything,
                             twin<LSTM>(LSTMOptions{.input_size = I, .hidden_size = H, .num_layers = 2}), x);
    for (const GruReset reset : {GruReset::after_product, GruReset::before_product})
        EXPECT_FLOAT_LIKE_DOUBLE(kFloat, everything,
                                 twin<GRU>(GRUOptions{.input_size = I, .hidden_size = H, .reset = reset}), x);
}
// The second packs its recurrent weights, the third cuts them into groups of columns as well; both from four steps on.
INSTANTIATE_TEST_SUITE_P(Sizes, RecurrentFloat,
                         ::testing::Values(Sizes{10, 3, 5, 6}, Sizes{6, 3, 24, 64}, Sizes{4, 2, 16, 256}));

template <class Real>
struct Deep : Module {
    Stacked<Real, UserCell<Real>> rnn;
    explicit Deep(Scope<Real> at, Index hidden)
        : rnn(at, Size(5), Size(hidden), {.num_layers = 2, .bidirectional = true}) {}
    Var<Real> operator()(Var<Real> x) const { return rnn(std::move(x)).output; }
};
template <class Real>
struct Both : Module {
    Bidirectional<Real, UserCell<Real>> rnn;
    explicit Both(Scope<Real> at, Index hidden) : rnn(at, Size(5), Size(hidden)) {}
    Var<Real> operator()(Var<Real> x) const { return rnn(std::move(x)).output; }
};
template <class Real>
struct InSequence : Module {
    Sequential<LSTM<Real>, LayerNorm<Real>, Linear<Real>> all;
    explicit InSequence(Scope<Real> at, Index hidden)
        : all(at, LSTMOptions{.input_size = 5, .hidden_size = hidden}, LayerNormOptions{.normalized_shape = hidden},
              LinearOptions{.in_features = hidden, .out_features = 3}) {}
    Var<Real> operator()(Var<Real> x) const { return all(std::move(x)); }
};

TEST(AnyCellFloat, FollowsDouble) {
    const auto x = filled_tensor<double>({6, 3, 5}, 1);
    const auto run = [](auto& model, auto in) { return model(in); };
    for (const Index hidden : {6, 96}) {
        EXPECT_FLOAT_LIKE_DOUBLE(kFloat, run, twin<Deep>(hidden), x);
        EXPECT_FLOAT_LIKE_DOUBLE(kFloat, run, twin<Both>(hidden), x);
        EXPECT_FLOAT_LIKE_DOUBLE(kFloat, run, twin<InSequence>(hidden), x);
    }
}

}  // namespace
}  // namespace unroll
