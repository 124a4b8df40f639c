// Sample rows of the losses.
#include "samples.hpp"

namespace unroll::test {
namespace {

template <class Operands>
using RealOf = typename std::remove_cvref_t<decltype(std::declval<Operands&>()[0])>::value_type;

/// Options of cross_entropy in the number type of a sample's operands.
template <class Operands>
CrossEntropyOptions<RealOf<Operands>> entropy_options(Reduction reduction, double smoothing = 0, bool weights = false) {
    CrossEntropyOptions<RealOf<Operands>> options;
    options.label_smoothing = smoothing;
    options.reduction = reduction;
    if (weights) options.class_weights = Tensor<RealOf<Operands>>(xt::xarray<double>{0.5, 2.0, 1.25, 0.75});
    return options;
}

/// Targets of all classes for scores of any size, except that every fourth may be ignored.
template <class Scores>
IntTensor targets_of(const Scores& scores, bool ignored = false) {
    const Shape shape = scores.shape();
    const Index classes = shape.back();
    std::vector<std::size_t> lengths(shape.begin(), shape.end() - 1);
    IntTensor targets = IntTensor::from_shape(lengths);
    std::int64_t i = 0;
    for (std::int64_t& t : targets) {
        t = ignored && i % 4 == 1 ? -100 : classes == 0 ? 0 : (i * 7 + 3) % classes;
        ++i;
    }
    return targets;
}

}  // namespace

void loss_samples(Samples& samples) {
    auto& rows = samples.right;
    const Operand logits{"34", -2, 2}, scores{"BI", -2, 2}, input{"TBI", -2, 2}, target{"TBI"};
    rows.push_back({"cross_entropy", "mean", {logits}, [](auto& x) {
                        return cross_entropy(x(0), IntTensor{3, 0, 2});
                    }});
    rows.push_back(
        {"cross_entropy",
         "sum over two axes of targets",
         {{"2B4", -2, 2}},
         [](auto& x) {
             return cross_entropy(x(0), IntTensor{{3, 0, 2}, {1, 1, 3}}, entropy_options<decltype(x)>(Reduction::sum));
         },
         "B0 B1"});
    rows.push_back(
        {"cross_entropy", "none, a target ignored", {logits}, [](auto& x) {
             return cross_entropy(x(0), IntTensor{3, -100, 2}, entropy_options<decltype(x)>(Reduction::none));
         }});
    rows.push_back({"cross_entropy", "smoothing, weights, a target ignored", {logits}, [](auto& x) {
                        return cross_entropy(x(0), IntTensor{-100, 1, 3},
                                             entropy_options<decltype(x)>(Reduction::mean, 0.2, true));
                    }});
    // The mean over no rows is NaN.
    rows.push_back({"cross_entropy",
                    "mean, any sizes",
                    {scores},
                    [](auto& x) {
                        const IntTensor targets = targets_of(x[0]);
                        return cross_entropy(x(0), targets);
                    },
                    "I0",
                    "B0"});
    rows.push_back({"cross_entropy",
                    "none, any sizes, a target ignored",
                    {{"TBI", -2, 2}},
                    [](auto& x) {
                        const IntTensor targets = targets_of(x[0], true);
                        return cross_entropy(x(0), targets, entropy_options<decltype(x)>(Reduction::none));
                    },
                    "I0"});
    rows.push_back({"nll_loss",
                    "mean, any sizes",
                    {scores},
                    [](auto& x) {
                        const IntTensor targets = targets_of(x[0]);
                        return nll_loss(x(0), targets);
                    },
                    "I0",
                    "B0"});
    rows.push_back({"nll_loss",
                    "sum, any sizes, a target ignored",
                    {{"TBI", -2, 2}},
                    [](auto& x) {
                        const IntTensor targets = targets_of(x[0], true);
                        return nll_loss(x(0), targets, entropy_options<decltype(x)>(Reduction::sum));
                    },
                    "I0"});
    rows.push_back({"nll_loss", "mean", {logits}, [](auto& x) { return nll_loss(x(0), IntTensor{3, 0, 2}); }});
    rows.push_back(
        {"nll_loss", "weights, a target ignored", {logits}, [](auto& x) {
             return nll_loss(x(0), IntTensor{3, -100, 2}, entropy_options<decltype(x)>(Reduction::mean, 0, true));
         }});
    rows.push_back({"nll_loss", "none", {logits}, [](auto& x) {
                        return nll_loss(x(0), IntTensor{3, 3, 2}, entropy_options<decltype(x)>(Reduction::none));
                    }});
    rows.push_back({"mse_loss", "mean", {input, target}, [](auto& x) { return mse_loss(x(0), x(1)); }, "", "T0 B0 I0"});
    rows.push_back(
        {"mse_loss", "none", {input, target}, [](auto& x) { return mse_loss(x(0), x(1), Reduction::none); }});
    rows.push_back({"l1_loss", "sum", {input, target}, [](auto& x) { return l1_loss(x(0), x(1), Reduction::sum); }});
    rows.push_back({"l1_loss", "mean", {input, target}, [](auto& x) { return l1_loss(x(0), x(1)); }, "", "T0 B0 I0"});
    rows.push_back({"huber_loss",
                    "both branches",
                    {input, target},
                    [](auto& x) { return huber_loss(x(0), x(1), 0.83); },
                    "",
                    "T0 B0 I0"});
    rows.push_back(
        {"huber_loss", "none", {input, target}, [](auto& x) { return huber_loss(x(0), x(1), 0.83, Reduction::none); }});
    rows.push_back({"bce_with_logits",
                    "mean",
                    {input, {"TBI", 0, 1}},
                    [](auto& x) { return bce_with_logits(x(0), x(1)); },
                    "",
                    "T0 B0 I0"});
    rows.push_back({"bce_with_logits", "weights of positives", {input, {"TBI", 0, 1}, {"I", 0.5, 3}}, [](auto& x) {
                        return bce_with_logits(x(0), x(1), x(2), Reduction::sum);
                    }});

    auto& wrong = samples.wrong;
    wrong.push_back({"cross_entropy", "a class behind the end", {logits}, [](auto& x) {
                         return cross_entropy(x(0), IntTensor{3, 4, 2});
                     }});
    wrong.push_back({"cross_entropy", "a negative class", {logits}, [](auto& x) {
                         return cross_entropy(x(0), IntTensor{3, -1, 2});
                     }});
    wrong.push_back({"cross_entropy", "too few targets", {logits}, [](auto& x) {
                         return cross_entropy(x(0), IntTensor{3, 1});
                     }});
    wrong.push_back({"cross_entropy", "targets with another rank", {logits}, [](auto& x) {
                         return cross_entropy(x(0), IntTensor{{3, 1, 2}});
                     }});
    wrong.push_back({"cross_entropy", "a scalar", {{""}}, [](auto& x) { return cross_entropy(x(0), IntTensor{0}); }});
    wrong.push_back(
        {"cross_entropy", "smoothing above 1", {logits}, [](auto& x) {
             return cross_entropy(x(0), IntTensor{3, 1, 2}, entropy_options<decltype(x)>(Reduction::mean, 1.5));
         }});
    wrong.push_back(
        {"cross_entropy", "weights of other classes", {{"35"}}, [](auto& x) {
             return cross_entropy(x(0), IntTensor{3, 1, 2}, entropy_options<decltype(x)>(Reduction::mean, 0, true));
         }});
    wrong.push_back({"nll_loss", "a class behind the end", {logits}, [](auto& x) {
                         return nll_loss(x(0), IntTensor{3, 4, 2});
                     }});
    wrong.push_back({"nll_loss", "too many targets", {logits}, [](auto& x) {
                         return nll_loss(x(0), IntTensor{3, 1, 2, 0});
                     }});
    const Operand other{"TBH"};
    wrong.push_back(
        {"mse_loss", "shapes that do not broadcast", {input, other}, [](auto& x) { return mse_loss(x(0), x(1)); }});
    wrong.push_back(
        {"l1_loss", "shapes that do not broadcast", {input, other}, [](auto& x) { return l1_loss(x(0), x(1)); }});
    wrong.push_back(
        {"huber_loss", "shapes that do not broadcast", {input, other}, [](auto& x) { return huber_loss(x(0), x(1)); }});
    wrong.push_back({"huber_loss", "delta 0", {input, target}, [](auto& x) { return huber_loss(x(0), x(1), 0.0); }});
    wrong.push_back({"bce_with_logits", "shapes that do not broadcast", {input, other}, [](auto& x) {
                         return bce_with_logits(x(0), x(1));
                     }});
    wrong.push_back({"bce_with_logits", "weights that do not broadcast", {input, target, {"H"}}, [](auto& x) {
                         return bce_with_logits(x(0), x(1), x(2));
                     }});
}

}  // namespace unroll::test
