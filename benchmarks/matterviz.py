"""Time the matcher of matterviz-wasm (Rust, run in node) next to ours and pymatgen's, on the same pairs

    python -m benchmarks.matterviz --package DIR [--runs runs/matching] [--out results/matterviz.json]

DIR holds the unpacked npm package. The pairs are those that `python -m benchmarks.matching` kept. Each
matcher is timed by its own processor time, reading of crystals left out, one after another in one command."""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np

from benchmarks import matching
from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write
from dpcdvae.evaluation import reduction

BLOCKS = {"copies": "copies", "random coordinates": "random", "one formula": "formula"}
SCRIPT = Path(__file__).with_name("matterviz_there.mjs")


def pairs_of(runs: Path, block: str, most: int, rng) -> tuple:  # two lists of structures, pairs i, j
    "Draw some pairs of the first block that is kept."
    a, b, i, j, _ = matching.load_block(min(runs.glob(f"{block}-*-seed0.npz")))
    some = rng.permutation(len(i))[:most]
    return a, b, i[some], j[some]


def for_node(a, b, i, j) -> dict:
    "Write crystals as the package reads them."
    crystals, ends = [s.as_dict() for s in a], len(a)
    if b is not a:
        crystals += [s.as_dict() for s in b]
    shift = 0 if b is a else ends
    return dict(crystals=crystals, pairs=[[int(x), int(y) + shift] for x, y in zip(i, j)])


def ask_ours_and_pymatgen(a, b, i, j) -> dict:
    "Match pairs by both, and time both."
    matching.ask_ours(a, b, i[:2], j[:2])  # compiles
    repeats = [matching.timed(lambda: matching.ask_ours(a, b, i, j)) for _ in range(matching.REPEATS)]
    rms, slow = matching.timed(lambda: matching.ask_pymatgen(a, b, i, j, reduction.FIELD))
    fit = matching.ask_fit(a, b, i, j, reduction.FIELD)
    ours, seconds = repeats[0][0], float(np.median([s for _, s in repeats]))
    return dict(ours=ours, pymatgen=rms, fit=fit, seconds=dict(ours=seconds, pymatgen=slow))


def compare(mine: dict, node: dict) -> dict:
    "Count how often the matchers agree, and tell how fast each is."
    theirs = np.array([r is not None for r in node["rms"]["found"]])
    matched, n = np.isfinite(mine["pymatgen"]), len(theirs)
    seconds = mine["seconds"] | {"matterviz-wasm": node["rms"]["seconds"]}
    return dict(
        pairs=n,
        matched=dict(
            pymatgen=int(matched.sum()),
            ours=int(np.isfinite(mine["ours"].rms).sum()),
            **{"matterviz-wasm": int(theirs.sum())},
        ),
        as_pymatgen=dict(
            ours=int((np.isfinite(mine["ours"].rms) == matched).sum()),
            **{"matterviz-wasm": int((theirs == matched).sum())},
        ),
        fit_as_pymatgen=dict(
            ours=int((mine["ours"].fits(reduction.FIELD.stol) == mine["fit"]).sum()),
            **{"matterviz-wasm": int((np.array(node["fit"]["found"]) == mine["fit"]).sum())},
        ),
        pairs_per_second={k: round(n / s, 1) for k, s in seconds.items()},
    )


def main(argv=None) -> None:
    "Compare three matchers on kept pairs."
    p = argparse.ArgumentParser("python -m benchmarks.matterviz", description=main.__doc__)
    p.add_argument("--package", type=Path, required=True, help="folder of the unpacked npm package")
    p.add_argument("--runs", type=Path, default=Path("runs/matching"), help="kept blocks of pairs")
    p.add_argument("--out", type=Path, default=Path("results/matterviz.json"))
    p.add_argument("--most", type=int, default=200, help="pairs of a block")
    a = p.parse_args(argv)
    rng, mine, there = np.random.default_rng(0), {}, {}
    for name in matching.SETS:
        for kind, block in BLOCKS.items():
            pairs = pairs_of(a.runs, f"{name}-{block}", a.most, rng)
            there[f"{name}, {kind}"] = for_node(*pairs)
            mine[f"{name}, {kind}"] = ask_ours_and_pymatgen(*pairs)
    source, answers = a.runs / "matterviz-pairs.json", a.runs / "matterviz-answers.json"
    atomic_write(source, json.dumps(there))
    subprocess.run(["node", str(SCRIPT), str(a.package), str(source), str(answers)], check=True)
    node = json.loads(answers.read_text())
    version = json.loads((a.package / "package.json").read_text())["version"]
    found = dict(
        kind="matterviz", version=version, blocks={k: compare(mine[k], node[k]) for k in mine}
    ) | dict(made_on=circumstances())
    atomic_write(a.out, json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["blocks"], indent=1))


if __name__ == "__main__":
    main()
