// How much of a test to run: scripts/test says so in the environment (UNROLL_TEST_SIZE). Short is for builds under a
// sanitizer, normal for every change, long for exhaustive sweeps and fuzzing.
#pragma once

#include <cstdlib>
#include <string_view>

namespace unroll::test {

enum class TestSize { kShort, kNormal, kLong };

inline TestSize test_size() {
    const char* text = std::getenv("UNROLL_TEST_SIZE");
    const std::string_view size = text == nullptr ? "normal" : text;
    return size == "short" ? TestSize::kShort : size == "long" ? TestSize::kLong : TestSize::kNormal;
}

/// One of three numbers, of cases or steps for example.
template <class Number>
Number by_test_size(Number in_short, Number in_normal, Number in_long) {
    switch (test_size()) {
    case TestSize::kShort: return in_short;
    case TestSize::kLong: return in_long;
    case TestSize::kNormal: break;
    }
    return in_normal;
}

}  // namespace unroll::test
