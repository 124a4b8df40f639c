// Data parallelism: errors, and the same bits for any number of threads.
#include <unroll/autograd/ops.hpp>
#include <unroll/autograd/parallel.hpp>

#include "../support/threads_as_before.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace unroll {
namespace {

TEST(DataParallel, CutDependsOnTheBatch) {
    const ParameterStore<float> store;
    for (const Index batch : {1, 7, 16, 31}) EXPECT_EQ(shard_count(store, batch), 1);
    for (const Index batch : {32, 50, 63}) EXPECT_EQ(shard_count(store, batch), 2);
    for (const Index batch : {64, 128, 1000}) {
        EXPECT_GE(batch / shard_count(store, batch), 16);
        EXPECT_LE(shard_count(store, batch), 8);
    }
}

TEST(DataParallel, GradientsAreThoseOfTheWholeBatchAndTheSameBitsForAnyNumberOfThreads) {
    const test::ThreadsAsBefore restore;
    constexpr Index kBatch = 50;
    const auto draw = [](std::span<float> v, const Shape&, RandomStream& random) {
        for (float& x : v) x = static_cast<float>(random.normal());
    };
    RandomStream random(5, "input");
    Tensor<float> x = empty<float>({kBatch, 6});
    for (float& v : x.storage()) v = static_cast<float>(random.normal());
    const auto gradient = [&](Index threads) {
        set_num_threads(threads);
        ParameterStore<float> store(3);
        const Scope<float> at(store);
        const auto w = at.parameter("w", {6, 4}, draw);
        RandomStream& mask = at.random("mask");
        DataParallel<float> parallel(store);
        std::vector<float> result;
        for (int step = 0; step < 3; ++step) {
            store.zero_grad();
            const float loss = parallel.backward(kBatch, [&](Shard s) {
                const Var<float> rows = slice(Var<float>(x), 0, s.begin, s.end);
                const Var<float> y = tanh(linear<float>(rows, w));
                const auto call = static_cast<double>(mask.next_call() % 97);
                return sum(y * y) * ((1.0 + call / 97.0) / kBatch);
            });
            result.push_back(loss);
            const Tensor<float> g = w.gradient();
            result.insert(result.end(), g.begin(), g.end());
        }
        return result;
    };
    const std::vector<float> one = gradient(1);
    for (const Index threads : {2, 3, 5}) EXPECT_EQ(gradient(threads), one);
}

TEST(DataParallel, ErrorInOnePartLeavesTheStoreUsable) {
    ParameterStore<double> store(3);
    const Scope<double> at(store);
    const auto w = at.parameter("w", {2, 2}, [](std::span<double> v, const Shape&, RandomStream&) {
        for (double& x : v) x = 1;
    });
    DataParallel<double> parallel(store);
    EXPECT_THROW(parallel.backward(64,
                                   [&](Shard s) -> Var<double> {
                                       if (s.number == 1) throw ValueError("part");
                                       return sum(w * w);
                                   }),
                 ValueError);
    store.zero_grad();
    EXPECT_NO_THROW(parallel.backward(64, [&](Shard) { return sum(w * w); }));
    EXPECT_EQ(w.gradient()(0, 0), 2.0 * static_cast<double>(shard_count(store, 64)));
}

}  // namespace
}  // namespace unroll
