// A user's program, kept small: built against an installed copy by several compilers and flags, and within a project
// that takes the source by add_subdirectory. It proves that headers and library meet, not that they compute well.
#include <unroll/unroll.hpp>

#include <cstdio>

int main() {
    const unroll::Tensor<float> ones = unroll::full<float>({2, 3}, 1.0F);
    const unroll::Tensor<float> doubled = 2.0F * ones;
    double sum = 0;
    for (const float value : doubled) sum += value;
    if (sum != 12) {
        std::fprintf(stderr, "expected 12, got %g\n", sum);
        return 1;
    }
    return 0;
}
