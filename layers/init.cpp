// Initial values by their names.
#include <unroll/layers/init.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace unroll::init {
namespace {

double fan_sum(const Shape& shape) { return static_cast<double>(shape[0] + shape[shape.rank() - 1]); }

void need_matrix(const char* name, const Shape& shape) {
    if (shape.rank() != 2) detail::fail_shape(name, "needs a weight with two axes", {shape});
}

}  // namespace

template <class Real>
Initializer<Real> uniform(double low, double high) {
    if (!(low <= high))
        detail::fail_value("uniform", fmt::format("low must not lie above high; got {} and {}", low, high));
    return [=](std::span<Real> values, const Shape&, RandomStream& random) {
        for (Real& v : values) v = Real(random.uniform(low, high));
    };
}

template <class Real>
Initializer<Real> normal(double mean, double deviation) {
    if (!(deviation >= 0))
        detail::fail_value("normal", fmt::format("the deviation must be 0 or more; got {}", deviation));
    if (!std::isfinite(mean)) detail::fail_value("normal", fmt::format("the mean must be finite; got {}", mean));
    return [=](std::span<Real> values, const Shape&, RandomStream& random) {
        for (Real& v : values) v = Real(mean + deviation * random.normal());
    };
}

template <class Real>
Initializer<Real> constant(double value) {
    return [=](std::span<Real> values, const Shape&, RandomStream&) {
        for (Real& v : values) v = Real(value);
    };
}

template <class Real>
Initializer<Real> xavier_uniform(double gain) {
    return [=](std::span<Real> values, const Shape& shape, RandomStream& random) {
        need_matrix("xavier_uniform", shape);
        const double a = gain * std::sqrt(6.0 / fan_sum(shape));
        uniform<Real>(-a, a)(values, shape, random);
    };
}

template <class Real>
Initializer<Real> xavier_normal(double gain) {
    return [=](std::span<Real> values, const Shape& shape, RandomStream& random) {
        need_matrix("xavier_normal", shape);
        normal<Real>(0.0, gain * std::sqrt(2.0 / fan_sum(shape)))(values, shape, random);
    };
}

template <class Real>
Initializer<Real> kaiming_uniform(double gain) {
    return [=](std::span<Real> values, const Shape& shape, RandomStream& random) {
        need_matrix("kaiming_uniform", shape);
        const double b = gain * std::sqrt(3.0 / static_cast<double>(shape[0]));
        uniform<Real>(-b, b)(values, shape, random);
    };
}

template <class Real>
Initializer<Real> kaiming_normal(double gain) {
    return [=](std::span<Real> values, const Shape& shape, RandomStream& random) {
        need_matrix("kaiming_normal", shape);
        normal<Real>(0.0, gain / std::sqrt(static_cast<double>(shape[0])))(values, shape, random);
    };
}

template <class Real>
Initializer<Real> orthogonal(double gain) {
    return [=](std::span<Real> values, const Shape& shape, RandomStream& random) {
        need_matrix("orthogonal", shape);
        const Index rows = shape[0], cols = shape[1];
        const Index count = std::min(rows, cols), length = std::max(rows, cols);
        std::vector<double> basis(static_cast<std::size_t>(count * length));
        for (Index i = 0; i < count; ++i) {
            double* v = basis.data() + i * length;
            for (Index k = 0; k < length; ++k) v[k] = random.normal();
            for (int pass = 0; pass < 2; ++pass)
                for (Index j = 0; j < i; ++j) {
                    const double* w = basis.data() + j * length;
                    double dot = 0;
                    for (Index k = 0; k < length; ++k) dot += v[k] * w[k];
                    for (Index k = 0; k < length; ++k) v[k] -= dot * w[k];
                }
            double norm = 0;
            for (Index k = 0; k < length; ++k) norm += v[k] * v[k];
            norm = std::sqrt(norm);
            for (Index k = 0; k < length; ++k) v[k] /= norm;
        }
        for (Index r = 0; r < rows; ++r)
            for (Index c = 0; c < cols; ++c)
                values[static_cast<std::size_t>(r * cols + c)] =
                    Real(gain * basis[static_cast<std::size_t>(rows <= cols ? r * length + c : c * length + r)]);
    };
}

#define UNROLL_INSTANTIATE(R)                        \
    template Initializer<R> uniform(double, double); \
    template Initializer<R> normal(double, double);  \
    template Initializer<R> constant(double);        \
    template Initializer<R> xavier_uniform(double);  \
    template Initializer<R> xavier_normal(double);   \
    template Initializer<R> kaiming_uniform(double); \
    template Initializer<R> kaiming_normal(double);  \
    template Initializer<R> orthogonal(double);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll::init
