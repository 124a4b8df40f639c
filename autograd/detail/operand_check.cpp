// One operand of a function under check, entry by entry: backward against differences and dual numbers.
#include <unroll/autograd/detail/gradient_check.hpp>

#include <unroll/autograd/scalar.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace unroll::detail {

double GradientCheck::spread(std::size_t o) const {
    const CheckOperand<double>& x = operand(o);
    double squares = 0;
    for (Index i = 0; i < x.size(); ++i) squares += x.data[i] * x.data[i];
    return squares > 0 ? std::sqrt(squares / static_cast<double>(x.size())) : 1;
}

double GradientCheck::largest(std::size_t set, std::size_t o) const {
    double largest = 0;
    for (const double x : sweeps_[set].gradients[o].storage())
        if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
    return largest;
}

double GradientCheck::analytic(std::size_t set, std::size_t o, const Probe& probe) const {
    const Tensor<double>& g = sweeps_[set].gradients[o];
    return probe.entry >= 0 ? g.data()[probe.entry] : dot(g, probe.direction.data());
}

// ---- Where to look ----

Probe GradientCheck::probe_at(std::size_t o, Index entry) const {
    return {.entry = entry, .size = std::max(std::abs(operand(o).data[entry]), 0.05 * spread(o))};
}

Probe GradientCheck::probe_along(std::size_t o) {
    const CheckOperand<double>& x = operand(o);
    const double scale = spread(o);
    Probe probe{.direction = empty<double>(x.shape), .norm = scale * std::sqrt(static_cast<double>(x.size()))};
    for (double& v : probe.direction.storage()) v = random_.below(2) == 0 ? scale : -scale;
    return probe;
}

std::vector<Probe> GradientCheck::probes(std::size_t o) {
    std::vector<Probe> list;
    const Index n = operand(o).size();
    if (n <= options_.every_entry_up_to) {
        for (Index i = 0; i < n; ++i) list.push_back(probe_at(o, i));
    } else {
        for (Index i = 0; i < options_.sampled_entries; ++i) list.push_back(probe_at(o, random_.below(n)));
        for (Index i = 0; i < options_.directions; ++i) list.push_back(probe_along(o));
    }
    return list;
}

// ---- Derivatives, by output ----

/// ⟨u, y⟩ with y taken at x + t·probe.
std::vector<double> GradientCheck::weighted_outputs(std::size_t o, const Probe& probe, double t) {
    const CheckOperand<double>& x = operand(o);
    const Tensor<double> here = alias<double>({}, x.data, x.shape);
    const Tensor<double> kept = here;  // a copy, not another alias
    if (probe.entry >= 0)
        x.data[probe.entry] += t;
    else
        for (Index i = 0; i < x.size(); ++i) x.data[i] += t * probe.direction.data()[i];
    plain_.touched(x);
    const auto outputs = plain_.evaluate();
    std::copy_n(kept.data(), x.size(), x.data);
    plain_.touched(x);
    std::vector<double> weighted;
    for (std::size_t k = 0; k < upstream_.size(); ++k) weighted.push_back(dot(upstream_[k], outputs[k].data()));
    return weighted;
}

/// The derivative of ⟨u, y⟩ by (8(f(h) − f(−h)) − (f(2h) − f(−2h)))/12h, exact to h⁴.
std::vector<double> GradientCheck::difference(std::size_t o, const Probe& probe, double h) {
    const auto up = weighted_outputs(o, probe, h), down = weighted_outputs(o, probe, -h);
    const auto up2 = weighted_outputs(o, probe, 2 * h), down2 = weighted_outputs(o, probe, -2 * h);
    std::vector<double> d;
    for (std::size_t k = 0; k < up.size(); ++k) d.push_back((8 * (up[k] - down[k]) - (up2[k] - down2[k])) / (12 * h));
    return d;
}

/// The difference whose step suits the function best, and its step. A gradient that is wrong suits none.
std::pair<std::vector<double>, double> GradientCheck::best_difference(std::size_t o, const Probe& probe) {
    std::pair<std::vector<double>, double> best;
    double least = std::numeric_limits<double>::infinity();
    for (const double factor : {1.0, 1.0 / 16, 1.0 / 256, 8.0}) {
        // A power of two: x + h is exact for most x.
        const double h = std::exp2(std::round(std::log2(options_.step * probe.size * factor)));
        std::vector<double> d = difference(o, probe, h);
        double excess = 0;
        for (std::size_t s = 0; s < sets_.size(); ++s) {
            const double allowed = std::max(options_.difference_bar * probe.norm * largest(s, o), 16 * rounding_ / h);
            const double off = std::abs(sum_over(sets_[s], d) - analytic(s, o, probe));
            if (off <= allowed * excess) continue;
            excess = std::isfinite(off) ? off / allowed : std::numeric_limits<double>::max();
        }
        if (best.first.empty() || excess < least) {
            least = excess;
            best = {std::move(d), h};
        }
        if (excess <= 1) break;
    }
    return best;
}

/// The same derivative by dual numbers.
std::vector<double> GradientCheck::dual_derivative(std::size_t o, const Probe& probe) {
    if (probe.entry >= 0) {
        dual_.operands()[o].data[probe.entry].derivative = 1;
        dual_.touched(dual_.operands()[o]);
    } else {
        set_direction(o, probe.direction);
    }
    std::vector<double> d = weighted_derivatives();
    clear_direction(o);
    return d;
}

std::vector<double> GradientCheck::weighted_derivatives() {
    const auto outputs = dual_.evaluate();
    if (dual_.shapes() != plain_.shapes())
        fail_usage("gradcheck", "the number or the shapes of the function's outputs are others in dual numbers");
    std::vector<double> d;
    double squares = 0;
    for (std::size_t k = 0; k < upstream_.size(); ++k) {
        d.push_back(dot(upstream_[k], outputs[k].data()).derivative);
        for (Index i = 0; i < outputs[k].size(); ++i)
            squares += scalar::square(upstream_[k].data()[i] * outputs[k].data()[i].derivative);
    }
    derivative_rounding_ = std::isfinite(squares) ? kEpsilon * std::sqrt(squares) : 0;
    return d;
}

/// How far rounding may set the last weighted_derivatives() apart from backward's. Where all derivatives cancel, as those
/// of a sum of softmax do, what is left has the size of the values that they come from; of values much larger than a step,
/// like a constant that was added, it has nothing.
/// @param size of the operand's entries
/// @param step along which the derivatives were taken, 1 where that is the size already
double GradientCheck::noise_of_dual(double size, double step) const {
    double squares = 0;
    for (std::size_t k = 0; k < upstream_.size(); ++k)
        for (Index i = 0; i < static_cast<Index>(upstream_[k].size()); ++i)
            squares += scalar::square(upstream_[k].data()[i] * std::min(std::abs(outputs_[k].data()[i]), size));
    return 4 * (derivative_rounding_ + (std::isfinite(squares) ? kEpsilon * std::sqrt(squares) / step : 0));
}

void GradientCheck::set_direction(std::size_t o, const Tensor<double>& direction) {
    const CheckOperand<DualReal>& x = dual_.operands()[o];
    for (Index i = 0; i < x.size(); ++i) x.data[i].derivative = direction.data()[i];
    dual_.touched(x);
}

void GradientCheck::clear_direction(std::size_t o) {
    const CheckOperand<DualReal>& x = dual_.operands()[o];
    for (Index i = 0; i < x.size(); ++i) x.data[i].derivative = 0;
    dual_.touched(x);
}

double GradientCheck::sum_over(const Outputs& set, const std::vector<double>& by_output) {
    double sum = 0;
    for (std::size_t k = 0; k < by_output.size(); ++k)
        if (set.empty() || set[k]) sum += by_output[k];
    return sum;
}

// ---- The check ----

Index GradientCheck::check_operand(std::size_t o) {
    const std::vector<Probe> list = probes(o);
    std::vector<std::vector<Pair>> by_difference(sets_.size()), by_dual(sets_.size());
    bool influence = false;
    const auto add = [&](std::vector<std::vector<Pair>>& to, const Probe& probe, const std::vector<double>& by_output,
                         double noise) {
        for (std::size_t s = 0; s < sets_.size(); ++s) {
            const Pair p{probe.entry, analytic(s, o, probe), sum_over(sets_[s], by_output), probe.norm, noise};
            influence = influence || !(p.analytic == 0 && p.numeric == 0);
            to[s].push_back(p);
        }
    };
    for (const Probe& probe : list) {
        if (options_.check_dual) {
            const std::vector<double> d = dual_derivative(o, probe);
            add(by_dual, probe, d, noise_of_dual(probe.size, probe.size));
        }
        if (options_.check_differences) {
            const auto [d, h] = best_difference(o, probe);
            add(by_difference, probe, d, 16 * rounding_ / h);
        }
    }
    if (!options_.check_differences && !options_.check_dual) return 0;
    if (options_.check_differences) report("differences", o, by_difference, options_.difference_bar);
    if (options_.check_dual) report("dual numbers", o, by_dual, options_.dual_bar);
    if (!influence && !options_.allow_empty)
        problem(fmt::format("nothing was compared for {}: {}", operand(o).name,
                            list.empty() ? "it has no entries" : "its gradient and its influence are zero everywhere"));
    return static_cast<Index>(list.size());
}

/// One line for an operand: its worst entry in the worst set of outputs.
void GradientCheck::report(const char* check, std::size_t o, const std::vector<std::vector<Pair>>& by_set, double bar) {
    GradcheckComparison worst;
    for (std::size_t s = 0; s < by_set.size(); ++s) {
        std::string name = check;
        if (s > 0) {
            const auto alone = std::find(sets_[s].begin(), sets_[s].end(), true) - sets_[s].begin();
            name += fmt::format(", output {} alone", alone);
        }
        GradcheckComparison c =
            compare(std::move(name), operand(o).name, operand(o).shape, by_set[s], largest(s, o), bar);
        if (s == 0 || !(c.error <= worst.error)) worst = std::move(c);
    }
    if (worst.entries > 0) result_.comparisons.push_back(std::move(worst));
}

}  // namespace unroll::detail
