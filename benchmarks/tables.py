"Markdown tables of results"


def table(head: list, rows: list) -> str:
    "Write a Markdown table."
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def with_interval(m: dict | None, share: bool = True, sign: str = "") -> str:
    "Write a value, of a rate with its interval; with a sign where one is asked for."
    if not m or m.get("value") is None:
        return "–"
    if not share:
        return f"{m['value']:.3f}"
    percent = lambda x: f"{100 * x:{sign}.1f}"
    ends = "" if m.get("low") is None else f" [{percent(m['low'])}, {percent(m['high'])}]"
    return f"{percent(m['value'])}{ends} %"


def came_back(metrics: dict) -> list[str]:  # three cells
    "Write the strict rate, the field's, and the RMS of the matches."
    rates = (with_interval(metrics[k]) for k in ("strict_rate", "match_rate"))
    return [*rates, f"{metrics['rms']['value']:.3f}"]


def by_chance(sets) -> str:  # (name of the data, metrics with both chance levels) of each; a sentence
    "Say how many crystals random coordinates in the true cell match, by both rules."
    level = lambda m, rule: f"{100 * m[f'{rule}_chance']['value']:.1f} %"
    each = (f"{data} {level(m, 'match')} ({level(m, 'strict')} strictly)" for data, m in sets)
    return "By chance, with random coordinates in the true cell, match: " + ", ".join(each) + "."


def paired(name: str, test: dict) -> str:
    "Write the difference of two rates on the same crystals, with its interval and p."
    return f"{name}: {with_interval(test | dict(value=test['difference']), sign='+')}, p = {test['p']:.1g}"
