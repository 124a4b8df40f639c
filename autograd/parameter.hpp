// Parameters: a store holds a model's values and gradients in one block each; layers are built from a scope of it.
//
// Names are typed once, where a layer asks its scope for a parameter. The same model struct over another store is its
// double or Dual twin. The store freezes, ties, copies, counts; optim/ and io/ see stores and no models.
#pragma once

#include <unroll/autograd/random.hpp>
#include <unroll/autograd/tape.hpp>

#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace unroll {

template <class Real>
class Parameter;

namespace detail {

/// One parameter as the store keeps it.
template <class Real>
struct ParameterEntry {
    ParameterStore<Real>* store = nullptr;
    std::uint32_t number = 0;  ///< in the order in which the store's parameters were made; it stays
    std::string name;          ///< "rnn.weight_ih_l0"
    Shape shape;
    Index offset = 0;  ///< elements before it in the blocks
    VersionRef version;
    bool frozen = false;
    bool transposed = false;            ///< files hold the transpose (PyTorch's order of axes)
    bool in_loop = false;               ///< a loop through time multiplies its state by it
    ParameterEntry* tied_to = nullptr;  ///< stands for another parameter
    ValueRef<Real> value;
    std::list<typename Tape<Real>::Hook> hooks;  ///< a hook may add another
};

}  // namespace detail

/// The gradients of all parameters of a store, in one block laid out like the values.
template <class Real>
class Gradients {
public:
    using Entry = detail::ParameterEntry<Real>;
    /// What there is of a parameter's gradient, and what its part of the block holds.
    enum class State : std::uint8_t {
        zero,   ///< zeros, or what the caller of data() wrote; no gradient has arrived
        stale,  ///< no gradient has arrived and the memory holds anything: the first one overwrites it
        dense,  ///< a gradient
        rows    ///< a gradient in some rows, packed, and none elsewhere; the block waits for raw()
    };

    explicit Gradients(ParameterStore<Real>& store) : store_(&store) {}

    ParameterStore<Real>& store() const noexcept { return *store_; }
    /// No gradient has arrived. Costs what was used: nothing for dense ones, a look-up for each row of the others.
    void zero() noexcept;
    bool has(const Entry& entry) const noexcept;
    State state(const Entry& entry) const noexcept;
    /// The gradient's elements, zeros if none has arrived, to be read and written: from now on it is a dense one, to which
    /// what arrives is added. What is written counts as arrived only after arrived().
    Real* data(const Entry& entry);
    /// The memory behind all of it; empty before the first gradient.
    const detail::BlockRef& block() const noexcept { return block_; }
    /// In state rows: the rows that have a gradient, in the order in which it arrived, and these gradients behind one another.
    const detail::PoolVector<Index>& touched_rows(const Entry& entry) const noexcept;
    const Real* packed_rows(const Entry& entry) const noexcept;
    /// this += other, parameter by parameter in order.
    void add(Gradients& other);
    /// Makes both ready for add_entry, which may then run on several threads, each for parameters of its own.
    void prepare_to_add(Gradients& other);
    void add_entry(Gradients& other, const Entry& entry);

    /// Multiplies every gradient; carried out when they are next read (an optimiser does it in its own pass).
    void scale_by(double factor) noexcept {
        scale_ *= factor;
        if (limit_ < kNoLimit) limit_ *= factor < 0 ? -factor : factor;
    }
    /// Brings every element into [−limit, limit], carried out like scale_by and after what is outstanding. @pre limit ≥ 0
    void clamp_to(double limit) noexcept { limit_ = limit < limit_ ? limit : limit_; }
    /// What is outstanding: g becomes clamp(g · scale, −limit, limit).
    double scale() const noexcept { return scale_; }
    double limit() const noexcept { return limit_; }
    /// Carries out what is outstanding.
    void apply_outstanding() noexcept;
    /// The gradient's elements to be read, without what is outstanding. @pre a gradient has arrived
    const Real* raw(const Entry& entry) noexcept;
    /// Takes back what raw() put into the block for gradients in single rows; otherwise the next zero() does it.
    void pack() noexcept;

    // ---- For the tape ----
    /// Memory for a first dense gradient, not counted as arrived before arrived() is called.
    Real* place(const Entry& entry);
    void arrived(const Entry& entry);
    void add_dense(const Entry& entry, const Real* gradient);
    /// Adds row r of `rows` to row indices[r]; negative indices are skipped.
    void add_rows(const Entry& entry, const std::int64_t* indices, const Real* rows, Index count, Index width);

private:
    struct Part {
        State state = State::stale;
        bool clear = false;   // the block holds zeros, apart from the rows that are spread
        bool spread = false;  // the packed rows stand in the block too
        detail::PoolVector<Index> rows;
        detail::PoolVector<std::int32_t> places;  // by row: its place in `rows`; −1: none
        detail::BlockRef packed;
        Index capacity = 0;  // of `packed`, in rows
    };
    static constexpr double kNoLimit = std::numeric_limits<double>::infinity();
    void fit();
    void clear(const Entry& entry, Part& part);
    void gather(const Entry& entry, Part& part) noexcept;
    void forget_rows(Part& part) noexcept;
    Real* at(const Entry& entry) noexcept { return block_->template as<Real>() + entry.offset; }

    ParameterStore<Real>* store_;
    detail::BlockRef block_;
    Index size_ = 0;
    double scale_ = 1.0;
    double limit_ = kNoLimit;
    std::vector<std::unique_ptr<Part>> parts_;
};

/// Initial values: fills the elements of a new parameter from its own random stream. `shape` is the shape in memory.
template <class Real>
using Initializer = std::function<void(std::span<Real> values, const Shape& shape, RandomStream& random)>;

/// A place in a store: where a layer's parameters go and what they are called.
template <class Real>
class Scope {
public:
    Scope(ParameterStore<Real>& store) noexcept : store_(&store) {}

    /// The scope of a part: Scope "rnn" / "layer0" is "rnn.layer0".
    Scope operator/(std::string_view part) const;

    ParameterStore<Real>& store() const noexcept { return *store_; }
    const std::string& path() const noexcept { return detail::path_of(number_); }
    /// A new parameter "path.name". @throws UsageError if the name is taken
    /// @param transposed files hold the transpose of what memory holds
    Parameter<Real> parameter(std::string_view name, const Shape& shape, const Initializer<Real>& initial,
                              bool transposed = false) const;
    /// A random stream of the store, saved with its state; the same for equal paths.
    RandomStream& random(std::string_view name) const;
    bool training() const noexcept;

    /// Names this module in errors and on the tape while the returned guard stands.
    detail::ModuleGuard enter() const noexcept { return detail::ModuleGuard(number_); }
    /// Runs the forward hooks of this module on its output.
    Var<Real> leave(Var<Real> output) const;

private:
    std::string path_of_part(std::string_view part) const;

    ParameterStore<Real>* store_;
    std::uint32_t number_ =
        detail::kRootPath;  // of the path: every layer holds its scope, and copies of layers cost no strings
};

/// A value that is trained: a Var that belongs to a store.
template <class Real>
class Parameter : public Var<Real> {
public:
    Parameter() = default;
    explicit Parameter(detail::ParameterEntry<Real>& entry) : Var<Real>(Var<Real>::from(entry.value)), entry_(&entry) {}

    const std::string& name() const { return entry().name; }
    /// The values, to be read and written: writing counts as a change, so that a backward recorded before is refused.
    Tensor<Real> mutable_value() const;
    /// The gradient collected by backward, zeros if none has arrived; an alias of the store's block.
    Tensor<Real> gradient() const;
    /// The same, to be written: counts as arrived, so that optimisers take a step with it.
    Tensor<Real> mutable_gradient() const;
    /// No gradient, and no step of an optimiser.
    void freeze(bool frozen = true) const { entry().frozen = frozen; }
    /// Runs on the parameter's gradient of each backward before it is added.
    void hook(typename Tape<Real>::Hook hook) const { entry().hooks.push_back(std::move(hook)); }
    /// What the store keeps of it; of a tied one, of the parameter that it stands for.
    detail::ParameterEntry<Real>& entry() const noexcept { return entry_->tied_to ? *entry_->tied_to : *entry_; }

private:
    detail::ParameterEntry<Real>* entry_ = nullptr;
};

/// A model's parameters.
template <class Real>
class ParameterStore {
public:
    using Entry = detail::ParameterEntry<Real>;
    using ForwardHook = std::function<void(const std::string& path, Var<Real>& output)>;

    explicit ParameterStore(std::uint64_t seed = 0);
    ParameterStore(const ParameterStore&) = delete;
    ParameterStore& operator=(const ParameterStore&) = delete;
    ~ParameterStore();

    std::uint64_t seed() const noexcept { return seed_; }
    /// Parameters in the order in which they were made; tied ones are not repeated.
    const std::vector<Entry*>& entries() const noexcept { return entries_; }
    /// How many were made, tied ones too: one more than the largest number of an entry.
    std::size_t numbers() const noexcept { return owned_.size(); }
    /// All names, tied ones too, and the entry that each stands for.
    const std::map<std::string, Entry*, std::less<>>& names() const noexcept { return by_name_; }
    /// @throws ValueError for a name that is not there, with the nearest ones
    Parameter<Real> at(std::string_view name) const;
    bool contains(std::string_view name) const { return by_name_.find(name) != by_name_.end(); }

    /// Number of trained numbers (tied parameters count once).
    Index parameter_count() const noexcept;
    /// Elements of the block, with the gaps that align each parameter to 64 bytes.
    Index block_size() const noexcept { return used_; }
    Real* block_data() noexcept { return block_ ? block_->template as<Real>() : nullptr; }
    Gradients<Real>& gradients() noexcept { return gradients_; }
    void zero_grad() noexcept { gradients_.zero(); }

    /// Training (dropout draws) or evaluation. A new store trains.
    void train(bool training = true) noexcept { training_ = training; }
    void eval() noexcept { train(false); }
    bool training() const noexcept { return training_; }

    /// Freezes or thaws every parameter whose name begins with `prefix`. @throws ValueError if there is none
    void freeze(std::string_view prefix, bool frozen = true);
    /// Lets the parameter `name`, and every handle of it, stand for `other` from now on: one value, one gradient. Best in a
    /// model's constructor: `at.store().tie("decoder.rnn.weight_hh_l0", "encoder.rnn.weight_hh_l0")`. Values recorded with
    /// the old one cannot be differentiated any more.
    /// @throws ShapeError unless both are laid out alike in memory. A Linear's weight (in, out) and an Embedding's (V, E) are
    ///         not: `linear(h, embed.weight, bias, true)` multiplies by the latter's transpose.
    Parameter<Real> tie(std::string_view name, std::string_view other);
    /// Takes values, frozen state and random streams over from a store of another number type, by name.
    /// @throws ValueError naming the first parameter that is missing or has another shape
    template <class Other>
    void copy_from(const ParameterStore<Other>& other);

    /// The random streams by name.
    std::map<std::string, RandomStream>& randoms() noexcept { return randoms_; }
    const std::map<std::string, RandomStream>& randoms() const noexcept { return randoms_; }

    /// Runs after each forward of the module at `path`; may replace the output.
    void on_forward(std::string_view path, ForwardHook hook);
    const std::multimap<std::uint32_t, ForwardHook>& forward_hooks() const noexcept { return hooks_; }

    /// Counts a change of a parameter's values.
    void changed(Entry& entry) noexcept { ++entry.version->number; }
    /// @private
    Entry& add(std::string name, const Shape& shape, bool transposed);

private:
    std::uint64_t seed_;
    std::vector<std::unique_ptr<Entry>> owned_;
    std::vector<Entry*> entries_;
    std::map<std::string, Entry*, std::less<>> by_name_;
    std::map<std::string, RandomStream> randoms_;
    std::multimap<std::uint32_t, ForwardHook> hooks_;
    detail::BlockRef block_;
    Index used_ = 0;
    Index capacity_ = 0;
    Gradients<Real> gradients_;
    bool training_ = true;
};

extern template class ParameterStore<float>;
extern template class ParameterStore<double>;
extern template class ParameterStore<Dual<double>>;
extern template class Gradients<float>;
extern template class Gradients<double>;
extern template class Gradients<Dual<double>>;
extern template class Scope<float>;
extern template class Scope<double>;
extern template class Scope<Dual<double>>;
extern template class Parameter<float>;
extern template class Parameter<double>;
extern template class Parameter<Dual<double>>;

}  // namespace unroll

template <class Real>
struct fmt::formatter<unroll::Parameter<Real>> : fmt::formatter<unroll::Var<Real>> {};
