// The float kernels for any processor: vectors of four floats in portable form; flags: cmake/kernels.cmake.
#define UNROLL_ISA_NAMESPACE baseline
#include <unroll/autograd/kernels/kernel_table.hpp>
