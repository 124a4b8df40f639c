"""A folder with a space in its name for one test of a script: stand-ins for programs, an environment of its own.

Does not know any script; the tests next to it do.
"""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class SandboxTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="unroll script "))
        self.addCleanup(shutil.rmtree, self.folder)
        self.programs = self.folder / "bin"
        self.programs.mkdir()
        self.environment = {"PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(self.folder / "home"), "LC_ALL": "C"}

    def stand_in(self, name, script):
        """A program that the script under test will find instead of the real one."""
        path = self.programs / name
        path.write_text("#!/bin/bash\n" + script + "\n")
        path.chmod(0o755)

    def run_script(self, *command, **environment):
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env={**self.environment, **{name: str(value) for name, value in environment.items()}},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def copy_project(self):
        """The scripts alone, as a project of their own; returns its root."""
        project = self.folder / "a project"
        shutil.copytree(ROOT / "scripts", project / "scripts")
        return project

    def assert_one_line(self, text):
        self.assertEqual(text.strip().count("\n"), 0, f"more than one line:\n{text}")
        self.assertNotEqual(text.strip(), "")


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


