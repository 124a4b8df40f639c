// Running a function under check from the same start each time.
#include <unroll/autograd/detail/check_runner.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace unroll::detail {

template <class Real>
CheckRunner<Real>::CheckRunner(const std::vector<CheckInput>& inputs, CheckedBody<Real>& body) : body_(body) {
    for (const CheckInput& input : inputs) {
        Tensor<Real> tensor = empty<Real>(shape_of(input.value));
        for (std::size_t i = 0; i < tensor.size(); ++i) tensor.data()[i] = static_cast<Real>(input.value.data()[i]);
        inputs_.push_back(std::move(tensor));
    }
    for (std::size_t i = 0; i < inputs.size(); ++i)
        if (inputs[i].differentiate)
            operands_.push_back({inputs[i].name.empty() ? fmt::format("input {}", i) : inputs[i].name,
                                 shape_of(inputs_[i]), inputs_[i].data(), nullptr, i});
    for (std::size_t s = 0; s < body_.stores().size(); ++s) {
        for (ParameterEntry<Real>* entry : body_.stores()[s]->entries())
            if (!entry->frozen)
                operands_.push_back(
                    {body_.stores().size() == 1 ? entry->name : fmt::format("twin {}: {}", s, entry->name),
                     entry->shape, entry->value->data, entry, 0});
        randoms_.push_back(body_.stores()[s]->randoms());
    }
}

template <class Real>
void CheckRunner<Real>::touched(const CheckOperand<Real>& operand) {
    if (operand.parameter) operand.parameter->store->changed(*operand.parameter);
}

template <class Real>
std::vector<Var<Real>> CheckRunner<Real>::run(std::vector<Var<Real>>& in) {
    // References to streams stay valid: their states are set, the map is not replaced.
    for (std::size_t s = 0; s < randoms_.size(); ++s)
        for (auto& [name, stream] : body_.stores()[s]->randoms()) {
            const auto start = randoms_[s].find(name);
            if (start != randoms_[s].end())
                stream = start->second;
            else
                stream.set_counter(0);
        }
    std::vector<Var<Real>> out;
    body_.evaluate(in, out);
    for (std::size_t i = 0; i < in.size(); ++i)
        inputs_changed_ =
            inputs_changed_ || (inputs_[i].size() > 0 &&
                                std::memcmp(in[i].data(), inputs_[i].data(), inputs_[i].size() * sizeof(Real)) != 0);
    std::vector<Shape> shapes;
    for (std::size_t k = 0; k < out.size(); ++k) {
        if (!out[k]) fail_usage("gradcheck", fmt::format("output {} of the function is an empty Var", k));
        shapes.push_back(out[k].shape());
    }
    if (!shapes_)
        shapes_ = std::move(shapes);
    else if (*shapes_ != shapes)
        fail_usage("gradcheck", "the number or the shapes of the function's outputs change from call to call");
    return out;
}

template <class Real>
std::vector<Var<Real>> CheckRunner<Real>::evaluate() {
    const NoGrad no_tape;
    std::vector<Var<Real>> in(inputs_.begin(), inputs_.end());
    return run(in);
}

template <class Real>
CheckSweep<Real> CheckRunner<Real>::sweep(std::span<const Tensor<Real>> upstream, const std::vector<bool>& use,
                                          std::span<const Tensor<Real>> own) {
    for (const auto& store : body_.stores()) store->zero_grad();
    CheckSweep<Real> result;
    Tape<Real> tape;
    std::vector<Var<Real>> in(inputs_.begin(), inputs_.end());
    for (const CheckOperand<Real>& operand : operands_)
        if (!operand.parameter) tape.watch(in[operand.input]);
    std::vector<Var<Real>> outputs = run(in);

    std::vector<Var<Real>> roots;
    std::vector<Tensor<Real>> gradients;
    for (std::size_t o = 0; o < own.size(); ++o) {
        const CheckOperand<Real>& operand = operands_[o];
        roots.push_back(operand.parameter ? Var<Real>::from(operand.parameter->value) : in[operand.input]);
        gradients.push_back(own[o]);
    }
    for (std::size_t k = 0; k < outputs.size(); ++k) {
        result.recorded.push_back(tape.needs(*outputs[k].internal()));
        if (!result.recorded[k] || (!use.empty() && !use[k])) continue;
        result.path = true;
        roots.push_back(outputs[k]);
        gradients.push_back(upstream[k]);
    }
    if (!roots.empty()) tape.backward(roots, gradients);
    for (const CheckOperand<Real>& operand : operands_) {
        if (!operand.parameter) {
            result.gradients.push_back(tape.gradient(in[operand.input]));
            continue;
        }
        Tensor<Real> gradient = empty<Real>(operand.shape);
        std::copy_n(operand.parameter->store->gradients().data(*operand.parameter), gradient.size(), gradient.data());
        result.gradients.push_back(std::move(gradient));
    }
    for (const Var<Real>& output : outputs) {
        const Tensor<Real> shared = output.value();
        result.outputs.push_back(Var<Real>(shared));  // a copy
    }
    return result;
}

void prepare_parameters(CheckedFunction& function, double deviation, std::uint64_t seed) {
    for (std::size_t s = 0; s < function.in_double->stores().size(); ++s) {
        ParameterStore<double>& store = *function.in_double->stores()[s];
        if (s < function.values.size() && function.values[s]) {
            function.values[s](store);
            continue;
        }
        RandomStream random(seed + s, "gradcheck.parameters");
        for (ParameterEntry<double>* entry : store.entries()) {
            for (Index i = 0; i < entry->shape.size(); ++i) entry->value->data[i] += deviation * random.normal();
            store.changed(*entry);
        }
    }
}

template <class Real>
void copy_parameters(const CheckedBody<double>& from, CheckedBody<Real>& to) {
    for (std::size_t s = 0; s < from.stores().size(); ++s) to.stores()[s]->copy_from(*from.stores()[s]);
}

template void copy_parameters(const CheckedBody<double>&, CheckedBody<float>&);
template void copy_parameters(const CheckedBody<double>&, CheckedBody<Dual<double>>&);

template class CheckRunner<float>;
template class CheckRunner<double>;
template class CheckRunner<Dual<double>>;

}  // namespace unroll::detail
