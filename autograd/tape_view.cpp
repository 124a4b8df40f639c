// A look into the tape: counts, text, a drawing for Graphviz. Nothing here changes a tape.
#include <unroll/autograd/tape.hpp>

#include <unroll/autograd/parameter.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_set>

namespace unroll {
namespace {

template <class Real>
std::string_view name_of(const detail::Node& node) {
    return static_cast<const detail::OpInfo<Real>*>(node.info)->name(const_cast<detail::Node&>(node).op());
}

/// Text inside a quoted Graphviz string.
std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

}  // namespace

template <class Real>
std::vector<TapeCount> Tape<Real>::count() const {
    std::map<std::string, TapeCount, std::less<>> by_op;
    std::unordered_set<const void*> seen;
    for (const detail::Node* node = first_; node; node = node->next) {
        auto& mutable_node = const_cast<detail::Node&>(*node);
        const auto& info = *static_cast<const detail::OpInfo<Real>*>(node->info);
        TapeCount& entry = by_op[std::string(name_of<Real>(*node))];
        ++entry.nodes;
        entry.node_bytes += static_cast<Index>(node->op_offset + info.bytes);
        // Parameters belong to their store; a value that two nodes keep is counted at the first.
        const auto keeps = [&](const detail::Value<Real>& value) {
            if (!value.parameter && seen.insert(value.data).second)
                entry.saved_bytes += value.shape.size() * static_cast<Index>(sizeof(Real));
        };
        for (std::uint32_t i = 0; i < node->saved; ++i)
            keeps(*static_cast<const detail::Value<Real>*>(mutable_node.saved_values()[i]));
        if (info.held)
            for (const Var<Real>& value : info.held(mutable_node.op())) keeps(*value.internal());
        if (info.held_bytes) entry.saved_bytes += info.held_bytes(mutable_node.op());
    }
    std::vector<TapeCount> all;
    for (auto& [name, entry] : by_op) {
        entry.op = name;
        all.push_back(entry);
    }
    std::stable_sort(all.begin(), all.end(), [](const TapeCount& a, const TapeCount& b) {
        return a.saved_bytes + a.node_bytes > b.saved_bytes + b.node_bytes;
    });
    return all;
}

template <class Real>
std::string Tape<Real>::dump() const {
    std::string text;
    const auto operand = [&](Index number) -> std::string {
        if (number < 0) return "const";
        if (!slots_.contains(number)) return fmt::format("%{} (dropped)", number);
        const detail::Slot<Real>& s = slots_[number];
        return s.parameter ? s.parameter->name : fmt::format("%{}", number);
    };
    for (const detail::Node* node = first_; node; node = node->next) {
        auto& mutable_node = const_cast<detail::Node&>(*node);
        std::string out, in;
        for (std::uint32_t k = 0; k < node->outputs && k < 4; ++k) {
            const Index number = node->first_output + k;
            out += fmt::format("{}%{} {}", k ? ", " : "", number, to_string(slots_[number].shape));
        }
        if (node->outputs > 4) out += fmt::format(", … {} outputs", node->outputs);
        for (std::uint32_t i = 0; i < node->inputs && i < 8; ++i)
            in += (i ? ", " : "") + operand(mutable_node.input_slots()[i]);
        if (node->inputs > 8) in += fmt::format(", … {} operands", node->inputs);
        text += fmt::format("{:>6}  {} = {}({}){}\n", node->number, out, name_of<Real>(*node), in,
                            detail::place_suffix(node->place));
    }
    return text;
}

template <class Real>
std::string Tape<Real>::graphviz() const {
    // Clusters: modules, and inside them time steps. Edges run from the node that made a value to those that read it.
    std::map<std::pair<std::uint32_t, std::int32_t>, std::vector<const detail::Node*>> clusters;
    std::map<Index, std::string> maker;  // slot → name of what made it
    for (const detail::Node* node = first_; node; node = node->next) {
        clusters[{node->place.module, node->place.step}].push_back(node);
        for (std::uint32_t k = 0; k < node->outputs; ++k)
            maker[node->first_output + k] = fmt::format("n{}", node->number);
    }
    std::string text = "digraph tape {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white, "
                       "fontname=\"Helvetica\", fontsize=11];\n  edge [color=\"#777777\", arrowsize=0.7];\n"
                       "  graph [fontname=\"Helvetica\", fontsize=12, style=\"rounded,filled\", color=\"#bbbbbb\"];\n";
    std::map<std::uint32_t, std::vector<std::int32_t>> steps;
    for (const auto& [place, nodes] : clusters) steps[place.first].push_back(place.second);
    for (const auto& [module, of_module] : steps) {
        const std::string path = detail::path_of(module);
        if (!path.empty())
            text +=
                fmt::format("  subgraph cluster_m{} {{\n    label={}; fillcolor=\"#eef3fa\";\n", module, quoted(path));
        for (const std::int32_t step : of_module) {
            if (step >= 0)
                text += fmt::format("    subgraph cluster_m{}_t{} {{\n      label=\"t = {}\"; fillcolor=\"#dde8f5\";\n",
                                    module, step, step);
            for (const detail::Node* node : clusters[{module, step}])
                text += fmt::format(
                    "      n{} [label={}];\n", node->number,
                    quoted(fmt::format("{}  {}", name_of<Real>(*node), to_string(slots_[node->first_output].shape))));
            if (step >= 0) text += "    }\n";
        }
        if (!path.empty()) text += "  }\n";
    }
    std::set<Index> leaves;
    for (const detail::Node* node = first_; node; node = node->next) {
        auto& mutable_node = const_cast<detail::Node&>(*node);
        for (std::uint32_t i = 0; i < node->inputs; ++i) {
            const Index number = mutable_node.input_slots()[i];
            if (number < 0 || !slots_.contains(number)) continue;
            const auto made = maker.find(number);
            if (made == maker.end()) leaves.insert(number);
            text += fmt::format("  {} -> n{};\n", made == maker.end() ? fmt::format("leaf{}", number) : made->second,
                                node->number);
        }
    }
    for (const Index number : leaves) {
        const detail::Slot<Real>& s = slots_[number];
        text +=
            fmt::format("  leaf{} [label={}, shape=ellipse, fillcolor=\"#fff4d6\"];\n", number,
                        quoted(fmt::format("{} {}", s.parameter ? s.parameter->name : "watched", to_string(s.shape))));
    }
    return text + "}\n";
}

#define UNROLL_INSTANTIATE(R)                               \
    template std::vector<TapeCount> Tape<R>::count() const; \
    template std::string Tape<R>::dump() const;             \
    template std::string Tape<R>::graphviz() const;
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
