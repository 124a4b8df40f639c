"""A training run that was stopped, cleanly or not, and resumed ends with the same bytes as one that was not."""

import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from example_case import PLAY, ExampleCase, content_of, log_of

RECIPE = ["--data", PLAY, "--hidden", 48, "--layers", 2, "--embed", 16, "--dropout", 0.3, "--batch", 32, "--seq-len", 16,
          "--steps", 320, "--validate-every", 50, "--checkpoint-every", 20, "--sample-every", 0]


def losses_of(folder):
    """The log without what the clock says."""
    return [{name: value for name, value in line.items() if name not in ("chars_per_second", "seconds")} for line in log_of(folder)]


class Resume(ExampleCase):
    def train(self, *arguments, **options):
        return self.run_example("shakespeare", "train", *arguments, **options)

    def begin(self, *arguments, out):
        return subprocess.Popen(self.command("shakespeare", "train", *arguments, "--out", out), cwd=self.folder, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait_for_step(self, process, out, step):
        log = self.folder / out / "log.jsonl"
        limit = time.monotonic() + 120
        while not log.exists() or log.read_text().count("\n") < step / 10:
            self.assertIsNone(process.poll(), "the run ended too soon")
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.005)

    def assert_same_end(self, out, whole):
        for file in ["model.safetensors"]:
            self.assertEqual((self.folder / out / file).read_bytes(), (self.folder / whole / file).read_bytes(), f"{file} of {out}")
        self.assertEqual(losses_of(self.folder / out), losses_of(self.folder / whole))

    def test_stopped_by_ctrl_c_at_several_places(self):
        self.train(*RECIPE, "--threads", 1, "--out", "whole")
        for threads, step in [(2, 10), (1, 130), (2, 250)]:
            out = f"stopped after {step}"
            process = self.begin(*RECIPE, "--threads", threads, out=out)
            self.wait_for_step(process, out, step)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, stderr)
            self.assertIn("--resume", stdout)
            self.train("--resume", out, "--threads", 3 - threads)
            self.assert_same_end(out, "whole")

    def test_killed_and_resumed_twice(self):
        self.train(*RECIPE, "--out", "whole")
        process = self.begin(*RECIPE, out="killed")
        self.wait_for_step(process, "killed", 150)
        process.kill()
        process.communicate()
        second = subprocess.Popen(self.command("shakespeare", "train", "--resume", "killed"), cwd=self.folder, stdout=subprocess.DEVNULL)
        self.wait_for_step(second, "killed", 200)
        second.send_signal(signal.SIGTERM)
        self.assertEqual(second.wait(60), 143)
        self.train("--resume", "killed")
        self.assert_same_end("killed", "whole")

    def test_a_budget_of_time_is_decided_once(self):
        process = self.begin(*RECIPE[:-8], "--minutes", 0.08, "--sample-every", 0, "--checkpoint-every", 10, out="whole")
        checkpoint = self.folder / "whole" / "checkpoint.safetensors"
        while not checkpoint.exists():
            self.assertIsNone(process.poll())
            time.sleep(0.002)
        copy = self.folder / "copy"
        copy.mkdir()
        shutil.copy(checkpoint, copy)
        process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0)
        self.train("--resume", "copy")
        self.assertEqual((copy / "model.safetensors").read_bytes(), (self.folder / "whole" / "model.safetensors").read_bytes())

    def test_the_speed_is_that_of_the_process(self):
        process = self.begin(*RECIPE, out="run")
        self.wait_for_step(process, "run", 250)
        process.send_signal(signal.SIGINT)
        stopped = int(re.search(r"stopped after step (\d+)", process.communicate(timeout=60)[0])[1])
        inspected = self.run_example("shakespeare", "inspect", "run/checkpoint.safetensors").stdout
        before = float(re.search(r"^watch +seconds ([0-9.e-]+)$", inspected, re.MULTILINE)[1])
        self.train("--resume", "run")
        line = next(line for line in log_of(self.folder / "run") if line["step"] > stopped)
        speed = (line["step"] - stopped) * 32 * 16 / (line["seconds"] - before)
        self.assert_within(line["chars_per_second"], speed, share=0.2)

    def test_that_a_file_has_no_place_is_known_at_once(self):
        self.train(*RECIPE, "--steps", 40, "--out", "run")
        curve = self.folder / "run" / "loss.svg"
        curve.unlink()
        curve.mkdir()
        before = content_of(self.folder)
        result = self.train("--resume", "run", expect=1)
        self.assert_one_line(result.stderr, "loss.svg")
        self.assertEqual(result.stdout, "")
        self.assertEqual(content_of(self.folder), before)

    def test_a_curve_that_cannot_be_drawn_does_not_cost_the_checkpoint(self):
        process = self.begin(*RECIPE, "--checkpoint-every", 300, out="run")
        self.wait_for_step(process, "run", 10)
        with open(self.folder / "run" / "log.jsonl", "a") as log:
            log.write("no JSON\n")
        stderr = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 1)
        self.assert_one_line(stderr, "log.jsonl")
        self.assertTrue((self.folder / "run" / "checkpoint.safetensors").exists())

    def test_a_finished_run_stays_as_it_is(self):
        self.train(*RECIPE, "--steps", 40, "--out", "run")
        before = content_of(self.folder / "run")
        result = self.train("--resume", "run")
        self.assertIn("validation loss", result.stdout)
        self.assertEqual(content_of(self.folder / "run")["model.safetensors"], before["model.safetensors"])
        self.assertEqual(content_of(self.folder / "run")["log.jsonl"], before["log.jsonl"])

    def test_the_text_may_have_moved(self):
        text = self.folder / "text.txt"
        shutil.copy(PLAY, text)
        self.train(*RECIPE, "--data", text, "--steps", 40, "--out", "run")
        text.rename(self.folder / "moved.txt")
        self.assert_one_line(self.train("--resume", "run", expect=1).stderr, "text.txt")
        self.train("--resume", "run", "--data", "moved.txt")

    def test_what_cannot_be_resumed(self):
        self.train(*RECIPE, "--steps", 40, "--out", "run")
        other = self.folder / "other.txt"
        text = PLAY.read_text()
        other.write_text(text[::-1])
        ending = self.folder / "ending.txt"
        ending.write_text(text[:-100] + text[-100:][::-1])  # within the validation part
        letter = self.folder / "letter.txt"
        letter.write_text(text.replace(max(text), chr(ord(max(text)) + 1)))  # its number stays
        broken = self.folder / "broken"
        broken.mkdir()
        whole = (self.folder / "run" / "checkpoint.safetensors").read_bytes()
        (broken / "checkpoint.safetensors").write_bytes(whole[: len(whole) // 2])
        foreign = self.folder / "foreign"
        foreign.mkdir()
        shutil.copy(self.folder / "run" / "model.safetensors", foreign / "checkpoint.safetensors")
        before = content_of(self.folder)
        cases = [
            (["--resume", "run", "--hidden", 99], 2, "--hidden"),
            (["--resume", "run", "--out", "elsewhere"], 2, "--out"),
            (["--resume", "run", "--lr", 0.1], 2, "--lr"),
            (["--resume", "absent"], 1, "absent"),
            (["--resume", "run", "--data", other], 1, "another text"),
            (["--resume", "run", "--data", ending], 1, "validation part"),
            (["--resume", "run", "--data", letter], 1, "other characters"),
            (["--resume", "run", "--data", "absent.txt"], 1, "absent.txt"),
            (["--resume", "broken"], 1, "broken"),
            (["--resume", "foreign"], 1, "not a checkpoint"),
        ]
        for arguments, code, word in cases:
            with self.subTest(arguments):
                self.assert_one_line(self.train(*arguments, expect=code).stderr, word)
                self.assertEqual(content_of(self.folder), before)

    def test_a_new_run_does_not_replace_an_old_one(self):
        self.train(*RECIPE, "--steps", 20, "--out", "run")
        before = content_of(self.folder)
        self.assert_one_line(self.train(*RECIPE, "--steps", 20, "--out", "run", expect=1).stderr, "holds a run already")
        self.assertEqual(content_of(self.folder), before)


if __name__ == "__main__":
    unittest.main()
