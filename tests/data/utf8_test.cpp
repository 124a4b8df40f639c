// The strict UTF-8 decoder against every kind of fault, and the way back.
#include <unroll/autograd/error.hpp>
#include <unroll/data/utf8.hpp>

#include <gtest/gtest.h>

namespace {

using unroll::decode_utf8;
using unroll::encode_utf8;

std::string fault_of(std::string_view bytes) {
    try {
        decode_utf8(bytes);
    } catch (const unroll::ValueError& error) {
        return error.what();
    }
    return "accepted";
}

TEST(Utf8, DecodesOneToFourBytes) {
    EXPECT_EQ(decode_utf8("aé€😀\n"), U"aé€😀\n");
    EXPECT_EQ(decode_utf8(std::string_view("\0x", 2)), std::u32string(U"\0x", 2));
    EXPECT_EQ(decode_utf8(""), U"");
}

TEST(Utf8, EveryCodePointComesBack) {
    std::u32string all;
    for (char32_t c = 0; c <= 0x10FFFF; ++c)
        if (c < 0xD800 || c > 0xDFFF) all.push_back(c);
    const std::string bytes = encode_utf8(all);
    EXPECT_EQ(bytes.size(), 128u + 2 * 1920 + 3 * (65536 - 2048 - 2048) + 4 * 1048576);
    EXPECT_EQ(decode_utf8(bytes), all);
}

TEST(Utf8, FaultsNameTheByteAndTheReason) {
    const std::string before = "[decode_utf8] byte ";
    EXPECT_EQ(fault_of("ab\x80"), before + "2 (0x80) is not valid UTF-8: a continuation byte without a start");
    EXPECT_EQ(fault_of("é\xFF"), before + "2 (0xFF) is not valid UTF-8: no character starts with this byte");
    EXPECT_EQ(fault_of("x\xE2\x82"), before + "1 (0xE2) is not valid UTF-8: the text ends within this character");
    EXPECT_EQ(fault_of("\xE2\x28\xA1"), before + "0 (0xE2) is not valid UTF-8: byte 2 of 3 is missing");
    EXPECT_EQ(fault_of("\xF0\x9F\x98z"), before + "0 (0xF0) is not valid UTF-8: byte 4 of 4 is missing");
    EXPECT_EQ(fault_of("\xC0\x80"), before + "0 (0xC0) is not valid UTF-8: an overlong form");
    EXPECT_EQ(fault_of("\xE0\x9F\xBF"), before + "0 (0xE0) is not valid UTF-8: an overlong form");
    EXPECT_EQ(fault_of("\xF0\x8F\xBF\xBF"), before + "0 (0xF0) is not valid UTF-8: an overlong form");
    EXPECT_EQ(fault_of("\xED\xA0\x80"), before + "0 (0xED) is not valid UTF-8: a surrogate");
    EXPECT_EQ(fault_of("\xF4\x90\x80\x80"), before + "0 (0xF4) is not valid UTF-8: above U+10FFFF");
}

TEST(Utf8, EachWrongByteBecomesTheReplacementCharacter) {
    using unroll::decode_utf8_lossy;
    EXPECT_EQ(decode_utf8_lossy("aé€😀\n"), U"aé€😀\n");
    EXPECT_EQ(decode_utf8_lossy("ab\x80"
                                "c"),
              U"ab\uFFFDc");
    EXPECT_EQ(decode_utf8_lossy("\xE2\x28\xA1é"), U"\uFFFD(\uFFFDé");
    EXPECT_EQ(decode_utf8_lossy("x\xE2\x82"), U"x\uFFFD\uFFFD");
    EXPECT_EQ(decode_utf8_lossy(""), U"");
}

TEST(Utf8, NoSurrogateIsWritten) {
    EXPECT_THROW(encode_utf8(std::u32string(1, char32_t{0xD800})), unroll::ValueError);
    EXPECT_THROW(encode_utf8(std::u32string(1, char32_t{0x110000})), unroll::ValueError);
}

TEST(Utf8, DescriptionsShowWhatCanBeShown) {
    EXPECT_EQ(unroll::describe_code_point(U'é'), "'é' (U+00E9)");
    EXPECT_EQ(unroll::describe_code_point(U'\n'), "the newline (U+000A)");
    EXPECT_EQ(unroll::describe_code_point(U'\x1b'), "U+001B");
    EXPECT_EQ(unroll::describe_code_point(U'\x9f'), "U+009F");
    EXPECT_EQ(unroll::describe_code_point(U'😀'), "'😀' (U+1F600)");
}

}  // namespace
