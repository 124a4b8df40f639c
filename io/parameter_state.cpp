// The state of a ParameterStore as a StateDict and back: names, axes in PyTorch's order, ties, random streams.
#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/parameter.hpp>
#include <unroll/io/state_dict.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace unroll {
namespace {

constexpr const char* kRandomStreams = "random_streams";
constexpr const char* kFrozen = "frozen";

template <class Real>
using EntryOf = detail::ParameterEntry<Real>;

/// Every name of each parameter; its own comes first.
template <class Real>
std::map<const EntryOf<Real>*, std::vector<std::string>> names_of(const ParameterStore<Real>& store) {
    std::map<const EntryOf<Real>*, std::vector<std::string>> names;
    for (const auto& [name, entry] : store.names()) {
        auto& list = names[entry];
        list.insert(name == entry->name ? list.begin() : list.end(), name);
    }
    return names;
}

template <class Real>
Shape stored_shape(const EntryOf<Real>& entry) {
    return entry.transposed ? Shape{entry.shape[1], entry.shape[0]} : entry.shape;
}

/// to (columns, rows) = from (rows, columns) transposed, in blocks that stay in the cache.
template <class Real>
void transpose(const Real* from, Real* to, Index rows, Index columns) {
    constexpr Index kBlock = 32;
    for (Index i0 = 0; i0 < rows; i0 += kBlock)
        for (Index j0 = 0; j0 < columns; j0 += kBlock)
            for (Index i = i0; i < std::min(rows, i0 + kBlock); ++i)
                for (Index j = j0; j < std::min(columns, j0 + kBlock); ++j) to[j * rows + i] = from[i * columns + j];
}

bool is_floating(DType dtype) noexcept {
    return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

/// All that speaks against a load, gathered so that one message tells everything.
class Faults {
public:
    explicit Faults(std::string origin) : origin_(std::move(origin)) {}

    void missing(const std::string& what) { lists_[0].push_back(what); }
    void unexpected(const std::string& what) { lists_[1].push_back(what); }
    void shape(const std::string& what) { lists_[2].push_back(what); }
    void other(const std::string& what) { lists_[3].push_back(what); }

    void throw_if_any() const {
        constexpr std::string_view kTitles[] = {"missing: ", "unexpected: ", "of another shape: ", ""};
        std::string text;
        for (std::size_t k = 0; k < lists_.size(); ++k)
            if (!lists_[k].empty())
                text += fmt::format("{}{}{}", text.empty() ? "" : "; ", kTitles[k], listed(lists_[k]));
        if (text.empty()) return;
        const std::string message = fmt::format("[load_state_dict] {}{}; nothing was changed",
                                                origin_.empty() ? "" : fmt::format("'{}': ", origin_), text);
        if (lists_[0].empty() && lists_[1].empty() && lists_[3].empty()) throw ShapeError(message);
        throw ValueError(message);
    }

private:
    static std::string listed(const std::vector<std::string>& items) {
        constexpr std::size_t kShown = 8;
        std::string text;
        for (std::size_t i = 0; i < items.size() && i < kShown; ++i) text += (i ? ", " : "") + items[i];
        return items.size() > kShown ? fmt::format("{} and {} more", text, items.size() - kShown) : text;
    }

    std::string origin_;
    std::array<std::vector<std::string>, 4> lists_;
};

using Streams = std::map<std::string, RandomStream>;

nlohmann::json streams_to_json(const Streams& streams) {
    nlohmann::json json = nlohmann::json::object();
    for (const auto& [name, stream] : streams) json[name] = {stream.seed(), stream.stream(), stream.counter()};
    return json;
}

Streams streams_from_json(const StateDict& dict, const Streams& present, Faults& faults) {
    Streams streams;
    if (!dict.contains(kRandomStreams)) {
        if (!present.empty()) faults.missing(kRandomStreams);
        return streams;
    }
    const nlohmann::json json = dict.json(kRandomStreams);
    const auto is_stream = [](const nlohmann::json& value) {
        return value.is_array() && value.size() == 3 &&
               std::ranges::all_of(value, [](const nlohmann::json& part) { return part.is_number_unsigned(); });
    };
    if (!json.is_object() || !std::ranges::all_of(json, is_stream)) {
        faults.other("random_streams is not an object of [seed, stream, counter]");
        return streams;
    }
    for (const auto& [name, value] : json.items()) {
        if (!present.contains(name)) faults.unexpected(fmt::format("random stream {}", detail::in_quotes(name)));
        streams.emplace(name, RandomStream(value[0].get<std::uint64_t>(), value[1].get<std::uint64_t>(),
                                           value[2].get<std::uint64_t>()));
    }
    for (const auto& [name, stream] : present)
        if (!streams.contains(name)) faults.missing(fmt::format("random stream {}", detail::in_quotes(name)));
    return streams;
}

template <class Real>
std::vector<EntryOf<Real>*> frozen_from_json(const StateDict& dict, const ParameterStore<Real>& store, Faults& faults) {
    std::vector<EntryOf<Real>*> frozen;
    if (!dict.contains(kFrozen)) return frozen;
    const nlohmann::json json = dict.json(kFrozen);
    if (!json.is_array() || !std::ranges::all_of(json, [](const auto& name) { return name.is_string(); })) {
        faults.other("frozen is not a list of names");
        return frozen;
    }
    for (const auto& name : json) {
        const auto found = store.names().find(name.template get_ref<const std::string&>());
        if (found == store.names().end())
            faults.unexpected(
                fmt::format("frozen parameter {}", detail::in_quotes(name.template get_ref<const std::string&>())));
        else
            frozen.push_back(found->second);
    }
    return frozen;
}

/// The tensor for a parameter, null if there is none or it does not fit.
template <class Real>
const StateDict::Entry* choose(const StateDict& dict, const EntryOf<Real>& parameter,
                               const std::vector<std::string>& names, bool convert, LoadReport& report,
                               Faults& faults) {
    const StateDict::Entry* chosen = nullptr;
    for (const std::string& name : names) {
        const StateDict::Entry* entry = dict.find(name);
        if (!entry || entry->is_json()) continue;
        if (!chosen)
            chosen = entry;
        else if (!(chosen->tensor() == entry->tensor()))
            faults.other(fmt::format("{} and {} are one parameter here and hold different values", chosen->name, name));
    }
    if (!chosen) {
        report.missing.push_back(parameter.name);
        return nullptr;
    }
    const Shape expected = stored_shape(parameter);
    const DType wanted = detail::StoredAs<Real>::value;
    const DType found = chosen->tensor().dtype();
    if (!(chosen->tensor().shape() == expected)) {
        faults.shape(fmt::format("{} (expected {}, found {})", chosen->name, to_string(expected),
                                 to_string(chosen->tensor().shape())));
        return nullptr;
    }
    if (found != wanted && !(convert && is_floating(found))) {
        faults.other(fmt::format("{} must be {}, it is {}", chosen->name, to_string(wanted), to_string(found)));
        return nullptr;
    }
    return chosen;
}

}  // namespace

template <class Real>
StateDict state_dict(const ParameterStore<Real>& store, const SaveOptions& options) {
    StateDict dict;
    const auto names = names_of(store);
    nlohmann::json frozen = nlohmann::json::array();
    for (const EntryOf<Real>* entry : store.entries()) {
        const auto count = static_cast<std::size_t>(entry->shape.size());
        Tensor<Real> turned;
        const Real* data = entry->value->data;
        if (entry->transposed) {
            turned = empty<Real>(stored_shape(*entry));
            transpose(data, turned.data(), entry->shape[0], entry->shape[1]);
            data = turned.data();
        }
        const StoredTensor stored(std::span<const Real>(data, count), stored_shape(*entry));
        dict.put(entry->name, stored);
        if (options.all_names)
            for (std::size_t i = 1; i < names.at(entry).size(); ++i) dict.put(names.at(entry)[i], stored);
        if (entry->frozen) frozen.push_back(entry->name);
    }
    if (options.frozen && !frozen.empty()) dict.put_json(kFrozen, frozen);
    if (options.random_streams && !store.randoms().empty())
        dict.put_json(kRandomStreams, streams_to_json(store.randoms()));
    return dict;
}

template <class Real>
LoadReport load_state_dict(ParameterStore<Real>& store, const StateDict& dict, const LoadOptions& options) {
    struct Step {
        EntryOf<Real>* parameter;
        const StateDict::Entry* from;
        Tensor<Real> turned;
    };
    const Conversion conversion = options.convert ? Conversion::allowed : Conversion::none;
    LoadReport report;
    Faults faults(dict.origin());
    std::vector<Step> steps;
    const auto names = names_of(store);
    for (EntryOf<Real>* parameter : store.entries())
        if (const auto* from = choose(dict, *parameter, names.at(parameter), options.convert, report, faults))
            steps.push_back({parameter, from, {}});
    for (const StateDict::Entry& entry : dict.entries())
        if (!entry.is_json() && !store.contains(entry.name)) report.unexpected.push_back(entry.name);
    if (options.strict) {
        for (const std::string& name : report.missing) faults.missing(name);
        for (const std::string& name : report.unexpected) faults.unexpected(detail::in_quotes(name));
    }
    Streams streams;
    if (options.random_streams) streams = streams_from_json(dict, store.randoms(), faults);
    std::vector<EntryOf<Real>*> frozen;
    if (options.frozen) frozen = frozen_from_json(dict, store, faults);
    faults.throw_if_any();
    for (Step& step : steps) {
        if (!step.parameter->transposed) continue;
        const Tensor<Real> stored = dict.tensor<Real>(step.from->name, conversion);
        step.turned = empty<Real>(step.parameter->shape);
        transpose(stored.data(), step.turned.data(), step.parameter->shape[1], step.parameter->shape[0]);
    }

    // From here on nothing fails.
    for (const Step& step : steps) {
        const std::span<Real> values(step.parameter->value->data,
                                     static_cast<std::size_t>(step.parameter->shape.size()));
        if (step.parameter->transposed)
            std::copy_n(step.turned.data(), values.size(), values.data());
        else
            dict.copy_to(step.from->name, values, conversion);
        store.changed(*step.parameter);
    }
    // Layers hold references to the streams: each is changed in its place.
    for (const auto& [name, stream] : streams) store.randoms().at(name) = stream;
    if (options.frozen) {
        for (EntryOf<Real>* parameter : store.entries()) parameter->frozen = false;
        for (EntryOf<Real>* parameter : frozen) parameter->frozen = true;
    }
    return report;
}

#define UNROLL_INSTANTIATE(R)                                                    \
    template StateDict state_dict(const ParameterStore<R>&, const SaveOptions&); \
    template LoadReport load_state_dict(ParameterStore<R>&, const StateDict&, const LoadOptions&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
