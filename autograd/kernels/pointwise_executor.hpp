// Runs a pointwise program over a matrix, tile by tile: a tile is small enough that all intermediate values stay in the
// first-level cache, and large enough that one indirect call per instruction and tile costs little. What an instruction
// does with a tile is in pointwise_ops.hpp.
//
// Inputs are read where they stand, results that are outputs are written where they belong, everything else lives in
// slots of a scratch area on the stack. Matrices that are contiguous throughout are treated as one long row.
#pragma once

#include <unroll/autograd/kernels/kernels.hpp>

#include <unroll/autograd/kernels/pointwise_ops.hpp>

namespace unroll::detail::UNROLL_ISA_NAMESPACE {

// Elements of a tile. 512 floats are 2 KiB: an LSTM's forward program touches some 12 such operands.
inline constexpr int kTile = 512;
inline constexpr int kScratch = 8192;
// Below this much scratch every result gets a slot of its own; above, slots are used again (which takes planning).
inline constexpr int kSmallScratch = 2048;
inline constexpr std::uint16_t kNoSlot = 0xffff;
static_assert(kScratch >= 8 * kMaxRegisters);

static void tile_copy(const Operand& d, const Operand& a, int rows, int cols) {
    map_tile<1>(d, a, a, a, rows, cols, [](F x) UNROLL_INLINE_LAMBDA { return x; });
}

// Whether a later instruction than the given one reads an input.
static bool used_after(const Instruction* code, int n_code, int input, int instruction) {
    for (int i = instruction + 1; i < n_code; ++i) {
        const int n = operand_count(code[i].op);
        if (n > 0 && code[i].a == input) return true;
        if (n > 1 && code[i].b == input) return true;
        if (n > 2 && code[i].c == input) return true;
    }
    return false;
}

// Whether the whole is one long row in memory, scalars aside.
static bool is_one_row(int n_inputs, int n_outputs, std::int64_t cols, const In* in, const Out* out) {
    for (int j = 0; j < n_inputs; ++j) {
        const bool scalar = in[j].row_stride == 0 && (in[j].col_stride == 0 || cols == 1);
        const bool contiguous = in[j].row_stride == cols && (in[j].col_stride == 1 || cols == 1);
        if (!scalar && !contiguous) return false;
    }
    for (int k = 0; k < n_outputs; ++k) {
        if (out[k].row_stride != cols) return false;
    }
    return true;
}

struct PointwiseRun {
    const Instruction* code;
    int n_code;
    int n_inputs;
    const std::uint16_t* outputs;
    int n_outputs;
    std::int64_t rows, cols;
    const In* in;
    const Out* out;

    bool column = false;  // a column is taken as a row: row strides count as column strides
    bool packed = false;  // rows too short for vectors: tiles are gathered, computed as one row, and scattered
    int slots = 0;
    int tile_rows = 1, tile_cols = 0, slot_stride = 0, slot_size = 0;

    enum class Source : std::uint8_t { in_place, scalar, staged };  // staged: copied into its slot for every tile
    enum class Sink : std::uint8_t { direct, assign, accumulate };
    Source source[kMaxRegisters];
    Sink sink[kMaxRegisters];
    std::uint16_t slot[kMaxRegisters];
    Operand reg[kMaxRegisters];

    std::int64_t col_stride(const In& x) const { return column ? x.row_stride : x.col_stride; }

    // Whether the result may go to its output at once, which must not destroy an input that is still needed.
    bool may_write_directly(int k) const {
        const int r = outputs[k];
        if (packed || out[k].accumulate || r < n_inputs || code[r - n_inputs].op == Opcode::constant) return false;
        for (int j = 0; j < n_inputs; ++j) {
            if (in[j].data == out[k].data && source[j] == Source::in_place &&
                used_after(code, n_code, j, r - n_inputs)) {
                return false;
            };
        }
        return true;
    }

    void classify() {
        packed = rows > 1 && cols < kLanes;
        for (int j = 0; j < n_inputs; ++j) {
            const bool one_row = rows == 1 || in[j].row_stride == 0;
            const bool one_column = cols == 1 || col_stride(in[j]) == 0;
            source[j] = one_row && one_column  ? Source::scalar
                        : packed || one_column ? Source::staged
                                               : Source::in_place;
        }
        for (int k = 0; k < n_outputs; ++k) {
            // An input that is an output too is saved first if another value takes its place, or is added there.
            const int r = outputs[k];
            if (r >= n_inputs || source[r] != Source::in_place) continue;
            for (int other = 0; other < n_outputs; ++other) {
                if (out[other].data == in[r].data && (outputs[other] != r || out[other].accumulate))
                    source[r] = Source::staged;
            }
        }
        for (int j = 0; j < n_inputs; ++j) {
            slot[j] = source[j] == Source::in_place ? kNoSlot : static_cast<std::uint16_t>(slots++);
        }
        for (int i = 0; i < n_code; ++i) slot[n_inputs + i] = 0;
        for (int k = 0; k < n_outputs; ++k) {
            const int r = outputs[k];
            const bool direct = may_write_directly(k) && slot[r] != kNoSlot;
            sink[k] = direct ? Sink::direct : out[k].accumulate ? Sink::accumulate : Sink::assign;
            if (direct) slot[r] = kNoSlot;
        }
    }

    void plan_slots() {
        int count = 0;
        for (int i = 0; i < n_code; ++i) count += slot[n_inputs + i] != kNoSlot;
        const std::int64_t elements = rows * cols < kTile ? rows * cols : kTile;
        if ((slots + count) * ((elements + 15) & ~15) <= kSmallScratch) {
            for (int r = n_inputs; r < n_inputs + n_code; ++r) {
                if (slot[r] != kNoSlot) slot[r] = static_cast<std::uint16_t>(slots++);
            }
        } else {
            reuse_slots();
        }
    }

    void reuse_slots() {
        std::int16_t last_use[kMaxRegisters];
        std::uint16_t free_slots[kMaxRegisters];
        int n_free = 0;
        for (int i = 0; i < n_code; ++i) {
            const Instruction& s = code[i];
            const std::uint16_t operands[3] = {s.a, s.b, s.c};
            last_use[n_inputs + i] = static_cast<std::int16_t>(i);
            for (int o = 0; o < operand_count(s.op); ++o) last_use[operands[o]] = static_cast<std::int16_t>(i);
        }
        for (int k = 0; k < n_outputs; ++k) last_use[outputs[k]] = kMaxRegisters;
        for (int i = 0; i < n_code; ++i) {
            // Constants are written once per run and keep their slots; so do inputs.
            const int r = n_inputs + i;
            if (code[i].op == Opcode::constant) last_use[r] = kMaxRegisters;
        }
        const auto release = [&](int r, int i) {
            if (r < n_inputs || slot[r] == kNoSlot || last_use[r] != i) return;
            free_slots[n_free++] = slot[r];
            last_use[r] = -1;
        };
        const auto take = [&]() -> std::uint16_t {
            return n_free > 0 ? free_slots[--n_free] : static_cast<std::uint16_t>(slots++);
        };
        for (int i = 0; i < n_code; ++i) {
            if (code[i].op == Opcode::constant) slot[n_inputs + i] = static_cast<std::uint16_t>(slots++);
        }
        for (int i = 0; i < n_code; ++i) {
            const Instruction& s = code[i];
            if (s.op == Opcode::constant) continue;
            const std::uint16_t operands[3] = {s.a, s.b, s.c};
            for (int o = 0; o < operand_count(s.op); ++o) release(operands[o], i);
            if (slot[n_inputs + i] != kNoSlot) slot[n_inputs + i] = take();
            release(n_inputs + i, i);
        }
    }

    void choose_tile() {
        int limit = kTile;
        if (slots * kTile > kScratch) {
            limit = kScratch / slots;
            limit = limit >= 16 ? limit & ~15 : 8;
        }
        const int unit = limit >= 16 ? 16 : 8;
        const auto padded = [unit](int n) { return (n + unit - 1) & -unit; };
        tile_cols = cols < limit ? static_cast<int>(cols) : limit;
        slot_stride = padded(tile_cols);
        if (rows > 1) {
            if (packed && tile_cols == cols) slot_stride = tile_cols;
            const int fitting = limit / slot_stride;
            tile_rows = rows < fitting ? static_cast<int>(rows) : fitting > 1 ? fitting : 1;
        }
        slot_size = padded(tile_rows * slot_stride);
    }

    static void fill(float* to, float value, int n) {
        const F v = set(value);
        int i = 0;
        for (; i + kLanes <= n; i += kLanes) store(to + i, v);
        if (i < n) store_first(to + i, v, n - i);
    }

    void place_registers(float* scratch) {
        const int width = packed ? slot_size : tile_cols;
        for (int r = 0; r < n_inputs + n_code; ++r) {
            if (slot[r] == kNoSlot) continue;
            reg[r] = {scratch + slot[r] * slot_size, slot_stride};
            const bool constant = r >= n_inputs && code[r - n_inputs].op == Opcode::constant;
            if (constant || (r < n_inputs && source[r] == Source::scalar)) {
                reg[r].stride = 0;
                fill(reg[r].data, constant ? static_cast<float>(code[r - n_inputs].value) : *in[r].data, width);
            }
        }
    }

    void gather(int j, std::int64_t row, std::int64_t col, int height, int width) const {
        const std::int64_t step = col_stride(in[j]);
        for (int r = 0; r < height; ++r) {
            const float* from = in[j].data + (row + r) * in[j].row_stride + col * step;
            float* to = reg[j].data + r * slot_stride;
            if (step == 0) {
                fill(to, *from, width);
            } else {
                for (int c = 0; c < width; ++c) to[c] = from[c * step];
            }
        }
    }

    void scatter(int k, std::int64_t row, std::int64_t col, int height, int width) const {
        const Operand& from = reg[outputs[k]];
        if (packed) {
            for (int r = 0; r < height; ++r) {
                float* to = out[k].data + (row + r) * out[k].row_stride + col;
                const float* x = from.data + (from.stride == 0 ? 0 : r * slot_stride);
                for (int c = 0; c < width; ++c) to[c] = out[k].accumulate ? to[c] + x[c] : x[c];
            }
            return;
        }
        const Operand to = {out[k].data + row * out[k].row_stride + col, out[k].row_stride};
        if (sink[k] == Sink::accumulate) {
            tile_add(to, to, from, to, height, width);
        } else if (to.data != from.data) {
            tile_copy(to, from, height, width);
        }
    }

    void run_tile(std::int64_t row, std::int64_t col, int height, int width) {
        for (int j = 0; j < n_inputs; ++j) {
            if (source[j] == Source::in_place) {
                // Kernels take operands as they take destinations; an input is never one.
                reg[j] = {const_cast<float*>(in[j].data) + row * in[j].row_stride + col, in[j].row_stride};
            } else if (source[j] == Source::staged) {
                gather(j, row, col, height, width);
            }
        }
        for (int k = 0; k < n_outputs; ++k) {
            if (sink[k] != Sink::direct) continue;
            reg[outputs[k]] = {out[k].data + row * out[k].row_stride + col, out[k].row_stride};
        }
        const int kernel_rows = packed ? 1 : height;
        const int kernel_cols = packed ? height * slot_stride : width;
        for (int i = 0; i < n_code; ++i) {
            const Instruction& s = code[i];
            if (s.op == Opcode::constant) continue;
            kTileKernels[static_cast<int>(s.op)](reg[n_inputs + i], reg[s.a], reg[s.b], reg[s.c], kernel_rows,
                                                 kernel_cols);
        }
        for (int k = 0; k < n_outputs; ++k) {
            if (sink[k] != Sink::direct) scatter(k, row, col, height, width);
        }
    }

    // Not inlined, and neither is run_one_tile: a caller's stack holds one scratch area, not the sum of all.
    __attribute__((noinline)) void run() {
        classify();
        plan_slots();
        choose_tile();
        alignas(64) float scratch[kScratch];
        place_registers(scratch);
        for (std::int64_t row = 0; row < rows; row += tile_rows) {
            const int height = static_cast<int>(rows - row < tile_rows ? rows - row : tile_rows);
            for (std::int64_t col = 0; col < cols; col += tile_cols) {
                const int width = static_cast<int>(cols - col < tile_cols ? cols - col : tile_cols);
                run_tile(row, col, height, width);
            }
        }
    }
};

// One row no longer than a vector. Every register is one, and all inputs are read before anything is written, so that
// nothing need be planned, nor does a whole vector wait for the few lanes of it that were written just before.
__attribute__((noinline)) static bool run_one_vector(const Instruction* code, int n_code, int n_inputs,
                                                     const std::uint16_t* outputs, int n_outputs, int cols, bool column,
                                                     const In* in, const Out* out) {
    constexpr int kMost = 64;
    if (n_inputs + n_code > kMost) return false;
    const FirstLanes lanes{cols};
    const bool whole = cols == kLanes;
    alignas(64) float reg[kMost][kLanes];
    const auto at = [&](int r) { return Operand{reg[r], 0}; };
    for (int j = 0; j < n_inputs; ++j) {
        const bool scalar = (column ? in[j].row_stride : in[j].col_stride) == 0;
        store(reg[j], scalar ? set(*in[j].data) : whole ? load(in[j].data) : lanes.get(in[j].data));
    }
    for (int i = 0; i < n_code; ++i) {
        const Instruction& s = code[i];
        if (s.op == Opcode::constant) {
            store(reg[n_inputs + i], set(static_cast<float>(s.value)));
            continue;
        }
        kTileKernels[static_cast<int>(s.op)](at(n_inputs + i), at(s.a), at(s.b), at(s.c), 1, kLanes);
    }
    for (int k = 0; k < n_outputs; ++k) {
        float* const to = out[k].data;
        F y = load(reg[outputs[k]]);
        if (out[k].accumulate) y = (whole ? load(to) : lanes.get(to)) + y;
        whole ? store(to, y) : lanes.put(to, y);
    }
    return true;
}

// One row that is a single tile, with a slot for every register: what is left of the above when there is nothing to
// plan. Small operands are many in recurrent networks at batch size 1. Returns false where it does not apply.
__attribute__((noinline)) static bool run_one_tile(const Instruction* code, int n_code, int n_inputs,
                                                   const std::uint16_t* outputs, int n_outputs, int cols, bool column,
                                                   const In* in, const Out* out) {
    const int slot_size = (cols + 15) & -16;
    if ((n_inputs + n_code) * slot_size > kScratch) return false;
    Operand reg[kMaxRegisters];
    alignas(64) float scratch[kScratch];
    float* free_slot = scratch;
    const auto filled = [&](float value) {
        float* slot = free_slot;
        free_slot += slot_size;
        PointwiseRun::fill(slot, value, cols);
        return slot;
    };
    // A set of hashed addresses: whether an output may be an input.
    const auto bit_of = [](const float* p) {
        return std::uint64_t(1) << (reinterpret_cast<std::uintptr_t>(p) * 0x9e3779b97f4a7c15u >> 58);
    };
    std::uint64_t input_bits = 0;
    for (int j = 0; j < n_inputs; ++j) {
        input_bits |= bit_of(in[j].data);
        const bool scalar = (column ? in[j].row_stride : in[j].col_stride) == 0;
        reg[j] = {scalar ? filled(*in[j].data) : const_cast<float*>(in[j].data), 0};
    }
    for (int i = 0; i < n_code; ++i) reg[n_inputs + i] = {nullptr, 0};
    for (int k = 0; k < n_outputs; ++k) {
        const int r = outputs[k];
        bool direct = r >= n_inputs && !out[k].accumulate && reg[r].data == nullptr;
        if ((input_bits & bit_of(out[k].data)) != 0) {
            for (int j = 0; j < n_inputs; ++j) {
                if (in[j].data != out[k].data) continue;
                // An input that is an output too, and whose place another one takes, needs the staging above.
                for (int other = 0; other < n_outputs; ++other) {
                    if (outputs[other] == j && other != k) return false;
                }
                direct = direct && !used_after(code, n_code, j, r - n_inputs);
            }
        }
        if (direct) reg[r].data = out[k].data;
    }
    for (int i = 0; i < n_code; ++i) {
        const Instruction& s = code[i];
        Operand& d = reg[n_inputs + i];
        if (s.op == Opcode::constant) {
            d.data = filled(static_cast<float>(s.value));
            continue;
        }
        if (d.data == nullptr) {
            d.data = free_slot;
            free_slot += slot_size;
        }
        kTileKernels[static_cast<int>(s.op)](d, reg[s.a], reg[s.b], reg[s.c], 1, cols);
    }
    for (int k = 0; k < n_outputs; ++k) {
        const Operand to = {out[k].data, 0};
        const Operand& from = reg[outputs[k]];
        if (out[k].accumulate) {
            tile_add(to, to, from, to, 1, cols);
        } else if (to.data != from.data) {
            tile_copy(to, from, 1, cols);
        }
    }
    return true;
}

// One instruction on one tile, as most ops of a graph are: its result goes to the output at once. Returns false where it
// does not apply.
UNROLL_INLINE bool run_one_instruction(const Instruction& s, int n_inputs, int output, int cols, bool column,
                                       const In* in, const Out& out) {
    if (output != n_inputs || out.accumulate || s.op == Opcode::constant) return false;
    Operand operand[3] = {};
    const std::uint16_t numbers[3] = {s.a, s.b, s.c};
    for (int o = 0; o < operand_count(s.op); ++o) {
        const In& x = in[numbers[o]];
        if ((column ? x.row_stride : x.col_stride) == 0) return false;
        operand[o].data = const_cast<float*>(x.data);
    }
    kTileKernels[static_cast<int>(s.op)]({out.data, 0}, operand[0], operand[1], operand[2], 1, cols);
    return true;
}

static void run_pointwise(const Instruction* code, int n_code, int n_inputs, const std::uint16_t* outputs,
                          int n_outputs, std::int64_t rows, std::int64_t cols, const In* in, const Out* out) {
    if (rows <= 0 || cols <= 0) return;
    bool column = false;
    if (rows > 1 && is_one_row(n_inputs, n_outputs, cols, in, out)) {
        column = cols == 1;
        cols *= rows;
        rows = 1;
    }
    const bool one_tile = rows == 1 && cols <= kTile;
    if (one_tile && n_code == 1 && n_outputs == 1 &&
        run_one_instruction(code[0], n_inputs, outputs[0], static_cast<int>(cols), column, in, out[0])) {
        return;
    }
    if (one_tile && cols <= kLanes &&
        run_one_vector(code, n_code, n_inputs, outputs, n_outputs, static_cast<int>(cols), column, in, out)) {
        return;
    }
    if (one_tile && run_one_tile(code, n_code, n_inputs, outputs, n_outputs, static_cast<int>(cols), column, in, out)) {
        return;
    }
    PointwiseRun run;
    run.code = code;
    run.n_code = n_code;
    run.n_inputs = n_inputs;
    run.outputs = outputs;
    run.n_outputs = n_outputs;
    run.rows = rows;
    run.cols = cols;
    run.in = in;
    run.out = out;
    run.column = column;
    run.run();
}

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
