// Initial values by their names. Each draws from the parameter's own random stream (Scope::parameter).
//
// A weight in memory is (in, out): fan_in is axis 0 and fan_out axis 1, the other way round than in PyTorch's (out, in).
#pragma once

#include <unroll/autograd/parameter.hpp>

namespace unroll::init {

/// U[low, high). @throws ValueError for low above high
template <class Real>
Initializer<Real> uniform(double low, double high);
/// N(mean, deviation²). @throws ValueError for a deviation below 0
template <class Real>
Initializer<Real> normal(double mean = 0.0, double deviation = 1.0);
template <class Real>
Initializer<Real> constant(double value);
/// U(−a, a), a = gain·√(6/(fan_in + fan_out)). Glorot, Bengio 2010.
template <class Real>
Initializer<Real> xavier_uniform(double gain = 1.0);
/// N(0, s²), s = gain·√(2/(fan_in + fan_out)).
template <class Real>
Initializer<Real> xavier_normal(double gain = 1.0);
/// U(−b, b), b = gain·√(3/fan_in); the gain for relu is √2. He et al. 2015.
template <class Real>
Initializer<Real> kaiming_uniform(double gain = 1.4142135623730951);
/// N(0, s²), s = gain/√fan_in.
template <class Real>
Initializer<Real> kaiming_normal(double gain = 1.4142135623730951);
/// Orthonormal rows or columns (whichever are fewer), times gain: Gram–Schmidt, twice, on normal draws.
/// Saxe, McClelland, Ganguli 2014.
template <class Real>
Initializer<Real> orthogonal(double gain = 1.0);

}  // namespace unroll::init
