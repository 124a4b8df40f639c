"""Which cases there are, and which entries (one side doing one thing) and comparisons each has. Nothing is run here."""
from dataclasses import dataclass, field


HELD = "libtorch, one thread in all"


@dataclass
class Entry:
    """One side doing one thing. `choices`: settings of which the fastest is taken, after a short trial of each."""
    key: str
    side: str
    request: dict
    choices: list = field(default_factory=lambda: [{}])
    learns: bool = False      # its loss must fall
    optional: bool = False    # a side that refuses it is no news


@dataclass
class Comparison:
    """other / ours, times of one round: above 1 where ours is faster. `share`: of the products' rate, in percent."""
    title: str
    other: str
    ours: str
    share: bool = False


@dataclass
class Case:
    name: str
    title: str
    mode: str
    shape: dict
    default: bool = True      # part of a run that names no case


def shape(cell, layers, hidden, batch, seq_len, given, bidirectional=False, vocab=65):
    return dict(cell=cell, layers=layers, hidden=hidden, batch=batch, seq_len=seq_len, input=given, vocab=vocab,
                bidirectional=bidirectional)


def describe(s):
    direction = ", both directions" if s["bidirectional"] else ""
    return (f"{s['cell'].upper()} {s['layers']}×{s['hidden']} (in {s['input']}), T {s['seq_len']}, B {s['batch']}"
            f"{direction}")


def case(name, mode, *args, default=True, **more):
    made = shape(*args, **more)
    return Case(name, describe(made), mode, made, default)


CASES = [
    case("rnn-100-b1", "train", "rnn", 1, 100, 1, 25, 65),
    case("lstm-128-b1", "train", "lstm", 1, 128, 1, 50, 64),
    case("lstm-2x128-b50", "train", "lstm", 2, 128, 50, 50, 65),
    case("lstm-256-b32", "train", "lstm", 1, 256, 32, 100, 128),
    case("gru-256-b32", "train", "gru", 1, 256, 32, 100, 128),
    case("rnn-256-b32", "train", "rnn", 1, 256, 32, 100, 128),
    case("lstm-2x512-b64", "train", "lstm", 2, 512, 64, 100, 128),
    case("lstm-1024-b16", "train", "lstm", 1, 1024, 16, 50, 256),
    case("cell-128-b1", "cell", "lstm", 1, 128, 1, 50, 128),
    case("cell-128-b50", "cell", "lstm", 1, 128, 50, 50, 128),
    case("cell-256-b32", "cell", "lstm", 1, 256, 32, 100, 256),
    case("min-char-rnn", "min_char_rnn", "rnn", 1, 100, 1, 25, 65),
    case("sample-128", "sample", "lstm", 1, 128, 1, 1, 64),
    case("inference-2x128-b50", "inference", "lstm", 2, 128, 50, 50, 65),
    case("inference-2x512-b64", "inference", "lstm", 2, 512, 64, 100, 128),
    Case("sgemm-2048", "one product of 2048³", "gemm", shape("lstm", 1, 1, 1, 1, 1)),
    Case("compile", "compiling a one-page model with a cell of its own", "compile", shape("lstm", 1, 1, 1, 1, 1)),
    *(case(f"scaling-t-{t}", "train", "lstm", 1, 128, 32, t, 64, default=False) for t in (10, 50, 250, 1250)),
    *(case(f"scaling-b-{b}", "train", "lstm", 1, 128, b, 50, 64, default=False) for b in (1, 2, 8, 32, 128)),
    *(case(f"scaling-h-{h}", "train", "lstm", 1, h, 32, 50, 64, default=False) for h in (32, 64, 128, 256, 512)),
    *(case(f"scaling-l-{n}", "train", "lstm", n, 128, 32, 50, 64, default=False) for n in (1, 2, 3, 4)),
]


def libtorch(mode, s, threads, cpus, learns=False):
    """libtorch in the best of its settings and, at one thread, held to one in all: OpenBLAS has a pool of its own,
    which at::set_num_threads does not touch, so that "one thread" may still multiply on every core."""
    settings = [{"threads": n, "blas_threads": b} for n in sorted({1, threads}) for b in sorted({1, threads, cpus})]
    entries = [Entry("libtorch", "torch", {**s, "mode": mode}, settings, learns)]
    if threads == 1 and cpus > 1:
        entries.append(Entry(HELD, "torch", {**s, "mode": mode}, [{"threads": 1, "blas_threads": 1}], learns))
    return entries


def plan(case, threads, cpus):
    """(entries, comparisons) of a case at a number of threads."""
    at, s = {"threads": threads}, case.shape
    one = lambda side, mode, key=None, learns=False, optional=False, **more: Entry(
        key or side, side, {**s, "mode": mode, **more}, [at], learns, optional)
    if case.mode == "train":
        ways = [{**at, "split": "omp"}] + ([{**at, "split": "rows"}] if 1 < threads <= s["batch"] else [])
        entries = [one("unroll", "train", "unroll step", learns=True),
                   *libtorch("train", s, threads, cpus, True),
                   Entry("products of the step", "products", {**s, "mode": "train"}, ways),
                   one("unroll", "recurrent", "unroll recurrent part"), one("onednn", "recurrent", "oneDNN primitive"),
                   one("onednn", "recurrent", "oneDNN primitive, native layout", layout="native")]
        if s["cell"] == "gru":
            entries.append(one("onednn", "recurrent", "oneDNN primitive, reset before", lbr=False))
        entries += [Entry("products of the recurrent part", "products", {**s, "mode": "recurrent"}, ways),
                    one("products", "gemm", "sgemm 2048³")]
        comparisons = [Comparison("step against libtorch", "libtorch", "unroll step"),
                       Comparison("step against libtorch, one thread in all", HELD, "unroll step"),
                       Comparison("recurrent part against oneDNN", "oneDNN primitive", "unroll recurrent part"),
                       Comparison("… in its native layout", "oneDNN primitive, native layout", "unroll recurrent part"),
                       Comparison("… resetting before", "oneDNN primitive, reset before", "unroll recurrent part"),
                       Comparison("share of the products' rate, step", "products of the step", "unroll step", True),
                       Comparison("share of the products' rate, recurrent part", "products of the recurrent part",
                                  "unroll recurrent part", True)]
        if threads > 1:
            entries.append(Entry("unroll step, 1 thread", "unroll", {**s, "mode": "train"}, [{"threads": 1}], True))
            comparisons.append(Comparison(f"{threads} threads against 1", "unroll step, 1 thread", "unroll step"))
        return entries, comparisons
    if case.mode == "cell":
        return ([one("unroll", "cell", "unroll, elementary ops"), one("unroll", "pointwise", "unroll, pointwise"),
                 one("unroll", "recurrent", "unroll, built in"), *libtorch("cell", s, threads, cpus)],
                [Comparison("elementary ops against libtorch", "libtorch", "unroll, elementary ops"),
                 Comparison("elementary ops against libtorch, one thread in all", HELD, "unroll, elementary ops"),
                 # Ours computes the gradient of the input, too.
                 Comparison("pointwise against libtorch's elementary ops", "libtorch", "unroll, pointwise"),
                 Comparison("pointwise against built in", "unroll, built in", "unroll, pointwise")])
    if case.mode == "min_char_rnn":
        entries = [one("unroll", case.mode, "unroll", learns=True), one("numpy", case.mode, "numpy", learns=True),
                   *libtorch(case.mode, s, threads, cpus, True)]
        return entries, [Comparison("against numpy", "numpy", "unroll"),
                         Comparison("against libtorch", "libtorch", "unroll"),
                         Comparison("against libtorch, one thread in all", HELD, "unroll")]
    if case.mode in ("sample", "inference"):
        return ([one("unroll", case.mode, "unroll"), *libtorch(case.mode, s, threads, cpus)],
                [Comparison("against libtorch", "libtorch", "unroll"),
                 Comparison("against libtorch, one thread in all", HELD, "unroll")])
    if case.mode == "gemm":
        return [one("products", "gemm", "dnnl_sgemm"), one("unroll", "gemm", "unroll", optional=True)], []
    if case.mode == "compile":
        return ([Entry("unroll", "compile-unroll", {}), Entry("libtorch", "compile-torch", {})],
                [Comparison("against libtorch", "libtorch", "unroll")])
    raise ValueError(f"case {case.name} has an unknown mode {case.mode}")
