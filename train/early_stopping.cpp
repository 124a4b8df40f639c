// The best loss and the losses since.
#include <unroll/autograd/error.hpp>
#include <unroll/train/early_stopping.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace unroll {

EarlyStopping::EarlyStopping(const EarlyStoppingOptions& options) : options_(options) {
    if (options.patience < 0)
        detail::fail_value("EarlyStopping", fmt::format("patience must be at least 0, not {}", options.patience));
    if (!(options.min_delta >= 0) || std::isinf(options.min_delta))
        detail::fail_value("EarlyStopping",
                           fmt::format("min_delta must be at least 0 and finite, not {}", options.min_delta));
}

bool EarlyStopping::update(double loss, Index step) {
    if (std::isfinite(loss) && loss < best_ - options_.min_delta) {
        best_ = loss;
        best_step_ = step;
        without_improvement_ = 0;
        return true;
    }
    ++without_improvement_;
    return false;
}

nlohmann::json EarlyStopping::state() const {
    return {{"best", std::isfinite(best_) ? nlohmann::json(best_) : nlohmann::json()},
            {"best_step", best_step_},
            {"without_improvement", without_improvement_}};
}

void EarlyStopping::load_state(const nlohmann::json& state) {
    try {
        const nlohmann::json& best = state.at("best");
        const double value = best.is_null() ? std::numeric_limits<double>::infinity() : best.get<double>();
        const auto step = state.at("best_step").get<Index>();
        without_improvement_ = state.at("without_improvement").get<Index>();
        best_step_ = step;
        best_ = value;
    } catch (const nlohmann::json::exception& error) {
        detail::fail_value("EarlyStopping", fmt::format("this is not a saved state: {}", error.what()));
    }
}

}  // namespace unroll
