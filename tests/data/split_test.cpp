// Where parts begin and end, and how they are called.
#include <unroll/autograd/error.hpp>
#include <unroll/data/split.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <gtest/gtest.h>

#include <cmath>

namespace {

using unroll::IntTensor;
using unroll::Split;
using unroll::split_by_fractions;
using unroll::split_train_validation;
using unroll::test::error_message;

TEST(Split, TinyShakespeareIsCutAsNanoGptCutsIt) {
    const auto [train, validation] = split_train_validation(1115394, 0.1);
    EXPECT_EQ(train.begin, 0);
    EXPECT_EQ(train.end, 1003854);
    EXPECT_EQ(validation.begin, 1003854);
    EXPECT_EQ(validation.size(), 111540);
    EXPECT_EQ(train.describe(), "train: the first 1,003,854 of 1,115,394 characters");
    EXPECT_EQ(validation.describe(), "validation: the last 111,540 of 1,115,394 characters");
}

TEST(Split, RoundingDoesNotMoveAWholeCut) {
    for (std::int64_t n = 10; n <= 1000; n += 10)
        for (int tenths = 1; tenths <= 9; ++tenths)
            EXPECT_EQ(split_train_validation(n, tenths / 10.0).train.size(), n / 10 * (10 - tenths)) << n << tenths;
}

TEST(Split, FractionZeroTrainsOnEverything) {
    const auto [train, validation] = split_train_validation(7, 0);
    EXPECT_EQ(train.size(), 7);
    EXPECT_TRUE(validation.empty());
    EXPECT_EQ(train.describe("lines"), "train: all 7 lines");
    EXPECT_EQ(validation.describe(), "validation: none of 7 characters");
}

TEST(Split, FractionsOutsideTheRangeAndEmptyPartsAreErrors) {
    EXPECT_EQ(error_message<unroll::ValueError>([] { split_train_validation(100, 1); }),
              "[split] the validation fraction must be in [0, 1), not 1");
    EXPECT_EQ(error_message<unroll::ValueError>([] { split_train_validation(100, -0.1); }),
              "[split] the validation fraction must be in [0, 1), not -0.1");
    EXPECT_EQ(error_message<unroll::ValueError>([] { split_train_validation(100, std::nan("")); }),
              "[split] the validation fraction must be in [0, 1), not nan");
    EXPECT_EQ(error_message<unroll::ValueError>([] { split_train_validation(1, 0.5); }),
              "[split] the part 'train' of 1 entries would be empty");
    EXPECT_EQ(error_message<unroll::ValueError>([] { split_train_validation(0, 0.1); }),
              "[split] there is nothing to split: 0 entries");
}

TEST(Split, ManyPartsCoverEverythingOnce) {
    const auto parts = split_by_fractions(1003, {{"train", 0.9}, {"validation", 0.06}, {"test", 0.04}});
    ASSERT_EQ(parts.size(), 3u);
    EXPECT_EQ(parts[0].begin, 0);
    EXPECT_EQ(parts[0].end, 902);
    EXPECT_EQ(parts[1].begin, 902);
    EXPECT_EQ(parts[1].end, 962);
    EXPECT_EQ(parts[2].begin, 962);
    EXPECT_EQ(parts[2].end, 1003);
    EXPECT_EQ(parts[1].describe(), "validation: 60 characters from 902 on, of 1,003");
    EXPECT_EQ(split_by_fractions(5, {{"all", 1.0}})[0].size(), 5);
}

TEST(Split, FractionsOfManyPartsAreChecked) {
    EXPECT_EQ(error_message<unroll::ValueError>([] {
                  split_by_fractions(10, {{"a", 0.5}, {"b", 0.25}});
              }),
              "[split] the fractions of 2 parts must add up to 1, not 0.75");
    EXPECT_EQ(error_message<unroll::ValueError>([] { split_by_fractions(10, {}); }),
              "[split] the fractions of 0 parts must add up to 1, not 0");
    EXPECT_EQ(error_message<unroll::ValueError>([] {
                  split_by_fractions(10, {{"a", 1.5}, {"b", -0.5}});
              }),
              "[split] the fraction of 'a' must be in (0, 1], not 1.5");
    EXPECT_EQ(error_message<unroll::ValueError>([] {
                  split_by_fractions(10, {{"a", 0.95}, {"b", 0.01}, {"c", 0.04}});
              }),
              "[split] the part 'b' of 10 entries would be empty");
}

TEST(Split, PartOfCopiesThePart) {
    const IntTensor ids{10, 11, 12, 13, 14};
    EXPECT_EQ(unroll::part_of(ids, Split{"middle", 1, 4, 5}), (IntTensor{11, 12, 13}));
    EXPECT_EQ(error_message<unroll::ShapeError>([&] {
                  unroll::part_of(ids, Split{"middle", 1, 4, 6});
              }),
              "[split] the part 'middle' is cut from a vector of 6 entries; got 1 axes and 5 entries");
}

}  // namespace
