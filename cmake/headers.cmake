# The public headers: what `cmake --install` copies to include/unroll/ and unroll.hpp offers. Kept by hand, in order;
# the test structure.headers fails when a header is neither here nor internal, or one listed here does not exist.
set(UNROLL_PUBLIC_HEADERS
  autograd/buffer.hpp
  autograd/dual.hpp
  autograd/error.hpp
  autograd/op.hpp
  autograd/ops.hpp
  autograd/parameter.hpp
  autograd/pointwise/symbol.hpp
  autograd/pool.hpp
  autograd/pool_vector.hpp
  autograd/random.hpp
  autograd/scalar.hpp
  autograd/shape.hpp
  autograd/slab.hpp
  autograd/tape.hpp
  autograd/tensor.hpp
  autograd/var.hpp
  autograd/xtensor.hpp
  data/number_text.hpp
  data/sequence_batches.hpp
  data/split.hpp
  data/stream_batches.hpp
  data/text_file.hpp
  data/utf8.hpp
  data/vocabulary.hpp
  io/atomic_file.hpp
  train/cadence.hpp
  train/clock.hpp
  train/early_stopping.hpp
  train/interrupt.hpp
  train/json_log.hpp
  train/meters.hpp
  unroll.hpp
)

# Included by .cpp files only. The folders autograd/kernels/ and */detail/ are internal as a whole; a header of theirs
# that a public one needs stands in the list above.
set(UNROLL_INTERNAL_HEADERS
  autograd/linalg.hpp
  autograd/pointwise/adjoint.hpp
  autograd/pointwise/builder.hpp
  autograd/pointwise/compiled.hpp
  autograd/pointwise/cut.hpp
  autograd/pointwise/program.hpp
  autograd/pointwise/recorder.hpp
  autograd/pointwise/rules.hpp
)
