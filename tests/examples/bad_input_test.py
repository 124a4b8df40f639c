"""Bad input to shakespeare: one clear line, a non-zero exit, nothing overwritten."""

import json
import os
import re
import resource
import struct
import subprocess
import unittest
import unittest.mock

from example_case import PLAY, ExampleCase, content_of

TINY = ["--hidden", 16, "--embed", 8, "--batch", 8, "--seq-len", 16, "--steps", 12, "--sample-every", 0]
WRONG_USE = 2
ERROR = 1


class BadInput(ExampleCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        maker = cls("refuse")
        maker.setUp()
        cls.addClassCleanup(maker.doCleanups)
        maker.run_example("shakespeare", "train", "--data", PLAY, *TINY, "--out", "run")
        cls.model = maker.folder / "run" / "model.safetensors"
        cls.checkpoint = maker.folder / "run" / "checkpoint.safetensors"

    def refuse(self, arguments, code, *words):
        """Runs into one line of error; no file is changed and none appears."""
        before = content_of(self.folder)
        result = self.run_example("shakespeare", *arguments, expect=None)
        self.assertEqual((result.returncode, result.stdout), (code, ""), f"{arguments}: {result.stderr}")
        self.assert_one_line(result.stderr, "shakespeare: ", *words)
        self.assertEqual(content_of(self.folder), before)

    def test_options(self):
        cases = [
            ([], "a subcommand is required: train, sample, eval or inspect"),
            (["dance"], "a subcommand is required: train, sample, eval or inspect"),
            (["train", "--hiden", 5], "--hiden"),
            (["sample"], "--model"),
            (["eval", "--model", self.model], "--data"),
            (["inspect"], "model"),
            (["train", "--data", PLAY, "--patience", 3, "--val-fraction", 0], "--patience"),
            (["train", "--data", PLAY, "--patience", 3, "--validate-every", 0], "--patience"),
            (["train", "--data", PLAY, *TINY, "--check-loss", 2, "--val-fraction", 0], "--check-loss"),
        ]
        bad_values = {
            "--hidden": [0, -1, "many", 1.5, "", 2**30],
            "--layers": [0],
            "--embed": [0],
            "--batch": [0, 10**15],
            "--seq-len": [0],
            "--dropout": [1, -0.1, "nan"],
            "--lr": ["nan", "inf", -1, "1e999", "0.1x"],
            "--epochs": [-1],
            "--minutes": ["nan", -1],
            "--steps": [-1, 0.5],
            "--cell": ["transformer"],
            "--optimizer": ["lbfgs"],
            "--schedule": ["never"],
            "--weight-decay": [-1],
            "--clip": [-1, "nan"],
            "--val-fraction": [1, -0.1, 2],
            "--seed": [-1, "x"],
            "--threads": [-1, 10**6],
            "--checkpoint-every": [-1],
            "--sample-every": [-1],
            "--check-loss": [0],
            "--data": [""],
            "--resume": [""],
            "--out": [""],
        }
        for option, values in bad_values.items():
            cases += [(["train", "--data", PLAY, option, value], option) for value in values]
        for option, values in {"--length": [-1], "--temperature": [-1, "nan"], "--top-k": [-1], "--top-p": [0, 1.5], "--seed": ["x"]}.items():
            cases += [(["sample", "--model", self.model, option, value], option) for value in values]
        cases += [(["eval", "--model", self.model, "--data", PLAY, "--split", "test"], "--split")]
        for arguments, word in cases:
            with self.subTest(arguments):
                self.refuse(arguments, WRONG_USE, word)

    def test_the_environment(self):
        for variable, value, word in [("UNROLL_NUM_THREADS", "abc", "must be a number from 1 to 1024"), ("UNROLL_ISA", "abc", "is not available")]:
            with unittest.mock.patch.dict(os.environ, {variable: value}):
                for arguments in [
                    ["train", "--data", PLAY, *TINY, "--out", "new"],
                    ["train", "--data", PLAY, *TINY, "--out", "new", "--threads", 1],
                    ["sample", "--model", self.model],
                    ["eval", "--model", self.model, "--data", PLAY],
                    ["inspect", self.model],
                ]:
                    with self.subTest(variable, arguments=arguments):
                        self.refuse(arguments, ERROR, variable, word)

    def test_texts(self):
        text = self.folder / "text.txt"
        for content, word in [
            (b"", "empty"),
            (b"To be\xff or not", "UTF-8"),
            (b"shorter than a batch", "too few"),
            (b"x" * 129 + b"\xc3", "UTF-8"),
            (b"short", "validation part"),
        ]:
            with self.subTest(content[:20]):
                text.write_bytes(content)
                self.refuse(["train", "--data", text, *TINY, "--out", "new"], ERROR, word)
                if word in ("empty", "UTF-8"):
                    self.refuse(["eval", "--data", text, "--model", self.model], ERROR, "text.txt", word)
        self.refuse(["train", "--data", "absent.txt", *TINY], ERROR, "absent.txt")
        self.refuse(["train", "--data", self.folder, *TINY], ERROR, "folder")

    def test_a_text_shorter_than_a_batch(self):
        text = self.folder / "text.txt"
        text.write_text("abcdefgh" * 18)  # 129 of 144 characters train, 8 × 16 + 1 are needed
        self.run_example("shakespeare", "train", "--data", text, *TINY, "--out", "enough")
        text.write_text("abcdefgh" * 17)
        self.refuse(["train", "--data", text, *TINY, "--out", "new"], ERROR, "8 × 16 + 1 = 129")

    def test_characters_that_the_model_does_not_know(self):
        self.refuse(["sample", "--model", self.model, "--prime", "ROMEO: ж"], ERROR, "--prime", "ж")
        self.refuse(["sample", "--model", self.model, "--prime", b"\xff".decode("utf-8", "surrogateescape")], ERROR, "--prime", "UTF-8")
        self.refuse(["train", "--data", PLAY, *TINY, "--prime", "#", "--out", "new"], ERROR, "--prime", "#")
        text = self.folder / "text.txt"
        text.write_text("a line\nand a ж\n" * 20)
        self.refuse(["eval", "--model", self.model, "--data", text], ERROR, "text.txt", "ж", "line 2")

    def test_model_files(self):
        whole = self.model.read_bytes()
        (length,) = struct.unpack("<Q", whole[:8])
        header = json.loads(whole[8 : 8 + length])

        mark = json.loads(header["__metadata__"]["unroll"])
        no_sum = {name: value for name, value in mark.items() if name != "metadata_checksum"}

        def with_metadata(**changes):
            changed = {**header, "__metadata__": {**header["__metadata__"], "unroll": json.dumps(no_sum), **changes}}
            text = json.dumps(changed).encode()
            return struct.pack("<Q", len(text)) + text + whole[8 + length :]

        options = json.loads(header["__metadata__"]["options"])
        path = self.folder / "model.safetensors"
        for name, content in {
            "empty": b"",
            "truncated in its header": whole[:100],
            "truncated in its data": whole[:-1],
            "longer": whole + b"x",
            "with one bit turned over": whole[:-100] + bytes([whole[-100] ^ 4]) + whole[-99:],
            "a text": PLAY.read_bytes(),
            "with two letters exchanged in its vocabulary": whole.replace(b"abcdef", b"abcdfe", 1),
            "with its checksum and other metadata": with_metadata(unroll=json.dumps(mark), val_fraction="0.2"),
            "another size": with_metadata(options=json.dumps({**options, "hidden": 17})),
            "a huge size": with_metadata(options=json.dumps({**options, "hidden": 10**12})),
            "many layers": with_metadata(options=json.dumps({**options, "layers": 10**9})),
            "no layers": with_metadata(options=json.dumps({**options, "layers": 0})),
            "another cell": with_metadata(options=json.dumps({**options, "cell": "gru"})),
            "an unknown cell": with_metadata(options=json.dumps({**options, "cell": "sru"})),
            "options of another kind": with_metadata(options="[]"),
            "no options": with_metadata(options="{}"),
            "a smaller vocabulary": with_metadata(vocabulary='{"type": "characters", "characters": "abc", "unknown": false}'),
            "a bad vocabulary": with_metadata(vocabulary="7"),
            "a bad fraction": with_metadata(val_fraction='"x"'),
            "a checkpoint": self.checkpoint.read_bytes(),
            "of another program": with_metadata(unroll="null"),
        }.items():
            with self.subTest(name):
                path.write_bytes(content)
                self.refuse(["sample", "--model", path], ERROR, "model.safetensors")
                self.refuse(["eval", "--model", path, "--data", PLAY], ERROR, "model.safetensors")
        damaged = {
            "empty": b"",
            "truncated": whole[:-1],
            "with one bit turned over": whole[:-100] + bytes([whole[-100] ^ 4]) + whole[-99:],
            "with two letters exchanged in its vocabulary": whole.replace(b"abcdef", b"abcdfe", 1),
            "a checkpoint with one bit turned over": self.checkpoint.read_bytes()[:-1] + bytes([self.checkpoint.read_bytes()[-1] ^ 4]),
        }
        for name, content in damaged.items():
            with self.subTest(f"inspect: {name}"):
                path.write_bytes(content)
                self.refuse(["inspect", path], ERROR, "model.safetensors")
        self.refuse(["sample", "--model", "absent.safetensors"], ERROR, "absent.safetensors")
        self.refuse(["sample", "--model", self.folder / "absent"], ERROR, "absent")

    def test_places_that_cannot_be_written(self):
        file = self.folder / "a file"
        file.write_text("precious")
        self.refuse(["train", "--data", PLAY, *TINY, "--out", file], ERROR, "a file")
        self.refuse(["train", "--data", PLAY, *TINY, "--out", file / "below"], ERROR, "below")
        self.refuse(["train", "--data", PLAY, *TINY, "--out", "/proc/below"], ERROR, "/proc/below")
        if os.geteuid() != 0:
            locked = self.folder / "locked"
            locked.mkdir(mode=0o500)
            self.refuse(["train", "--data", PLAY, *TINY, "--out", locked / "run"], ERROR, "locked")

    def test_files_that_stand_where_a_run_would_write(self):
        for name in ["model.safetensors", "log.jsonl", "loss.svg"]:
            with self.subTest(name):
                out = self.folder / f"with {name}"
                out.mkdir()
                (out / name).write_text("precious")
                self.refuse(["train", "--data", PLAY, *TINY, "--out", out], ERROR, name, "--out")

    def test_a_full_disk(self):
        """A limit on the size of files stands for it: what stood there stays, and no part of a file is left."""

        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

        result = self.run_example("shakespeare", "train", "--data", PLAY, *TINY, "--validate-every", 5, "--out", "run",
                                  expect=ERROR, preexec_fn=small_files, restore_signals=False)
        self.assert_one_line(result.stderr, "shakespeare: ", "cannot write")
        left = content_of(self.folder / "run")
        self.assertEqual([name for name in left if name.endswith(".tmp") or name == "checkpoint.safetensors"], [])

    def test_text_that_cannot_be_written(self):
        for arguments in [
            ["sample", "--model", self.model],
            ["sample", "--model", self.model, "--length", 10**9],
            ["eval", "--model", self.model, "--data", PLAY],
            ["inspect", self.model],
            ["train", "--data", PLAY, *TINY, "--out", self.folder / "run"],
        ]:
            with self.subTest(arguments), open("/dev/full", "w") as full:
                result = subprocess.run(self.command("shakespeare", *arguments), stdout=full, stderr=subprocess.PIPE, text=True)
                self.assertEqual(result.returncode, ERROR)
                self.assert_one_line(result.stderr, "No space left")
        self.assertTrue((self.folder / "run" / "model.safetensors").exists())

    def test_training_that_diverges_is_stopped(self):
        result = self.run_example("shakespeare", "train", "--data", PLAY, *TINY, "--lr", "1e30", "--out", "run", expect=ERROR)
        self.assert_one_line(result.stderr, "diverged", "--lr", "--check-finite")
        result = self.run_example("shakespeare", "train", "--data", PLAY, *TINY, "--lr", "1e30", "--out", "run2", "--check-finite", expect=ERROR)
        self.assert_one_line(result.stderr, "[linear]", "not finite", "in rnn")

    def test_a_network_that_does_not_fit(self):
        result = self.run_example("shakespeare", "train", "--data", PLAY, *TINY, "--hidden", 2**20, "--out", "run", expect=ERROR)
        # The address sanitizer has a line of its own for a request that it cannot serve.
        said = [line for line in result.stderr.splitlines(keepends=True) if not re.match("==[0-9]+==WARNING", line)]
        self.assert_one_line("".join(said), "memory")


if __name__ == "__main__":
    unittest.main()
