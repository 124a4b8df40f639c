"""Every public header compiles alone, with nothing included before it and without a warning.

    headers_alone_test.py COMPILER INCLUDE_FOLDER
"""

import concurrent.futures
import os
import subprocess
import sys

from source_tree import public_headers


def messages(compiler, include, header):
    """What the compiler says of a file that holds nothing but this include."""
    command = [compiler, "-std=c++20", "-Wall", "-Wextra", "-fsyntax-only", "-I", include, "-x", "c++", "-"]
    source = f"#include <unroll/{header}>\n"
    result = subprocess.run(command, input=source, capture_output=True, text=True)
    return result.stderr if result.returncode != 0 or "warning:" in result.stderr else ""


def main():
    compiler, include = sys.argv[1:]
    headers = public_headers()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda header: messages(compiler, include, header), headers))
    failures = [f"{header}:\n{text}" for header, text in zip(headers, found) if text]
    print("\n".join(failures) or f"{len(headers)} headers compile alone with {compiler}")
    return 1 if failures or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
