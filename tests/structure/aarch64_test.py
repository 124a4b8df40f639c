"""The library for another processor: its sources, checked by an aarch64 compiler. Skipped where that is not installed.

Normally the portable kernels, what chooses among kernels, and the threads; with UNROLL_TEST_SIZE=long every source of the
library. Its dependencies are read from where this machine has them: headers that do not depend on the processor. Nothing
is linked.

    aarch64_test.py INCLUDE_DIRECTORY WITH_ONEDNN
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from source_tree import LIBRARY, ROOT, sources

SKIP = 77  # told to CTest
COMPILER = "aarch64-linux-gnu-g++"  # Debian's package g++-aarch64-linux-gnu
KERNELS = "autograd/kernels/kernels"
include, with_onednn = sys.argv[1:]

if not shutil.which(COMPILER):
    print(f"{COMPILER} is not installed")
    sys.exit(SKIP)

multiarch = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True).stdout.strip()
command = [COMPILER, "-std=c++20", "-fsyntax-only", "-O1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
command += [f"-DUNROLL_WITH_ONEDNN={with_onednn}", "-I", include]
# Behind the compiler's own: the C library's headers must be aarch64's.
command += ["-idirafter", "/usr/include", "-idirafter", f"/usr/include/{multiarch}"]


def check(source):
    done = subprocess.run([*command, str(ROOT / source)], capture_output=True, text=True)
    print(source, "compiles" if done.returncode == 0 else "does NOT compile", flush=True)
    sys.stderr.write(done.stderr[:4000])
    return done.returncode == 0


if os.environ.get("UNROLL_TEST_SIZE") == "long":
    of_x86 = {f"{KERNELS}_avx2.cpp", f"{KERNELS}_avx512.cpp"}
    checked = [source for source in sources(*LIBRARY, suffixes=(".cpp",)) if source not in of_x86]
    assert len(checked) > 80, f"only {len(checked)} sources were found"
else:
    checked = [f"{KERNELS}.cpp", f"{KERNELS}_baseline.cpp", "autograd/threads.cpp"]
with ThreadPoolExecutor(2) as pool:
    sys.exit(0 if all(list(pool.map(check, checked))) else 1)
