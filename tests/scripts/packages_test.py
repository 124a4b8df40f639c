"""need_packages of scripts/lib/common.sh: asks dpkg, installs as root or by sudo, else prints the one command."""

import unittest

from sandbox import ROOT, SandboxTest

NAMES = ["cmake", "libfmt-dev", "libgtest-dev"]


class Packages(SandboxTest):
    def setUp(self):
        super().setUp()
        self.log = self.folder / "log"
        self.environment["LOG"] = str(self.log)
        self.stand_in("apt-get", 'echo "apt-get $*" >>"$LOG"; exit "${APT_CODE:-0}"')
        self.stand_in("id", 'echo "${FAKE_UID:-0}"')
        self.stand_in("sudo", '[ "${SUDO_WORKS:-}" ] || exit 1; shift; echo sudo >>"$LOG"; exec "$@"')
        self.installed(NAMES)

    def installed(self, names):
        lines = "".join(f"echo '{name} installed'\n" for name in names) + "echo 'libfmt9 installed'"
        self.stand_in("dpkg-query", f"{lines}\necho 'libgtest-dev config-files'\nexit 1")

    def need(self, **environment):
        code = f'. "{ROOT}/scripts/lib/common.sh"; need_packages {" ".join(NAMES)}; echo went on'
        return self.run_script("bash", "-euo", "pipefail", "-c", code, **environment)

    def calls(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def test_nothing_is_done_when_nothing_is_missing(self):
        result = self.need(FAKE_UID=1000)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "went on\n", ""))
        self.assertEqual(self.calls(), [])

    def test_root_installs_what_is_missing_and_says_which(self):
        self.installed(["cmake"])
        result = self.need()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("installing missing packages: libfmt-dev libgtest-dev\n", result.stdout)
        calls = self.calls()
        self.assertEqual(len(calls), 2)
        self.assertTrue(calls[0].startswith("apt-get update"))
        self.assertTrue(calls[1].startswith("apt-get install"))
        self.assertTrue(calls[1].endswith(" --no-install-recommends libfmt-dev libgtest-dev"), calls[1])

    def test_sudo_is_used_where_it_asks_no_password(self):
        self.installed(["cmake", "libfmt-dev"])
        result = self.need(FAKE_UID=1000, SUDO_WORKS=1)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.calls()[-2], "sudo")
        self.assertTrue(self.calls()[-1].endswith(" libgtest-dev"))

    def test_without_the_right_to_install_it_prints_the_one_command(self):
        self.installed(["libfmt-dev"])
        result = self.need(FAKE_UID=1000)
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assert_one_line(result.stderr)
        self.assertIn("sudo apt-get install --no-install-recommends cmake libgtest-dev", result.stderr)
        self.assertEqual(self.calls(), [])

    def test_a_failing_installation_stops_the_script(self):
        self.installed([])
        result = self.need(APT_CODE=100)
        self.assertEqual(result.returncode, 2)
        self.assertNotIn("went on", result.stdout)
        self.assertIn("apt-get install --no-install-recommends cmake libfmt-dev libgtest-dev", result.stderr)


if __name__ == "__main__":
    unittest.main()
