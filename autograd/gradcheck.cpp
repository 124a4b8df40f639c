// gradcheck() and compare_float_double(): options are looked at, parameters prepared, checks called.
#include <unroll/autograd/detail/gradient_check.hpp>
#include <unroll/autograd/kernels/kernels.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace unroll::detail {
namespace {

void require(bool holds, std::string_view function, std::string_view message) {
    if (!holds) fail_value(function, message);
}

/// Takes an instruction set for as long as it lives.
class IsaScope {
public:
    explicit IsaScope(Isa isa) : before_(active_isa()) { set_isa(isa); }
    IsaScope(const IsaScope&) = delete;
    IsaScope& operator=(const IsaScope&) = delete;
    ~IsaScope() { set_isa(before_); }

private:
    Isa before_;
};

/// Float against double, the gradients from upstream rounded to float.
class FloatCheck {
public:
    FloatCheck(CheckedFunction& function, const FloatOptions& options)
        : bar_(options.epsilons * kEpsilon),
          right_(function.inputs, *function.in_double),
          tested_(function.inputs, *function.in_float) {
        RandomStream random(options.seed, "gradcheck");
        std::vector<Tensor<double>> exact;
        double squares = 0;
        for (const Var<double>& y : right_.evaluate()) {
            upstream_.push_back(empty<float>(y.shape()));
            exact.push_back(empty<double>(y.shape()));
            for (Index i = 0; i < y.size(); ++i) {
                const auto u = static_cast<float>(random.normal());
                upstream_.back().data()[i] = u;
                exact.back().data()[i] = static_cast<double>(u);
                squares += std::pow(static_cast<double>(u) * y.data()[i], 2);
            }
        }
        rounding_ = std::isfinite(squares) ? 4 * kEpsilon * std::sqrt(squares) : 0;
        wanted_ = right_.sweep(exact);
    }

    GradcheckResult run(bool allow_empty) {
        for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512})
            if (isa_available(isa)) run(isa);
        if (result_.comparisons.empty() && !allow_empty)
            result_.problems.push_back("nothing was compared: no output and no operand has an entry that is a number");
        if (right_.inputs_changed() || tested_.inputs_changed())
            result_.problems.push_back("the function changed the elements of an input");
        return std::move(result_);
    }

private:
    static constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

    void run(Isa isa) {
        const IsaScope scope(isa);
        const CheckSweep<float> got = tested_.sweep(upstream_);
        if (tested_.shapes() != right_.shapes())
            fail_usage("compare_float_double",
                       "the number or the shapes of the function's outputs are others in float");
        for (std::size_t k = 0; k < wanted_.outputs.size(); ++k)
            compare_all("value", isa, fmt::format("output {}", k), wanted_.outputs[k].shape(), got.outputs[k].data(),
                        wanted_.outputs[k].data(), 0);
        for (std::size_t o = 0; o < wanted_.gradients.size(); ++o) {
            const CheckOperand<double>& x = right_.operands()[o];
            double size = 0;
            for (Index i = 0; i < x.size(); ++i) size = std::max(size, std::abs(x.data[i]));
            compare_all("gradient", isa, x.name, x.shape, got.gradients[o].data(), wanted_.gradients[o].data(),
                        size > 0 ? rounding_ / size : rounding_);
        }
    }

    void compare_all(const char* kind, Isa isa, std::string name, const Shape& shape, const float* tested,
                     const double* right, double noise) {
        if (shape.size() == 0) return;
        std::vector<Pair> pairs;
        for (Index i = 0; i < shape.size(); ++i)
            if (!(std::isnan(tested[i]) && std::isnan(right[i])))
                pairs.push_back({i, static_cast<double>(tested[i]), right[i], 1, noise});
        if (pairs.empty()) return;  // NaN alone shows nothing
        result_.comparisons.push_back(
            compare(fmt::format("{} in float ({})", kind, isa_name(isa)), std::move(name), shape, pairs, 0, bar_));
    }

    double bar_;
    double rounding_ = 0;
    CheckRunner<double> right_;
    CheckRunner<float> tested_;
    std::vector<Tensor<float>> upstream_;
    CheckSweep<double> wanted_;
    GradcheckResult result_;
};

}  // namespace

GradcheckResult gradcheck(CheckedFunction& function, const GradcheckOptions& options) {
    constexpr std::string_view name = "gradcheck";
    require(options.difference_bar > 0 && options.dual_bar > 0 && options.adjoint_bar > 0, name,
            "every bar must be above 0");
    require(options.step > 0 && options.step < 1, name, "step must lie between 0 and 1");
    require(options.every_entry_up_to >= 0 && options.sampled_entries >= 0 && options.directions >= 0, name,
            "every_entry_up_to, sampled_entries and directions must be 0 or more");
    require(options.every_entry_up_to > 0 || options.sampled_entries > 0 || options.directions > 0, name,
            "at least one entry or direction must be checked");
    require(options.perturb_parameters >= 0, name, "perturb_parameters must be 0 or more");
    prepare_parameters(function, options.perturb_parameters, options.seed);
    copy_parameters(*function.in_double, *function.in_dual);
    return GradientCheck(function, options).run();
}

GradcheckResult compare_float_double(CheckedFunction& function, const FloatOptions& options) {
    constexpr std::string_view name = "compare_float_double";
    require(options.epsilons > 0, name, "epsilons must be above 0");
    require(options.perturb_parameters >= 0, name, "perturb_parameters must be 0 or more");
    for (CheckInput& input : function.inputs)
        for (double& x : input.value.storage()) x = static_cast<double>(static_cast<float>(x));
    prepare_parameters(function, options.perturb_parameters, options.seed);
    copy_parameters(*function.in_double, *function.in_float);
    for (std::size_t s = 0; s < function.in_double->stores().size(); ++s)
        function.in_double->stores()[s]->copy_from(*function.in_float->stores()[s]);
    return FloatCheck(function, options).run(options.allow_empty);
}

}  // namespace unroll::detail
