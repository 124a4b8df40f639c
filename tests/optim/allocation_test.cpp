// After the first steps nothing of optim/ takes memory from the heap, on one thread or on several.
#include "allocation_counter.hpp"
#include "support.hpp"

#include <unroll/autograd/parallel.hpp>
#include <unroll/optim/average.hpp>
#include <unroll/optim/clip.hpp>
#include <unroll/optim/schedule.hpp>

#include <gtest/gtest.h>

#include <limits>
#include <new>

namespace unroll::test {
namespace {

struct Taken {
    std::int64_t reserved = memory_use().reserved;  // first: looking may itself allocate, once
    std::int64_t calls = allocation_count();
};

TEST(Allocation, TheCounterSeesAllocations) {
    const std::int64_t before = allocation_count();
    ::operator delete(::operator new(100));  // as calls, which compilers may not leave out
    EXPECT_EQ(allocation_count(), before + 1);
}

template <class Real>
void expect_no_allocation(Index copies) {
    for (const nlohmann::json& test : golden_optimizers().at("cases")) {
        SCOPED_TRACE(title_of(test));
        Problem<Real> problem(copies);
        ParameterStore<Real>& store = *problem.store;
        problem.next_gradients();
        std::vector<std::vector<Real>> gradients;
        for (const auto* entry : store.entries())
            gradients.emplace_back(store.gradients().data(*entry),
                                   store.gradients().data(*entry) + entry->shape.size());
        const auto optimizer = make_optimizer<Real>(store, test);
        ExponentialMovingAverage<Real> average(store);
        WarmupCosineLR schedule(*optimizer, {.warmup_steps = 3, .total_steps = 20});
        ReduceLROnPlateau plateau(*optimizer);
        const auto step = [&](int n) {
            optimizer->zero_grad();
            for (const auto* entry : store.entries())
                store.gradients().add_dense(*entry, gradients[entry->number].data());
            clip_grad_norm(store, 0.5);
            clip_grad_norm(store, 0.4, {.norm_type = std::numeric_limits<double>::infinity()});
            clip_grad_value(store, 0.1);
            optimizer->step();
            average.update();
            schedule.step();
            plateau.step(n);
        };
        for (int n = 0; n < 3; ++n) step(n);
        const Taken before;
        for (int n = 0; n < 5; ++n) step(n);
        const Taken after;
        EXPECT_EQ(after.calls, before.calls);
        EXPECT_EQ(after.reserved, before.reserved);
    }
}

TEST(Allocation, NoneInASteadyStep) {
    expect_no_allocation<float>(5);
    expect_no_allocation<double>(5);
}

TEST(Allocation, NoneInASteadyStepOnThreads) {
    const Index before = num_threads();
    set_num_threads(3);
    expect_no_allocation<float>(50000);
    set_num_threads(before);
}

}  // namespace
}  // namespace unroll::test
