"""scripts/test: which suites it runs, and when it fails; building and testing stand in."""

import unittest

from sandbox import SandboxTest

# A build has the tests that the variable named after it lists, one a line; a test named "bad" fails.
CTEST = """
build=$(basename "$2")
pattern=. on_nothing=error list=
while [ $# -gt 0 ]; do
    case $1 in
    -R) pattern=$2 ;;
    -N) list=yes ;;
    --no-tests=*) on_nothing=${1#*=} ;;
    esac
    shift
done
tests=$(printf '%s\\n' "${!build:-}" | grep -e "$pattern")
if [ -n "$list" ]; then
    echo "Total Tests: $(printf '%s' "$tests" | grep -c .)"
elif [ -z "$tests" ]; then
    [ "$on_nothing" = ignore ]
else
    echo "$build runs $tests in size $UNROLL_TEST_SIZE"
    ! grep -q bad <<<"$tests"
fi
"""


class Test(SandboxTest):
    def setUp(self):
        super().setUp()
        self.script = self.copy_project() / "scripts" / "test"
        self.stand_in("dpkg-query", 'shift 3; for name in "$@"; do echo "$name installed"; done')
        self.stand_in("cmake", "exit 0")
        self.stand_in("ctest", CTEST)
        self.environment.update(release="Tape.Runs\nScripts.Run", asan="asan.Tape.Runs")

    def test_the_gate_is_two_suites(self):
        result = self.run_script(self.script)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("size normal", result.stdout)
        self.assertIn("asan runs asan.Tape.Runs in size short", result.stdout)
        self.assertEqual([line.split()[1:3] for line in result.stdout.splitlines()[-2:]], [["release", "passed"], ["asan", "passed"]])

    def test_a_test_that_fails_and_a_suite_without_tests_fail_it(self):
        for suites in [{"release": "bad"}, {"asan": "bad"}, {"release": ""}, {"asan": ""}]:
            with self.subTest(suites):
                result = self.run_script(self.script, **suites)
                self.assertEqual(result.returncode, 1)
                self.assertIn("FAILED", result.stdout)

    def test_a_filter_need_not_match_in_every_suite(self):
        result = self.run_script(self.script, "--filter", "Scripts")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("release runs Scripts.Run", result.stdout)

    def test_a_filter_that_matches_nothing_fails(self):
        result = self.run_script(self.script, "--filter", "Nowhere")
        self.assertEqual(result.returncode, 1)
        self.assert_one_line(result.stderr)
        self.assertIn("Nowhere", result.stderr)


if __name__ == "__main__":
    unittest.main()
