// Safetensors files that are wrong, in every way one by one and in many ways at random: refused, in one line.
#include <unroll/autograd/random.hpp>
#include <unroll/io/safetensors.hpp>
#include <unroll/tests/io/raw_safetensors.hpp>
#include <unroll/tests/support/temporary_folder.hpp>
#include <unroll/tests/support/test_size.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace {

using unroll::Index;
using unroll::Shape;
using unroll::StateDict;
using unroll::Tensor;
using unroll::test::parse;
using unroll::test::raw_file;
using unroll::test::refusal;

StateDict small() {
    StateDict dict;
    dict.put_json("options", {{"hidden", 5}, {"name", "größe"}});
    dict.put("w", Tensor<float>{{1.0f, 2.0f, 3.0f}, {4.0f, 5.0f, 6.0f}});
    dict.put("ids", unroll::IntTensor{1, 2});
    dict.put_scalar("flag", true);
    return dict;
}

TEST(SafetensorsHostile, TruncatedAtAnyByte) {
    const std::string bytes = unroll::format_safetensors(small());
    for (std::size_t length = 1; length < bytes.size(); ++length) {
        const std::string reason = refusal(bytes.substr(0, length));
        EXPECT_TRUE(reason.find("truncated") != std::string::npos ||
                    reason.find("no safetensors file") != std::string::npos)
            << length << ": " << reason;
    }
    EXPECT_EQ(refusal(bytes), "accepted");
    EXPECT_EQ(refusal(bytes + '\0'), "1 bytes stand after the last tensor");
}

TEST(SafetensorsHostile, WrongHeaderLength) {
    const std::string header = R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
    const auto with_length = [&](std::int64_t length) { return refusal(raw_file(header, "abcd", length)); };
    ASSERT_EQ(with_length(53), "accepted");
    EXPECT_EQ(with_length(0), "the header does not begin with '{'");
    EXPECT_EQ(with_length(1), "the header does not end with '}' and spaces");
    EXPECT_EQ(with_length(52), "the header is not valid JSON (at its byte 53)");
    EXPECT_EQ(with_length(54), "the header does not end with '}' and spaces");
    EXPECT_EQ(with_length(57), "the header does not end with '}' and spaces");
    EXPECT_EQ(with_length(58),
              "it is truncated or no safetensors file: a header of 58 bytes does not fit into its 65 bytes");
    EXPECT_EQ(with_length(100'000'000),
              "it is truncated or no safetensors file: a header of 100000000 bytes does not fit into its 65 bytes");
    for (const std::int64_t length : {std::int64_t{100'000'001}, std::numeric_limits<std::int64_t>::max()})
        EXPECT_EQ(with_length(length),
                  "it is no safetensors file (its first 8 bytes ask for a header longer than 100,000,000 bytes)");
    EXPECT_EQ(refusal(std::string(8, '\xFF') + header),
              "it is no safetensors file (its first 8 bytes ask for a header longer than 100,000,000 bytes)");
}

TEST(SafetensorsHostile, OffsetsMustLieSideBySideFromZero) {
    const auto two = [](const std::string& a, const std::string& b, std::size_t data) {
        return refusal(raw_file(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + a +
                                    R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + b + "}}",
                                std::string(data, 'x')));
    };
    ASSERT_EQ(two("[0,4]", "[4,6]", 6), "accepted");
    ASSERT_EQ(two("[2,6]", "[0,2]", 6), "accepted");
    EXPECT_EQ(two("[0,4]", "[5,7]", 7), "the tensor \"b\" comes after a hole");
    EXPECT_EQ(two("[1,5]", "[5,7]", 7), "the tensor \"a\" comes after a hole");
    EXPECT_EQ(two("[0,4]", "[3,5]", 5), "the tensor \"b\" overlaps another one");
    EXPECT_EQ(two("[0,4]", "[0,2]", 4), "the tensor \"a\" overlaps another one");
    EXPECT_EQ(two("[0,4]", "[4,6]", 5), "it is truncated: 1 bytes of data are missing");
    EXPECT_EQ(two("[0,4]", "[4,6]", 9), "3 bytes stand after the last tensor");
    EXPECT_EQ(two("[0,4]", "[4,7]", 7), "the tensor \"b\" has 3 bytes of data, U8 (2,) needs 2");
    EXPECT_EQ(two("[0,4]", "[6,4]", 6), "the tensor \"b\" ends before it begins");
    EXPECT_EQ(two("[0,4]", "[4]", 6), "the tensor \"b\" has not two data_offsets");
    EXPECT_EQ(two("[0,4]", "[]", 6), "the tensor \"b\" has not two data_offsets");
    EXPECT_EQ(two("[0,4]", "[4,6,6]", 6), "the tensor \"b\" has more than two data_offsets");
    EXPECT_EQ(two("[0,4]", "[18446744073709551615,1]", 6), "the tensor \"b\" ends before it begins");
    EXPECT_EQ(two("[0,4]", "[18446744073709551613,18446744073709551615]", 6), "the tensor \"b\" comes after a hole");
    EXPECT_EQ(refusal(raw_file(R"({"e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})", "x")),
              "the tensor \"e\" comes after a hole");
    EXPECT_EQ(refusal(raw_file("{}", "x")), "1 bytes stand after the last tensor");
}

TEST(SafetensorsHostile, FieldsOfATensor) {
    const auto entry = [](const std::string& text, const std::string& data = "abcd") {
        return refusal(raw_file("{\"w\":" + text + "}", data));
    };
    ASSERT_EQ(entry(R"({"dtype":"U8","shape":[4],"data_offsets":[0,4]})"), "accepted");
    EXPECT_EQ(entry(R"({"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]})"),
              "the tensor \"w\" has the unknown dtype \"F8_E4M3\"");
    EXPECT_EQ(entry(R"({"dtype":"u8","shape":[4],"data_offsets":[0,4]})"),
              "the tensor \"w\" has the unknown dtype \"u8\"");
    EXPECT_EQ(entry(R"({"shape":[4],"data_offsets":[0,4]})"), "the tensor \"w\" has no dtype");
    EXPECT_EQ(entry(R"({"dtype":"U8","data_offsets":[0,4]})"), "the tensor \"w\" has no shape");
    EXPECT_EQ(entry(R"({"dtype":"U8","shape":[4]})"), "the tensor \"w\" has no data_offsets");
    EXPECT_EQ(entry("{}"), "the tensor \"w\" has no dtype");
    EXPECT_EQ(entry(R"({"dtype":"U8","shape":[4],"data_offsets":[0,4],"extra":1})"),
              "the tensor \"w\" has a field \"extra\"");
    EXPECT_EQ(entry(R"({"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]})"),
              "the tensor \"w\" has the field dtype twice");
    EXPECT_EQ(entry(R"({"dtype":"U8","shape":[2,1,2,1,1,1,1],"data_offsets":[0,4]})"),
              "the tensor \"w\" has more than six axes");
    const std::string tail = ", which the format does not allow";
    EXPECT_EQ(entry(R"({"dtype":3,"shape":[4],"data_offsets":[0,4]})"),
              "the dtype of the tensor \"w\" is a number or holds it" + tail);
    EXPECT_EQ(entry(R"({"dtype":["U8"],"shape":[4],"data_offsets":[0,4]})"),
              "the dtype of the tensor \"w\" is a list or holds it" + tail);
    for (const auto& [value, what] : std::vector<std::pair<std::string, std::string>>{
             {"4", "a number"},
             {"\"4\"", "a string"},
             {"null", "null"},
             {"{}", "an object"},
             {"[-4]", "a negative number"},
             {"[4.0]", "a number that is not whole or too large"},
             {"[4e0]", "a number that is not whole or too large"},
             {"[18446744073709551616]", "a number that is not whole or too large"},
             {"[[4]]", "a list"},
             {"[true]", "true or false"},
             {"[\"4\"]", "a string"},
             {"[null]", "null"},
             {"[{}]", "an object"},
             {"[-0]", "a negative number"}}) {
        EXPECT_EQ(entry(R"({"dtype":"U8","shape":)" + value + R"(,"data_offsets":[0,4]})"),
                  "the shape of the tensor \"w\" is " + what + " or holds it" + tail);
        EXPECT_EQ(entry(R"({"dtype":"U8","shape":[4],"data_offsets":)" + value + "}"),
                  "the data_offsets of the tensor \"w\" is " + what + " or holds it" + tail);
    }
    for (const char* value : {"3", "\"x\"", "null", "true", "[]", "-1", "0.5"})
        EXPECT_TRUE(entry(value).starts_with("the entry \"w\" is ")) << entry(value);
}

TEST(SafetensorsHostile, SizesThatOverflow) {
    const auto shape = [](const std::string& lengths, const char* dtype = "F32") {
        return refusal(raw_file(
            R"({"w":{"dtype":")" + std::string(dtype) + R"(","shape":)" + lengths + R"(,"data_offsets":[0,0]}})", ""));
    };
    ASSERT_EQ(shape("[0,4]"), "accepted");
    const std::string large = "the shape of the tensor \"w\" is too large";
    EXPECT_EQ(shape("[4294967296,4294967296]"), large);
    EXPECT_EQ(shape("[18446744073709551615]"), large);
    EXPECT_EQ(shape("[9223372036854775808]"), large);
    EXPECT_EQ(shape("[4611686018427387904]"), large) << "times four bytes it would be zero";
    EXPECT_EQ(shape("[0,18446744073709551615]"), large);
    EXPECT_EQ(shape("[4294967296,4294967296,0]"), large);
    EXPECT_EQ(shape("[0,4294967296,4294967296]"), large) << "strides would overflow";
    EXPECT_EQ(shape("[2305843009213693952]", "F64"), large);
    EXPECT_EQ(shape("[576460752303423488]", "F64"), large) << "more elements than an array may have";
    EXPECT_EQ(shape("[281474976710656]", "F64"),
              "the tensor \"w\" has 0 bytes of data, F64 (281474976710656,) needs 2251799813685248");
}

TEST(SafetensorsHostile, NamesAreThereOnce) {
    const std::string w = R"("w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
    const std::string v = R"("\u0077":{"dtype":"U8","shape":[2],"data_offsets":[2,4]})";
    EXPECT_EQ(refusal(raw_file("{" + w + "," + w + "}", "ab")), "the name \"w\" is there twice");
    EXPECT_EQ(refusal(raw_file("{" + w + "," + v + "}", "abcd")), "the name \"w\" is there twice");
    EXPECT_EQ(refusal(raw_file(R"({"__metadata__":{},"__metadata__":{}})", "")),
              "the name \"__metadata__\" is there twice");
    EXPECT_EQ(refusal(raw_file(R"({"__metadata__":{"k":"1","k":"2"}})", "")), "the metadata key \"k\" is there twice");
    EXPECT_EQ(refusal(raw_file(R"({"__metadata__":{"w":"1"},)" + w + "}", "ab")),
              "\"w\" is a tensor and a metadata key");
    EXPECT_EQ(refusal(raw_file(R"({"":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "ab")),
              "a tensor has no name");
    EXPECT_EQ(refusal(raw_file(R"({"__metadata__":{"":"1"}})", "")), "the metadata has a key \"\"");
    EXPECT_EQ(refusal(raw_file(R"({"__metadata__":{"__metadata__":"1"}})", "")),
              "the metadata has a key \"__metadata__\"");
}

TEST(SafetensorsHostile, MetadataHoldsStrings) {
    for (const char* value : {"3", "null", "true", "[]", "{}", "{\"a\":\"b\"}", "1.5", "-1"}) {
        const std::string reason = refusal(raw_file(std::string(R"({"__metadata__":{"k":)") + value + "}}", ""));
        EXPECT_TRUE(reason.starts_with("the metadata value of \"k\" is ")) << reason;
    }
    for (const char* value : {"3", "null", "[]", "\"x\""})
        EXPECT_TRUE(refusal(raw_file(std::string(R"({"__metadata__":)") + value + "}", ""))
                        .starts_with("the entry \"__metadata__\" is "));
}

TEST(SafetensorsHostile, WhatIsNoJsonObject) {
    for (const char* text : {"[]", "3", "\"x\"", "null", " {}", "\xEF\xBB\xBF{}", "\n{}"})
        EXPECT_EQ(refusal(raw_file(text, "")), "the header does not begin with '{'") << text;
    for (const char* text : {"{}\n", "{}\t", "{},", "{}x", "{", "{\"a\":1"})
        EXPECT_EQ(refusal(raw_file(text, "")), "the header does not end with '}' and spaces") << text;
    for (const char* text :
         {"{}{}", "{,}", "{\"a\"}", "{'a':{}}", "{a:1}", "{\"__metadata__\":{\"k\":\"v\",}}", "{}/**/{}", "{//\n}",
          "{\"__metadata__\":{\"k\":\"\\ud800\"}}", "{\"__metadata__\":{\"k\":\"\\x\"}}", "{\"a\n\":1}",
          "{\"w\":{\"shape\":[1e999]}}", "{\"w\":{\"shape\":[01]}}"})
        EXPECT_TRUE(refusal(raw_file(text, "")).starts_with("the header is not valid JSON (at its byte "))
            << text << ": " << refusal(raw_file(text, ""));
    EXPECT_EQ(refusal(raw_file("        ", "")), "the header does not begin with '{'");
    EXPECT_EQ(refusal(raw_file(std::string_view("{}\0}", 4), "")), "the header holds a zero byte");
    EXPECT_EQ(refusal(raw_file(std::string_view("{\"__metadata__\":{\"k\":\"\0\"}}", 25), "")),
              "the header holds a zero byte");
    EXPECT_EQ(refusal(raw_file("{}    ", "")), "accepted");
}

TEST(SafetensorsHostile, TextThatIsNotUtf8) {
    for (const std::string bad : {"\xFF", "\xC3(", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"}) {
        EXPECT_TRUE(
            refusal(raw_file("{\"__metadata__\":{\"k\":\"" + bad + "\"}}", "")).starts_with("the header is not UTF-8"));
        EXPECT_TRUE(refusal(raw_file("{\"" + bad + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", ""))
                        .starts_with("the header is not UTF-8"));
    }
}

TEST(SafetensorsHostile, DeepNestingEndsAtOnce) {
    const std::string deep(5'000'000, '[');
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(refusal(raw_file("{\"a\":" + deep + "}", "")).starts_with("the entry \"a\" is a list"));
    EXPECT_TRUE(refusal(raw_file("{\"a\":{\"shape\":" + deep + "}", ""))
                    .starts_with("the shape of the tensor \"a\" is a list"));
    std::string objects;
    for (int i = 0; i < 1'000'000; ++i) objects += "{\"a\":";
    EXPECT_TRUE(refusal(raw_file(objects + "}", "")).starts_with("the tensor \"a\" has a field \"a\""));
    const StateDict dict =
        parse(raw_file("{\"__metadata__\":{\"k\":\"" + deep + std::string(deep.size(), ']') + "\"}}", ""));
    EXPECT_TRUE(dict.json("k").is_string());
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

TEST(SafetensorsHostile, MessagesAreOneShortLine) {
    const std::string name = "a\\n\\u001b[2J" + std::string(1'000'000, 'x');
    const std::string reason = refusal(raw_file("{\"" + name + "\":{\"dtype\":\"" + name + "\"}}", ""));
    EXPECT_LT(reason.size(), 300u);
    for (const char c : reason) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
}

/// One of many ways to spoil a file, chosen by `random`.
void spoil(std::string& bytes, unroll::RandomStream& random) {
    const auto below = [&](std::size_t n) {
        return static_cast<std::size_t>(random.below(static_cast<Index>(std::max<std::size_t>(n, 1))));
    };
    static constexpr std::string_view kPieces[] = {"{",
                                                   "}",
                                                   "[",
                                                   "]",
                                                   ",",
                                                   ":",
                                                   "\"",
                                                   "0",
                                                   "9",
                                                   "-",
                                                   "e",
                                                   ".",
                                                   "\\",
                                                   " ",
                                                   "\n",
                                                   "null",
                                                   "\"dtype\":",
                                                   "\"F32\"",
                                                   "\"I64\"",
                                                   "\"shape\":[",
                                                   "\"data_offsets\":[0,8]",
                                                   "\"__metadata__\":{",
                                                   "18446744073709551615",
                                                   "\xC3",
                                                   "\xFF",
                                                   "\\u0000"};
    const std::size_t at = below(bytes.size());
    switch (below(8)) {
    case 0:
        if (!bytes.empty()) bytes[at] = static_cast<char>(below(256));
        break;
    case 1:
        if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
    case 2: bytes.erase(at, 1 + below(16)); break;
    case 3: bytes.insert(at, kPieces[below(std::size(kPieces))]); break;
    case 4: bytes.insert(at, bytes.substr(below(bytes.size()), below(64))); break;
    case 5: bytes.resize(below(bytes.size() + 1)); break;
    case 6:
        if (bytes.size() >= 8) bytes[below(2)] = static_cast<char>(below(256));
        break;
    default:  // the length made right again, so that the header itself is looked at
        if (bytes.size() >= 8) {
            const std::size_t end = bytes.rfind('}');
            const std::uint64_t length = end == std::string::npos || end < 8 ? 0 : end - 7;
            std::memcpy(bytes.data(), &length, 8);
        }
    }
}

TEST(SafetensorsHostile, AnythingAtRandomIsReadOrRefused) {
    const std::string valid = unroll::format_safetensors(small());
    const int cases = unroll::test::by_test_size(20'000, 100'000, 2'000'000);
    int accepted = 0;
    for (int i = 0; i < cases; ++i) {
        unroll::RandomStream random(static_cast<std::uint64_t>(i), "spoil");
        std::string bytes = valid;
        for (Index k = 1 + random.below(4); k > 0; --k) spoil(bytes, random);
        try {
            const StateDict dict = parse(bytes);
            ++accepted;
            // What is accepted is understood: it can be written and is then the same.
            ASSERT_EQ(parse(unroll::format_safetensors(dict)), dict) << "case " << i;
        } catch (const unroll::IoError& error) {
            const std::string_view message = error.what();
            ASSERT_TRUE(message.starts_with("cannot read 'f': ") && message.size() < 400 &&
                        message.find('\n') == message.npos)
                << "case " << i << ": " << message;
        }
    }
    EXPECT_GT(accepted, cases / 100);
    EXPECT_LT(accepted, cases / 2);
}

}  // namespace
