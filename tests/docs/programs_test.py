"""The programs in the documents run, and print what the documents say they print; quoted parts are in their files."""

import os
import re
import subprocess
import tempfile
import unittest

from documents import ROOT, blocks, programs, quotations

# Numbers may differ a little from processor to processor; errors of a gradient check are all as good as 0.
RELATIVE, ABSOLUTE = 0.03, 0.002
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def same_line(expected, printed):
    if _NUMBER.sub("#", expected).split() != _NUMBER.sub("#", printed).split():
        return False
    pairs = zip(map(float, _NUMBER.findall(expected)), map(float, _NUMBER.findall(printed)))
    return all(abs(a - b) <= RELATIVE * max(abs(a), abs(b)) + ABSOLUTE for a, b in pairs)


def agrees(expected, printed):
    """Whether the lines agree; a "…" among those expected stands for any number of lines."""
    if not expected:
        return not printed
    if expected[0].strip() == "…":
        return any(agrees(expected[1:], printed[i:]) for i in range(len(printed) + 1))
    return bool(printed) and same_line(expected[0], printed[0]) and agrees(expected[1:], printed[1:])


class Programs(unittest.TestCase):
    def test_every_one_prints_what_its_document_says(self):
        found = {name: program for name, program in programs().items() if program.runs}
        self.assertGreater(len(found), 3)
        for name, program in found.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                result = subprocess.run(
                    [os.environ["UNROLL_DOCUMENT_PROGRAMS"], name], cwd=folder, capture_output=True, text=True, timeout=60
                )
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertTrue(
                    agrees(program.output.splitlines(), result.stdout.splitlines()),
                    f"{program.parts[0].document} says that {name} prints\n{program.output}\nand it prints\n{result.stdout}",
                )

    def test_quoted_parts_stand_in_their_files(self):
        self.assertGreater(len(quotations()), 0)
        for block in quotations():
            self.assertIn(block.text, (ROOT / block.name).read_text(), f"{block.document}, line {block.line}")

    def test_no_cpp_is_without_a_name(self):
        wrong = [f"{b.document}:{b.line}" for b in blocks() if b.language == "cpp" and not b.name]
        self.assertEqual(wrong, [])

    def test_the_comparison_sees_differences(self):
        for expected, printed, same in (
            (["loss 0.100"], ["loss 0.101"], True),
            (["loss 0.10"], ["loss 0.12"], False),
            (["loss 0.10"], ["cost 0.10"], False),
            (["a", "…", "c"], ["a", "b", "b", "c"], True),
            (["a", "…", "c"], ["a", "b"], False),
            (["a"], ["a", "b"], False),
            (["a", "b"], ["a"], False),
        ):
            self.assertEqual(agrees(expected, printed), same, (expected, printed))


if __name__ == "__main__":
    unittest.main()
