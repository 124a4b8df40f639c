// What can be said on the command line, and what of it goes into files. It reads no file and trains nothing.
#pragma once

#include <unroll/autograd/shape.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <variant>

namespace shakespeare {

using unroll::Index;

/// The shape of the network; a model file keeps it.
struct ModelOptions {
    std::string cell = "lstm";  ///< lstm, gru or rnn
    Index hidden = 512;
    Index layers = 1;
    Index embed = 64;
    double dropout = 0.2;  ///< after every recurrent layer, in training
};

/// All that decides which numbers training ends with; a checkpoint keeps it, and a resumed run takes it from there.
struct Recipe {
    ModelOptions model;
    Index batch = 64;    ///< streams of text side by side
    Index seq_len = 16;  ///< characters of each stream in one step
    Index steps = 0;     ///< 0: no limit by steps; of steps, epochs, minutes the one that comes first counts
    double epochs = 0;   ///< 0: no limit by passes over the text
    double minutes = 0;  ///< 0: no limit by time
    std::string optimizer = "adamw";
    double lr = 4e-3;
    std::string schedule = "linear";
    Index warmup = -1;  ///< steps in which the learning rate rises; -1: 100, but at most a tenth of the run
    double weight_decay = 0.01;
    double clip = 1.0;   ///< largest norm of the gradient; 0: no clipping
    double average = 0;  ///< decay of the moving average of weights that is evaluated and saved; 0: none
    double val_fraction = 0.1;
    std::uint64_t seed = 1;
    Index validate_every =
        -1;              ///< steps; 0: at the end alone; -1: a twelfth of the run. It decides which model is kept
    Index patience = 0;  ///< validations without improvement after which to stop; 0: never
};

struct TrainOptions {
    Recipe recipe;
    std::filesystem::path data;  ///< empty: the run's own if one is resumed, else the default text
    std::filesystem::path out;
    std::filesystem::path resume;  ///< empty: a new run
    Index threads = 0;             ///< 0: as many as there are processors
    // These a resumed run keeps unless they are given again.
    std::optional<Index> checkpoint_every;  ///< steps; 0: at the end alone; not given: with every validation
    std::optional<Index> sample_every;      ///< steps; 0: never; not given: a fifth of the run
    std::optional<std::string> prime;       ///< not given: a new line
    std::optional<double> check_loss;       ///< exit code 1 unless the kept model's loss is within 5 % of this
    bool check_finite = false;
};

struct SampleOptions {
    std::filesystem::path model;
    std::string prime;    ///< empty: a new line
    Index length = 1000;  ///< characters
    double temperature = 0.8;
    Index top_k = 0;  ///< 0: all characters may come
    double top_p = 1.0;
    std::uint64_t seed = 1;
};

struct EvalOptions {
    std::filesystem::path model;
    std::filesystem::path data;
    std::string split = "val";  ///< train, val or all
    Index threads = 0;
};

struct InspectOptions {
    std::filesystem::path model;
};

using Command = std::variant<TrainOptions, SampleOptions, EvalOptions, InspectOptions>;

/// The command line is wrong; the message is one line.
class WrongUse : public unroll::Error {
public:
    using Error::Error;
};

/// Nothing after --help, which prints. @throws WrongUse
std::optional<Command> read_command_line(int argc, const char* const* argv);

// As files keep them.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ModelOptions, cell, hidden, layers, embed, dropout)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Recipe, model, batch, seq_len, steps, epochs, minutes, optimizer, lr, schedule,
                                   warmup, weight_decay, clip, average, val_fraction, seed, validate_every, patience)

}  // namespace shakespeare
