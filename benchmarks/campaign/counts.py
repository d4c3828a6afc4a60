"""Counts of a campaign: as tables, and whether they are clean"""

import io


def campaign_table(found: dict) -> str:
    "Lay the counts out as Markdown."
    out = io.StringIO()
    head = ("job", "processes", "kills", "of which", "jobs", "equal results", "faults")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", file=out)
    for name, r in found["jobs"].items():
        kinds = ", ".join(f"{n} {k}" for k, n in sorted(r["kinds"].items()) if k != "too late")
        cells = (name.split(",")[0], r["processes"], r["kills"], kinds, r["jobs"], r["results_equal"])
        print(f"| {' | '.join(map(str, cells))} | {len(r['faults'])} |", file=out)
    print("\n| condition | named | sentence |\n|---|---|---|", file=out)
    for name, r in found["conditions"].items():
        print(f"| {name} | {'yes' if r['named'] else 'no'} | {r['sentence'][:160]} |", file=out)
    print("\n| flipped byte in | files read | named |\n|---|---|---|", file=out)
    for name, r in found["flipped_bytes"].items():
        print(f"| {name} | {r['flipped']} | {r['named']} |", file=out)
    print(f"\nSeed {found['seed']}.", file=out)
    return out.getvalue()


def is_clean(found: dict) -> bool:
    "Tell whether nothing was lost, doubled, or left without a name."
    jobs = all(not r["faults"] for r in found["jobs"].values())
    flips = all(r["named"] == r["flipped"] for r in found.get("flipped_bytes", {}).values())
    return jobs and flips and all(r["named"] for r in found.get("conditions", {}).values())
