"""The commands behind every number that this project states"""

import json
from pathlib import Path

from benchmarks.anatomy import ladder_table
from benchmarks.energies import TRUSTED, ground_table, trust_table
from benchmarks.gpu import gpu_table
from benchmarks.house import house_table
from benchmarks.lab_answers import chance_of, regained_answer
from benchmarks.levels import levels_command, levels_table
from benchmarks.player import player_table
from benchmarks.speed_tables import bench_table
from benchmarks.steering import steering_table
from benchmarks.studies import (
    calls_table,
    compare_table,
    generation_table,
    prior_table,
    study_table,
    switch_table,
)
from benchmarks.summaries import COMMANDS, TABLES
from benchmarks.tables import by_chance, table
from dpcdvae.data.files import number_of

EMBEDDED = ("perov_mini", "carbon_mini")


def made_by(name: str, r: dict) -> str:  # command
    "Name the command that makes a file of results again."
    if name in COMMANDS:
        return COMMANDS[name]
    if r.get("name") == "house":
        return "python -m benchmarks house"
    if r.get("name") == "levels":
        return levels_command(name, r)
    if r.get("name") == "player":
        return f"python -m benchmarks player --seed {r['seed']} --out results/{name}.json"
    data = (
        r.get("data")
        or list(r.get("sets", {}))
        or next(iter(r.get("models", {}).values()), {}).get("data")
        or "perov_mini"
    )
    data = " ".join(
        d if d in EMBEDDED else f"DIR/{d}" for d in ([data.split(" (")[0]] if isinstance(data, str) else data)
    )
    flags = [
        ("preset", "preset"),
        ("run", "run"),
        ("num", "num"),
        ("num_new", "num-new"),
        ("property", "property"),
        ("steps", "steps"),
        ("seed", "seed"),
    ]
    kind = r.get("name") if r.get("name") in SHOWN else "speed" if name.split("-")[0] == "bench" else "study"
    if kind == "trust":
        folders = list(dict.fromkeys(c["source"] for c in r["crystals"]))
        named = "" if folders == list(TRUSTED) else " --data " + " ".join(f"runs/trust/{f}" for f in folders)
        return (
            f"python -m benchmarks "
            f"trust{named} "
            f"--num {r['num'] // len(folders)} --max-atoms {r['max_atoms']} --seed {r['seed']} --out "
            f"results/{name}.json"
        )
    if kind == "presets":
        return (
            f"python -m benchmarks presets --data DIR/perov_5 DIR/carbon_24 --num {r['num_test']} "
            f"--max-time {r['max_time']} --steps {r['steps']} --out results/{name}.json"
        )
    if kind == "study":
        return (
            f"python -m benchmarks study --data {data} --preset {name.split('-', 1)[1]} --max-time "
            f"{r['training']['max_time']} --num {r['num_test']} --seed {r['seed']} --out "
            f"results/{name}.json"
        )
    more = (
        ["--run RUN"] * (kind == "priors" and "run" not in r)
        + [f"--{flag} {r[key]}" for key, flag in flags if r.get(key) is not None]
        + ([f"--max-time {r['models']['paper']['training']['max_time']}"] if kind == "ground" else [])
        + (
            [f"--max-steps {r['settings']['max_steps']}"]
            if kind == "ground" and r["settings"]["max_steps"] != 300
            else []
        )
        + ([f"--calculator {r['energies']['calculator'].split(',')[0]}"] if "energies" in r else [])
        + (
            [f"--max-steps {r['energies']['relaxed']['max_steps']}"]
            if "relaxed" in r.get("energies", {})
            else []
        )
    )
    return " ".join([f"python -m benchmarks {kind} --data {data}", *more, f"--out results/{name}.json"])


def _calls(r):
    tables = {"": "match_rate", "RMS of the matches:": "rms"}
    if all("strict_rate" in w for w in r["ways"]):
        tables["Strict rate:"] = "strict_rate"
    parts = [f"{title}\n\n{calls_table(r, k)}".strip() for title, k in tables.items()]
    return "\n\n".join(parts + ([by_chance([(r["data"], r["chance"])])] if "chance" in r else []))


def _regained(path: Path) -> str:
    r = json.loads(path.read_text())
    return f"{regained_answer(r, chance_of(r['data'], path.parent))} {r['calculator']}."


SHOWN = {
    "gpu": gpu_table,
    "anatomy": ladder_table,
    "calls": _calls,
    "ground": ground_table,
    "trust": trust_table,
    "steering": steering_table,
    "presets": compare_table,
    "regained": _regained,
    "player": player_table,
    "house": house_table,
    "levels": levels_table,
    "priors": lambda r: prior_table(r),
    "switches": lambda r: switch_table(r),
    "generation": lambda r: generation_table(r),
}  # kind -> table
FROM_PATHS = ("priors", "switches", "generation", "regained")  # kinds whose table takes the file's path


def _circumstances(on: dict) -> str:
    "Say when and where a file was made, as far as it says so."
    if "torch" not in on:
        on = on.get("about", on)
        known = [f"Made on {on['date']}" if on.get("date") else "", on.get("processor") or ""]
        return (
            ", ".join(filter(None, known)) + "." if any(known) else "The file does not say when it was made."
        )
    return (
        f"Made on {on['date']}, {on['threads']} of {on['cores']} cores of "
        f"{on['gpu'] or on['processor']}, torch {on['torch']}."
    )


def _lab_runs(path: Path) -> tuple[str, float]:  # markdown, hours
    "List the trainings of a lab, one row a variant."
    models = json.loads(path.read_text())["models"].values()
    rows, hours = {}, 0.0
    for m in models:
        on, seconds = m["made_on"], m["training"]["seconds"]
        key = m["label"], m["data"].partition(" (")[0], f"{m['training']['num_train']:,}"
        row = rows.setdefault(key, dict(seeds=[], minutes=[], dates=set(), machines=set()))
        row["seeds"].append(str(m["seed"]))
        row["minutes"].append(f"{seconds / 60:.1f}")
        row["dates"].add(on["date"])
        row["machines"].add(f"{on['gpu'] or on['processor']}, {on['threads']} of {on['cores']} cores")
        hours += seconds / 3600
    head = ["model", "data", "crystals", "seeds", "minutes of training", "evaluated on", "machine"]
    body = [
        [*key, *(", ".join(sorted(r[k]) if isinstance(r[k], set) else r[k]) for k in r)]
        for key, r in rows.items()
    ]
    total = f"{number_of(len(models), 'training')}, {hours:.1f} hours of the clock."
    return f"### {path.stem}\n\n{table(head, body)}\n\n{total}", hours


def lab_runs(folder: Path) -> str:  # markdown
    "List every training of the labs with its data, seed, time and machine, and the sum."
    parts, hours = zip(*(_lab_runs(path) for path in sorted(folder.glob("*.json"))))
    about = (
        f"Every model that a lab compares was trained for it: {sum(hours):.1f} hours in all, on shared "
        "machines, two trainings at a time at most; evaluating them is not counted."
    )
    return "\n\n".join(["## labs", about, *parts])


def results_page(folder="results") -> str:  # markdown
    "Gather what the files of results say."
    folder, out = (
        Path(folder),
        [
            "# Results",
            "> Every figure of this project, from the files that its commands made",
            "",
            "`DIR` holds the stand-in splits (chapter `data/10_datasets`). Rates come with Wilson's "
            "interval, "
            "means with a bootstrap interval, both of 95 %. The comparisons of the labs stand in "
            "`nbs/labs`, their trainings at the end.",
            "",
        ],
    )
    for path in sorted(folder.glob("*.json")):
        r = json.loads(path.read_text())
        kind, on = (
            r.get("name"),
            r.get("made_on")
            or next((m["made_on"] for m in r.get("models", {}).values() if "made_on" in m), r),
        )
        shown = (
            TABLES[path.stem](r)
            if path.stem in TABLES
            else SHOWN[kind](path if kind in FROM_PATHS else r)
            if kind in SHOWN
            else study_table(path)
            if "reconstruction" in r
            else bench_table(r)
        )
        out += [
            f"## {path.stem}",
            "",
            f"`{made_by(path.stem, r)}`",
            "",
            shown,
            "",
            _circumstances(on),
            "",
        ]
    return "\n".join([*out, lab_runs(folder / "labs")])
