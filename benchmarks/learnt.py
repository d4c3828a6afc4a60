"""The open questions on one screen: what was compared, what came out, how sure that is"""

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.labs import by_seed, compared, fisher, lab_rates, pooled, seen
from benchmarks.tables import by_chance
from dpcdvae.data.files import number_of


@dataclass(frozen=True)
class Question:
    "One question, and the two groups of stored runs that answer it."

    ask: str
    file: str  # in results/
    change: tuple[str, str]  # label and reading of what is tried
    base: tuple[str, str]  # label and reading of what it is compared with
    metric: str = "match_rate"
    of: str = "reconstruction"  # or generations
    more: str = ""  # the answer where the change matches more crystals
    less: str = ""  # and where it matches fewer
    nothing: str = ""  # and where it matches none
    undecided: str = "Undecided"
    lab: str = ""  # notebook with the whole story
    main: bool = False  # on the first screen


FREE, FORCED = "free, mean", "composition forced"
QUESTIONS = (
    Question(
        "Does GINE lower the match rate at equal time (Perov-5)?",
        "presets.json",
        ("paper-gine", FORCED),
        ("paper", FORCED),
        more="No, it raises it.",
        less="Yes.",
        lab="labs/d_gine",
    ),
    Question(
        "Does GINE lower the match rate of the paper's preset in small (Perov-5, composition given)?",
        "labs/gine-perov.json",
        ("paper-gine", FORCED),
        ("paper", FORCED),
        more="No, it raises it.",
        less="Yes, as predicted.",
        lab="labs/d_gine",
        main=True,
    ),
    Question(
        "And recentred, as the paper's base model is?",
        "labs/gine-perov.json",
        ("paper-gine, recentred", FORCED),
        ("paper", FORCED),
        more="No, it raises it.",
        less="Yes, as predicted.",
        lab="labs/d_gine",
    ),
    Question(
        "Does GINE matter on Perov-5 where all else is equal and the environment has no path?",
        "labs/gine-perov.json",
        ("GINE as released", FREE),
        ("without GINE", FREE),
        more="Yes, it helps, against the prediction.",
        less="Yes, it costs, against the prediction.",
        lab="labs/d_gine",
    ),
    Question(
        "Does GINE matter where the environment has a path of its own?",
        "labs/gine.json",
        ("GINE as released", FREE),
        ("without GINE", FREE),
        more="Yes, it helps.",
        less="Yes, it costs.",
        lab="labs/d_gine",
    ),
    Question(
        "Does GINE matter on Carbon-24, where the environment has no path?",
        "labs/gine-carbon.json",
        ("GINE as released", FREE),
        ("without GINE", FREE),
        more="Yes, it helps.",
        less="Yes, it costs.",
        lab="labs/d_gine",
        main=True,
    ),
    Question(
        "And strictly?",
        "labs/gine-carbon.json",
        ("GINE as released", FREE),
        ("without GINE", FREE),
        metric="strict_rate",
        more="Yes, it helps.",
        less="Yes, it costs.",
        lab="labs/d_gine",
    ),
    Question(
        "Does the paper's sigmoid schedule serve better than the linear one?",
        "labs/schedules.json",
        ("sigmoid", FREE),
        ("linear", FREE),
        more="Yes, as predicted.",
        less="No, worse, against the prediction.",
        lab="labs/b_schedules",
        main=True,
    ),
    Question(
        "And than the quadratic one?",
        "labs/schedules.json",
        ("sigmoid", FREE),
        ("quadratic", FREE),
        more="Yes, as predicted.",
        less="No, worse, against the prediction.",
        lab="labs/b_schedules",
    ),
    Question(
        "And than the cosine one?",
        "labs/schedules.json",
        ("sigmoid", FREE),
        ("cosine", FREE),
        more="Yes, as predicted.",
        less="No, worse, against the prediction.",
        lab="labs/b_schedules",
    ),
    Question(
        "Does it serve better still with no signal left at its end (predicted: little changes)?",
        "labs/schedules.json",
        ("sigmoid+ztsnr", FREE),
        ("sigmoid", FREE),
        more="Yes.",
        less="No, worse.",
        lab="labs/b_schedules",
    ),
    Question(
        "Can the boundary be left to the end, with DDIM?",
        "labs/boundary.json",
        ("Gaussian, recentred", "ddim, at the end"),
        ("Gaussian, recentred", "ddim, every step"),
        more="Yes: that is even better.",
        less="No.",
        undecided="No loss seen",
        lab="labs/c_boundary",
        main=True,
    ),
    Question(
        "Can it be left to the end, with the released step?",
        "labs/boundary.json",
        ("Gaussian, recentred", "modified, at the end"),
        ("Gaussian, recentred", "modified, every step"),
        more="Yes: that is even better.",
        less="No.",
        nothing="No: nothing matches.",
        undecided="No loss seen",
        lab="labs/c_boundary",
        main=True,
    ),
    Question(
        "Is every tenth step enough for the released step?",
        "labs/boundary.json",
        ("Gaussian, recentred", "modified, every 10th"),
        ("Gaussian, recentred", "modified, every step"),
        metric="strict_rate",
        more="Yes, it is even better.",
        less="No.",
        undecided="No loss seen",
        lab="labs/c_boundary",
    ),
    Question(
        "Does a KL weight of 0.01, as released, cost reconstruction (Perov-5, default: 0.001)?",
        "switches.json",
        ("KL weight 0.01", FREE),
        ("as it is", FREE),
        more="No, it helps.",
        less="Yes: composition is lost first.",
        lab="labs/m_kl",
    ),
    Question(
        "Does the released KL weight (0.01; default: 0.001) cost reconstruction in small (Perov-5)?",
        "labs/kl-perov.json",
        ("KL weight 0.01", FREE),
        ("KL weight 0.001", FREE),
        more="No, it helps, against the prediction.",
        less="Yes, as predicted.",
        lab="labs/m_kl",
        main=True,
    ),
    Question(
        "And with the composition given (predicted: no)?",
        "labs/kl-perov.json",
        ("KL weight 0.01", FORCED),
        ("KL weight 0.001", FORCED),
        more="No, it helps.",
        less="Yes.",
        lab="labs/m_kl",
    ),
    Question(
        "Does it cost reconstruction in small models of perov_mini?",
        "labs/kl.json",
        ("0.01", "z mean"),
        ("0.001", "z mean"),
        more="No, it helps.",
        less="Yes.",
        lab="labs/m_kl",
    ),
    Question(
        "Are more new crystals valid under a fitted prior than under N(0, 1), at 0.001?",
        "labs/kl.json",
        ("0.001", "fitted prior"),
        ("0.001", "N(0, 1)"),
        metric="valid",
        of="generations",
        more="Yes.",
        less="No, fewer.",
        lab="labs/m_kl",
        main=True,
    ),
    Question(
        "Does Gaussian noise, wrapped at every step, lose against the wrapped normal, with DDIM?",
        "labs/torus.json",
        ("Gaussian", "ddim"),
        ("wrapped normal", "ddim"),
        more="No, it wins.",
        less="Yes.",
        lab="labs/e_torus",
        main=True,
    ),
    Question(
        "And wrapped only at the end, where composition and cell are given?",
        "labs/boundary.json",
        ("Gaussian", "ddim, at the end"),
        ("wrapped normal", "ddim, at the end"),
        more="No, it wins.",
        less="Yes.",
        undecided="No loss seen",
        lab="labs/e_torus",
        main=True,
    ),
    Question(
        "And wrapped at every step, with the released step, strictly, in small models?",
        "labs/torus.json",
        ("Gaussian", "modified"),
        ("wrapped normal", "modified"),
        metric="strict_rate",
        more="No, it wins.",
        less="Yes.",
        lab="labs/e_torus",
    ),
    Question(
        "And with the released step (Perov-5, three seeds)?",
        "switches.json",
        ("Gaussian noise, sigmoid schedule", FREE),
        ("as it is", FREE),
        more="No, it wins.",
        less="Yes.",
        lab="labs/e_torus",
    ),
    Question(
        "Does DP-CDVAE match more than CDVAE after equal time (Perov-5, composition given)?",
        "presets.json",
        ("paper", FORCED),
        ("cdvae", FORCED),
        more="Yes.",
        less="No, fewer.",
        lab="labs/a_baseline",
    ),
    Question(
        "Does DP-CDVAE match more than CDVAE in small models, after as many epochs?",
        "labs/baseline.json",
        ("paper", FORCED),
        ("cdvae", FORCED),
        more="Yes, as predicted.",
        less="No, fewer, against the prediction.",
        lab="labs/a_baseline",
        main=True,
    ),
    Question(
        "And where their species are ignored?",
        "labs/baseline.json",
        ("paper", FORCED),
        ("cdvae", FORCED),
        metric="match_rate_anonymous",
        more="Yes, too.",
        less="No, fewer.",
        lab="labs/a_baseline",
        main=True,
    ),
    Question(
        "Does GINE lower the match rate of the paper's preset in small, after as many epochs?",
        "labs/baseline.json",
        ("paper-gine", FORCED),
        ("paper", FORCED),
        more="No, it raises it.",
        less="Yes.",
        lab="labs/a_baseline",
    ),
    Question(
        "Is the skip connection of the environment needed?",
        "labs/paths.json",
        ("without local environment", FREE),
        ("all skip connections", FREE),
        more="No.",
        less="Yes.",
        lab="labs/g_paths",
        main=True,
    ),
    Question(
        "And for the places alone, species ignored?",
        "labs/paths.json",
        ("without local environment", FREE),
        ("all skip connections", FREE),
        metric="match_rate_anonymous",
        more="No, the places are even better.",
        less="Yes.",
        lab="labs/g_paths",
    ),
    Question(
        "Is the cell's skip connection needed, strictly, where the environment's is gone (predicted: yes)?",
        "labs/paths.json",
        ("without local environment and cell", FREE),
        ("without local environment", FREE),
        metric="strict_rate",
        more="No.",
        less="Yes.",
        lab="labs/g_paths",
    ),
    Question(
        "And that of the composition, where both are gone?",
        "labs/paths.json",
        ("none", FREE),
        ("without local environment and cell", FREE),
        metric="composition_exact",
        more="No.",
        less="Yes.",
        lab="labs/g_paths",
    ),
)


def scores(result: dict, label: str, reading: str, metric: str, of: str) -> list:
    "Gather the scores of a label, one a seed; of Perov-5 where a file has several sets."
    others = {k: m for k, m in result["models"].items() if not k.startswith("carbon_24")}
    return lab_rates(result | dict(models=others or result["models"]), reading, metric, of).get(label, [])


def measured(q: Question, folder: Path) -> tuple[list, list] | None:  # of as many seeds each
    "Gather what is tried and what it is compared with; None where a run is missing."
    path = Path(folder) / q.file
    if not path.exists():
        return None
    result = json.loads(path.read_text())
    both = [scores(result, *pair, q.metric, q.of) for pair in (q.change, q.base)]
    seeds = min(map(len, both))
    return tuple(found[:seeds] for found in both) if seeds else None


NOT_MEASURED = dict(said="not measured", points="–", sure="–", runs="–", decided=False)


def answer(q: Question, folder: Path) -> dict:  # said, points, sure, runs, decided
    "Answer one question from its stored runs, by the test of `benchmarks.labs`."
    both = measured(q, folder)
    if both is None:
        return NOT_MEASURED
    test, paired = compared(*both)
    ours, theirs = map(pooled, both)
    points = f"{100 * ours:.0f} against {100 * theirs:.0f} %"
    if "low" in test:
        points += f", difference [{100 * test['low']:.0f}, {100 * test['high']:.0f}]"
    sure = f"p = {test['p']:.1g}, {'McNemar' if paired else 'Fisher'}"
    each = by_seed(*both)
    said = q.more if test["difference"] > 0 else q.less
    if q.nothing and not ours:
        said = q.nothing
    if min(each) < 0 < max(each):
        said += " Not with every seed, though."
    if len(each) == 1:
        said = f"In one training: {said[0].lower()}{said[1:]}"
    decided = test["p"] < 0.05 / len(QUESTIONS)
    if not decided:
        least = number_of(round(100 * seen(test, len(QUESTIONS))), "point")
        said = f"{q.undecided}: four of five such trials would show about {least}."
    runs = f"{number_of(len(both[0]), 'seed')}, {both[0][0]['total']} crystals each"
    if len(each) > 1:
        runs += f": {', '.join(f'{d:+.0f}' for d in each)} points"
    return dict(said=said, points=points, sure=sure, runs=runs, decided=decided)


def stored_pairs(
    folder="results",
) -> list:  # (question, (rate of what is tried, of what it is compared with))
    "Gather the two rates of each question that has stored runs, to draw them."
    found = ((q.ask, measured(q, folder)) for q in QUESTIONS)
    return [(ask, tuple(map(pooled, both))) for ask, both in found if both]


def chance_levels(folder="results") -> str:  # a sentence
    "Say how many crystals random coordinates in the true cell match, by both rules."
    models = json.loads((Path(folder) / "strict.json").read_text())["models"]
    return by_chance((m["data"], m["metrics"]) for m in models.values())


NEW = {  # arms of benchmarks.stability -> what they are
    "mp-20-draw-t0.5": "drawn once",
    "mp-20-draw-t0.5-of8-new": "drawn eight times, formulas of the training set left out",
    "exchange": "one ion exchanged at random",
    "mp-20-substitute-of8": "one ion exchanged, known formulas left out, the best of eight",
}


CREATED = {  # metrics of benchmarks.stability -> what they count
    "metastable_08": "metastable",
    "msun_08": "metastable, unique and novel",
}


def created(metric: str, files: dict) -> str:  # arm -> its file; a sentence
    "Compare a share of new crystals where the model chooses with that where it does not, by Fisher's test."
    found = {name: json.loads(f.read_text())["metrics"][metric] for name, f in files.items()}
    said = lambda name: f"{NEW[name]}: {100 * found[name]['value']:.0f} % of {found[name]['total']}"
    p = lambda a, b: fisher(*(found[name][k] for name in (b, a) for k in ("count", "total")))["p"]
    pairs = list(zip(list(NEW)[::2], list(NEW)[1::2]))
    tried = (f"{said(a)}, {said(b)} (Fisher's p = {p(a, b):.1g})" for a, b in pairs)
    return f"{CREATED[metric].capitalize()}: {'; '.join(tried)}."


def creation(folder="results") -> str:  # sentences
    "Say what new crystals gain where the model chooses among them, and how sure that is."
    files = {name: Path(folder) / f"stability-{name}.json" for name in NEW}
    return (
        "New crystals of mp-20 within 0.08 eV/atom of the hull (CHGNet). In the second of each pair the "
        "model keeps the candidate that it denoises best; no energy was computed to choose. "
        + " ".join(created(metric, files) for metric in CREATED)
        + " Two things differ within a pair: formulas of the training set are left out, which makes a "
        "crystal novel by its formula, and the best of eight is kept. What choosing alone brings was not "
        "measured."
    )


def answers_of(notebook: str, folder="results") -> str:  # markdown
    "Answer the questions of a lab, a sentence each, from stored runs."
    each = ((q, answer(q, Path(folder))) for q in QUESTIONS if q.lab == f"labs/{notebook}")
    return "\n".join(
        f"- {q.ask} **{a['said']}** ({PREFIX.get(q.metric, '')}{a['points']}; {a['sure']}; {a['runs']})"
        for q, a in each
    )


PREFIX = dict(
    strict_rate="strict: ",
    valid="valid: ",
    match_rate_anonymous="species ignored: ",
    composition_exact="composition exact: ",
)  # what a rate is, where not the field's match


def learnt_table(folder="results", questions=QUESTIONS) -> str:  # markdown
    "Put questions and their answers into a table."
    rows = [
        "| question | answer | field's match rate, or as named | how sure | runs | lab |",
        "|---|---|---|---|---|---|",
    ]
    for q in questions:
        a = answer(q, Path(folder))
        rate = PREFIX.get(q.metric, "") * (a != NOT_MEASURED) + a["points"]
        lab = f"[{Path(q.lab).name[0].upper()}](../{q.lab}.ipynb)" if q.lab else ""
        rows.append(f"| {q.ask} | {a['said']} | {rate} | {a['sure']} | {a['runs']} | {lab} |")
    return "\n".join(rows)
