// Text written by a specification, for all but the contexts of FMT_COMPILE.
#include <unroll/autograd/detail/text_formatter.hpp>

#include <fmt/format.h>

namespace unroll::detail {

template fmt::appender TextFormatter::write(fmt::string_view, fmt::format_context&) const;

}  // namespace unroll::detail
