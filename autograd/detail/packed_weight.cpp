// Packing and multiplying by oneDNN's matmul primitive; the scope of a loop.
#include <unroll/autograd/detail/packed_weight.hpp>

#include <unroll/autograd/dual.hpp>
#include <unroll/autograd/linalg.hpp>
#include <unroll/autograd/threads.hpp>

#if UNROLL_WITH_ONEDNN
#include <dnnl.hpp>
#endif

#include <algorithm>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace unroll::detail {
namespace {

#if UNROLL_WITH_ONEDNN

using Md = dnnl::memory::desc;
constexpr auto kFloat = dnnl::memory::data_type::f32;

const dnnl::engine& engine() {
    static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
    return cpu;
}

Md row_major(Index rows, Index columns) { return {{rows, columns}, kFloat, dnnl::memory::format_tag::ab}; }

dnnl::matmul::primitive_desc describe(Index rows, Index k, Index n, const Md& weight, bool accumulate) {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (accumulate) {
        dnnl::post_ops sum;
        sum.append_sum(1.0f);
        attributes.set_post_ops(sum);
    }
    return {dnnl::matmul::desc(row_major(rows, k), weight, row_major(rows, n)), attributes, engine()};
}

/// The layout of a packed weight (k, n); empty where oneDNN has no kernels that gain by one.
Md layout_of(Index rows, Index k, Index n) {
    const auto found = describe(rows, k, n, {{k, n}, kFloat, dnnl::memory::format_tag::any}, true);
    return std::string_view(found.impl_info_str()).starts_with("brg") ? found.weights_desc() : Md();
}

void execute(const dnnl::primitive& primitive, const dnnl::stream& stream, std::span<const dnnl_exec_arg_t> arguments) {
    const dnnl_status_t status =
        dnnl_primitive_execute(primitive.get(), stream.get(), static_cast<int>(arguments.size()), arguments.data());
    UNROLL_ASSERT(status == dnnl_success);
}

/// What one thread needs to pack columns of weights of one shape: made once, used in every loop.
struct Packing {
    Index k, columns, n;
    bool transposed;
    dnnl::reorder primitive;
    dnnl::memory from, to;
};

/// What one thread needs to multiply in one shape.
struct Multiplication {
    Index rows, k, n;
    bool accumulate;
    dnnl::matmul primitive;
    dnnl::memory x, weight, y, scratch;
    std::vector<char> scratch_bytes;
};

struct PerThread {
    static constexpr std::size_t kMost = 64;  // shapes
    struct Layout {
        Index k, n;
        Md md;
    };
    dnnl::stream stream{engine()};
    std::vector<Layout> layouts;
    std::vector<std::unique_ptr<Packing>> packings;
    std::vector<std::unique_ptr<Multiplication>> multiplications;

    static PerThread& instance() {
        thread_local PerThread here;
        return here;
    }

    const Md& layout(Index rows, Index k, Index n) {
        for (const Layout& known : layouts)
            if (known.k == k && known.n == n) return known.md;
        const OneLibraryThread one;
        return layouts.emplace_back(Layout{k, n, layout_of(rows, k, n)}).md;
    }

    Packing& packing(Index rows, Index k, Index columns, Index n, bool transposed) {
        for (auto& known : packings)
            if (known->k == k && known->columns == columns && known->n == n && known->transposed == transposed)
                return *known;
        if (packings.size() == kMost) packings.erase(packings.begin());
        const dnnl::memory::dims strides = transposed ? dnnl::memory::dims{1, k} : dnnl::memory::dims{n, 1};
        auto made = std::make_unique<Packing>(Packing{k, columns, n, transposed, {}, {}, {}});
        made->from = dnnl::memory({{k, columns}, kFloat, strides}, engine(), DNNL_MEMORY_NONE);
        made->to = dnnl::memory(layout(rows, k, columns), engine(), DNNL_MEMORY_NONE);
        made->primitive = dnnl::reorder(made->from, made->to);
        packings.push_back(std::move(made));
        return *packings.back();
    }

    Multiplication& multiplication(Index rows, Index k, Index n, bool accumulate) {
        for (auto& known : multiplications)
            if (known->rows == rows && known->k == k && known->n == n && known->accumulate == accumulate) return *known;
        if (multiplications.size() == kMost) multiplications.erase(multiplications.begin());
        const auto primitive = describe(rows, k, n, layout(rows, k, n), accumulate);
        auto made = std::make_unique<Multiplication>();
        made->rows = rows;
        made->k = k;
        made->n = n;
        made->accumulate = accumulate;
        made->primitive = dnnl::matmul(primitive);
        made->x = dnnl::memory(primitive.src_desc(), engine(), DNNL_MEMORY_NONE);
        made->weight = dnnl::memory(primitive.weights_desc(), engine(), DNNL_MEMORY_NONE);
        made->y = dnnl::memory(primitive.dst_desc(), engine(), DNNL_MEMORY_NONE);
        made->scratch_bytes.resize(primitive.scratchpad_desc().get_size() + 64);
        made->scratch = dnnl::memory(primitive.scratchpad_desc(), engine(), DNNL_MEMORY_NONE);
        const auto at = reinterpret_cast<std::uintptr_t>(made->scratch_bytes.data());
        made->scratch.set_data_handle(reinterpret_cast<void*>((at + 63) / 64 * 64));
        multiplications.push_back(std::move(made));
        return *multiplications.back();
    }
};

#endif

template <class Real>
thread_local constinit PackScope<Real>* current_scope = nullptr;

}  // namespace

template <class Real>
PackedWeight<Real> PackedWeight<Real>::make(const Real* weight, bool transposed, Index rows, Index k, Index n) {
    PackedWeight packed;
#if UNROLL_WITH_ONEDNN
    constexpr Index kSmall = Index{1} << 13;  // elements; below, a call costs more than it gains
    constexpr Index kLarge = Index{1} << 18;
    if constexpr (std::is_same_v<Real, float>) {
        if (!pays(rows) || k * n < kSmall) return packed;
        packed.groups_ = column_groups(k * n >= kLarge, n);
        packed.k_ = k;
        packed.n_ = n;
        for (Index g = 0; g < packed.groups_; ++g) {
            const Index columns = packed.begin(g + 1) - packed.begin(g);
            const Md& md = PerThread::instance().layout(rows, k, columns);
            if (md.is_zero()) return packed;
            packed.group_bytes_ = std::max(packed.group_bytes_, (md.get_size() + 63) / 64 * 64);
        }
        packed.block_ = BlockRef::adopt(Block::make(packed.group_bytes_ * static_cast<std::size_t>(packed.groups_)));
        char* const memory = packed.block_->template as<char>();
        parallel_for(packed.groups_, [&](Index g) {
            PerThread& here = PerThread::instance();
            const OneLibraryThread one;
            const Index begin = packed.begin(g), columns = packed.begin(g + 1) - begin;
            Packing& p = here.packing(rows, k, columns, n, transposed);
            p.from.set_data_handle(const_cast<float*>(weight) + (transposed ? begin * k : begin));
            p.to.set_data_handle(memory + packed.group_bytes_ * static_cast<std::size_t>(g));
            const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, p.from.get()}, {DNNL_ARG_TO, p.to.get()}};
            execute(p.primitive, here.stream, arguments);
        });
    }
#endif
    return packed;
}

template <class Real>
void PackedWeight<Real>::multiply_group(Index group, Index rows, const Real* x, bool accumulate, Real* y) const {
#if UNROLL_WITH_ONEDNN
    PerThread& here = PerThread::instance();
    const OneLibraryThread one;
    Multiplication& m = here.multiplication(rows, k_, begin(group + 1) - begin(group), accumulate);
    m.x.set_data_handle(const_cast<Real*>(x));
    m.weight.set_data_handle(block_->template as<char>() + group_bytes_ * static_cast<std::size_t>(group));
    m.y.set_data_handle(y);
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, m.x.get()},
                                         {DNNL_ARG_WEIGHTS, m.weight.get()},
                                         {DNNL_ARG_DST, m.y.get()},
                                         {DNNL_ARG_SCRATCHPAD, m.scratch.get()}};
    execute(m.primitive, here.stream, arguments);
#endif
}

template <class Real>
void PackedWeight<Real>::multiply(Index rows, const Real* x, bool accumulate, Real* y) const {
    if (groups_ == 1) return multiply_group(0, rows, x, accumulate, y);
    parallel_for(groups_, [&](Index g) {
        // oneDNN writes whole rows: a group's part of them is made beside, and then put into its place.
        const Index first = begin(g), columns = begin(g + 1) - first;
        const BlockRef part = BlockRef::adopt(Block::make(static_cast<std::size_t>(rows * columns) * sizeof(Real)));
        const Real* from = part->template as<Real>();
        multiply_group(g, rows, x, false, part->template as<Real>());
        for (Index r = 0; r < rows; ++r, from += columns) {
            Real* const to = y + r * n_ + first;
            if (accumulate)
                add_to(to, from, columns);
            else
                std::copy_n(from, columns, to);
        }
    });
}

template <class Real>
PackScope<Real>::PackScope() noexcept : outer_(std::exchange(current_scope<Real>, this)) {}

template <class Real>
PackScope<Real>::~PackScope() {
    current_scope<Real> = outer_;
    for (std::size_t i = 0; i < count_; ++i) std::destroy_at(&entry(i));
}

template <class Real>
bool PackScope<Real>::multiply(const Real* weight, std::uint64_t version, Index rows, Index k, Index n, const Real* x,
                               bool accumulate, Real* y) {
    PackScope* const scope = current_scope<Real>;
    if (!std::is_same_v<Real, float> || !scope || !PackedWeight<Real>::pays(rows)) return false;
    std::size_t i = 0;
    while (i < scope->count_ && !(scope->entry(i).weight == weight && scope->entry(i).k == k && scope->entry(i).n == n))
        ++i;
    if (i == kMost) return false;
    const bool known = i < scope->count_;
    if (!known || scope->entry(i).version != version) {
        Entry made{weight, version, k, n, PackedWeight<Real>::make(weight, false, rows, k, n)};
        if (known) {
            scope->entry(i) = std::move(made);
        } else {
            new (&scope->entry(i)) Entry(std::move(made));
            ++scope->count_;
        }
    }
    if (!scope->entry(i).packed) return false;
    scope->entry(i).packed.multiply(rows, x, accumulate, y);
    return true;
}

template <class Real>
NoPackScope<Real>::NoPackScope() noexcept : before_(std::exchange(current_scope<Real>, nullptr)) {}

template <class Real>
NoPackScope<Real>::~NoPackScope() {
    current_scope<Real> = before_;
}

#define UNROLL_INSTANTIATE(R)       \
    template class PackedWeight<R>; \
    template class PackScope<R>;    \
    template class NoPackScope<R>;
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll::detail
