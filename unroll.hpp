// Everything a user of unroll may include, in one line. Programs that care for their compile time include single headers.
#pragma once

#include <unroll/autograd/buffer.hpp>
#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/pool.hpp>
#include <unroll/autograd/pool_vector.hpp>
#include <unroll/autograd/scalar.hpp>
#include <unroll/autograd/shape.hpp>
#include <unroll/autograd/slab.hpp>
#include <unroll/autograd/tensor.hpp>
#include <unroll/autograd/xtensor.hpp>
#include <unroll/data/sequence_batches.hpp>
#include <unroll/data/split.hpp>
#include <unroll/data/stream_batches.hpp>
#include <unroll/data/text_file.hpp>
#include <unroll/data/utf8.hpp>
#include <unroll/data/vocabulary.hpp>
#include <unroll/io/atomic_file.hpp>
