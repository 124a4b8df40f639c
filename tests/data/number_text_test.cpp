// Numbers as people read them, at the edges where digits and units change.
#include <unroll/data/number_text.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace {

TEST(NumberText, CommasStandBetweenThousands) {
    EXPECT_EQ(unroll::with_commas(0), "0");
    EXPECT_EQ(unroll::with_commas(999), "999");
    EXPECT_EQ(unroll::with_commas(1000), "1,000");
    EXPECT_EQ(unroll::with_commas(-999), "-999");
    EXPECT_EQ(unroll::with_commas(-1115394), "-1,115,394");
    EXPECT_EQ(unroll::with_commas(std::numeric_limits<std::int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(NumberText, CompactNumbersHaveThreeDigits) {
    EXPECT_EQ(unroll::compact_number(0), "0");
    EXPECT_EQ(unroll::compact_number(0.456), "0.46");
    EXPECT_EQ(unroll::compact_number(7.251), "7.25");
    EXPECT_EQ(unroll::compact_number(9.996), "10.0");
    EXPECT_EQ(unroll::compact_number(412), "412");
    EXPECT_EQ(unroll::compact_number(999.4), "999");
    EXPECT_EQ(unroll::compact_number(999.5), "1.00k");
    EXPECT_EQ(unroll::compact_number(41234), "41.2k");
    EXPECT_EQ(unroll::compact_number(412345), "412k");
    EXPECT_EQ(unroll::compact_number(-2.5e6), "-2.50M");
    EXPECT_EQ(unroll::compact_number(std::nan("")), "–");
    EXPECT_EQ(unroll::compact_number(-INFINITY), "–");
}

TEST(NumberText, DurationsGrowFromSecondsToDays) {
    EXPECT_EQ(unroll::duration_text(0), "0:00");
    EXPECT_EQ(unroll::duration_text(7.4), "0:07");
    EXPECT_EQ(unroll::duration_text(59.6), "1:00");
    EXPECT_EQ(unroll::duration_text(754), "12:34");
    EXPECT_EQ(unroll::duration_text(3723), "1:02:03");
    EXPECT_EQ(unroll::duration_text(3 * 86400 + 4 * 3600 + 3599), "3 d 4 h");
    EXPECT_EQ(unroll::duration_text(-1), "–");
    EXPECT_EQ(unroll::duration_text(INFINITY), "–");
}

}  // namespace
