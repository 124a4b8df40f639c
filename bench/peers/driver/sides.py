"""Starts sides and talks to them (the lines are described in bench/peers/README.md). It judges no numbers."""
import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = ROOT / "build" / "bench"
PROGRAMS = {  # side -> (target of the build, path in the build folder, what it needs)
    "unroll": ("bench_unroll_step", "bench/bench_unroll_step", "bench/unroll_step.cpp"),
    "torch": ("peer_torch_step", "bench/peers/peer_torch_step", "libtorch (libtorch-dev)"),
    "onednn": ("peer_onednn_rnn", "bench/peers/peer_onednn_rnn", "oneDNN (libdnnl-dev)"),
    "products": ("peer_products", "bench/peers/peer_products", "oneDNN (libdnnl-dev)"),
}
COUNTER = BUILD / "bench/peers/peer_count_allocations.so"


class Missing(Exception):
    """A side that cannot do what an entry asks, and why."""


def build(say):
    """Configures the preset `bench` and builds what can be built. Returns side -> reason for each that cannot."""
    missing = {}
    run = lambda *command: subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT)
    say("configuring (cmake --preset bench)")
    configured = run("cmake", "--preset", "bench")
    if configured.returncode:
        sys.exit("bench-peers: cmake --preset bench failed:\n" + configured.stdout[-3000:])
    jobs = str(os.cpu_count() or 1)
    for side, (target, _, needs) in {**PROGRAMS, "counter": ("peer_count_allocations", "", "")}.items():
        say(f"building {target}")
        built = run("cmake", "--build", str(BUILD), "--target", target, "-j", jobs)
        if built.returncode:
            unknown = "unknown target" in built.stdout or "No rule to make target" in built.stdout
            lines = [line for line in built.stdout.splitlines() if "error" in line.lower()] or built.stdout.splitlines()
            missing[side] = f"needs {needs}" if unknown else "does not build: " + " / ".join(lines[:3])[:300]
    return missing


def python_with_numpy():
    for candidate in dict.fromkeys((sys.executable, "/usr/bin/python3", shutil.which("python3"))):
        if candidate and subprocess.run([candidate, "-c", "import numpy"], capture_output=True).returncode == 0:
            return candidate
    raise Missing("needs numpy (python3-numpy)")


class Process:
    """A running side, set up for one request."""

    def __init__(self, side, request, setting, missing, preload=None, time_limit=300):
        if side in missing:
            raise Missing(missing[side])
        if side == "numpy":
            command = [python_with_numpy(), str(ROOT / "bench/peers/min_char_rnn.py")]
        else:
            command = [str(BUILD / PROGRAMS[side][1])]
            if not os.path.exists(command[0]):
                raise Missing("not built")
        self.setting, self.time_limit = setting, time_limit
        threads = str(setting.get("threads", 1))
        environment = dict(os.environ, OMP_NUM_THREADS=threads, UNROLL_NUM_THREADS=threads,
                           OPENBLAS_NUM_THREADS=str(setting.get("blas_threads", threads)))
        if preload:
            environment["LD_PRELOAD"] = str(preload)
        self.noise = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.noise,
                                        env=environment)
        try:
            self.ask({"hello": True})
            self.before = self.memory("VmRSS")
            self.facts = self.ask({**request, **setting})
        except Missing:
            self.close()
            raise

    def ask(self, line):
        try:
            self.process.stdin.write((json.dumps(line) + "\n").encode())
            self.process.stdin.flush()
            if not select.select([self.process.stdout], [], [], self.time_limit)[0]:
                raise Missing(f"no answer within {self.time_limit} s")
            answer = json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            self.noise.seek(0)
            words = self.noise.read().decode(errors="replace").strip().splitlines()
            raise Missing("it ended without an answer" + (": " + words[-1][:200] if words else "")) from None
        if "error" in answer:
            raise Missing(answer["error"])
        return answer

    def run(self, n):
        return self.ask({"run": n})

    def memory(self, key):
        """A line of /proc/…/status in bytes: VmRSS now, VmHWM at its highest."""
        try:
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
            return 1024 * int(re.search(key + r":\s*(\d+)", status).group(1))
        except (OSError, AttributeError):
            return 0

    def close(self):
        with contextlib.suppress(BrokenPipeError):  # one that has ended takes no farewell
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.noise.close()


class Compiler:
    """The time a compiler takes for a page of source, in the shape of a process."""
    PAGES = {
        "compile-unroll": ("examples/custom_cell.cpp", "-std=c++20", (str(BUILD / "include"),)),
        "compile-torch": ("bench/peers/torch_page.cpp", "-std=c++17",
                          ("/usr/include/torch/csrc/api/include", "/usr/include")),
    }

    def __init__(self, side, missing):
        page, standard, folders = self.PAGES[side]
        if not (ROOT / page).exists():
            raise Missing(f"needs {page}")
        if side == "compile-torch" and "torch" in missing:
            raise Missing(missing["torch"])
        self.command = [os.environ.get("CXX", "g++"), standard, "-O2", "-c", str(ROOT / page), "-o", os.devnull]
        self.command += [word for folder in folders if folder != "/usr/include" for word in ("-I", folder)]
        self.setting, self.facts = {}, {"lines": len((ROOT / page).read_text().splitlines())}

    def run(self, n):
        times = []
        for _ in range(n):
            start = time.perf_counter()
            done = subprocess.run(self.command, capture_output=True, text=True)
            times.append(time.perf_counter() - start)
            if done.returncode:
                raise Missing("does not compile: " + done.stderr.strip()[:300])
        return {"times": times}

    def close(self):
        pass


def start(entry, setting, missing, preload=None):
    if entry.side.startswith("compile-"):
        return Compiler(entry.side, missing)
    return Process(entry.side, entry.request, setting, missing, preload)


def start_best(entry, missing, seconds):
    """Starts the entry in each of its settings, and keeps the one that is fastest in a short trial, run in turns."""
    candidates, best = [], None
    try:
        for setting in entry.choices:
            candidates.append(start(entry, setting, missing))
            candidates[-1].first = candidates[-1].run(1)
            candidates[-1].trial = []
        guess = max(min(c.first["times"][0] for c in candidates), 1e-6)
        for number in range(4 if len(candidates) > 1 else 0):
            for candidate in candidates:
                times = candidate.run(max(1, min(500, int(seconds / 3 / guess))))["times"]
                if number > 0:
                    candidate.trial.append(statistics.median(times))
        best = min(candidates, key=lambda c: statistics.median(c.trial)) if len(candidates) > 1 else candidates[0]
    finally:
        for candidate in candidates:
            if candidate is not best:
                candidate.close()
    return best


def measure_memory(entry, setting, missing):
    """Allocations per repetition, and the most memory the side held beyond what it held before it was set up."""
    if not COUNTER.exists() or entry.side.startswith("compile-") or entry.side == "numpy":
        return None
    process = start(entry, setting, missing, COUNTER)
    try:
        process.run(3)
        answer = process.run(3)
        return {"allocations": answer.get("allocations"), "allocated_bytes": answer.get("allocated_bytes"),
                "peak_bytes": process.memory("VmHWM") - process.before}
    finally:
        process.close()
