// Characters ↔ ids: order, unknown characters, the JSON form.
#include <unroll/autograd/error.hpp>
#include <unroll/data/vocabulary.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <vector>

namespace {

using unroll::IntTensor;
using unroll::Vocabulary;
using unroll::test::error_message;

std::vector<std::int64_t> list(const IntTensor& ids) { return {ids.begin(), ids.end()}; }

TEST(Vocabulary, HoldsTheDistinctCharactersInCodePointOrder) {
    const Vocabulary vocabulary = Vocabulary::from_text("banané €\n");
    ASSERT_EQ(vocabulary.size(), 7);
    std::u32string characters;
    for (std::int64_t id = 0; id < vocabulary.size(); ++id) characters.push_back(vocabulary.at(id));
    EXPECT_EQ(characters, U"\n abné€");
    EXPECT_TRUE(vocabulary.contains(U'€'));
    EXPECT_FALSE(vocabulary.contains(U'x'));
    EXPECT_FALSE(vocabulary.contains(U'è'));
    EXPECT_EQ(vocabulary.id(U'é'), 5);
}

TEST(Vocabulary, DecodeIsTheInverseOfEncode) {
    const std::string text = "Ein Äpfelchen, zwei Äpfel — 三个苹果 😀\n";
    const Vocabulary vocabulary = Vocabulary::from_text(text);
    const IntTensor ids = vocabulary.encode(text);
    ASSERT_EQ(ids.dimension(), 1u);
    EXPECT_EQ(ids.size(), 35u);
    EXPECT_EQ(vocabulary.decode(ids), text);
    EXPECT_EQ(vocabulary.decode(vocabulary.id(U'三')), "三");
}

TEST(Vocabulary, AnEmptyTextEncodesToNothing) { EXPECT_EQ(Vocabulary::from_text("ab").encode("").size(), 0u); }

TEST(Vocabulary, AnUnknownCharacterIsNamedWithItsPlace) {
    const Vocabulary vocabulary = Vocabulary::from_text("abc\n");
    EXPECT_EQ(error_message<unroll::ValueError>([&] { vocabulary.encode("ab\ncaé"); }),
              "[Vocabulary] 'é' (U+00E9) at position 5 (line 2, column 3) is not in the vocabulary");
    EXPECT_EQ(error_message<unroll::ValueError>([&] { vocabulary.encode("\t"); }),
              "[Vocabulary] the tabulator (U+0009) at position 0 (line 1, column 1) is not in the "
              "vocabulary");
    EXPECT_EQ(error_message<unroll::ValueError>([&] { vocabulary.id(U'x'); }),
              "[Vocabulary] 'x' (U+0078) is not in the vocabulary");
}

TEST(Vocabulary, AReplacementStandsForUnknownCharacters) {
    const Vocabulary vocabulary = Vocabulary::from_text("abc");
    EXPECT_EQ(list(vocabulary.encode("axbéc", 2)), (std::vector<std::int64_t>{0, 2, 1, 2, 2}));
    EXPECT_EQ(error_message<unroll::IndexError>([&] { vocabulary.encode("a", 3); }),
              "[Vocabulary] the replacement id 3 is outside [0, 3)");
}

TEST(Vocabulary, TheUnknownIdIsTheLastAndDecodesToTheReplacementCharacter) {
    const Vocabulary vocabulary = Vocabulary::from_text("abc", {.add_unknown = true});
    EXPECT_EQ(vocabulary.size(), 4);
    EXPECT_EQ(vocabulary.unknown_id(), 3);
    EXPECT_EQ(list(vocabulary.encode("a?c")), (std::vector<std::int64_t>{0, 3, 2}));
    EXPECT_EQ(list(vocabulary.encode("a?c", 1)), (std::vector<std::int64_t>{0, 1, 2}));
    EXPECT_EQ(vocabulary.decode(vocabulary.encode("a?c")), "a\uFFFDc");
    EXPECT_EQ(vocabulary.id(U'?'), 3);
    EXPECT_FALSE(Vocabulary::from_text("abc").unknown_id().has_value());
}

TEST(Vocabulary, AnIdOutsideIsAnIndexError) {
    const Vocabulary vocabulary = Vocabulary::from_text("abc");
    EXPECT_EQ(error_message<unroll::IndexError>([&] { vocabulary.at(3); }), "[Vocabulary] id 3 is outside [0, 3)");
    EXPECT_EQ(error_message<unroll::IndexError>([&] {
                  vocabulary.decode(IntTensor{0, -1});
              }),
              "[Vocabulary] id -1 is outside [0, 3)");
}

TEST(Vocabulary, NoVocabularyWithoutCharactersOrWithOneTwice) {
    EXPECT_EQ(error_message<unroll::ValueError>([] { Vocabulary::from_text(""); }),
              "[Vocabulary] an empty text has no characters");
    EXPECT_EQ(error_message<unroll::ValueError>([] { Vocabulary(U""); }),
              "[Vocabulary] a vocabulary needs at least one character");
    EXPECT_EQ(error_message<unroll::ValueError>([] { Vocabulary(U"abca"); }),
              "[Vocabulary] 'a' (U+0061) is there twice");
    EXPECT_EQ(error_message<unroll::ValueError>([] { Vocabulary(U"éaé"); }),
              "[Vocabulary] 'é' (U+00E9) is there twice");
    EXPECT_EQ(error_message<unroll::ValueError>([] { Vocabulary::from_text("a\xC3"); }),
              "[decode_utf8] byte 1 (0xC3) is not valid UTF-8: the text ends within this character");
}

TEST(Vocabulary, SurvivesItsJsonForm) {
    const std::string control = std::string("\0\x01\"\\\x7f", 5) + "zé😀";
    for (const bool unknown : {false, true}) {
        const Vocabulary before = Vocabulary::from_text(control, {.add_unknown = unknown});
        const Vocabulary after = Vocabulary::from_json(nlohmann::json::parse(before.to_json().dump()));
        EXPECT_EQ(after, before);
        EXPECT_EQ(list(after.encode(control)), list(before.encode(control)));
    }
    const Vocabulary unordered(U"zya");
    EXPECT_EQ(Vocabulary::from_json(unordered.to_json()).at(0), U'z');
}

TEST(Vocabulary, ForeignJsonIsRefused) {
    for (const char* foreign :
         {"[]", "{}", "null", R"({"type":"words","characters":"ab","unknown":false})",
          R"({"type":"characters","characters":["a"],"unknown":false})", R"({"type":"characters","characters":"ab"})",
          R"({"type":"characters","characters":"aa","unknown":false})"})
        EXPECT_THROW(Vocabulary::from_json(nlohmann::json::parse(foreign)), unroll::ValueError) << foreign;
    EXPECT_EQ(
        error_message<unroll::ValueError>([] { Vocabulary::from_json(3); }),
        "[Vocabulary] the JSON value must be an object with \"type\": \"characters\", a string \"characters\" and "
        "a boolean \"unknown\"");
}

}  // namespace
