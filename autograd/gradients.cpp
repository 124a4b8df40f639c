// The gradients of a store: dense ones in a block laid out like the values, those of single rows of large tables
// packed.
//
// A table of a million rows of which a step uses a thousand must cost no more than a small one. So their gradients
// stand behind one another in memory that stays in the cache, with a number for each row of the table that says where.
// The block sees them only when somebody asks for the whole gradient: an optimiser, which passes over all of the table
// anyway.
#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/parameter.hpp>
#include <unroll/autograd/profile.hpp>

#include <algorithm>

namespace unroll {
namespace {

template <class Entry>
Index width_of(const Entry& entry) {
    return entry.shape.size() / std::max<Index>(entry.shape[0], 1);
}

/// Numbers of rows lie anywhere in a large table: those that come next are fetched meanwhile.
constexpr std::size_t kFetchAhead = 16;

}  // namespace

template <class Real>
void Gradients<Real>::fit() {
    if (size_ == store_->block_size() && parts_.size() == store_->numbers()) return;
    // Layers were added: the old gradients move to the front of a larger block.
    const auto bytes = static_cast<std::size_t>(store_->block_size()) * sizeof(Real);
    detail::BlockRef block = detail::BlockRef::adopt(detail::Block::make(bytes));
    if (block_) std::copy_n(block_->template as<Real>(), size_, block->template as<Real>());
    block_ = std::move(block);
    size_ = store_->block_size();
    while (parts_.size() < store_->numbers()) parts_.push_back(std::make_unique<Part>());
}

// ---- What there is ----

template <class Real>
bool Gradients<Real>::has(const Entry& entry) const noexcept {
    const State s = state(entry);
    return s == State::dense || s == State::rows;
}

template <class Real>
typename Gradients<Real>::State Gradients<Real>::state(const Entry& entry) const noexcept {
    return entry.number < parts_.size() ? parts_[entry.number]->state : State::stale;
}

template <class Real>
const detail::PoolVector<Index>& Gradients<Real>::touched_rows(const Entry& entry) const noexcept {
    return parts_[entry.number]->rows;
}

template <class Real>
const Real* Gradients<Real>::packed_rows(const Entry& entry) const noexcept {
    return parts_[entry.number]->packed->template as<Real>();
}

/// Zeros in the block, the rows that are spread apart.
template <class Real>
void Gradients<Real>::clear(const Entry& entry, Part& part) {
    if (part.clear) return;
    std::fill_n(at(entry), entry.shape.size(), Real(0));
    part.clear = true;
}

template <class Real>
const Real* Gradients<Real>::raw(const Entry& entry) noexcept {
    Part& part = *parts_[entry.number];
    if (part.state == State::rows && !part.spread) {
        clear(entry, part);
        const Index width = width_of(entry);
        const Real* packed = packed_rows(entry);
        for (std::size_t r = 0; r < part.rows.size(); ++r)
            std::copy_n(packed + static_cast<Index>(r) * width, width, at(entry) + part.rows[r] * width);
        part.spread = true;
    }
    return at(entry);
}

/// Takes the rows out of the block again.
template <class Real>
void Gradients<Real>::gather(const Entry& entry, Part& part) noexcept {
    if (!part.spread) return;
    const Index width = width_of(entry);
    for (const Index row : part.rows) std::fill_n(at(entry) + row * width, width, Real(0));
    part.spread = false;
}

template <class Real>
void Gradients<Real>::pack() noexcept {
    for (const Entry* entry : store_->entries())
        if (state(*entry) == State::rows) gather(*entry, *parts_[entry->number]);
}

template <class Real>
void Gradients<Real>::forget_rows(Part& part) noexcept {
    const std::size_t count = part.rows.size();
    for (std::size_t r = 0; r < count; ++r) {
        if (r + kFetchAhead < count)
            __builtin_prefetch(&part.places[static_cast<std::size_t>(part.rows[r + kFetchAhead])], 1);
        part.places[static_cast<std::size_t>(part.rows[r])] = -1;
    }
    part.rows.clear();
}

template <class Real>
Real* Gradients<Real>::data(const Entry& entry) {
    apply_outstanding();
    fit();
    Part& part = *parts_[entry.number];
    if (part.state == State::stale) {
        clear(entry, part);
        part.state = State::zero;
    }
    if (part.state == State::rows) {
        raw(entry);
        forget_rows(part);
        part.spread = false;
        part.state = State::dense;
    }
    part.clear = false;  // the caller may write
    return at(entry);
}

template <class Real>
void Gradients<Real>::zero() noexcept {
    const ProfileSpan span("zero", "gradients");
    scale_ = 1.0;
    limit_ = kNoLimit;
    for (const Entry* entry : store_->entries()) {
        if (entry->number >= parts_.size()) continue;
        Part& part = *parts_[entry->number];
        if (part.state == State::rows) {
            gather(*entry, part);
            forget_rows(part);
        }
        part.state = State::stale;
    }
}

// ---- What arrives ----

template <class Real>
Real* Gradients<Real>::place(const Entry& entry) {
    apply_outstanding();
    fit();
    Part& part = *parts_[entry.number];
    if (part.state != State::stale) return nullptr;  // what is written before arrived() does not count
    part.clear = false;
    return at(entry);
}

template <class Real>
void Gradients<Real>::arrived(const Entry& entry) {
    parts_[entry.number]->state = State::dense;
}

template <class Real>
void Gradients<Real>::add_dense(const Entry& entry, const Real* gradient) {
    apply_outstanding();
    fit();
    Part& part = *parts_[entry.number];
    if (part.state == State::stale) {
        std::copy_n(gradient, entry.shape.size(), at(entry));
        part.clear = false;
        part.state = State::dense;
        return;
    }
    detail::add_to(data(entry), gradient, entry.shape.size());
    part.state = State::dense;
}

template <class Real>
void Gradients<Real>::add_rows(const Entry& entry, const std::int64_t* indices, const Real* rows, Index count,
                               Index width) {
    apply_outstanding();
    fit();
    Part& part = *parts_[entry.number];
    if (part.state == State::dense || part.state == State::zero) {
        part.state = State::dense;
        Real* to = at(entry);
        for (Index r = 0; r < count; ++r)
            if (indices[r] >= 0) detail::add_to(to + indices[r] * width, rows + r * width, width);
        return;
    }
    gather(entry, part);
    part.state = State::rows;
    if (part.places.empty()) part.places.resize(static_cast<std::size_t>(entry.shape[0]), -1);
    const auto used = static_cast<Index>(part.rows.size());
    if (!part.packed || used + count > part.capacity) {
        const Index capacity = std::max(used + count, 2 * part.capacity);
        auto larger =
            detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(capacity * width) * sizeof(Real)));
        if (used > 0) std::copy_n(packed_rows(entry), used * width, larger->template as<Real>());
        part.packed = std::move(larger);
        part.capacity = capacity;
    }
    Real* packed = part.packed->template as<Real>();
    for (Index r = 0; r < count; ++r) {
        constexpr auto kAhead = static_cast<Index>(kFetchAhead);
        if (r + kAhead < count && indices[r + kAhead] >= 0)
            __builtin_prefetch(&part.places[static_cast<std::size_t>(indices[r + kAhead])], 1);
        if (indices[r] < 0) continue;
        std::int32_t& place = part.places[static_cast<std::size_t>(indices[r])];
        const Real* row = rows + r * width;
        if (place < 0) {
            place = static_cast<std::int32_t>(part.rows.size());
            part.rows.push_back(indices[r]);
            std::copy_n(row, width, packed + place * width);
        } else {
            Real* target = packed + place * width;
            for (Index i = 0; i < width; ++i) target[i] += row[i];
        }
    }
}

template <class Real>
void Gradients<Real>::prepare_to_add(Gradients& other) {
    apply_outstanding();
    other.apply_outstanding();
    fit();
    other.fit();
}

template <class Real>
void Gradients<Real>::add_entry(Gradients& other, const Entry& entry) {
    const Part& part = *other.parts_[entry.number];
    if (part.state == State::dense) add_dense(entry, other.at(entry));
    if (part.state == State::rows)
        add_rows(entry, part.rows.begin(), other.packed_rows(entry), static_cast<Index>(part.rows.size()),
                 width_of(entry));
}

template <class Real>
void Gradients<Real>::add(Gradients& other) {
    prepare_to_add(other);
    for (const Entry* entry : store_->entries()) add_entry(other, *entry);
}

// ---- What is outstanding ----

template <class Real>
void Gradients<Real>::apply_outstanding() noexcept {
    if (scale_ == 1.0 && limit_ == kNoLimit) return;
    const Real factor(scale_), high(limit_), low(-limit_);
    scale_ = 1.0;
    limit_ = kNoLimit;
    // As the optimisers' kernels do it: NaN stays NaN.
    const auto apply = [&](Real* g, Index n) {
        for (Index i = 0; i < n; ++i) {
            const Real scaled = g[i] * factor;
            g[i] = scaled > high ? high : scaled < low ? low : scaled;
        }
    };
    for (const Entry* entry : store_->entries()) {
        if (!has(*entry)) continue;
        Part& part = *parts_[entry->number];
        if (part.state == State::rows) {
            gather(*entry, part);
            apply(part.packed->template as<Real>(), static_cast<Index>(part.rows.size()) * width_of(*entry));
        } else {
            apply(at(*entry), entry->shape.size());
        }
    }
}

template class Gradients<float>;
template class Gradients<double>;
template class Gradients<Dual<double>>;

}  // namespace unroll
