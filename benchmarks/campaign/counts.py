"""Counts of a campaign: as tables, and whether they are clean"""

from benchmarks.tables import table

LEFT_OUT = "too late"  # no kill


def _job_row(name: str, r: dict) -> list:
    kinds = ", ".join(f"{n} {k}" for k, n in sorted(r["kinds"].items()) if k != LEFT_OUT)
    return [name.split(",")[0], r["processes"], f"{r['kills']} of {r['asked']}", kinds] + [
        r["jobs"],
        r["results_equal"],
        len(r["faults"]),
    ]


def _condition_row(name: str, r: dict) -> list:
    return [name, "yes" if r["named"] else "no", r["sentence"][:160]]


def _broken_row(r: dict) -> list:
    return [r["what"], r["job"].split(",")[0], r["kills"], "yes" if r["found"] else "no", r["signs"][0]]


def campaign_table(found: dict) -> str:
    "Lay the counts out as Markdown."
    heads = (
        ("job", "processes", "kills, of asked", "of which", "jobs", "equal results", "faults"),
        ("condition", "named", "sentence"),
        ("flipped byte in", "files read", "named"),
        ("broken on purpose", "job", "kills until seen", "seen", "as"),
    )
    rows = (
        [_job_row(name, r) for name, r in found["jobs"].items()],
        [_condition_row(name, r) for name, r in found["conditions"].items()],
        [[name, r["flipped"], r["named"]] for name, r in found["flipped_bytes"].items()],
        [_broken_row(r) for r in found["broken"].values()],
    )
    tables = [table(head, lines) for head, lines in zip(heads, rows)]
    return "\n\n".join([*tables, f"Seed {found['seed']}."]) + "\n"


def is_clean(found: dict) -> bool:
    "Tell whether nothing was lost, doubled, or left without a name, and what was broken on purpose was seen."
    jobs = all(not r["faults"] for r in found["jobs"].values())
    flips = all(r["named"] == r["flipped"] for r in found.get("flipped_bytes", {}).values())
    named = all(r["named"] for r in found.get("conditions", {}).values())
    return jobs and flips and named and all(r["found"] for r in found.get("broken", {}).values())
