// Reading a text in parallel streams, and the command `eval`.
#include "evaluate.hpp"

#include "corpus.hpp"

#include <unroll/autograd/parallel.hpp>
#include <unroll/layers/metrics.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace shakespeare {

using namespace unroll;

namespace {

using State = CharModel<float>::State;

constexpr Index kStreams = 64;    // side by side at most
constexpr Index kShortest = 128;  // characters of a stream
constexpr Index kRows = 32;       // streams that one thread reads together
constexpr Index kSteps = 128;     // characters read at once
constexpr Index kMostPasses = 8;
constexpr double kTolerance = 1e-6;  // nats per character

/// Reads `steps` characters of `rows` streams, which begin at `begin` and then every `stride`. Returns the sum of losses.
double read_streams(const CharModel<float>& model, const IntTensor& ids, Index begin, Index stride, Index rows,
                    Index steps, State& state) {
    const Var<float> table = model.table();
    double sum = 0;
    for (Index done = 0; done < steps; done += kSteps) {
        const Index now = std::min(kSteps, steps - done);
        IntTensor inputs = IntTensor::from_shape({static_cast<std::size_t>(now), static_cast<std::size_t>(rows)});
        IntTensor targets = inputs;
        for (Index row = 0; row < rows; ++row)
            for (Index t = 0; t < now; ++t) {
                const Index at = begin + row * stride + done + t;
                inputs(t, row) = ids(at);
                targets(t, row) = ids(at + 1);
            }
        const Var<float> losses = cross_entropy(model(inputs, state, table), targets, {.reduction = Reduction::none});
        for (Index i = 0; i < losses.size(); ++i) sum += static_cast<double>(losses.data()[i]);
    }
    return sum;
}

/// State arrays of all streams, from those of the groups of rows that threads have read.
State joined(const std::vector<State>& parts) {
    State all;
    for (std::size_t k = 0; k < parts[0].size(); ++k) {
        Vars<float> column;
        for (const State& part : parts) column.push_back(part[k]);
        all.push_back(concat(column, 1));
    }
    return all;
}

State rows_of(const State& all, Index begin, Index end) {
    State part;
    for (const Var<float>& array : all) part.push_back(slice(array, 1, begin, end));
    return part;
}

/// Where each stream begins if the one before it ended there; the first one with an empty memory.
State moved_on(const State& ends, Index streams) {
    State starts;
    for (const Var<float>& array : ends) {
        const Var<float> nothing = zeros<float>({array.shape()[0], 1, array.shape()[2]});
        starts.push_back(streams == 1 ? nothing : concat({nothing, slice(array, 1, 0, streams - 1)}, 1));
    }
    return starts;
}

}  // namespace

Evaluation evaluate(const CharModel<float>& model, const IntTensor& ids, Precision precision) {
    const Index predictions = static_cast<Index>(ids.size()) - 1;
    if (predictions < 1) throw ValueError("a text of less than two characters has nothing to predict");
    const Index streams = std::clamp<Index>(predictions / kShortest, 1, kStreams);
    const Index length = predictions / streams;
    const Index parts = (streams + kRows - 1) / kRows;
    State starts;  // of all streams; empty: with an empty memory
    double before = std::numeric_limits<double>::quiet_NaN();
    for (Index pass = 1;; ++pass) {
        std::vector<State> states(static_cast<std::size_t>(parts));
        std::vector<double> sums(static_cast<std::size_t>(parts));
        parallel_for(parts, [&](Index p) {
            const Index begin = p * kRows, end = std::min(streams, begin + kRows);
            State& state = states[static_cast<std::size_t>(p)];
            if (!starts.empty()) state = rows_of(starts, begin, end);
            sums[static_cast<std::size_t>(p)] =
                read_streams(model, ids, begin * length, length, end - begin, length, state);
        });
        double sum = 0;
        for (const double part : sums) sum += part;
        const State ends = joined(states);
        State rest = rows_of(ends, streams - 1, streams);  // the last stream reads what the others leave over
        sum += read_streams(model, ids, streams * length, 1, 1, predictions - streams * length, rest);
        const double loss = sum / static_cast<double>(predictions);
        if (precision == Precision::estimate || streams == 1) return {loss, predictions, pass};
        if (std::abs(loss - before) <= kTolerance) return {loss, predictions, pass};
        if (pass == kMostPasses || !std::isfinite(loss)) break;
        before = loss;
        starts = moved_on(ends, streams);
    }
    State state;
    const double sum = read_streams(model, ids, 0, 1, 1, predictions, state);
    return {sum / static_cast<double>(predictions), predictions, kMostPasses + 1};
}

int run(const EvalOptions& options) {
    if (options.threads > 0) set_num_threads(options.threads);
    const SavedModel saved = read_model(options.model);
    const bool whole = options.split == "all";
    const Corpus corpus = read_corpus(options.data, whole ? 0 : saved.val_fraction, saved.vocabulary);
    Split split = options.split == "val" ? corpus.split.validation : corpus.split.train;
    if (whole) split.name = "all";
    if (split.empty())
        throw ValueError("the model was trained on all of its text: there is no validation part (--split all)");
    const Evaluation result = evaluate(*saved.model, part_of(corpus.ids, split), Precision::exact);
    const nlohmann::ordered_json line{{"model", options.model.string()},
                                      {"data", options.data.string()},
                                      {"split", options.split},
                                      {"described", split.describe()},
                                      {"characters", split.size()},
                                      {"predictions", result.predictions},
                                      {"nats_per_character", result.loss},
                                      {"bits_per_character", bits_per_symbol(result.loss)}};
    // A path need not be UTF-8.
    fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return 0;
}

}  // namespace shakespeare
