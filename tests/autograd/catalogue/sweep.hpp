// How a sample of the catalogue is run: its operands are filled, and fed in from checked leaves in one of several ways.
#pragma once

#include "samples.hpp"

#include <map>
#include <memory>
#include <span>
#include <string>

namespace unroll::test {

/// Sizes by letter.
using Sizes = std::map<char, Index>;
/// The usual ones, all different.
Sizes usual_sizes();

/// The shape of a pattern of letters and digits.
Shape shape_from(std::string_view pattern, const Sizes& sizes);

/// An operand's elements: spread evenly over its range, in random order, no two alike, outside its hole.
Tensor<double> fill(const Operand& operand, const Shape& shape, std::uint64_t seed);

/// How leaves become operands.
struct Feed {
    std::vector<std::size_t> leaf = {};  ///< by operand: the leaf that feeds it; empty: the one with its own number
    std::vector<bool> constant = {};     ///< by operand: not checked; empty: all are checked
    bool give = false;                   ///< each operand is a temporary that is handed over
    bool transposed = false;             ///< leaves with two axes or more are the operands transposed
    bool parameters = false;             ///< leaves are parameters of a store
    bool read_elsewhere = false;         ///< operands and results are outputs and operands of other ops as well
};

/// A sample as a function under check, with what runs it in each number type.
struct CheckedSample : detail::CheckedFunction {
    std::unique_ptr<detail::CheckedBody<float>> float_body;
    std::unique_ptr<detail::CheckedBody<double>> double_body;
    std::unique_ptr<detail::CheckedBody<Dual<double>>> dual_body;
};
CheckedSample checked(const Sample& sample, const Sizes& sizes, const Feed& feed = {});

/// "matmul: batched", for messages.
std::string title(const Sample& sample);

/// The names of all nodes that the sample records in backward order of their numbers.
std::vector<std::string> recorded_names(const Sample& sample);

/// The sample's outputs, without a tape.
template <class Real>
std::vector<Var<Real>> outputs_of(const Sample& sample, const Sizes& sizes, const Feed& feed = {});

/// Calls what must be refused, with everything in place that a failed call could change. What it did that it should not
/// have, or nothing if it is as it should be.
template <class Real>
std::string refusal(std::string_view op, const std::vector<Shape>& shapes, const std::vector<Operand>& operands,
                    const GenericFunction& function, bool give);
/// The same where the call may as well succeed: a message only if it fails in a wrong way. `refused` says which it was.
template <class Real>
std::string refusal_or_success(std::string_view op, const std::vector<Shape>& shapes,
                               const std::vector<Operand>& operands, const GenericFunction& function, bool give,
                               bool& refused);

}  // namespace unroll::test
