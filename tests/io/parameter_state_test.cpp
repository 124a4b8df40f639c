// A store's state as a StateDict: names, axes, ties, streams, and stores that stay as they were when a load fails.
#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/parameter.hpp>
#include <unroll/io/state_dict.hpp>
#include <unroll/tests/support/error_message.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

namespace {

using unroll::Index;
using unroll::LoadOptions;
using unroll::LoadReport;
using unroll::ParameterStore;
using unroll::Scope;
using unroll::Shape;
using unroll::StateDict;
using unroll::Tensor;
using unroll::test::error_message;

template <class Real>
void draw(std::span<Real> values, const Shape&, unroll::RandomStream& random) {
    for (Real& value : values) value = Real(random.normal());
}

/// A store with a matrix that files hold transposed, one that they do not, a bias, a scalar, and a random stream.
template <class Real>
std::unique_ptr<ParameterStore<Real>> model(std::uint64_t seed) {
    auto store = std::make_unique<ParameterStore<Real>>(seed);
    Scope<Real> at(*store);
    (at / "rnn").parameter("weight_ih_l0", Shape{3, 5}, draw<Real>, true);
    (at / "embed").parameter("weight", Shape{7, 2}, draw<Real>);
    (at / "rnn").parameter("bias_ih_l0", Shape{5}, draw<Real>);
    at.parameter("scale", Shape{}, draw<Real>);
    (at / "drop").random("mask");
    return store;
}

template <class Real>
std::vector<double> values(const ParameterStore<Real>& store) {
    std::vector<double> all;
    for (const auto* entry : store.entries())
        for (Index i = 0; i < entry->shape.size(); ++i) all.push_back(static_cast<double>(entry->value->data[i]));
    return all;
}

template <class Real>
std::vector<std::uint64_t> versions(const ParameterStore<Real>& store) {
    std::vector<std::uint64_t> all;
    for (const auto* entry : store.entries()) all.push_back(entry->version->number);
    return all;
}

/// `dict` with the tensor `name` replaced, or left out.
StateDict changed(const StateDict& dict, const std::string& name, const Tensor<double>* tensor) {
    StateDict out = dict.without(name);
    if (tensor) out.put(name, *tensor);
    return out;
}

template <class Real>
class ParameterStateOf : public ::testing::Test {};
using Reals = ::testing::Types<float, double, unroll::Dual<double>>;
TYPED_TEST_SUITE(ParameterStateOf, Reals);

TYPED_TEST(ParameterStateOf, SavesNamesInOrderAndTransposesByTheTag) {
    using Real = TypeParam;
    const auto store = model<Real>(1);
    const StateDict dict = unroll::state_dict(*store);
    std::vector<std::string> names;
    for (const auto& entry : dict.entries()) names.push_back(entry.name);
    EXPECT_EQ(names, (std::vector<std::string>{"rnn.weight_ih_l0", "embed.weight", "rnn.bias_ih_l0", "scale",
                                               "random_streams"}));
    const Tensor<Real> weight = dict.tensor<Real>("rnn.weight_ih_l0", Shape{5, 3});
    const Tensor<Real>& memory = store->at("rnn.weight_ih_l0").value();
    for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t j = 0; j < 5; ++j)
            EXPECT_EQ(static_cast<double>(weight(j, i)), static_cast<double>(memory(i, j)));
    EXPECT_EQ(dict.stored("embed.weight").shape(), (Shape{7, 2}));
    EXPECT_EQ(dict.stored("scale").shape(), Shape{});
}

TYPED_TEST(ParameterStateOf, ALoadRestoresEveryBitAndCountsAsAChange) {
    using Real = TypeParam;
    const auto from = model<Real>(1);
    const auto to = model<Real>(2);
    ASSERT_NE(values(*from), values(*to));
    const auto before = versions(*to);
    const LoadReport report = unroll::load_state_dict(*to, unroll::state_dict(*from));
    EXPECT_EQ(values(*from), values(*to));
    EXPECT_TRUE(report.missing.empty() && report.unexpected.empty());
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_GT(versions(*to)[i], before[i]);
    // What lies between the parameters of a block stays zero: optimisers run over the block as one.
    Index of_parameters = 0;
    for (const auto* entry : to->entries())
        for (Index i = 0; i < entry->shape.size(); ++i)
            of_parameters += static_cast<double>(entry->value->data[i]) != 0;
    Index of_block = 0;
    for (Index i = 0; i < to->block_size(); ++i) of_block += static_cast<double>(to->block_data()[i]) != 0;
    EXPECT_EQ(of_block, of_parameters);
}

TEST(ParameterState, LargeTransposesAreExact) {
    ParameterStore<float> from(1), to(2);
    Scope<float>(from).parameter("w", Shape{67, 129}, draw<float>, true);
    Scope<float>(to).parameter("w", Shape{67, 129}, draw<float>, true);
    const StateDict dict = unroll::state_dict(from);
    EXPECT_EQ(dict.tensor<float>("w", Shape{129, 67})(128, 66), from.at("w").value()(66, 128));
    unroll::load_state_dict(to, dict);
    EXPECT_EQ(values(from), values(to));
}

TEST(ParameterState, TheTwinOfAnotherNumberTypeLoadsUnlessConversionIsOff) {
    const auto wide = model<double>(1);
    const auto narrow = model<float>(2);
    unroll::load_state_dict(*narrow, unroll::state_dict(*wide));
    const auto expected = values(*wide);
    const auto found = values(*narrow);
    for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_EQ(found[i], static_cast<double>(static_cast<float>(expected[i])));
    const auto before = values(*wide);
    EXPECT_EQ(error_message<unroll::ValueError>(
                  [&] { unroll::load_state_dict(*wide, unroll::state_dict(*narrow), {.convert = false}); }),
              "[load_state_dict] rnn.weight_ih_l0 must be F64, it is F32, embed.weight must be F64, it is F32, "
              "rnn.bias_ih_l0 must be F64, it is F32, scale must be F64, it is F32; nothing was changed");
    EXPECT_EQ(values(*wide), before);
    StateDict integers = unroll::state_dict(*wide).without("scale");
    integers.put_scalar("scale", std::int64_t{1});
    EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::load_state_dict(*wide, integers); }),
              "[load_state_dict] scale must be F64, it is I64; nothing was changed");
}

TEST(ParameterState, EverythingWrongIsListedAndNothingIsChanged) {
    const auto store = model<double>(1);
    const auto before = values(*store);
    const auto versions_before = versions(*store);
    const StateDict good = unroll::state_dict(*model<double>(2));
    const auto message = [&](const StateDict& dict) {
        return error_message<unroll::ValueError>([&] { unroll::load_state_dict(*store, dict); });
    };
    const Tensor<double> wrong = unroll::zeros<double>(Shape{3, 5});
    EXPECT_EQ(message(changed(good, "scale", nullptr)), "[load_state_dict] missing: scale; nothing was changed");
    StateDict more = good;
    more.put("extra", wrong);
    EXPECT_EQ(message(more), "[load_state_dict] unexpected: \"extra\"; nothing was changed");
    const StateDict turned = changed(good, "rnn.weight_ih_l0", &wrong);
    EXPECT_EQ(
        error_message<unroll::ShapeError>([&] { unroll::load_state_dict(*store, turned); }),
        "[load_state_dict] of another shape: rnn.weight_ih_l0 (expected (5, 3), found (3, 5)); nothing was changed");
    StateDict all = changed(changed(turned, "scale", nullptr), "embed.weight", nullptr);
    all.put("extra", wrong);
    all.set_origin("m.safetensors");
    EXPECT_EQ(message(all),
              "[load_state_dict] 'm.safetensors': missing: embed.weight, scale; unexpected: \"extra\"; of "
              "another shape: rnn.weight_ih_l0 (expected (5, 3), found (3, 5)); nothing was changed");
    EXPECT_EQ(values(*store), before);
    EXPECT_EQ(versions(*store), versions_before);
}

TEST(ParameterState, LongListsAreCut) {
    ParameterStore<float> store;
    Scope<float> at(store);
    for (int i = 0; i < 20; ++i) at.parameter("p" + std::to_string(i), Shape{1}, draw<float>);
    EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::load_state_dict(store, StateDict()); }),
              "[load_state_dict] missing: p0, p1, p2, p3, p4, p5, p6, p7 and 12 more; nothing was changed");
}

TEST(ParameterState, NotStrictReportsWhatItLeftOut) {
    const auto store = model<double>(1);
    const auto from = model<double>(2);
    StateDict dict = unroll::state_dict(*from).without("scale");
    dict.put_scalar("extra", 1.0);
    const double scale = store->at("scale").value()();
    const LoadReport report = unroll::load_state_dict(*store, dict, {.strict = false});
    EXPECT_EQ(report.missing, std::vector<std::string>{"scale"});
    EXPECT_EQ(report.unexpected, std::vector<std::string>{"extra"});
    EXPECT_EQ(store->at("scale").value()(), scale);
    EXPECT_EQ(store->at("embed.weight").value()(6, 1), from->at("embed.weight").value()(6, 1));
    const Tensor<double> wrong = unroll::zeros<double>(Shape{4});
    EXPECT_THROW(unroll::load_state_dict(*store, changed(dict, "rnn.bias_ih_l0", &wrong), {.strict = false}),
                 unroll::ShapeError);
}

TEST(ParameterState, OtherJsonEntriesAreLeftAlone) {
    const auto store = model<double>(1);
    StateDict dict = unroll::state_dict(*model<double>(2));
    dict.put_json("options", {{"hidden", 5}});
    unroll::load_state_dict(*store, dict);
    StateDict instead = unroll::state_dict(*store).without("scale");
    instead.put_json("scale", 1.0);
    EXPECT_THROW(unroll::load_state_dict(*store, instead), unroll::ValueError);
}

template <class Real>
std::unique_ptr<ParameterStore<Real>> tied_model(std::uint64_t seed) {
    auto store = std::make_unique<ParameterStore<Real>>(seed);
    Scope<Real> at(*store);
    at.parameter("embed.weight", Shape{4, 3}, draw<Real>);
    at.parameter("bias", Shape{2}, draw<Real>);
    at.parameter("head.weight", Shape{4, 3}, draw<Real>);
    store->tie("head.weight", "embed.weight");
    return store;
}

TEST(ParameterState, TiedParametersAreSavedOnceOrUnderEachName) {
    const auto store = tied_model<float>(1);
    EXPECT_EQ(unroll::state_dict(*store).size(), 2u);
    EXPECT_FALSE(unroll::state_dict(*store).contains("head.weight"));
    const StateDict both = unroll::state_dict(*store, {.all_names = true});
    EXPECT_EQ(both.size(), 3u);
    EXPECT_EQ(both.stored("head.weight"), both.stored("embed.weight"));
    // Both are one piece of memory.
    EXPECT_EQ(both.stored("head.weight").bytes().data(), both.stored("embed.weight").bytes().data());
}

TEST(ParameterState, TiedParametersLoadFromAnyOfTheirNames) {
    const auto from = tied_model<float>(1);
    const StateDict both = unroll::state_dict(*from, {.all_names = true});
    for (const StateDict& dict : {both, both.without("head.weight"), both.without("embed.weight")}) {
        const auto to = tied_model<float>(2);
        unroll::load_state_dict(*to, dict);
        EXPECT_EQ(values(*to), values(*from));
    }
    const auto to = tied_model<float>(2);
    const auto before = values(*to);
    StateDict different = both.without("head.weight");
    different.put("head.weight", unroll::zeros<float>(Shape{4, 3}));
    EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::load_state_dict(*to, different); }),
              "[load_state_dict] embed.weight and head.weight are one parameter here and hold different values; "
              "nothing was changed");
    const StateDict none = both.without("head.weight").without("embed.weight");
    EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::load_state_dict(*to, none); }),
              "[load_state_dict] missing: embed.weight; nothing was changed");
    EXPECT_EQ(values(*to), before);
}

TEST(ParameterState, RandomStreamsGoOnWhereTheyWere) {
    const auto from = model<double>(1);
    for (int i = 0; i < 5; ++i) from->randoms().at("drop.mask").bits();
    const StateDict dict = unroll::state_dict(*from);
    const std::uint64_t next = from->randoms().at("drop.mask").bits();

    const auto to = model<double>(2);
    unroll::RandomStream& held_by_a_layer = to->randoms().at("drop.mask");
    unroll::load_state_dict(*to, dict);
    EXPECT_EQ(held_by_a_layer.seed(), 2u) << "weights alone leave the streams alone";
    unroll::load_state_dict(*to, dict, unroll::kResume);
    EXPECT_EQ(held_by_a_layer.bits(), next);
    EXPECT_FALSE(unroll::state_dict(*from, {.random_streams = false}).contains("random_streams"));
}

TEST(ParameterState, RandomStreamsOfAnotherModelAreRefused) {
    const auto store = model<double>(1);
    const StateDict weights = unroll::state_dict(*store, {.random_streams = false});
    const auto message = [&](const nlohmann::json* streams) {
        StateDict dict = weights;
        if (streams) dict.put_json("random_streams", *streams);
        return error_message<unroll::ValueError>([&] { unroll::load_state_dict(*store, dict, unroll::kResume); });
    };
    EXPECT_EQ(message(nullptr), "[load_state_dict] missing: random_streams; nothing was changed");
    const nlohmann::json other{{"other", {1, 2, 3}}};
    EXPECT_EQ(message(&other), "[load_state_dict] missing: random stream \"drop.mask\"; unexpected: random stream "
                               "\"other\"; nothing was changed");
    for (const char* text : {"[]", "3", R"({"drop.mask":[1,2]})", R"({"drop.mask":[1,2,-3]})", R"({"drop.mask":7})"}) {
        const nlohmann::json bad = nlohmann::json::parse(text);
        EXPECT_EQ(message(&bad), "[load_state_dict] random_streams is not an object of [seed, stream, counter]; "
                                 "nothing was changed")
            << text;
    }
    EXPECT_EQ(store->randoms().at("drop.mask").seed(), 1u);
}

TEST(ParameterState, FrozenParametersAreRestoredOnRequest) {
    const auto from = model<double>(1);
    from->freeze("embed");
    const StateDict dict = unroll::state_dict(*from);
    EXPECT_EQ(dict.json("frozen"), nlohmann::json::array({"embed.weight"}));
    const auto to = model<double>(2);
    to->freeze("rnn");
    unroll::load_state_dict(*to, dict);
    EXPECT_TRUE(to->at("rnn.bias_ih_l0").entry().frozen);
    unroll::load_state_dict(*to, dict, unroll::kResume);
    EXPECT_FALSE(to->at("rnn.bias_ih_l0").entry().frozen);
    EXPECT_TRUE(to->at("embed.weight").entry().frozen);
    StateDict bad = dict.without("frozen");
    bad.put_json("frozen", {"nobody"});
    EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::load_state_dict(*to, bad, unroll::kResume); }),
              "[load_state_dict] unexpected: frozen parameter \"nobody\"; nothing was changed");
    bad = dict.without("frozen");
    bad.put_json("frozen", 3);
    EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::load_state_dict(*to, bad, unroll::kResume); }),
              "[load_state_dict] frozen is not a list of names; nothing was changed");
}

TEST(ParameterState, CopyingATwinKeepsTheStreamsThatLayersHold) {
    const auto from = model<double>(1);
    from->randoms().at("drop.mask").bits();
    const auto to = model<float>(2);
    unroll::RandomStream& held_by_a_layer = to->randoms().at("drop.mask");
    to->copy_from(*from);
    EXPECT_EQ(held_by_a_layer.counter(), 1u);
    EXPECT_EQ(&held_by_a_layer, &to->randoms().at("drop.mask"));
}

}  // namespace
