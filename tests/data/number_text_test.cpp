// Numbers as people read them, at the edges where digits and units change.
#include <unroll/data/number_text.hpp>

#include <unroll/autograd/error.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace {

using unroll::test::error_message;

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

TEST(NumberText, NumbersAreReadWholeOrNotAtAll) {
    EXPECT_EQ(unroll::parse_number("3e-3", "the learning rate"), 3e-3);
    EXPECT_EQ(unroll::parse_number("-0.5", "x"), -0.5);
    EXPECT_TRUE(std::isnan(unroll::parse_number("nan", "x")));
    EXPECT_EQ(unroll::parse_count("2000", "the number of steps"), 2000);
    for (const char* text : {"", "x", "1x", " 1", "1 ", "0x10", "1,5"}) {
        EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::parse_number(text, "the learning rate"); }),
                  std::string("the learning rate must be a number; got '") + text + "'");
        EXPECT_THROW(unroll::parse_count(text, "x"), unroll::ValueError);
    }
    for (const char* text : {"-1", "1.5", "1e3", "nan", "9223372036854775808"})
        EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::parse_count(text, "the number of steps"); }),
                  std::string("the number of steps must be a whole number, 0 or more; got '") + text + "'");
}

}  // namespace
