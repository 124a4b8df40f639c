// The float kernels for AVX-512 (F, VL, DQ, BW); flags: cmake/kernels.cmake.
#if !defined(__AVX512F__) || !defined(__AVX512VL__) || !defined(__AVX512DQ__) || !defined(__AVX512BW__)
#error "to be compiled with the flags that cmake/kernels.cmake gives it"
#endif
#define UNROLL_ISA_AVX512
#define UNROLL_ISA_NAMESPACE avx512
#include <unroll/autograd/kernels/kernel_table.hpp>
