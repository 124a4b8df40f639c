// Messages, and the place (module path, time step) named in them.
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/shape.hpp>

#include <fmt/format.h>

#include <deque>
#include <mutex>
#include <system_error>
#include <unordered_map>
#include <vector>

namespace unroll::detail {

Place& current_place() noexcept {
    thread_local constinit Place place;
    return place;
}

std::string system_text(int error_number) { return std::generic_category().message(error_number); }

namespace {

// Interned paths live until the process ends: a tape may name them after its model is gone.
struct Paths {
    std::mutex mutex;
    std::deque<std::string> by_number{std::string(), std::string()};  // outside modules, the root
    std::unordered_map<std::string, std::uint32_t> numbers{{std::string(), kRootPath}};
};

Paths& paths() {
    static Paths* instance = new Paths;
    return *instance;
}

}  // namespace

std::uint32_t intern_path(std::string_view path) {
    Paths& all = paths();
    std::lock_guard lock(all.mutex);
    auto [at, added] = all.numbers.try_emplace(std::string(path), static_cast<std::uint32_t>(all.by_number.size()));
    if (added) all.by_number.emplace_back(path);
    return at->second;
}

const std::string& path_of(std::uint32_t number) {
    Paths& all = paths();
    std::lock_guard lock(all.mutex);
    return all.by_number.at(number);
}

std::string place_suffix(Place place) {
    const std::string& path = path_of(place.module);
    if (!path.empty() && place.step >= 0) return fmt::format(" (in {}, time step {})", path, place.step);
    if (!path.empty()) return fmt::format(" (in {})", path);
    if (place.step >= 0) return fmt::format(" (at time step {})", place.step);
    return {};
}

void fail_shape(std::string_view op, std::string_view rule, std::initializer_list<Shape> operands) {
    std::vector<const Shape*> each;
    for (const Shape& shape : operands) each.push_back(&shape);
    fail_shape(op, rule, each.data(), each.size());
}

void fail_shape(std::string_view op, std::string_view rule, const Shape* const* operands, std::size_t count) {
    std::string list;
    for (std::size_t i = 0; i < count && i < 8; ++i)
        list += (i == 0 ? "" : i + 1 == count ? " and " : ", ") + to_string(*operands[i]);
    if (count > 8) list += fmt::format(", … ({} operands)", count);
    fail_shape(op, fmt::format("{}; got {}", rule, list));
}

void fail_shape(std::string_view op, std::string_view message) {
    throw ShapeError(fmt::format("[{}] {}{}", op, message, place_suffix(current_place())));
}

void fail_value(std::string_view op, std::string_view message) {
    throw ValueError(fmt::format("[{}] {}{}", op, message, place_suffix(current_place())));
}

void fail_index(std::string_view op, std::string_view message) {
    throw IndexError(fmt::format("[{}] {}{}", op, message, place_suffix(current_place())));
}

void fail_usage(std::string_view op, std::string_view message) {
    throw UsageError(fmt::format("[{}] {}{}", op, message, place_suffix(current_place())));
}

void fail_read(std::string_view name, std::string_view reason) {
    throw IoError(fmt::format("cannot read '{}': {}", name, reason));
}

void fail_internal(const char* condition, const char* file, int line) {
    throw InternalError(fmt::format("unroll has a bug, please report it: ({}) is false at {}:{}{}", condition, file,
                                    line, place_suffix(current_place())));
}

}  // namespace unroll::detail
