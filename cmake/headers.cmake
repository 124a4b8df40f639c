# The public headers: what `cmake --install` copies to include/unroll/. Kept by hand, in order; the test
# structure.headers fails when a public header is missing here or one listed here does not exist.
# Internal headers (*/detail/, autograd/kernels/) stand here only where a public header includes them.
set(UNROLL_PUBLIC_HEADERS
  autograd/buffer.hpp
  autograd/dual.hpp
  autograd/error.hpp
  autograd/pool.hpp
  autograd/pool_vector.hpp
  autograd/scalar.hpp
  autograd/shape.hpp
  autograd/slab.hpp
  autograd/tensor.hpp
  autograd/xtensor.hpp
  data/sequence_batches.hpp
  data/split.hpp
  data/stream_batches.hpp
  data/text_file.hpp
  data/utf8.hpp
  data/vocabulary.hpp
  io/atomic_file.hpp
  unroll.hpp
)
