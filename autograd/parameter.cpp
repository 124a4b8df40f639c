// Parameters: the block of a store's values, names and scopes. Gradients are in gradients.cpp.
#include <unroll/autograd/parameter.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace unroll {
namespace {

constexpr Index kAlign = 64;

/// The nearest names by the number of shared leading characters, for messages.
template <class Map>
std::string some_names(const Map& names, std::string_view wanted) {
    std::vector<std::pair<std::size_t, std::string>> ranked;
    for (const auto& [name, entry] : names) {
        const std::size_t shared = static_cast<std::size_t>(
            std::mismatch(name.begin(),
                          name.begin() + static_cast<std::ptrdiff_t>(std::min(name.size(), wanted.size())),
                          wanted.begin())
                .first -
            name.begin());
        ranked.emplace_back(shared, name);
    }
    std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::string list;
    for (std::size_t i = 0; i < ranked.size() && i < 4; ++i) list += (i ? ", " : "") + ranked[i].second;
    return list.empty() ? "the store is empty" : "there are " + list + (ranked.size() > 4 ? ", …" : "");
}

}  // namespace

// ---- Scope ----

template <class Real>
std::string Scope<Real>::path_of_part(std::string_view part) const {
    const std::string& own = path();
    return own.empty() ? std::string(part) : own + "." + std::string(part);
}

template <class Real>
Scope<Real> Scope<Real>::operator/(std::string_view part) const {
    if (part.empty())
        throw ValueError("[scope] the name of a part must not be empty" +
                         (path().empty() ? "" : " (in " + path() + ")"));
    Scope scope(*store_);
    scope.number_ = detail::intern_path(path_of_part(part));
    return scope;
}

template <class Real>
Parameter<Real> Scope<Real>::parameter(std::string_view name, const Shape& shape, const Initializer<Real>& initial,
                                       bool transposed) const {
    const std::string full = path_of_part(name);
    if (store_->contains(full)) detail::fail_usage("parameter", fmt::format("the name {} is taken already", full));
    RandomStream random(store_->seed(), full);
    Tensor<Real> values = zeros<Real>(shape);  // an initialiser that throws leaves nothing behind
    initial(std::span<Real>(values.data(), values.size()), shape, random);
    detail::ParameterEntry<Real>& entry = store_->add(full, shape, transposed);
    std::copy_n(values.data(), values.size(), entry.value->data);
    return Parameter<Real>(entry);
}

template <class Real>
RandomStream& Scope<Real>::random(std::string_view name) const {
    const std::string full = path_of_part(name);
    return store_->randoms().try_emplace(full, RandomStream(store_->seed(), full)).first->second;
}

template <class Real>
bool Scope<Real>::training() const noexcept {
    return store_->training();
}

template <class Real>
Var<Real> Scope<Real>::leave(Var<Real> output) const {
    const auto& hooks = store_->forward_hooks();
    if (!hooks.empty())
        for (auto [at, end] = hooks.equal_range(number_); at != end; ++at) at->second(path(), output);
    return output;
}

// ---- Parameter ----

template <class Real>
Tensor<Real> Parameter<Real>::mutable_value() const {
    entry_->store->changed(entry());
    return alias<Real>(entry().value->block, entry().value->data, entry().shape);
}

template <class Real>
Tensor<Real> Parameter<Real>::gradient() const {
    Gradients<Real>& gradients = entry_->store->gradients();
    Real* const data = gradients.data(entry());  // may make the block
    return alias<Real>(gradients.block(), data, entry().shape);
}

template <class Real>
Tensor<Real> Parameter<Real>::mutable_gradient() const {
    Tensor<Real> whole = gradient();
    entry_->store->gradients().arrived(entry());
    return whole;
}

// ---- ParameterStore ----

template <class Real>
ParameterStore<Real>::ParameterStore(std::uint64_t seed) : seed_(seed), gradients_(*this) {}

template <class Real>
ParameterStore<Real>::~ParameterStore() = default;

template <class Real>
typename ParameterStore<Real>::Entry& ParameterStore<Real>::add(std::string name, const Shape& shape, bool transposed) {
    UNROLL_ASSERT(!by_name_.contains(name));
    if (transposed) UNROLL_ASSERT(shape.rank() == 2);
    constexpr Index step = kAlign / static_cast<Index>(sizeof(Real));
    const Index padded = (shape.size() + step - 1) / step * step;
    if (!block_ || used_ + padded > capacity_) {  // a first parameter may have no elements
        const Index capacity = std::max(used_ + padded, capacity_ * 2);
        auto block = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(capacity) * sizeof(Real)));
        std::fill_n(block->template as<Real>(), capacity, Real(0));
        if (block_) std::copy_n(block_->template as<Real>(), used_, block->template as<Real>());
        for (const auto& entry : owned_) {
            entry->value->data = block->template as<Real>() + entry->offset;
            entry->value->block = block;
        }
        block_ = std::move(block);
        capacity_ = capacity;
    }
    auto entry = std::make_unique<Entry>();
    entry->store = this;
    entry->number = static_cast<std::uint32_t>(owned_.size());
    entry->name = name;
    entry->version = detail::VersionRef::adopt(new detail::ParameterVersion{.name = name});
    entry->shape = shape;
    entry->offset = used_;
    entry->transposed = transposed;
    entry->value = detail::ValueRef<Real>::adopt(detail::Value<Real>::make());
    entry->value->shape = shape;
    entry->value->data = block_->template as<Real>() + used_;
    entry->value->block = block_;
    entry->value->parameter = entry.get();
    entry->value->version = entry->version;
    used_ += padded;
    entries_.push_back(entry.get());
    by_name_.emplace(std::move(name), entry.get());
    owned_.push_back(std::move(entry));
    return *owned_.back();
}

template <class Real>
Parameter<Real> ParameterStore<Real>::at(std::string_view name) const {
    const auto found = by_name_.find(name);
    if (found == by_name_.end())
        detail::fail_value("parameter", fmt::format("there is no parameter {}; {}", name, some_names(by_name_, name)));
    return Parameter<Real>(*found->second);
}

template <class Real>
Index ParameterStore<Real>::parameter_count() const noexcept {
    Index count = 0;
    for (const Entry* entry : entries_) count += entry->shape.size();
    return count;
}

template <class Real>
void ParameterStore<Real>::freeze(std::string_view prefix, bool frozen) {
    bool found = false;
    for (auto& [name, entry] : by_name_) {
        if (!name.starts_with(prefix)) continue;
        entry->frozen = frozen;
        found = true;
    }
    if (!found)
        detail::fail_value("freeze",
                           fmt::format("no parameter's name begins with {}; {}", prefix, some_names(by_name_, prefix)));
}

template <class Real>
Parameter<Real> ParameterStore<Real>::tie(std::string_view name, std::string_view other) {
    Entry& gone = at(name).entry();
    Entry& kept = at(other).entry();
    if (&gone == &kept) return Parameter<Real>(kept);
    if (!(gone.shape == kept.shape) || gone.transposed != kept.transposed)
        detail::fail_shape(
            "tie",
            fmt::format("{} and {} must have the same shape, and both or neither be the transpose of what "
                        "files hold (linear(x, weight, bias, true) multiplies by a transpose)",
                        name, other),
            {gone.shape, kept.shape});
    for (auto& [any, entry] : by_name_)
        if (entry == &gone) entry = &kept;
    changed(gone);
    kept.in_loop |= gone.in_loop;
    for (const auto& entry : owned_) {
        if (entry.get() != &gone && entry->tied_to != &gone) continue;
        entry->tied_to = &kept;
        entry->offset = kept.offset;
        entry->value->data = kept.value->data;
        entry->value->parameter = &kept;
        entry->value->version = kept.version;
    }
    entries_.erase(std::find(entries_.begin(), entries_.end(), &gone));
    return Parameter<Real>(kept);
}

template <class Real>
void ParameterStore<Real>::on_forward(std::string_view path, ForwardHook hook) {
    hooks_.emplace(detail::intern_path(path), std::move(hook));
}

template <class Real>
template <class Other>
void ParameterStore<Real>::copy_from(const ParameterStore<Other>& other) {
    for (const auto& [name, entry] : by_name_) {
        const auto found = other.names().find(name);
        if (found == other.names().end())
            detail::fail_value("copy_from", fmt::format("the other store has no parameter {}", name));
        if (!(found->second->shape == entry->shape))
            detail::fail_shape("copy_from", fmt::format("{} must have the same shape in both stores", name),
                               {entry->shape, found->second->shape});
    }
    for (const auto& [name, entry] : by_name_) {
        const auto& from = *other.names().find(name)->second;
        for (Index i = 0; i < entry->shape.size(); ++i)
            entry->value->data[i] = Real(static_cast<double>(from.value->data[i]));
        entry->frozen = from.frozen;
        changed(*entry);
    }
    // Layers hold references to the streams: each is changed in its place.
    for (const auto& [name, stream] : other.randoms()) randoms_.insert_or_assign(name, stream);
    training_ = other.training();
}

#define UNROLL_INSTANTIATE(R)                                                  \
    template class Scope<R>;                                                   \
    template class Parameter<R>;                                               \
    template class ParameterStore<R>;                                          \
    template void ParameterStore<R>::copy_from(const ParameterStore<float>&);  \
    template void ParameterStore<R>::copy_from(const ParameterStore<double>&); \
    template void ParameterStore<R>::copy_from(const ParameterStore<Dual<double>>&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
