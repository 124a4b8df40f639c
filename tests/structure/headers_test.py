"""The list of public headers is complete, ordered and closed, and unroll.hpp offers all of them."""

import unittest

from source_tree import APART, LIBRARY, ROOT, UMBRELLA, includes, internal_headers, public_headers, sources

# What a user's compiler may be made to read. Vector code, products and parsers stay in .cpp files.
OUTSIDE = ("xtensor/", "xtl/", "fmt/", "nlohmann/json_fwd.hpp", "sys/single_threaded.h")


class Headers(unittest.TestCase):
    def test_every_header_is_listed(self):
        missing = sorted(set(sources(*LIBRARY, suffixes=(".hpp",))) - set(public_headers()) - set(internal_headers()))
        self.assertEqual(missing, [], "say in cmake/headers.cmake whether these are public or internal")

    def test_every_listed_header_exists(self):
        absent = [header for header in public_headers() + internal_headers() if not (ROOT / header).is_file()]
        self.assertEqual(absent, [], "cmake/headers.cmake lists files that do not exist")

    def test_the_list_is_in_order_without_repetition(self):
        listed = public_headers()
        self.assertEqual(listed, sorted(set(listed)))

    def test_what_a_listed_header_includes_is_listed(self):
        listed = set(public_headers())
        for header in sorted(listed):
            own, _ = includes(header)
            self.assertEqual(sorted(set(own) - listed), [], f"{header} includes headers that are not installed")

    def test_public_headers_pull_in_nothing_heavy(self):
        for header in public_headers():
            _, other = includes(header)
            allowed = (*OUTSIDE, "gtest/") if header.endswith(APART) else OUTSIDE
            foreign = [name for name in other if ("/" in name or "." in name) and not name.startswith(allowed)]
            self.assertEqual(foreign, [], f"{header} includes what belongs in a .cpp file")

    def test_the_umbrella_offers_every_public_header(self):
        own, other = includes(UMBRELLA)
        self.assertEqual(other, [])
        self.assertEqual(own, sorted(own))
        offered = [header for header in public_headers() if header != UMBRELLA and not header.endswith(APART)]
        self.assertEqual(own, offered)

    def test_every_header_has_a_guard(self):
        for header in sources(*LIBRARY, suffixes=(".hpp",)) + [UMBRELLA]:
            if not header.startswith("autograd/kernels/"):
                self.assertIn("#pragma once", (ROOT / header).read_text(), header)


if __name__ == "__main__":
    unittest.main()
