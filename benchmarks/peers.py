"""The same crystals, measured by xtalmet, by matbench-genmetrics and here, number by number

    python -m benchmarks.peers runs/models/mp-20 --data DIR/mp_20 --python python3.12

The peers run in an environment of their own, which is made where it is missing; what was found is kept in the
folder of the run, and a second call goes on from there."""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.peers_there import FEW, TASKS
from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write
from dpcdvae.evaluation.entries import formula_of, read_crystals, structure_of

PINS = ("xtalmet==1.0.0", "matbench-genmetrics==0.6.1", "setuptools<81")  # ElMD imports pkg_resources
CLOSE = 1e-6


def described_again(structure, rng):  # pymatgen Structure
    "Describe a crystal by another cell and move its atoms by about 0.03 Å."
    matrix = np.array([[1, 0, 0], [rng.integers(-2, 3), 1, 0], [0, rng.integers(-2, 3), 1]])
    new = structure.copy() * matrix
    new.perturb(0.03)
    return new


def choose(folder: Path, data: Path, num: int, num_known: int, num_copies: int, seed: int) -> dict:
    "Take generated crystals with some copies, and known crystals, those of the same formulas first."
    rng = np.random.default_rng(seed)
    entries = [e for e in read_crystals(folder) if e.source][:num]
    made = [structure_of(e) for e in entries]
    np.random.seed(seed)  # pymatgen's perturb draws from it
    made += [described_again(made[k], rng) for k in rng.choice(len(made), num_copies, replace=False)]
    formulas = {s.composition.reduced_formula for s in made}
    train = read_crystals(data / "train.csv.gz")
    same = [e for e in train if formula_of(e) in formulas][: num_known // 2]
    rest = [train[k] for k in rng.permutation(len(train))[: num_known - len(same)]]
    known = [structure_of(e) for e in same + rest]
    known += [described_again(made[k], rng) for k in rng.choice(num, num_copies, replace=False)]
    return dict(made=made, known=known, some=made[:: max(1, len(made) // 24)])


def ours(made: list, known: list, some: list) -> dict:
    "Measure the same things here."
    from dpcdvae.evaluation.continuous import continuous_scores, descriptors, pdd, pdd_distance
    from dpcdvae.evaluation.fingerprints import composition_fingerprint, structure_fingerprint
    from dpcdvae.evaluation.matching import composition_pairs, first_matches, match_pairs
    from dpcdvae.evaluation.reduction import FIELD, reduce_crystals
    from dpcdvae.evaluation.validity import composition_validity, structure_validity

    one, two = descriptors(made), descriptors(known)
    cells, seen = reduce_crystals(made), reduce_crystals(known)
    few, old = reduce_crystals(made[-FEW:]), reduce_crystals(known[-FEW:])

    def pairs(a, b):
        found = []
        for i, j in composition_pairs(a, b):
            hit = match_pairs(a, b, i, j, FIELD, symmetric=True).fits(FIELD.stol)
            found += np.stack([i[hit], j[hit]], 1).tolist()
        return found

    rows = [pdd(s) for s in some]
    return dict(
        smact=[composition_validity(s, "smact").ok for s in made],
        structure=[structure_validity(s).ok for s in made],
        unique_smat=(first_matches(cells) < 0).tolist(),
        novel_smat=(first_matches(cells, seen) < 0).tolist(),
        unique={k: v.tolist() for k, v in continuous_scores(one).items()},
        novel={k: v.tolist() for k, v in continuous_scores(one, two).items()},
        pdd=[[pdd_distance(a, b) for b in rows] for a in rows],
        pairs=pairs(old, few),
        own_pairs=[p for p in pairs(few, few) if p[0] != p[1]],
        composition=[composition_fingerprint(s.composition).tolist() for s in some],
        structure_fingerprint=[structure_fingerprint(s).tolist() for s in some],
    )


def line(name: str, theirs, mine, why: str = "", close: float = CLOSE) -> dict:
    "Compare two lists of numbers, crystal by crystal."
    x, y = (np.asarray(v, dtype=float).ravel() for v in (theirs, mine))
    gap = abs(x - y)
    differ = int((~(gap <= close) & ~(np.isnan(x) & np.isnan(y))).sum())
    ends = dict(theirs=float(np.nanmean(x)), ours=float(np.nanmean(y)))
    return dict(
        what=name, **ends, num=len(x), differ=differ, largest=float(np.nanmax(gap)), why=why if differ else ""
    )


def compare_pairs(name: str, theirs: list, mine: list, total: int, why: str) -> dict:
    "Compare two lists of matched pairs."
    one, two = ({tuple(p) for p in v} for v in (theirs, mine))
    ends = dict(theirs=len(one), ours=len(two), num=total, differ=len(one ^ two))
    return dict(what=name, **ends, largest=None, why=why if one ^ two else "")


CELLS = "average-minimum-distance 1.6.1 depends on the cell; with cells reduced first: below"
WHY = dict(
    smact="SMACT's default counts mixed valence and metals by its own rules",
    edge="fit from one side only, ours from both",
    comp="matbench-genmetrics imputes; unknown numbers are NaN here",
)


def comparison(there: dict, mine: dict, reduced: dict | None = None) -> list[dict]:
    "Put what both measured next to each other."
    get = lambda task: there.get(task, {}).get("found")
    rows = []
    if valid := get("xtalmet validity"):
        rows.append(line("composition valid, SMACT's default", valid["smact"], mine["smact"], WHY["smact"]))
        rows.append(line("structure valid", valid["structure"], mine["structure"]))
    if same := get("xtalmet smat"):
        for what in ("unique", "novel"):
            rows.append(line(f"{what}, StructureMatcher", same[what], mine[f"{what}_smat"], WHY["edge"]))
    for theirs, kind in (("elmd", "elmd"), ("amd", "amd"), ("elmd+amd", "both")):
        for what in ("unique", "novel"):
            why = CELLS if kind != "elmd" else ""
            if found := get(f"xtalmet {theirs}"):
                rows.append(line(f"{what}, {theirs}", found[what], mine[what][kind], why))
            again = (reduced or {}).get(f"xtalmet {theirs}", {}).get("found")
            if again and kind != "elmd":
                rows.append(
                    line(f"{what}, {theirs}, cells reduced first", again[what], mine[what][kind], "", 1e-5)
                )
    for source, label in ((there, ""), (reduced or {}, ", cells reduced first")):
        if found := source.get("xtalmet pdd", {}).get("found"):
            rows.append(
                line(
                    f"PDD, Å{label}",
                    found,
                    mine["pdd"],
                    CELLS if not label else "rows merged at 1e-4 Å",
                    2e-4,
                )
            )
    if found := get("genmetrics matches"):
        total = FEW * FEW
        rows.append(
            compare_pairs("pairs that fit, made and known", found["pairs"], mine["pairs"], total, WHY["edge"])
        )
        total = FEW * (FEW - 1)
        rows.append(
            compare_pairs("pairs that fit, made", found["own_pairs"], mine["own_pairs"], total, WHY["edge"])
        )
    if found := get("genmetrics fingerprints"):
        rows.append(line("Magpie fingerprint", found["composition"], mine["composition"], WHY["comp"], 1e-4))
        rows.append(
            line("CrystalNN fingerprint", found["structure"], mine["structure_fingerprint"], "", 1e-4)
        )
    return rows


def ask_peers(python: Path, source: Path, out: Path, *tasks: str) -> dict:
    "Run the peers' script on a file of crystals, where anything is left to do."
    if out.exists() and {*(tasks or TASKS)} <= {*json.loads(out.read_text())}:
        return json.loads(out.read_text())
    script = Path(__file__).with_name("peers_there.py")
    subprocess.run([str(python), "-W", "ignore", str(script), str(source), str(out), *tasks], check=True)
    return json.loads(out.read_text())


def environment(folder: Path, python: str) -> Path:  # its Python
    "Make the peers' environment where it is missing."
    there = folder / "bin" / "python"
    if not there.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(there), "-m", "pip", "install", "-q", *PINS], check=True)
    return there


def peers_study(a) -> dict:
    "Choose crystals, ask everyone, compare."
    runs = Path(a.runs)
    runs.mkdir(parents=True, exist_ok=True)
    paths = [runs / f"{n}.json" for n in ("crystals", "reduced")]
    if not all(p.exists() for p in paths):
        sets = choose(a.folder, a.data, a.num, a.known, a.copies, a.seed)
        small = {k: [s.get_primitive_structure().get_reduced_structure() for s in v] for k, v in sets.items()}
        for path, group in zip(paths, (sets, small)):
            atomic_write(path, json.dumps({k: [s.as_dict() for s in v] for k, v in group.items()}))
    from pymatgen.core import Structure

    sets = {k: [Structure.from_dict(s) for s in v] for k, v in json.loads(paths[0].read_text()).items()}
    python = environment(Path(a.env), a.python)
    sizes = {k: len(v) for k, v in sets.items()}
    there = ask_peers(python, paths[0], runs / "found.json") | dict(sizes=sizes)
    reduced = ask_peers(python, paths[1], runs / "found_reduced.json", "xtalmet amd", "xtalmet pdd")
    mine = runs / "ours.json"
    if not mine.exists():
        atomic_write(mine, json.dumps(ours(**sets)))
    found = comparison(there, json.loads(mine.read_text()), reduced)
    errors = {k: v["error"] for k, v in there.items() if isinstance(v, dict) and "error" in v}
    matches = there.get("genmetrics matches", {}).get("found", {})
    rates = {k: matches.get(k) for k in ("match_rate", "duplicity_rate")}
    record = dict(name="peers", source=a.folder.name, seed=a.seed, sizes=sizes, copies=a.copies, rows=found)
    record |= dict(versions=there["versions"], errors=errors, genmetrics=rates, made_on=circumstances())
    atomic_write(a.out, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def main(argv=None) -> None:
    "Compare with the peers."
    p = argparse.ArgumentParser("python -m benchmarks.peers", description=main.__doc__)
    p.add_argument("folder", type=Path, help="generated crystals")
    p.add_argument("--data", type=Path, required=True, help="folder with train.csv.gz")
    p.add_argument("--num", type=int, default=300)
    p.add_argument("--known", type=int, default=400)
    p.add_argument("--copies", type=int, default=30, help="crystals described again, among both sets")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--python", default="python3.12", help="makes the environment")
    p.add_argument("--env", default="runs/peers/env")
    p.add_argument("--runs", default="runs/peers")
    p.add_argument("--out", type=Path, default=Path("results/peers.json"))
    found = peers_study(p.parse_args(argv))
    for r in found["rows"]:
        print(
            f"{r['what']}: {r['theirs']:.6g}, {r['ours']:.6g}; {r['differ']} of {r['num']} differ {r['why']}"
        )


if __name__ == "__main__":
    main()
