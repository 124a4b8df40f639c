// The vector executor of pointwise programs against the generic one, bit for bit where operations round exactly.
#include <algorithm>
#include <limits>

#include <pthread.h>

#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/kernels/fuse.hpp>
#include <unroll/autograd/kernels/pointwise_generic.hpp>

#include "../support/test_size.hpp"
#include "support.hpp"

namespace unroll::test {
namespace {

using detail::GenericIn;
using detail::GenericOut;
using detail::In;
using detail::Instruction;
using detail::Opcode;
using detail::operand_count;
using detail::Out;

/// A program with the operands it runs on: each input and output is a matrix in memory of its own, or an output stands
/// in the place of an input.
struct Case {
    std::int64_t rows = 0, cols = 0;
    int inputs = 0;
    std::vector<Instruction> code;
    std::vector<std::uint16_t> outputs;
    std::vector<Guarded> in_memory, out_memory;
    std::vector<In> in;
    std::vector<Out> out;
    std::vector<int> alias;  // the input whose memory an output takes, or -1

    void point_at_memory() {
        for (std::size_t j = 0; j < in.size(); ++j) in[j].data = in_memory[j].data();
        for (std::size_t k = 0; k < out.size(); ++k) {
            out[k].data = alias[k] >= 0 ? in_memory[static_cast<std::size_t>(alias[k])].data() : out_memory[k].data();
        }
    }
    void run(const FloatKernels& k) {
        point_at_memory();
        k.run(code.data(), static_cast<int>(code.size()), inputs, outputs.data(), static_cast<int>(outputs.size()),
              rows, cols, in.data(), out.data());
    }
    void run_generic() {
        point_at_memory();
        std::vector<GenericIn<float>> gin;
        std::vector<GenericOut<float>> gout;
        for (const In& x : in) gin.push_back({x.data, x.row_stride, x.col_stride});
        for (const Out& y : out) gout.push_back({y.data, y.row_stride, y.accumulate});
        detail::run_generic(code.data(), static_cast<int>(code.size()), inputs, outputs.data(),
                            static_cast<int>(outputs.size()), rows, cols, gin.data(), gout.data());
    }
    bool same_results(Case& other) {
        point_at_memory();
        other.point_at_memory();
        for (std::size_t k = 0; k < out.size(); ++k) {
            for (std::int64_t r = 0; r < rows; ++r) {
                for (std::int64_t c = 0; c < cols; ++c) {
                    const std::int64_t i = r * out[k].row_stride + c;
                    if (!same(out[k].data[i], other.out[k].data[i])) {
                        ADD_FAILURE() << "output " << k << " of register " << outputs[k] << " at (" << r << ", " << c
                                      << ") of (" << rows << ", " << cols << "): " << out[k].data[i] << " instead of "
                                      << other.out[k].data[i];
                        return false;
                    }
                }
            }
        }
        return true;
    }
    bool intact() {
        return std::all_of(in_memory.begin(), in_memory.end(), [](Guarded& g) { return g.intact(); }) &&
               std::all_of(out_memory.begin(), out_memory.end(), [](Guarded& g) { return g.intact(); });
    }
};

/// The operations that round exactly, so that every instruction set must give the same bits.
constexpr Opcode kExact[] = {Opcode::constant,
                             Opcode::add,
                             Opcode::sub,
                             Opcode::mul,
                             Opcode::div,
                             Opcode::neg,
                             Opcode::maximum,
                             Opcode::minimum,
                             Opcode::fma,
                             Opcode::square,
                             Opcode::reciprocal,
                             Opcode::sqrt,
                             Opcode::rsqrt,
                             Opcode::abs,
                             Opcode::sign,
                             Opcode::relu,
                             Opcode::less,
                             Opcode::less_equal,
                             Opcode::equal,
                             Opcode::not_equal,
                             Opcode::logical_and,
                             Opcode::logical_or,
                             Opcode::logical_not,
                             Opcode::select,
                             Opcode::tanh_gradient,
                             Opcode::sigmoid_gradient,
                             Opcode::mul_tanh_gradient,
                             Opcode::mul_sigmoid_gradient};

class Random {
public:
    explicit Random(unsigned seed) : engine_(seed) {}
    std::mt19937& engine() { return engine_; }
    int below(int n) { return static_cast<int>(engine_() % static_cast<unsigned>(n)); }
    bool chance(int percent) { return below(100) < percent; }
    template <class T, std::size_t N>
    T pick(const T (&values)[N]) {
        return values[below(static_cast<int>(N))];
    }

private:
    std::mt19937 engine_;
};

void make_operands(Case& c, Random& random, bool contiguous) {
    const auto count = static_cast<std::size_t>(c.inputs);
    for (std::size_t j = 0; j < count; ++j) {
        const int kind = contiguous ? random.pick({0, 0, 0, 3}) : random.pick({0, 0, 1, 2, 3, 4});
        const std::int64_t offset = random.pick({0, 0, 1, 7});
        const std::int64_t pad = contiguous ? 0 : random.pick({0, 1, 5, 16, 100});
        switch (kind) {
        case 1:  // row vector
            c.in_memory.emplace_back(1, c.cols, c.cols, offset);
            c.in.push_back({nullptr, 0, 1});
            break;
        case 2:  // column
            c.in_memory.emplace_back(c.rows, 1, 1 + pad, offset);
            c.in.push_back({nullptr, 1 + pad, 0});
            break;
        case 3:  // scalar
            c.in_memory.emplace_back(1, 1, 1, offset);
            c.in.push_back({nullptr, 0, 0});
            break;
        default:
            c.in_memory.emplace_back(c.rows, c.cols, c.cols + pad, offset);
            c.in.push_back({nullptr, c.cols + pad, 1});
        }
        c.in_memory.back().fill(random.engine());
    }
    for (std::size_t k = 0; k < c.outputs.size(); ++k) {
        int alias = -1;
        if (random.chance(40) && c.inputs > 0) {
            const int j = random.below(c.inputs);
            const In& x = c.in[static_cast<std::size_t>(j)];
            const bool whole = x.col_stride == 1 && (x.row_stride >= c.cols);
            const bool taken = std::find(c.alias.begin(), c.alias.end(), j) != c.alias.end();
            if (whole && !taken) alias = j;
        }
        const std::int64_t pad = contiguous ? 0 : random.pick({0, 3, 64});
        const std::int64_t stride = alias >= 0 ? c.in[static_cast<std::size_t>(alias)].row_stride : c.cols + pad;
        c.out_memory.emplace_back(c.rows, c.cols, stride, random.pick({0, 0, 3}));
        c.out_memory.back().fill(random.engine());
        c.out.push_back({nullptr, stride, random.chance(30)});
        c.alias.push_back(alias);
    }
}

Case make_case(Random& random, int max_code) {
    Case c;
    c.rows = random.pick({1, 1, 2, 3, 5, 8, 33, 50});
    c.cols = random.pick({1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 64, 100, 129, 512, 513, 700});
    c.inputs = 1 + random.below(6);
    const int n = 1 + random.below(max_code);
    for (int i = 0; i < n; ++i) {
        // Recent registers are preferred: chains are longer and live ranges more varied.
        const auto operand = [&] {
            const int available = c.inputs + i;
            const int back = random.chance(60) ? random.below(std::min(available, 4)) : random.below(available);
            return static_cast<std::uint16_t>(available - 1 - back);
        };
        Instruction s = {random.pick(kExact), 0, 0, 0, 0.0};
        if (operand_count(s.op) > 0) s.a = operand();
        if (operand_count(s.op) > 1) s.b = operand();
        if (operand_count(s.op) > 2) s.c = operand();
        if (s.op == Opcode::constant) s.value = random.pick({0.0, 1.0, -0.5, 3.25, 1e-3});
        c.code.push_back(s);
    }
    const int n_outputs = 1 + random.below(5);
    for (int k = 0; k < n_outputs; ++k) {
        // The same register twice and registers that are inputs are outputs too.
        const int r = random.chance(80) ? c.inputs + random.below(n) : random.below(c.inputs + n);
        c.outputs.push_back(static_cast<std::uint16_t>(r));
    }
    make_operands(c, random, random.chance(40));
    return c;
}

void compare_on_every_isa(const Case& start, const std::string& what) {
    Case expected = start;
    expected.run_generic();
    for_each_isa([&](const FloatKernels& k) {
        SCOPED_TRACE(what);
        Case got = start;
        got.run(k);
        EXPECT_TRUE(got.same_results(expected));
        EXPECT_TRUE(got.intact());
    });
}

TEST(Executor, EqualsTheGenericOneOnRandomPrograms) {
    const int cases = by_test_size(300, 2000, 200000);
    for (int seed = 0; seed < cases && !testing::Test::HasFailure(); ++seed) {
        Random random(static_cast<unsigned>(seed));
        compare_on_every_isa(make_case(random, 30), "seed " + std::to_string(seed));
    }
}

TEST(Executor, FusedProgramsGiveTheSameBits) {
    int fused = 0;
    for (int seed = 0; seed < by_test_size(300, 2000, 50000) && !testing::Test::HasFailure(); ++seed) {
        Random random(static_cast<unsigned>(seed));
        Case plain = make_case(random, 20);
        for (Instruction& s : plain.code) {
            // Products followed by gradients, often enough.
            if (s.op == Opcode::add || s.op == Opcode::div || s.op == Opcode::maximum) s.op = Opcode::mul;
            if (s.op == Opcode::less || s.op == Opcode::equal) s.op = Opcode::tanh_gradient;
            if (s.op == Opcode::sub || s.op == Opcode::minimum) s.op = Opcode::sigmoid_gradient;
        }
        Case short_form = plain;
        const int before = static_cast<int>(plain.code.size());
        const int left = detail::fuse(short_form.code.data(), before, plain.inputs, short_form.outputs.data(),
                                      static_cast<int>(short_form.outputs.size()));
        short_form.code.resize(static_cast<std::size_t>(left));
        fused += before - left;
        plain.run_generic();
        for_each_isa([&](const FloatKernels& k) {
            SCOPED_TRACE(seed);
            Case got = short_form;
            got.run(k);
            // The registers differ, the results must not.
            EXPECT_TRUE(got.same_results(plain));
        });
    }
    EXPECT_GT(fused, 5);
}

// Each operation does what its name says, the inexact ones to a few ULP of double precision.
TEST(Executor, EveryOperationComputesItsFunction) {
    std::mt19937 random(3);
    constexpr std::int64_t kN = 203;
    std::vector<float> a = normal_floats(random, kN), b = normal_floats(random, kN), c = normal_floats(random, kN);
    for (std::size_t i = 0; i < kN; i += 7) b[i] = a[i];
    for (std::size_t i = 0; i < kN; i += 11) a[i] = 0.0f;
    a[5] = b[9] = std::numeric_limits<float>::quiet_NaN();
    a[14] = HUGE_VALF;
    for (int op = 1; op < static_cast<int>(Opcode::end); ++op) {
        if (op == static_cast<int>(Opcode::count)) continue;
        SCOPED_TRACE(detail::opcode_name(static_cast<Opcode>(op)));
        const Instruction code[] = {{static_cast<Opcode>(op), 0, 1, 2, 0.0}};
        for_each_isa([&](const FloatKernels& k) {
            std::vector<float> y(kN);
            const std::uint16_t outputs[] = {3};
            const In in[] = {{a.data(), kN, 1}, {b.data(), kN, 1}, {c.data(), kN, 1}};
            const Out out[] = {{y.data(), kN, false}};
            k.run(code, 1, 3, outputs, 1, 1, kN, in, out);
            for (std::size_t i = 0; i < kN; ++i) {
                const double reg[] = {a[i], b[i], c[i]};
                const double exact = detail::apply_instruction(code[0], reg);
                const float rounded = detail::apply_instruction(code[0], std::vector<float>{a[i], b[i], c[i]}.data());
                if (!same(rounded, y[i])) {
                    EXPECT_LE(ulp_error(y[i], exact), 3.0) << a[i] << " " << b[i] << " " << c[i];
                }
            }
        });
    }
}

TEST(Executor, ManyLiveRegistersFit) {
    // v_i = x * i for all i first, then their sum from the last to the first: all of them live at once.
    for (const int n : {10, 40, 250, (detail::kMaxRegisters - 1) / 3}) {
        Case c;
        c.rows = 3;
        c.cols = 700;
        c.inputs = 1;
        for (int i = 0; i < n; ++i) c.code.push_back({Opcode::constant, 0, 0, 0, 1.0 + i});
        for (int i = 0; i < n; ++i) c.code.push_back({Opcode::mul, 0, static_cast<std::uint16_t>(1 + i), 0, 0.0});
        auto sum = static_cast<std::uint16_t>(2 * n);
        for (int i = n - 2; i >= 0; --i) {
            c.code.push_back({Opcode::add, sum, static_cast<std::uint16_t>(n + 1 + i), 0, 0.0});
            sum = static_cast<std::uint16_t>(c.code.size());
        }
        ASSERT_LE(1 + c.code.size(), static_cast<std::size_t>(detail::kMaxRegisters));
        c.outputs = {sum};
        Random random(static_cast<unsigned>(n));
        make_operands(c, random, false);
        compare_on_every_isa(c, "terms " + std::to_string(n));
    }
}

TEST(Executor, EmptyShapesDoNothing) {
    for_each_isa([](const FloatKernels& k) {
        const Instruction code[] = {{Opcode::neg, 0, 0, 0, 0.0}};
        const std::uint16_t outputs[] = {1};
        const In in[] = {{nullptr, 0, 1}};
        const Out out[] = {{nullptr, 0, false}};
        k.run(code, 1, 1, outputs, 1, 0, 5, in, out);
        k.run(code, 1, 1, outputs, 1, 5, 0, in, out);
    });
}

TEST(Executor, OutputsMayTradePlacesWithInputs) {
    for_each_isa([](const FloatKernels& k) {
        std::vector<float> a(1000, 1.0f), b(1000, 2.0f);
        const std::uint16_t outputs[] = {1, 0};
        const In in[] = {{a.data(), 1000, 1}, {b.data(), 1000, 1}};
        const Out out[] = {{a.data(), 1000, false}, {b.data(), 1000, false}};
        k.run(nullptr, 0, 2, outputs, 2, 1, 1000, in, out);
        EXPECT_EQ(a, std::vector<float>(1000, 2.0f));
        EXPECT_EQ(b, std::vector<float>(1000, 1.0f));
    });
}

/// An input that is added to itself in its place, and is an output too: that one has what was there before.
TEST(Executor, WhatIsAddedToAnInputInItsPlaceIsNotSeenByOtherOutputs) {
    for_each_isa([](const FloatKernels& k) {
        for (const std::int64_t rows : {1, 2}) {
            const auto n = static_cast<std::size_t>(700 * rows);
            std::vector<float> x(n, 1.0f), y(n + 5, 0.0f);
            const std::uint16_t outputs[] = {0, 0};
            const In in[] = {{x.data(), 700, 1}};
            const Out out[] = {{x.data(), 700, true}, {y.data(), 702, false}};  // apart: not one row
            k.run(nullptr, 0, 1, outputs, 2, rows, 700, in, out);
            EXPECT_EQ(x, std::vector<float>(n, 2.0f));
            EXPECT_EQ(y[0], 1.0f);
            EXPECT_EQ(y[static_cast<std::size_t>(702 * (rows - 1)) + 699], 1.0f);
        }
    });
}

TEST(Executor, AccumulatingOutputsMayShareMemory) {
    for_each_isa([](const FloatKernels& k) {
        std::vector<float> x(777, 3.0f), y(777, 1.0f);
        const Instruction code[] = {{Opcode::square, 0, 0, 0, 0.0}, {Opcode::neg, 0, 0, 0, 0.0}};
        const std::uint16_t outputs[] = {1, 2};
        const In in[] = {{x.data(), 777, 1}};
        const Out out[] = {{y.data(), 777, true}, {y.data(), 777, true}};
        k.run(code, 2, 1, outputs, 2, 1, 777, in, out);
        EXPECT_EQ(y, std::vector<float>(777, 1.0f + 9.0f - 3.0f));
    });
}

TEST(Executor, RunsOnASmallStack) {
    pthread_attr_t attributes;
    ASSERT_EQ(pthread_attr_init(&attributes), 0);
    ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 * 1024), 0);
    pthread_t thread{};
    const auto work = [](void*) -> void* {
        for_each_isa([](const FloatKernels& k) {
            std::vector<Instruction> code;
            for (int i = 0; i + 1 < detail::kMaxRegisters; ++i) {
                code.push_back({Opcode::add, static_cast<std::uint16_t>(i), 0, 0, 0.0});
            }
            std::vector<float> x(5000, 1.0f), y(5000);
            const std::uint16_t outputs[] = {detail::kMaxRegisters - 1};
            const In in[] = {{x.data(), 5000, 1}};
            const Out out[] = {{y.data(), 5000, false}};
            k.run(code.data(), detail::kMaxRegisters - 1, 1, outputs, 1, 1, 5000, in, out);
            EXPECT_EQ(y, std::vector<float>(5000, static_cast<float>(detail::kMaxRegisters)));
        });
        return nullptr;
    };
    ASSERT_EQ(pthread_create(&thread, &attributes, work, nullptr), 0);
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
}

TEST(GenericExecutor, CarriesDerivatives) {
    using Number = Dual<double>;
    // y = tanh(x) * x + 2
    const Instruction code[] = {
        {Opcode::tanh, 0, 0, 0, 0.0}, {Opcode::constant, 0, 0, 0, 2.0}, {Opcode::fma, 1, 0, 2, 0.0}};
    const std::uint16_t outputs[] = {3};
    std::vector<Number> x, y(3);
    for (const double v : {-0.7, 0.0, 1.3}) x.emplace_back(v, 1.0);
    const GenericIn<Number> in[] = {{x.data(), 3, 1}};
    const GenericOut<Number> out[] = {{y.data(), 3, false}};
    detail::run_generic(code, 3, 1, outputs, 1, 1, 3, in, out);
    for (std::size_t i = 0; i < 3; ++i) {
        const double v = x[i].value, t = std::tanh(v);
        EXPECT_NEAR(y[i].value, t * v + 2.0, 1e-15);
        EXPECT_NEAR(y[i].derivative, t + v * (1.0 - t * t), 1e-15);
    }
}

}  // namespace
}  // namespace unroll::test
