// Time as the training loop measures it.
#pragma once

#include <functional>

namespace unroll {

/// Seconds since some moment, never running backwards. Tests put their own in.
using Clock = std::function<double()>;

/// The machine's steady clock.
double steady_seconds();

}  // namespace unroll
