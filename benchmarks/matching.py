"""Compare `dpcdvae.evaluation.matching` with pymatgen's StructureMatcher, pair by pair, and time both.

    python -m benchmarks.matching [--data ../shared/data] [--known results/matching.json] [--scale 1.2]

First pymatgen is asked, block after block: its answers and the crystals are kept in `runs/matching`, so a
run that was stopped goes on with the next block and ours can be compared anew in a minute. With `--known`,
blocks of an earlier result without kept answers are not asked again: the earlier comparison was with our
arrays, and it stands for each pair on which compiled code agrees with them. Ours is timed on each block right
after pymatgen, by the processor time of this process.
"""

import argparse
import json
import os
import platform
import time
import warnings
from collections import defaultdict
from datetime import date
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from dpcdvae.evaluation import matching, reduction

SETS = ("perov_5", "mp_20", "carbon_24")
KINDS = {"copies": 5, "random": 5, "formula": 30}  # blocks of each set at scale 1
ROWS = 500  # pairs in a block of copies or random coordinates
SIGMAS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)  # Å, normal displacement of each atom along each axis
FIT_EVERY = 20  # `fit` is asked for one pair in so many: it costs pymatgen a second search
FIT_STOLS = (0.5, 0.3, 0.1)
CLOSE = 1e-6  # equal RMS
ENGINES = ("pymatgen", "arrays", "compiled")
REPEATS = 3  # ours is timed so often on a block


def read_set(data, name, split):  # DataFrame
    "Read one split of a data set."
    return pd.read_csv(Path(data) / name / f"{split}.csv.gz", usecols=["material_id", "cif"])


def structure(cif):
    "Read a CIF."
    return Structure.from_str(cif, fmt="cif")


def unimodular(rng, steps=3):  # (3,3) whole numbers with determinant 1 or -1
    "Draw a change of basis."
    matrix = np.eye(3, dtype=int)[rng.permutation(3)]
    for _ in range(steps):
        i, j = rng.choice(3, 2, replace=False)
        matrix[i] += rng.integers(-1, 2) * matrix[j]
    return matrix


def disguised(crystal, sigma, rng):
    """Write a crystal in another cell, order, origin, size and frame, its atoms moved and its lattice
    strained."""
    size = rng.choice([1, 1, 1, 2, 3])
    matrix = unimodular(rng) @ np.diag(rng.permutation([1, 1, size]))
    new = Structure.from_sites(crystal) * matrix if size > 1 else crystal * matrix
    lattice = new.lattice.matrix @ (np.eye(3) + rng.normal(0, 0.02, (3, 3))) * rng.uniform(0.9, 1.1)
    frame, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(len(new))
    moves = rng.normal(0, sigma, (len(new), 3)) @ np.linalg.inv(lattice)
    coords = (new.frac_coords + moves)[order] + rng.random(3)
    return Structure(Lattice(lattice @ frame), [new.species[k] for k in order], coords, to_unit_cell=True)


def row_block(data, name, kind, block, rng):  # two lists of structures, pairs i, j
    "Make a block of predictions with their targets."
    frame = read_set(data, name, "test").sample(ROWS, random_state=block, replace=True)
    truth = [structure(c) for c in frame.cif]
    if kind == "random":
        made = matching.random_placement(truth, seed=1000 + block)
    else:
        made = [disguised(t, rng.choice(SIGMAS), rng) for t in truth]
    return made, truth, np.arange(ROWS), np.arange(ROWS)


@lru_cache
def formula_groups(data, name):  # rows of each formula, those with the most first
    "Group a whole data set by reduced formula."
    frame = pd.concat([read_set(data, name, s) for s in ("train", "val", "test")], ignore_index=True)
    formula = frame.cif.str.extract(r"_chemical_formula_structural\s+(\S+)")[0]
    groups = [g for _, g in frame.groupby(formula) if len(g) > 1]
    return sorted(groups, key=len, reverse=True)


def groups_of_block(data, name, block, blocks, most=45):  # list of DataFrame
    "Choose the formulas of a block: eight, or a sample of the only one; later rounds take rarer formulas."
    groups, turn = formula_groups(data, name), block // blocks
    if len(groups) == 1:
        return [g.sample(most * most, replace=True, random_state=block)[:most] for g in groups]
    some = groups[8 * blocks * turn : 8 * blocks * (turn + 1)][block % blocks :: blocks]
    return [g[:most] for g in some]


def formula_block(data, name, block, blocks):
    "Take all pairs of crystals of one formula, of several formulas where they are few."
    crystals, i, j = [], [], []
    for some in groups_of_block(data, name, block, blocks):
        at = len(crystals)
        crystals += [structure(c) for c in some.cif]
        left, right = np.divmod(np.arange(len(some) ** 2), len(some))
        i, j = [*i, *(left + at)], [*j, *(right + at)]
    return crystals, crystals, np.array(i), np.array(j)


def make_block(data, name, kind, block, seed):  # two lists of structures, pairs i, j
    "Make one block of pairs."
    if kind == "formula":
        return formula_block(data, name, block, KINDS[kind])
    return row_block(data, name, kind, block, np.random.default_rng((seed, block, SETS.index(name))))


def timed(fn):
    "Run a function; processor seconds."
    start = time.process_time()
    result = fn()
    return result, time.process_time() - start


def pymatgen_matcher(tolerances) -> StructureMatcher:
    "Make pymatgen's matcher with some tolerances."
    return StructureMatcher(ltol=tolerances.ltol, stol=tolerances.stol, angle_tol=tolerances.angle_tol)


def ask_pymatgen(a, b, i, j, tolerances):  # rms (P,), infinite without a match
    "Ask pymatgen's matcher, one pair at a time, its cache of reduced cells on."
    matcher = pymatgen_matcher(tolerances)
    results = [matcher.get_rms_dist(a[x], b[y]) for x, y in zip(i, j)]
    return np.array([np.inf if r is None else r[0] for r in results])


def ask_fit(a, b, i, j, tolerances):  # (P,) bool
    "Ask pymatgen's `fit`."
    matcher = pymatgen_matcher(tolerances)
    return np.array([matcher.fit(a[x], b[y]) for x, y in zip(i, j)])


def ask_ours(a, b, i, j, tolerances=reduction.FIELD, compiled=True):
    "Ask the matcher of this package, reduction included."
    one = reduction.reduce_crystals(a)
    two = one if b is a else reduction.reduce_crystals(b)
    return matching.match_pairs(one, two, i, j, tolerances, compiled=compiled)


def explain(a, b, theirs, tolerances):
    "Name the cause of a disagreement, by giving our matcher pymatgen's own reduced cells."
    cells = [
        reduction.reduce_crystals([StructureMatcher._get_reduced_structure(s)], primitive=False)
        for s in (a, b)
    ]
    ours = matching.match_pairs(*cells, [0], [0], tolerances).rms[0]
    if np.isfinite(ours) == np.isfinite(theirs) and (not np.isfinite(ours) or abs(ours - theirs) < CLOSE):
        return (
            "the primitive cell differs: a group of atoms at the edge of 0.25 Å, or another of several "
            "equally good cells"
        )
    if np.isfinite(ours) != np.isfinite(theirs):
        return "at the edge of a tolerance"
    if min(ours, theirs) < 1e-5:
        return "pymatgen stops at the first RMS below 1e-5"
    return "two assignments of nearly equal cost, another is found first"


def ask_block(a, b, i, j, seed, tolerances=reduction.FIELD):  # dict of arrays
    "Ask pymatgen about a block: RMS of all pairs, `fit` of some; ours is timed right after it."
    rms, slow = timed(lambda: ask_pymatgen(a, b, i, j, tolerances))
    ours = [
        [timed(lambda: ask_ours(a, b, i, j, compiled=c))[1] for c in (False, True)] for _ in range(REPEATS)
    ]
    some = np.random.default_rng(seed).permutation(len(i))[: len(i) // FIT_EVERY]
    fits = [ask_fit(a, b, i[some], j[some], tolerances._replace(stol=s)) for s in FIT_STOLS]
    seconds = np.array([slow, *np.median(ours, 0)])
    return dict(rms=rms, fit_pairs=some, fits=np.array(fits), seconds=seconds)


def save_block(path, a, b, i, j, answers):
    "Write the crystals of a block, its pairs and pymatgen's answers; whole or not at all."
    crystals = a if b is a else [*a, *b]
    arrays = dict(
        lattice=np.array([s.lattice.matrix for s in crystals]),
        frac=np.concatenate([s.frac_coords for s in crystals]),
        numbers=np.concatenate([s.atomic_numbers for s in crystals]),
        sizes=np.array([len(s) for s in crystals]),
        first=np.array(len(a)),
    )
    with open(part := path.with_suffix(".part"), "wb") as f:
        np.savez_compressed(f, i=i, j=j, **arrays, **answers)
    part.replace(path)


def load_block(path):  # two lists of structures, pairs i, j, pymatgen's answers
    "Read a block."
    stored = np.load(path)
    ends = np.cumsum(stored["sizes"])[:-1]
    parts = zip(stored["lattice"], np.split(stored["numbers"], ends), np.split(stored["frac"], ends))
    crystals, first = [Structure(*part) for part in parts], int(stored["first"])
    a, b = crystals[:first], crystals[first:] or crystals
    return (a if len(crystals) > first else b), b, stored["i"], stored["j"], dict(stored)


def compare_block(a, b, i, j, theirs, tolerances=reduction.FIELD):
    "Compare our matcher with pymatgen's answers on one block."
    ours = ask_ours(a, b, i, j, tolerances)
    some, rms = theirs["fit_pairs"], theirs["rms"]
    fits = {
        f"{stol:g}": {
            "pairs": len(some),
            "differ": int((fit != ours.fits(stol)[some]).sum()),
            "fit": int(fit.sum()),
        }
        for stol, fit in zip(FIT_STOLS, theirs["fits"])
    }
    both = np.isfinite(rms) & np.isfinite(ours.rms)
    with np.errstate(invalid="ignore"):
        gap = np.where(both, abs(rms - ours.rms), 0)
    one_only = np.isfinite(rms) != np.isfinite(ours.rms)  # matched by one of the two
    causes = defaultdict(int)
    for k in np.flatnonzero(one_only | (gap > CLOSE)):
        what = "match" if one_only[k] else "RMS"
        causes[f"{what}: {explain(a[i[k]], b[j[k]], rms[k], tolerances)}"] += 1
    return {
        "pairs": len(i),
        "matched": int(both.sum()),
        "match_differs": int(one_only.sum()),
        "rms_differs": int((gap > CLOSE).sum()),
        "largest_gap": float(gap.max()),
        "causes": dict(causes),
        "fit": fits,
    } | ({"seconds": theirs["seconds"].tolist()} if "seconds" in theirs else {})


def carry_over(earlier, a, b, i, j):
    "Keep the comparison of our arrays with pymatgen; pairs in which compiled code differs are asked anew."
    one, other = (ask_ours(a, b, i, j, compiled=c) for c in (True, False))
    rules = [lambda m, s=s: m.fits(s) for s in FIT_STOLS] + [lambda m: m.matched()]
    if any((rule(one) != rule(other)).any() for rule in rules):
        raise SystemExit("Compiled code and arrays decide differently: run again without --known.")
    counts = {k: v for k, v in earlier.items() if not k.startswith("seconds")}
    counts["causes"] = defaultdict(int, counts["causes"])
    moved = np.flatnonzero(~np.isclose(one.rms, other.rms, rtol=0, atol=2e-9))
    theirs = ask_pymatgen(a, b, i[moved], j[moved], reduction.FIELD)
    for k, rms in zip(moved, theirs):
        for ours, times in ((other.rms[k], -1), (one.rms[k], 1)):
            if abs(ours - rms) > CLOSE:
                counts["rms_differs"] += times
                counts["causes"][f"RMS: {explain(a[i[k]], b[j[k]], rms, reduction.FIELD)}"] += times
    causes = {k: v for k, v in counts["causes"].items() if v}
    return counts | {"causes": causes, "answers": "of the earlier run, by arrays", "asked_anew": len(moved)}


def speeds(blocks):
    "Compare the processor time of blocks that were matched by pymatgen and ours in one process."
    seconds = np.array([r["seconds"] for r in blocks])
    ratios, pairs = seconds[:, 0] / seconds[:, 2], sum(r["pairs"] for r in blocks)
    return {
        "timed_blocks": len(blocks),
        "speedup": round(float(np.median(ratios)), 1),
        "speedup_range": [round(float(x), 1) for x in (ratios.min(), ratios.max())],
        "ms_a_pair": dict(zip(ENGINES, (1000 * seconds.sum(0) / pairs).round(4).tolist())),
    }


def summarise(blocks):
    "Add up the blocks of each set and kind."
    total = {}
    for key, r in blocks.items():
        t = total.setdefault(key.rsplit("/", 1)[0], {"largest_gap": 0.0, "causes": {}, "fit": {}})
        for k in ("pairs", "matched", "match_differs", "rms_differs"):
            t[k] = t.get(k, 0) + r[k]
        t["largest_gap"] = max(t["largest_gap"], r["largest_gap"])
        for cause, num in r["causes"].items():
            t["causes"][cause] = t["causes"].get(cause, 0) + num
        for stol, f in r["fit"].items():
            t["fit"][stol] = {k: t["fit"].get(stol, {}).get(k, 0) + f[k] for k in f}
    for key, t in total.items():
        t |= speeds([r for k, r in blocks.items() if k.rsplit("/", 1)[0] == key and "seconds" in r])
    return total


def block_names(scale):  # (set, kind, block), the first of all first
    "List the blocks."
    counts = {kind: max(1, round(num * scale)) for kind, num in KINDS.items()}
    return [
        (name, kind, block)
        for block in range(max(counts.values()))
        for kind, num in counts.items()
        for name in SETS
        if block < num
    ]


def block_path(runs, name, kind, block, seed):
    "Name the file of pymatgen's answers."
    return Path(runs) / f"{name}-{kind}-{block}-seed{seed}.npz"


def ask_all(data, runs, names, seed, known=()):
    "Ask pymatgen about all blocks that are not known yet."
    Path(runs).mkdir(parents=True, exist_ok=True)
    for name, kind, block in names:
        path = block_path(runs, name, kind, block, seed)
        if path.exists() or f"{name}/{kind}/{block}" in known:
            continue
        a, b, i, j = make_block(data, name, kind, block, seed)
        answers, seconds = timed(lambda: ask_block(a, b, i, j, seed))
        save_block(path, a, b, i, j, answers)
        print(f"{path.stem}: {len(i)} pairs, {seconds:.0f} s", flush=True)


def compare_all(data, runs, names, seed, known):  # key -> comparison
    "Compare ours with all of pymatgen's answers."
    blocks = {}
    for name, kind, block in names:
        key, path = f"{name}/{kind}/{block}", block_path(runs, name, kind, block, seed)
        if path.exists():
            blocks[key] = compare_block(*load_block(path))
        else:
            blocks[key] = carry_over(known[key], *make_block(data, name, kind, block, seed))
        r = blocks[key]
        differ = f"matches differ {r['match_differs']}, RMS {r['rms_differs']}"
        print(f"{key}: {r['pairs']} pairs, {differ}", flush=True)
    return blocks


def about(seed):
    "Say what was measured where."
    return {
        "seed": seed,
        "date": date.today().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "threads": 1,
        "load": round(os.getloadavg()[0], 1),
        "versions": {k: version(k) for k in ("pymatgen", "pymatgen-core", "numpy", "scipy", "numba")},
        "tolerances": reduction.FIELD._asdict(),
    }


def main():
    "Ask pymatgen, compare, time."
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default="../shared/data", help="folder of the data sets")
    p.add_argument("--out", default="results/matching.json", help="file to write")
    p.add_argument("--runs", default="runs/matching", help="folder of pymatgen's answers")
    p.add_argument("--known", help="an earlier result whose blocks need not be asked again")
    p.add_argument("--scale", type=float, default=1.2, help="share of the blocks to match")
    p.add_argument("--seed", type=int, default=0, help="seed of the disguises")
    args = p.parse_args()
    warnings.filterwarnings("ignore")
    known = json.loads(Path(args.known).read_text())["blocks"] if args.known else {}
    names = block_names(args.scale)
    pair = [Structure(Lattice.cubic(3), ["C", "C"], [[0, 0, 0], [0.5, 0.4, 0.3]]) for _ in range(2)]
    ask_ours(pair, pair, [0], [1])  # imports and compiling are not timed
    ask_all(args.data, args.runs, names, args.seed, known)
    blocks = compare_all(args.data, args.runs, names, args.seed, known)
    result = {"about": about(args.seed), "total": summarise(blocks), "blocks": blocks}
    part = Path(args.out).with_suffix(".part")
    part.write_text(json.dumps(result, indent=1))
    part.replace(args.out)


if __name__ == "__main__":
    main()
