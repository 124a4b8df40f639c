// StateDict: what goes in comes out with every bit, and what is wrong is named.
#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/error.hpp>
#include <unroll/io/state_dict.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace {

using nlohmann::json;
using unroll::Conversion;
using unroll::DType;
using unroll::Index;
using unroll::IntTensor;
using unroll::Shape;
using unroll::StateDict;
using unroll::StoredTensor;
using unroll::Tensor;
using unroll::test::error_message;

template <class Action>
std::string value_error(Action action) {
    return error_message<unroll::ValueError>(action);
}
template <class Action>
std::string shape_error(Action action) {
    return error_message<unroll::ShapeError>(action);
}

/// A tensor of any dtype from the bit patterns of its elements.
template <class Bits>
StoredTensor stored(DType dtype, const std::vector<Bits>& elements) {
    const std::size_t count = elements.size() * sizeof(Bits);
    auto bytes = std::make_shared<std::byte[]>(count);
    std::memcpy(bytes.get(), elements.data(), count);
    return StoredTensor(dtype, Shape{static_cast<Index>(elements.size())}, bytes, count);
}

TEST(StateDict, KeepsOrderKindsAndValues) {
    StateDict dict;
    const Tensor<float> weight{{1.5f, -2.0f, 3.0f}, {0.0f, -0.0f, 1e-40f}};
    dict.put("z.weight", weight);
    dict.put_json("options", {{"hidden", 128}, {"cell", "lstm"}});
    dict.put("ids", IntTensor{{1, -2}, {3, std::numeric_limits<std::int64_t>::min()}});
    dict.put_scalar("loss", 1.25);
    std::vector<std::string> names;
    for (const auto& entry : dict.entries()) names.push_back(entry.name);
    EXPECT_EQ(names, (std::vector<std::string>{"z.weight", "options", "ids", "loss"}));
    EXPECT_EQ(dict.size(), 4u);
    EXPECT_FALSE(dict.empty());
    EXPECT_TRUE(dict.contains("ids"));
    EXPECT_FALSE(dict.contains("id"));

    EXPECT_EQ(dict.stored("z.weight").dtype(), DType::f32);
    EXPECT_EQ(dict.stored("z.weight").shape(), (Shape{2, 3}));
    const Tensor<float> back = dict.tensor<float>("z.weight", Shape{2, 3});
    EXPECT_EQ(std::memcmp(back.data(), weight.data(), 6 * sizeof(float)), 0);
    EXPECT_EQ(dict.json("options"), json::parse(R"({"cell":"lstm","hidden":128})"));
    EXPECT_EQ(dict.int_tensor("ids"), (IntTensor{{1, -2}, {3, std::numeric_limits<std::int64_t>::min()}}));
    EXPECT_EQ(dict.tensor<std::int64_t>("ids")(1, 0), 3);
    EXPECT_EQ(dict.scalar<double>("loss"), 1.25);
}

TEST(StateDict, ScalarsOfEveryTypeKeepEveryBit) {
    StateDict dict;
    const double nan = std::bit_cast<double>(0x7ff4dead0000beefull);
    dict.put_scalar("f64", nan);
    dict.put_scalar("f32", -std::numeric_limits<float>::infinity());
    dict.put_scalar("i64", std::numeric_limits<std::int64_t>::min());
    dict.put_scalar("u64", std::numeric_limits<std::uint64_t>::max());
    dict.put_scalar("u8", std::uint8_t{255});
    dict.put_scalar("bool", true);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(dict.scalar<double>("f64")), 0x7ff4dead0000beefull);
    EXPECT_EQ(dict.scalar<float>("f32"), -std::numeric_limits<float>::infinity());
    EXPECT_EQ(dict.scalar<std::int64_t>("i64"), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(dict.scalar<std::uint64_t>("u64"), std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(dict.scalar<std::uint8_t>("u8"), 255);
    EXPECT_EQ(dict.scalar<bool>("bool"), true);
}

TEST(StateDict, DualNumbersAreStoredByTheirValues) {
    StateDict dict;
    Tensor<unroll::Dual<double>> x = unroll::zeros<unroll::Dual<double>>(Shape{2});
    x(0) = {1.5, 7.0};
    x(1) = {-2.5, 8.0};
    dict.put("x", x);
    EXPECT_EQ(dict.stored("x").dtype(), DType::f64);
    EXPECT_EQ(dict.tensor<double>("x")(1), -2.5);
    const auto back = dict.tensor<unroll::Dual<double>>("x");
    EXPECT_EQ(back(0).value, 1.5);
    EXPECT_EQ(back(0).derivative, 0.0);
}

TEST(StateDict, ConvertsFloatingTypesOnRequestOnly) {
    StateDict dict;
    dict.put("d", Tensor<double>{0.1, -1e300, 2.0});
    dict.put("f", Tensor<float>{0.1f, 3.0f, 2.0f});
    EXPECT_EQ(value_error([&] { dict.tensor<float>("d"); }), "[StateDict] \"d\" must be F32; it is F64 (3,)");
    const Tensor<float> narrow = dict.tensor<float>("d", Conversion::allowed);
    EXPECT_EQ(narrow(0), 0.1f);
    EXPECT_EQ(narrow(1), -std::numeric_limits<float>::infinity());
    EXPECT_EQ(dict.tensor<double>("f", Conversion::allowed)(0), static_cast<double>(0.1f));
    dict.put("i", IntTensor{1, 2});
    EXPECT_EQ(value_error([&] { dict.tensor<double>("i", Conversion::allowed); }),
              "[StateDict] \"i\" must be F64 or fit into it; it is I64 (2,)");
    EXPECT_EQ(value_error([&] { dict.tensor<bool>("i", Conversion::allowed); }),
              "[StateDict] \"i\" must be BOOL or fit into it; it is I64 (2,)");
}

TEST(StateDict, ReadsHalfPrecision) {
    StateDict dict;
    // 0, −0, smallest subnormal, largest subnormal, 1, largest, −∞, 1/3 rounded
    dict.put("f16", stored<std::uint16_t>(DType::f16,
                                          {0x0000, 0x8000, 0x0001, 0x03ff, 0x3c00, 0x7bff, 0xfc00, 0x3555, 0x7e01}));
    dict.put("bf16", stored<std::uint16_t>(DType::bf16, {0x3f80, 0xc000, 0x7f80, 0x0001}));
    const Tensor<double> half = dict.tensor<double>("f16", Conversion::allowed);
    EXPECT_EQ(half(0), 0.0);
    EXPECT_TRUE(half(1) == 0.0 && std::signbit(half(1)));
    EXPECT_EQ(half(2), 0x1p-24);
    EXPECT_EQ(half(3), 1023 * 0x1p-24);
    EXPECT_EQ(half(4), 1.0);
    EXPECT_EQ(half(5), 65504.0);
    EXPECT_EQ(half(6), -std::numeric_limits<double>::infinity());
    EXPECT_EQ(half(7), 1365.0 / 4096);
    EXPECT_TRUE(std::isnan(half(8)));
    const Tensor<float> brain = dict.tensor<float>("bf16", Conversion::allowed);
    EXPECT_EQ(brain(0), 1.0f);
    EXPECT_EQ(brain(1), -2.0f);
    EXPECT_EQ(brain(2), std::numeric_limits<float>::infinity());
    EXPECT_EQ(brain(3), 0x1p-133f);
}

TEST(StateDict, ReadsEveryIntegerTypeThatFits) {
    StateDict dict;
    dict.put("i32", stored<std::int32_t>(DType::i32, {-7, 2147483647}));
    dict.put("i16", stored<std::int16_t>(DType::i16, {-7, 32767}));
    dict.put("i8", stored<std::int8_t>(DType::i8, {-7, 127}));
    dict.put("u64", stored<std::uint64_t>(DType::u64, {7, 9223372036854775807u}));
    dict.put("u32", stored<std::uint32_t>(DType::u32, {7, 4294967295u}));
    dict.put("u16", stored<std::uint16_t>(DType::u16, {7, 65535}));
    dict.put("u8", stored<std::uint8_t>(DType::u8, {7, 255}));
    const auto check = [&](const char* name, std::int64_t first, std::int64_t second) {
        EXPECT_EQ(dict.int_tensor(name, Conversion::allowed), (IntTensor{first, second})) << name;
        EXPECT_THROW(dict.int_tensor(name), unroll::ValueError) << name;
    };
    check("i32", -7, 2147483647);
    check("i16", -7, 32767);
    check("i8", -7, 127);
    check("u64", 7, std::numeric_limits<std::int64_t>::max());
    check("u32", 7, 4294967295);
    check("u16", 7, 65535);
    check("u8", 7, 255);
    dict.put("big", stored<std::uint64_t>(DType::u64, {9223372036854775808u}));
    EXPECT_EQ(value_error([&] { dict.int_tensor("big", Conversion::allowed); }),
              "[StateDict] \"big\" must be I64 or fit into it; it is U64 (1,)");
    dict.put("bool", stored<std::uint8_t>(DType::boolean, {0, 1, 2}));
    const Tensor<bool> truth = dict.tensor<bool>("bool");
    EXPECT_TRUE(!truth(0) && truth(1) && truth(2));
}

TEST(StateDict, WrongEntriesAreNamedWithWhatWasExpectedAndFound) {
    StateDict dict;
    EXPECT_EQ(value_error([&] { dict.stored("a"); }), "[StateDict] there is no entry \"a\"; it is empty");
    dict.put("w", unroll::zeros<float>(Shape{2, 3}));
    dict.put_json("options", {{"a", 1}});
    EXPECT_EQ(value_error([&] { dict.stored("v"); }),
              "[StateDict] there is no entry \"v\"; there are \"w\", \"options\"");
    EXPECT_EQ(shape_error([&] {
                  dict.tensor<float>("w", Shape{3, 2});
              }),
              "[StateDict] \"w\" must have the shape (3, 2); it is F32 (2, 3)");
    EXPECT_EQ(shape_error([&] { dict.scalar<float>("w"); }),
              "[StateDict] \"w\" must have the shape (); it is F32 (2, 3)");
    std::vector<float> five(5);
    EXPECT_EQ(shape_error([&] { dict.copy_to("w", std::span<float>(five)); }),
              "[StateDict] \"w\" must have the shape (5,); it is F32 (2, 3)");
    EXPECT_EQ(value_error([&] { dict.stored("options"); }), "[StateDict] \"options\" is a JSON value, not a tensor");
    EXPECT_EQ(value_error([&] { dict.json("w"); }), "[StateDict] \"w\" must be a JSON value; it is F32 (2, 3)");
    dict.set_origin("run/x.safetensors");
    EXPECT_EQ(value_error([&] { dict.json("w"); }),
              "[StateDict] 'run/x.safetensors': \"w\" must be a JSON value; it is F32 (2, 3)");
    for (const char* name : {"p", "q", "r"}) dict.put_scalar(name, 0.0);
    EXPECT_EQ(value_error([&] { dict.json("v"); }),
              "[StateDict] 'run/x.safetensors': there is no entry \"v\"; there are "
              "\"w\", \"options\", \"p\", \"q\" and 1 more");
}

TEST(StateDict, NamesAreUsableAndUnique) {
    StateDict dict;
    dict.put_scalar("a", 1.0);
    EXPECT_EQ(value_error([&] { dict.put_scalar("a", 2.0); }), "[StateDict] the name \"a\" is taken");
    EXPECT_EQ(value_error([&] { dict.put_json("a", 2.0); }), "[StateDict] the name \"a\" is taken");
    EXPECT_EQ(value_error([&] { dict.put_scalar("", 2.0); }), "[StateDict] an entry needs a name");
    EXPECT_EQ(value_error([&] { dict.put_scalar("__metadata__", 2.0); }),
              "[StateDict] the name \"__metadata__\" is the file format's own");
    EXPECT_EQ(value_error([&] { dict.put_scalar("\xC3(", 2.0); }), "[StateDict] a name is not UTF-8");
    EXPECT_EQ(dict.size(), 1u);
    EXPECT_EQ(dict.scalar<double>("a"), 1.0);
}

TEST(StateDict, JsonThatWouldNotSurviveIsRefused) {
    StateDict dict;
    const std::string prefix = "[StateDict] \"j\" cannot be kept: ";
    for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()})
        EXPECT_EQ(value_error([&] {
                      dict.put_json("j", {{"best", json::array({1.0, bad})}});
                  }),
                  prefix + "JSON has no number that is not finite (put_scalar keeps one)");
    EXPECT_EQ(value_error([&] { dict.put_json("j", json("\xFF")); }), prefix + "a text in it is not UTF-8");
    EXPECT_EQ(value_error([&] { dict.put_json("j", json::binary({1, 2})); }), prefix + "binary values are no JSON");
    json deep = 1;
    for (int level = 0; level < 63; ++level) deep = json::array({deep});
    dict.put_json("deep", deep);
    EXPECT_EQ(dict.json("deep"), deep);
    deep = json::array({json::array({deep})});
    EXPECT_EQ(value_error([&] { dict.put_json("j", deep); }), prefix + "it is nested deeper than 64 levels");
    for (const std::string text : {"", "{", "nul", "1 2", "[1,]", "\"\xFF\""})
        EXPECT_THROW(dict.put_json_text("j", text), unroll::ValueError) << text;
    EXPECT_THROW(dict.put_json_text("j", std::string("1\0", 2)), unroll::ValueError);
    EXPECT_THROW(dict.put_json_text("j", std::string(65, '[') + std::string(65, ']')), unroll::ValueError);
    EXPECT_EQ(dict.size(), 1u);
}

TEST(StateDict, JsonNumbersKeepEveryBit) {
    StateDict dict;
    const json values{{"u", std::numeric_limits<std::uint64_t>::max()},
                      {"i", std::numeric_limits<std::int64_t>::min()},
                      {"d", 0.1 + 0.2},
                      {"tiny", 5e-324},
                      {"zero", -0.0},
                      {"text", "ä\n\"\\\u0001"}};
    dict.put_json("values", values);
    const json back = dict.json("values");
    EXPECT_EQ(back["u"].get<std::uint64_t>(), std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(back["i"].get<std::int64_t>(), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(back["d"].get<double>(), 0.1 + 0.2);
    EXPECT_EQ(back["tiny"].get<double>(), 5e-324);
    EXPECT_TRUE(std::signbit(back["zero"].get<double>()));
    EXPECT_EQ(back["text"], values["text"]);
}

TEST(StateDict, PrefixesNestAndComeApart) {
    StateDict inner, middle, outer;
    inner.put_scalar("weight", 1.0);
    inner.put_json("options", {{"k", 1}});
    middle.add("layer0", inner);
    middle.put_scalar("step", std::int64_t{3});
    outer.add("model", middle);
    outer.put_scalar("model", 5.0);  // a name of its own, not part of the prefix
    outer.put_scalar("models.x", 6.0);
    EXPECT_TRUE(outer.contains("model.layer0.weight"));
    EXPECT_EQ(outer.sub("model"), middle);
    EXPECT_EQ(outer.sub("model").sub("layer0"), inner);
    EXPECT_EQ(outer.sub("model.layer0"), inner);
    EXPECT_TRUE(outer.contains_prefix("models"));
    EXPECT_FALSE(outer.contains_prefix("mode"));
    EXPECT_FALSE(outer.contains_prefix("model.step"));
    outer.set_origin("c");
    EXPECT_EQ(value_error([&] { outer.sub("optimizer"); }),
              "[StateDict] 'c': there is no entry \"optimizer.…\"; there are \"model.layer0.weight\", "
              "\"model.layer0.options\", \"model.step\", \"model\" and 1 more");
    EXPECT_EQ(value_error([&] { outer.sub("model").sub("layer0").stored("bias"); }),
              "[StateDict] 'c': there is no entry \"model.layer0.bias\"; there are \"model.layer0.weight\", "
              "\"model.layer0.options\"");
}

TEST(StateDict, AddPutsInAllOrNothing) {
    StateDict a, b;
    a.put_scalar("p.y", 1.0);
    b.put_scalar("x", 2.0);
    b.put_scalar("y", 3.0);
    EXPECT_EQ(value_error([&] { a.add("p", b); }), "[StateDict] the name \"p.y\" is taken");
    EXPECT_EQ(a.size(), 1u);
    a.add("q", a);
    EXPECT_EQ(a.size(), 2u);
    EXPECT_EQ(a.scalar<double>("q.p.y"), 1.0);
}

TEST(StateDict, WithoutLeavesOneOut) {
    StateDict dict;
    dict.put_scalar("a", 1.0);
    dict.put_scalar("b", 2.0);
    const StateDict rest = dict.without("a");
    EXPECT_EQ(rest.size(), 1u);
    EXPECT_EQ(rest.scalar<double>("b"), 2.0);
    EXPECT_THROW(dict.without("c"), unroll::ValueError);
}

TEST(StateDict, EqualityIsOfBitsAndNotOfOrder) {
    StateDict a, b;
    a.put_scalar("x", std::nan(""));
    a.put_json("j", {1, 2});
    b.put_json("j", {1, 2});
    b.put_scalar("x", std::nan(""));
    EXPECT_EQ(a, b);
    StateDict c, d, e;
    c.put_scalar("x", 0.0);
    d.put_scalar("x", -0.0);
    e.put_scalar("x", 0.0f);
    EXPECT_FALSE(c == d);
    EXPECT_FALSE(c == e);
    EXPECT_FALSE(a == c);
}

TEST(StateDict, CopiesShareBytesThatNeverChange) {
    std::vector<double> values{1, 2, 3};
    StateDict dict;
    dict.put("x", StoredTensor(std::span<const double>(values), Shape{3}));
    values[0] = 9;
    const StateDict copy = dict;
    EXPECT_EQ(dict.tensor<double>("x")(0), 1.0);
    EXPECT_EQ(copy.stored("x").bytes().data(), dict.stored("x").bytes().data());
}

TEST(StoredTensor, CountsMustFitTheShape) {
    const std::vector<float> values(5);
    EXPECT_EQ(shape_error([&] {
                  StoredTensor(std::span<const float>(values), Shape{2, 3});
              }),
              "[StoredTensor] 5 values do not have the shape; got (2, 3)");
    EXPECT_EQ(shape_error([&] {
                  StoredTensor(DType::f32, Shape{2, 3}, nullptr, 20);
              }),
              "[StoredTensor] 20 bytes are not what F32 asks for; got (2, 3)");
    const Index huge = Index{1} << 40;
    EXPECT_THROW(StoredTensor(DType::f32, (Shape{huge, huge}), nullptr, 0), unroll::ShapeError);
}

TEST(DTypes, NamesAreInverses) {
    for (const char* name :
         {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}) {
        ASSERT_TRUE(unroll::dtype_of(name)) << name;
        EXPECT_EQ(unroll::to_string(*unroll::dtype_of(name)), name);
    }
    EXPECT_EQ(unroll::dtype_of("F8_E4M3"), std::nullopt);
    EXPECT_EQ(unroll::dtype_of("f32"), std::nullopt);
}

TEST(InQuotes, OneShortLineWhateverTheText) {
    EXPECT_EQ(unroll::detail::in_quotes("a\nb\x1b[2J\x7f\xC2\x9B"), "\"a\\u000ab\\u001b[2J\\u007f\\u009b\"");
    EXPECT_EQ(unroll::detail::in_quotes("größe 三"), "\"größe 三\"");
    const std::string shown = unroll::detail::in_quotes(std::string(99, 'x') + "三三");
    EXPECT_EQ(shown, "\"" + std::string(99, 'x') + "三…\"");
}

}  // namespace
