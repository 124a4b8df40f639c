// When something is due.
#include <unroll/autograd/error.hpp>
#include <unroll/train/cadence.hpp>

#include <fmt/format.h>

#include <cmath>

namespace unroll {

Every::Every(const CadenceOptions& options) : options_(options) {
    if (options.steps < 0) detail::fail_value("Every", fmt::format("steps must be at least 0, not {}", options.steps));
    if (!(options.seconds >= 0) || std::isinf(options.seconds))
        detail::fail_value("Every", fmt::format("seconds must be at least 0 and finite, not {}", options.seconds));
}

bool Every::due(Index step, double elapsed) {
    const bool by_steps = options_.steps > 0 && step > 0 && step % options_.steps == 0;
    const bool by_time = options_.seconds > 0 && elapsed - last_ >= options_.seconds;
    if (by_steps || by_time) last_ = elapsed;
    return by_steps || by_time;
}

}  // namespace unroll
