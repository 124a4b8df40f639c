// Gradient slots: where contributions to one gradient come together, and where deferred products wait until they are read.
#include <unroll/autograd/tape.hpp>

#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/parameter.hpp>
#include <unroll/autograd/profile.hpp>

#include <algorithm>

namespace unroll {

template <class Real>
void detail::Pending<Real>::scatter(Real* to) const {
    for (Index r = 0; r < rows; ++r)
        if (indices[r] >= 0) add_to(to + indices[r] * n, b + r * n, n);
}

template <class Real>
Gradients<Real>* Tape<Real>::target(const ParameterStore<Real>* store) const noexcept {
    for (Gradients<Real>* gradients : into_)
        if (&gradients->store() == store) return gradients;
    return &const_cast<ParameterStore<Real>*>(store)->gradients();
}

template <class Real>
std::pair<Tape<Real>*, Index> Tape<Real>::home(Index number) noexcept {
    Tape* tape = this;
    while (tape->slot(number).captured >= 0) {
        number = tape->slot(number).captured;
        tape = tape->parent_;
    }
    return {tape, number};
}

template <class Real>
Accumulator<Real> Tape<Real>::accumulate(Index number) {
    detail::Slot<Real>& s = slot(number);
    if (s.captured >= 0) return parent_->accumulate(s.captured);
    const Index n = s.shape.size();
    const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(Real);
    if (s.flags & detail::kDense) {
        if (s.flags & detail::kReadOnly) {
            detail::BlockRef block = detail::BlockRef::adopt(detail::Block::make(bytes));
            std::copy_n(s.grad, n, block->template as<Real>());
            s.block = std::move(block);
            s.grad = s.block->template as<Real>();
            s.flags &= ~static_cast<std::uint32_t>(detail::kReadOnly);
        }
        return {s.grad, n, true};
    }
    s.grad = nullptr;
    if (s.parameter && !(s.flags & detail::kWatched)) s.grad = target(s.parameter->store)->place(*s.parameter);
    if (!s.grad && s.slab) {
        void* place = nullptr;
        s.block = s.slab->claim(s.slice, sweep_, &place);
        s.grad = static_cast<Real*>(place);
    }
    if (!s.grad) {
        s.block = detail::BlockRef::adopt(detail::Block::make(bytes));
        s.grad = s.block->template as<Real>();
    }
    s.flags |= detail::kDense;
    return {s.grad, n, false};
}

template <class Real>
void Tape<Real>::add_to_slot(Index number, const Real* gradient) {
    const Accumulator<Real> acc = accumulate(number);
    if (acc.adding)
        detail::add_to(acc.data, gradient, acc.size);
    else
        std::copy_n(gradient, acc.size, acc.data);
}

template <class Real>
void Tape<Real>::reduce_to_slot(Index number, const Real* gradient, const Shape& shape) {
    const Shape own = slot(number).shape;
    if (own == shape) {
        add_to_slot(number, gradient);
        return;
    }
    const Accumulator<Real> acc = accumulate(number);
    detail::reduce_broadcast(gradient, shape, acc.adding, acc.data, own);
}

template <class Real>
void Tape<Real>::settle(Index number) {
    if (slot(number).pending < 0) return;
    // In the order of arrival: the latest time step first.
    detail::PoolVector<std::int32_t> order;
    for (std::int32_t at = slot(number).pending; at >= 0; at = pending_[at].older) order.push_back(at);
    std::reverse(order.begin(), order.end());
    slot(number).pending = -1;
    slot(number).pending_rows = 0;
    multiply_pending(number, order);
    // Rows of a parameter are scattered when the sweep is over; of any other value now.
    const bool wait = slot(number).parameter != nullptr;
    std::int32_t still = -1;
    for (const std::int32_t at : order) {
        detail::Pending<Real>& p = pending_[at];
        if (p.indices && wait) {
            p.older = still;
            still = at;
            continue;
        }
        if (p.indices) {
            const Accumulator<Real> acc = accumulate(number);
            if (!acc.adding) std::fill_n(acc.data, acc.size, Real(0));
            p.scatter(acc.data);
        }
        p = detail::Pending<Real>();
    }
    slot(number).pending = still;
}

template <class Real>
void Tape<Real>::multiply_pending(Index number, std::span<const std::int32_t> order) {
    using detail::Pending;
    // Where the rows of all steps lie one behind the other, with time or against it, they are multiplied where they are.
    const Pending<Real>* first = nullptr;
    const Pending<Real>* last = nullptr;
    Index rows = 0;
    bool with_time = true, against_time = true;
    for (const std::int32_t at : order) {
        const Pending<Real>& p = pending_[at];
        if (p.indices) continue;
        UNROLL_ASSERT(!first || (p.m == first->m && p.n == first->n));
        if (last) {
            with_time = with_time && p.a + p.rows * p.m == last->a && p.b + p.rows * p.n == last->b;
            against_time = against_time && p.a == last->a + last->rows * p.m && p.b == last->b + last->rows * p.n;
        } else {
            first = &p;
        }
        last = &p;
        rows += p.rows;
    }
    if (!first) return;
    const Index m = first->m, n = first->n;
    const Real* a = against_time ? first->a : last->a;
    const Real* b = against_time ? first->b : last->b;
    detail::BlockRef packed_a, packed_b;
    if (!with_time && !against_time) {
        packed_a = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(rows * m) * sizeof(Real)));
        packed_b = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(rows * n) * sizeof(Real)));
        Real* to_a = packed_a->template as<Real>();
        Real* to_b = packed_b->template as<Real>();
        a = to_a;
        b = to_b;
        // The earliest time step first, as where the rows lie with time: sums have the same bits.
        for (std::size_t i = order.size(); i-- > 0;) {
            const Pending<Real>& p = pending_[order[i]];
            if (p.indices) continue;
            to_a = std::copy_n(p.a, p.rows * m, to_a);
            to_b = std::copy_n(p.b, p.rows * n, to_b);
        }
    }
    const Accumulator<Real> acc = accumulate(number);
    const ProfileSpan span("backward", "deferred_product", detail::current_place());
    detail::gemm(true, false, m, n, rows, a, m, b, n, acc.adding, acc.data, n);
    ++deferred_products_;
}

template <class Real>
void Tape<Real>::multiply_transposed(Operand<Real> weight, Index rows, Index m, Index n, const Real* g, bool adding,
                                     Real* to) {
    // One list for all tapes below the outermost: a part that runs again multiplies in the same way as it would have done at once.
    if (parent_) return parent_->multiply_transposed(weight, rows, m, n, g, adding, to);
    // Products read a transposed matrix at 0.7 to 0.9 of the speed (bench/peers/products.cpp), and a packed one faster than
    // either. Both cost about as much as the product of fifty rows, so they are made for many rows, or when the weight comes
    // a second time.
    const bool pack = detail::PackedWeight<Real>::pays(rows);
    constexpr std::size_t kMost = 64;  // weights that are made anew at every time step do not fill the list
    Transposed* found = nullptr;
    for (Transposed& t : transposed_)
        if (t.weight == weight.data && t.m == m && t.n == n) found = &t;
    if (!found && rows > 1 && transposed_.size() < kMost) {
        transposed_.push_back({weight.data, m, n, 0, {}, {}, detail::BlockRef::share(weight.block)});
        found = &transposed_.back();
    }
    if (!found || rows <= 1 || (++found->uses < 2 && pack))
        return detail::gemm(false, true, rows, m, n, g, n, weight.data, n, adding, to, m);
    if (pack && !found->packed && !found->plain)
        found->packed = detail::PackedWeight<Real>::make(weight.data, true, rows, n, m);
    if (pack && found->packed) return found->packed.multiply(rows, g, adding, to);
    if (!found->plain) {
        found->plain = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(m * n) * sizeof(Real)));
        detail::transpose(weight.data, m, n, found->plain->template as<Real>());
    }
    detail::gemm(false, false, rows, m, n, g, n, found->plain->template as<Real>(), m, adding, to, m);
}

#define UNROLL_INSTANTIATE(R)                                                        \
    template void detail::Pending<R>::scatter(R*) const;                             \
    template Gradients<R>* Tape<R>::target(const ParameterStore<R>*) const noexcept; \
    template std::pair<Tape<R>*, Index> Tape<R>::home(Index) noexcept;               \
    template Accumulator<R> Tape<R>::accumulate(Index);                              \
    template void Tape<R>::add_to_slot(Index, const R*);                             \
    template void Tape<R>::reduce_to_slot(Index, const R*, const Shape&);            \
    template void Tape<R>::settle(Index);                                            \
    template void Tape<R>::multiply_pending(Index, std::span<const std::int32_t>);   \
    template void Tape<R>::multiply_transposed(Operand<R>, Index, Index, Index, const R*, bool, R*);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
