"""The commands behind every number that this project states"""

import contextlib
import io
import json
import os
import tempfile
import warnings
from pathlib import Path

from benchmarks.studies import compare

SMALL = dict(max_epochs=1, num=4, num_new=4, steps=50, seeds=(0,))  # enough to see that an experiment runs


def stored(path: Path) -> dict:
    "Read a result that an experiment in full has left."
    if not path.exists():
        raise FileNotFoundError(
            f"{path.name} is not stored in {path.parent.name}: run this lab with DPCDVAE_LAB=full to make it"
        )
    return json.loads(path.read_text())


@contextlib.contextmanager
def in_small():
    "A folder for a trial, whose progress and warnings nobody needs."
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield Path(folder)


TRIAL = "A trial of seconds, to see the experiment run: its figures mean nothing."


def lab(
    name: str, variants: dict, data="perov_mini", path=None, home="../..", trial: dict | None = None, **full
) -> tuple[dict, str]:  # results, one sentence about them
    """Read the stored results of an experiment.

    With DPCDVAE_LAB=full the experiment is run, or goes on, and is stored; with DPCDVAE_LAB=trial it is
    run in small and not stored. FileNotFoundError where nothing is stored."""
    path, mode = Path(home) / (path or f"results/labs/{name}.json"), os.environ.get("DPCDVAE_LAB")
    if mode == "trial":
        small = trial or {k: ("tiny", v) for k, (_, v) in variants.items()}
        small = {k: (preset, v | dict(limit=64, prior="standard")) for k, (preset, v) in small.items()}
        with in_small() as d:
            options = full | SMALL | dict(max_time=None)
            return compare(["perov_mini"], small, d, d / f"{name}.json", **options) | dict(trial=True), TRIAL
    if mode == "full":
        sources = os.environ.get("DPCDVAE_LAB_DATA", data).split(",")
        compare(sources, variants, Path(home) / "runs" / "labs" / name, path, **full)
    result = stored(path)
    return result, describe(result)


def describe(result: dict) -> str:  # one sentence
    "Say what models a comparison trained, how long, on what, where."
    models = list(result["models"].values())
    one, sets = models[0], list(dict.fromkeys(m["data"] for m in models))
    return (
        f"{len(models)} models, {result['num_test']} held-out crystals each; trained "
        f"{'for ' + result['max_time'] if result['max_time'] else str(one['training']['steps']) + ' steps'} "
        f"on {' and '.join(sets)}; {one['made_on']['threads']} thread(s) of "
        f"{one['made_on']['processor']}, {one['made_on']['date']}; "
        f"{sum(m['training']['seconds'] for m in models) / 60:.0f} minutes of training in all."
    )


def study_lab(
    path, study, trial: dict, full: dict, home="../.."
) -> tuple[dict, str]:  # results, one sentence about them
    "Read the stored result of a study, or run it in full or in small, as `lab` does."
    path, mode = Path(home) / path, os.environ.get("DPCDVAE_LAB")
    if mode == "trial":
        with in_small() as d:
            options = {k: v(d) if callable(v) else v for k, v in trial.items()}
            return study(out=d / "trial.json", **options) | dict(trial=True), TRIAL
    if mode == "full":
        study(out=path, **full)
    result = stored(path)
    return (
        result,
        f"{result['num']} crystals; {result.get('calculator', result.get('run'))}; "
        f"{result['made_on']['threads']} thread(s) of {result['made_on']['processor']}, "
        f"{result['made_on']['date']}"
        + (f"; seed {result['seed']}" if "seed" in result else "")
        + (f"; {result['seconds'] / 60:.0f} minutes." if result.get("seconds") else "."),
    )


def small_run(folder, data="carbon_mini", preset: str = "tiny", limit: int = 32) -> Path:
    "Train a model for one epoch on a few crystals, to see that a study runs."
    from dpcdvae.model.training import train

    run = Path(folder) / "run"
    train(data, run, preset, max_epochs=1, limit=limit)
    return run


def lab_rates(
    result: dict, reading: str, metric: str = "match_rate", of: str = "reconstruction"
) -> dict:  # label -> scores, one a seed
    "Gather one metric of a comparison, for `dpcdvae.viz.curves.rates`."
    found = {}
    for m in result["models"].values():
        if metric in m.get(of, {}).get(reading, {}):
            found.setdefault(m["label"], []).append(m[of][reading][metric])
    return found


def differences(
    rates: dict,  # label -> scores with count and total, one a seed
    base: str,
) -> list[str]:  # one sentence a label
    "Compare rates with one of them, by Fisher's exact test over all seeds."
    from scipy.stats import fisher_exact

    pooled = {k: (sum(m["count"] for m in v), sum(m["total"] for m in v)) for k, v in rates.items()}
    if base not in pooled:
        return [f"{base}, which the others are to be compared with, is not measured yet."]
    hits, total = pooled.pop(base)
    out, share = [f"{base}: {100 * hits / total:.1f} % of {total}."], hits / total
    for k, (c, n) in pooled.items():
        p = fisher_exact([[c, n - c], [hits, total - hits]]).pvalue
        middle = (c + hits) / (n + total)
        visible = (
            2.8 * (middle * (1 - middle) * (1 / n + 1 / total)) ** 0.5
        )  # seen in four of five trials at the level of 5 %
        conclusion = (
            f"**{'more' if c / n > share else 'less'}** (p = {p:.1g})"
            if p < 0.05 / len(pooled)
            else f"undecided (p = {p:.2f}; these counts would show a difference of about "
            f"{100 * visible:.0f} points)"
        )
        out.append(f"{k}: {100 * c / n:.1f} % of {n}: {conclusion}.")
    return out


def lab_answer(
    result: dict, notebook: str, comparisons: dict
) -> str:  # title -> (rates, label to compare with); markdown
    "Answer a lab's question with its figures, or say how to get them."
    command = f"`DPCDVAE_LAB=full jupyter execute nbs/labs/{notebook}.ipynb`"
    if result.get("trial"):
        return f"## Answer\nThis is a trial, which decides nothing. In full: {command}."
    lines = [
        f"*{title}*\n" + "\n".join(f"- {s}" for s in differences(rates, base)) + "\n"
        for title, (rates, base) in comparisons.items()
        if rates
    ]
    return "\n".join(
        [
            "## Answer",
            "Fisher's exact test over all seeds, level 5 % shared among a list's comparisons; the "
            "crystals are the same for all, which the test does not use.\n",
            *lines,
            f"Models that are missing here are not measured yet; {command} goes on where it stopped.",
        ]
    )
