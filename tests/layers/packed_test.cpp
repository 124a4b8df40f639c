// Packing and padding: layouts as PyTorch has them, inverses of each other, gradients, and errors.
#include <unroll/layers/packed.hpp>

#include <unroll/autograd/gradcheck.hpp>
#include <unroll/autograd/gradcheck_gtest.hpp>
#include <unroll/tests/layers/layer_support.hpp>

namespace unroll {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;

/// (T, B, width) with element 100·b + 10·t + column.
Var<double> labelled(Index steps, Index batch, Index width) {
    Tensor<double> x = empty<double>({steps, batch, width});
    for (Index t = 0, i = 0; t < steps; ++t)
        for (Index b = 0; b < batch; ++b)
            for (Index c = 0; c < width; ++c) x.data()[i++] = static_cast<double>(100 * b + 10 * t + c);
    return Var<double>(std::move(x));
}

TEST(Packed, SortedSequencesLieTimeStepByTimeStep) {
    const auto packed = pack_padded_sequence(labelled(4, 3, 1), integers({3, 2, 1}));
    EXPECT_EQ(packed.data.shape(), (Shape{6, 1}));
    EXPECT_THAT(elements(packed.data), ElementsAre(0, 100, 200, 10, 110, 20));
    EXPECT_THAT(list(packed.batch_sizes), ElementsAre(3, 2, 1));
    EXPECT_EQ(packed.sorted_indices.size(), 0u);
    EXPECT_EQ(packed.unsorted_indices.size(), 0u);
}

TEST(Packed, UnsortedSequencesAreSortedAndEqualLengthsKeepTheirOrder) {
    const auto packed = pack_padded_sequence(labelled(3, 4, 1), integers({1, 3, 1, 2}), false, false);
    EXPECT_THAT(list(packed.batch_sizes), ElementsAre(4, 2, 1));
    EXPECT_THAT(list(packed.sorted_indices), ElementsAre(1, 3, 0, 2));
    EXPECT_THAT(list(packed.unsorted_indices), ElementsAre(2, 0, 3, 1));
    EXPECT_THAT(elements(packed.data), ElementsAre(100, 300, 0, 200, 110, 310, 120));
}

TEST(Packed, BatchFirstOnlyTurnsTheInput) {
    const auto x = labelled(4, 3, 2);
    const auto one = pack_padded_sequence(x, integers({2, 4, 3}), false, false);
    const auto other = pack_padded_sequence(transpose(x, 0, 1), integers({2, 4, 3}), true, false);
    expect_same(other.data, one.data);
    EXPECT_EQ(list(other.sorted_indices), list(one.sorted_indices));
    expect_same(pad_packed_sequence(one, true).values, transpose(pad_packed_sequence(one).values, 0, 1));
}

TEST(Packed, PaddingUndoesPackingInTheCallersOrder) {
    const auto x = labelled(4, 3, 2);
    const auto padded = pad_packed_sequence(pack_padded_sequence(x, integers({2, 3, 1}), false, false), false, -7.5, 5);
    EXPECT_EQ(padded.values.shape(), (Shape{5, 3, 2}));
    EXPECT_THAT(list(padded.lengths), ElementsAre(2, 3, 1));
    for (Index t = 0; t < 5; ++t)
        for (Index b = 0; b < 3; ++b)
            for (Index c = 0; c < 2; ++c)
                EXPECT_EQ(padded.values.data()[(t * 3 + b) * 2 + c],
                          t < padded.lengths(b) ? x.data()[(t * 3 + b) * 2 + c] : -7.5);
}

TEST(Packed, SequencesOfNumbersWithoutFurtherAxes) {
    const Vars<double> sequences{filled<double>({2}, 1), filled<double>({4}, 2), filled<double>({1}, 3)};
    const auto packed = pack_sequence(sequences, false);
    EXPECT_EQ(packed.data.shape(), (Shape{7}));
    const Vars<double> again = unpack_sequence(packed);
    ASSERT_EQ(again.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) expect_same(again[i], sequences[i]);
}

TEST(Packed, ListsGoToPaddedAndBack) {
    const Vars<double> sequences{filled<double>({2, 3}, 1), filled<double>({4, 3}, 2), filled<double>({1, 3}, 3)};
    for (const bool batch_first : {false, true}) {
        const auto padded = pad_sequence(sequences, batch_first, 9.0);
        EXPECT_EQ(padded.shape(), batch_first ? (Shape{3, 4, 3}) : (Shape{4, 3, 3}));
        EXPECT_EQ(padded.data()[padded.size() - 1], 9.0);
        const auto again = unpad_sequence(padded, integers({2, 4, 1}), batch_first);
        ASSERT_EQ(again.size(), 3u);
        for (std::size_t i = 0; i < 3; ++i) expect_same(again[i], sequences[i]);
        expect_same(pack_padded_sequence(padded, integers({2, 4, 1}), batch_first, false).data,
                    pack_sequence(sequences, false).data);
    }
    EXPECT_EQ(pad_sequence(Vars<double>{filled<double>({0, 2}, 1), filled<double>({1, 2}, 2)}).shape(),
              (Shape{1, 2, 2}));
}

TEST(Packed, PackLikeTakesOtherFeaturesAndALongerPadding) {
    const auto like = pack_padded_sequence(labelled(3, 4, 1), integers({1, 3, 1, 2}), false, false);
    const auto x = filled<double>({5, 4, 6}, 1);
    const auto packed = pack_like(x, like);
    EXPECT_EQ(packed.data.shape(), (Shape{7, 6}));
    EXPECT_EQ(list(packed.unsorted_indices), list(like.unsorted_indices));
    expect_same(packed.data, pack_padded_sequence(x, integers({1, 3, 1, 2}), false, false).data);
}

TEST(Packed, GradientsAreThoseOfTheRowsThatWereTaken) {
    const auto lengths = integers({2, 4, 3});
    EXPECT_GRADIENTS([](auto x, const IntTensor& n) { return pack_padded_sequence(x, n, false, false).data; },
                     filled_tensor<double>({5, 3, 2}, 1), lengths);
    EXPECT_GRADIENTS(
        [](auto x, const IntTensor& n) {
            const auto packed = pack_padded_sequence(x, n, true, false);
            return std::tuple{pad_packed_sequence(packed, true, 0.5, 6).values, packed.data};
        },
        filled_tensor<double>({3, 5, 2}, 1), lengths);
    EXPECT_GRADIENTS(
        [](auto a, auto b) {
            using Real = typename decltype(a)::value_type;
            return std::tuple{pack_sequence(Vars<Real>{a, b, a}, false).data, pad_sequence(Vars<Real>{a, b}, true)};
        },
        filled_tensor<double>({2, 3}, 1), filled_tensor<double>({4, 3}, 2));
}

TEST(Packed, WhatLiesBehindALengthGetsAZeroGradient) {
    Tape<double> tape;
    const auto x = filled<double>({3, 2, 1}, 1);
    tape.watch(x);
    backward(sum(pack_padded_sequence(x, integers({3, 1})).data));
    EXPECT_THAT(elements(tape.gradient(x)), ElementsAre(1, 1, 1, 0, 1, 0));
}

TEST(Packed, WrongLengthsAreErrorsThatSayWhatToDo) {
    const auto x = filled<double>({4, 3, 2}, 1);
    const auto value_error = [&](const IntTensor& lengths, bool sorted) {
        return error_message<ValueError>([&] { pack_padded_sequence(x, lengths, false, sorted); });
    };
    EXPECT_EQ(value_error(integers({4, 0, 1}), false),
              "[pack_padded_sequence] a length must be 1 to T = 4; sequence 1 has 0");
    EXPECT_EQ(value_error(integers({5, 2, 1}), true),
              "[pack_padded_sequence] a length must be 1 to T = 4; sequence 0 has 5");
    EXPECT_EQ(value_error(integers({3, 1, 2}), true), "[pack_padded_sequence] lengths must not grow, but 2 follows 1 "
                                                      "at sequence 2; pass enforce_sorted = false to have the "
                                                      "sequences sorted (results come back in your order)");
    const auto shape_error = [](auto action) { return error_message<ShapeError>(action); };
    EXPECT_THAT(shape_error([&] {
                    pack_padded_sequence(x, integers({4, 3}));
                }),
                HasSubstr("lengths must be (3,), one for each sequence; got (2,)"));
    EXPECT_THAT(shape_error([&] { pack_padded_sequence(filled<double>({4}, 1), integers({4})); }),
                HasSubstr("the input must be (T, B, …); got (4,)"));
    EXPECT_THAT(shape_error([&] { pack_sequence(Vars<double>{}); }),
                HasSubstr("[pack_sequence] at least one sequence is needed"));
    EXPECT_THAT(
        shape_error([&] {
            pad_sequence(Vars<double>{filled<double>({2, 3}, 1), filled<double>({2, 4}, 1)});
        }),
        HasSubstr(
            "[pad_sequence] sequences must be (L, …) with the same axes but for the first; got (2, 3) and (2, 4)"));
    EXPECT_THAT(error_message<ValueError>([&] {
                    pack_sequence(Vars<double>{filled<double>({2, 3}, 1), filled<double>({0, 3}, 1)});
                }),
                HasSubstr("sequence 1 is empty"));
    EXPECT_THAT(error_message<UsageError>([&] { pack_padded_sequence(Var<double>(), integers({4})); }),
                HasSubstr("empty Var"));
}

TEST(Packed, WrongPackedSequencesAreErrors) {
    const auto packed = pack_padded_sequence(filled<double>({4, 3, 2}, 1), integers({2, 4, 3}), false, false);
    EXPECT_EQ(error_message<ValueError>([&] { pad_packed_sequence(packed, false, 0, 3); }),
              "[pad_packed_sequence] total_length must be 0 (the longest) or at least the longest length 4; got 3");
    auto wrong = packed;
    wrong.batch_sizes(1) = 4;
    EXPECT_THAT(error_message<ValueError>([&] { pad_packed_sequence(wrong); }), HasSubstr("never grow"));
    wrong = packed;
    wrong.data = filled<double>({8, 2}, 1);
    EXPECT_THAT(error_message<ShapeError>([&] { pad_packed_sequence(wrong); }), HasSubstr("the data must be (9, …)"));
    wrong = packed;
    wrong.sorted_indices(0) = 0;
    EXPECT_THAT(error_message<ValueError>([&] { unpack_sequence(wrong); }), HasSubstr("inverse permutations"));
    EXPECT_THAT(error_message<ShapeError>([&] {
                    pack_like(filled<double>({3, 3, 2}, 1), packed);
                }),
                HasSubstr("(T, 3, …) with T = 4 or more"));
}

TEST(Packed, AnErrorLeavesNoNodeBehind) {
    const Var<double> a = filled<double>({2, 3}, 1), b = filled<double>({4, 3}, 2);
    const Var<double> deep(full<double>({2, 1, 1, 1, 1, 1}, 1.0));
    Tape<double> tape;
    for (const auto& x : {a, b, deep}) tape.watch(x);
    EXPECT_THROW(pack_sequence(Vars<double>{a, b}), ValueError);
    EXPECT_THROW(pad_sequence(Vars<double>{deep, deep}), ShapeError);
    EXPECT_EQ(tape.node_count(), 0);
}

TEST(Packed, ErrorsWithoutASequenceNameTheModule) {
    ParameterStore<double> store;
    const auto guard = (Scope<double>(store) / "part").enter();
    EXPECT_EQ(error_message<ShapeError>([] { pack_sequence(Vars<double>{}); }),
              "[pack_sequence] at least one sequence is needed (in part)");
    EXPECT_EQ(error_message<ShapeError>([] { pad_sequence(Vars<double>{}); }),
              "[pad_sequence] at least one sequence is needed (in part)");
}

TEST(Packed, TheTapeCountsTheRowsThatItKeeps) {
    const Var<double> x = filled<double>({4, 3, 2}, 1);
    Tape<double> tape;
    tape.watch(x);
    pad_packed_sequence(pack_padded_sequence(x, integers({4, 3, 1})));
    for (const TapeCount& c : tape.count()) EXPECT_EQ(c.saved_bytes, (4 + 3 + 1) * 8) << c.op;
}

}  // namespace
}  // namespace unroll
