// Chooses the instruction set of the float kernels. The kernels themselves are compiled elsewhere, once for each set.
#include <unroll/autograd/kernels/kernels.hpp>

#include <atomic>
#include <cstdlib>
#include <string>
#include <string_view>

#include <unroll/autograd/error.hpp>

namespace unroll::detail {

#if UNROLL_KERNELS_X86
namespace avx512 {
extern const FloatKernels kTable;
}
namespace avx2 {
extern const FloatKernels kTable;
}
#endif
namespace baseline {
extern const FloatKernels kTable;
}

namespace {

// Null until the first call.
constinit std::atomic<const FloatKernels*> active{nullptr};

// The fastest first.
constexpr Isa kAll[] = {Isa::avx512, Isa::avx2, Isa::baseline};

const FloatKernels* table_of(Isa isa) {
    if (isa == Isa::baseline) return &baseline::kTable;
#if UNROLL_KERNELS_X86
    if (isa == Isa::avx2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2::kTable;
    if (isa == Isa::avx512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma")) {
        return &avx512::kTable;
    }
#endif
    return nullptr;
}

[[noreturn]] void fail_isa(std::string_view asked) {
    std::string message = "[UNROLL_ISA] instruction set '" + std::string(asked) + "' is not available; possible here:";
    for (const Isa isa : kAll) {
        if (isa_available(isa)) message.append(" ").append(isa_name(isa));
    }
    throw ValueError(message);
}

Isa choose() {
    const char* forced = std::getenv("UNROLL_ISA");
    if (forced != nullptr && *forced != '\0') return isa_from_name(forced);
    for (const Isa isa : kAll) {
        if (isa_available(isa)) return isa;
    }
    return Isa::baseline;
}

}  // namespace

const FloatKernels& kernels() {
    const FloatKernels* table = active.load(std::memory_order_relaxed);
    if (table == nullptr) {
        table = &kernels(choose());
        active.store(table, std::memory_order_relaxed);
    }
    return *table;
}

const FloatKernels& kernels(Isa isa) {
    const FloatKernels* table = table_of(isa);
    if (table == nullptr) fail_isa(isa_name(isa));
    return *table;
}

Isa active_isa() { return kernels().isa; }

void set_isa(Isa isa) { active.store(&kernels(isa), std::memory_order_relaxed); }

bool isa_available(Isa isa) { return table_of(isa) != nullptr; }

const char* isa_name(Isa isa) {
    switch (isa) {
    case Isa::avx512: return "avx512";
    case Isa::avx2: return "avx2";
    case Isa::baseline: return "baseline";
    }
    return "?";
}

Isa isa_from_name(const char* name) {
    for (const Isa isa : kAll) {
        if (isa_available(isa) && std::string_view(name) == isa_name(isa)) return isa;
    }
    fail_isa(name);
}

}  // namespace unroll::detail
