// Text that is wrong, in every way and at random: the strict decoder against the grammar of RFC 3629, and vocabularies that
// are refused or work.
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/random.hpp>
#include <unroll/data/utf8.hpp>
#include <unroll/data/vocabulary.hpp>
#include <unroll/tests/support/test_size.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace {

using unroll::Index;
using unroll::RandomStream;
using unroll::Vocabulary;

/// Bytes of the first character by the grammar of RFC 3629, section 4, written down as it stands there; 0: there is none.
std::size_t by_grammar(std::string_view text) {
    struct Rule {
        std::size_t length;
        std::array<unsigned char, 2> first, second;  // from, to; what follows is 80–BF
    };
    static constexpr Rule kRules[] = {
        {1, {0x00, 0x7F}, {}},           {2, {0xC2, 0xDF}, {0x80, 0xBF}}, {3, {0xE0, 0xE0}, {0xA0, 0xBF}},
        {3, {0xE1, 0xEC}, {0x80, 0xBF}}, {3, {0xED, 0xED}, {0x80, 0x9F}}, {3, {0xEE, 0xEF}, {0x80, 0xBF}},
        {4, {0xF0, 0xF0}, {0x90, 0xBF}}, {4, {0xF1, 0xF3}, {0x80, 0xBF}}, {4, {0xF4, 0xF4}, {0x80, 0x8F}}};
    const auto within = [&](std::size_t i, unsigned from, unsigned to) {
        return i < text.size() && static_cast<unsigned char>(text[i]) >= from &&
               static_cast<unsigned char>(text[i]) <= to;
    };
    for (const Rule& rule : kRules) {
        if (!within(0, rule.first[0], rule.first[1])) continue;
        bool fits = rule.length == 1 || within(1, rule.second[0], rule.second[1]);
        for (std::size_t i = 2; i < rule.length; ++i) fits = fits && within(i, 0x80, 0xBF);
        return fits ? rule.length : 0;
    }
    return 0;
}

bool valid_by_grammar(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = by_grammar(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

/// Decodes `text`, holds the result to the grammar, and says whether it was valid.
bool decodes_as_the_grammar_says(const std::string& text) {
    const bool valid = valid_by_grammar(text);
    try {
        const std::u32string characters = unroll::decode_utf8(text);
        EXPECT_TRUE(valid) << ::testing::PrintToString(text);
        EXPECT_EQ(unroll::encode_utf8(characters), text);
    } catch (const unroll::ValueError&) {
        EXPECT_FALSE(valid) << ::testing::PrintToString(text);
    }
    return valid;
}

TEST(HostileText, EveryPairOfBytes) {
    int valid = 0;
    for (int a = 0; a < 256; ++a)
        for (int b = 0; b < 256; ++b)
            valid += decodes_as_the_grammar_says({static_cast<char>(a), static_cast<char>(b)});
    EXPECT_EQ(valid, 128 * 128 + 30 * 64);
}

TEST(HostileText, EveryByteAboveAsciiWithBytesAtTheEdgesBehindIt) {
    constexpr std::array<unsigned char, 10> kEdges{0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    std::string text(4, '\0');
    for (int lead = 0x80; lead < 256; ++lead) {
        text[0] = static_cast<char>(lead);
        for (std::size_t i = 0; i < 1000; ++i) {
            text[1] = static_cast<char>(kEdges[i / 100]);
            text[2] = static_cast<char>(kEdges[i / 10 % 10]);
            text[3] = static_cast<char>(kEdges[i % 10]);
            decodes_as_the_grammar_says(text);
            decodes_as_the_grammar_says(text.substr(0, 3));
        }
    }
}

/// Pieces of text and of rubbish, put together at random.
std::string random_text(RandomStream& random) {
    static constexpr std::string_view kPieces[] = {"a",
                                                   "B",
                                                   "\n",
                                                   "é",
                                                   "ß",
                                                   "€",
                                                   "三",
                                                   "😀",
                                                   "\xF4\x8F\xBF\xBF",
                                                   "\xEF\xBF\xBF",
                                                   "\xED\x9F\xBF",
                                                   "\xEE\x80\x80",
                                                   "\u0301",
                                                   "\x7F",
                                                   "\xC2\x80"};
    std::string text;
    for (Index k = random.below(12); k > 0; --k)
        text += kPieces[static_cast<std::size_t>(random.below(std::size(kPieces)))];
    if (random.below(2) == 0) return text;
    for (Index k = random.below(3); k >= 0 && !text.empty(); --k) {
        const auto at = static_cast<std::size_t>(random.below(static_cast<Index>(text.size())));
        switch (random.below(4)) {
        case 0: text[at] = static_cast<char>(random.below(256)); break;
        case 1: text.erase(at, 1); break;
        case 2: text.insert(at, 1, static_cast<char>(random.below(256))); break;
        default: text.resize(at);
        }
    }
    return text;
}

TEST(HostileText, AnythingAtRandomDecodesAsTheGrammarSays) {
    const int cases = unroll::test::by_test_size(20'000, 100'000, 2'000'000);
    int valid = 0;
    for (int i = 0; i < cases; ++i) {
        RandomStream random(static_cast<std::uint64_t>(i), "text");
        valid += decodes_as_the_grammar_says(random_text(random));
    }
    EXPECT_GT(valid, cases / 4);
    EXPECT_LT(valid, cases * 3 / 4);
}

TEST(HostileText, AVocabularyOfAnyValidTextWorks) {
    const int cases = unroll::test::by_test_size(2'000, 10'000, 1'000'000);
    for (int i = 0; i < cases; ++i) {
        RandomStream random(static_cast<std::uint64_t>(i), "vocabulary");
        const std::string text = random_text(random);
        try {
            const Vocabulary vocabulary = Vocabulary::from_text(text, {.add_unknown = random.below(2) == 0});
            ASSERT_TRUE(valid_by_grammar(text) && !text.empty());
            ASSERT_EQ(vocabulary.decode(vocabulary.encode(text)), text);
            ASSERT_EQ(Vocabulary::from_json(nlohmann::json::parse(vocabulary.to_json().dump())), vocabulary);
        } catch (const unroll::ValueError&) {
            ASSERT_TRUE(text.empty() || !valid_by_grammar(text));
        }
    }
}

TEST(HostileText, AnyJsonAtRandomIsAVocabularyOrRefused) {
    const std::string valid = Vocabulary::from_text("to be, or not — 三😀\n").to_json().dump();
    static constexpr std::string_view kPieces[] = {"null",    "true",      "3",  "[]",  "{}", "\"\"",
                                                   "\"a\"",   ",",         ":",  "\\n", "\"", "\\ud83d\\ude00",
                                                   "\\u0000", "\"type\":", "aa", "\xC3"};
    const int cases = unroll::test::by_test_size(10'000, 50'000, 1'000'000);
    int accepted = 0, refused = 0;
    for (int i = 0; i < cases; ++i) {
        RandomStream random(static_cast<std::uint64_t>(i), "json");
        std::string text = valid;
        for (Index k = random.below(3); k >= 0; --k) {
            const auto at = static_cast<std::size_t>(random.below(static_cast<Index>(text.size())));
            const auto& piece = kPieces[static_cast<std::size_t>(random.below(std::size(kPieces)))];
            if (random.below(2) == 0)
                text.insert(at, piece);
            else
                text.replace(at, static_cast<std::size_t>(random.below(12)), piece);
        }
        const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
        if (json.is_discarded()) continue;
        try {
            const Vocabulary vocabulary = Vocabulary::from_json(json);
            ++accepted;
            ASSERT_GT(vocabulary.size(), 0);
            ASSERT_EQ(Vocabulary::from_json(vocabulary.to_json()), vocabulary);
        } catch (const unroll::ValueError&) {
            ++refused;
        }
    }
    EXPECT_GT(accepted, cases / 100);
    EXPECT_GT(refused, cases / 100);
}

}  // namespace
