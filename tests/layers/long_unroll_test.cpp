// Very long loops: depth costs memory that is counted, and no stack; windows of truncated backpropagation cost nothing that stays.
#include <unroll/layers/cells.hpp>
#include <unroll/layers/rnn.hpp>

#include <unroll/autograd/pool.hpp>
#include <unroll/tests/layers/layer_support.hpp>
#include <unroll/tests/support/build_kind.hpp>
#include <unroll/tests/support/temporary_folder.hpp>
#include <unroll/tests/support/test_size.hpp>

#include <fstream>

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace unroll {
namespace {

using test::by_test_size;
using test::filled;

constexpr std::size_t kStack = 256 * 1024;

/// Runs `body` on a thread with a stack of 256 KiB.
template <class Body>
void on_small_stack(Body body) {
    pthread_attr_t attributes;
    ASSERT_EQ(pthread_attr_init(&attributes), 0);
    ASSERT_EQ(pthread_attr_setstacksize(&attributes, kStack), 0);
    pthread_t thread;
    ASSERT_EQ(pthread_create(
                  &thread, &attributes,
                  [](void* given) -> void* {
                      (*static_cast<Body*>(given))();
                      return nullptr;
                  },
                  &body),
              0);
    ASSERT_EQ(pthread_join(thread, nullptr), 0);
    pthread_attr_destroy(&attributes);
}

/// Forward, backward and freeing over `steps` time steps of H = 8, B = 1. Returns the bytes per step at the peak.
template <class Cell, class... Arguments>
double unroll_and_back(Index steps, Arguments... arguments) {
    ParameterStore<float> store(1);
    const Recurrent<float, Cell> layer(Scope<float>(store), arguments...);
    reset_memory_peak();
    const std::int64_t before = memory_use().in_use;
    {
        const Var<float> x = filled<float>({steps, 1, 8}, 1);
        Tape<float> tape;
        const auto made = layer(x);
        tape.backward(test::weighed(made.output, 901));
    }
    EXPECT_LE(memory_use().in_use, before + 65536) << "all is freed";
    double largest = 0;
    for (const auto& [name, values] : test::gradients_of(store))
        for (const double g : values) {
            EXPECT_TRUE(std::isfinite(g)) << name;
            largest = std::max(largest, std::fabs(g));
        }
    EXPECT_GT(largest, 0);
    return static_cast<double>(memory_use().peak - before) / static_cast<double>(steps);
}

template <class Cell, class... Arguments>
void expect_long_unroll(const char* cell, Index steps, Arguments... arguments) {
    const double bytes = unroll_and_back<Cell>(steps, arguments...);
    std::printf("%s, %lld steps: %.0f bytes a step\n", cell, static_cast<long long>(steps), bytes);
    EXPECT_LE(bytes, 2048) << cell;
}

/// Steps of the normal and the long test; where everything is slow a few that show the same, whatever size is asked for.
Index steps_at_full_speed(Index in_normal, Index in_long) {
    return test::kFullSpeed ? by_test_size<Index>(2000, in_normal, in_long) : 2000;
}

TEST(LongUnroll, ManyStepsOnAThreadWithASmallStackTakeAtMost2KiBEach) {
    const Index million = steps_at_full_speed(1000000, 1000000), steps = steps_at_full_speed(100000, 1000000);
    on_small_stack([=] {
        const CellOptions options{.input_size = 8, .hidden_size = 8};
        expect_long_unroll<LSTMCell<float>>("LSTMCell", million, options);
        expect_long_unroll<RNNCell<float>>("RNNCell", steps, options);
        expect_long_unroll<GRUCell<float>>("GRUCell", steps, options);
    });
}

TEST(LongUnroll, ManyStepsOnTheMainThreadWithASmallStack) {
    // The main thread's limit is set when a program starts: this very program runs one of its tests again under it.
    constexpr const char* kAgain = "UNROLL_TEST_SMALL_STACK";
    const Index steps = steps_at_full_speed(1000000, 1000000);
    if (std::getenv(kAgain)) {
        rlimit limit{};
        ASSERT_EQ(getrlimit(RLIMIT_STACK, &limit), 0);
        ASSERT_EQ(limit.rlim_cur, kStack);
        expect_long_unroll<LSTMCell<float>>("LSTMCell", steps, CellOptions{.input_size = 8, .hidden_size = 8});
        return;
    }
    const int code = test::exit_code_of_child([&] {
        const rlimit limit{kStack, kStack};
        if (setrlimit(RLIMIT_STACK, &limit) != 0) return 100;
        setenv(kAgain, "1", 1);
        execl("/proc/self/exe", "unroll_test_layers",
              "--gtest_filter=LongUnroll.ManyStepsOnTheMainThreadWithASmallStack", nullptr);
        return 101;
    });
    EXPECT_EQ(code, 0);
}

TEST(LongUnroll, AUsersElementaryCellNeedsNoStackEither) {
    const Index steps = steps_at_full_speed(20000, 300000);
    on_small_stack([=] { unroll_and_back<test::UserCell<float>>(steps, Size(8), Size(8)); });
}

/// Bytes of this process in memory.
std::int64_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::int64_t pages = 0, resident = 0;
    statm >> pages >> resident;
    return resident * sysconf(_SC_PAGESIZE);
}

TEST(TruncatedBackpropagation, ManyWindowsTakeEqualNodesAndNoMemoryThatStays) {
    ::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);  // large pages are resident as a whole however little of them is used
    const Index windows = by_test_size<Index>(300, 10000, 10000);
    ParameterStore<float> store(1);
    const LSTM<float> rnn(Scope<float>(store) / "rnn",
                          {.input_size = 8, .hidden_size = 8, .num_layers = 2, .dropout = 0.2});
    const Linear<float> head(Scope<float>(store) / "head", {.in_features = 8, .out_features = 5});
    std::optional<LSTM<float>::State> state;
    Index nodes = 0;
    std::int64_t pool = 0, resident = 0;
    for (Index window = 0; window < windows; ++window) {
        const Var<float> x = filled<float>({10, 2, 8}, static_cast<std::uint64_t>(window));
        store.zero_grad();
        Tape<float> tape;
        auto made = rnn(x, std::move(state));
        const Var<float> loss = sum(head(made.output));
        if (window == 1) nodes = tape.node_count();
        if (window > 1) {
            ASSERT_EQ(tape.node_count(), nodes) << "window " << window;
        }
        tape.backward(loss);
        state = std::move(made.state);
        if (window == 100) {
            pool = memory_use().reserved;
            resident = resident_bytes();
        }
    }
    const double grown = static_cast<double>(memory_use().reserved - pool) / 1048576;
    const double resident_grown = static_cast<double>(resident_bytes() - resident) / 1048576;
    std::printf("%lld windows of %lld nodes: the pool grew by %.2f MiB, the process by %.2f MiB\n",
                static_cast<long long>(windows), static_cast<long long>(nodes), grown, resident_grown);
    EXPECT_LE(grown, 1.0);
#if !defined(__SANITIZE_ADDRESS__)
    EXPECT_LE(resident_grown, 1.0);
#endif
}

}  // namespace
}  // namespace unroll
