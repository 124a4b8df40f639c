// When something that is done from time to time is due: a checkpoint, a validation, a sample. What it is, the caller knows.
#pragma once

#include <unroll/autograd/shape.hpp>

namespace unroll {

struct CadenceOptions {
    Index steps = 0;     ///< due at every multiple of this step number; 0: steps do not count
    double seconds = 0;  ///< due when this long has passed since the last time; 0: time does not count
};

/// Due by steps, by time, or by whichever comes first. By steps it depends on the step number alone, so that a resumed run
/// does the same at the same steps; by time it cannot.
class Every {
public:
    /// ValueError: a negative or not finite option.
    explicit Every(const CadenceOptions& options);

    /// Whether it is due after `step` steps (from 1) and `elapsed` seconds; a yes counts as done.
    bool due(Index step, double elapsed);
    /// Counts time from here: at the start of a resumed run, or when it was done for another reason.
    void done(double elapsed) noexcept { last_ = elapsed; }
    bool never() const noexcept { return options_.steps == 0 && options_.seconds == 0; }

private:
    CadenceOptions options_;
    double last_ = 0;
};

}  // namespace unroll
