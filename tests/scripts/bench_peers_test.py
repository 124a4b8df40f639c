"""scripts/bench-peers where sides are missing or end early; what it measures, stand-ins make up."""

import json
import shutil
import sys
import unittest

from sandbox import ROOT, SandboxTest

# Takes a thousandth of a second for whatever it is asked, and ends when it has been asked often enough.
SIDE = f"""#!{sys.executable}
import json, os, sys
left = int(os.environ.get(os.path.basename(sys.argv[0]), 1000))
for line in sys.stdin:
    left -= 1
    if left < 0:
        sys.exit("out of luck")
    n = json.loads(line).get("run", 0)
    print(json.dumps({{"times": [1e-3 + 1e-6 * left] * n, "loss": left}}), flush=True)
"""
PROGRAMS = ["bench/bench_unroll_step", "bench/peers/peer_torch_step", "bench/peers/peer_onednn_rnn", "bench/peers/peer_products"]


class BenchPeers(SandboxTest):
    def setUp(self):
        super().setUp()
        self.project = self.copy_project()
        shutil.copytree(ROOT / "bench" / "peers" / "driver", self.project / "bench" / "peers" / "driver")
        self.json = self.folder / "measured.json"

    def run_with(self, *programs, **environment):
        for program in programs:
            path = self.project / "build" / "bench" / program
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(SIDE)
            path.chmod(0o755)
        return self.run_script(sys.executable, "-B", self.project / "scripts" / "bench-peers", "--no-build", "--quick", "--case", "lstm-128",
                               "--threads", "1", "--rounds", "2", "--seconds", "0.001", "--json", self.json, **environment)

    def entries(self):
        (result,) = json.loads(self.json.read_text())["results"]
        return result["entries"]

    def test_all_sides(self):
        result = self.run_with(*PROGRAMS)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertNotIn("missing", result.stdout)
        self.assertEqual(len(self.entries()["libtorch"]["round_medians"]), 2)

    def test_nothing_built(self):
        result = self.run_with()
        self.assertEqual(result.returncode, 1)
        self.assertIn("nothing was measured", result.stderr.splitlines()[-1])
        self.assertNotIn("Traceback", result.stderr)
        self.assertTrue(all(entry["missing"] == "not built" for entry in self.entries().values()))

    def test_a_side_that_ends_early_leaves_the_others(self):
        for asked in (4, 5):  # hello, the shape and a first run; then before the turns, or in the first of them
            result = self.run_with(*PROGRAMS, peer_onednn_rnn=asked)
            self.assertEqual(result.returncode, 1)
            self.assertNotIn("Traceback", result.stderr)
            self.assertIn("warning: oneDNN primitive did not last: it ended without an answer: out of luck", result.stdout)
            entries = self.entries()
            self.assertIn("missing", entries["oneDNN primitive"])
            self.assertEqual(len(entries["unroll step"]["round_medians"]), 2)


if __name__ == "__main__":
    unittest.main()
