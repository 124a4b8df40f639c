// UNROLL_ISA and UNROLL_NUM_THREADS: what a program that starts with them set does. They are read once, so that each value
// needs a process of its own: this program itself, which then runs the one test that says what it found.
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/threads.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace unroll {
namespace {

/// Also runs in the suite, where it looks at nothing.
TEST(Environment, SaysWhatItFound) {
    if (!std::getenv("UNROLL_SAY_WHAT_WAS_FOUND")) return;
    try {
        std::printf("found: %s, %lld threads\n", detail::kernels().name, static_cast<long long>(num_threads()));
    } catch (const ValueError& error) {
        std::printf("error: %s\n", error.what());
    }
}

/// What a process with these variables says: the lines from "found: " or "error: " on.
std::string found_with(const std::string& variables) {
    const std::string command = "env " + variables + " UNROLL_SAY_WHAT_WAS_FOUND=1" +
                                " /proc/$PPID/exe --gtest_filter=Environment.SaysWhatItFound --gtest_color=no";
    std::FILE* out = popen(command.c_str(), "r");
    std::string text;
    std::array<char, 256> part{};
    while (out && std::fgets(part.data(), part.size(), out)) text += part.data();
    EXPECT_EQ(out ? pclose(out) : -1, 0) << text;
    const auto begin = std::min(text.find("found: "), text.find("error: ")), end = text.find("[       OK", begin);
    return begin == std::string::npos ? text : text.substr(begin, end - begin);
}

TEST(Environment, IsaByEachNameAndNumberOfThreads) {
    for (const detail::Isa isa : {detail::Isa::baseline, detail::Isa::avx2, detail::Isa::avx512}) {
        const std::string name = detail::isa_name(isa);
        if (detail::isa_available(isa))
            EXPECT_EQ(found_with("UNROLL_NUM_THREADS=2 UNROLL_ISA=" + name), "found: " + name + ", 2 threads\n");
        else
            EXPECT_THAT(found_with("UNROLL_ISA=" + name), testing::HasSubstr("'" + name + "' is not available"));
    }
    // Empty is as unset.
    EXPECT_EQ(found_with("UNROLL_ISA= UNROLL_NUM_THREADS="), found_with("-u UNROLL_ISA -u UNROLL_NUM_THREADS"));
}

TEST(Environment, AWrongValueIsOneClearLine) {
    for (const char* isa : {"x", "0", "AVX2"}) {
        const std::string said = found_with("UNROLL_ISA=" + std::string(isa));
        EXPECT_THAT(said, testing::StartsWith("error: [UNROLL_ISA] instruction set '" + std::string(isa) +
                                              "' is not available; possible here:"));
        EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
    }
    for (const char* threads : {"x", "0", "-1", "2x", "1025", "1e3"})
        EXPECT_EQ(found_with("UNROLL_NUM_THREADS=" + std::string(threads)),
                  "error: UNROLL_NUM_THREADS must be a number from 1 to 1024; got \"" + std::string(threads) + "\"\n");
}

}  // namespace
}  // namespace unroll
