"""Reference values and gradients of PyTorch's losses and other ops, written to ops.json. Not a test: the tests of
autograd, layers and optim read them.

Inputs follow the fill rule (seed, shape, scale) unless a case lists "values". The gradients are those of
Σ out ⊙ fill(900, scale 1), out itself where it is a single number.
"""
import math

import torch
import torch.nn.functional as F

from golden_common import fill, flat, spec, write

CASES = []


def case(name, call, inputs, constants=None, **options):
    """Runs call(*inputs, *constants) and stores its value and its gradients by the inputs.

    inputs, constants: name -> (seed, shape[, scale]) or a list of values; constants get no gradient.
    """
    entry = {"name": name, "options": options, "inputs": {}, "constants": {}}
    arguments, leaves = [], {}
    for kind, given in (("inputs", inputs), ("constants", constants or {})):
        for key, how in given.items():
            if isinstance(how, tuple):
                value = fill(how[0], how[1], *how[2:])
                entry[kind][key] = spec(*how)
            else:
                value = torch.tensor(how)
                entry[kind][key] = {"shape": list(value.shape), "values": value.reshape(-1).tolist()}
            if kind == "inputs":
                leaves[key] = value.requires_grad_()
            arguments.append(value)
    out = call(*arguments)
    (out if out.dim() == 0 else (out * fill(900, out.shape, 1.0)).sum()).backward()
    entry.update(shape=list(out.shape), out=flat(out), gradients={k: flat(v.grad) for k, v in leaves.items()})
    CASES.append(entry)


REDUCTIONS = ("none", "mean", "sum")
LOGITS = (1, (5, 4), 3.0)
TARGET, TARGET_IGNORED, TARGET_ONE = [2, 0, 3, 3, 1], [2, -100, 3, -100, 1], [1, 0, 1, 3, 1]
WEIGHT = [0.5, 2.0, 1.25, 0.75]


def losses_by_class():
    for reduction in REDUCTIONS:
        for weight in (None, WEIGHT):
            for smoothing in (0.0, 0.1):
                for target, ignore in ((TARGET, -100), (TARGET_IGNORED, -100), (TARGET_ONE, 1)):
                    options = dict(reduction=reduction, label_smoothing=smoothing, ignore_index=ignore)
                    fixed = {"target": target, **({"weight": weight} if weight else {})}
                    case("cross_entropy", lambda x, t, w=None: F.cross_entropy(x, t, weight=w, **options),
                         {"input": LOGITS}, fixed, **options)
                    if smoothing == 0.0:
                        options = dict(reduction=reduction, ignore_index=ignore)
                        case("nll_loss", lambda x, t, w=None: F.nll_loss(x, t, weight=w, **options),
                             {"input": LOGITS}, fixed, **options)
    case("cross_entropy", lambda x, t: F.cross_entropy(x, t),
         {"input": [[1000.0, 0.0, -1000.0], [700.0, 710.0, 709.0], [-1e4, -1e4, -1e4]]}, {"target": [0, 2, 1]},
         reduction="mean", label_smoothing=0.0, ignore_index=-100)


def losses_by_value():
    pair = {"input": (2, (3, 5), 2.5), "target": (3, (3, 5), 1.0)}
    for reduction in REDUCTIONS:
        options = dict(reduction=reduction)
        case("mse_loss", lambda x, y: F.mse_loss(x, y, **options), pair, **options)
        case("l1_loss", lambda x, y: F.l1_loss(x, y, **options), pair, **options)
        for delta in (1.0, 0.3):
            more = dict(options, delta=delta)
            case("huber_loss", lambda x, y: F.huber_loss(x, y, **more), pair, **more)
    edge = {"input": [1.0, -1.0, 0.0, 1.5, -2.0]}
    case("huber_loss", lambda x, y: F.huber_loss(x, y, reduction="sum"), edge, {"target": [0.0] * 5},
         reduction="sum", delta=1.0)
    case("l1_loss", lambda x, y: F.l1_loss(x, y, reduction="sum"), edge,
         {"target": [1.0, 0.0, 0.0, 1.0, 1.0]}, reduction="sum")

    labels = [[1.0, 0.0, 1.0], [0.25, 0.5, 0.0]]
    for reduction in REDUCTIONS:
        options = dict(reduction=reduction)
        for extra in ({}, {"weight": [[0.5, 1.0, 2.0], [1.5, 0.25, 1.0]]}, {"pos_weight": [3.0, 0.5, 1.25]},
                      {"weight": [0.5, 1.0, 2.0], "pos_weight": [3.0, 0.5, 1.25]}):
            def call(x, y, *given, names=tuple(extra)):
                return F.binary_cross_entropy_with_logits(x, y, **dict(zip(names, given)), **options)
            case("bce_with_logits", call, {"input": (4, (2, 3), 4.0)}, {"target": labels, **extra}, **options)
    case("bce_with_logits", lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="sum"),
         {"input": [800.0, -800.0, 40.0, -40.0, 0.0, 1e-9]},
         {"target": [1.0, 0.0, 0.0, 1.0, 0.5, 1.0]}, reduction="sum")


def elementwise():
    wide = {"input": [-1000.0, -40.0, -9.0, -3.0, -1.0, -0.5, -1e-8, 1e-8, 0.5, 1.0, 3.0, 9.0, 40.0, 1000.0]}
    for given in ({"input": (5, (4, 3), 3.0)}, wide):
        case("gelu", lambda x: F.gelu(x), given, approximate="none")
        case("gelu", lambda x: F.gelu(x, approximate="tanh"), given, approximate="tanh")
        case("elu", lambda x: F.elu(x, alpha=0.7), given, alpha=0.7)
        case("leaky_relu", lambda x: F.leaky_relu(x, 0.02), given, negative_slope=0.02)
        case("softplus", lambda x: F.softplus(x), given, about="log(1 + exp(x))")
        case("sigmoid", torch.sigmoid, given)
        case("tanh", torch.tanh, given)


def over_axes():
    for axis in (0, 1, -1):
        given = {"input": (6, (3, 4, 2), 2.0)}
        case("log_softmax", lambda x: F.log_softmax(x, axis), given, axis=axis)
        case("softmax", lambda x: F.softmax(x, axis), given, axis=axis)
        case("logsumexp", lambda x: torch.logsumexp(x, axis), given, axis=axis)
        for unbiased in (False, True):
            case("var", lambda x: torch.var(x, axis, unbiased=unbiased), given, axis=axis, unbiased=unbiased)
    extreme = {"input": [[1000.0, 999.0, -1000.0], [-1e5, -1e5, -1e5]]}
    case("log_softmax", lambda x: F.log_softmax(x, 1), extreme, axis=1)
    case("softmax", lambda x: F.softmax(x, 1), extreme, axis=1)
    case("logsumexp", lambda x: torch.logsumexp(x, 1), extreme, axis=1)


def layers():
    x, affine = {"input": (7, (3, 2, 5), 2.0)}, {"weight": (8, (5,)), "bias": (9, (5,))}
    case("layer_norm", lambda x: F.layer_norm(x, (5,)), x, eps=1e-5)
    case("layer_norm", lambda x, w, b: F.layer_norm(x, (5,), w, b), {**x, **affine}, eps=1e-5)
    case("layer_norm", lambda x, w, b: F.layer_norm(x, (5,), w, b, eps=0.1), {**x, **affine}, eps=0.1)
    case("layer_norm", lambda x, w, b: F.layer_norm(x, (2, 5), w, b),
         {**x, "weight": (8, (2, 5)), "bias": (9, (2, 5))}, eps=1e-5)
    table, tokens = {"weight": (10, (6, 3))}, {"input": [[0, 5, 2], [2, 2, 4]]}
    case("embedding", lambda w, i: F.embedding(i, w), table, tokens)
    case("embedding", lambda w, i: F.embedding(i, w, padding_idx=2), table, tokens, padding_idx=2)
    case("embedding", lambda w, i: F.embedding(i, w, padding_idx=-1), table, tokens, padding_idx=-1)


def clipping():
    """Gradients of two parameters before (fill) and after; "out" is the norm that clip_grad_norm_ returned."""
    shapes = ((11, (3, 2), 4.0), (12, (5,), 1.5))
    for options in (dict(max_norm=1.0), dict(max_norm=100.0), dict(max_norm=0.5, norm_type=math.inf),
                    dict(max_norm=1.0, norm_type=1.0), dict(max_norm=2.0, norm_type=3.0)):
        params = [torch.nn.Parameter(torch.zeros(how[1])) for how in shapes]
        for param, how in zip(params, shapes):
            param.grad = fill(*how)
        norm = torch.nn.utils.clip_grad_norm_(params, **options)
        CASES.append({"name": "clip_grad_norm", "options": options, "before": [spec(*how) for how in shapes],
                      "out": norm.item(), "after": [flat(p.grad) for p in params]})
    for limit in (0.7, 5.0):
        params = [torch.nn.Parameter(torch.zeros(how[1])) for how in shapes]
        for param, how in zip(params, shapes):
            param.grad = fill(*how)
        torch.nn.utils.clip_grad_value_(params, limit)
        CASES.append({"name": "clip_grad_value", "options": {"clip_value": limit},
                      "before": [spec(*how) for how in shapes], "after": [flat(p.grad) for p in params]})


if __name__ == "__main__":
    losses_by_class()
    losses_by_value()
    elementwise()
    over_axes()
    layers()
    clipping()
    write(__file__, "ops.json", "gradients are those of sum(out*fill(900, scale 1)), or of out where it has no axes; "
          "'inputs' have gradients, 'constants' have none", CASES)
