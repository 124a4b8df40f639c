"""Includes point one way:

    shape, error -> tensor -> tape -> ops -> layers
                       '----> optim (sees parameters only)
    data, io and train stand beside and know no model; nothing includes examples, tests or bench.
"""

import unittest

from source_tree import LIBRARY, ROOT, UMBRELLA, USERS, includes, sources

# Which folders a folder may include, besides itself.
MAY_INCLUDE = {
    "autograd": set(),
    "layers": {"autograd"},
    "optim": {"autograd"},
    "data": {"autograd"},
    "io": {"autograd"},
    "train": {"autograd", "data", "io", "optim"},
}


def folder_of(path):
    return path.split("/")[0]


class Includes(unittest.TestCase):
    def test_folders_know_only_those_before_them(self):
        wrong = []
        for path in sources(*LIBRARY):
            allowed = MAY_INCLUDE[folder_of(path)] | {folder_of(path)}
            wrong += [f"{path} includes {own}" for own in includes(path)[0] if folder_of(own) not in allowed]
        self.assertEqual(wrong, [])

    def test_the_umbrella_is_for_users_only(self):
        self.assertEqual([path for path in sources(*LIBRARY) if UMBRELLA in includes(path)[0]], [])

    def test_no_header_includes_itself_by_a_detour(self):
        graph = {path: includes(path)[0] for path in sources(*LIBRARY, suffixes=(".hpp",))}
        done = set()

        def walk(path, trail):
            self.assertNotIn(path, trail, " -> ".join([*trail, path]))
            if path not in done:
                for own in graph.get(path, []):
                    walk(own, [*trail, path])
                done.add(path)

        for path in graph:
            walk(path, [])

    def test_every_include_of_our_own_exists_and_is_written_from_the_root(self):
        wrong = []
        for path in sources(*LIBRARY, *USERS):
            wrong += [f"{path}: {own}" for own in includes(path)[0] if not (ROOT / own).is_file()]
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
