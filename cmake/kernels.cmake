# The float kernels: one source per instruction set, each with flags of its own; kernels.cpp chooses among them at run
# time. Included by the top-level CMakeLists.txt, and by tests/kernels/ for its own copies.

set(unroll_kernel_folder "${CMAKE_CURRENT_LIST_DIR}/../autograd/kernels")

# The instruction sets that this processor family can have.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(unroll_kernel_isas avx512 avx2 baseline)
else()
  set(unroll_kernel_isas baseline)
endif()

# unroll_kernel_flags(<variable> <isa>): the flags of kernels_<isa>.cpp.
# Kernels are vector code in every configuration: at -O0 a vector is spilled between any two instructions. Contraction
# stays off, so that an expression rounds alike in every instruction set; fused products are written where they are meant.
function(unroll_kernel_flags variable isa)
  set(flags -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -fno-exceptions)
  if(isa STREQUAL "avx512")
    list(APPEND flags -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mprefer-vector-width=512)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # g++ 12 warns of its own header's _mm512_undefined_ps.
      list(APPEND flags -Wno-uninitialized -Wno-maybe-uninitialized)
    endif()
  elseif(isa STREQUAL "avx2")
    list(APPEND flags -mavx2 -mfma)
  endif()
  set(${variable} ${flags} PARENT_SCOPE)
endfunction()

# unroll_add_kernels(<target>): adds the kernels to a target of the current directory.
function(unroll_add_kernels target)
  target_sources(${target} PRIVATE "${unroll_kernel_folder}/kernels.cpp")
  if("avx512" IN_LIST unroll_kernel_isas)
    set_source_files_properties("${unroll_kernel_folder}/kernels.cpp" PROPERTIES COMPILE_DEFINITIONS UNROLL_KERNELS_X86=1)
  endif()
  foreach(isa IN LISTS unroll_kernel_isas)
    set(source "${unroll_kernel_folder}/kernels_${isa}.cpp")
    unroll_kernel_flags(flags ${isa})
    target_sources(${target} PRIVATE "${source}")
    set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS "${flags}")
  endforeach()
endfunction()
