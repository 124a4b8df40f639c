"""The source tree as the structural tests see it: files, what they include, and the list of public headers."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = ("autograd", "layers", "optim", "data", "io", "train")
USERS = ("examples", "tests", "bench")
UMBRELLA = "unroll.hpp"
# Headers of this ending bring another library's macros: they are public, but included only by those who want them.
APART = "_gtest.hpp"

_INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", re.MULTILINE)


def sources(*folders, suffixes=(".hpp", ".cpp")):
    """The files of these folders, as paths from the root with '/' between the parts."""
    found = []
    for folder in folders:
        found += [p.relative_to(ROOT).as_posix() for p in (ROOT / folder).rglob("*") if p.suffix in suffixes]
    return sorted(found)


def includes(path):
    """What a file includes: (files of this project, everything else as written)."""
    own, other = [], []
    for mark, name in _INCLUDE.findall((ROOT / path).read_text()):
        beside = (ROOT / path).parent / name
        if name.startswith("unroll/"):
            own.append(name.removeprefix("unroll/"))
        elif mark == '"' and beside.exists():
            own.append(beside.resolve().relative_to(ROOT).as_posix())
        else:
            other.append(name)
    return own, other


def _header_list(name):
    text = re.sub(r"#.*", "", (ROOT / "cmake" / "headers.cmake").read_text())
    return re.search(rf"set\({name}([^)]*)\)", text).group(1).split()


def public_headers():
    """What cmake/headers.cmake installs."""
    return _header_list("UNROLL_PUBLIC_HEADERS")


def internal_headers():
    """What cmake/headers.cmake keeps back, and what stands in folders that are internal as a whole."""
    found = sources(*LIBRARY, suffixes=(".hpp",))
    whole = [header for header in found if "/detail/" in header or header.startswith("autograd/kernels/")]
    return sorted(set(_header_list("UNROLL_INTERNAL_HEADERS") + whole) - set(public_headers()))
