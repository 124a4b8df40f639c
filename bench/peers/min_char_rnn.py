"""The classic loop of a minimal character RNN in numpy, as a side of scripts/bench-peers (see README.md).

Our own writing of the well-known algorithm: hidden 100, 25 steps, one row, one-hot input, Adagrad at 0.1, gradients
clipped element by element at 5, weights N(0, 0.01²), the hidden state carried from window to window. Matrix–vector
products, one step of time after the other, as such scripts do it. A repetition is one window with its update.
"""
import json
import sys
import time

import numpy as np


def tokens(seed, count, vocab):
    """The text that every side reads: protocol.hpp has the same rule."""
    text, token = [], 0
    for _ in range(count):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        draw = seed >> 33
        token = (7 * token + 3) % vocab if draw % 4 else draw // 4 % vocab
        text.append(token)
    return text


class Loop:
    def __init__(self, hidden, steps, vocab):
        rng = np.random.RandomState(1)
        self.hidden, self.steps, self.vocab = hidden, steps, vocab
        self.wx = rng.randn(hidden, vocab) * 0.01
        self.wh = rng.randn(hidden, hidden) * 0.01
        self.wy = rng.randn(vocab, hidden) * 0.01
        self.bh, self.by = np.zeros((hidden, 1)), np.zeros((vocab, 1))
        self.params = [self.wx, self.wh, self.wy, self.bh, self.by]
        self.squares = [np.zeros_like(p) for p in self.params]
        self.text = tokens(7, 100001, vocab)
        self.position, self.state = 0, np.zeros((hidden, 1))

    def gradients(self, inputs, targets):
        """Loss of one window in nats, its gradients, and the state after it."""
        x, h, p, loss = [], [self.state], [], 0.0
        for token, target in zip(inputs, targets):
            one_hot = np.zeros((self.vocab, 1))
            one_hot[token] = 1
            x.append(one_hot)
            h.append(np.tanh(np.dot(self.wx, one_hot) + np.dot(self.wh, h[-1]) + self.bh))
            scores = np.dot(self.wy, h[-1]) + self.by
            weights = np.exp(scores)
            p.append(weights / np.sum(weights))
            loss -= np.log(p[-1][target, 0])
        gwx, gwh, gwy, gbh, gby = (np.zeros_like(param) for param in self.params)
        carried = np.zeros_like(self.state)
        for t in reversed(range(len(inputs))):
            gy = p[t].copy()
            gy[targets[t]] -= 1
            gwy += np.dot(gy, h[t + 1].T)
            gby += gy
            gh = np.dot(self.wy.T, gy) + carried
            graw = (1 - h[t + 1] * h[t + 1]) * gh
            gbh += graw
            gwx += np.dot(graw, x[t].T)
            gwh += np.dot(graw, h[t].T)
            carried = np.dot(self.wh.T, graw)
        return loss, (gwx, gwh, gwy, gbh, gby), h[-1]

    def step(self):
        if self.position + self.steps + 1 > len(self.text):
            self.position, self.state = 0, np.zeros_like(self.state)
        window = self.text[self.position:self.position + self.steps + 1]
        loss, grads, self.state = self.gradients(window[:-1], window[1:])
        for param, grad, square in zip(self.params, grads, self.squares):
            np.clip(grad, -5, 5, out=grad)
            square += grad * grad
            param -= 0.1 * grad / np.sqrt(square + 1e-8)
        self.position += self.steps
        return loss / self.steps


def main():
    loop = None
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if "hello" in request:
                answer = {"hello": True}
            elif "run" in request:
                times, losses = [], []
                for _ in range(request["run"]):
                    start = time.perf_counter()
                    losses.append(loop.step())
                    times.append(time.perf_counter() - start)
                answer = {"times": times, "loss": sum(losses) / len(losses)}
            else:
                offered = {"mode": "min_char_rnn", "cell": "rnn", "layers": 1, "batch": 1, "bidirectional": False}
                if any(request.get(key, value) != value for key, value in offered.items()):
                    raise ValueError("this side has the min-char-rnn loop only")
                loop = Loop(request.get("hidden", 100), request.get("seq_len", 25), request.get("vocab", 65))
                answer = {"ready": True, "units": loop.steps}
        except Exception as error:  # whatever went wrong is the driver's to report
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
