// Optimiser steps: every instruction set gives the bits of the scalar template, clipping costs nothing but a factor, and
// the formulas are those of the contracts. (That these are PyTorch's is tested with its golden numbers in tests/optim.)
#include <functional>

#include <unroll/autograd/kernels/optimizer_kernels.hpp>

#include "support.hpp"

namespace unroll::test {
namespace {

using namespace detail;

constexpr std::int64_t kN = 133;  // whole vectors and a tail on every instruction set

/// Parameters, gradient and three state arrays.
struct State {
    std::vector<float> p, g, a, b, c;
    bool operator==(const State&) const = default;
};

State random_state() {
    std::mt19937 random(5);
    State s = {normal_floats(random, kN), normal_floats(random, kN), normal_floats(random, kN),
               normal_floats(random, kN), normal_floats(random, kN)};
    // Averages of squares are not negative, and centered RMSprop needs them above the squared average.
    for (float& x : s.a) x = 2.0f + std::fabs(x);
    for (float& x : s.b) x = std::fabs(x) * 0.1f;
    for (float& x : s.c) x = std::fabs(x);
    return s;
}

using Step = std::function<void(State&, GradientScaling)>;
struct Optimizer {
    std::string name;
    std::function<void(const FloatKernels&, State&, GradientScaling)> vectors;
    Step scalar;
};

std::vector<Optimizer> optimizers() {
    std::vector<Optimizer> all;
    for (const int bits : {0, 1, 2, 3, 4, 5, 6, 7}) {
        const bool x = (bits & 1) != 0, y = (bits & 2) != 0;
        const double decay = (bits & 4) != 0 ? 0.01 : 0.0;
        const std::string name = std::to_string(bits);
        const auto sgd_step = [=](GradientScaling gradient) {
            return SgdStep{.lr = 0.1,
                           .momentum = x || y ? 0.9 : 0.0,
                           .dampening = y ? 0.0 : 0.25,
                           .weight_decay = decay,
                           .nesterov = y,
                           .first = x && y,
                           .gradient = gradient};
        };
        all.push_back({"sgd" + name,
                       [=](const FloatKernels& k, State& s, GradientScaling gradient) {
                           k.sgd(sgd_step(gradient), kN, s.p.data(), s.g.data(), s.a.data());
                       },
                       [=](State& s, GradientScaling gradient) {
                           generic::sgd(sgd_step(gradient), kN, s.p.data(), s.g.data(), s.a.data());
                       }});
        const auto rmsprop_step = [=](GradientScaling gradient) {
            return RmspropStep{
                .lr = 0.01, .weight_decay = decay, .momentum = y ? 0.8 : 0.0, .centered = x, .gradient = gradient};
        };
        all.push_back({"rmsprop" + name,
                       [=](const FloatKernels& k, State& s, GradientScaling gradient) {
                           k.rmsprop(rmsprop_step(gradient), kN, s.p.data(), s.g.data(), s.a.data(),
                                     x ? s.b.data() : nullptr, y ? s.c.data() : nullptr);
                       },
                       [=](State& s, GradientScaling gradient) {
                           generic::rmsprop(rmsprop_step(gradient), kN, s.p.data(), s.g.data(), s.a.data(), s.b.data(),
                                            s.c.data());
                       }});
        const auto adam_step = [=](GradientScaling gradient) {
            return AdamStep{.lr = 0.01,
                            .weight_decay = decay,
                            .bias_correction1 = 0.19,
                            .bias_correction2 = 0.002,
                            .decoupled = x,
                            .amsgrad = y,
                            .gradient = gradient};
        };
        all.push_back({"adam" + name,
                       [=](const FloatKernels& k, State& s, GradientScaling gradient) {
                           k.adam(adam_step(gradient), kN, s.p.data(), s.g.data(), s.b.data(), s.a.data(),
                                  y ? s.c.data() : nullptr);
                       },
                       [=](State& s, GradientScaling gradient) {
                           generic::adam(adam_step(gradient), kN, s.p.data(), s.g.data(), s.b.data(), s.a.data(),
                                         s.c.data());
                       }});
    }
    for (const double decay : {0.0, 0.01}) {
        const std::string name = decay == 0.0 ? "" : "_decay";
        const auto adagrad_step = [=](GradientScaling gradient) {
            return AdagradStep{.lr = 0.01, .weight_decay = decay, .gradient = gradient};
        };
        all.push_back({"adagrad" + name,
                       [=](const FloatKernels& k, State& s, GradientScaling gradient) {
                           k.adagrad(adagrad_step(gradient), kN, s.p.data(), s.g.data(), s.a.data());
                       },
                       [=](State& s, GradientScaling gradient) {
                           generic::adagrad(adagrad_step(gradient), kN, s.p.data(), s.g.data(), s.a.data());
                       }});
        const auto adadelta_step = [=](GradientScaling gradient) {
            return AdadeltaStep{.lr = 1.0, .weight_decay = decay, .gradient = gradient};
        };
        all.push_back({"adadelta" + name,
                       [=](const FloatKernels& k, State& s, GradientScaling gradient) {
                           k.adadelta(adadelta_step(gradient), kN, s.p.data(), s.g.data(), s.a.data(), s.b.data());
                       },
                       [=](State& s, GradientScaling gradient) {
                           generic::adadelta(adadelta_step(gradient), kN, s.p.data(), s.g.data(), s.a.data(),
                                             s.b.data());
                       }});
        const auto nadam_step = [=](GradientScaling gradient) {
            return NadamStep{.lr = 0.01,
                             .weight_decay = decay,
                             .bias_correction2 = 0.002,
                             .gradient_share = 0.5,
                             .average_share = 1.5,
                             .gradient = gradient};
        };
        all.push_back({"nadam" + name,
                       [=](const FloatKernels& k, State& s, GradientScaling gradient) {
                           k.nadam(nadam_step(gradient), kN, s.p.data(), s.g.data(), s.b.data(), s.a.data());
                       },
                       [=](State& s, GradientScaling gradient) {
                           generic::nadam(nadam_step(gradient), kN, s.p.data(), s.g.data(), s.b.data(), s.a.data());
                       }});
    }
    return all;
}

TEST(OptimizerKernels, EveryInstructionSetGivesTheSameBits) {
    for (const Optimizer& optimizer : optimizers()) {
        SCOPED_TRACE(optimizer.name);
        State expected = random_state();
        for (int step = 0; step < 3; ++step) optimizer.scalar(expected, {});
        EXPECT_NE(expected, random_state());
        for_each_isa([&](const FloatKernels& k) {
            State got = random_state();
            for (int step = 0; step < 3; ++step) optimizer.vectors(k, got, {});
            EXPECT_EQ(got, expected);
        });
    }
}

TEST(OptimizerKernels, ScalingEqualsAScaledGradient) {
    for (const Optimizer& optimizer : optimizers()) {
        SCOPED_TRACE(optimizer.name);
        State expected = random_state();
        const std::vector<float> g = expected.g;
        for (float& x : expected.g) x = std::min(std::max(x * 0.37f, -0.2f), 0.2f);
        optimizer.scalar(expected, {});
        expected.g = g;
        for_each_isa([&](const FloatKernels& k) {
            State got = random_state();
            optimizer.vectors(k, got, {.scale = 0.37f, .limit = 0.2f});
            EXPECT_EQ(got, expected);
        });
    }
}

TEST(OptimizerKernels, ANaNGradientReachesTheParameter) {
    for (const Optimizer& optimizer : optimizers()) {
        SCOPED_TRACE(optimizer.name);
        for_each_isa([&](const FloatKernels& k) {
            State got = random_state();
            got.g[3] = got.g[kN - 1] = NAN;
            optimizer.vectors(k, got, {.scale = 1.0, .limit = 5.0});
            EXPECT_TRUE(std::isnan(got.p[3]) && std::isnan(got.p[kN - 1]) && std::isfinite(got.p[4]));
        });
    }
}

TEST(OptimizerKernels, OneStepByHand) {
    const double g = 0.5 + 0.1 * 2.0;  // gradient 0.5, weight decay 0.1, parameter 2
    double p = 2.0, v = 0.3, m = 0.2;
    const double gradient = 0.5;
    generic::adam(AdamStep{.lr = 0.01, .weight_decay = 0.1, .bias_correction1 = 0.1, .bias_correction2 = 0.001}, 1, &p,
                  &gradient, &m, &v, static_cast<double*>(nullptr));
    const double m1 = 0.9 * 0.2 + 0.1 * g, v1 = 0.999 * 0.3 + 0.001 * g * g;
    EXPECT_NEAR(m, m1, 1e-15);
    EXPECT_NEAR(v, v1, 1e-15);
    EXPECT_NEAR(p, 2.0 - 0.01 * (m1 / 0.1) / (std::sqrt(v1 / 0.001) + 1e-8), 1e-14);
    double average = 1.0;
    generic::ema(0.75, 1, &average, &gradient);
    EXPECT_NEAR(average, 0.875, 1e-15);
}

}  // namespace
}  // namespace unroll::test
