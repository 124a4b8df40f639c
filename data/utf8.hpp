// UTF-8, strictly: bytes to code points and back. It knows nothing of vocabularies and files.
#pragma once

#include <string>
#include <string_view>

namespace unroll {

/// The code points of UTF-8 text. Strict, as RFC 3629 has it: a stray or missing continuation byte, an overlong form, a
/// surrogate, and anything above U+10FFFF are a ValueError that names the byte offset (from 0) and the fault.
std::u32string decode_utf8(std::string_view bytes);

/// The same of any bytes: each byte that is not part of a character becomes U+FFFD, the replacement character.
std::u32string decode_utf8_lossy(std::string_view bytes);

/// Appends the one to four bytes of a code point; a surrogate or a number above U+10FFFF is a ValueError.
void append_utf8(std::string& bytes, char32_t code_point);
std::string encode_utf8(std::u32string_view code_points);

/// A code point as a message shows it: 'é' (U+00E9); the newline (U+000A); control characters by number alone.
std::string describe_code_point(char32_t code_point);

}  // namespace unroll
