// How a reduction sees an array: groups of neighbouring axes that are kept or reduced, in turn. It names the pairs of an
// element and the result that it belongs to, in the array's order; what is done with them is the op's business.
#pragma once

#include <unroll/autograd/ops.hpp>

#include <fmt/format.h>

namespace unroll::detail {

class ReducedAxes {
public:
    ReducedAxes(const Axes& axes, bool keep_dims) : keep_dims_(keep_dims) {
        // One more than an array can have says enough: one of them is out of range or repeated.
        for (const Index axis : axes)
            if (named_ < kMost) axes_[named_++] = axis;
    }

    /// The result's shape. @throws IndexError for an axis out of range, ValueError for a repeated one
    Shape fit(std::string_view op, const Shape& shape) {
        bool reduced[Shape::kMaxRank] = {};
        for (std::size_t i = 0; i < named_; ++i) {
            const std::size_t axis = normal_axis(op, axes_[i], shape.rank());
            if (reduced[axis]) fail_value(op, fmt::format("axis {} is named twice", axes_[i]));
            reduced[axis] = true;
        }
        Shape result;
        bool before = false;
        groups_ = 0;
        count_ = 1;
        size_ = shape.size();
        for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
            const bool now = named_ == 0 || reduced[axis];
            if (now) count_ *= shape[axis];
            if (!now || keep_dims_) result = result.inserted(result.rank(), now ? 1 : shape[axis]);
            if (shape[axis] == 1) continue;
            if (groups_ == 0 || now != before) length_[groups_++] = 1;
            length_[groups_ - 1] *= shape[axis];
            step_[groups_ - 1] = now ? 0 : 1;
            before = now;
        }
        if (groups_ == 0) {  // a single element
            groups_ = 1;
            length_[0] = 1;
            step_[0] = 1;
        }
        run_step_ = step_[groups_ - 1];
        Index later = 1;
        for (std::size_t g = groups_; g-- > 0;) {
            if (step_[g] == 0) continue;
            step_[g] = later;
            later *= length_[g];
        }
        return result;
    }

    /// How many elements each result is made of.
    Index count() const noexcept { return count_; }
    /// Elements that lie side by side belong to one result (or else to results side by side), run by run.
    bool runs_reduced() const noexcept { return run_step_ == 0; }
    Index run() const noexcept { return length_[groups_ - 1]; }

    /// Runs behind one another that belong to the same results, where runs are not reduced.
    Index rows() const noexcept { return !runs_reduced() && groups_ > 1 ? length_[groups_ - 2] : 1; }

    /// f(first element of a run, first result), run by run.
    template <class F>
    void each_run(F f) const {
        each_part(groups_ - 1, run(), f);
    }
    /// The same by rows() runs at a time.
    template <class F>
    void each_block(F f) const {
        each_part(rows() > 1 ? groups_ - 2 : groups_ - 1, rows() * run(), f);
    }
    /// f(element, its result).
    template <class F>
    void each(F f) const {
        each_run([&](Index in, Index out) {
            if (runs_reduced())
                for (Index j = 0; j < run(); ++j) f(in + j, out);
            else
                for (Index j = 0; j < run(); ++j) f(in + j, out + j);
        });
    }
    /// f(element, values[its result]).
    template <class Real, class F>
    void spread(const Real* values, F f) const {
        each_run([&](Index in, Index out) {
            if (runs_reduced()) {
                const Real value = values[out];
                for (Index j = 0; j < run(); ++j) f(in + j, value);
            } else {
                for (Index j = 0; j < run(); ++j) f(in + j, values[out + j]);
            }
        });
    }

private:
    static constexpr std::size_t kMost = Shape::kMaxRank + 1;

    /// f(first element, first result) for parts of `size` elements, the groups from `inner` on.
    template <class F>
    void each_part(std::size_t inner, Index size, F f) const {
        if (size_ == 0) return;
        Index at[Shape::kMaxRank] = {};
        Index in = 0, out = 0;
        while (true) {
            f(in, out);
            in += size;
            if (in == size_) return;
            for (std::size_t g = inner; g-- > 0;) {
                out += step_[g];
                if (++at[g] < length_[g]) break;
                out -= step_[g] * length_[g];
                at[g] = 0;
            }
        }
    }

    Index axes_[kMost] = {};
    std::size_t named_ = 0;
    bool keep_dims_;
    std::size_t groups_ = 0;
    Index length_[Shape::kMaxRank] = {};
    Index step_[Shape::kMaxRank] = {};  // from one result to the next; 0 for a reduced group
    Index run_step_ = 0;
    Index count_ = 1;
    Index size_ = 0;
};

}  // namespace unroll::detail
