// Work over contiguous parts of memory, cut into pieces that several threads share. How it is cut depends on the sizes
// alone, so that what is summed piece by piece is the same bits for any number of threads.
#pragma once

#include <unroll/autograd/pool_vector.hpp>
#include <unroll/autograd/threads.hpp>

#include <algorithm>

namespace unroll::detail {

/// Elements [begin, end) of part number `part`.
struct Piece {
    std::size_t part;
    Index begin;
    Index end;
};

inline constexpr Index kPieceSize = Index{1} << 16;
/// Memory traffic from which on it pays to wake threads: half a millisecond for one.
inline constexpr Index kThreadBytes = Index{8} << 20;

/// The pieces of parts of these sizes, in order. Memory comes from the pool.
template <class Part>
void cut_pieces(const PoolVector<Part>& parts, PoolVector<Piece>& pieces) {
    for (std::size_t part = 0; part < parts.size(); ++part)
        for (Index begin = 0; begin < parts[part].size; begin += kPieceSize)
            pieces.push_back({part, begin, std::min(begin + kPieceSize, parts[part].size)});
}

/// body(piece, its number) for every piece; on several threads where there is enough to do.
/// @param element_bytes what is read and written for one element, over all arrays
template <class Body>
void for_each_piece(const PoolVector<Piece>& pieces, std::size_t element_bytes, const Body& body) {
    Index elements = 0;
    for (const Piece& piece : pieces) elements += piece.end - piece.begin;
    const auto one = [&](Index i) { body(pieces[static_cast<std::size_t>(i)], static_cast<std::size_t>(i)); };
    const auto count = static_cast<Index>(pieces.size());
    if (elements * static_cast<Index>(element_bytes) < kThreadBytes)
        for (Index i = 0; i < count; ++i) one(i);
    else
        parallel_for(count, one);
}

}  // namespace unroll::detail
