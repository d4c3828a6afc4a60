"""The commands behind every number that this project states"""

import contextlib
import io
import json
import math
import os
import tempfile
import warnings
from pathlib import Path

from benchmarks.studies import compare
from dpcdvae.data.files import number_of

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
    name: str,
    variants: dict,
    data="perov_mini",
    path=None,
    home="../..",
    trial: dict | None = None,
    other_data: bool = True,  # DPCDVAE_LAB_DATA names the data; False: always `data`
    **full,
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
        sources = os.environ.get("DPCDVAE_LAB_DATA", data) if other_data else data
        compare(sources.split(","), variants, Path(home) / "runs" / "labs" / name, path, **full)
    result = stored(path)
    return result | dict(missing=missing(result, variants, full.get("seeds", (0,)))), describe(result)


def missing(result: dict, variants: dict, seeds) -> list[str]:  # labels
    "Name the variants of which some model is not stored."
    found = [m["label"] for m in result["models"].values()]
    return [label for label in variants if found.count(label) < len(seeds)]


def describe(result: dict) -> str:  # one sentence
    "Say what models a comparison trained, how long, on what, where."
    models = list(result["models"].values())
    learnt_from = lambda t: f"{t['data']} (num_train {t['num_train']})"
    one, sets = models[0], list(dict.fromkeys(learnt_from(m["training"]) for m in models))
    return (
        f"{len(models)} models, {result['num_test']} held-out crystals each; trained "
        f"{'for ' + result['max_time'] if result['max_time'] else str(one['training']['steps']) + ' steps'} "
        f"on {' and '.join(sets)}; {one['made_on']['threads']} thread(s) of "
        f"{one['made_on']['processor']}, {one['made_on']['date']}; "
        f"{sum(m['training']['seconds'] for m in models) / 60:.0f} minutes of training in all."
    )


def lab_chance(result: dict, reading: str = "free, mean") -> str:  # one sentence
    "Say what random coordinates match in a comparison, where all models have the same crystals."
    rate = next(iter(result["models"].values()))["reconstruction"][reading]["match_chance"]["value"]
    return f"random coordinates in the true cell match {100 * rate:.1f} % by the field's rule"


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


EACH = dict(
    match_rate="matched", strict_rate="strict", METRe="found"
)  # metric -> what is kept of each crystal


def lab_rates(
    result: dict, reading: str, metric: str = "match_rate", of: str = "reconstruction"
) -> dict:  # label -> scores, one a seed
    "Gather one metric of a comparison, for `dpcdvae.viz.curves.rates`."
    found = {}
    for m in result["models"].values():
        scores = m.get(of, {}).get(reading, {})
        if metric in scores:
            each = scores.get(EACH.get(metric))
            found.setdefault(m["label"], []).append(scores[metric] | ({"each": each} if each else {}))
    return found


def mcnemar(ours: str, theirs: str) -> dict:  # difference, low, high, p, visible
    """Compare two rates on the same crystals, given as a 1 or 0 each, by McNemar's exact test.

    The interval is Agresti and Min's (Statistics in Medicine 24, 729, 2005); `visible` is the difference that
    four of five trials with as many changed crystals would show by one comparison, `seen` by several."""
    from scipy.stats import binomtest

    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} crystals: a paired test needs the same ones")
    n, only_ours = len(ours), sum(a > b for a, b in zip(ours, theirs))
    changed = only_ours + sum(a < b for a, b in zip(ours, theirs))
    p = binomtest(only_ours, changed).pvalue if changed else 1.0
    total, gain = n + 2, 2 * only_ours - changed
    half = 1.96 * (changed + 1 - gain**2 / total) ** 0.5 / total
    visible = 2.8 * max(changed, 1) ** 0.5 / n
    return dict(difference=gain / n, low=gain / total - half, high=gain / total + half, p=p, visible=visible)


def fisher(count: int, total: int, base_count: int, base_total: int) -> dict:  # difference, p, visible
    "Compare two rates of different crystals by Fisher's exact test."
    from scipy.stats import fisher_exact

    p = fisher_exact([[count, total - count], [base_count, base_total - base_count]]).pvalue
    middle = (count + base_count) / (total + base_total)
    visible = 2.8 * (middle * (1 - middle) * (1 / total + 1 / base_total)) ** 0.5
    return dict(difference=count / total - base_count / base_total, p=p, visible=visible)


def compared(scores: list, base: list) -> tuple[dict, bool]:  # test, whether it is paired
    "Compare the scores of two labels, paired where both kept what became of each crystal."
    totals = dict(totals=tuple(sum(m["total"] for m in v) for v in (scores, base)))
    if len(scores) == len(base) and all("each" in m for m in [*scores, *base]):
        return mcnemar(*("".join(m["each"] for m in v) for v in (scores, base))) | totals, True
    counts = [sum(m[k] for m in v) for v in (scores, base) for k in ("count", "total")]
    return fisher(*counts) | totals, False


def smallest_decidable(test: dict, level: float) -> float:
    "Find the smallest difference that a test can decide at all: changes of one sign alone, or a rate of 0."
    ours, base = test["totals"]
    if "low" in test:  # McNemar's
        return (math.floor(math.log2(2 / level)) + 1) / ours  # 2 * 0.5**n < level
    p = lambda n, total, other: fisher(n, total, 0, other)["p"]
    least = lambda total, other: next((n for n in range(total) if p(n, total, other) < level), total) / total
    return min(least(ours, base), least(base, ours))


def seen(test: dict, comparisons: int) -> float:
    "Say which difference four of five trials would decide at the level of 5 % shared among comparisons."
    from scipy.stats import norm

    level = 0.05 / comparisons
    error = test["visible"] / 2.8  # 1.96 + 0.84: the level of 5 %, four of five trials
    return max((norm.isf(level / 2) + 0.84) * error, smallest_decidable(test, level))


def pooled(scores: list) -> float:
    "Take the rate of all seeds together."
    return sum(m["count"] for m in scores) / sum(m["total"] for m in scores)


def listed(names: list) -> str:
    "Write names as they stand in a sentence."
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 2 else names) or "none"


def by_seed(scores: list, base: list) -> list[float]:  # points
    "Take the difference of two rates in each seed."
    return [100 * (pooled([a]) - pooled([b])) for a, b in zip(scores, base)]


def seed_spread(rates: dict) -> str:  # label -> scores, one a seed; a sentence, or nothing with one seed
    "Say how far the seeds of a label lie apart, and how far the labels do, by analysis of variance."
    from statistics import mean, stdev

    from scipy.stats import f_oneway

    found = {k: [100 * pooled([m]) for m in scores] for k, scores in rates.items()}
    if len(found) < 2 or min(map(len, found.values())) < 2:
        return ""
    within = mean(stdev(v) ** 2 for v in found.values()) ** 0.5
    between = stdev(map(mean, found.values()))
    widest = max(found, key=lambda k: max(found[k]) - min(found[k]))
    p = f_oneway(*found.values()).pvalue if within else float(not between)
    alone = within * mean(1 / len(v) for v in found.values()) ** 0.5
    ends = f"{min(found[widest]):.0f} and {max(found[widest]):.0f} %"
    return (
        f"Seeds of one label scatter by {within:.1f} points (standard deviation; those of {widest} lie "
        f"between {ends}), the labels' means by {between:.1f}, where seeds alone would scatter them by "
        f"{alone:.1f}. With one trained model as the unit the labels "
        f"{'differ' if p < 0.05 else 'cannot be distinguished'} (analysis of variance, p = {p:.1g})."
    )


def conclusion(test: dict, comparisons: int) -> str:
    "Say what a test decides, at the level of 5 % shared among some comparisons."
    points = f"{100 * test['difference']:+.1f} points"
    if "low" in test:
        points += f" [{100 * test['low']:.1f}, {100 * test['high']:.1f}]"
    if test["p"] < 0.05 / comparisons:
        return f"**{'more' if test['difference'] > 0 else 'less'}**: {points} (p = {test['p']:.1g})"
    return (
        f"undecided: {points} (p = {test['p']:.2f}; four of five such trials would show about "
        f"{number_of(round(100 * seen(test, comparisons)), 'point')})"
    )


def differences(
    rates: dict,  # label -> scores with count and total, one a seed
    base: str,
) -> list[str]:  # one sentence a label
    "Compare rates with one of them: McNemar's test where each crystal's outcome is kept, else Fisher's."
    if base not in rates:
        return [f"{base}, which the others are to be compared with, is not measured yet."]
    share = lambda v: f"{100 * pooled(v):.1f} %"
    out = [f"{base}: {share(rates[base])} of {sum(m['total'] for m in rates[base])}."]
    for k, scores in rates.items():
        if k != base:
            test, paired = compared(scores, rates[base])
            name = "" if paired else ", Fisher's test"
            out.append(f"{k}: {share(scores)}, {conclusion(test, len(rates) - 1)}{name}.")
    return out


def lab_answer(
    result: dict,
    notebook: str,
    comparisons: dict,  # title -> (rates, label to compare with)
    answers_of: str = "",  # markdown, before the figures
) -> str:  # markdown
    "Answer a lab's question with its figures, or say how to get them."
    command = f"`DPCDVAE_LAB=full jupyter execute nbs/labs/{notebook}.ipynb`"
    if result.get("trial"):
        return f"## Answer\nThis is a trial, which decides nothing. In full: {command}."
    lines = [
        f"*{title}*\n" + "\n".join(f"- {s}" for s in differences(rates, base)) + "\n"
        for title, (rates, base) in comparisons.items()
        if rates
    ]
    left = result.get("missing")
    return "\n".join(
        [
            "## Answer",
            *[answers_of + "\n"] * bool(answers_of),
            "McNemar's exact test on the same crystals, over all seeds, level 5 % shared among a list's "
            "comparisons; Fisher's where a stored run has kept no outcome of each crystal.\n",
            *lines,
            *[f"Not measured with all seeds: {', '.join(left or [])}; {command} goes on where it stopped."]
            * bool(left),
        ]
    )
