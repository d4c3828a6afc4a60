"""What swaps of species do where z is a mean, and where it is a draw

    python -m benchmarks.swaps --data DIR

DIR holds perov_5 and mp_20 with their splits. Test crystals are reconstructed from the mean of q(z|x) and
from a draw of it, and new crystals are made, each with and without swaps, from the same noise and by the
same number of evaluations. It writes results/swaps.json after each model; what is there is not done again."""

import argparse
import json
import time
from pathlib import Path

from benchmarks.labs import fisher, mcnemar
from benchmarks.models import known_set
from benchmarks.speed import circumstances, go_on, rounded
from benchmarks.strict import SETS
from benchmarks.studies import chance, held_out, rebuilt
from benchmarks.tables import by_chance, came_back, paired, table, with_interval
from dpcdvae.cli.commands import load_model
from dpcdvae.data.files import atomic_write
from dpcdvae.evaluation.coverage import cutoffs_for
from dpcdvae.evaluation.generation import evaluate_generation

SWAPS = 128  # proposals at each fifth of the steps, as the presets gemnet and transformer have them
REBUILT = ("strict_rate", "match_rate", "match_rate_anonymous", "rms", "composition_exact")
NEW = ("valid", "composition_valid", "structure_valid", "unique", "novel", "cov_precision", "cov_recall")
READINGS = ("mean", "sampled")


def reconstructions(model, truth, seed: int) -> dict:  # reading of z -> swaps -> metrics, match of each
    "Reconstruct from either reading of z, with and without swaps."
    found, true = {}, truth.to_structures()
    for z in READINGS:
        for swaps in (SWAPS, 0):
            begun = time.process_time()
            how = dict(z=z, swap_species=swaps, seed=seed, progress=False)
            made = model.reconstruct(truth, **how).crystals.to_structures()
            spent = (time.process_time() - begun) / len(true)
            metrics, each = rebuilt(made, true, REBUILT, workers=1, progress=False)
            found.setdefault(z, {})[str(swaps)] = dict(metrics=metrics, seconds=spent) | each
        with_swaps, without = (found[z][k]["strict"] for k in (str(SWAPS), "0"))
        found[z]["test"] = mcnemar(with_swaps, without)
    return found


def new_crystals(model, data: Path, num: int, seed: int) -> dict:  # swaps -> metrics
    "Make crystals with and without swaps, and evaluate them against the known ones."
    known, found = {s: known_set(data, s) for s in ("train", "test")}, {}
    for swaps in (SWAPS, 0):
        begun = time.process_time()
        made = model.generate(num, swap_species=swaps, seed=seed, progress=False).crystals
        spent = (time.process_time() - begun) / num
        how = dict(fingerprints=True, cutoffs=cutoffs_for(data.name), workers=1, progress=False)
        _, summary = evaluate_generation(made.to_structures(), known["train"], known["test"], **how)
        kept = {k: summary["metrics"][k] for k in NEW}
        found[str(swaps)] = dict(metrics=kept, seconds=spent)
    ours, base = (found[k]["metrics"]["cov_precision"] for k in (str(SWAPS), "0"))
    test = fisher(ours["count"], ours["total"], base["count"], base["total"])
    return found | dict(test=test)


def swaps_table(r: dict) -> str:  # markdown
    "Show both readings of z and new crystals, with and without swaps."
    rows, new, tests = [], [], []
    for name, m in r["models"].items():
        for z, both in m["reconstruction"].items():
            for swaps in (str(r["swaps"]), "0"):
                cells = came_back(both[swaps]["metrics"])
                rows.append([name, z, swaps, *cells, f"{1e3 * both[swaps]['seconds']:.0f}"])
            tests.append(paired(f"{name}, z {z}", both["test"]))
        for swaps in (str(r["swaps"]), "0"):
            one = m["generation"][swaps]
            shares = [with_interval(one["metrics"][k]) for k in ("cov_precision", "cov_recall", "valid")]
            new.append([name, swaps, *shares, f"{1e3 * one['seconds']:.0f}"])
    head = ["model", "z", "swaps", "strict", "match", "RMS", "ms a crystal"]
    head_new = ["new crystals of", "swaps", "COV-P", "COV-R", "valid", "ms a crystal"]
    counts = "; ".join(f"{name} {m['num']} and {m['num_new']}" for name, m in r["models"].items())
    covered = "; ".join(f"{name}, p = {m['generation']['test']['p']:.1g}" for name, m in r["models"].items())
    return (
        f"{table(head, rows)}\n\n{table(head_new, new)}\n\nTest crystals and new ones: {counts}. Swaps: "
        f"proposals at each fifth of the steps. Strict rates with swaps - without, McNemar's test: "
        f"{'; '.join(tests)}. COV-P, Fisher's test: {covered}. "
        f"{by_chance(r['chance'].items())} Milliseconds are processor time of one thread."
    )


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.swaps", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder with perov_5, mp_20")
    p.add_argument("--only", nargs="+", choices=["perov-5", "mp-20"], default=["perov-5", "mp-20"])
    p.add_argument("--num-new", type=int, default=500)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=Path("results/swaps.json"))
    a = p.parse_args()
    record = go_on(a.out, dict(name="swaps", seed=a.seed, swaps=SWAPS), models={}, chance={})
    record.setdefault("chance", {})
    for name in a.only:
        folder, num = SETS[name]
        truth = held_out(a.data / folder, num, a.seed)
        if folder not in record["chance"]:
            record["chance"][folder] = rounded(chance(truth))
            atomic_write(a.out, json.dumps(record, indent=1) + "\n")
        if name in record["models"]:
            continue
        model = load_model(name)
        found = dict(reconstruction=reconstructions(model, truth, a.seed))
        found |= dict(generation=new_crystals(model, a.data / folder, a.num_new, a.seed))
        about = dict(data=folder, num=num, num_new=a.num_new, made_on=circumstances())
        record["models"][name] = about | rounded(found)
        atomic_write(a.out, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
