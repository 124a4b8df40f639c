// The course of a gradient check, and the checks that take all operands together.
#include <unroll/autograd/detail/gradient_check.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace unroll::detail {

GradientCheck::GradientCheck(CheckedFunction& function, const GradcheckOptions& options)
    : options_(options),
      plain_(function.inputs, *function.in_double),
      dual_(function.inputs, *function.in_dual),
      random_(options.seed, "gradcheck") {}

GradcheckResult GradientCheck::run() {
    if (!begin()) return std::move(result_);
    Index compared = 0;
    for (std::size_t o = 0; o < plain_.operands().size(); ++o) compared += check_operand(o);
    if (compared == 0 && !options_.allow_empty)
        problem("nothing was compared: no operand has an entry, or every check is switched off");
    check_accumulation();
    if (options_.check_dual) check_adjoint();
    if (options_.second_order) check_second_order();
    if (plain_.inputs_changed() || dual_.inputs_changed()) problem("the function changed the elements of an input");
    return std::move(result_);
}

/// Outputs, gradients from upstream, backward. @return whether there is anything to compare
bool GradientCheck::begin() {
    if (plain_.operands().empty()) {
        problem("nothing was compared: there is neither a real array nor a parameter to check");
        return false;
    }
    outputs_ = plain_.evaluate();
    double squares = 0;
    for (const Var<double>& y : outputs_) {
        Tensor<double> u = empty<double>(y.shape());
        for (Index i = 0; i < y.size(); ++i) {
            u.data()[i] = random_.normal();
            squares += u.data()[i] * y.data()[i] * u.data()[i] * y.data()[i];
        }
        upstream_.push_back(std::move(u));
    }
    rounding_ = std::isfinite(squares) ? kEpsilon * std::sqrt(squares) : 0;
    sweeps_.push_back(plain_.sweep(upstream_));
    sets_.emplace_back();
    if (!sweeps_[0].path) {
        problem("no gradient path: no output depends on an input or parameter whose gradient is asked for");
        return false;
    }
    compare_values("values, a second call", outputs_, plain_.evaluate(), 0);
    compare_values("values with a tape", outputs_, sweeps_[0].outputs, options_.dual_bar);
    // Each output alone: its neighbours' gradients are absent then.
    constexpr std::size_t kAlone = 8;
    const Outputs recorded = sweeps_[0].recorded;
    if (std::count(recorded.begin(), recorded.end(), true) < 2) return true;
    for (std::size_t k = 0; k < recorded.size() && sets_.size() <= kAlone; ++k) {
        if (!recorded[k]) continue;
        Outputs set(recorded.size());
        set[k] = true;
        sweeps_.push_back(plain_.sweep(upstream_, set));
        sets_.push_back(std::move(set));
    }
    return true;
}

/// Says so where outputs differ; outputs that agree are not worth a line.
template <class Real>
void GradientCheck::compare_values(const char* check, const std::vector<Var<double>>& a,
                                   const std::vector<Var<Real>>& b, double bar) {
    for (std::size_t k = 0; k < a.size(); ++k) {
        std::vector<Pair> pairs;
        double largest = 0;
        for (Index i = 0; i < a[k].size(); ++i) {
            const double x = a[k].data()[i], y = static_cast<double>(b[k].data()[i]);
            if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
            // NaN on both sides is the same value.
            if (!(std::isnan(x) && std::isnan(y))) pairs.push_back({i, x, y});
        }
        GradcheckComparison c = compare(check, fmt::format("output {}", k), a[k].shape(), pairs, largest, bar);
        if (!pairs.empty() && !c.passed()) result_.comparisons.push_back(std::move(c));
    }
}

/// Each operand holds a gradient of its own before f's arrives; they must add up.
void GradientCheck::check_accumulation() {
    std::vector<Tensor<double>> own;
    for (const CheckOperand<double>& x : plain_.operands()) {
        own.push_back(empty<double>(x.shape));
        for (double& v : own.back().storage()) v = random_.normal();
    }
    const CheckSweep<double> sweep = plain_.sweep(upstream_, {}, own);
    for (std::size_t o = 0; o < own.size(); ++o) {
        std::vector<Pair> pairs;
        for (Index i = 0; i < operand(o).size(); ++i)
            pairs.push_back({i, sweep.gradients[o].data()[i], sweeps_[0].gradients[o].data()[i] + own[o].data()[i]});
        GradcheckComparison c =
            compare("accumulation", operand(o).name, operand(o).shape, pairs, largest(0, o), options_.dual_bar);
        if (!pairs.empty() && !c.passed()) result_.comparisons.push_back(std::move(c));
    }
}

/// A random direction through all operands, of their own sizes.
std::vector<Tensor<double>> GradientCheck::random_direction() {
    std::vector<Tensor<double>> direction;
    for (std::size_t o = 0; o < plain_.operands().size(); ++o) {
        direction.push_back(empty<double>(operand(o).shape));
        const double scale = spread(o);
        for (double& v : direction.back().storage()) v = scale * random_.normal();
    }
    return direction;
}

/// ⟨u, Jv⟩ by dual numbers, ⟨Jᵀu, v⟩ by backward.
void GradientCheck::check_adjoint() {
    const auto direction = random_direction();
    for (std::size_t o = 0; o < direction.size(); ++o) set_direction(o, direction[o]);
    const double forward = sum_over({}, weighted_derivatives());
    double backward = 0, scale = 0, size = 0;
    for (std::size_t o = 0; o < direction.size(); ++o) {
        clear_direction(o);
        size = std::max(size, spread(o));
        const Tensor<double>& g = sweeps_[0].gradients[o];
        backward += dot(g, direction[o].data());
        scale += std::sqrt(dot(g, g.data()) * dot(direction[o], direction[o].data()));
    }
    const Pair pair{-1, backward, forward, 1, noise_of_dual(size, 1)};
    result_.comparisons.push_back(
        compare("adjoint identity", "all operands", Shape(), {&pair, 1}, scale, options_.adjoint_bar));
    compare_values("values in dual numbers", sweeps_[0].outputs, dual_.evaluate(), options_.dual_bar);
}

/// The backward sweep in dual numbers: its values are the gradient, its derivatives those of the gradient.
void GradientCheck::check_second_order() {
    const auto direction = random_direction();
    for (std::size_t o = 0; o < direction.size(); ++o) set_direction(o, direction[o]);
    std::vector<Tensor<DualReal>> upstream;
    for (const Tensor<double>& u : upstream_) {
        upstream.push_back(empty<DualReal>(shape_of(u)));
        std::copy(u.storage().begin(), u.storage().end(), upstream.back().data());
    }
    const CheckSweep<DualReal> sweep = dual_.sweep(upstream);
    for (std::size_t o = 0; o < direction.size(); ++o) clear_direction(o);

    // As for first derivatives, the step that suits the function best.
    std::vector<std::vector<Pair>> best;
    double least = std::numeric_limits<double>::infinity();
    for (const double factor : {1.0, 1.0 / 16, 8.0}) {
        const double h = std::exp2(std::round(std::log2(options_.step * factor)));
        const auto d = gradient_difference(direction, h);
        std::vector<std::vector<Pair>> pairs(direction.size());
        double worst = 0;
        for (std::size_t o = 0; o < direction.size(); ++o) {
            const double noise = 16 * (kEpsilon * largest(0, o) + rounding_ / spread(o)) / h;
            for (Index i = 0; i < operand(o).size(); ++i)
                pairs[o].push_back({i, sweep.gradients[o].data()[i].derivative, d[o].data()[i], 1, noise});
            const double error = compare("", "", Shape(), pairs[o], 0, options_.difference_bar).error;
            worst = std::max(worst, std::isnan(error) ? std::numeric_limits<double>::max() : error);
        }
        if (best.empty() || worst < least) {
            least = worst;
            best = std::move(pairs);
        }
        if (least <= options_.difference_bar) break;
    }
    for (std::size_t o = 0; o < direction.size(); ++o) {
        if (operand(o).size() == 0) continue;
        double hessian = 0;
        for (const Pair& p : best[o]) hessian = std::max(hessian, std::abs(p.analytic));
        result_.comparisons.push_back(
            compare("second order", operand(o).name, operand(o).shape, best[o], hessian, options_.difference_bar));
        std::vector<Pair> values;
        const double noise = 4 * rounding_ / spread(o);
        for (Index i = 0; i < operand(o).size(); ++i)
            values.push_back({i, sweeps_[0].gradients[o].data()[i], sweep.gradients[o].data()[i].value, 1, noise});
        result_.comparisons.push_back(compare("gradient in dual numbers", operand(o).name, operand(o).shape, values,
                                              largest(0, o), options_.dual_bar));
    }
}

/// The 4th-order difference of all gradients along a direction.
std::vector<Tensor<double>> GradientCheck::gradient_difference(const std::vector<Tensor<double>>& direction, double h) {
    std::vector<Tensor<double>> sum, kept;
    for (const CheckOperand<double>& x : plain_.operands()) {
        const Tensor<double> here = alias<double>({}, x.data, x.shape);
        kept.push_back(here);  // a copy, not another alias
        sum.push_back(zeros<double>(x.shape));
    }
    const auto shift = [&](double t) {
        for (std::size_t o = 0; o < direction.size(); ++o) {
            for (Index i = 0; i < operand(o).size(); ++i)
                operand(o).data[i] = kept[o].data()[i] + t * direction[o].data()[i];
            plain_.touched(operand(o));
        }
    };
    for (const auto& [at, weight] : {std::pair{1.0, 8.0}, {-1.0, -8.0}, {2.0, -1.0}, {-2.0, 1.0}}) {
        shift(at * h);
        const CheckSweep<double> sweep = plain_.sweep(upstream_);
        for (std::size_t o = 0; o < sum.size(); ++o)
            for (std::size_t i = 0; i < sum[o].size(); ++i)
                sum[o].data()[i] += weight * sweep.gradients[o].data()[i] / (12 * h);
    }
    shift(0);
    return sum;
}

}  // namespace unroll::detail
