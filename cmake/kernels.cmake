# unroll_add_kernels(<target>): adds the float kernels to a target of this directory, one source per instruction set,
# each with flags of its own; kernels.cpp chooses among them at run time.

function(unroll_add_kernels target)
  set(folder "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../autograd/kernels")
  # Kernels are vector code in every configuration: at -O0 a vector is spilled between any two instructions. Contraction
  # stays off, so that an expression rounds alike in every instruction set; fused products are written where they are meant.
  set(flags -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math)
  target_sources(${target} PRIVATE "${folder}/kernels.cpp" "${folder}/kernels_baseline.cpp")
  set_source_files_properties("${folder}/kernels_baseline.cpp" PROPERTIES COMPILE_OPTIONS "${flags}")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    target_sources(${target} PRIVATE "${folder}/kernels_avx2.cpp" "${folder}/kernels_avx512.cpp")
    set_source_files_properties("${folder}/kernels_avx2.cpp" PROPERTIES COMPILE_OPTIONS "${flags};-mavx2;-mfma")
    set(avx512 -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mprefer-vector-width=512)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # g++ 12 warns of its own header's _mm512_undefined_ps.
      list(APPEND avx512 -Wno-uninitialized -Wno-maybe-uninitialized)
    endif()
    set_source_files_properties("${folder}/kernels_avx512.cpp" PROPERTIES COMPILE_OPTIONS "${flags};${avx512}")
    set_source_files_properties("${folder}/kernels.cpp" PROPERTIES COMPILE_DEFINITIONS UNROLL_KERNELS_X86=1)
  endif()
endfunction()
