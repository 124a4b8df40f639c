"""Turns what was measured into tables, JSON and a picture. It measures nothing."""
import html
import statistics

COLOURS = {"unroll": "#1b6ca8", "torch": "#d1603d", "onednn": "#6a994e", "products": "#9a9a9a", "numpy": "#b48ead",
           "compile-unroll": "#1b6ca8", "compile-torch": "#d1603d"}


def spread(values):
    """Median and quartiles."""
    if len(values) == 1:
        return {"median": values[0], "q1": values[0], "q3": values[0], "count": 1}
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3, "count": len(values)}


def milliseconds(seconds):
    ms = 1e3 * seconds
    return f"{ms:.3f}" if ms < 10 else f"{ms:.2f}" if ms < 100 else f"{ms:.0f}"


def amount(number):
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.3g}"


def remarks(entry):
    """What a row says beside its time."""
    words = []
    facts, setting = entry.get("facts", {}), entry.get("setting", {})
    if facts.get("flops"):
        words.append(f"{facts['flops'] / entry['seconds']['median'] / 1e9:.0f} GF/s")
    if facts.get("units"):
        words.append(f"{amount(facts['units'] / entry['seconds']['median'])} characters/s")
    if "loss_first" in entry and entry["learns"]:
        words.append(f"loss {entry['loss_first']:.4g} → {entry['loss_last']:.4g}"
                     + ("" if entry["loss_fell"] else " DID NOT FALL"))
    elif "loss_first" in entry:
        words.append(f"value {entry['loss_first']:.6g}")
    if entry.get("settings_tried", 1) > 1:
        words.append("best of its settings: " + ", ".join(f"{k} {v}" for k, v in setting.items()))
    memory = entry.get("memory")
    if memory and memory["allocations"] is not None:
        words.append(f"{amount(memory['allocations'])} allocations a step, {amount(memory['peak_bytes'])}B at most")
    return "; ".join(words)


def table(result):
    """One case at one number of threads, as Markdown."""
    lines = [f"### {result['name']}: {result['title']}, {result['threads']} thread{'s' * (result['threads'] > 1)}", "",
             "| side | median ms | quartiles | runs | |", "|---|---:|---:|---:|---|"]
    for key, entry in result["entries"].items():
        if "missing" in entry:
            lines.append(f"| {key} | – | – | – | missing: {entry['missing']} |")
            continue
        s = entry["seconds"]
        lines.append(f"| {key} | {milliseconds(s['median'])} | {milliseconds(s['q1'])} … {milliseconds(s['q3'])} "
                     f"| {s['count']} | {remarks(entry)} |")
    if result["comparisons"]:
        lines += ["", "| comparison | ratio | quartiles over rounds |", "|---|---:|---:|"]
        for comparison in result["comparisons"]:
            lines.append("| " + " | ".join((comparison["title"], *ratio_words(comparison))) + " |")
    lines += ["", *("warning: " + word for word in result["warnings"])]
    return "\n".join(lines)


def ratio_words(comparison):
    if "ratio" not in comparison:
        return "–", "–"
    r = comparison["ratio"]
    show = (lambda v: f"{100 * v:.0f} %") if comparison["share"] else (lambda v: f"{v:.2f}")
    return show(r["median"]), f"{show(r['q1'])} … {show(r['q3'])}"


def summary(results):
    """Every comparison of every case: one line per case and comparison, a column per number of threads."""
    counts = sorted({result["threads"] for result in results})
    rows = {}
    for result in results:
        for comparison in result["comparisons"]:
            rows.setdefault((result["name"], comparison["title"]), {})[result["threads"]] = ratio_words(comparison)[0]
    lines = ["| case | comparison | " + " | ".join(f"{n} thread{'s' * (n > 1)}" for n in counts) + " |",
             "|---|---|" + "---:|" * len(counts)]
    for (name, title), cells in rows.items():
        if any(cell != "–" for cell in cells.values()):
            lines.append(f"| {name} | {title} | " + " | ".join(cells.get(n, "") for n in counts) + " |")
    return "\n".join(lines) if len(lines) > 2 else "no comparison could be made"


def picture(results, machine):
    """An SVG: a group of bars per case, each as long as its median time within the group, a whisker from quartile to
    quartile, cut off at the edge."""
    left, width, bar, gap = 250, 420, 15, 34
    body, y = [], 64
    text = lambda x, y, words, more="": (f'<text x="{x}" y="{y}" {more}>{html.escape(words)}</text>')
    for result in results:
        shown = [(key, entry) for key, entry in result["entries"].items()
                 if "missing" not in entry and key != "sgemm 2048³"]
        if not shown:
            continue
        threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}"
        body.append(text(12, y, f"{result['title']}, {threads}", 'font-weight="bold"'))
        y += 8
        longest = 1.08 * max(entry["seconds"]["median"] for _, entry in shown)
        for key, entry in shown:
            s = entry["seconds"]
            scale = lambda seconds: min(width, width * seconds / longest)
            body.append(text(left - 8, y + bar - 3, key, 'text-anchor="end"'))
            body.append(f'<rect x="{left}" y="{y}" width="{scale(s["median"]):.1f}" height="{bar - 2}" '
                        f'fill="{COLOURS.get(entry["side"], "#888")}"/>')
            middle = y + bar / 2 - 1
            body.append(f'<line x1="{left + scale(s["q1"]):.1f}" x2="{left + scale(s["q3"]):.1f}" y1="{middle}" '
                        f'y2="{middle}" stroke="#222"/>')
            body.append(text(left + width + 10, y + bar - 3, milliseconds(s["median"]) + " ms"))
            y += bar
        y += gap
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 110}" height="{y}" '
            'font-family="sans-serif" font-size="11" fill="#222"><rect width="100%" height="100%" fill="white"/>')
    return "\n".join([head, text(12, 22, "Median time of one repetition; shorter is better", 'font-size="15"'),
                      text(12, 40, machine), *body, "</svg>", ""])
