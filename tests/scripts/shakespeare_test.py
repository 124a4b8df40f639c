"""scripts/shakespeare: which corpus it takes, what it hands to `shakespeare train`; building and training stand in."""

import unittest

from sandbox import SandboxTest

PROGRAM = """#!/bin/bash
printf '%s\\n' "$@" >"$ARGUMENTS"
"""


class Shakespeare(SandboxTest):
    def setUp(self):
        super().setUp()
        self.project = self.copy_project()
        self.script = self.project / "scripts" / "shakespeare"
        self.play = self.project / "examples" / "data" / "a_play.txt"
        self.play.parent.mkdir(parents=True)
        self.play.write_text("A PLAY\n")
        program = self.project / "build" / "release" / "examples" / "shakespeare"
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM)
        program.chmod(0o755)
        self.log = self.folder / "cmake.log"
        self.arguments = self.folder / "arguments"
        self.environment.update(LOG=str(self.log), ARGUMENTS=str(self.arguments))
        self.stand_in("dpkg-query", 'shift 3; for name in "$@"; do echo "$name installed"; done')
        self.stand_in("cmake", 'pwd >>"$LOG"; echo "cmake $*" >>"$LOG"; exit "${CMAKE_CODE:-0}"')
        self.stand_in("curl", "exit 6")

    def has_data(self, path):
        (self.project / "scripts" / "get-data").write_text(f"#!/bin/bash\necho '{path}'\n")

    def given(self):
        return self.arguments.read_text().splitlines()

    def test_builds_the_program_alone_in_release(self):
        self.assertEqual(self.run_script(self.script).returncode, 0)
        where, configure, _, build = self.log.read_text().splitlines()
        self.assertEqual(where, str(self.project))
        self.assertEqual(configure, "cmake --preset release -DUNROLL_BUILD_TESTS=OFF")
        self.assertIn("--build --preset release", build)
        self.assertTrue(build.endswith("--target shakespeare"))

    def test_leaves_the_tests_of_an_existing_build_alone(self):
        (self.project / "build" / "release" / "CMakeCache.txt").write_text("")
        self.run_script(self.script)
        self.assertNotIn("UNROLL_BUILD_TESTS", self.log.read_text())

    def test_tiny_shakespeare_where_it_can_be_had(self):
        self.has_data("/a cache/tinyshakespeare.txt")
        result = self.run_script(self.script, "--minutes", "3")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("corpus: tiny Shakespeare (/a cache/tinyshakespeare.txt)", result.stdout)
        given = self.given()
        self.assertEqual(given[:5], ["train", "--minutes", "3", "--data", "/a cache/tinyshakespeare.txt"])
        self.assertEqual(given[5], "--out")
        self.assertTrue(given[6].startswith(f"{self.project}/runs/shakespeare-"))
        self.assertEqual(len(given), 7)

    def test_offline_takes_the_play_and_says_so(self):
        result = self.run_script(self.script)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"corpus: the play that comes with the project ({self.play})", result.stdout)
        self.assertIn("could not be downloaded", result.stderr)
        self.assertIn(str(self.play), self.given())

    def test_a_corpus_given_goes_first(self):
        mine = self.folder / "my own.txt"
        mine.write_text("mine")
        for arguments in [("--data", "my own.txt"), ("--data=my own.txt",)]:
            result = self.run_script(self.script, *arguments, "--out", "here")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("corpus: my own.txt (your own)", result.stdout)
            self.assertEqual(self.given(), ["train", *arguments, "--out", "here"])

    def test_an_unreadable_corpus_is_said_before_anything_is_built(self):
        result = self.run_script(self.script, "--data", "absent.txt")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assert_one_line(result.stderr)
        self.assertFalse(self.log.exists())

    def test_a_corpus_that_is_not_named_is_said_too(self):
        for arguments in [("--data",), ("--data=",), ("--data", "")]:
            result = self.run_script(self.script, *arguments)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertEqual(result.stderr, "shakespeare: --data needs the name of a file\n")
            self.assertFalse(self.log.exists())

    def test_a_resumed_run_keeps_its_corpus_and_its_folder(self):
        self.run_script(self.script, "--resume", "old run")
        self.assertEqual(self.given(), ["train", "--resume", "old run"])

    def test_help_goes_to_the_program(self):
        self.run_script(self.script, "--help")
        self.assertEqual(self.given(), ["train", "--help"])

    def test_who_may_not_install_gets_one_command_for_all(self):
        self.stand_in("dpkg-query", """shift 3
for name in "$@"; do case $name in libfmt-dev | curl) ;; *) echo "$name installed" ;; esac; done""")
        self.stand_in("id", "echo 1000")
        self.stand_in("sudo", "exit 1")
        result = self.run_script(self.script)
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assert_one_line(result.stderr)
        self.assertIn("--no-install-recommends libfmt-dev curl\n", result.stderr)
        result = self.run_script(self.script, "--data", str(self.play))
        self.assertIn("--no-install-recommends libfmt-dev\n", result.stderr)

    def test_the_corpus_is_said_before_the_build(self):
        out = self.run_script(self.script).stdout
        self.assertLess(out.index("corpus:"), out.index("building"))

    def test_a_failing_build_stops_it(self):
        result = self.run_script(self.script, CMAKE_CODE=1)
        self.assertEqual(result.returncode, 1)
        self.assertIn("the build failed", result.stderr)
        self.assertFalse(self.arguments.exists())


if __name__ == "__main__":
    unittest.main()
