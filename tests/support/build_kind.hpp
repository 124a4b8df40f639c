// What the compiler was asked for: whether a sanitizer watches this build, and whether it runs at full speed.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNROLL_TEST_SANITIZED 1
#elif defined(__has_feature)
#define UNROLL_TEST_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define UNROLL_TEST_SANITIZED 0
#endif

namespace unroll::test {

/// The address or the thread sanitizer is in, which has limits of its own on memory, threads and forks.
inline constexpr bool kSanitized = UNROLL_TEST_SANITIZED;

/// Optimised, and no sanitizer: times are those that users see, and long runs end soon.
#if defined(__OPTIMIZE__)
inline constexpr bool kFullSpeed = !kSanitized;
#else
inline constexpr bool kFullSpeed = false;
#endif

}  // namespace unroll::test
