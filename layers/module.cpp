// The summary of a model, and what happens to the traces of a call that fails.
#include <unroll/layers/module.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace unroll {
namespace detail {

template <class Real>
Undo<Real>::Undo(ParameterStore<Real>& store) {
    for (auto& [name, stream] : store.randoms()) counters_.push_back({&stream, stream.counter()});
}

template <class Real>
Undo<Real>::~Undo() {
    if (kept_) return;
    if (tape_) tape_->drop_from(position_);
    for (const Counter& before : counters_)
        if (before.stream->counter() != before.value) before.stream->set_counter(before.value);
}

template class Undo<float>;
template class Undo<double>;
template class Undo<Dual<double>>;

}  // namespace detail

namespace {

/// "108 B", "1.6 KiB", "1.0 MiB"
std::string bytes_text(Index bytes) {
    if (bytes < 1024) return fmt::format("{} B", bytes);
    if (bytes < 1024 * 1024) return fmt::format("{:.1f} KiB", static_cast<double>(bytes) / 1024);
    return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1024 * 1024));
}

/// Of the parameters at `path` and below; of all for the empty path.
template <class Real>
std::string table(const ParameterStore<Real>& store, std::string_view path) {
    const auto inside = [&](std::string_view name) {
        return path.empty() || (name.starts_with(path) && name.substr(path.size()).starts_with('.'));
    };
    struct Line {
        std::string layer, parameter, shape;
        Index count;
        bool frozen;
    };
    std::vector<Line> lines;
    std::size_t wide_layer = 5, wide_parameter = 9, wide_shape = 5;
    Index total = 0;
    for (const auto* entry : store.entries()) {
        if (!inside(entry->name)) continue;
        total += entry->shape.size();
        const std::size_t dot = entry->name.rfind('.');
        Line line{dot == std::string::npos ? "(model)" : entry->name.substr(0, dot),
                  dot == std::string::npos ? entry->name : entry->name.substr(dot + 1), to_string(entry->shape),
                  entry->shape.size(), entry->frozen};
        wide_layer = std::max(wide_layer, line.layer.size());
        wide_parameter = std::max(wide_parameter, line.parameter.size());
        wide_shape = std::max(wide_shape, line.shape.size());
        lines.push_back(std::move(line));
    }
    std::string text = fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>12}\n", "layer", wide_layer, "parameter", wide_parameter,
                                   "shape", wide_shape, "numbers");
    std::string_view before;
    for (const Line& line : lines) {
        text += fmt::format("{:<{}}  {:<{}}  {:<{}}  {:>12}{}\n", line.layer == before ? "" : line.layer, wide_layer,
                            line.parameter, wide_parameter, line.shape, wide_shape, line.count,
                            line.frozen ? "  frozen" : "");
        before = line.layer;
    }
    return text + fmt::format("{} parameters, {}\n", total, bytes_text(total * Index(sizeof(Real))));
}

}  // namespace

template <class Real>
std::string summary(const Scope<Real>& at) {
    return table(at.store(), at.path());
}
template <class Real>
std::string summary(const ParameterStore<Real>& store) {
    return table(store, {});
}

#define UNROLL_INSTANTIATE(R)                      \
    template std::string summary(const Scope<R>&); \
    template std::string summary(const ParameterStore<R>&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
