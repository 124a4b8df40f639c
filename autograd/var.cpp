// Var: making constants, reading single elements, text.
#include <unroll/autograd/var.hpp>

#include <fmt/format.h>

namespace unroll {

template <class Real>
detail::Value<Real>* detail::Value<Real>::make() {
    return new (pool_allocate(sizeof(Value))) Value;
}

template <class Real>
detail::Value<Real>* detail::Value<Real>::make(const Shape& shape) {
    static_assert(sizeof(Value) <= kBeforeBlock);
    Block* const block = Block::make_behind(kBeforeBlock, static_cast<std::size_t>(shape.size()) * sizeof(Real));
    Value* const value = new (block->piece()) Value;
    value->in_piece = true;
    value->data = block->template as<Real>();
    value->block = BlockRef::adopt(block);
    value->shape = shape;
    return value;
}

template <class Real>
void detail::Value<Real>::destroy(Value* value) noexcept {
    if (!value->in_piece) {
        value->~Value();
        return pool_free(value);
    }
    Block* const first = value->first_block();
    if (value->block.get() == first) value->block.leak();
    value->~Value();
    BlockRef::release(first);
}

template <class Real>
detail::Block* detail::Value<Real>::first_block() noexcept {
    return reinterpret_cast<Block*>(reinterpret_cast<char*>(this) + kBeforeBlock);
}

template <class Real>
void detail::Value<Real>::move_to(const BlockRef& other, Real* at) {
    std::copy_n(data, shape.size(), at);
    data = at;
    if (in_piece && block.get() == first_block()) block.leak();  // until this value goes
    block = other;
}

template <class Real>
Var<Real>::Var(Tensor<Real>&& tensor) {
    const Shape shape = shape_of(tensor);
    if (tensor.storage().is_alias()) {
        Tensor<Real> copy = empty<Real>(shape);
        std::copy_n(tensor.data(), tensor.size(), copy.data());
        *this = Var(std::move(copy));
        return;
    }
    value_ = detail::ValueRef<Real>::adopt(detail::Value<Real>::make());
    value_->shape = shape;
    value_->data = tensor.data();
    value_->block = tensor.storage().block();
    Tensor<Real> gone = std::move(tensor);  // the caller's tensor is left empty, as after any move
}

template <class Real>
Var<Real>::Var(const Tensor<Real>& tensor) : Var(Tensor<Real>(tensor)) {}

template <class Real>
const Tensor<Real> Var<Real>::value() const {
    const detail::Value<Real>& mine = get();
    if (mine.block && mine.block->slab) value_->exclusive = false;  // who reads a slice is not counted
    return alias<Real>(mine.block, mine.data, mine.shape);
}

template <class Real>
Real Var<Real>::item() const {
    if (size() != 1) detail::fail_shape("item", "takes a value with exactly one element", {shape()});
    return data()[0];
}

template <class Real>
Var<Real> Var<Real>::detach() const {
    const detail::Value<Real>& mine = get();
    Var out;
    out.value_ = detail::ValueRef<Real>::adopt(detail::Value<Real>::make());
    out.value_->shape = mine.shape;
    out.value_->read(mine, mine.data);
    out.value_->zero = mine.zero;
    if (value_->exclusive) value_->exclusive = false;  // a parameter's value, read by several threads, is not written
    return out;
}

template <class Real>
std::string to_string(const Var<Real>& var) {
    if (!var) return "Var(empty)";
    constexpr Index kShown = 8;
    std::string elements;
    for (Index i = 0; i < std::min(var.size(), kShown); ++i)
        elements += fmt::format("{}{}", i ? ", " : "", var.data()[i]);
    if (var.size() > kShown) elements += ", …";
    return fmt::format("Var{} [{}]", to_string(var.shape()), elements);
}

#define UNROLL_INSTANTIATE(R)         \
    template struct detail::Value<R>; \
    template class Var<R>;            \
    template std::string to_string(const Var<R>&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
