// Remembering the best loss, and ending a run that does not get better.
#pragma once

#include <unroll/autograd/shape.hpp>

#include <nlohmann/json_fwd.hpp>

#include <limits>

namespace unroll {

struct EarlyStoppingOptions {
    Index patience = 0;    ///< losses in a row without improvement after which to stop; 0: never
    double min_delta = 0;  ///< an improvement is a loss below best − min_delta
};

/// The lowest loss so far and whether to stop. NaN and infinite losses are no improvement.
class EarlyStopping {
public:
    /// ValueError: an option negative or not finite.
    explicit EarlyStopping(const EarlyStoppingOptions& options = {});

    /// Takes the loss measured at `step`; true if it is the best so far (time to keep the model).
    bool update(double loss, Index step);
    bool should_stop() const noexcept { return options_.patience > 0 && without_improvement_ >= options_.patience; }
    /// Infinite before the first finite loss.
    double best() const noexcept { return best_; }
    /// −1 before the first finite loss.
    Index best_step() const noexcept { return best_step_; }
    Index without_improvement() const noexcept { return without_improvement_; }

    /// {"best": … or null, "best_step": …, "without_improvement": …}. ValueError: not that.
    nlohmann::json state() const;
    void load_state(const nlohmann::json& state);

private:
    EarlyStoppingOptions options_;
    double best_ = std::numeric_limits<double>::infinity();
    Index best_step_ = -1;
    Index without_improvement_ = 0;
};

}  // namespace unroll
