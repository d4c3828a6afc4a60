"""Tables of the programs that write a file of results each: matching, hostile inputs, reading, symmetry"""

import json
from pathlib import Path

from benchmarks.builds import builds_table
from benchmarks.campaign.counts import campaign_table
from benchmarks.denoisers import denoisers_table
from benchmarks.evaluating import evaluating_table
from benchmarks.first_use import first_use_table
from benchmarks.guidance import guidance_table
from benchmarks.known import answer, known_table
from benchmarks.learning import learning_table
from benchmarks.longrun import long_table
from benchmarks.mutants import mutants_table
from benchmarks.neighbours import neighbours_table
from benchmarks.prediction import prediction_table
from benchmarks.pythons import pythons_table
from benchmarks.swaps import swaps_table
from benchmarks.tables import paired, table, with_interval


def matching_table(r: dict) -> str:
    "Show how the matcher agrees with pymatgen's, and how much faster it is."
    head = [
        "pairs",
        "compared",
        "match",
        "decision differs",
        "RMS differs",
        "pymatgen, ms",
        "arrays, ms",
        "compiled, ms",
        "speed",
    ]
    rows = [
        [
            name.replace("_", " ").replace("/", ", "),
            t["pairs"],
            t["matched"],
            t["match_differs"],
            t["rms_differs"],
            f"{t['ms_a_pair']['pymatgen']:.2f}",
            f"{t['ms_a_pair']['arrays']:.3f}",
            f"{t['ms_a_pair']['compiled']:.3f}",
            f"{t['speedup']:.0f} times ({t['speedup_range'][0]:.0f} to {t['speedup_range'][1]:.0f})",
        ]
        for name, t in r["total"].items()
    ]
    causes, total = {}, sum(t["pairs"] for t in r["total"].values())
    carried = sum(b["pairs"] for b in r["blocks"].values() if "answers" in b)
    for t in r["total"].values():
        for cause, num in t["causes"].items():
            causes[cause] = causes.get(cause, 0) + num
    listed = "\n".join(f"- {cause}: {num}" for cause, num in sorted(causes.items(), key=lambda x: -x[1]))
    return (
        f"{table(head, rows)}\n\nPairs: copies that were shaken and described anew, random "
        f"coordinates in the "
        f"true cell, and pairs of one formula; {total} in all. Speed: pymatgen's processor time over that of "
        f"compiled code, reduction included, on one core, block after block in one process at a load of "
        f"{r['about']['load']:.0f}: the median of {min(t['timed_blocks'] for t in r['total'].values())} or "
        f"more blocks, and their range. {carried} pairs were compared with pymatgen earlier, by arrays; for "
        f"these compiled code gives what arrays give.\n\n"
        f"Causes of the differences (RMS beyond 1e-6):\n\n{listed}"
    )


def hostile_table(r: dict) -> str:
    "Count what became of damaged inputs."
    kinds = ("read", "refused", "traceback", "good row lost", "escaped")
    rows = [[name, *(c.get(k, 0) for k in kinds)] for name, c in r["commands"].items()]
    found = (
        f"{len(r['faults'])} faults in {r['inputs']} inputs ({r['combinations']} combinations), seed "
        f"{r['seed']}."
    )
    return f"{table(['command', *kinds], rows)}\n\n{found}"


def reading_table(r: dict) -> str:
    "Compare reading speed with an older build."
    rate = {k: ", ".join(f"{x:.0f}" for x in v) for k, v in r["crystals_per_second"].items()}
    rows = [["681f39c", rate["base"]], ["this build", rate["here"]]]
    return (
        f"{table(['build', 'crystals a second, rounds'], rows)}\n\n{r['crystals']} crystals of {r['set']}, "
        f"{r['file']}: at least {r['smallest_ratio']:.1f} times. Seconds are of the processor; unpacking and "
        f"cutting the whole table counts. {r['made_on']['processor']}, load {r['made_on']['load']:.1f}."
    )


def files_table(r: dict) -> str:
    "Compare the CIFs of published packages with an independent reader."
    rows = [[d["file"].split("/")[-1], d["ours"], d["gemmi"]] for d in r["differences"]]
    return (
        f"{r['files']} files of {', '.join(r['packages'])}: {r['same']} give the same atoms at the same "
        f"places, {r['refused_by_both']} no crystal (proteins without fractional coordinates, tables, a file "
        f"that breaks the syntax), {len(rows)} differ:\n\n"
        f"{table(['file', 'this package', 'gemmi alone'], rows)}"
    )


def symmetry_table(r: dict) -> str:
    "Compare new crystals with and without a drawn space group."
    arms = r["arms"]
    share = lambda m, key: f"{100 * m[key] / m['total']:.1f} %"
    rows = [
        [f"P1 at {tol} Å", *(f"{100 * a['p1'][tol]['share']:.1f} %" for a in arms.values())]
        for tol in ("0.1", "0.01")
    ]
    rows.append(["space groups at 0.1 Å", *(a["p1"]["0.1"]["groups"] for a in arms.values())])
    for key in ("structure_valid", "composition_valid", "valid", "unique"):
        rows.append([key.replace("_", " "), *(share(a["metrics"], key) for a in arms.values())])
    return (
        f"{table(['new crystals', *arms], rows)}\n\n{r['num']} each of {r['run']}, seed {r['seed']}; "
        f"`draw`: a space group and its positions are drawn for each crystal and imposed at every step."
    )


def strict_table(r: dict) -> str:
    "Show which share of held-out crystals comes back by each rule, and by chance."
    show = lambda m: "–" if m["value"] is None else f"{100 * m['value']:.1f} %"
    keys = {"match_rate": "match_chance"} | {
        f"fit_rate_{s}": f"fit_chance_{s}" for s in ("0.5", "0.3", "0.2", "0.1")
    }
    more = dict(placements="placements") if "accept" in r else {}
    more |= dict(seconds_per_crystal="s a crystal") if {"accept", "encoder_guidance"} & set(r) else {}
    head = ["model", "crystals", "field's rate", *(f"fit, stol {k.split('_')[-1]}" for k in list(keys)[1:])]
    rows = []
    for name, model in r["models"].items():
        m = model["metrics"]
        rates = [f"{show(m[k])} (chance {show(m[c])})" for k, c in keys.items()]
        rows.append([name, model["num"], *rates, show(m["METRe"]), *(f"{model[k]:g}" for k in more)])
    made = f"The likeliest of {r.get('num_candidates')} candidates each, by z alone"
    if r.get("num_candidates", 1) == 1:
        made = "One candidate each"
    if "encoder_guidance" in r:
        made += f", its atoms led by the encoder (strength {r['encoder_guidance']:g})"
    if "accept" in r:
        made = (
            f"Placed anew until the encoder finds the crystal back (latent distance below {r['accept']:g}), "
            f"{r['num_candidates']} times at most, {r['steps']} evaluations each of {r['spacing']} spacing; "
            f"the likeliest by z alone is kept, the target is not looked at"
        )
    return (
        f"{table([*head, 'METRe', *more.values()], rows)}\n\n{made}, decoded freely, seed {r['seed']}. The "
        f"field's rate bounds the root mean square displacement by stol 0.5, `fit` the largest one. Chance: "
        f"random coordinates in the true cell."
    )


def placed_again(folder="results") -> str:  # sentence
    "Say how many crystals come back strictly where they are placed until the encoder finds them back."
    r = json.loads((Path(folder) / "strict-of32.json").read_text())
    each = lambda m: (
        f"{with_interval(m['metrics']['strict_rate'])} of {m['num']}, {m['placements']:.1f} times"
    )
    found = "; ".join(f"{name} {each(m)}" for name, m in r["models"].items())
    how = f"--candidates {r['num_candidates']} --accept {r['accept']:g} --steps {r['steps']}"
    return (
        f"Placed anew until the encoder finds the crystal back, at most {r['num_candidates']} times, without "
        f"looking at the target (`reconstruct {how} --spacing {r['spacing']}`), these match strictly, after "
        f"so many placements on average: {found}."
    )


COMMANDS = dict(
    strict="python -m benchmarks.strict --data DIR --seed 0",
    matching="python -m benchmarks.matching --data DIR --out results/matching.json",
    hostile="python -m benchmarks.hostile --num 1000 --seed 0 --out results/hostile.json",
    reading="python -m benchmarks.reading DIR/mp_20/train.csv.gz --base BUILD --out results/reading.json",
    real_files="python -m benchmarks.real_files --out results/real_files.json",
)
COMMANDS["strict-of8"] = "python -m benchmarks.strict --data DIR --seed 0 --candidates 8"
COMMANDS["strict-guided"] = "python -m benchmarks.strict --data DIR --encoder-guidance 1"
COMMANDS["strict-of32"] = (
    "python -m benchmarks.strict --data DIR --seed 0 --candidates 32 --accept 3 --steps 20 --spacing critical"
)
COMMANDS["symmetry-mp-20"] = (
    "python -m benchmarks.symmetry --num 200 --seed 0 --out results/symmetry-mp-20.json"
)
COMMANDS["campaign"] = (
    "make campaign, counted anew by python -m benchmarks.campaign --count results/campaign-journal.jsonl"
)
COMMANDS["pythons"] = "make pythons"
COMMANDS["long-generate"] = (
    "python -m benchmarks.longrun generate --num 100000 --steps 5 --stops 4 --out results/long-generate.json"
)
COMMANDS["long-train"] = (
    "python -m benchmarks.longrun train --data DIR/perov_5 --max-time 01:00:00 --out results/long-train.json"
)
TABLES = dict(matching=matching_table, hostile=hostile_table, reading=reading_table, real_files=files_table)
TABLES |= dict.fromkeys(("strict", "strict-of8", "strict-of32", "strict-guided"), strict_table)
TABLES |= dict(campaign=campaign_table, pythons=pythons_table)
TABLES |= {"long-generate": long_table, "long-train": long_table}
TABLES["symmetry-mp-20"] = symmetry_table
TABLES["first-use"] = first_use_table
TABLES["guidance-perov_5"] = guidance_table
TABLES |= {"prediction-mp-20": prediction_table, "prediction-prototypes": prediction_table}
COMMANDS["guidance-perov_5"] = "python -m benchmarks.guidance --data DIR/perov_5 --wheel WHEEL"
COMMANDS["prediction-mp-20"] = "python -m benchmarks.prediction --data DIR/mp_20"
COMMANDS["prediction-prototypes"] = "python -m benchmarks.prediction --data DIR/mp_20 --source prototypes"
COMMANDS["neighbours"] = "python -m benchmarks.neighbours --out results/neighbours.json"
TABLES["neighbours"] = neighbours_table
COMMANDS["first-use"] = "python -m benchmarks.first_use --out results/first-use.json"


_STABLE = dict(
    stable="stable, at most 0 eV/atom above the hull",
    metastable="metastable, at most 0.1 eV/atom above the hull",
    metastable_08="metastable, at most 0.08 eV/atom above the hull",
    sun="S.U.N.",
    msun="M.S.U.N., at most 0.1 eV/atom above the hull",
    msun_08="M.S.U.N., at most 0.08 eV/atom above the hull",
    relaxed="relaxed to a plausible crystal",
    p1_before="P1 as made (0.1 Å)",
    p1_after="P1 after relaxation (0.1 Å)",
)


def stability_table(r: dict) -> str:  # markdown
    "Show what relaxed crystals are worth, with the hull and the calculator."
    m = r["metrics"]
    share = lambda k: f"{with_interval(m[k])} ({m[k]['count']} of {m[k]['total']})"
    names = {k: text for k, text in _STABLE.items() if k not in ("metastable", "msun")}
    rows = [f"| {text} | {share(k)} |" for k, text in names.items() if k in m and m[k]["total"]]
    middle = m["to_relaxed"].get("median")
    rows += [f"| median energy to the relaxed state | {middle:.1f} meV/atom |"] if middle is not None else []
    head = f"{r['num_crystals']} crystals, {r['source']}, seed {r['seed']}; {r['calculator']}; "
    head += (
        f"hull {r['hull']['source']} ({r['hull']['num_phases']} phases); novelty against {r['reference']}."
    )
    if "screening" in r:
        head += (
            f" Chosen from {r['screening']['of']} by energy above this hull before relaxation, with the "
            f"calculator that evaluates them here: no fair sample of the model."
        )
    return "\n".join([head, "", "| | |", "|---|---|", *rows])


def overlaps_table(r: dict) -> str:  # markdown
    "Show how many crystals have overlapping atoms, and their cells."
    rows = []
    for arm, o in r["arms"].items():
        near, apart = o["cells"]["overlapping"]["volume"], o["cells"]["apart"]["volume"]
        cells = f"{near:.1f} | {apart:.1f}" if near and apart else "– | –"
        rows.append(
            f"| {arm} | {o['total']} | {o['overlapping']} | {o['collapsed']} "
            f"| {o['same_element']} | {cells} |"
        )
    return "\n".join(
        [
            f"Pairs below {r['limit']} Å; collapsed: below 0.1 Å; volumes are medians in Å³ an atom.",
            "",
            "| arm | crystals | overlapping | collapsed | same element | volume, overlapping | apart |",
            "|---|---|---|---|---|---|---|",
            *rows,
        ]
    )


ARMS = {
    "test": "test",
    "exchange": "exchange",
    "random": "random",
    "mp-20": "mp-20 --steps 100",
    "mp-20-draw": "mp-20 --symmetry draw --steps 100",
    "mp-20-draw-t0.5": "mp-20 --symmetry draw --temperature 0.5 --steps 20",
    "mp-20-draw-t0.3": "mp-20 --symmetry draw --temperature 0.3 --steps 20",
    "mp-20-draw-t0.5-of8-new": "mp-20 --symmetry draw --temperature 0.5 --best-of 8 --new --steps 20",
    "mp-20-substitute-of8": "mp-20 --substitute --best-of 8",
    "mp-20-draw-t0.5-screened": "mp-20 --symmetry draw --temperature 0.5 --pool 4000 --steps 20",
    "mp-20-draw-screened": "mp-20 --symmetry draw --pool 4000 --steps 20",
    "exchange-screened": "exchange --pool 4000",
}
for _arm, _options in ARMS.items():
    TABLES[f"stability-{_arm}"] = stability_table
    COMMANDS[f"stability-{_arm}"] = (
        f"python -m benchmarks.stability {_options} --data DIR/mp_20 --hull DIR/mp_hull --num NUM"
    )


def optimizers_table(r: dict) -> str:  # markdown
    "Show what either optimiser reaches after some epochs, and in which time."
    head = ["optimiser", "epochs", "processor time", "validation loss", "strict rate"]
    rows = []
    for m in r["models"].values():
        minutes, rate = f"{m['processor_seconds'] / 60:.0f} min", with_interval(m["metrics"]["strict_rate"])
        rows.append([m["optimizer"], m["epochs"], minutes, f"{m['val_loss']:.3f}", rate])
    tests = [paired(name, t) for name, t in r.get("tests", {}).items()]
    end = f"{r['num_val']} crystals of the validation set of {r['data']}, seed {r['seed']}; each row is a "
    end += "whole run of the learning rate." + (" McNemar's test: " + "; ".join(tests) + "." if tests else "")
    return f"{table(head, rows)}\n\n{end}"


TABLES["optimizers"] = optimizers_table
COMMANDS["optimizers"] = "python -m benchmarks.optimizers --data DIR/perov_5"
TABLES |= dict(denoisers=denoisers_table, swaps=swaps_table)
TABLES["known"] = lambda r: f"{known_table(r)}\n\n{answer(r)}"
COMMANDS["swaps"] = "python -m benchmarks.swaps --data DIR"
COMMANDS["known"] = "python -m benchmarks.known --data DIR"
TABLES |= dict.fromkeys(("learning", "learning-mp_20"), learning_table)
COMMANDS["learning"] = "python -m benchmarks.learning --data DIR/perov_5"
COMMANDS["learning-mp_20"] = (
    "python -m benchmarks.learning --data DIR/mp_20 --minutes 60 30 --out results/learning-mp_20.json"
)
COMMANDS["denoisers"] = (
    "python -m benchmarks.denoisers --data DIR/SET [--minutes N] [--presets NAME] [--times critical] "
    "[--model NAME]"
)
TABLES["overlaps-mp-20"] = overlaps_table
COMMANDS["overlaps-mp-20"] = "python -m benchmarks.overlaps runs/symmetry/free runs/symmetry/draw"


def matterviz_table(r: dict) -> str:  # markdown
    "Show how fast three matchers are, and how often two of them decide as pymatgen does."
    wasm = f"matterviz-wasm {r['version']}"
    head = [
        "pairs",
        "number",
        "ours, pairs/s",
        "pymatgen",
        wasm,
        "as pymatgen: ours",
        wasm,
        "`fit`: ours",
        wasm,
    ]
    rows = []
    for name, b in r["blocks"].items():
        speed, same, fit = b["pairs_per_second"], b["as_pymatgen"], b["fit_as_pymatgen"]
        rate = [speed[k] for k in ("ours", "pymatgen", "matterviz-wasm")]
        rows.append([name, b["pairs"], *rate, *same.values(), *fit.values()])
    said = "By processor time, one core, reading left out; tolerances of the field (ltol 0.3, stol 0.5, 10°)."
    return f"{table(head, rows)}\n\n{said}"


TABLES["matterviz"] = matterviz_table
COMMANDS["matterviz"] = "python -m benchmarks.matterviz --package DIR"


def finetuning_table(r: dict) -> str:  # markdown
    "Show what training further did to a model, on its new crystals and on its old ones."
    rows = [
        "| held-out crystals | strict rate, parent | child | child less parent (McNemar) |",
        "|---|---|---|---|",
    ]
    for part in ("family", "others"):
        one = {k: r[part][k]["metrics"]["strict_rate"] for k in ("parent", "child")}
        t = r[part]["child_against_parent"]["strict"]
        rates = " | ".join(f"{with_interval(m)} of {m['total']}" for m in one.values())
        change = f"{100 * t['difference']:+.1f} [{100 * t['low']:.1f}, {100 * t['high']:.1f}] points"
        rows.append(f"| {r['data'][part]} | {rates} | {change}, p = {t['p']:.2g} |")
    about = f"{r['model']}, {r['num']['train']} crystals of {r['data']['family']}, {r['parts']} trained for "
    about += f"{r['training']['epochs']} epochs ({r['training']['seconds']:.0f} s), seed {r['seed']}."
    return "\n".join([about, "", *rows])


TABLES["finetuning-mp-20"] = finetuning_table
COMMANDS["finetuning-mp-20"] = (
    "python -m benchmarks.finetuning --family DIR/perov_5 --others DIR/mp_20 --run RUN --epochs 60"
)


def peers_table(r: dict) -> str:  # markdown
    "Show what peers and we measure on the same crystals."
    show = lambda x: f"{x:.4g}" if isinstance(x, float) else str(x)
    head = ["what", "theirs", "ours", "numbers compared", "differ", "largest difference", "why"]
    rows = [
        [
            d["what"],
            show(d["theirs"]),
            show(d["ours"]),
            d["num"],
            d["differ"],
            "" if d["largest"] is None else f"{d['largest']:.2g}",
            d["why"],
        ]
        for d in r["rows"]
    ]
    sizes, versions = r["sizes"], ", ".join(f"{k} {v}" for k, v in r["versions"].items())
    about = (
        f"{sizes['made']} crystals ({sizes['made'] - r['copies']} new of {r['source']} and {r['copies']} "
        f"described again, their atoms moved by 0.03 Å) and {sizes['known']} known ones; means, and how many "
        f"numbers differ crystal by crystal. {versions}."
    )
    failed = "".join(f"\n\n{k} failed: {v}" for k, v in r["errors"].items())
    return f"{table(head, rows)}\n\n{about}{failed}"


TABLES["peers"] = peers_table
COMMANDS["peers"] = "python -m benchmarks.peers runs/models/mp-20 --data DIR/mp_20"


_RATES = dict(
    composition_valid="composition valid, icsd24",
    composition_valid_smact="composition valid, SMACT 4's default",
    composition_valid_field="composition valid, older tables",
    structure_valid="structure valid",
    cov_recall="COV-R",
    cov_precision="COV-P",
    unique="unique",
    novel="novel",
)
_NUMBERS = dict(
    wdist_density="Wasserstein, density (g/cm³)",
    wdist_num_elements="Wasserstein, elements",
    unique_both="continuous uniqueness, ElMD and AMD",
    novel_both="continuous novelty, ElMD and AMD",
)
_DISTANCES = dict(
    rmsd_relaxed="median RMSD to the relaxed crystal (Å)", above_hull="median eV/atom above the hull"
)
_BACK = dict(
    match_rate="field's rate",
    match_chance="chance",
    match_above_chance="above chance",
    **{"fit_rate_0.5": "fit, stol 0.5", "fit_rate_0.1": "fit, stol 0.1", "fit_chance_0.1": "its chance"},
    METRe="METRe",
)


def _evaluated_rows(arms: dict) -> list:
    "List what is measured on all crystals of each arm."
    cells = lambda k, share: (with_interval(a.get(k), share) for a in arms.values())
    rows = [[text, *cells(k, True)] for k, text in _RATES.items()]
    rows += [[text, *cells(k, False)] for k, text in _NUMBERS.items()]
    share = (f"{100 * a['p1'] / max(1, a['with_group']):.1f} %" for a in arms.values())
    return [["crystals", *(a["num"] for a in arms.values())], *rows, ["P1 at 0.1 Å", *share]]


def _stability_rows(arms: dict) -> tuple:  # rows, sentence; none where nothing was relaxed
    "List what is measured on the relaxed crystals of each arm."
    found = [a.get("stability", {}) for a in arms.values()]
    done = next(filter(None, found), None)
    if done is None:
        return [], "Stability: not measured, for want of a hull of this set."
    middle = lambda m: "–" if not m or m.get("median") is None else f"{m['median']:.3f}"
    rows = [["relaxed of these", *(s.get("num", "–") for s in found)]]
    rows += [
        [text, *(with_interval(s.get(k)) for s in found)]
        for k, text in _STABLE.items()
        if k != "metastable_08"
    ]
    rows += [[text, *(middle(s.get(k)) for s in found)] for k, text in _DISTANCES.items()]
    note = f"Stability: the first crystals of each set, {done['calculator']}, hull {done['hull']['source']} "
    return rows, note + f"({done['hull']['num_phases']} phases)."


def _back_table(r: dict) -> str:  # markdown
    "Show how many held-out crystals come back, by each rule."
    shares = [with_interval(r["metrics"].get(k)) for k in _BACK]
    lines = table(["held-out crystals", *_BACK.values()], [[r["num"], *shares]])
    return f"{lines}\n\nFrom `results/{r['file']}`; chance: random coordinates in the true cell."


def models_table(r: dict) -> str:  # markdown
    "Show each pretrained model next to known crystals and to what needs no network."
    out = []
    for name, model in r["models"].items():
        arms = {k: a for k, a in model["arms"].items() if "num" in a}
        arms = {k: arms[k] for k in sorted(arms, key=lambda k: k != "model")}
        rows, note = _stability_rows(arms)
        out += [
            f"**{name}**, sets of {model['data']}, seed {r['seed']}",
            _back_table(model["reconstruction"]),
        ]
        out += [table(["", *arms], _evaluated_rows(arms) + rows), note]
        out += [f"No {k}: {a['reason']}" for k, a in model["arms"].items() if "reason" in a]
    note = (
        "Of the test set a sample is compared with the whole: its COV-P is 100 % by definition, its COV-R is "
    )
    return "\n\n".join([*out, note + "what as many crystals reach; COV-R grows with their number."])


TABLES["models"] = models_table
COMMANDS["models"] = (
    "python -m benchmarks.models MODEL --data DIR/SET --num NUM --hull DIR/mp_hull --relaxed NUM"
)
TABLES |= dict(evaluating=evaluating_table, mutants=mutants_table)
COMMANDS["evaluating"] = "python -m benchmarks.evaluating POOL POOL POOL --data DIR/mp_20 --num 10000"
COMMANDS["mutants"] = "python -m benchmarks.mutants"
TABLES["builds"] = builds_table
COMMANDS["builds"] = "python -m benchmarks.builds --data DIR --old 681f39c"
COMMANDS["calls-perov_5"] = (
    "python -m benchmarks calls --data DIR/perov_5 --run perov-5 --counts 5 10 20 50 100 200 --num 256 "
    "--seed 0 --out results/calls-perov_5.json"
)
COMMANDS["calls-early-perov_5"] = (
    "python -m benchmarks calls --data DIR/perov_5 --run perov-5 --samplers modified "
    "--spacings early uniform --counts 20 50 --num 512 --seed 0 --out results/calls-early-perov_5.json"
)
for data, run, num in (
    ("perov_5", "perov-5", 512),
    ("carbon_24", "carbon-24", 256),
    ("mp_20", "mp-20", 256),
):
    COMMANDS[f"calls-critical-{data}"] = (
        f"python -m benchmarks calls --data DIR/{data} --run {run} --samplers modified --spacings critical "
        f"uniform --counts 20 50 --num {num} --seed 0 --out results/calls-critical-{data}.json"
    )
