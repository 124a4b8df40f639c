// Runs a function under check in one number type: its outputs, and its gradients for given gradients from upstream. Every
// run starts from the same inputs, parameters and random streams. What the numbers should be is not decided here.
#pragma once

#include <unroll/autograd/detail/checked_function.hpp>

#include <map>
#include <span>
#include <string>
#include <vector>

namespace unroll::detail {

/// A real array or parameter with respect to which gradients are checked.
template <class Real>
struct CheckOperand {
    std::string name;
    Shape shape;
    Real* data = nullptr;                       ///< to be changed by the checker; touched() must follow
    ParameterEntry<Real>* parameter = nullptr;  ///< nothing for an input
    std::size_t input = 0;                      ///< number of the input
    Index size() const noexcept { return shape.size(); }
};

/// What one forward and backward pass gave.
template <class Real>
struct CheckSweep {
    std::vector<Var<Real>> outputs;       ///< as plain values
    std::vector<bool> recorded;           ///< by output: whether a gradient can flow into it
    std::vector<Tensor<Real>> gradients;  ///< by operand
    bool path = false;                    ///< whether any output that was asked for is recorded
};

template <class Real>
class CheckRunner {
public:
    CheckRunner(const std::vector<CheckInput>& inputs, CheckedBody<Real>& body);
    CheckRunner(const CheckRunner&) = delete;
    CheckRunner& operator=(const CheckRunner&) = delete;

    const std::vector<CheckOperand<Real>>& operands() const noexcept { return operands_; }
    /// Says that this operand's data were changed.
    void touched(const CheckOperand<Real>& operand);

    /// The outputs, without a tape. @throws UsageError if their number or shapes differ from those of the first run
    std::vector<Var<Real>> evaluate();
    /// Outputs and gradients for these gradients from upstream, one for each output.
    /// @param use by output: whether its gradient is handed in; empty: all are
    /// @param own by operand: a gradient that the operand has besides; empty: none
    CheckSweep<Real> sweep(std::span<const Tensor<Real>> upstream, const std::vector<bool>& use = {},
                           std::span<const Tensor<Real>> own = {});
    /// The outputs' shapes, from the first run.
    const std::vector<Shape>& shapes() const noexcept { return *shapes_; }
    /// Whether some run changed the elements of an input.
    bool inputs_changed() const noexcept { return inputs_changed_; }

private:
    std::vector<Var<Real>> run(std::vector<Var<Real>>& in);

    CheckedBody<Real>& body_;
    std::vector<Tensor<Real>> inputs_;
    std::vector<CheckOperand<Real>> operands_;
    std::vector<std::map<std::string, RandomStream>> randoms_;
    std::optional<std::vector<Shape>> shapes_;
    bool inputs_changed_ = false;
};

/// The parameters get their values: those that the user gave, or the initialisers' with a normal deviation added. The stores
/// of another number type take them over by name.
void prepare_parameters(CheckedFunction& function, double deviation, std::uint64_t seed);
template <class Real>
void copy_parameters(const CheckedBody<double>& from, CheckedBody<Real>& to);

/// Σ a·b
template <class A, class B>
auto dot(const Tensor<A>& a, const B* b) {
    decltype(A() * B()) sum(0);
    for (std::size_t i = 0; i < a.size(); ++i) sum += a.data()[i] * b[i];
    return sum;
}

extern template class CheckRunner<float>;
extern template class CheckRunner<double>;
extern template class CheckRunner<Dual<double>>;

}  // namespace unroll::detail
