"""Reference values and gradients of PyTorch's recurrent layers, written to recurrent.json. Not a test: layers' tests
read them.

Every case sets each weight, the input and, where given, the initial states by the fill rule, runs the layer, and
differentiates the loss

    loss = Σ output ⊙ fill(901) + Σ h_n ⊙ fill(902) + Σ c_n ⊙ fill(903)        (each filled with scale 1)

Stored are output, h_n, c_n (LSTM only), loss, and the gradient of the loss by every weight, the input and the states.
Weight number k of named_parameters() has seed 1 + k; the input 801, h0 802, c0 803. Sizes all differ, so that swapped
axes show. A packed case runs pack_padded_sequence → layer → pad_packed_sequence(padding_value = 0, total_length = T);
its input is full of numbers beyond the lengths too, which must have no influence.
"""
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from golden_common import fill, flat, spec, write

B, T, I, H = 2, 5, 4, 3
B_PACKED, T_PACKED = 5, 6


def run(kind, lengths=None, enforce_sorted=True, states=True, unbatched=False, batch=B, steps=T, **options):
    if lengths is not None:
        batch, steps = B_PACKED, T_PACKED
    options = {"input_size": I, "hidden_size": H, **options}
    layer = getattr(torch.nn, kind)(**options)
    case = {"name": kind, "options": options, "weights": {}}
    for k, (name, weight) in enumerate(layer.named_parameters()):
        weight.data = fill(1 + k, weight.shape)
        case["weights"][name] = spec(1 + k, weight.shape)

    time_and_batch = (steps,) if unbatched else (batch, steps) if options.get("batch_first") else (steps, batch)
    rows = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    out_size = options.get("proj_size", 0) or options["hidden_size"]
    leaves = {"input": (801, (*time_and_batch, options["input_size"]))}
    if states:
        middle = () if unbatched else (batch,)
        leaves["h0"] = (802, (rows, *middle, out_size))
        if kind == "LSTM":
            leaves["c0"] = (803, (rows, *middle, options["hidden_size"]))
    filled = {}
    for name, (seed, shape) in leaves.items():
        filled[name] = fill(seed, shape, 1.0).requires_grad_()
        case[name] = spec(seed, shape, 1.0)

    x = filled["input"]
    if lengths is not None:
        case.update(lengths=lengths, enforce_sorted=enforce_sorted)
        x = pack_padded_sequence(x, torch.tensor(lengths), batch_first=options.get("batch_first", False),
                                 enforce_sorted=enforce_sorted)
    initial = None
    if states:
        initial = (filled["h0"], filled["c0"]) if kind == "LSTM" else filled["h0"]
    output, final = layer(x, initial)
    if lengths is not None:
        output, _ = pad_packed_sequence(output, batch_first=options.get("batch_first", False), total_length=steps)

    results = {"output": output, "h_n": final[0] if kind == "LSTM" else final}
    if kind == "LSTM":
        results["c_n"] = final[1]
    loss = sum((r * fill(seed, r.shape, 1.0)).sum() for r, seed in zip(results.values(), (901, 902, 903)))
    loss.backward()
    case["loss"] = loss.item()
    case["shapes"] = {name: list(r.shape) for name, r in results.items()}
    case.update({name: flat(r) for name, r in results.items()})
    case["gradients"] = {name: flat(leaf.grad) for name, leaf in filled.items()}
    case["gradients"].update({name: flat(weight.grad) for name, weight in layer.named_parameters()})
    return case


SORTED, UNSORTED = [6, 5, 5, 2, 1], [2, 6, 1, 5, 5]
CASES = [
    # One layer of each, with and without states and biases.
    ("RNN", dict()),
    ("RNN", dict(nonlinearity="relu", states=False)),
    ("RNN", dict(bias=False)),
    ("LSTM", dict()),
    ("LSTM", dict(states=False)),
    ("LSTM", dict(bias=False)),
    ("GRU", dict()),
    ("GRU", dict(states=False)),
    ("GRU", dict(bias=False)),
    # Wider than its input, one row.
    ("LSTM", dict(hidden_size=6, batch=1, steps=4)),
    ("GRU", dict(hidden_size=6, batch=1, steps=4)),
    # Layers, directions, layout.
    ("RNN", dict(num_layers=2, bidirectional=True)),
    ("RNN", dict(num_layers=2, batch_first=True, nonlinearity="relu")),
    ("LSTM", dict(num_layers=2)),
    ("LSTM", dict(num_layers=2, bidirectional=True, bias=False)),
    ("LSTM", dict(bidirectional=True, batch_first=True)),
    ("GRU", dict(num_layers=2, bidirectional=True)),
    ("GRU", dict(num_layers=2, batch_first=True, states=False)),
    # Projection.
    ("LSTM", dict(proj_size=1, batch=6)),
    ("LSTM", dict(proj_size=1, num_layers=2, bidirectional=True)),
    ("LSTM", dict(proj_size=2, batch=3, bias=False, states=False, batch_first=True)),
    # Unbatched.
    ("RNN", dict(unbatched=True)),
    ("LSTM", dict(unbatched=True, bidirectional=True, proj_size=1)),
    ("LSTM", dict(unbatched=True, states=False, batch_first=True)),
    ("GRU", dict(unbatched=True, num_layers=2)),
    # Rows of different lengths.
    ("RNN", dict(lengths=SORTED)),
    ("RNN", dict(lengths=UNSORTED, enforce_sorted=False, bidirectional=True)),
    ("LSTM", dict(lengths=SORTED, num_layers=2)),
    ("LSTM", dict(lengths=UNSORTED, enforce_sorted=False, bidirectional=True, num_layers=2)),
    ("LSTM", dict(lengths=UNSORTED, enforce_sorted=False, batch_first=True, proj_size=2, states=False)),
    ("GRU", dict(lengths=SORTED, states=False, batch_first=True)),
    ("GRU", dict(lengths=UNSORTED, enforce_sorted=False, bidirectional=True)),
    # No row as long as T: the padding reaches beyond the longest.
    ("GRU", dict(lengths=[3, 4, 1, 2, 4], enforce_sorted=False)),
]

if __name__ == "__main__":
    write(__file__, "recurrent.json",
          "loss = sum(output*fill(901)) + sum(h_n*fill(902)) + sum(c_n*fill(903)), those three with scale 1; "
          "gradients of it by name; arrays row-major; with lengths: packed, then padded with 0 to T",
          [run(kind, **options) for kind, options in CASES])
