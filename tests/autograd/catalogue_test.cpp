// The sweep over the catalogue: every sample row of every op, in every way that its operands can come.
#include <unroll/autograd/catalogue.hpp>
#include <unroll/tests/support/source_folder.hpp>

#include "catalogue/sweep.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>

namespace unroll {

namespace test {

const Samples& all_samples() {
    static const Samples samples = [] {
        Samples s;
        elementwise_samples(s);
        product_samples(s);
        reduction_samples(s);
        shape_samples(s);
        choosing_samples(s);
        normalised_samples(s);
        loss_samples(s);
        return s;
    }();
    return samples;
}

}  // namespace test

namespace {

using namespace test;

void expect_gradients(const Sample& sample, const Sizes& sizes, const Feed& feed, GradcheckOptions options) {
    auto function = checked(sample, sizes, feed);
    const GradcheckResult result = detail::gradcheck(function, options);
    EXPECT_TRUE(result) << title(sample) << "\n" << to_string(result);
}

/// Dual numbers alone: exact, and a fifth of the time.
GradcheckOptions exactly(const Sample& sample) { return {.check_differences = false, .allow_empty = sample.flat}; }

const std::vector<Sample>& right() { return test::all_samples().right; }

TEST(Catalogue, EveryRow) {
    for (const Sample& sample : right())
        expect_gradients(sample, test::usual_sizes(), {}, {.second_order = true, .allow_empty = sample.flat});
}

TEST(Catalogue, EveryArgumentPositionBesideConstants) {
    for (const Sample& sample : right()) {
        const std::size_t n = sample.operands.size();
        for (unsigned subset = 1; subset + 1 < 1u << n; ++subset) {
            std::vector<bool> constant(n);
            for (std::size_t i = 0; i < n; ++i) constant[i] = !(subset >> i & 1);
            SCOPED_TRACE("operands " + std::to_string(subset));
            expect_gradients(sample, test::usual_sizes(), {.constant = constant}, exactly(sample));
        }
    }
}

TEST(Catalogue, SameVariableTwice) {
    std::set<std::string_view> met;
    for (const Sample& sample : right()) {
        const auto& operands = sample.operands;
        for (std::size_t i = 0; i < operands.size(); ++i)
            for (std::size_t j = i + 1; j < operands.size(); ++j) {
                if (operands[i].shape != operands[j].shape) continue;
                Feed feed;
                for (std::size_t k = 0; k < operands.size(); ++k) feed.leaf.push_back(k == j ? i : k);
                SCOPED_TRACE("operand " + std::to_string(i) + " is operand " + std::to_string(j));
                // x − x and its like have no influence.
                expect_gradients(sample, test::usual_sizes(), feed, {.second_order = true, .allow_empty = true});
                met.insert(sample.op);
            }
    }
    for (const char* op : {"mul", "matmul", "linear", "add_linear", "concat", "stack", "where", "mse_loss"})
        EXPECT_TRUE(met.contains(op)) << op;
}

TEST(Catalogue, OperandsThatAreHandedOver) {
    for (const Sample& sample : right()) {
        expect_gradients(sample, test::usual_sizes(), {.give = true}, exactly(sample));
        // With and without a tape the memory of an operand may be taken over; values are the same bits.
        const auto kept = test::outputs_of<double>(sample, test::usual_sizes());
        const auto given = test::outputs_of<double>(sample, test::usual_sizes(), {.give = true});
        ASSERT_EQ(kept.size(), given.size());
        for (std::size_t k = 0; k < kept.size(); ++k) EXPECT_EQ(kept[k].value(), given[k].value()) << title(sample);
    }
}

TEST(Catalogue, OperandsThatAreParameters) {
    for (const Sample& sample : right())
        expect_gradients(sample, test::usual_sizes(), {.parameters = true}, exactly(sample));
}

TEST(Catalogue, OperandsAndResultsThatOthersReadToo) {
    for (const Sample& sample : right())
        expect_gradients(sample, test::usual_sizes(), {.read_elsewhere = true}, exactly(sample));
}

TEST(Catalogue, TransposedOperands) {
    for (const Sample& sample : right())
        expect_gradients(sample, test::usual_sizes(), {.transposed = true}, exactly(sample));
}

TEST(Catalogue, SizesZeroAndOne) {
    std::set<char> seen;
    for (const Sample& sample : right()) {
        std::set<char> letters;
        for (const test::Operand& operand : sample.operands)
            for (const char c : operand.shape)
                if (c > '9') letters.insert(c);
        for (const char letter : letters)
            for (const Index size : {0, 1}) {
                const std::string change = letter + std::to_string(size);
                SCOPED_TRACE(change);
                Sizes sizes = test::usual_sizes();
                sizes[letter] = size;
                if (sample.refused.find(change) != std::string_view::npos) {
                    EXPECT_THROW(test::outputs_of<double>(sample, sizes), Error) << title(sample);
                } else if (sample.undefined.find(change) != std::string_view::npos) {
                    for (const Var<double>& y : test::outputs_of<double>(sample, sizes))
                        for (Index i = 0; i < y.size(); ++i) EXPECT_FALSE(std::isfinite(y.data()[i])) << title(sample);
                } else {
                    auto options = exactly(sample);
                    options.allow_empty = true;
                    expect_gradients(sample, sizes, {}, options);
                    expect_gradients(sample, sizes, {.give = true}, options);
                }
            }
    }
}

TEST(Catalogue, Broadcasting) {
    constexpr std::pair<std::string_view, std::string_view> kShapes[] = {
        {"TBI", "BI"}, {"TBI", "1I"}, {"TBI", "B1"}, {"TBI", "T11"}, {"B1", "I"},     {"1I", "B1"}, {"", "BI"},
        {"I", "TBI"},  {"11", "I"},   {"T1I", "B1"}, {"", ""},       {"K1BI", "T1I"}, {"TBI", "I"}, {"1", "TBI"},
    };
    std::set<std::string_view> met;
    for (const Sample& sample : right()) {
        const bool elementwise = std::any_of(catalogue().begin(), catalogue().end(), [&](const CatalogueEntry& entry) {
            return entry.name == sample.op && entry.family == "elementwise";
        });
        if (!elementwise || sample.operands.size() != 2 || sample.op == "pointwise") continue;
        for (const auto& [a, b] : kShapes) {
            Sample other = sample;
            other.operands[0].shape = a;
            other.operands[1].shape = b;
            SCOPED_TRACE(std::string(a) + " and " + std::string(b));
            auto options = exactly(sample);
            options.allow_empty = a.empty() && b.empty();  // the smaller of two scalars has no influence on the larger
            expect_gradients(other, test::usual_sizes(), {}, options);
            expect_gradients(other, test::usual_sizes(), {.give = true}, options);
        }
        met.insert(sample.op);
    }
    for (const char* op : {"add", "sub", "mul", "div", "pow", "maximum", "minimum"})
        EXPECT_TRUE(met.contains(op)) << op;
}

TEST(Catalogue, FloatFollowsDouble) {
    for (const Sample& sample : right()) {
        auto function = checked(sample, test::usual_sizes());
        const GradcheckResult result = detail::compare_float_double(function, {.epsilons = sample.epsilons});
        EXPECT_TRUE(result) << title(sample) << "\n" << to_string(result);
    }
}

// ---- What is refused ----

std::vector<Shape> shapes_of(const std::vector<test::Operand>& operands) {
    std::vector<Shape> shapes;
    for (const test::Operand& operand : operands)
        shapes.push_back(test::shape_from(operand.shape, test::usual_sizes()));
    return shapes;
}

TEST(Catalogue, WrongCallsAreRefusedAndChangeNothing) {
    for (const WrongCall& call : test::all_samples().wrong) {
        const auto shapes = shapes_of(call.operands);
        for (const bool give : {false, true}) {
            EXPECT_EQ(test::refusal<float>(call.op, shapes, call.operands, call.function, give), "")
                << call.op << ": " << call.what;
            EXPECT_EQ(test::refusal<double>(call.op, shapes, call.operands, call.function, give), "")
                << call.op << ": " << call.what;
        }
    }
}

TEST(Catalogue, OtherShapesAreTakenOrRefusedAndThenChangeNothing) {
    Index refusals = 0;
    for (const Sample& sample : right()) {
        const auto usual = shapes_of(sample.operands);
        for (std::size_t i = 0; i < usual.size(); ++i) {
            std::vector<Shape> others{usual[i].inserted(0, 2)};
            if (usual[i].rank() > 0) others.push_back(usual[i].erased(0));
            for (std::size_t axis = 0; axis < usual[i].rank(); ++axis) {
                others.push_back(usual[i].replaced(axis, usual[i][axis] + 1));
                others.push_back(usual[i].replaced(axis, usual[i][axis] + 7));
            }
            for (const Shape& other : others) {
                auto shapes = usual;
                shapes[i] = other;
                bool refused = false;
                EXPECT_EQ(test::refusal_or_success<double>(sample.op, shapes, sample.operands, sample.function, false,
                                                           refused),
                          "")
                    << title(sample) << " with operand " << i << " " << to_string(other);
                refusals += refused;
            }
        }
    }
    EXPECT_GT(refusals, 100);
}

/// Changes the tape, the random stream or an operand, and throws then.
template <class Change>
test::GenericFunction careless(Change change) {
    return [change](auto& x) {
        change(x);
        detail::fail_value("careless", "too late");
        return x[0];
    };
}

TEST(Catalogue, RefusalsThatComeTooLateAreSeen) {
    const std::vector<test::Operand> operands{{"BI"}};
    const auto refusal = [&](const test::GenericFunction& function) {
        return test::refusal<double>("careless", shapes_of(operands), operands, function, false);
    };
    EXPECT_EQ(refusal(careless([](auto&) {})), "");
    EXPECT_EQ(refusal(careless([](auto& x) { x[0] * 2; })), "1 nodes more on the tape\n");
    EXPECT_EQ(refusal(careless([](auto& x) { x.random->uniform(); })), "the random stream has moved\n");
    EXPECT_EQ(refusal(careless([](auto& x) { x[0].internal()->data[2] = 7; })), "operand 0 has other elements\n");
    EXPECT_EQ(refusal([](auto& x) { return x[0] * 2; }), "was not refused");
    EXPECT_THAT(refusal([](auto& x) { return (detail::fail_value("other", "x"), x[0]); }),
                testing::HasSubstr("does not begin with"));
    EXPECT_THAT(refusal([](auto& x) { return (throw std::bad_alloc(), x[0]); }),
                testing::HasSubstr("not an unroll::Error"));
    EXPECT_THAT(refusal([](auto& x) { return (UNROLL_ASSERT(x.values.empty()), x[0]); }),
                testing::HasSubstr("a bug of ours"));
}

// ---- Nothing is left out ----

std::string text_of(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// The first group of all matches.
std::set<std::string> all_matches(const std::string& text, const char* pattern) {
    const std::regex regex(pattern);
    std::set<std::string> found;
    for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) found.insert((*at)[1]);
    return found;
}

std::set<std::string> catalogue_names() {
    std::set<std::string> names;
    for (const CatalogueEntry& entry : catalogue()) names.insert(std::string(entry.name));
    EXPECT_EQ(names.size(), catalogue().size()) << "an op is listed twice";
    return names;
}

const std::filesystem::path kAutograd = test::source_file("autograd");

TEST(Catalogue, ListsWhatTheHeadersDeclare) {
    const std::string ops = text_of(kAutograd / "ops.hpp"), elementwise = text_of(kAutograd / "ops/elementwise.hpp");
    std::set<std::string> declared = all_matches(
        ops + elementwise, R"(\n(?:Var<Real>|Vars<Real>|Tensor<Real>|IntTensor|detail::PairVar<A, B>) (\w+)\()");
    declared.merge(all_matches(elementwise, R"(\nUNROLL_BINARY\((\w+),)"));
    declared.erase("function");  // the macro's own parameter
    for (const char* symbol : {"operator", "binary", "choose"}) declared.erase(symbol);
    declared.insert("pointwise");
    EXPECT_GT(declared.size(), 60u) << "the declarations have taken another form";
    EXPECT_EQ(catalogue_names(), declared);
}

/// Ops that are no function of operands alone, and the test that checks the gradient of each instead of sample rows.
const std::map<std::string, std::pair<std::string, std::string>> kCheckedElsewhere = {
    {"checkpoint", {"tests/autograd/checkpoint_test.cpp", "TEST(Checkpoint, GradientsAreRight)"}},
    {"enter_loop",
     {"tests/layers/recurrent_test.cpp", "TEST(Recurrent, GradientsAreRightForEveryScheduleOfAUsersCell)"}},
    {"pack_padded_sequence", {"tests/layers/packed_test.cpp", "TEST(Packed, GradientsAreThoseOfTheRowsThatWereTaken)"}},
    {"pad_packed_sequence", {"tests/layers/packed_test.cpp", "TEST(Packed, GradientsAreThoseOfTheRowsThatWereTaken)"}},
};

TEST(Catalogue, ListsTheNameOfEveryOpStruct) {
    std::set<std::string> names;
    for (const char* folder : {"autograd", "layers", "optim", "data", "io", "train"})
        for (const auto& file : std::filesystem::recursive_directory_iterator(test::source_file(folder))) {
            if (file.path().extension() != ".cpp") continue;
            for (const std::string& line :
                 all_matches(text_of(file.path()), R"(static constexpr std::string_view name = ([^;]*);)"))
                names.merge(all_matches(line, "\"(\\w+)\""));
        }
    EXPECT_GT(names.size(), 20u) << "the structs have taken another form";
    const auto listed = catalogue_names();
    for (const std::string& name : names)
        EXPECT_NE(listed.contains(name), kCheckedElsewhere.contains(name)) << name << " is not in catalogue.cpp";
    for (const auto& [name, where] : kCheckedElsewhere) {
        EXPECT_TRUE(names.contains(name)) << "there is no op " << name;
        EXPECT_THAT(text_of(test::source_file(where.first)), testing::HasSubstr(where.second));
    }
}

TEST(Catalogue, EveryOpHasRowsThatRecordItAndWrongCalls) {
    const auto listed = catalogue_names();
    std::map<std::string, std::set<std::string>> recorded;  // by op
    std::set<std::string> with_wrong_calls, of_one_operand;
    for (const Sample& sample : right()) {
        EXPECT_TRUE(listed.contains(std::string(sample.op))) << sample.op << " is not in catalogue.cpp";
        auto& names = recorded[std::string(sample.op)];
        for (const std::string& name : test::recorded_names(sample)) {
            names.insert(name);
            EXPECT_TRUE(listed.contains(name))
                << title(sample) << " records " << name << ", which is not in catalogue.cpp";
        }
        if (sample.operands.size() == 1) of_one_operand.insert(std::string(sample.op));
    }
    for (const WrongCall& call : test::all_samples().wrong) with_wrong_calls.insert(std::string(call.op));
    for (const CatalogueEntry& entry : catalogue()) {
        const std::string name(entry.name);
        ASSERT_TRUE(recorded.contains(name)) << name << " has no sample row in tests/autograd/catalogue/";
        EXPECT_EQ(recorded[name].contains(name), entry.recorded) << name;
        // An elementwise function of one operand takes any shape.
        if (entry.family == "elementwise" && of_one_operand.contains(name)) continue;
        EXPECT_TRUE(with_wrong_calls.contains(name)) << name << " has no wrong call in tests/autograd/catalogue/";
    }
}

TEST(Catalogue, EntriesSayWhatTheyAre) {
    for (const CatalogueEntry& entry : catalogue()) {
        EXPECT_FALSE(entry.family.empty()) << entry.name;
        EXPECT_FALSE(entry.formula.empty()) << entry.name;
    }
}

}  // namespace
}  // namespace unroll
