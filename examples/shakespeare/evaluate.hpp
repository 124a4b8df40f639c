// How well a model predicts a text.
#pragma once

#include "model.hpp"

namespace shakespeare {

struct Evaluation {
    double loss;        ///< nats per character, the mean over all predictions
    Index predictions;  ///< characters but the first
    Index passes;       ///< times the text was read
};

enum class Precision {
    estimate,  ///< the text is cut into up to 64 streams that each begin with an empty memory: a little too high, one pass
    exact      ///< the state is carried through the whole text
};

/// Mean −log p(character | all characters before it in `ids`). The model's store must be in evaluation mode.
///
/// Carrying the state through a whole text would mean one character at a time. The exact loss is found in parallel instead:
/// the streams are read again, each from the state in which the stream before it ended, until the loss no longer changes
/// (by more than 1e-6). That is where reading one by one ends up: a network forgets, so that each pass brings the loss
/// nearer by orders of magnitude, and two or three passes do. If eight do not, the text is read one by one.
/// @throws unroll::ValueError for less than two characters
Evaluation evaluate(const CharModel<float>& model, const IntTensor& ids, Precision precision);

/// The command `shakespeare eval`; returns the exit code.
int run(const EvalOptions& options);

}  // namespace shakespeare
