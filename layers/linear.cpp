// Linear, Embedding, Dropout, LayerNorm.
#include <unroll/layers/linear.hpp>

#include <fmt/format.h>

#include <cmath>

namespace unroll {
namespace {

template <class Real>
std::string where(const Scope<Real>& at) {
    return at.path().empty() ? "" : " (in " + at.path() + ")";
}

template <class Real>
void need_positive(const Scope<Real>& at, std::string_view layer, std::string_view option, Index value) {
    if (value < 1)
        throw ValueError(fmt::format("[{}] {} must be 1 or more; got {}{}", layer, option, value, where(at)));
}

template <class Real>
Initializer<Real> uniform_by_fan(Index fan_in) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
    return init::uniform<Real>(-bound, bound);
}

}  // namespace

template <class Real>
Linear<Real>::Linear(Scope<Real> at, const LinearOptions& o) : at_(at) {
    need_positive(at, "Linear", "in_features", o.in_features);
    need_positive(at, "Linear", "out_features", o.out_features);
    weight = at.parameter("weight", {o.in_features, o.out_features}, uniform_by_fan<Real>(o.in_features), true);
    if (o.bias) bias = at.parameter("bias", {o.out_features}, uniform_by_fan<Real>(o.in_features));
}

template <class Real>
Var<Real> Linear<Real>::operator()(Var<Real> x) const {
    const auto guard = at_.enter();
    return at_.leave(linear<Real>(std::move(x), weight, bias));
}

template <class Real>
Embedding<Real>::Embedding(Scope<Real> at, const EmbeddingOptions& o) : at_(at), padding_idx_(o.padding_idx) {
    need_positive(at, "Embedding", "num_embeddings", o.num_embeddings);
    need_positive(at, "Embedding", "embedding_dim", o.embedding_dim);
    if (o.padding_idx < -1 || o.padding_idx >= o.num_embeddings)
        throw ValueError(fmt::format("[Embedding] padding_idx must be −1 (none) to num_embeddings − 1 = {}; got {}{}",
                                     Index(o.num_embeddings) - 1, o.padding_idx, where(at)));
    weight = at.parameter("weight", {o.num_embeddings, o.embedding_dim}, init::normal<Real>());
    if (o.padding_idx >= 0)
        std::fill_n(weight.mutable_value().data() + o.padding_idx * o.embedding_dim, Index(o.embedding_dim), Real(0));
}

template <class Real>
Var<Real> Embedding<Real>::operator()(const IntTensor& tokens) const {
    const auto guard = at_.enter();
    return at_.leave(embedding<Real>(weight, tokens, padding_idx_));
}

template <class Real>
Dropout<Real>::Dropout(Scope<Real> at, const DropoutOptions& o) : at_(at), p_(o.p) {
    if (!(o.p >= 0 && o.p <= 1)) throw ValueError(fmt::format("[Dropout] p must be 0 to 1; got {}{}", o.p, where(at)));
    random_ = &at.random("mask");
}

template <class Real>
Var<Real> Dropout<Real>::operator()(Var<Real> x) const {
    if (p_ == 0 || !at_.training()) return x;
    const auto guard = at_.enter();
    return at_.leave(dropout(std::move(x), p_, *random_));
}

template <class Real>
LayerNorm<Real>::LayerNorm(Scope<Real> at, const LayerNormOptions& o)
    : at_(at), normalized_shape_(o.normalized_shape), eps_(o.eps) {
    need_positive(at, "LayerNorm", "normalized_shape", o.normalized_shape);
    if (!(o.eps >= 0)) throw ValueError(fmt::format("[LayerNorm] eps must be 0 or more; got {}{}", o.eps, where(at)));
    if (!o.elementwise_affine) return;
    weight = at.parameter("weight", {o.normalized_shape}, init::constant<Real>(1.0));
    bias = at.parameter("bias", {o.normalized_shape}, init::constant<Real>(0.0));
}

template <class Real>
Var<Real> LayerNorm<Real>::operator()(Var<Real> x) const {
    const auto guard = at_.enter();
    if (x && (x.rank() < 1 || x.shape().back() != normalized_shape_))
        detail::fail_shape("LayerNorm", fmt::format("the last axis must have {} elements", normalized_shape_),
                           {x.shape()});
    return at_.leave(layer_norm<Real>(std::move(x), weight, bias, eps_));
}

#define UNROLL_INSTANTIATE(R)    \
    template class Linear<R>;    \
    template class Embedding<R>; \
    template class Dropout<R>;   \
    template class LayerNorm<R>;
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll
