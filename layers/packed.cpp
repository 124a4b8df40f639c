// Packing and padding: every function is a table of rows and one of two ops that move rows by it.
#include <unroll/layers/packed.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace unroll {
namespace {

/// Pooled, so that tables on the tape do not touch the heap.
using Rows = Tensor<std::int64_t>;

Index width_of(const Shape& shape, std::size_t from) {
    Index width = 1;
    for (std::size_t i = from; i < shape.rank(); ++i) width *= shape[i];
    return width;
}

/// y[n] = x row rows[n]; a row has `width` elements, and no row is named twice. Saves nothing.
/// gx row rows[n] = gy[n], zero in all other rows.
template <class Real>
struct Pack {
    static constexpr std::string_view name = "pack_padded_sequence";
    Rows rows;
    Index width;
    Shape shape;

    Index held_bytes() const noexcept { return detail::bytes_of(rows); }
    void infer(Shapes& s) const { s.output(shape); }
    void forward(Forward<Real>& f) const {
        Real* y = f.out(0);
        for (std::size_t n = 0; n < rows.size(); ++n)
            std::copy_n(f.in(0).data + rows.data()[n] * width, width, y + Index(n) * width);
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const Real* gy = b.gout(0).data;
        if (!gx.adding) std::fill_n(gx.data, gx.size, Real(0));
        for (std::size_t n = 0; n < rows.size(); ++n) {
            Real* to = gx.data + rows.data()[n] * width;
            for (Index i = 0; i < width; ++i) to[i] += gy[Index(n) * width + i];
        }
    }
};

/// y row rows[n] = x[n], `padding` in all other rows: the inverse of Pack. Saves nothing. gx[n] = gy row rows[n].
template <class Real>
struct Pad {
    static constexpr std::string_view name = "pad_packed_sequence";
    Rows rows;
    Index width;
    Shape shape;
    double padding;

    Index held_bytes() const noexcept { return detail::bytes_of(rows); }
    void infer(Shapes& s) const { s.output(shape); }
    void forward(Forward<Real>& f) const {
        Real* y = f.out(0);
        std::fill_n(y, shape.size(), Real(padding));
        for (std::size_t n = 0; n < rows.size(); ++n)
            std::copy_n(f.in(0).data + Index(n) * width, width, y + rows.data()[n] * width);
    }
    void backward(Backward<Real>& b) const {
        const auto gx = b.grad(0);
        const Real* gy = b.gout(0).data;
        for (std::size_t n = 0; n < rows.size(); ++n) {
            const Real* from = gy + rows.data()[n] * width;
            for (Index i = 0; i < width; ++i) gx.add(Index(n) * width + i, from[i]);
        }
    }
};

/// How sequences are packed: PackedSequence without its values.
struct Order {
    IntTensor batch_sizes, sorted, unsorted;
};

/// The row of element t of the caller's sequence b, for every packed element in turn.
template <class RowOf>
Rows packed_rows(const IntTensor& batch_sizes, const IntTensor& sorted, Index count, RowOf row_of) {
    Rows rows = empty<std::int64_t>({count});
    std::int64_t* to = rows.data();
    for (std::size_t t = 0; t < batch_sizes.size(); ++t)
        for (Index j = 0; j < batch_sizes.data()[t]; ++j)
            *to++ = row_of(static_cast<Index>(t), sorted.size() == 0 ? j : sorted.data()[j]);
    return rows;
}

auto row_in_padded(bool batch_first, Index steps, Index batch) {
    return [=](Index t, Index b) { return batch_first ? b * steps + t : t * batch + b; };
}

IntTensor integers(std::size_t count) { return IntTensor::from_shape({count}); }

/// @param steps the longest length that is allowed; @param least the shortest
void check_lengths(std::string_view op, const IntTensor& lengths, Index batch, Index steps, Index least) {
    if (lengths.dimension() != 1 || static_cast<Index>(lengths.size()) != batch)
        detail::fail_shape(op, fmt::format("lengths must be ({},), one for each sequence", batch), {shape_of(lengths)});
    for (Index b = 0; b < batch; ++b)
        if (lengths.data()[b] < least || lengths.data()[b] > steps)
            detail::fail_value(op, fmt::format("a length must be {} to T = {}; sequence {} has {}", least, steps, b,
                                               lengths.data()[b]));
}

/// @pre lengths are positive
Order order_of(std::string_view op, const IntTensor& lengths, bool enforce_sorted) {
    const std::size_t batch = lengths.size();
    Order order{integers(0), integers(0), integers(0)};
    if (enforce_sorted) {
        const auto* grows = std::is_sorted_until(lengths.data(), lengths.data() + batch, std::greater<>());
        if (grows != lengths.data() + batch)
            detail::fail_value(
                op, fmt::format("lengths must not grow, but {} follows {} at sequence {}; pass enforce_sorted = false "
                                "to have the sequences sorted (results come back in your order)",
                                *grows, *(grows - 1), grows - lengths.data()));
    } else {
        order.sorted = integers(batch);
        order.unsorted = integers(batch);
        std::iota(order.sorted.data(), order.sorted.data() + batch, 0);
        std::stable_sort(order.sorted.data(), order.sorted.data() + batch,
                         [&](std::int64_t a, std::int64_t b) { return lengths.data()[a] > lengths.data()[b]; });
        for (std::size_t j = 0; j < batch; ++j)
            order.unsorted.data()[order.sorted.data()[j]] = static_cast<std::int64_t>(j);
    }
    const std::int64_t longest = *std::max_element(lengths.data(), lengths.data() + batch);
    order.batch_sizes = integers(static_cast<std::size_t>(longest));
    std::fill_n(order.batch_sizes.data(), longest, 0);
    for (std::size_t b = 0; b < batch; ++b)
        for (Index t = 0; t < lengths.data()[b]; ++t) ++order.batch_sizes.data()[t];
    return order;
}

/// Lengths in the caller's order. @throws ValueError, ShapeError if the parts of a PackedSequence do not fit each other
template <class Real>
IntTensor lengths_of(std::string_view op, const PackedSequence<Real>& p) {
    const std::int64_t* sizes = p.batch_sizes.data();
    const std::size_t steps = p.batch_sizes.size();
    if (steps == 0 || !std::is_sorted(sizes, sizes + steps, std::greater<>()) || sizes[steps - 1] < 1)
        detail::fail_value(op, "batch_sizes of a PackedSequence must be 1 or more and never grow");
    const std::size_t batch = static_cast<std::size_t>(sizes[0]);
    if ((p.sorted_indices.size() != 0 && p.sorted_indices.size() != batch) ||
        p.unsorted_indices.size() != p.sorted_indices.size())
        detail::fail_shape(op,
                           "sorted_indices and unsorted_indices must be empty or have one element for each sequence",
                           {shape_of(p.batch_sizes), shape_of(p.sorted_indices), shape_of(p.unsorted_indices)});
    for (std::size_t j = 0; j < p.sorted_indices.size(); ++j) {
        const std::int64_t b = p.sorted_indices.data()[j];
        if (b < 0 || b >= sizes[0] || p.unsorted_indices.data()[b] != static_cast<std::int64_t>(j))
            detail::fail_value(op, "sorted_indices and unsorted_indices must be inverse permutations");
    }
    IntTensor lengths = integers(batch);
    for (std::size_t j = 0; j < batch; ++j) {
        std::int64_t length = 0;
        while (length < static_cast<std::int64_t>(steps) && sizes[length] > static_cast<std::int64_t>(j)) ++length;
        lengths.data()[p.sorted_indices.size() == 0 ? static_cast<std::int64_t>(j) : p.sorted_indices.data()[j]] =
            length;
    }
    return lengths;
}

/// The shape (first, second, …) with the axes of `shape` from `from` on behind.
Shape with_tail(std::initializer_list<Index> lead, const Shape& shape, std::size_t from) {
    Shape out(lead);
    for (std::size_t i = from; i < shape.rank(); ++i) out = out.inserted(out.rank(), shape[i]);
    return out;
}

template <class Real>
PackedSequence<Real> pack(Var<Real> x, Rows rows, Order order, std::size_t leading_axes) {
    const Shape shape = with_tail({static_cast<Index>(rows.size())}, x.shape(), leading_axes);
    const Index width = width_of(x.shape(), leading_axes);
    return {apply(Pack<Real>{std::move(rows), width, shape}, std::move(x)), std::move(order.batch_sizes),
            std::move(order.sorted), std::move(order.unsorted)};
}

/// Sequences as they will lie one behind the other: how long each is, where it begins, and where the last one ends.
struct Joined {
    IntTensor lengths, starts;
    std::int64_t end = 0;
};

/// @param least the shortest length that is allowed
template <class Real>
Joined joined(std::string_view op, const Vars<Real>& sequences, Index least) {
    if (sequences.empty()) detail::fail_shape(op, "at least one sequence is needed");
    Joined all{integers(sequences.size()), integers(sequences.size())};
    for (std::size_t b = 0; b < sequences.size(); ++b) {
        if (!sequences[b]) detail::fail_usage(op, fmt::format("sequence {} is an empty Var", b));
        const Shape &first = sequences[0].shape(), &shape = sequences[b].shape();
        if (shape.rank() < 1 || shape.rank() != first.rank() || !(shape.replaced(0, first[0]) == first))
            detail::fail_shape(op, "sequences must be (L, …) with the same axes but for the first", {first, shape});
        if (shape[0] < least)
            detail::fail_value(op, fmt::format("sequence {} is empty: a length must be {} or more", b, least));
        all.starts.data()[b] = all.end;
        all.lengths.data()[b] = shape[0];
        all.end += shape[0];
    }
    return all;
}

}  // namespace

template <class Real>
PackedSequence<Real> pack_padded_sequence(Var<Real> x, const IntTensor& lengths, bool batch_first,
                                          bool enforce_sorted) {
    constexpr std::string_view op = Pack<Real>::name;
    if (!x) detail::fail_usage(op, "the input is an empty Var");
    if (x.rank() < 2)
        detail::fail_shape(op, batch_first ? "the input must be (B, T, …)" : "the input must be (T, B, …)",
                           {x.shape()});
    const Index steps = x.shape()[batch_first ? 1 : 0], batch = x.shape()[batch_first ? 0 : 1];
    if (batch < 1) detail::fail_shape(op, "at least one sequence is needed", {x.shape()});
    check_lengths(op, lengths, batch, steps, 1);
    Order order = order_of(op, lengths, enforce_sorted);
    const Index count = std::accumulate(lengths.data(), lengths.data() + batch, Index{0});
    Rows rows = packed_rows(order.batch_sizes, order.sorted, count, row_in_padded(batch_first, steps, batch));
    return pack(std::move(x), std::move(rows), std::move(order), 2);
}

template <class Real>
Padded<Real> pad_packed_sequence(const PackedSequence<Real>& packed, bool batch_first, double padding_value,
                                 Index total_length) {
    constexpr std::string_view op = Pad<Real>::name;
    if (!packed.data) detail::fail_usage(op, "the PackedSequence is empty");
    IntTensor lengths = lengths_of(op, packed);
    const Index longest = static_cast<Index>(packed.batch_sizes.size()), batch = static_cast<Index>(lengths.size());
    if (total_length != 0 && total_length < longest)
        detail::fail_value(op,
                           fmt::format("total_length must be 0 (the longest) or at least the longest length {}; got {}",
                                       longest, total_length));
    const Index steps = total_length == 0 ? longest : total_length;
    const Shape& shape = packed.data.shape();
    const Index count = std::accumulate(lengths.data(), lengths.data() + batch, Index{0});
    if (shape.rank() < 1 || shape[0] != count)
        detail::fail_shape(op, fmt::format("the data must be ({}, …), the sum of batch_sizes", count), {shape});
    Rows rows = packed_rows(packed.batch_sizes, packed.sorted_indices, count, row_in_padded(batch_first, steps, batch));
    const Shape out = batch_first ? with_tail({batch, steps}, shape, 1) : with_tail({steps, batch}, shape, 1);
    return {apply(Pad<Real>{std::move(rows), width_of(shape, 1), out, padding_value}, packed.data), std::move(lengths)};
}

template <class Real>
PackedSequence<Real> pack_like(Var<Real> padded, const PackedSequence<Real>& like) {
    constexpr std::string_view op = Pack<Real>::name;
    if (!padded) detail::fail_usage(op, "the input is an empty Var");
    const IntTensor lengths = lengths_of(op, like);
    const Index longest = static_cast<Index>(like.batch_sizes.size()), batch = static_cast<Index>(lengths.size());
    if (padded.rank() < 2 || padded.shape()[0] < longest || padded.shape()[1] != batch)
        detail::fail_shape(op, fmt::format("the input must be (T, {}, …) with T = {} or more", batch, longest),
                           {padded.shape()});
    const Index count = std::accumulate(lengths.data(), lengths.data() + batch, Index{0});
    Rows rows =
        packed_rows(like.batch_sizes, like.sorted_indices, count, row_in_padded(false, padded.shape()[0], batch));
    return pack(std::move(padded), std::move(rows), Order{like.batch_sizes, like.sorted_indices, like.unsorted_indices},
                2);
}

template <class Real>
PackedSequence<Real> pack_sequence(const Vars<Real>& sequences, bool enforce_sorted) {
    constexpr std::string_view op = "pack_sequence";
    const Joined all = joined(op, sequences, 1);
    Order order = order_of(op, all.lengths, enforce_sorted);
    Rows rows = packed_rows(order.batch_sizes, order.sorted, all.end,
                            [&](Index t, Index b) { return all.starts.data()[b] + t; });
    return pack(concat(sequences, 0), std::move(rows), std::move(order), 1);
}

template <class Real>
Var<Real> pad_sequence(const Vars<Real>& sequences, bool batch_first, double padding_value) {
    const Joined all = joined("pad_sequence", sequences, 0);
    const std::int64_t* lengths = all.lengths.data();
    const Index batch = static_cast<Index>(sequences.size()), steps = *std::max_element(lengths, lengths + batch);
    const auto row = row_in_padded(batch_first, steps, batch);
    Rows rows = empty<std::int64_t>({all.end});
    std::int64_t* to = rows.data();
    for (Index b = 0; b < batch; ++b)
        for (Index t = 0; t < lengths[b]; ++t) *to++ = row(t, b);
    const Shape& shape = sequences[0].shape();
    const Shape out = batch_first ? with_tail({batch, steps}, shape, 1) : with_tail({steps, batch}, shape, 1);
    return apply(Pad<Real>{std::move(rows), width_of(shape, 1), out, padding_value}, concat(sequences, 0));
}

template <class Real>
Vars<Real> unpad_sequence(Var<Real> padded, const IntTensor& lengths, bool batch_first) {
    constexpr std::string_view op = "unpad_sequence";
    if (!padded) detail::fail_usage(op, "the input is an empty Var");
    if (padded.rank() < 2)
        detail::fail_shape(op, batch_first ? "the input must be (B, T, …)" : "the input must be (T, B, …)",
                           {padded.shape()});
    const Index steps = padded.shape()[batch_first ? 1 : 0], batch = padded.shape()[batch_first ? 0 : 1];
    check_lengths(op, lengths, batch, steps, 0);
    Vars<Real> sequences;
    for (Index b = 0; b < batch; ++b)
        sequences.push_back(slice(select(padded, batch_first ? 0 : 1, b), 0, 0, lengths.data()[b]));
    return sequences;
}

template <class Real>
Vars<Real> unpack_sequence(const PackedSequence<Real>& packed) {
    Padded<Real> padded = pad_packed_sequence(packed, true);
    return unpad_sequence(std::move(padded.values), padded.lengths, true);
}

#define UNROLL_INSTANTIATE(R)                                                              \
    template PackedSequence<R> pack_padded_sequence(Var<R>, const IntTensor&, bool, bool); \
    template Padded<R> pad_packed_sequence(const PackedSequence<R>&, bool, double, Index); \
    template PackedSequence<R> pack_like(Var<R>, const PackedSequence<R>&);                \
    template PackedSequence<R> pack_sequence(const Vars<R>&, bool);                        \
    template Var<R> pad_sequence(const Vars<R>&, bool, double);                            \
    template Vars<R> unpad_sequence(Var<R>, const IntTensor&, bool);                       \
    template Vars<R> unpack_sequence(const PackedSequence<R>&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
