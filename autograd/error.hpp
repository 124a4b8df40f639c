// The errors that unroll throws and the place that is named in them. Messages are built here and nowhere else.
//
// Three kinds: what the user passed (ShapeError, ValueError, IndexError, IoError), the order of calls (UsageError), and
// our own bug (InternalError, which asks for a report).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

namespace unroll {

class Shape;

/// Base of everything that unroll throws.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// An operand, or several together, has the wrong rank or shape.
class ShapeError : public Error {
public:
    using Error::Error;
};

/// An option or a value is outside its allowed range; the message names the range.
class ValueError : public Error {
public:
    using Error::Error;
};

/// A class index, token, axis or position is outside its bounds.
class IndexError : public Error {
public:
    using Error::Error;
};

/// Calls came in an order that has no meaning (a second backward over one tape, a value of another tape, …).
class UsageError : public Error {
public:
    using Error::Error;
};

/// A file is missing, unreadable, foreign, truncated, corrupted, or cannot be written.
class IoError : public Error {
public:
    using Error::Error;
};

/// A bug in unroll itself.
class InternalError : public Error {
public:
    using Error::Error;
};

namespace detail {

/// Where the running code stands: the path of the innermost module and the time step of the innermost loop.
struct Place {
    std::uint32_t module = 0;  ///< number of an interned path; 0: outside modules
    std::int32_t step = -1;    ///< time step; -1: outside a loop through time
};

/// The place of this thread. Modules and loops through time set it (ModuleGuard, StepGuard), the tape records it.
Place& current_place() noexcept;

/// The number of the empty path: that of a module built at the root of a store.
constexpr std::uint32_t kRootPath = 1;
/// The number of a module path, the same for equal paths.
std::uint32_t intern_path(std::string_view path);
/// The path of a number; empty outside modules.
const std::string& path_of(std::uint32_t number);

/// What the system says of an error number (of errno).
std::string system_text(int error_number);

/// " (in model.rnn.layer0, time step 3)", or nothing outside modules and loops.
std::string place_suffix(Place place);

/// Throws ShapeError: "[op] rule; got (2, 3) and (4, 5) (in model.rnn, time step 3)".
[[noreturn]] void fail_shape(std::string_view op, std::string_view rule, std::initializer_list<Shape> operands);
[[noreturn]] void fail_shape(std::string_view op, std::string_view rule, const Shape* const* operands,
                             std::size_t count);
/// Throw with the op's or layer's name before and the place after the message.
[[noreturn]] void fail_shape(std::string_view op, std::string_view message);
[[noreturn]] void fail_value(std::string_view op, std::string_view message);
[[noreturn]] void fail_index(std::string_view op, std::string_view message);
[[noreturn]] void fail_usage(std::string_view op, std::string_view message);
/// Throws IoError: "cannot read 'name': reason".
[[noreturn]] void fail_read(std::string_view name, std::string_view reason);
[[noreturn]] void fail_internal(const char* condition, const char* file, int line);

/// Names a module for as long as it lives.
class ModuleGuard {
public:
    explicit ModuleGuard(std::uint32_t module) noexcept : before_(current_place().module) {
        current_place().module = module;
    }
    ModuleGuard(const ModuleGuard&) = delete;
    ModuleGuard& operator=(const ModuleGuard&) = delete;
    ~ModuleGuard() { current_place().module = before_; }
    /// Whether the module was entered from outside, not from within itself.
    bool first() const noexcept { return before_ != current_place().module; }

private:
    std::uint32_t before_;
};

/// Names a time step for as long as it lives.
class StepGuard {
public:
    explicit StepGuard(std::int64_t step) noexcept : before_(current_place().step) {
        current_place().step = static_cast<std::int32_t>(step);
    }
    StepGuard(const StepGuard&) = delete;
    StepGuard& operator=(const StepGuard&) = delete;
    ~StepGuard() { current_place().step = before_; }

private:
    std::int32_t before_;
};

}  // namespace detail
}  // namespace unroll

/// An assertion about unroll itself, checked in every build.
#define UNROLL_ASSERT(condition) \
    (static_cast<bool>(condition) ? void(0) : ::unroll::detail::fail_internal(#condition, __FILE__, __LINE__))
