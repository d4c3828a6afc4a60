"""What the weight of the KL divergence does to a model

`python -m benchmarks.kl` trains small models that differ in this weight alone, and looks at how much of the
latent vector is used, how crystals come back, and how new ones look under two priors. It writes
results/labs/kl.json after each model and goes on where it stopped.

Plan, committed before the first result: five weights, three seeds, 8 epochs (104 steps) of perov_mini with
the preset tiny (about 40 s of processor time a model, 10 minutes in all, many times as long on a machine
that others use; six weights, 32 epochs and 50 function evaluations were meant and did not fit). Each model
reconstructs 150 held-out crystals from the mean of z and from a draw, and generates 100 under the standard
normal prior and under a Gaussian fitted to the encoded training crystals, with 20 function evaluations
(perov-5 loses 1 point of its match rate against 50). One pilot with the weight 1 and a fourth seed, of 32
epochs and not part of the result, measured the time; it matched 5 of 150 crystals, and of its dimensions
255 were active and none above noise, which is why both counts are kept.

Tests: McNemar, exact, on the same held-out crystals, three seeds together (450 pairs). Reconstruction by
the field's rule and by the strict one: each weight against the next smaller one (four tests) and the best
against the worst (of ten pairs). Generation: the share of the test set that some new crystal matches
(METRe), fitted against standard prior at each weight (five tests). 5 % are shared among each list. Power:
where a fifth of the pairs change, four of five such experiments show 6 points (7 at the shared level).

Added when the first model (weight 0.0001, seed 0) was seen, before any comparison of weights: it found none
of the test set under either prior, too few crystals of too short a training to compare, so the share of
valid new crystals is compared, too, by Fisher's exact test (they are different crystals, 300 and 300). It
was 59 % under the fitted prior and 28 % under the standard one there.

Prediction: below 0.001 the weight changes nothing; from 0.01 on reconstruction falls, at 1 to chance
(posterior collapse: the pilot's). Under the standard prior generation is best at a large weight, under the
fitted prior at a small one. Our mind would change: a loss between 0.0001 and 0.001; no loss at 0.01 or at
1; a standard prior no worse than the fitted one at 0.001; or a best generation under the standard prior
that equals the best one under the fitted prior."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.lab_answers import sign_of
from benchmarks.labs import compared, conclusion, lab_rates, listed, pooled, seen
from benchmarks.speed import circumstances, go_on, rounded
from benchmarks.studies import held_out, rebuilt, train_once
from benchmarks.tables import table
from dpcdvae.cli.commands import load_model
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write, number_of
from dpcdvae.evaluation.generation import evaluate_generation
from dpcdvae.evaluation.matching import best_matches
from dpcdvae.evaluation.reduction import reduce_crystals
from dpcdvae.model.prior import GaussianPrior, StandardPrior

WEIGHTS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
NFE = 20
ACTIVE = 0.01  # variance of a dimension's mean over crystals, above which it carries something
REBUILT = ("match_rate", "strict_rate", "rms", "composition_exact", "num_atoms_exact")
NEW = ("valid", "composition_valid", "structure_valid", "unique", "novel", "METRe")
NEW += ("wdist_density", "wdist_num_elements")


def nats_to(prior: GaussianPrior, mean: torch.Tensor, log_var: torch.Tensor) -> float:
    "Average the KL divergence from q(z|x), (B,D) each, to a Gaussian of any covariance, in nats a crystal."
    low = prior.factor.double()
    off = torch.linalg.solve_triangular(low, (mean.double() - prior.mean).T, upper=False)
    spread = torch.linalg.inv(low).square().sum(0)  # diagonal of the inverse covariance
    var = log_var.double().exp()
    log_det = 2 * low.diagonal().log().sum() - log_var.double().sum(-1)
    return float(0.5 * (var @ spread + off.square().sum(0) - len(low) + log_det).mean())


@torch.no_grad()
def latent_use(model, crystals) -> dict:
    """Measure the KL divergence (nats a crystal) to both priors, and count dimensions that carry something.

    Active: Burda 2016, section 5.2. Above noise: the variance of the mean over crystals exceeds the mean
    variance of q. `by_rank`: nats of the 1st, 2nd, 4th, ... dimension, the largest first."""
    mean, log_var = model.encode(crystals)
    nats = (0.5 * (mean**2 + log_var.exp() - 1 - log_var)).mean(0).sort(descending=True).values
    varies, noise = mean.var(0), log_var.exp().mean(0)
    found = dict(nats=float(nats.sum()), nats_fitted=nats_to(model.prior, mean, log_var))
    found |= dict(active=int((varies > ACTIVE).sum()), above_noise=int((varies > noise).sum()))
    ranks = [2**k - 1 for k in range(len(nats).bit_length())]
    return found | dict(dim=len(nats), noise=float(noise.mean()), by_rank=rounded(nats[ranks].tolist()))


def new_ones(model, sets: tuple, num: int, seed: int) -> dict:
    "Generate crystals, evaluate them, and note which crystals of the test set they match."
    train, test = sets
    made = model.generate(num, seed=seed, steps=NFE, progress=False).crystals
    _, summary = evaluate_generation(made, reference=train, test=test, workers=1, progress=False)
    rms, _, _ = best_matches(*(reduce_crystals(c.to_structures()) for c in (test, made)))
    hit = "".join(str(int(np.isfinite(r))) for r in rms)
    return {k: summary["metrics"][k] for k in NEW if k in summary["metrics"]} | dict(found=hit)


def one(run: Path, weight: float, seed: int, a) -> dict:  # as `benchmarks.studies.study` keeps it
    "Train, or take what is there, and measure."
    changes = {"losses.kl": weight, "latent.prior": "fitted"}
    train_once("perov_mini", run, "tiny", None, a.epochs, seed, **changes)
    model, test = load_model(run), held_out("perov_mini", a.num)
    train = load_crystals("perov_mini", split="train", progress=False)
    found = dict(label=f"{weight:g}", weight=weight, seed=seed, data="perov_mini")
    found |= dict(training=json.loads((run / "run.json").read_text()), latent=latent_use(model, test))
    found |= dict(reconstruction={}, generations={})
    for z in ("mean", "sampled"):
        made = model.reconstruct(test, z=z, seed=seed, steps=NFE, progress=False).crystals
        metrics, each = rebuilt(made, test, REBUILT, workers=1, progress=False)
        found["reconstruction"][f"z {z}"] = metrics | each
    found["generations"]["fitted prior"] = new_ones(model, (train, test), a.num_new, seed)
    model.prior = StandardPrior(model.config.latent.dim)
    found["generations"]["N(0, 1)"] = new_ones(model, (train, test), a.num_new, seed)
    return found | dict(made_on=circumstances())


def finished(result: dict) -> dict:  # the result with seeds alone that have every weight
    "Leave out the models of a seed that is not finished."
    models = {k: m for k, m in result["models"].items()}
    seeds = [m["seed"] for m in models.values()]
    done = {s for s in seeds if seeds.count(s) == len(WEIGHTS)}
    return result | dict(models={k: m for k, m in models.items() if m["seed"] in done})


MISSING = "*Not stored in full: `python -m benchmarks.kl` makes it, and goes on where it stopped.*"


def read(home="../..") -> dict | None:
    "Read the stored sweep; None where no seed has every weight."
    path = Path(home) / "results/labs/kl.json"
    result = finished(json.loads(path.read_text())) if path.exists() else dict(models={})
    return result if result["models"] else None


def labels(result: dict) -> list[str]:
    "List the weights, the smallest first."
    return sorted({m["label"] for m in result["models"].values()}, key=float)


PRIORS = ("fitted prior", "N(0, 1)")


def rate_by(result: dict, metric: str, reading: str = "z mean") -> dict:  # weight -> scores, one a seed
    "Gather a rate of reconstruction, or under one of the priors of generation."
    found = lab_rates(result, reading, metric, "generations" if reading in PRIORS else "reconstruction")
    return {k: found[k] for k in labels(result)}


def latent_by(result: dict, key: str) -> dict:  # weight -> values, one a seed
    "Gather a number of the latent vector."
    take = lambda label: [m["latent"][key] for m in result["models"].values() if m["label"] == label]
    return {k: take(k) for k in labels(result)}


def spread(values: list, factor: float = 1.0, digits: int = 0) -> str:  # mean (least to most)
    "Say the mean over seeds, and from where to where they go."
    low, high = (f"{factor * f(values):.{digits}f}" for f in (min, max))
    mean = f"{factor * sum(values) / len(values):.{digits}f}"
    return mean if low == high else f"{mean} ({low} to {high})"


COLUMNS = {
    "match, %": ("match_rate", "z mean"),
    "strict, %": ("strict_rate", "z mean"),
    "match, z drawn, %": ("match_rate", "z sampled"),
    "composition exact, %": ("composition_exact", "z mean"),
}
NEW_COLUMNS = {"test set found, %": "METRe", "valid, %": "valid", "unique, %": "unique", "novel, %": "novel"}


def kl_table(result: dict) -> str:  # markdown
    "Put latent vector and reconstruction into a table: the mean over seeds, and the range."
    columns = [rate_by(result, *c) for c in COLUMNS.values()]
    numbers = [latent_by(result, k) for k in ("nats", "nats_fitted", "active", "above_noise")]
    rows = [
        [k, *(spread(n[k]) for n in numbers), *(spread([s["value"] for s in c[k]], 100) for c in columns)]
        for k in labels(result)
    ]
    head = ["KL weight", "nats to N(0, 1)", "nats to the fitted prior", "active dimensions", "above noise"]
    return table([*head, *COLUMNS], rows)


def new_table(result: dict) -> str:  # markdown
    "Put generation under both priors into a table."
    value = lambda k, prior, metric: [s["value"] for s in rate_by(result, metric, prior)[k]]
    rows = [
        [
            f"{k}, {prior}",
            *(spread(value(k, prior, m), 100) for m in NEW_COLUMNS.values()),
            spread(value(k, prior, "wdist_num_elements"), 1, 2),
        ]
        for k in labels(result)
        for prior in PRIORS
    ]
    return table(["KL weight, prior", *NEW_COLUMNS, "Wasserstein, elements"], rows)


def kl_figure(result: dict):  # -> a plotly figure
    "Draw reconstruction, nats and generation against the weight: a dot a seed, a line through the means."
    from plotly.subplots import make_subplots

    from dpcdvae.viz.atoms import paper
    from dpcdvae.viz.curves import COLORS

    percent = lambda *what: {k: [100 * s["value"] for s in v] for k, v in rate_by(result, *what).items()}
    lines = {
        "match": (1, percent("match_rate")),
        "strict match": (1, percent("strict_rate")),
        "to N(0, 1)": (2, latent_by(result, "nats")),
        "to the fitted prior": (2, latent_by(result, "nats_fitted")),
        "new, fitted prior": (3, percent("valid", PRIORS[0])),
        "new, N(0, 1)": (3, percent("valid", PRIORS[1])),
    }
    fig = make_subplots(1, 3, subplot_titles=["reconstructed, %", "nats a crystal", "new ones valid, %"])
    for (name, (col, by)), color in zip(lines.items(), COLORS):
        each = dict(line_color=color, legendgroup=name, name=name, row=1, col=col)
        dots = [(float(k), v) for k, values in by.items() for v in values]
        fig.add_scatter(x=[x for x, _ in dots], y=[y for _, y in dots], mode="markers", **each)
        means = [sum(v) / len(v) for v in by.values()]
        fig.add_scatter(x=[float(k) for k in by], y=means, mode="lines", showlegend=False, **each)
    ticks = dict(tickvals=[float(k) for k in labels(result)], ticktext=labels(result))
    fig.update_xaxes(type="log", title="KL weight", **ticks).update_yaxes(rangemode="tozero")
    fig.update_yaxes(type="log", col=2)
    return paper(fig, height=360, legend=dict(orientation="h", y=-0.3), margin=dict(l=40, r=10, t=40, b=40))


def agreeing(scores: list, base: list) -> str:
    "Count the seeds whose difference has the sign of the whole."
    signs = [(a["count"] > b["count"]) - (a["count"] < b["count"]) for a, b in zip(scores, base)]
    whole = sum(a["count"] - b["count"] for a, b in zip(scores, base))
    return f"{sum(s * whole > 0 for s in signs)} of {len(signs)} seeds agree" if whole else "no difference"


def pairs_of(scores: dict, pairs: list) -> dict:  # (weight, weight it is compared with) -> test
    "Compare rates of weights on the same crystals by McNemar's exact test, 5 % shared among the pairs."
    tests = {}
    for ours, base in pairs:
        test, paired = compared(scores[ours], scores[base])
        if not paired:
            raise ValueError(f"weights {ours} and {base}: what became of each crystal is not stored")
        seeds = agreeing(scores[ours], scores[base])
        tests[ours, base] = test | dict(decided=test["p"] < 0.05 / len(pairs), seeds=seeds)
    return tests


def neighbours(scores: dict) -> dict:
    "Compare each weight with the next smaller one."
    names = sorted(scores, key=float)
    return pairs_of(scores, list(zip(names[1:], names)))


def best_and_worst(scores: dict) -> tuple:  # weight, weight, test
    "Compare the best weight with the worst: one of all pairs, and so at the level of all pairs."
    best, worst = (f(scores, key=lambda k: pooled(scores[k])) for f in (max, min))
    test, _ = compared(scores[best], scores[worst])
    count = len(scores) * (len(scores) - 1) // 2
    return best, worst, test | dict(decided=test["p"] < 0.05 / count)


def between_priors(result: dict, metric: str) -> dict:  # weight -> test: fitted against standard
    "Compare new crystals under the two priors: McNemar's test of what they find, Fisher's of what they are."
    fitted, standard = (rate_by(result, metric, p) for p in PRIORS)
    tests = {k: compared(fitted[k], standard[k])[0] for k in labels(result)}
    seeds = {k: agreeing(fitted[k], standard[k]) for k in tests}
    return {k: t | dict(decided=t["p"] < 0.05 / len(tests), seeds=seeds[k]) for k, t in tests.items()}


def steps_list(result: dict) -> str:  # markdown
    "Say what each comparison decides."
    rules = {"the field's rule": "match_rate", "the strict rule": "strict_rate"}
    groups = {
        f"Reconstruction by {rule}, against the next smaller weight": {
            f"{ours} against {base}": t for (ours, base), t in neighbours(rate_by(result, metric)).items()
        }
        for rule, metric in rules.items()
    }
    for what, metric in (("Test crystals found", "METRe"), ("Valid new crystals (Fisher's test)", "valid")):
        groups[f"{what} under the fitted prior, against N(0, 1)"] = between_priors(result, metric)
    said = lambda tests: [f"- {k}: {conclusion(t, len(tests))}, {t['seeds']}" for k, t in tests.items()]
    return "\n".join(line for title, tests in groups.items() for line in (f"*{title}*", *said(tests), ""))


def share(scores: list) -> str:
    return f"{100 * pooled(scores):.0f} %"


def steps_to(names: list) -> str:
    return f"at the step{'s' * (len(names) > 1)} to {listed(names)}" if names else "at no step"


def reconstruction_answer(result: dict) -> str:  # sentences
    "Say what the weight does to reconstruction, by the field's rule."
    rates = rate_by(result, "match_rate")
    best, worst, test = best_and_worst(rates)
    decided = [(ours, t["difference"]) for (ours, _), t in neighbours(rates).items() if t["decided"]]
    lost, gained = ([ours for ours, d in decided if sign * d > 0] for sign in (-1, 1))
    return (
        f"{share(rates[best])} of the held-out crystals match with the weight {best}, {share(rates[worst])} "
        f"with {worst} ({'decided' if test['decided'] else 'undecided'}, McNemar's "
        f"p = {test['p']:.1g}). From one weight to the next larger one matches are lost {steps_to(lost)}, "
        f"and gained {steps_to(gained)}."
    )


def silent_answer(result: dict) -> str:  # sentences
    "Say at which weight the dimensions of the latent vector fall below the noise."
    above, nats, active = (latent_by(result, k) for k in ("above_noise", "nats", "active"))
    dim = next(iter(result["models"].values()))["latent"]["dim"]
    mean = lambda values: sum(values) / len(values)
    silent = [k for k in labels(result) if mean(above[k]) < dim / 2]
    where = (
        f"It falls silent at {silent[0]}, the first weight with which less than half of the {dim} dimensions "
        "vary over crystals more than they are uncertain"
        if silent
        else f"It does not fall silent: with every weight at least half of the {dim} dimensions vary over "
        "crystals more than they are uncertain"
    )
    each = listed([f"{spread(above[k])} with {k}" for k in labels(result)])
    last = labels(result)[-1]
    return (
        f"{where}: {each}. It is not gone then: with {last} it still holds {spread(nats[last])} nats, and by "
        f"the usual count {spread(active[last])} of its dimensions are active."
    )


def came_out(held: bool) -> str:
    return "as predicted" if held else "against the prediction"


def low_weights(result: dict) -> str:
    "Check the predictions about the smallest weights and about 0.01, by the field's rule."
    tests = neighbours(rate_by(result, "match_rate"))
    first, released = tests["0.001", "0.0001"], tests["0.01", "0.001"]
    points = lambda t: f"{100 * t['difference']:+.0f} points"
    least = lambda t: f"four of five such trials would show about {100 * seen(t, len(tests)):.0f}"
    changed = f"changes it ({points(first)}), {came_out(False)}"
    same = f"changes nothing that could be seen ({points(first)}; {least(first)}), {came_out(True)}"
    falls = released["decided"] and released["difference"] < 0
    loss = f"costs {points(released)}" if falls else f"shows no loss ({points(released)}; {least(released)})"
    return (
        f"Between 0.0001 and 0.001 the weight {changed if first['decided'] else same}. "
        f"The released 0.01 {loss}, {came_out(falls)}."
    )


def high_weight(result: dict) -> str:
    "Say what is left with the largest weight, where chance was predicted."
    left = share(rate_by(result, "match_rate")["1"])
    return (
        f"{left} match with 1; chance was predicted, and what a decoder without latent vector would match "
        "was not measured."
    )


def ahead(result: dict, metric: str) -> str:
    "Say at which weights each prior is ahead."
    decided = {k: t["difference"] for k, t in between_priors(result, metric).items() if t["decided"]}
    fitted, standard = ([k for k, d in decided.items() if sign * d > 0] for sign in (1, -1))
    return f"the fitted prior is ahead at {listed(fitted)}, N(0, 1) at {listed(standard)}"


def generation_answer(result: dict) -> str:  # sentences
    "Say under which prior new crystals are valid, and find more of the test set."
    valid = {p: rate_by(result, "valid", p) for p in PRIORS}
    top = {p: max(scores, key=lambda k: pooled(scores[k])) for p, scores in valid.items()}
    fitted, standard = (f"{share(valid[p][top[p]])} with the weight {top[p]}" for p in PRIORS)
    held = float(top[PRIORS[0]]) <= 1e-3, float(top[PRIORS[1]]) >= 0.1
    best, _ = compared(*(valid[p][top[p]] for p in PRIORS))
    apart = "differ" if best["p"] < 0.05 else "cannot be distinguished"
    return (
        f"Of the new crystals at most {fitted} are valid under the fitted prior ({came_out(held[0])}: a "
        f"small weight), and {standard} under N(0, 1) ({came_out(held[1])}: a large one); the two "
        f"best {apart} ({100 * best['difference']:+.0f} points, Fisher's p = {best['p']:.1g}). "
        f"By valid crystals {ahead(result, 'valid')} (Fisher); by the test crystals found, "
        f"{ahead(result, 'METRe')} (McNemar)."
    )


def elsewhere(result: dict, switches: dict) -> str:  # a sentence
    "Compare what the weight 0.01 does to the preset gemnet on Perov-5 with what it does in the sweep."
    found = [lab_rates(switches, "free, mean").get(k, []) for k in ("KL weight 0.01", "as it is")]
    num = min(map(len, found))
    if not num:
        return ""
    there = [scores[:num] for scores in found]
    here = [rate_by(result, "match_rate")[k] for k in ("0.01", "0.001")]
    tests = [compared(*pair)[0] for pair in (there, here)]
    ways = [sign_of(*pair, 1) for pair in (there, here)]
    said = [f"from {share(pair[1])} to {share(pair[0])}" for pair in (there, here)]
    decided = ["" if w else ", undecided" for w in ways]
    return (
        f"It came out {'alike' if ways[0] == ways[1] else 'otherwise'} there: with 0.01 instead of 0.001 the "
        f"match rate goes {said[0]} in {number_of(num, 'training')} (Fisher's p = {tests[0]['p']:.1g}"
        f"{decided[0]}), in the sweep {said[1]} (McNemar's p = {tests[1]['p']:.1g}{decided[1]})."
    )


def kl_answer(result: dict) -> str:  # markdown
    "Answer each question and each prediction from the stored runs."
    return "\n".join(
        [
            f"- **Reconstruction.** {reconstruction_answer(result)} {low_weights(result)} "
            + high_weight(result),
            f"- **When does the latent vector fall silent?** {silent_answer(result)}",
            f"- **Generation.** {generation_answer(result)}",
        ]
    )


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.kl", description=__doc__)
    p.add_argument("--runs", type=Path, default=Path("runs/labs/kl"))
    p.add_argument("--out", type=Path, default=Path("results/labs/kl.json"))
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--num", type=int, default=150)
    p.add_argument("--num-new", type=int, default=100)
    a = p.parse_args()
    plan = dict(name="kl", data="perov_mini", preset="tiny", max_time=None, max_epochs=a.epochs)
    plan |= dict(num_test=a.num, num_new=a.num_new, steps=NFE)
    result = go_on(a.out, plan, models={})
    for seed in (0, 1, 2):
        for weight in WEIGHTS:
            name = f"{weight:g}, seed {seed}"
            if name not in result["models"]:
                result["models"][name] = one(
                    a.runs / name.replace(", ", "-").replace(" ", ""), weight, seed, a
                )
                atomic_write(a.out, json.dumps(result, indent=1) + "\n")
                m = result["models"][name]
                print(name, m["latent"], m["reconstruction"]["z mean"]["match_rate"]["value"], flush=True)


if __name__ == "__main__":
    main()
