// An exponential moving average of all weights: often better for evaluation than the weights of the last step.
//
//     ExponentialMovingAverage<float> average(store, {.decay = 0.999});
//     …
//     adam.step();
//     average.update();
//     …
//     {
//         AveragedWeights evaluation(average);  // the model computes with the averages here
//         …
//     }
#pragma once

#include <unroll/autograd/parameter.hpp>

namespace unroll {

class StateDict;  // io/state_dict.hpp

struct AverageOptions {
    double decay = 0.999;  ///< in [0, 1); about 1/(1 − decay) steps count
};

/// average ← decay·average + (1 − decay)·w over the contiguous block of a store; the first update copies w.
template <class Real>
class ExponentialMovingAverage {
public:
    /// @throws ValueError for a decay out of its range
    explicit ExponentialMovingAverage(ParameterStore<Real>& store, const AverageOptions& options = {});
    ExponentialMovingAverage(const ExponentialMovingAverage&) = delete;
    ExponentialMovingAverage& operator=(const ExponentialMovingAverage&) = delete;

    /// Takes the weights as they are, after a step of the optimiser.
    /// @throws UsageError while the averages are swapped in, or if the store has grown since the first update
    void update();
    Index n_averaged() const noexcept { return n_averaged_; }

    /// Exchanges weights and averages, in the parameters' own memory. Training must wait until they are swapped out.
    /// @throws UsageError before the first update, if the store has grown, or if they are swapped in (out) already
    void swap_in();
    void swap_out();
    bool swapped_in() const noexcept { return swapped_in_; }

    /// The averages by parameter name, laid out as in memory, and "n_averaged". @throws UsageError while they are
    /// swapped in
    StateDict state_dict() const;
    /// @throws ValueError or ShapeError, with nothing changed, for a state that does not fit the store; UsageError
    /// while the averages are swapped in
    void load_state_dict(const StateDict& state);

private:
    void check_fit() const;
    void check_out(const char* what) const;
    void exchange();
    Real* average_of(const detail::ParameterEntry<Real>& entry) const noexcept {
        return block_->template as<Real>() + entry.offset;
    }

    ParameterStore<Real>& store_;
    double decay_;
    detail::BlockRef block_;
    Index size_ = 0;
    Index n_averaged_ = 0;
    bool swapped_in_ = false;
};

/// The averages are in the model while it stands.
template <class Real>
class [[nodiscard]] AveragedWeights {
public:
    explicit AveragedWeights(ExponentialMovingAverage<Real>& average) : average_(average) { average_.swap_in(); }
    AveragedWeights(const AveragedWeights&) = delete;
    AveragedWeights& operator=(const AveragedWeights&) = delete;
    ~AveragedWeights() {
        if (average_.swapped_in()) average_.swap_out();
    }

private:
    ExponentialMovingAverage<Real>& average_;
};

extern template class ExponentialMovingAverage<float>;
extern template class ExponentialMovingAverage<double>;
extern template class ExponentialMovingAverage<Dual<double>>;

}  // namespace unroll
