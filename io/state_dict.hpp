// StateDict: ordered names → tensor or JSON value, the one currency of everything that has state (models, optimisers,
// schedules, random streams, positions in the data). It knows no files: safetensors.hpp reads and writes it.
#pragma once

#include <unroll/autograd/tensor.hpp>

#include <nlohmann/json_fwd.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <variant>
#include <vector>

namespace unroll {

template <class Real>
struct Dual;
template <class Real>
class ParameterStore;

/// What the elements of a stored tensor are; all little-endian. A BOOL is one byte.
enum class DType : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

/// "F32", "BOOL", … as files have it.
std::string_view to_string(DType dtype) noexcept;
/// The inverse; nothing for a name that is not known.
std::optional<DType> dtype_of(std::string_view name) noexcept;
/// Bytes of one element.
std::size_t size_of(DType dtype) noexcept;

namespace detail {

template <class T>
struct StoredAs;
template <>
struct StoredAs<double> : std::integral_constant<DType, DType::f64> {};
template <>
struct StoredAs<float> : std::integral_constant<DType, DType::f32> {};
template <>
struct StoredAs<Dual<double>> : std::integral_constant<DType, DType::f64> {};
template <>
struct StoredAs<std::int64_t> : std::integral_constant<DType, DType::i64> {};
template <>
struct StoredAs<std::uint64_t> : std::integral_constant<DType, DType::u64> {};
template <>
struct StoredAs<std::uint8_t> : std::integral_constant<DType, DType::u8> {};
template <>
struct StoredAs<bool> : std::integral_constant<DType, DType::boolean> {};

/// Bytes of a tensor with these lengths; nothing if the product (lengths of 0 left out) does not fit 63 bits.
std::optional<std::uint64_t> checked_bytes(DType dtype, std::span<const std::uint64_t> lengths) noexcept;

/// Whether a text is one JSON value in UTF-8, nested at most 64 levels deep.
bool is_json_text(const std::string& text);

/// A text from outside as a message can show it: in quotes, on one line, control characters escaped, cut where long.
std::string in_quotes(std::string_view text);

}  // namespace detail

/// The types that go in and out. Dual<double> is stored by its values alone, without derivatives.
template <class T>
concept Storable = requires {
    detail::StoredAs<T>::value;
};

/// Whether a getter may change the number type.
enum class Conversion : std::uint8_t {
    none,    ///< the stored type must be T's
    allowed  ///< any floating type to any (rounded to nearest), any integer type to int64 if the values fit
};

/// A tensor as it is stored: row-major bytes, shared between copies and never changed.
class StoredTensor {
public:
    /// A copy of `values`. @throws ShapeError if they are not shape.size() many
    template <Storable T>
    StoredTensor(std::span<const T> values, const Shape& shape);
    /// Takes over bytes. @throws ShapeError if `count` is not what dtype and shape ask for
    StoredTensor(DType dtype, const Shape& shape, std::shared_ptr<const std::byte[]> bytes, std::size_t count);

    DType dtype() const noexcept { return dtype_; }
    const Shape& shape() const noexcept { return shape_; }
    std::span<const std::byte> bytes() const noexcept { return {bytes_.get(), count_}; }

    /// The same type, shape and bits (so that NaN equals itself and 0 differs from −0).
    friend bool operator==(const StoredTensor& a, const StoredTensor& b) noexcept;

private:
    std::shared_ptr<const std::byte[]> bytes_;
    std::size_t count_ = 0;
    Shape shape_;
    DType dtype_;
};

/// Ordered names → StoredTensor or JSON value.
///
/// Getters throw ValueError for an entry that is missing, of the other kind, or of another number type, and ShapeError for
/// another shape; messages name the entry, what was expected and what is there, and where the dictionary came from.
class StateDict {
public:
    struct Entry {
        std::string name;
        std::variant<StoredTensor, std::string> value;  ///< a string is the text of a JSON value

        bool is_json() const noexcept { return value.index() == 1; }
        const StoredTensor& tensor() const { return std::get<0>(value); }
        const std::string& json_text() const { return std::get<1>(value); }
    };

    // ---- Putting in: ValueError if the name is taken, empty, not UTF-8, or "__metadata__" ----
    void put(std::string name, StoredTensor tensor);
    template <Storable T>
    void put(std::string name, const Tensor<T>& tensor) {
        put(std::move(name), StoredTensor(std::span<const T>(tensor.data(), tensor.size()), shape_of(tensor)));
    }
    void put(std::string name, const IntTensor& tensor) {
        put(std::move(name),
            StoredTensor(std::span<const std::int64_t>(tensor.data(), tensor.size()), shape_of(tensor)));
    }
    /// A tensor of rank 0: keeps every bit, infinities and NaN too, which JSON does not.
    template <Storable T>
    void put_scalar(std::string name, T value) {
        put(std::move(name), StoredTensor(std::span<const T>(&value, 1), Shape{}));
    }
    /// Also a ValueError for what does not survive: a number that is not finite, text that is not UTF-8, binary values,
    /// nesting deeper than 64. Who calls it includes <nlohmann/json.hpp>: this header only declares the type.
    void put_json(std::string name, const nlohmann::json& value);
    /// The same for a JSON value that is text already; it is kept letter by letter.
    void put_json_text(std::string name, std::string text);
    /// Every entry of `other` as "prefix.name". If one cannot be put in, none is.
    void add(std::string_view prefix, const StateDict& other);

    // ---- Looking ----
    bool contains(std::string_view name) const noexcept { return find(name) != nullptr; }
    const Entry* find(std::string_view name) const noexcept;
    const std::vector<Entry>& entries() const& noexcept { return entries_; }
    void entries() const&& = delete;  // a loop over the entries of a temporary would outlive it
    std::size_t size() const noexcept { return entries_.size(); }
    bool empty() const noexcept { return entries_.empty(); }

    // ---- Taking out ----
    const StoredTensor& stored(std::string_view name) const;
    template <Storable T>
    Tensor<T> tensor(std::string_view name, Conversion conversion = Conversion::none) const {
        Tensor<T> out = unroll::empty<T>(stored(name).shape());
        copy_to(name, std::span<T>(out.data(), out.size()), conversion);
        return out;
    }
    template <Storable T>
    Tensor<T> tensor(std::string_view name, const Shape& expected, Conversion conversion = Conversion::none) const {
        check_shape(name, expected);
        return tensor<T>(name, conversion);
    }
    IntTensor int_tensor(std::string_view name, Conversion conversion = Conversion::none) const;
    template <Storable T>
    T scalar(std::string_view name, Conversion conversion = Conversion::none) const {
        check_shape(name, Shape{});
        T value;
        copy_to(name, std::span<T>(&value, 1), conversion);
        return value;
    }
    nlohmann::json json(std::string_view name) const;
    /// The elements in row-major order. @throws ShapeError if they are not out.size() many
    template <Storable T>
    void copy_to(std::string_view name, std::span<T> out, Conversion conversion = Conversion::none) const;
    /// @throws ShapeError unless the tensor has this shape
    void check_shape(std::string_view name, const Shape& expected) const;

    /// The entries "prefix.name" as "name", in order. @throws ValueError if there are none
    StateDict sub(std::string_view prefix) const;
    bool contains_prefix(std::string_view prefix) const noexcept;
    /// Every entry but this one. @throws ValueError if it is missing
    StateDict without(std::string_view name) const;

    /// Where the entries came from ("model.safetensors"); messages begin with it.
    const std::string& origin() const noexcept { return origin_; }
    void set_origin(std::string origin) { origin_ = std::move(origin); }

    /// The same entries, whatever their order and origin.
    friend bool operator==(const StateDict& a, const StateDict& b) noexcept;

private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view name) const noexcept { return std::hash<std::string_view>()(name); }
    };
    void put_entry(Entry entry);
    const Entry& at(std::string_view name) const;
    [[noreturn]] void fail(const std::string& message) const;

    std::vector<Entry> entries_;
    std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> places_;
    std::string origin_;
    std::string prefix_;  // what sub() took away, for messages
};

// ---- Parameters as a StateDict (parameter_state.cpp) ----

struct SaveOptions {
    bool all_names = false;      ///< tied parameters under each of their names, not under the first alone
    bool random_streams = true;  ///< with the positions of the store's random streams, if it has any
    bool frozen = true;          ///< with the names of the frozen parameters, if there are any
};

struct LoadOptions {
    bool strict = true;           ///< no parameter may be missing and no tensor be left over
    bool convert = true;          ///< take other floating types, rounded to nearest
    bool random_streams = false;  ///< also take over the random streams, which must be those of the store
    bool frozen = false;          ///< also freeze and thaw as it was when saved
};

/// For training that goes on as if it had never stopped.
inline constexpr LoadOptions kResume{.strict = true, .convert = false, .random_streams = true, .frozen = true};

/// What a load that is not strict left out.
struct LoadReport {
    std::vector<std::string> missing;     ///< parameters that no entry was for; they keep their values
    std::vector<std::string> unexpected;  ///< tensors that no parameter is for
};

/// The values of all parameters, by name, in the order in which they were made. A parameter that is tagged `transposed` is
/// stored transposed, so that names and axes are PyTorch's. Tied parameters stand there once, under the name of the one that
/// was kept. The JSON entries "random_streams" and "frozen" hold the rest of the store's state.
template <class Real>
StateDict state_dict(const ParameterStore<Real>& store, const SaveOptions& options = {});

/// Takes values over by name; tied parameters from any of their names (from several if they hold the same bits). JSON
/// entries of other names are left alone, so that a whole model file can be given.
/// Throws ValueError (ShapeError if nothing but shapes is wrong) listing all that is missing, unexpected, or of another
/// shape or number type; the store is then as it was. A wrong shape is an error also when not strict.
template <class Real>
LoadReport load_state_dict(ParameterStore<Real>& store, const StateDict& dict, const LoadOptions& options = {});

}  // namespace unroll
