"""Every public header compiles alone, with nothing included before it and without a warning. A second compiler is asked only
with UNROLL_TEST_SIZE=long, and CTest is told that the test was skipped otherwise: it takes a minute to say the same.

    headers_alone_test.py COMPILER INCLUDE_FOLDER
"""

import concurrent.futures
import os
import subprocess
import sys

from source_tree import public_headers

SKIP = 77  # told to CTest


def messages(compiler, include, header):
    """What the compiler says of a file that holds nothing but this include."""
    command = [compiler, "-std=c++20", "-Wall", "-Wextra", "-fsyntax-only", "-I", include, "-x", "c++", "-"]
    source = f"#include <unroll/{header}>\n"
    result = subprocess.run(command, input=source, capture_output=True, text=True)
    return result.stderr if result.returncode != 0 or "warning:" in result.stderr else ""


def main():
    compiler, include = sys.argv[1:]
    if "clang" in os.path.basename(compiler) and os.environ.get("UNROLL_TEST_SIZE") != "long":
        print(f"{compiler} is asked in the long size")
        return SKIP
    headers = public_headers()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda header: messages(compiler, include, header), headers))
    failures = [f"{header}:\n{text}" for header, text in zip(headers, found) if text]
    print("\n".join(failures) or f"{len(headers)} headers compile alone with {compiler}")
    return 1 if failures or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
