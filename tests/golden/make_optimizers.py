"""Reference trajectories of PyTorch's optimisers, written to optimizers.json. Not a test: optim's tests read them.

Two parameters, a (3) and b (2×2), follow gradients that anybody can repeat exactly, since the rule uses only + and *.
With k the element's place in [a, b] (0 … 6), p its value and n the number of the step (1 … 100):

    g = slope[k] * (p + shift[k]) + cubic[k] * (p * p * p) + drift[k] * n

Element 3 never gets a gradient and element 5 gets one of about 1e-8, where the place of epsilon decides the result.
"""
import torch

from golden_common import flat, write

START = [0.9, -0.4, 0.25, 0.7, -0.8, 0.5, -0.1]
SLOPE = [1.25, 0.5, 2.0, 0.0, 0.75, 1e-8, 1.5]
SHIFT = [-0.3, 0.2, 0.1, 0.0, 0.45, 0.6, -0.2]
CUBIC = [0.5, 0.0, 0.25, 0.0, 1.0, 0.0, 0.125]
DRIFT = [0.001, -0.002, 0.0, 0.0, 0.0015, 0.0, -0.0005]
STEPS = (1, 10, 100)


def set_gradients(params, n):
    k = 0
    for param in params:
        values = []
        for p in flat(param):
            values.append(SLOPE[k] * (p + SHIFT[k]) + CUBIC[k] * (p * p * p) + DRIFT[k] * n)
            k += 1
        param.grad = torch.tensor(values).reshape(param.shape)


def trajectory(kind, options, groups=None):
    a = torch.nn.Parameter(torch.tensor(START[:3]))
    b = torch.nn.Parameter(torch.tensor(START[3:]).reshape(2, 2))
    members = [a, b]
    if groups:
        members = [dict(params=[p], **more) for p, more in zip((a, b), groups)]
    # PyTorch 1.13 divides by a wrong product of momenta in NAdam's plain loop, and by the right one in its loop over lists;
    # since 2.0 both are right.
    loop = dict(foreach=True) if kind == "NAdam" else {}
    optimizer = getattr(torch.optim, kind)(members, **options, **loop)
    case = {"name": kind, "options": options}
    if groups:
        case["groups"] = groups
    case["after"] = {}
    for n in range(1, STEPS[-1] + 1):
        set_gradients((a, b), n)
        optimizer.step()
        if n in STEPS:
            case["after"][str(n)] = flat(a) + flat(b)
    return case


CASES = [
    ("SGD", dict(lr=0.05)),
    ("SGD", dict(lr=0.05, momentum=0.9)),
    ("SGD", dict(lr=0.05, momentum=0.9, dampening=0.3)),
    ("SGD", dict(lr=0.05, momentum=0.9, nesterov=True)),
    ("SGD", dict(lr=0.05, weight_decay=0.1)),
    ("SGD", dict(lr=0.05, momentum=0.8, weight_decay=0.1, nesterov=True)),
    ("Adagrad", dict()),
    ("Adagrad", dict(lr=0.1, lr_decay=0.05)),
    ("Adagrad", dict(lr=0.1, weight_decay=0.1)),
    ("Adagrad", dict(lr=0.1, initial_accumulator_value=0.5)),
    ("Adagrad", dict(lr=0.1, lr_decay=0.01, weight_decay=0.05, initial_accumulator_value=0.1, eps=1e-6)),
    ("RMSprop", dict()),
    ("RMSprop", dict(momentum=0.9)),
    ("RMSprop", dict(centered=True)),
    ("RMSprop", dict(weight_decay=0.1)),
    ("RMSprop", dict(lr=0.002, alpha=0.95, eps=1e-6, momentum=0.5, centered=True, weight_decay=0.01)),
    ("Adadelta", dict()),
    ("Adadelta", dict(lr=0.5, rho=0.95, eps=1e-5, weight_decay=0.1)),
    ("Adam", dict()),
    ("Adam", dict(lr=0.05, amsgrad=True)),
    ("Adam", dict(weight_decay=0.1)),
    ("Adam", dict(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05, amsgrad=True)),
    ("AdamW", dict()),
    ("AdamW", dict(lr=0.05, amsgrad=True)),
    ("AdamW", dict(lr=0.02, betas=(0.8, 0.95), weight_decay=0.1)),
    ("RAdam", dict()),
    ("RAdam", dict(lr=0.02, betas=(0.8, 0.95), weight_decay=0.1)),
    ("NAdam", dict()),
    ("NAdam", dict(lr=0.02, betas=(0.8, 0.95), weight_decay=0.1, momentum_decay=0.01)),
]
GROUPED = [
    ("SGD", dict(lr=0.05, momentum=0.9), [dict(), dict(lr=0.01, momentum=0.5, weight_decay=0.1)]),
    ("Adam", dict(lr=0.01), [dict(weight_decay=0.1), dict(lr=0.03, betas=(0.8, 0.95))]),
]

if __name__ == "__main__":
    rule = {"gradient": "g = slope[k]*(p + shift[k]) + cubic[k]*(p*p*p) + drift[k]*n; k over [a (3), b (2x2)], "
                        "n = 1…100",
            "start": START, "slope": SLOPE, "shift": SHIFT, "cubic": CUBIC, "drift": DRIFT,
            "after": "step number -> the seven values", "groups": "where given: own options of the groups [a] and [b]"}
    write(__file__, "optimizers.json", rule,
          [trajectory(*case) for case in CASES] + [trajectory(*case) for case in GROUPED])
