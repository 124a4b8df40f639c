// The moving average of a store's weights.
#include <unroll/optim/average.hpp>

#include <unroll/autograd/kernels/kernels.hpp>
#include <unroll/autograd/kernels/optimizer_kernels.hpp>
#include <unroll/io/state_dict.hpp>
#include <unroll/optim/detail/option_check.hpp>
#include <unroll/optim/detail/pieces.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace unroll {
namespace {

constexpr const char* kAverage = "ExponentialMovingAverage";
constexpr const char* kCount = "n_averaged";

/// A parameter's average, apart from the count, whatever the parameter is called.
std::string key(const std::string& parameter) { return parameter + ".average"; }

/// The whole block of a store is one part.
struct Whole {
    Index size;
};

}  // namespace

template <class Real>
ExponentialMovingAverage<Real>::ExponentialMovingAverage(ParameterStore<Real>& store, const AverageOptions& options)
    : store_(store), decay_(options.decay) {
    detail::check_option(kAverage, "decay", options.decay, detail::kBelowOne);
}

template <class Real>
void ExponentialMovingAverage<Real>::check_fit() const {
    if (size_ != store_.block_size())
        detail::fail_usage(kAverage, "parameters were added to the store after the first update()");
}

template <class Real>
void ExponentialMovingAverage<Real>::check_out(const char* what) const {
    if (swapped_in_)
        detail::fail_usage(kAverage, fmt::format("the averages are swapped in; swap_out() before {}", what));
}

template <class Real>
void ExponentialMovingAverage<Real>::update() {
    check_out("update()");
    if (n_averaged_ == 0) {
        size_ = store_.block_size();
        block_ = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(size_) * sizeof(Real)));
        std::copy_n(store_.block_data(), size_, block_->template as<Real>());
        n_averaged_ = 1;
        return;
    }
    check_fit();
    detail::PoolVector<Whole> whole;
    whole.push_back({size_});
    detail::PoolVector<detail::Piece> pieces;
    detail::cut_pieces(whole, pieces);
    detail::for_each_piece(pieces, 3 * sizeof(Real), [this](const detail::Piece& piece, std::size_t) {
        Real* average = block_->template as<Real>() + piece.begin;
        const Real* values = store_.block_data() + piece.begin;
        if constexpr (std::is_same_v<Real, float>)
            detail::kernels().ema(decay_, piece.end - piece.begin, average, values);
        else
            detail::generic::ema(decay_, piece.end - piece.begin, average, values);
    });
    ++n_averaged_;
}

template <class Real>
void ExponentialMovingAverage<Real>::exchange() {
    std::swap_ranges(store_.block_data(), store_.block_data() + size_, block_->template as<Real>());
    for (auto* entry : store_.entries()) store_.changed(*entry);
    swapped_in_ = !swapped_in_;
}

template <class Real>
void ExponentialMovingAverage<Real>::swap_in() {
    check_out("another swap_in()");
    if (n_averaged_ == 0) detail::fail_usage(kAverage, "there is no average before the first update()");
    check_fit();
    exchange();
}

template <class Real>
void ExponentialMovingAverage<Real>::swap_out() {
    if (!swapped_in_) detail::fail_usage(kAverage, "the averages are not swapped in");
    exchange();
}

template <class Real>
StateDict ExponentialMovingAverage<Real>::state_dict() const {
    check_out("saving");
    StateDict state;
    state.put_scalar<std::int64_t>(kCount, n_averaged_);
    if (n_averaged_ == 0) return state;
    check_fit();
    for (const auto* entry : store_.entries())
        state.put(key(entry->name), alias<Real>(block_, average_of(*entry), entry->shape));
    return state;
}

template <class Real>
void ExponentialMovingAverage<Real>::load_state_dict(const StateDict& state) {
    check_out("loading");
    const auto count = state.template scalar<std::int64_t>(kCount);
    if (count < 0) detail::fail_value(kAverage, fmt::format("{} must be 0 or more; the state has {}", kCount, count));
    const std::size_t expected = 1 + (count == 0 ? 0 : store_.entries().size());
    detail::BlockRef block;
    if (count > 0) {
        const Index size = store_.block_size();
        block = detail::BlockRef::adopt(detail::Block::make(static_cast<std::size_t>(size) * sizeof(Real)));
        Real* averages = block->template as<Real>();
        std::fill_n(averages, size, Real(0));
        for (const auto* entry : store_.entries()) {
            state.check_shape(key(entry->name), entry->shape);
            state.copy_to(key(entry->name),
                          std::span<Real>(averages + entry->offset, static_cast<std::size_t>(entry->shape.size())),
                          Conversion::allowed);
        }
    }
    if (state.size() != expected)
        detail::fail_value(kAverage,
                           fmt::format("the state has {} entries where this store has {}; nothing was changed",
                                       state.size(), expected));
    block_ = std::move(block);
    size_ = count > 0 ? store_.block_size() : 0;
    n_averaged_ = count;
}

template class ExponentialMovingAverage<float>;
template class ExponentialMovingAverage<double>;
template class ExponentialMovingAverage<Dual<double>>;

}  // namespace unroll
