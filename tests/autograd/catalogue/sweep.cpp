// Running samples, right and wrong ones.
#include "sweep.hpp"

#include <unroll/autograd/parameter.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace unroll::test {
namespace {

constexpr std::uint64_t kSeed = 20;

/// The operands' own axes of a leaf that holds them transposed, and back.
Shape swapped(const Shape& shape) {
    return shape.rank() < 2
               ? shape
               : shape.replaced(shape.rank() - 2, shape.back()).replaced(shape.rank() - 1, shape[shape.rank() - 2]);
}

template <class Real>
std::vector<Var<Real>> call(const Sample& sample, const Feed& feed, std::span<const Var<Real>> leaves) {
    RandomStream random(kSeed, "sample");
    Operands<Real> operands;
    operands.give = feed.give;
    operands.random = &random;
    std::vector<Var<Real>> others;
    for (std::size_t i = 0; i < sample.operands.size(); ++i) {
        Var<Real> x = leaves[feed.leaf.empty() ? i : feed.leaf[i]];
        if (feed.transposed && x.rank() >= 2) x = transpose(x);
        if (feed.give || feed.read_elsewhere) x = -(-x);
        if (feed.read_elsewhere) {
            others.push_back(x);
            others.push_back(x * 0.5);
        }
        operands.values.push_back(std::move(x));
    }
    std::vector<Var<Real>> outputs = sample.function(operands);
    if (feed.read_elsewhere) {
        for (std::size_t i = 0; i < operands.values.size(); ++i) others.push_back(square(operands[i]));
        for (std::size_t k = 0, n = outputs.size(); k < n; ++k) outputs.push_back(square(outputs[k]));
        outputs.insert(outputs.end(), others.begin(), others.end());
    }
    return outputs;
}

/// A sample that is fed from the leaves that are handed in.
template <class Real>
class SampleBody final : public detail::CheckedBody<Real> {
public:
    SampleBody(const Sample& sample, const Feed& feed)
        : detail::CheckedBody<Real>(kSeed), sample_(sample), feed_(feed) {}
    void evaluate(std::span<const Var<Real>> leaves, std::vector<Var<Real>>& out) override {
        out = call<Real>(sample_, feed_, leaves);
    }

private:
    const Sample& sample_;
    Feed feed_;
};

/// The same with a store whose parameters are the leaves.
template <class Real>
class ParameterSampleBody final : public detail::CheckedBody<Real> {
public:
    ParameterSampleBody(const Sample& sample, const Sizes& sizes, const Feed& feed)
        : detail::CheckedBody<Real>(kSeed), sample_(sample), feed_(feed) {
        const Scope<Real> at(this->add_store());
        for (std::size_t i = 0; i < sample.operands.size(); ++i)
            leaves_.push_back(at.parameter(fmt::format("operand {}", i), shape_from(sample.operands[i].shape, sizes),
                                           [](std::span<Real> values, const Shape&, RandomStream&) {
                                               std::fill(values.begin(), values.end(), Real(0));
                                           }));
    }
    void evaluate(std::span<const Var<Real>>, std::vector<Var<Real>>& out) override {
        out = call<Real>(sample_, feed_, leaves_);
    }

private:
    const Sample& sample_;
    Feed feed_;
    std::vector<Var<Real>> leaves_;
};

/// The body in each number type.
template <template <class> class Body, class... Arguments>
void bind(CheckedSample& function, const Arguments&... arguments) {
    function.float_body = std::make_unique<Body<float>>(arguments...);
    function.double_body = std::make_unique<Body<double>>(arguments...);
    function.dual_body = std::make_unique<Body<Dual<double>>>(arguments...);
    function.in_float = function.float_body.get();
    function.in_double = function.double_body.get();
    function.in_dual = function.dual_body.get();
}

template <class Real>
Tensor<Real> convert(const Tensor<double>& from) {
    Tensor<Real> to = empty<Real>(shape_of(from));
    for (std::size_t i = 0; i < to.size(); ++i) to.data()[i] = static_cast<Real>(from.data()[i]);
    return to;
}

}  // namespace

Sizes usual_sizes() { return {{'B', 3}, {'T', 5}, {'I', 4}, {'H', 6}, {'V', 7}, {'K', 2}, {'M', 8}, {'N', 9}}; }

Shape shape_from(std::string_view pattern, const Sizes& sizes) {
    std::vector<Index> lengths;
    for (const char c : pattern) lengths.push_back(c >= '0' && c <= '9' ? c - '0' : sizes.at(c));
    return Shape(lengths.data(), lengths.size());
}

Tensor<double> fill(const Operand& operand, const Shape& shape, std::uint64_t seed) {
    RandomStream random(seed, "catalogue");
    Tensor<double> out = empty<double>(shape);
    const auto n = static_cast<double>(out.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
        double x = operand.low + (operand.high - operand.low) * (static_cast<double>(i) + random.uniform(0.2, 0.8)) / n;
        if (operand.hole > 0) {
            const double largest = x < 0 ? -operand.low : operand.high;
            x = std::copysign(operand.hole + std::abs(x) * (1 - operand.hole / largest), x);
        }
        out.data()[i] = x;
    }
    random.shuffle(std::span<double>(out.data(), out.size()));
    return out;
}

CheckedSample checked(const Sample& sample, const Sizes& sizes, const Feed& feed) {
    CheckedSample function;
    if (feed.parameters) {
        bind<ParameterSampleBody>(function, sample, sizes, feed);
        function.values.push_back([&sample](ParameterStore<double>& store) {
            for (std::size_t i = 0; i < sample.operands.size(); ++i) {
                const auto parameter = store.at(fmt::format("operand {}", i));
                parameter.mutable_value() = fill(sample.operands[i], parameter.shape(), kSeed + i);
            }
        });
        return function;
    }
    for (std::size_t i = 0; i < sample.operands.size(); ++i) {
        const Operand& operand = sample.operands[i];
        const Shape shape = shape_from(operand.shape, sizes);
        // A leaf that feeds several operands has the number of the first; the others are not in use.
        const bool used = feed.leaf.empty() || std::find(feed.leaf.begin(), feed.leaf.end(), i) != feed.leaf.end();
        const bool constant = !feed.constant.empty() && feed.constant[i];
        function.inputs.push_back({fill(operand, feed.transposed ? swapped(shape) : shape, kSeed + i),
                                   fmt::format("operand {}", i), used && !constant});
    }
    bind<SampleBody>(function, sample, feed);
    return function;
}

std::string title(const Sample& sample) { return fmt::format("{}: {}", sample.op, sample.what); }

std::vector<std::string> recorded_names(const Sample& sample) {
    Tape<double> tape;
    const CheckedSample function = checked(sample, usual_sizes());
    std::vector<Var<double>> leaves;
    for (const CheckInput& input : function.inputs) {
        leaves.emplace_back(input.value);
        tape.watch(leaves.back());
    }
    std::vector<Var<double>> outputs;
    function.in_double->evaluate(leaves, outputs);
    std::vector<std::string> names;
    for (const TapeCount& count : tape.count()) names.push_back(count.op);
    return names;
}

template <class Real>
std::vector<Var<Real>> outputs_of(const Sample& sample, const Sizes& sizes, const Feed& feed) {
    std::vector<Var<Real>> leaves;
    for (const CheckInput& input : checked(sample, sizes, feed).inputs) leaves.emplace_back(convert<Real>(input.value));
    return call<Real>(sample, feed, leaves);
}

// ---- Calls that are refused ----

template <class Real>
std::string refusal_or_success(std::string_view op, const std::vector<Shape>& shapes,
                               const std::vector<Operand>& operands, const GenericFunction& function, bool give,
                               bool& refused) {
    // A parameter that holds a gradient.
    ParameterStore<Real> store(kSeed);
    const Parameter<Real> weight =
        Scope<Real>(store).parameter("weight", {3}, [](std::span<Real> values, const Shape&, RandomStream&) {
            std::iota(values.begin(), values.end(), Real(1));
        });
    {
        Tape<Real> before;
        backward(sum(weight * weight));
    }
    const Tensor<Real> gradient = convert<Real>(xt::xarray<double>{2.0, 4.0, 6.0});

    // A tape that holds nodes, and operands that need gradients.
    Tape<Real> tape;
    std::vector<Var<Real>> leaves;
    std::vector<Tensor<Real>> elements;
    RandomStream random(kSeed, "sample");
    random.set_counter(17);
    Operands<Real> in;
    in.give = give;
    in.random = &random;
    for (std::size_t i = 0; i < operands.size(); ++i) {
        elements.push_back(convert<Real>(fill(operands[i], shapes[i], kSeed + i)));
        leaves.emplace_back(elements.back());
        tape.watch(leaves.back());
        in.values.push_back(give ? -(-leaves.back()) : leaves.back());
    }
    const Var<Real> loss = sum(weight * 2);
    const Index nodes = tape.node_count();

    std::string wrong;
    refused = false;
    try {
        function(in);
    } catch (const InternalError& error) {
        return fmt::format("throws as if it were a bug of ours: {}", error.what());
    } catch (const Error& error) {
        refused = true;
        if (std::string_view(error.what()).substr(0, op.size() + 3) != fmt::format("[{}] ", op))
            wrong += fmt::format("the message does not begin with the op's name: {}\n", error.what());
    } catch (const std::exception& error) {
        return fmt::format("throws something that is not an unroll::Error: {}", error.what());
    }
    if (!refused) return wrong;
    if (tape.node_count() != nodes) wrong += fmt::format("{} nodes more on the tape\n", tape.node_count() - nodes);
    if (random.counter() != 17) wrong += "the random stream has moved\n";
    for (std::size_t i = 0; i < leaves.size(); ++i)
        if (elements[i].size() > 0 &&
            std::memcmp(leaves[i].data(), elements[i].data(), elements[i].size() * sizeof(Real)) != 0)
            wrong += fmt::format("operand {} has other elements\n", i);
    if (weight.gradient() != gradient) wrong += "the parameter's gradient has changed\n";
    tape.backward(loss);
    if (weight.gradient() != Tensor<Real>(gradient + Real(2))) wrong += "the tape gives another gradient afterwards\n";
    return wrong;
}

template <class Real>
std::string refusal(std::string_view op, const std::vector<Shape>& shapes, const std::vector<Operand>& operands,
                    const GenericFunction& function, bool give) {
    bool refused = false;
    std::string wrong = refusal_or_success<Real>(op, shapes, operands, function, give, refused);
    return refused || !wrong.empty() ? wrong : "was not refused";
}

#define UNROLL_INSTANTIATE(R)                                                                                 \
    template std::vector<Var<R>> outputs_of(const Sample&, const Sizes&, const Feed&);                        \
    template std::string refusal<R>(std::string_view, const std::vector<Shape>&, const std::vector<Operand>&, \
                                    const GenericFunction&, bool);                                            \
    template std::string refusal_or_success<R>(std::string_view, const std::vector<Shape>&,                   \
                                               const std::vector<Operand>&, const GenericFunction&, bool, bool&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
#undef UNROLL_INSTANTIATE

}  // namespace unroll::test
