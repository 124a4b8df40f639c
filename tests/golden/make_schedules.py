"""Reference learning rates of PyTorch's schedules, written to schedules.json. Not a test: optim's tests read them.

lr[n] is the rate after n calls of the schedule's step(), so lr[0] is the rate of the first training step.
"""
import math
import warnings

import torch

from golden_common import write

warnings.filterwarnings("ignore")
schedule = torch.optim.lr_scheduler
BASE = 0.1


def trace(kind, steps, **options):
    return trace_of(lambda optimizer: getattr(schedule, kind)(optimizer, **options), kind, steps, options)


def trace_of(make, kind, steps, options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE, momentum=0.9)
    running = make(optimizer)
    group = optimizer.param_groups[0]
    rates, momenta = [group["lr"]], [group["momentum"]]
    for _ in range(steps):
        optimizer.step()
        running.step()
        rates.append(group["lr"])
        momenta.append(group["momentum"])
    case = {"name": kind, "base_lr": BASE, "options": options, "lr": rates}
    if len(set(momenta)) > 1:
        case["momentum"] = momenta
    return case


def warmup_cosine(first, warmup, total, floor):
    """first = 0: the warm-up starts at zero, n/warmup; first = 1: at (n+1)/warmup."""
    def factor(n):
        if n < warmup:
            return (n + first) / warmup
        done = min(1.0, (n - warmup) / (total - warmup))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))
    options = {"warmup": warmup, "total": total, "floor": floor, "first": first,
               "factor": "n < warmup: (n + first)/warmup; else floor + (1 - floor)*(1 + cos(pi*min(1, "
                         "(n - warmup)/(total - warmup))))/2; lr = base_lr*factor"}
    return trace_of(lambda optimizer: schedule.LambdaLR(optimizer, factor), "WarmupCosine", total + 3, options)


METRICS = [1.0, 0.9, 0.8, 0.81, 0.8, 0.80001, 0.79999, 0.85, 0.7, 0.71, 0.72, 0.73, 0.74, 0.75, 0.76, 0.6999, 0.69,
           0.69, 0.69, 0.69, 0.69, 0.69, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85]


def plateau(**options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    running = schedule.ReduceLROnPlateau(optimizer, **options)
    rates = [BASE]
    for metric in METRICS:
        running.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return {"name": "ReduceLROnPlateau", "base_lr": BASE, "options": options, "metrics": METRICS, "lr": rates}


if __name__ == "__main__":
    about = "lr[n] is the learning rate after n calls of step(); momentum[n] where it is cycled"
    write(__file__, "schedules.json", about, [
        trace("StepLR", 25, step_size=7),
        trace("StepLR", 25, step_size=4, gamma=0.5),
        trace("MultiStepLR", 25, milestones=[3, 8, 20], gamma=0.3),
        trace("MultiStepLR", 12, milestones=[5, 5, 9]),
        trace("ExponentialLR", 25, gamma=0.93),
        trace("CosineAnnealingLR", 45, T_max=20),
        trace("CosineAnnealingLR", 20, T_max=20, eta_min=0.003),
        trace("OneCycleLR", 29, max_lr=0.4, total_steps=30),
        trace("OneCycleLR", 29, max_lr=0.4, total_steps=30, anneal_strategy="linear"),
        trace("OneCycleLR", 39, max_lr=0.2, total_steps=40, pct_start=0.2, anneal_strategy="cos", div_factor=10.0,
              final_div_factor=100.0, base_momentum=0.8, max_momentum=0.99),
        trace("OneCycleLR", 39, max_lr=0.2, total_steps=40, anneal_strategy="linear", three_phase=True),
        trace("OneCycleLR", 23, max_lr=0.2, epochs=4, steps_per_epoch=6, cycle_momentum=False),
        warmup_cosine(0, 6, 30, 0.0),
        warmup_cosine(1, 6, 30, 0.0),
        warmup_cosine(1, 5, 40, 0.1),
        plateau(),
        plateau(patience=2, factor=0.5),
        plateau(patience=1, factor=0.5, cooldown=2),
        plateau(patience=1, factor=0.2, threshold=0.05, threshold_mode="abs"),
        plateau(patience=2, factor=0.1, min_lr=0.005),
        plateau(mode="max", patience=3, factor=0.5),
    ])
