// The backward sweep over dual numbers: values are the gradient, derivatives the Hessian times the direction.
#include <unroll/autograd/detail/check_runner.hpp>
#include <unroll/autograd/hessian.hpp>

#include <fmt/format.h>

namespace unroll::detail {

HessianVector hessian_vector_product(CheckedFunction& function, std::span<const Tensor<double>> directions) {
    constexpr std::string_view name = "hessian_vector_product";
    prepare_parameters(function, 0, 0);
    copy_parameters(*function.in_double, *function.in_dual);
    CheckRunner<Dual<double>> runner(function.inputs, *function.in_dual);
    const auto& operands = runner.operands();
    if (directions.size() != operands.size())
        fail_value(
            name, fmt::format("needs a direction for each of {} operands, got {}", operands.size(), directions.size()));
    for (std::size_t o = 0; o < operands.size(); ++o) {
        if (!(shape_of(directions[o]) == operands[o].shape))
            fail_shape(name, fmt::format("the direction of {} must have its shape", operands[o].name),
                       {operands[o].shape, shape_of(directions[o])});
        for (Index i = 0; i < operands[o].size(); ++i) operands[o].data[i].derivative = directions[o].data()[i];
        runner.touched(operands[o]);
    }
    const auto outputs = runner.evaluate();
    if (outputs.size() != 1 || outputs[0].size() != 1)
        fail_shape(name, "the function must have one result with one element",
                   {outputs.empty() ? Shape{0} : outputs[0].shape()});
    const Tensor<Dual<double>> one = full<Dual<double>>(outputs[0].shape(), 1);
    const CheckSweep<Dual<double>> sweep = runner.sweep({&one, 1});

    HessianVector result;
    result.value = outputs[0].data()[0].value;
    for (std::size_t o = 0; o < operands.size(); ++o) {
        result.names.push_back(operands[o].name);
        result.gradient.push_back(empty<double>(operands[o].shape));
        result.product.push_back(empty<double>(operands[o].shape));
        for (Index i = 0; i < operands[o].size(); ++i) {
            result.gradient[o].data()[i] = sweep.gradients[o].data()[i].value;
            result.product[o].data()[i] = sweep.gradients[o].data()[i].derivative;
        }
    }
    return result;
}

}  // namespace unroll::detail
