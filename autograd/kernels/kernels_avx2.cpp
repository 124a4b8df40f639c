// The float kernels for AVX2 with FMA; flags: cmake/kernels.cmake.
#if !defined(__AVX2__) || !defined(__FMA__)
#error "to be compiled with the flags that cmake/kernels.cmake gives it"
#endif
#define UNROLL_ISA_AVX2
#define UNROLL_ISA_NAMESPACE avx2
#include <unroll/autograd/kernels/kernel_table.hpp>
