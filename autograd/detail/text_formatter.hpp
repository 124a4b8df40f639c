// How fmt prints what has a to_string(): that text, by fmt's specification for strings ("{:>12}", "{:.{}}").
#pragma once

#include <fmt/core.h>

namespace unroll::detail {

/// Base of such an fmt::formatter. Were it fmt's own one for strings, every file that prints a result would compile that anew.
class TextFormatter {
public:
    constexpr const char* parse(fmt::format_parse_context& context) {
        specification_ = context;
        const char* at = context.begin();
        int open = 0;  // braces of a width or precision that is an argument: one with a number, or the next one
        for (; at != context.end() && (*at != '}' || open > 0); ++at) {
            if (*at == '{') ++open;
            if (*at != '}') continue;
            --open;
            if (at[-1] == '{') context.next_arg_id();
        }
        return at;
    }

protected:
    template <class Context>
    typename Context::iterator write(fmt::string_view text, Context& context) const;

private:
    fmt::format_parse_context specification_{""};  // read by write()
};

template <class Context>
typename Context::iterator TextFormatter::write(fmt::string_view text, Context& context) const {
    fmt::format_parse_context specification = specification_;
    fmt::formatter<fmt::string_view> formatter;
    formatter.parse(specification);
    return formatter.format(text, context);
}

extern template fmt::appender TextFormatter::write(fmt::string_view, fmt::format_context&) const;

}  // namespace unroll::detail
