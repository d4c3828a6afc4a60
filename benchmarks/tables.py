"Markdown tables of results"


def table(head: list, rows: list) -> str:
    "Write a Markdown table."
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)
