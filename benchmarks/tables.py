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


def paired(name: str, test: dict) -> str:
    "Write the difference of two rates on the same crystals, with its interval and p."
    return f"{name}: {with_interval(test | dict(value=test['difference']), sign='+')}, p = {test['p']:.1g}"
