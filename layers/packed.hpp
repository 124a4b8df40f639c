// Sequences of different lengths: packed (time step by time step, without padding), padded, or as a list.
//
// Names and semantics are those of torch.nn.utils.rnn. All functions are differentiable. Nothing here runs a layer: RNN,
// LSTM and GRU take a PackedSequence (rnn.hpp), any Recurrent takes lengths (LoopOptions::lengths).
#pragma once

#include <unroll/autograd/ops.hpp>
#include <unroll/layers/recurrent.hpp>

namespace unroll {

/// Sequences, the longest first: `data` (N, …) holds the first elements of all of them, then the second elements of those
/// that are that long, and so on; N is the sum of the lengths.
///
///     lengths 3, 2, 1: data = a0 b0 c0 a1 b1 a2, batch_sizes = 3 2 1
template <class Real>
struct PackedSequence {
    Var<Real> data;
    IntTensor batch_sizes;  ///< (T): how many sequences have more than t elements; never grows
    /// sorted_indices[j] is the caller's number of the j-th longest sequence, unsorted_indices the inverse. Both empty where
    /// the caller's order is that of the lengths already.
    IntTensor sorted_indices = IntTensor::from_shape({0});
    IntTensor unsorted_indices = IntTensor::from_shape({0});
};

/// What a recurrent layer makes of a PackedSequence: output packed in the same way, states in the caller's order.
template <class Real, std::size_t N>
struct PackedOutput {
    PackedSequence<Real> output;
    State<Real, N> state;
};

/// Sequences side by side, the shorter ones filled up.
template <class Real>
struct Padded {
    Var<Real> values;   ///< (T, B, …), or (B, T, …) where batch_first was asked for
    IntTensor lengths;  ///< (B), in the caller's order
};

/// Packs x (T, B, …), or (B, T, …) with batch_first. What lies behind a sequence's length has no influence and gets a zero
/// gradient.
/// @param enforce_sorted lengths must not grow (and the packed form keeps the order); otherwise sequences are sorted by
///        length, equally long ones in the caller's order, and pad_packed_sequence undoes it
/// @throws ShapeError unless x has two axes or more and there is one length for each sequence; ValueError for a length that
///         is not 1 to T, or unsorted lengths with enforce_sorted
template <class Real>
PackedSequence<Real> pack_padded_sequence(Var<Real> x, const IntTensor& lengths, bool batch_first = false,
                                          bool enforce_sorted = true);

/// The inverse: (T, B, …) or (B, T, …) with `padding_value` behind the sequences' ends, and their lengths, both in the
/// caller's order.
/// @param total_length T; 0: the longest sequence's length. @throws ValueError if it is shorter than that
template <class Real>
Padded<Real> pad_packed_sequence(const PackedSequence<Real>& packed, bool batch_first = false, double padding_value = 0,
                                 Index total_length = 0);

/// Packs values (T, B, …) in the caller's order in the same way as `like`, whose own values do not matter.
/// @throws ShapeError unless T is the longest length of `like` or more and B its number of sequences
template <class Real>
PackedSequence<Real> pack_like(Var<Real> padded, const PackedSequence<Real>& like);

/// Packs a list of sequences (L_i, …). @throws as pack_padded_sequence, and ShapeError if later axes differ
template <class Real>
PackedSequence<Real> pack_sequence(const Vars<Real>& sequences, bool enforce_sorted = true);

/// Sequences (L_i, …) side by side: (T, B, …), or (B, T, …) with batch_first, T the longest length (0 is a length here).
/// @throws ShapeError for an empty list, or if later axes differ
template <class Real>
Var<Real> pad_sequence(const Vars<Real>& sequences, bool batch_first = false, double padding_value = 0);

/// The inverse: a list of sequences (L_i, …) from (T, B, …), or (B, T, …) with batch_first.
/// @throws ShapeError, ValueError as pack_padded_sequence; a length of 0 is allowed
template <class Real>
Vars<Real> unpad_sequence(Var<Real> padded, const IntTensor& lengths, bool batch_first = false);

/// The packed sequences as a list in the caller's order.
template <class Real>
Vars<Real> unpack_sequence(const PackedSequence<Real>& packed);

}  // namespace unroll
