// Large embeddings: zeroing, accumulating and clipping gradients touches the rows that were used and no others.
#include "support.hpp"

#include <unroll/autograd/ops.hpp>
#include <unroll/optim/clip.hpp>
#include <unroll/tests/support/temporary_folder.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>

#include <sys/mman.h>
#include <unistd.h>

namespace unroll::test {
namespace {

constexpr Index kWidth = 32;

/// A table of V rows, of which `used` at equal distances get a gradient, two times each.
struct Table {
    std::unique_ptr<ParameterStore<float>> store;
    IntTensor tokens;
    Tensor<float> upstream;

    Table(Index vocabulary, Index used)
        : store(make_store<float>({{"embed.weight", Shape{vocabulary, kWidth}}})),
          tokens(IntTensor::from_shape({static_cast<std::size_t>(2 * used)})),
          upstream(full<float>(Shape{2 * used, kWidth}, 0.25f)) {
        for (Index i = 0; i < 2 * used; ++i) tokens(i) = i % used * (vocabulary / used) + vocabulary / used / 2;
    }

    const detail::ParameterEntry<float>& weight() const { return *store->entries()[0]; }

    /// What a training step does with gradients, the optimiser apart. @returns its time in seconds
    double gradient_part() {
        Tape<float> tape;
        const Var<float> rows = embedding<float>(store->at("embed.weight"), tokens);
        const auto begin = std::chrono::steady_clock::now();
        store->zero_grad();
        tape.backward({&rows, 1}, {&upstream, 1});
        norm = clip_grad_norm(*store, 0.5);
        clip_grad_value(*store, 0.01);
        store->gradients().apply_outstanding();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    double norm = 0;
};

TEST(UsedRows, GradientNormAndClippingAreThoseOfADenseGradient) {
    Table table(1000, 10);
    table.gradient_part();
    EXPECT_EQ(table.store->gradients().state(table.weight()), Gradients<float>::State::rows);
    EXPECT_NEAR(table.norm, 0.5 * std::sqrt(10.0 * kWidth), 1e-5);  // each element got 0.25 twice
    const std::vector<double> got = gradients_of(*table.store);
    for (Index row = 0; row < 1000; ++row)
        for (Index i = 0; i < kWidth; ++i)
            EXPECT_EQ(got[static_cast<std::size_t>(row * kWidth + i)], row % 100 == 50 ? static_cast<double>(0.01f) : 0)
                << row;
    table.store->zero_grad();
    for (const double g : gradients_of(*table.store)) EXPECT_EQ(g, 0);
}

TEST(UsedRows, AnOptimizerSeesADenseGradientWithZeros) {
    const auto run = [](bool rows) {
        Table table(100, 5);
        Adam<float> adam(*table.store, {.lr = 0.1, .weight_decay = 0.01});
        for (int step = 0; step < 4; ++step) {
            table.gradient_part();
            if (!rows) {
                std::vector<float> dense;
                for (const double g : gradients_of(*table.store)) dense.push_back(static_cast<float>(g));
                table.store->zero_grad();
                table.store->gradients().add_dense(table.weight(), dense.data());
            }
            adam.step();
        }
        return values_of(*table.store);
    };
    EXPECT_EQ(run(true), run(false));
}

// The pages of the whole gradient are taken away: whatever touches one ends the process.
TEST(UsedRows, NothingTouchesTheWholeGradient) {
    constexpr Index kVocabulary = 100000, kUsed = 20;
    const auto runs = [&](const auto& afterwards) {
        Table table(kVocabulary, kUsed);
        table.gradient_part();
        const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
        const float* gradient = table.store->gradients().raw(table.weight());
        const auto begin = (reinterpret_cast<std::uintptr_t>(gradient) + page - 1) / page * page;
        const auto end = reinterpret_cast<std::uintptr_t>(gradient + kVocabulary * kWidth) / page * page;
        table.store->gradients().pack();
        if (::mprotect(reinterpret_cast<void*>(begin), end - begin, PROT_NONE) != 0) return false;
        for (int step = 0; step < 3; ++step) table.gradient_part();
        clip_grad_norm(*table.store, 0.1, {.norm_type = std::numeric_limits<double>::infinity()});
        Gradients<float> sum(*table.store);
        sum.add(table.store->gradients());
        table.store->zero_grad();
        table.gradient_part();
        afterwards(table);
        return true;
    };
    EXPECT_TRUE(holds_in_child([&] { return runs([](Table&) {}); }));
    EXPECT_FALSE(
        holds_in_child([&] { return runs([](Table& table) { table.store->gradients().raw(table.weight()); }); }));
}

// What raw() shows comes and goes with the rows, also after dense gradients left something there.
TEST(UsedRows, TheWholeGradientIsRightInAnyOrderOfCalls) {
    Table table(1000, 10);
    Gradients<float>& gradients = table.store->gradients();
    const auto expect_whole = [&](float used, float other) {
        const float* g = gradients.raw(table.weight());
        for (Index row = 0; row < 1000; ++row) ASSERT_EQ(g[row * kWidth + 5], row % 100 == 50 ? used : other) << row;
    };
    const auto add_rows = [&] {
        gradients.add_rows(table.weight(), table.tokens.data(), table.upstream.data(), 20, kWidth);
    };
    const std::vector<float> dense(1000 * kWidth, 3.0f);
    add_rows();
    expect_whole(0.5f, 0);
    add_rows();  // while the rows are spread
    expect_whole(1.0f, 0);
    gradients.scale_by(0.5);
    gradients.apply_outstanding();
    expect_whole(0.5f, 0);
    gradients.pack();
    expect_whole(0.5f, 0);
    gradients.add_dense(table.weight(), dense.data());
    expect_whole(3.5f, 3);
    add_rows();
    expect_whole(4.0f, 3);
    gradients.zero();
    add_rows();  // the block still holds the dense gradient
    EXPECT_EQ(gradients.state(table.weight()), Gradients<float>::State::rows);
    expect_whole(0.5f, 0);
    gradients.zero();
    gradients.data(table.weight())[5] = 7;  // written without having arrived: what arrives is added
    EXPECT_FALSE(gradients.has(table.weight()));
    add_rows();
    EXPECT_EQ(gradients.raw(table.weight())[5], 7);
    gradients.data(table.weight())[5] = 0;
    expect_whole(0.5f, 0);
    gradients.data(table.weight())[5] = 7;  // written into a gradient that has
    EXPECT_EQ(gradients.state(table.weight()), Gradients<float>::State::dense);
    EXPECT_EQ(gradients.raw(table.weight())[5], 7);
    Gradients<float> sum(*table.store);
    sum.add_rows(table.weight(), table.tokens.data(), table.upstream.data(), 20, kWidth);
    gradients.zero();
    add_rows();
    sum.add(gradients);
    EXPECT_EQ(sum.state(table.weight()), Gradients<float>::State::rows);
    EXPECT_EQ(sum.raw(table.weight())[50 * kWidth], 1.0f);
}

// Tokens anywhere in the table, others in every run; the fastest of many runs in turns, since noise only ever adds.
TEST(UsedRowsSpeed, AMillionRowsCostAtMostTwiceTenThousand) {
    constexpr Index kUsed = 800;
    Table small(10000, kUsed), large(1000000, kUsed);
    RandomStream random(3);
    double of_small = 1e9, of_large = 1e9;
    for (int run = 0; run < 200; ++run) {
        for (Index i = 0; i < 2 * kUsed; ++i) {
            small.tokens(i) = random.below(10000);
            large.tokens(i) = random.below(1000000);
        }
        const double s = small.gradient_part(), l = large.gradient_part();
        if (run < 3) continue;
        of_small = std::min(of_small, s);
        of_large = std::min(of_large, l);
    }
    RecordProperty("microseconds_of_10000_rows", std::to_string(of_small * 1e6));
    RecordProperty("microseconds_of_1000000_rows", std::to_string(of_large * 1e6));
    EXPECT_LE(of_large, 2 * of_small);
}

}  // namespace
}  // namespace unroll::test
