"""Running the examples as their users do: a folder for each test, programs with a short time-out, what a run left behind.

Does not know any example; the tests next to it do.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAY = ROOT / "examples" / "data" / "the_glass_harbour.txt"
PROGRAMS = pathlib.Path(os.environ.get("UNROLL_EXAMPLES", ROOT / "build" / "release" / "examples"))


class ExampleCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="unroll example "))
        self.addCleanup(shutil.rmtree, self.folder)

    def command(self, program, *arguments):
        return [str(PROGRAMS / program), *(str(argument) for argument in arguments)]

    def run_example(self, program, *arguments, expect=0, threads=None, **options):
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "HOME": str(self.folder)}
        environment.pop("UNROLL_CACHE", None)
        if threads is not None:
            environment["UNROLL_NUM_THREADS"] = str(threads)
        result = subprocess.run(
            self.command(program, *arguments),
            cwd=self.folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            **options,
        )
        if expect is not None:
            self.assertEqual(result.returncode, expect, result.stdout + result.stderr)
        return result

    def assert_one_line(self, text, *words):
        self.assertEqual(text.count("\n"), 1, f"not one line:\n{text}")
        self.assertTrue(text.endswith("\n"))
        for word in words:
            self.assertIn(word, text)

    def assert_within(self, number, stated, share=0.05):
        self.assertLessEqual(abs(number - stated), share * stated, f"{number} is not within {share:.0%} of {stated}")

    def assert_not_within(self, number, stated, share=0.05):
        self.assertGreater(abs(number - stated), share * stated, f"{number} is within {share:.0%} of {stated}")


def content_of(folder):
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
