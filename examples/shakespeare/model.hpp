// The network: characters → embedding → recurrent layers → dropout → how likely each character is to come next; and its file.
#pragma once

#include "options.hpp"

#include <unroll/data/vocabulary.hpp>
#include <unroll/io/state_dict.hpp>
#include <unroll/layers/linear.hpp>
#include <unroll/layers/rnn.hpp>

#include <nlohmann/json.hpp>

#include <memory>
#include <variant>

namespace shakespeare {

using unroll::IntTensor;
using unroll::Scope;
using unroll::Size;
using unroll::Var;

/// Parameters: embed.weight, rnn.* (PyTorch's names), head.weight, head.bias.
template <class Real>
class CharModel : public unroll::Module {
public:
    /// What the layers remember: arrays (layers, B, hidden), one for RNN and GRU, two for LSTM. Empty: nothing yet.
    using State = unroll::Vars<Real>;

    /// @throws unroll::ValueError for a cell that is not known or a size out of range
    CharModel(Scope<Real> at, const ModelOptions& options, Size vocabulary);

    /// Tokens (T, B) to logits (T, B, V) of the tokens that follow. `state` goes in, and comes out as it is after them.
    Var<Real> operator()(const IntTensor& tokens, State& state) const { return (*this)(tokens, state, table()); }
    /// What the first layer's input weights make of each character (V, …). There are fewer characters than places in a
    /// window of text, so the table is multiplied and not the text. While no weight changes, one table serves many calls.
    Var<Real> table() const;
    Var<Real> operator()(const IntTensor& tokens, State& state, const Var<Real>& table) const;

private:
    using Layers = std::variant<unroll::LSTM<Real>, unroll::GRU<Real>, unroll::RNN<Real>>;
    static Layers make_layers(Scope<Real> at, const ModelOptions& options);

    unroll::Embedding<Real> embed_;
    Layers rnn_;
    unroll::Dropout<Real> dropout_;
    unroll::Linear<Real> head_;
};

extern template class CharModel<float>;
extern template class CharModel<double>;
extern template class CharModel<unroll::Dual<double>>;

/// What a model file holds: enough to write text, and to measure the loss on the same part of the same text.
struct SavedModel {
    ModelOptions options;
    unroll::Vocabulary vocabulary;
    double val_fraction;
    nlohmann::json training;  ///< steps, losses; for people
    std::unique_ptr<unroll::ParameterStore<float>> store;
    std::unique_ptr<CharModel<float>> model;
};

/// Parameters, options and vocabulary as a model file keeps them.
unroll::StateDict model_state(const unroll::ParameterStore<float>& store, const ModelOptions& options,
                              const unroll::Vocabulary& vocabulary, double val_fraction,
                              const nlohmann::json& training);
/// @throws unroll::IoError in one line for what is no such file
SavedModel read_model(const std::filesystem::path& path);

}  // namespace shakespeare
