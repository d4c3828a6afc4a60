"""What labs answer in sentences, computed from stored runs"""

import json
from pathlib import Path

from benchmarks.energies import agreement
from benchmarks.labs import compared, conclusion, lab_rates, listed, pooled

SAME = 10.0  # meV/atom between two relaxed crystals, below which a match is the same minimum
ENDS = ("same minimum", "matches elsewhere", "no match")


def end_of(row: dict) -> str:  # one of ENDS
    "Say where a reconstruction ends after relaxing: `left` is its energy over the target's (meV/atom)."
    if not row.get("back"):
        return "no match"
    return "same minimum" if abs(row["left"]) < SAME else "matches elsewhere"


def chance_of(data: str, folder) -> dict:  # rate
    "Read how many crystals random coordinates in the true cell match."
    models = json.loads((Path(folder) / "strict.json").read_text())["models"].values()
    return next(m["metrics"]["match_chance"] for m in models if m["data"] == data)


def regained_answer(result: dict, chance: dict) -> str:  # sentences
    "Say how many reconstructions end in their target's minimum, from the row of each crystal."
    rows = result["crystals"]
    ends = [end_of(r) for r in rows]
    lower = sum(r.get("left", 0) < -SAME for r in rows)
    energy = lambda k: "{value:.0f} meV/atom [{low:.0f}, {high:.0f}]".format(**result["metrics"][k])
    counts = {k: result["metrics"][k]["count"] for k in ("above", "left")}
    reasons = ", ".join(f"{k} {n}" for k, n in result["reasons"].items())
    return (
        f"After relaxing, {len(rows) - ends.count('no match')} of {len(rows)} crystals match their target by "
        f"the field's rule, of which random coordinates in the true cell alone pass "
        f"{100 * chance['value']:.0f} % in this set ({chance['count']} of {chance['total']}); "
        f"{ends.count('same minimum')} of {len(rows)} are in the same minimum, that is they match and end "
        f"within {SAME:.0f} meV/atom of the target. {lower} end more than that below the target. "
        f"Reconstructions lie {energy('above')} above the target ({counts['above']} crystals), "
        f"{energy('left')} after relaxing ({counts['left']} crystals)."
        + (f" Not counted there: {reasons}." if reasons else "")
    )


def sign_of(scores: list, base: list, comparisons: int) -> int:  # 1: more, -1: fewer, 0: undecided
    "Compare two labels at the level of 5 % shared among some comparisons."
    test, _ = compared(scores, base)
    return (test["p"] < 0.05 / comparisons) * (1 if test["difference"] > 0 else -1)


def against(scores: list, base: list) -> str:
    return f"{100 * pooled(scores):.0f} against {100 * pooled(base):.0f} %"


HOW_MANY = {1: "more", -1: "fewer", 0: "about as many (undecided)"}


def baseline_answer(result: dict) -> str:  # sentences
    "Say whether DP-CDVAE matches more than CDVAE by its species or by its places."
    pairs = []
    for metric in ("match_rate", "composition_exact", "match_rate_anonymous"):
        rates = lab_rates(result, "composition forced", metric)
        pairs.append((rates["paper"], rates["cdvae"]))
    match, exact, places = (sign_of(*pair, len(pairs)) for pair in pairs)
    rates = [against(*pair) for pair in pairs]
    said = (
        f"In small models with the composition given DP-CDVAE matches {HOW_MANY[match]} crystals than CDVAE "
        f"({rates[0]}), ends with the given composition in {HOW_MANY[exact]} ({rates[1]}), and matches "
        f"{HOW_MANY[places]} where species are ignored ({rates[2]})."
    )
    if match * exact > 0 >= match * places:
        first = "DP-CDVAE" if match > 0 else "CDVAE"
        other = "CDVAE" if match > 0 else "DP-CDVAE"
        said += f" So {first} matches more because more of its species stay right"
        said += f"; with species ignored {other} is ahead." if places else "."
    return (
        f"{said} Each model has a cell of its own: which places atoms better in the same cell was not "
        "measured."
    )


SUSPECTS = ("mean over the atoms", "distance on a basis", "joined by a line", "all three")
MATTERS = {1: "costs matches", -1: "helps", 0: "costs nothing that could be seen"}


def by_both(field: str, strict: str) -> str:
    return f"{field} by either rule" if field == strict else f"{field} by the field's rule, {strict} strictly"


def gine_answer(result: dict) -> str:  # sentences
    "Say whether GINE costs matches, whether replacing a suspect brings them back, and what recentring does."
    rules = [lab_rates(result, "free, mean", metric) for metric in ("match_rate", "strict_rate")]
    cost = [sign_of(r["without GINE"], r["GINE as released"], 1 + len(SUSPECTS)) for r in rules]
    better = lambda s, r: sign_of(r[s], r["GINE as released"], 1 + len(SUSPECTS)) > 0
    guilty = [s for s in SUSPECTS if any(better(s, r) for r in rules)]
    centred = [sign_of(r["Gaussian, recentred"], r["Gaussian"], 1) for r in rules]
    effect = {1: "brings matches", -1: "costs matches", 0: "is undecided"}
    convicted = (
        f"Matches come back with {listed(guilty)}."
        if guilty
        else "No suspect can be convicted: no replacement matches decidedly more than GINE as released."
    )
    return (
        f"In these small models GINE as released {by_both(*(MATTERS[c] for c in cost))}. {convicted} "
        f"Recentring {by_both(*(effect[c] for c in centred))}."
    )


PEROV_GINE = {  # what is tried -> what it is compared with, and how many decisions share the level
    "GINE as released": ("without GINE", 1),
    "paper-gine": ("paper", 2),
    "paper-gine, recentred": ("paper", 2),
}


def gine_perov_answer(result: dict) -> str:  # sentences
    "Say whether GINE costs matches on Perov-5, alone and in the paper's preset, recentred or not."
    rules = [lab_rates(result, "composition forced", metric) for metric in ("match_rate", "strict_rate")]
    costs = {
        label: by_both(*(MATTERS[sign_of(r[base], r[label], shared)] for r in rules))
        for label, (base, shared) in PEROV_GINE.items()
    }
    return (
        f"On Perov-5 itself, with the composition given, GINE as released {costs['GINE as released']} where "
        "all else is equal and the environment has no path; in the paper's preset, cut down, GINE as "
        f"published (without recentring) {costs['paper-gine']}; recentred as `paper` is, it "
        f"{costs['paper-gine, recentred']}."
    )


def kl_perov_answer(result: dict) -> str:  # sentences
    "Say what the released KL weight costs on Perov-5, with z's composition and with the true one."
    pairs = {}
    for reading in ("free, mean", "composition forced"):
        rates = lab_rates(result, reading)
        pairs[reading] = rates["KL weight 0.01"], rates["KL weight 0.001"]
    exact = lab_rates(result, "free, mean", "composition_exact")
    kept = against(exact["KL weight 0.01"], exact["KL weight 0.001"])
    said = [f"{HOW_MANY[sign_of(*pair, len(pairs))]} ({against(*pair)})" for pair in pairs.values()]
    return (
        f"With 0.01 instead of 0.001 match {said[0]} where the composition is read from z, which is exact in "
        f"{kept}; with the composition given match {said[1]}."
    )


def lost_by(result: dict, metric: str, samplers) -> dict:  # sampler -> (scores, base, points, sign)
    "Compare the Gaussian with the wrapped normal under each sampler."
    found = {}
    for name in samplers:
        rates = lab_rates(result, name, metric)
        ours, base = rates["Gaussian"], rates["wrapped normal"]
        points = 100 * (pooled(ours) - pooled(base))
        found[name] = ours, base, points, sign_of(ours, base, 2 * len(samplers))
    return found


def torus_answer(result: dict, boundary: dict, samplers=("modified", "ddpm", "ddim")) -> str:  # sentences
    "Say with which sampler the Gaussian loses most, and how much of that is the wrapping at every step."
    rules = {
        rule: lost_by(result, metric, samplers)
        for rule, metric in (("the field's rule", "match_rate"), ("the strict one", "strict_rate"))
    }
    loses = {rule: [s for s, x in found.items() if x[3] < 0] for rule, found in rules.items()}
    held = loses["the field's rule"] == ["ddim"]
    said = (
        f"Predicted was that the Gaussian, wrapped at every step, loses with ddim alone. "
        f"{'So it is' if held else 'It came out otherwise'}: by the field's rule it loses with "
        f"{listed(loses[next(iter(rules))])}, by the strict one with {listed(loses['the strict one'])}."
    )
    for rule, found in rules.items():
        worst = min(found, key=lambda s: found[s][2])
        said += f" By {rule} {worst} suffers most ({against(*found[worst][:2])})."
    return f"{said} {wrapping_answer(boundary)}"


def wrapping_answer(boundary: dict) -> str:  # sentences
    "Say how much of what the Gaussian loses with DDIM is lost by wrapping at every step."
    when = ("every step", "at the end")
    found = lost_by(boundary, "match_rate", [f"ddim, {w}" for w in when])
    (*every, every_points, _), (*end, end_points, end_sign) = (found[f"ddim, {w}"] for w in when)
    decided = {1: "more", -1: "fewer", 0: "undecided"}[end_sign]
    said = (
        f"In [lab C](c_boundary.ipynb), where composition and cell are given, ddim matches "
        f"{100 * pooled(every[0]):.0f} % with the Gaussian wrapped at every step and "
        f"{100 * pooled(end[0]):.0f} % with it wrapped only at the end, against {100 * pooled(end[1]):.0f} % "
        f"with the wrapped normal (the second difference: {decided})"
    )
    if every_points >= 0:
        return f"{said}: nothing is lost there that the wrapping could explain."
    share = 1 - end_points / every_points
    most = "most of the loss" if share > 0.5 else "less than half of the loss"
    return f"{said}: {100 * share:.0f} % of the difference, {most}, is the wrapping."


def twin_halves(m: dict) -> tuple[list, list]:  # scores of the crystals with a twin, and without one
    "Split the counts of a reconstruction by whether a training crystal has the same reduced formula."
    a, b = m["match_rate"], m["match_rate_twin_free"]
    return [dict(count=a["count"] - b["count"], total=a["total"] - b["total"])], [b]


def twins_answer(name: str, m: dict, num_train: int) -> str:  # sentences
    "Say how much of a match rate may be memory of a twin, and what is lost by composition and arrangement."
    with_twin, without = twin_halves(m)
    test, _ = compared(with_twin, without)
    sign = sign_of(with_twin, without, 1)
    memory = {
        1: f"up to {100 * test['difference']:.0f} points of the match rate with a twin may be memory of it",
        -1: "a twin does not help, so nothing of the match rate shows as memory of it",
        0: "no memory was seen",
    }[sign]
    exact, matched = (m[k]["count"] for k in ("composition_exact", "match_rate"))
    alike = m["match_rate_anonymous"]["count"] == m["match_rate_anonymous"]["total"]
    return (
        f"**{name}**: {with_twin[0]['total']} of {m['match_rate']['total']} test crystals have a twin among "
        f"the {num_train:,} training crystals. With a twin {100 * pooled(with_twin):.0f} % match, without "
        f"one {100 * pooled(without):.0f} %: {memory} ({conclusion(test, 1)}, Fisher's test). "
        f"{exact} of {m['match_rate']['total']} have the right composition, and {matched} match: "
        f"{m['match_rate']['total'] - exact} are lost by composition and {max(exact - matched, 0)} by "
        + ("arrangement, since all match where species are ignored." if alike else "places or arrangement.")
    )


NEAR = {"generated": "Nearer to rest", "four-calls": "Far from rest"}


def trust_answer(result: dict) -> str:  # markdown
    "Say how far the surrogate agrees with the second calculator, for each source of crystals."
    lines, found = [], [r for r in result["crystals"] if "second" in r]
    for source in dict.fromkeys(r["source"] for r in found):
        rows = [r for r in found if r["source"] == source]
        second = [r["second"] for r in rows]
        error = [r["surrogate"] - r["second"] for r in rows]
        each = [100 * e / s for e, s in zip(error, second)]
        about = agreement(rows)
        bias, size = about["mean_error"], about["mean_absolute_error"]
        ends = "[{low:.0f}, {high:.0f}] meV/atom".format
        lines.append(
            f"- **{NEAR.get(source, source)}** (`{source}`, {len(rows)} crystals that begin "
            f"{sum(second) / len(second):.0f} meV/atom above their relaxed state by the second calculator): "
            f"the surrogate differs by {bias['value']:+.0f} {ends(**bias)} on average, "
            f"{100 * sum(error) / sum(second):+.0f} % of the energy, and by {size['value']:.0f} "
            f"{ends(**size)} without regard to sign; of a single crystal's energy by "
            f"{min(each):+.0f} to {max(each):+.0f} %."
        )
    return "\n".join(lines)
