// One training run as numbers: model, optimiser, learning rate, place in the text, and what the network remembers. No files,
// no output, no clock: the same recipe and text give the same bits, whatever the number of threads, stopped and resumed or not.
#pragma once

#include "model.hpp"

#include <unroll/autograd/parallel.hpp>
#include <unroll/data/stream_batches.hpp>
#include <unroll/optim/average.hpp>
#include <unroll/optim/optimizer.hpp>
#include <unroll/optim/schedule.hpp>

#include <limits>
#include <memory>
#include <vector>

namespace shakespeare {

/// The loss or the gradient is not finite: training has diverged. The weights are those before the step.
class Diverged : public unroll::Error {
public:
    using Error::Error;
};

class Trainer {
public:
    /// @throws unroll::ValueError for a text shorter than a batch, or an option out of range
    Trainer(const Recipe& recipe, unroll::Size vocabulary, IntTensor text, bool check_finite);
    Trainer(const Trainer&) = delete;
    Trainer& operator=(const Trainer&) = delete;

    struct Step {
        double loss;           ///< nats per character
        double gradient_norm;  ///< before clipping
        double lr;
    };
    /// Learns from the next window: seq_len characters of each stream. @throws Diverged
    Step step();

    Index steps() const noexcept { return steps_; }
    /// Characters learnt from in one step.
    Index characters_per_step() const noexcept { return recipe_.batch * recipe_.seq_len; }
    double epochs() const noexcept {
        return static_cast<double>(steps_) / static_cast<double>(batches_.windows_per_pass());
    }
    /// The number of steps of the whole run; 0 while it is to be measured how many there is time for.
    Index total_steps() const noexcept { return total_steps_; }
    /// The same as far as it is known: while there is none, the most that there can be.
    Index planned_steps() const noexcept { return total_steps_ > 0 ? total_steps_ : limit(); }
    /// Decides it, once and for all: as many as there is time for, or fewer if --steps or --epochs say so.
    void set_total_steps(Index affordable);
    bool finished() const noexcept { return steps_ >= planned_steps(); }
    /// The most steps that --steps and --epochs allow.
    Index limit() const noexcept;
    static constexpr Index kNoLimit = std::numeric_limits<Index>::max();

    unroll::ParameterStore<float>& store() noexcept { return store_; }
    const CharModel<float>& model() const noexcept { return model_; }

    /// While it stands the model is as it would be saved: in evaluation mode, with averaged weights if there are any.
    class [[nodiscard]] Evaluating {
    public:
        explicit Evaluating(Trainer& trainer);
        Evaluating(const Evaluating&) = delete;
        Evaluating& operator=(const Evaluating&) = delete;
        ~Evaluating();

    private:
        Trainer& trainer_;
        bool averaged_;
    };

    unroll::StateDict state_dict() const;
    /// @throws unroll::Error if the state is not that of such a run over this text
    void load_state_dict(const unroll::StateDict& state);

private:
    /// What a thread works on: some streams of the batch.
    struct Part {
        IntTensor inputs, targets;  // (T, rows)
        CharModel<float>::State state;
    };
    Var<float> part_loss(unroll::Shard shard);
    void forget(CharModel<float>::State& state, Index row) const;
    double lr_factor(Index n) const;

    Recipe recipe_;
    unroll::ParameterStore<float> store_;
    CharModel<float> model_;
    unroll::StreamBatcher batches_;
    Index steps_ = 0, total_steps_;
    std::unique_ptr<unroll::Optimizer<float>> optimizer_;
    unroll::LambdaLR schedule_;  // asks for the number of steps
    unroll::ExponentialMovingAverage<float> average_;
    unroll::DataParallel<float> parallel_;
    bool check_finite_;
    std::vector<Part> parts_;
    const unroll::StreamBatch* batch_ = nullptr;
};

}  // namespace shakespeare
