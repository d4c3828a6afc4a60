"""Measure crystals with xtalmet and matbench-genmetrics, in an environment of theirs

    python peers_there.py CRYSTALS.json FOUND.json [TASK ...]

It imports nothing of this project. Numbers that are there already are not computed again."""

import json
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pymatgen.core import Structure

warnings.filterwarnings("ignore")
PACKAGES = (
    "xtalmet",
    "matbench-genmetrics",
    "average-minimum-distance",
    "ElMD",
    "smact",
    "pymatgen",
    "matminer",
)
FEW = 130  # crystals of a set, the copies among them
DISTANCES = ("smat", "amd", "elmd", "elmd+amd")


def xtalmet_validity(made, **_) -> dict:  # one number a crystal
    "Check validity."
    from xtalmet.crystal import Crystal
    from xtalmet.validity import Validator

    crystals = [Crystal.from_Structure(s) for s in made]
    scores = Validator(["smact", "structure"]).validate(crystals, [])[0]
    return {k: v.tolist() for k, v in scores.items()}


def xtalmet_scores(distance: str):
    "Make a function that measures uniqueness and novelty by one distance."

    def measure(made, known, **_) -> dict:  # one number a crystal
        from xtalmet.evaluator import Evaluator

        def scores(**what):
            return Evaluator(distance=distance, **what).evaluate(made)[1].tolist()

        return dict(unique=scores(uniqueness=True), novel=scores(novelty=True, ref_xtals=known))

    return measure


def xtalmet_pdd(some, **_) -> list:  # all pairs, Å
    "Measure distances of distributions."
    from xtalmet.distance import distance_matrix

    return np.asarray(distance_matrix("pdd", some, normalize=False)).tolist()


def genmetrics_matches(made, known, **_) -> dict:
    "Match all pairs, by its StructureMatcher."
    from matbench_genmetrics.core.metrics import GenMatcher

    known, made = known[-FEW:], made[-FEW:]  # a call of `fit` a pair: 0.3 ms
    one = GenMatcher(known, made, match_type="StructureMatcher", verbose=False)
    own = GenMatcher(made, match_type="StructureMatcher", verbose=False)
    return dict(
        pairs=np.argwhere(one.match_matrix).tolist(),
        match_rate=float(one.match_rate),
        own_pairs=np.argwhere(own.match_matrix).tolist(),
        duplicity_rate=float(own.duplicity_rate),
    )


def genmetrics_fingerprints(some, **_) -> dict:
    "Compute fingerprints of composition and structure."
    from matbench_genmetrics.core.utils.featurize import featurize_comp_struct

    composition, structure = featurize_comp_struct(some)
    return dict(
        composition=np.asarray(composition, float).tolist(), structure=np.asarray(structure, float).tolist()
    )


TASKS = {"xtalmet validity": xtalmet_validity} | {f"xtalmet {d}": xtalmet_scores(d) for d in DISTANCES}
TASKS |= {
    "xtalmet pdd": xtalmet_pdd,
    "genmetrics matches": genmetrics_matches,
    "genmetrics fingerprints": genmetrics_fingerprints,
}


def main(source: str, out: str, *names: str) -> None:
    "Do one task after another."
    sets = {k: [Structure.from_dict(s) for s in v] for k, v in json.loads(Path(source).read_text()).items()}
    place = Path(out)
    found = json.loads(place.read_text()) if place.exists() else {}
    found["versions"] = {p: version(p) for p in PACKAGES}
    for name, task in TASKS.items():
        if name in found or (names and name not in names):
            continue
        start = time.process_time()
        try:
            result = dict(found=task(**sets))
        except Exception as e:  # of a peer: part of the answer
            result = dict(error=f"{type(e).__name__}: {e}"[:300])
        found[name] = result | dict(seconds=round(time.process_time() - start, 1))
        place.with_suffix(".part").write_text(json.dumps(found))
        place.with_suffix(".part").replace(place)
        print(name, found[name]["seconds"], "s", found[name].get("error", ""), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python peers_there.py CRYSTALS.json FOUND.json [TASK ...]")
    main(*sys.argv[1:])
