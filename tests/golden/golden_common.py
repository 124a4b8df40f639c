"""What the make_*.py scripts of this folder share: the fill rule and the writer. It computes no reference numbers.

Each script computes reference values with PyTorch in double precision and writes them as JSON. The files are kept in
the repository, so the tests need neither Python nor PyTorch; run a script again only to add cases:

    /usr/bin/python3 tests/golden/make_optimizers.py     (Debian 12: apt-get install python3-torch, version 1.13)

Inputs and weights are not stored: they follow from a seed by the fill rule below, which golden.hpp repeats in C++.
Numbers are written with the fewest digits that read back as the same double (17 at most).
"""
import json
import math
import pathlib

import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

FILL_RULE = ("s = seed (unsigned 64 bits); for each element in row-major order: s = s * 6364136223846793005 + "
             "1442695040888963407 modulo 2^64; element = scale * ((s >> 33) / 2^30 - 1), scale 0.5 where none is given")


def fill(seed, shape, scale=0.5):
    """A tensor by the fill rule: asymmetric, of full rank, the same bits in any language with 64-bit integers."""
    state, values = seed, []
    for _ in range(math.prod(shape)):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values.append(scale * ((state >> 33) / 2**30 - 1))
    return torch.tensor(values, dtype=torch.float64).reshape(tuple(shape))


def spec(seed, shape, scale=0.5):
    """How a filled tensor is named in the JSON."""
    out = {"seed": seed, "shape": list(shape)}
    if scale != 0.5:
        out["scale"] = scale
    return out


def flat(tensor):
    """The elements of a tensor in row-major order, as a list."""
    return tensor.detach().contiguous().reshape(-1).tolist()


def number(value):
    """Infinity and NaN have no place in JSON: they become strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, list):
        return [number(v) for v in value]
    if isinstance(value, dict):
        return {k: number(v) for k, v in value.items()}
    return value


def write(script, name, about, cases):
    """Writes the file `name` beside `script`, one case per line."""
    head = {"about": about, "made_by": f"tests/golden/{pathlib.Path(script).name}",
            "torch": torch.__version__, "fill": FILL_RULE, "fill_seed_1": flat(fill(1, (4,)))}
    path = pathlib.Path(script).resolve().parent / name
    dump = lambda value: json.dumps(number(value), separators=(",", ":"), allow_nan=False)
    lines = [f"{json.dumps(key)}:{dump(value)}" for key, value in head.items()]
    body = ",\n".join(dump(case) for case in cases)
    path.write_text("{" + ",\n".join(lines) + ',\n"cases":[\n' + body + "\n]}\n")
    print(f"{path}: {len(cases)} cases, {path.stat().st_size} bytes")
