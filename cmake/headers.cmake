# The public headers: what `cmake --install` copies to include/unroll/. Kept by hand, in order; the test
# structure.headers fails when a public header is missing here or one listed here does not exist.
# Internal headers (*/detail/, autograd/kernels/) stand here only where a public header includes them.
set(UNROLL_PUBLIC_HEADERS
)
