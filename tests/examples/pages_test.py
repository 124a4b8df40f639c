"""hello, min_char_rnn, custom_cell: each lands within 5 % of a stated loss, and does not with a learning rate of 0."""

import re
import resource
import subprocess
import unittest

from example_case import PLAY, ExampleCase

HELLO_LOSS = 0.0244  # nats per letter after 100 steps
MIN_CHAR_RNN_LOSS = 69.7  # nats per 25 characters, smoothed, after 2,000 steps
CUSTOM_CELL_LOSS = 0.0188  # nats, the mean of steps 201 to 250


def processor_seconds():
    """Of the programs that have run so far; other tests may run beside them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def losses(text):
    return [float(number) for number in re.findall(r"loss (\d+\.\d+)", text)]


class Hello(ExampleCase):
    def test_learns_to_write_hello_in_less_than_two_seconds(self):
        began = processor_seconds()
        result = self.run_example("hello")
        self.assertLess(processor_seconds() - began, 2)
        self.assertIn('From "h" it writes: hello\n', result.stdout)
        before, after = losses(result.stdout)
        self.assertGreater(before, 1)
        self.assert_within(after, HELLO_LOSS)
        self.assertEqual(result.stdout.count("✓"), result.stdout.split("Training")[0].count("✓") + 4)

    def test_does_not_without_a_learning_rate(self):
        result = self.run_example("hello", 0, expect=1)
        before, after = losses(result.stdout)
        self.assertEqual(before, after)
        self.assert_not_within(after, HELLO_LOSS)
        self.assertNotIn("writes: hello", result.stdout)

    def test_fits_a_terminal_and_has_no_escapes_in_a_pipe(self):
        result = self.run_example("hello")
        self.assertLessEqual(max(len(line) for line in result.stdout.splitlines()), 80)
        self.assertNotIn("\x1b", result.stdout)


class BadArguments(ExampleCase):
    def test_are_one_line(self):
        for program, arguments, word in [
            ("hello", ["x"], "the learning rate must be a number; got 'x'"),
            ("hello", ["nan"], "lr"),
            ("hello", [1e39], "the network has diverged: try a smaller learning rate"),
            ("custom_cell", ["0.1x"], "the learning rate must be a number; got '0.1x'"),
            ("custom_cell", ["nan"], "lr"),
            ("min_char_rnn", [PLAY, "many"], "the number of steps must be a whole number, 0 or more; got 'many'"),
            ("min_char_rnn", [PLAY, -1], "the number of steps"),
            ("min_char_rnn", [PLAY, 1, "nan"], "lr"),
            ("min_char_rnn", [], "too few arguments; usage: min_char_rnn FILE [STEPS [LEARNING_RATE]]"),
            ("hello", [0.03, 7], "too many arguments; usage: hello [LEARNING_RATE]"),
            ("custom_cell", [0.003, 7], "too many arguments; usage: custom_cell [LEARNING_RATE]"),
            ("min_char_rnn", [PLAY, 1, 0.1, 7], "too many arguments; usage: min_char_rnn FILE"),
            ("min_char_rnn", ["absent.txt"], "absent.txt"),
        ]:
            with self.subTest(program=program, arguments=arguments):
                self.assert_one_line(self.run_example(program, *arguments, expect=1).stderr, program, word)


class Help(ExampleCase):
    def test_is_the_usage(self):
        for program, arguments in [("hello", " [LEARNING_RATE]"), ("custom_cell", " [LEARNING_RATE]"),
                                   ("min_char_rnn", " FILE [STEPS [LEARNING_RATE]]")]:
            for given in ["--help"], ["-h"], [1, "--help"]:
                with self.subTest(program=program, given=given):
                    result = self.run_example(program, *given)
                    self.assertEqual((result.stdout, result.stderr), (f"usage: {program}{arguments}\n", ""))


class Output(ExampleCase):
    def test_that_is_lost_is_an_error(self):
        for program, arguments in [("hello", []), ("custom_cell", []), ("min_char_rnn", [PLAY, 10])]:
            with self.subTest(program), open("/dev/full", "w") as full:
                result = subprocess.run(self.command(program, *arguments), stdout=full, stderr=subprocess.PIPE, text=True)
                self.assertEqual(result.returncode, 1)
                self.assert_one_line(result.stderr, program, "cannot write the output")


class MinCharRnn(ExampleCase):
    def final_loss(self, *arguments):
        return losses(self.run_example("min_char_rnn", PLAY, 2000, *arguments).stdout)[-1]

    def test_counts_characters_not_bytes(self):
        text = self.folder / "text.txt"
        text.write_text("né" * 20)
        self.assertIn("40 characters, 2 distinct\n", self.run_example("min_char_rnn", text, 1).stdout)

    def test_learns(self):
        self.assert_within(self.final_loss(), MIN_CHAR_RNN_LOSS)

    def test_does_not_without_a_learning_rate(self):
        self.assert_not_within(self.final_loss(0), MIN_CHAR_RNN_LOSS)


class CustomCell(ExampleCase):
    def test_proves_its_gradients_and_learns(self):
        result = self.run_example("custom_cell")
        self.assertIn("409 entries are right", result.stdout)
        self.assert_within(losses(result.stdout)[-1], CUSTOM_CELL_LOSS)

    def test_does_not_without_a_learning_rate(self):
        self.assert_not_within(losses(self.run_example("custom_cell", 0).stdout)[-1], CUSTOM_CELL_LOSS)


if __name__ == "__main__":
    unittest.main()
