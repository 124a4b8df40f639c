// The course of one gradcheck(): what it has prepared, and each of its checks. Operands one by one are looked at in
// operand_check.cpp, all of them together in gradient_check.cpp.
#pragma once

#include <unroll/autograd/detail/check_runner.hpp>
#include <unroll/autograd/detail/comparison.hpp>

#include <limits>

namespace unroll::detail {

inline constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

/// A place (or a direction) where the derivative of one operand is asked for.
struct Probe {
    Index entry = -1;
    Tensor<double> direction = {};  ///< where entry is -1
    double norm = 1;                ///< of the direction
    double size = 1;                ///< what a step of 1 is
};

class GradientCheck {
public:
    GradientCheck(CheckedFunction& function, const GradcheckOptions& options);

    GradcheckResult run();

private:
    using DualReal = Dual<double>;
    using Outputs = std::vector<bool>;  // which ones; empty: all

    bool begin();
    void problem(std::string text) { result_.problems.push_back(std::move(text)); }
    template <class Real>
    void compare_values(const char* check, const std::vector<Var<double>>& a, const std::vector<Var<Real>>& b,
                        double bar);

    /// @return how many entries and directions were compared
    Index check_operand(std::size_t o);
    void report(const char* check, std::size_t o, const std::vector<std::vector<Pair>>& by_set, double bar);
    void check_accumulation();
    void check_adjoint();
    void check_second_order();

    const CheckOperand<double>& operand(std::size_t o) const { return plain_.operands()[o]; }
    /// The size of an operand's typical entry.
    double spread(std::size_t o) const;
    /// The largest entry of an operand's gradient in one sweep.
    double largest(std::size_t set, std::size_t o) const;
    double analytic(std::size_t set, std::size_t o, const Probe& probe) const;

    std::vector<Probe> probes(std::size_t o);
    Probe probe_at(std::size_t o, Index entry) const;
    Probe probe_along(std::size_t o);
    // Each of these gives a number for each output.
    std::vector<double> weighted_outputs(std::size_t o, const Probe& probe, double t);
    std::vector<double> difference(std::size_t o, const Probe& probe, double h);
    std::pair<std::vector<double>, double> best_difference(std::size_t o, const Probe& probe);
    std::vector<double> dual_derivative(std::size_t o, const Probe& probe);
    std::vector<double> weighted_derivatives();
    double noise_of_dual(double size, double step) const;
    static double sum_over(const Outputs& set, const std::vector<double>& by_output);

    std::vector<Tensor<double>> random_direction();
    void set_direction(std::size_t o, const Tensor<double>& direction);
    void clear_direction(std::size_t o);
    std::vector<Tensor<double>> gradient_difference(const std::vector<Tensor<double>>& direction, double h);

    GradcheckOptions options_;
    CheckRunner<double> plain_;
    CheckRunner<DualReal> dual_;
    RandomStream random_;
    GradcheckResult result_;
    std::vector<Var<double>> outputs_;
    std::vector<Tensor<double>> upstream_;
    double rounding_ = 0;                     // how much rounding of the outputs y weighs in ⟨u, y⟩
    double derivative_rounding_ = 0;          // and that of the last weighted_derivatives() in theirs
    std::vector<Outputs> sets_;               // outputs with a gradient from upstream; the first: all
    std::vector<CheckSweep<double>> sweeps_;  // by set
};

}  // namespace unroll::detail
