"""Includes point one way:

    shape, error -> tensor -> tape -> ops -> layers
                       '----> optim (sees parameters only)
    data, io and train stand beside and know no model; nothing includes examples, tests or bench.
"""

import re
import unittest

from source_tree import LIBRARY, ROOT, UMBRELLA, USERS, includes, sources

# Which folders a folder may include, besides itself.
MAY_INCLUDE = {
    "autograd": set(),
    "layers": {"autograd"},
    "optim": {"autograd", "io"},
    "data": {"autograd"},
    "io": {"autograd"},
    "train": {"autograd", "data", "io", "optim"},
}

# The stations of autograd/, in order: a file includes only its own station and those before it. What is not named here
# stands after all of them, and sees everything in autograd/.
STATIONS = (
    ("shape, error, kernels, programs", r"(error|shape|scalar|dual|detail/text_formatter|detail/fnv1a)\.|kernels/|pointwise/"),
    ("tensor", r"(pool|pool_vector|slab|buffer|xtensor|tensor|random|threads|linalg|detail/packed_weight)\."),
    ("tape", r"(var|op|tape|gradient_slots|sweep|parameter|scope|module|hooks|profile|parallel)\."),
    ("ops", r"ops\.|ops/|catalogue\."),
)
TAPE = 2


def folder_of(path):
    return path.split("/")[0]


def station_of(path):
    name = path.removeprefix("autograd/")
    return next((i for i, (_, pattern) in enumerate(STATIONS) if re.match(pattern, name)), len(STATIONS))


class Includes(unittest.TestCase):
    def test_folders_know_only_those_before_them(self):
        wrong = []
        for path in sources(*LIBRARY):
            allowed = MAY_INCLUDE[folder_of(path)] | {folder_of(path)}
            wrong += [f"{path} includes {own}" for own in includes(path)[0] if folder_of(own) not in allowed]
        self.assertEqual(wrong, [])

    def test_stations_of_autograd_know_only_those_before_them(self):
        wrong = []
        for path in sources("autograd"):
            station = station_of(path)
            wrong += [f"{path} includes {own}" for own in includes(path)[0] if station_of(own) > station]
        self.assertEqual(wrong, [])

    def test_beside_the_layers_nothing_knows_an_op(self):
        wrong = []
        for path in sources("optim", "data", "io", "train"):
            for own in includes(path)[0]:
                if folder_of(own) == "autograd" and station_of(own) > TAPE:
                    wrong.append(f"{path} includes {own}")
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
