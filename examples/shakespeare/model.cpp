// The network's forward pass, and its file.
#include "model.hpp"

#include <unroll/io/checkpoint.hpp>

#include <fmt/format.h>

namespace shakespeare {

using namespace unroll;

template <class Real>
typename CharModel<Real>::Layers CharModel<Real>::make_layers(Scope<Real> at, const ModelOptions& o) {
    if (o.cell == "lstm")
        return LSTM<Real>(at, {.input_size = o.embed,
                               .hidden_size = o.hidden,
                               .num_layers = o.layers,
                               .dropout = o.dropout,
                               .forget_bias = 1.0});
    if (o.cell == "gru")
        return GRU<Real>(
            at, {.input_size = o.embed, .hidden_size = o.hidden, .num_layers = o.layers, .dropout = o.dropout});
    if (o.cell == "rnn")
        return RNN<Real>(
            at, {.input_size = o.embed, .hidden_size = o.hidden, .num_layers = o.layers, .dropout = o.dropout});
    throw ValueError(fmt::format("the cell must be lstm, gru or rnn, not '{}'", o.cell));
}

template <class Real>
CharModel<Real>::CharModel(Scope<Real> at, const ModelOptions& o, Size vocabulary)
    : embed_(at / "embed", {.num_embeddings = vocabulary, .embedding_dim = o.embed}),
      rnn_(make_layers(at / "rnn", o)),
      dropout_(at / "dropout", {.p = o.dropout}),
      head_(at / "head", {.in_features = o.hidden, .out_features = vocabulary}) {}

template <class Real>
Var<Real> CharModel<Real>::table() const {
    return std::visit([&](const auto& layers) { return layers.project(embed_.weight); }, rnn_);
}

template <class Real>
Var<Real> CharModel<Real>::operator()(const IntTensor& tokens, State& state, const Var<Real>& table) const {
    Var<Real> x = embedding(table, tokens);
    std::visit(
        [&](const auto& layers) {
            using Before = typename std::remove_cvref_t<decltype(layers)>::State;
            std::optional<Before> before;
            if (!state.empty()) std::move(state.begin(), state.end(), before.emplace().begin());
            auto after = layers(std::move(x), std::move(before), {.projected = true});
            state.assign(after.state.begin(), after.state.end());
            x = std::move(after.output);
        },
        rnn_);
    return head_(dropout_(std::move(x)));
}

template class CharModel<float>;
template class CharModel<double>;
template class CharModel<Dual<double>>;

StateDict model_state(const ParameterStore<float>& store, const ModelOptions& options, const Vocabulary& vocabulary,
                      double val_fraction, const nlohmann::json& training) {
    StateDict dict;
    dict.put_json("options", options);
    dict.put_json("vocabulary", vocabulary.to_json());
    dict.put_json("val_fraction", val_fraction);
    dict.put_json("training", training);
    const StateDict weights = state_dict(store, {.random_streams = false});
    for (const StateDict::Entry& entry : weights.entries())
        if (!entry.is_json()) dict.put(entry.name, entry.tensor());
    return dict;
}

SavedModel read_model(const std::filesystem::path& path) {
    const StateDict dict = load_model(path);
    try {
        SavedModel saved{.options = dict.json("options").get<ModelOptions>(),
                         .vocabulary = Vocabulary::from_json(dict.json("vocabulary")),
                         .val_fraction = dict.json("val_fraction").get<double>(),
                         .training = dict.json("training"),
                         .store = std::make_unique<ParameterStore<float>>(),
                         .model = nullptr};
        // Held against the tensors first: a wrong number must not ask for a network larger than the file.
        const ModelOptions& o = saved.options;
        dict.check_shape("embed.weight", {saved.vocabulary.size(), o.embed});
        dict.check_shape("head.weight", {saved.vocabulary.size(), o.hidden});
        if (o.layers < 1 || o.layers > static_cast<Index>(dict.size()))
            throw ValueError(fmt::format("the number of layers is {}", o.layers));
        saved.model = std::make_unique<CharModel<float>>(*saved.store, o, saved.vocabulary.size());
        load_state_dict(*saved.store, dict);
        saved.store->eval();
        return saved;
    } catch (const nlohmann::json::exception& error) {
        throw IoError(
            fmt::format("cannot use '{}': its options are not those of this program: {}", path.string(), error.what()));
    } catch (const Error& error) {
        throw IoError(fmt::format("cannot use '{}': {}", path.string(), error.what()));
    }
}

}  // namespace shakespeare
