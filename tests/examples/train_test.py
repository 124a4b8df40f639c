"""shakespeare train, sample, eval, inspect: what they write and print; a short run lands within 5 % of a stated loss."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import unittest
import xml.etree.ElementTree

from example_case import PLAY, ExampleCase, log_of

SHORT = ["--data", PLAY, "--hidden", 64, "--embed", 32, "--batch", 32, "--seq-len", 32, "--steps", 150, "--lr", 0.01]
LOSS = {"lstm": 1.984, "gru": 1.912, "rnn": 1.917}  # nats per character on the last tenth of the play
FIELDS = ["step", "epoch", "train_loss", "val_loss", "lr", "grad_norm", "chars_per_second", "seconds"]


class Losses(ExampleCase):
    def test_each_cell_lands_within_five_percent(self):
        for cell, loss in LOSS.items():
            with self.subTest(cell):
                self.run_example("shakespeare", "train", *SHORT, "--cell", cell, "--out", cell, "--check-loss", loss)

    def test_a_learning_rate_of_zero_fails_the_check(self):
        for cell, loss in LOSS.items():
            with self.subTest(cell):
                result = self.run_example("shakespeare", "train", *SHORT, "--cell", cell, "--lr", 0, "--out", cell, "--check-loss", loss, expect=1)
                self.assertIn("NOT within 5 %", result.stdout)
                self.assertAlmostEqual(log_of(self.folder / cell)[-1]["val_loss"], 4.1, delta=0.2)


class Run(ExampleCase):
    """One run, and what can be done with it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.case = ExampleCase()
        cls.case.setUp()
        cls.addClassCleanup(cls.case.doCleanups)
        cls.printed = cls.case.run_example("shakespeare", "train", *SHORT, "--out", "the run", "--sample-every", 50, "--prime", "GANNET:\\n").stdout
        cls.out = cls.case.folder / "the run"

    def shakespeare(self, *arguments, **options):
        return self.case.run_example("shakespeare", *arguments, **options)

    def test_leaves_these_files_and_no_others(self):
        self.assertEqual(sorted(path.name for path in self.out.iterdir()), ["checkpoint.safetensors", "log.jsonl", "loss.svg", "model.safetensors"])

    def test_the_log_has_these_fields_on_every_line(self):
        log = log_of(self.out)
        for line in log:
            self.assertEqual(list(line), FIELDS)
        self.assertEqual([line["step"] for line in log], sorted({line["step"] for line in log}))
        self.assertEqual(log[-1]["step"], 150)
        measured = [line for line in log if line["val_loss"] is not None]
        self.assertEqual(len(measured), 12)  # every 13 steps, and at the end
        self.assertLess(measured[-1]["val_loss"], measured[0]["val_loss"])

    def test_the_curve_is_a_picture(self):
        root = xml.etree.ElementTree.parse(self.out / "loss.svg").getroot()
        self.assertTrue(root.tag.endswith("svg"))
        text = "".join(root.itertext())
        self.assertIn("validation", text)
        self.assertIn("nats per character", text)

    def test_says_what_it_does_and_how_it_went(self):
        self.assertIn("train: the first 51,398 of 57,109 characters", self.printed)
        self.assertRegex(self.printed, r"validation loss  \d\.\d{4} nats per character \(\d\.\d{3} bits\)")
        self.assertIn("validation: the last 5,711 of 57,109 characters", self.printed)
        self.assertIn("sample --model 'the run'", self.printed)
        self.assertEqual(self.printed.count("GANNET:\n"), self.printed.count("—— after step") + self.samples_with("GANNET"))
        self.assertNotIn("\x1b", self.printed)

    def samples_with(self, name):
        """How often the samples themselves have a line with this name."""
        samples = re.findall(r"—— after step \d+ ——\nGANNET:\n((?:.|\n)*?)(?=\n\n——|\nepoch|\Z)", self.printed)
        return sum(sample.count(f"{name}:\n") for sample in samples)

    def test_eval_agrees_with_the_training_run(self):
        line = self.shakespeare("eval", "--model", self.out, "--data", PLAY).stdout
        self.assert_one_line(line)
        result = json.loads(line)
        self.assertEqual((result["split"], result["characters"], result["predictions"]), ("val", 5711, 5710))
        self.assertIn(f"validation loss  {result['nats_per_character']:.4f} nats per character", self.printed)
        self.assertAlmostEqual(result["nats_per_character"], log_of(self.out)[-1]["val_loss"], delta=0.02)
        self.assertAlmostEqual(result["bits_per_character"], result["nats_per_character"] / 0.6931471805599453, places=9)

    def test_eval_measures_each_part(self):
        sizes = {}
        for split in ["train", "val", "all"]:
            result = json.loads(self.shakespeare("eval", "--model", self.out / "model.safetensors", "--data", PLAY, "--split", split).stdout)
            sizes[split] = result["characters"]
        self.assertEqual(sizes, {"train": 51398, "val": 5711, "all": 57109})

    def test_eval_measures_a_whole_text_however_short(self):
        text = self.folder / "text.txt"
        for content in ["To", "To be or", "To be, or not"]:
            text.write_text(content)
            result = json.loads(self.shakespeare("eval", "--model", self.out, "--data", text, "--split", "all").stdout)
            self.assertEqual((result["split"], result["characters"], result["predictions"]), ("all", len(content), len(content) - 1))
            self.assertEqual(result["described"], f"all: all {len(content)} characters")

    def test_sample_writes_so_many_characters_after_the_prime(self):
        text = self.shakespeare("sample", "--model", self.out, "--prime", "LIMPET:\\nWhat", "--length", 300).stdout
        self.assertTrue(text.startswith("LIMPET:\nWhat"))
        self.assertEqual(len(text), len("LIMPET:\nWhat") + 300 + 1)
        self.assertEqual(self.shakespeare("sample", "--model", self.out, "--length", 0).stdout, "\n")

    def test_text_streams_into_a_pipe_as_it_is_made(self):
        command = self.case.command("shakespeare", "sample", "--model", self.out, "--length", 10**9, "--prime", "GANNET:\\n")
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=self.folder) as process:
            try:
                self.assertEqual(process.stdout.readline(), b"GANNET:\n")
                for _ in range(3):
                    self.assertTrue(process.stdout.readline().endswith(b"\n"))
                self.assertIsNone(process.poll())
            finally:
                process.kill()

    def test_the_same_seed_writes_the_same_text(self):
        def text(*options):
            return self.shakespeare("sample", "--model", self.out, "--length", 200, *options).stdout

        self.assertEqual(text("--seed", 5), text("--seed", 5))
        self.assertNotEqual(text("--seed", 5), text("--seed", 6))
        self.assertEqual(text("--temperature", 0, "--seed", 5), text("--top-k", 1, "--seed", 6))
        self.assertNotEqual(text("--top-p", 0.5), text())

    def test_inspect_tells_what_the_model_is(self):
        for file in [self.out, self.out / "model.safetensors"]:
            text = self.shakespeare("inspect", file).stdout
            for words in ["model of unroll", "cell lstm", "hidden 64", "61 characters", "rnn.weight_hh_l0", "(256, 64)", "val_loss"]:
                self.assertIn(words, text)
        self.assertIn("checkpoint of unroll", self.shakespeare("inspect", "--model", self.out / "checkpoint.safetensors").stdout)

    def test_a_model_file_alone_is_enough(self):
        alone = self.folder / "alone.safetensors"
        alone.write_bytes((self.out / "model.safetensors").read_bytes())
        self.assertEqual(self.shakespeare("sample", "--model", alone).stdout, self.shakespeare("sample", "--model", self.out).stdout)


class Options(ExampleCase):
    TINY = ["--data", PLAY, "--hidden", 16, "--embed", 8, "--batch", 8, "--seq-len", 16, "--sample-every", 0]

    def train(self, *options, **expected):
        return self.run_example("shakespeare", "train", *self.TINY, "--out", "run", *options, **expected)

    def test_every_option_is_taken(self):
        self.train(*"--cell gru --layers 2 --dropout 0.3 --epochs 9 --minutes 5 --steps 12 --optimizer rmsprop --lr 1e-3 --schedule linear "
                   "--weight-decay 1e-4 --clip 0.5 --val-fraction 0.05 --seed 7 --threads 2 --checkpoint-every 5 --prime A --warmup 2 "
                   "--average 0.9 --validate-every 4 --patience 9 --check-finite".split())
        log = log_of(self.folder / "run")
        self.assertEqual(log[-1]["step"], 12)
        inspected = self.run_example("shakespeare", "inspect", "run/checkpoint.safetensors").stdout
        for words in ["epochs 9.0", "optimizer rmsprop", "schedule linear", "clip 0.5", "seed 7", "average 0.9", "RMSprop"]:
            self.assertIn(words, inspected)

    def test_epochs_end_the_run(self):
        self.train("--epochs", 0.25)  # of 401 windows
        log = log_of(self.folder / "run")
        self.assertEqual(log[-1]["step"], 101)
        self.assertAlmostEqual(log[-1]["epoch"], 0.25, places=2)

    def test_minutes_end_the_run_about_then(self):
        printed = self.train("--minutes", 0.03).stdout
        self.assertIn("steps: about as many as 0.03 minutes allow", printed)
        self.assertLess(log_of(self.folder / "run")[-1]["seconds"], 20)

    def test_what_comes_first_is_the_plan_from_the_start(self):
        plan = ["--steps", 8, "--sample-every", 4, "--prime", "GANNET:\\n"]
        for limits in [[], ["--minutes", 5]]:
            printed = self.run_example("shakespeare", "train", *self.TINY, *plan, *limits, "--out", f"with {len(limits)}").stdout
            self.assertIn("100%", printed)
            self.assertIn("—— after step 4 ——", printed)
            self.assertIn("—— after step 8 ——", printed)
        rates = [[line["lr"] for line in log_of(self.folder / f"with {n}")] for n in (0, 2)]
        self.assertEqual(rates[0], rates[1])
        self.assertEqual(len(rates[0]), 8)  # each step is validated, and so logged

    def test_one_of_a_kind_is_said_so(self):
        printed = self.train("--layers", 1, "--batch", 1, "--seq-len", 1, "--threads", 1, "--steps", 2).stdout
        self.assertIn("lstm with 1 layer of 16, ", printed)
        self.assertIn("1 stream of 1 character a step, 1 thread\n", printed)

    def test_zero_minutes_are_no_limit(self):
        command = self.command("shakespeare", "train", *self.TINY, "--minutes", 0, "--validate-every", 20, "--out", "run")
        with subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True) as process:
            log = self.folder / "run" / "log.jsonl"
            while process.poll() is None and (not log.exists() or log.read_text().count("\n") < 5):
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertNotIn("minutes allow", printed)
        inspected = self.run_example("shakespeare", "inspect", "run/checkpoint.safetensors").stdout
        self.assertIn("minutes 0.0", inspected)

    def test_without_a_text_the_play_is_taken(self):
        def train(out):
            return self.run_example("shakespeare", "train", *self.TINY[2:], "--steps", 4, "--out", out).stdout

        self.assertIn("corpus      the play that comes with the source, because tiny Shakespeare is not in the cache", train("no cache"))
        cached = self.folder / ".cache" / "unroll" / "tinyshakespeare.txt"
        cached.parent.mkdir(parents=True)
        cached.write_text("x" * 1115394)
        printed = train("wrong cache")
        self.assertIn("tinyshakespeare.txt is not the whole of tiny Shakespeare", printed)
        self.assertIn(f"text        {PLAY}, 61 distinct", printed)

    def test_without_a_text_tiny_shakespeare_is_taken_from_the_cache(self):
        mirrored = pathlib.Path(os.environ.get("UNROLL_DATA_MIRROR", "")) / "tinyshakespeare" / "input.txt"
        if not mirrored.exists():
            self.skipTest("UNROLL_DATA_MIRROR does not have it")
        cached = self.folder / ".cache" / "unroll" / "tinyshakespeare.txt"
        cached.parent.mkdir(parents=True)
        shutil.copy(mirrored, cached)
        printed = self.run_example("shakespeare", "train", *self.TINY[2:], "--steps", 4, "--out", "run").stdout
        self.assertIn("corpus      tiny Shakespeare\n", printed)
        self.assertIn(f"text        {cached}, 65 distinct", printed)

    def test_without_a_validation_part_the_last_model_is_kept(self):
        printed = self.train("--val-fraction", 0, "--steps", 20).stdout
        self.assertNotIn("validation loss", printed)
        self.assertIn("(after step 20)", printed)
        self.run_example("shakespeare", "sample", "--model", "run", "--length", 10)

    def test_patience_ends_a_run_that_gets_no_better(self):
        self.train("--steps", 500, "--lr", 0, "--validate-every", 5, "--patience", 3)
        log = log_of(self.folder / "run")
        self.assertEqual([line["step"] for line in log], [5, 10, 15, 20])
        self.assertIn("step 5,", self.run_example("shakespeare", "inspect", "run").stdout)

    def test_the_best_model_is_kept_not_the_last(self):
        self.train("--steps", 60, "--lr", 0.02, "--schedule", "constant", "--validate-every", 20, "--warmup", 0)
        before = log_of(self.folder / "run")
        best = min(line["val_loss"] for line in before if line["val_loss"])
        inspected = self.run_example("shakespeare", "inspect", "run").stdout
        self.assertAlmostEqual(float(re.search(r"val_loss ([0-9.]+)", inspected)[1]), best, places=9)

    def test_the_kept_model_is_chosen_by_estimates_and_measured_exactly(self):
        """Without a learning rate all models are the same: the first one is kept."""
        printed = self.train("--steps", 60, "--lr", 0, "--validate-every", 20, "--seed", 2).stdout
        estimates = [line["val_loss"] for line in log_of(self.folder / "run") if line["val_loss"]]
        self.assertEqual(estimates, [estimates[0]] * 3)
        self.assertIn("(after step 20)", printed)
        exact = json.loads(self.run_example("shakespeare", "eval", "--model", "run", "--data", PLAY).stdout)["nats_per_character"]
        self.assertNotEqual(exact, estimates[0])
        self.assertIn(f"validation loss  {exact:.4f} nats", printed)

    def test_a_path_need_not_be_utf8(self):
        text = self.folder / os.fsdecode(b"caf\xe9.txt")
        shutil.copy(PLAY, text)
        self.train("--data", text, "--steps", 12, errors="surrogateescape")
        line = self.run_example("shakespeare", "eval", "--model", "run", "--data", text).stdout
        self.assertTrue(json.loads(line)["data"].endswith("caf\ufffd.txt"))
        refused = self.run_example("shakespeare", "train", "--resume", "run", expect=2)
        self.assert_one_line(refused.stderr, "not UTF-8", "--data")
        self.run_example("shakespeare", "train", "--resume", "run", "--data", text, errors="surrogateescape")

    def test_help_and_its_exit_code(self):
        for command in [[], ["train"], ["sample"], ["eval"], ["inspect"]]:
            self.assertIn("Usage", self.run_example("shakespeare", *command, "--help").stdout)


if __name__ == "__main__":
    unittest.main()
