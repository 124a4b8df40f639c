"""Every C++ file is laid out as .clang-format says. Skipped where clang-format 14 is not installed."""

import shutil
import subprocess
import sys

from source_tree import ROOT

SKIP = 77  # told to CTest
VERSION = "version 14."

program = shutil.which("clang-format-14") or shutil.which("clang-format")
if not program or VERSION not in subprocess.run([program, "--version"], capture_output=True, text=True).stdout:
    print(f"clang-format of {VERSION.rstrip('.')} is not installed")
    sys.exit(SKIP)

folders = ("autograd", "layers", "optim", "data", "io", "train", "examples", "bench", "tests")
files = [ROOT / "unroll.hpp"] + [f for d in folders for f in sorted((ROOT / d).rglob("*.[ch]pp"))]
assert len(files) > 200, f"only {len(files)} files were found"
check = subprocess.run([program, "--dry-run", "--Werror", *map(str, files)], capture_output=True, text=True)
sys.stderr.write(check.stderr[:4000])
sys.exit(check.returncode)
