"""The commands behind every number that this project states"""

import json
import re
import time
from pathlib import Path

import torch

from benchmarks.speed import circumstances, go_on
from dpcdvae.cli.commands import load_model
from dpcdvae.crystal.batch import CrystalBatch
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.diffusion.samplers import SAMPLERS
from dpcdvae.evaluation.compare import STOLS
from dpcdvae.model.dpcdvae import make_prior
from dpcdvae.model.prior import PRIORS

READINGS = {
    "free, mean": dict(),
    "free, sampled z": dict(z="sampled"),
    "composition forced": dict(force=("num_atoms", "composition")),
    "composition and lattice forced": dict(force=("num_atoms", "composition", "lattice")),
}
KEEP = (
    "match_rate",
    "strict_rate",
    "match_chance",
    "match_rate_valid",
    "match_rate_anonymous",
    "rms",
    "composition_exact",
    "num_atoms_exact",
    "length_error",
    "angle_error",
    "valid",
    "composition_valid",
    "structure_valid",
    "truth_valid",
    "match_rate_twin_free",
    "unique",
    "novel",
    "wdist_density",
    "wdist_num_elements",
)


STRICT = f"fit_{STOLS[-1]:g}"  # column of the rows that says whether a crystal matches strictly


def bits(rows: list, key: str) -> str:  # 1 or 0 a crystal, in order
    "Write down which crystals have a property: what tests of the same crystals compare."
    return "".join(str(int(bool(r.get(key)))) for r in rows)


def rebuilt(made, truth, keep, **how) -> tuple[dict, dict]:  # metrics; which crystals match, by both rules
    "Evaluate reconstructed crystals against the true ones."
    from dpcdvae.evaluation.reconstruction import evaluate_reconstruction

    rows, summary = evaluate_reconstruction(made, truth, **how)
    metrics = {k: summary["metrics"][k] for k in keep if k in summary["metrics"]}
    return metrics, dict(matched=bits(rows, "matched"), strict=bits(rows, STRICT))


def chance(crystals: CrystalBatch) -> dict:  # metric -> rate
    "Measure how many crystals match with random coordinates in the true cell, by both rules."
    return rebuilt(crystals, crystals, ("match_chance", "strict_chance"), workers=1, progress=False)[0]


def clock(minutes: int) -> str:  # HH:MM:SS
    "Write minutes as a training's limit."
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


def graph_for(model) -> str:
    return "crystalnn" if model.config.encoder.graph == "crystalnn" else "none"


def some(crystals: CrystalBatch, num: int, seed: int = 0) -> CrystalBatch:
    "Draw crystals without putting any back, the same for the same seed, in their old order."
    return crystals[
        torch.randperm(len(crystals), generator=torch.Generator().manual_seed(seed))[:num].sort().values
    ]


def held_out(data, num: int, seed: int = 0, graph: str = "none") -> CrystalBatch:
    return some(load_crystals(data, split="test", graph=graph, progress=False), num, seed)


def train_once(data, run, preset, max_time, max_epochs=-1, seed=0, **changes) -> Path:  # its folder
    "Train a model, go on where it stopped, or leave it if it is finished."
    from dpcdvae.model.training import is_finished, train

    run = Path(run)
    if not is_finished(run):
        resume = (run / "checkpoint.safetensors").exists()
        train(data, run, preset, max_time, max_epochs, seed, resume=resume, **changes)
    return run


def study(
    data,
    run,
    name: str,
    preset: str = "transformer",
    max_time: str | None = "01:00:00",
    num: int = 512,
    num_new: int = 64,
    seed: int = 0,
    readings=READINGS,
    steps: int | None = None,
    max_epochs: int = -1,
    data_seed: int | None = None,
    news={"new": dict()},
    **changes,
) -> dict:
    "Train (or go on, or take what is there), reconstruct, generate, evaluate, and collect the figures."
    from dpcdvae.evaluation.generation import evaluate_generation

    run = train_once(data, run, preset, max_time, max_epochs, seed, **changes)
    model = load_model(run)
    sets = {
        k: load_crystals(data, split=k, graph=graph_for(model), progress=False) for k in ("train", "test")
    }
    test = some(sets["test"], num, seed if data_seed is None else data_seed)
    pick, how = (
        lambda m: {k: m[k] for k in KEEP if k in m},
        dict(progress=False, workers=1 if num <= 8 else None),
    )  # a few are evaluated sooner than processes start
    result = dict(
        name=name,
        data=f"{Path(data).name} (num_train {len(sets['train'])})",
        seed=seed,
        training=json.loads((run / "run.json").read_text()) | dict(data=Path(data).name),
        num_test=len(test),
        made_on=circumstances(),
        reconstruction={},
    )
    for label, options in readings.items():
        start = time.time()
        films = model.reconstruct(test, films=0, seed=seed, **{"steps": steps, **options})
        seconds = time.time() - start
        metrics, each = rebuilt(films.crystals, test, KEEP, reference=sets["train"], **how)
        kept = dict(seconds_per_crystal=round(seconds / len(test), 4), **each)
        result["reconstruction"][label] = metrics | kept
        print(
            name,
            label,
            {
                k: round(v["value"], 3)
                for k, v in metrics.items()
                if v["value"] is not None and k in ("match_rate", "rms", "composition_exact")
            },
            flush=True,
        )
    for label, options in news.items() if num_new else ():
        new = model.generate(num_new, films=0, seed=seed, **{"steps": steps, **options})
        found = pick(
            evaluate_generation(new.crystals, reference=sets["train"], test=sets["test"], **how)[1]["metrics"]
        )
        print(
            name,
            label,
            {k: round(v["value"], 3) for k, v in found.items() if v["value"] is not None},
            flush=True,
        )
        result.setdefault("generations", {})[label] = found
    return result


def _rate(m) -> str:
    return "–" if not m or m["value"] is None else f"{100 * m['value']:.1f} %"


def _rms(m) -> str:
    return "–" if not m or m["value"] is None else f"{m['value']:.3f}"


def study_table(folder="results") -> str:  # markdown
    "Put the studies in a folder, or in one file, into a table."
    rows = [
        "| run | training crystals, time, steps | match, free (z mean) | RMS | match, free (z "
        "sampled) | match, composition given | composition exact | new ones valid |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(Path(folder).glob("*.json")) if Path(folder).is_dir() else [Path(folder)]:
        r = json.loads(path.read_text())
        if "reconstruction" not in r:
            continue
        t, rec = r["training"], r["reconstruction"]
        get = lambda label, key: rec.get(label, {}).get(key)
        rows.append(
            f"| {r['name']} | {t['num_train']}, {t['max_time']}, {t['steps']} | "
            f"{_rate(get('free, mean', 'match_rate'))} of {r['num_test']} | "
            f"{_rms(get('free, mean', 'rms'))} | {_rate(get('free, sampled z', 'match_rate'))} | "
            f"{_rate(get('composition forced', 'match_rate'))} | "
            f"{_rate(get('free, mean', 'composition_exact'))} | "
            f"{_rate(r.get('generations', {}).get('new', {}).get('valid'))} |"
        )
    return "\n".join(rows)


PAPERS = {name: (name, {}) for name in ("paper", "paper-na", "paper-gine", "paper-na-gine", "cdvae")}

FREE_AND_FORCED = {k: READINGS[k] for k in ("free, mean", "composition forced")}


def loss_curves(run, points: int = 50) -> dict:  # column -> [[step, value], ...]
    "Read the losses of a run, thinned to some points."
    import pandas as pd

    logs = sorted(Path(run).glob("logs*/metrics.csv"), key=lambda p: p.stat().st_mtime)
    if not logs:
        return {}
    df = pd.concat(map(pd.read_csv, logs))
    curves = {}
    for name in (c for c in df if c.startswith(("train/", "val/"))):
        have = df[["step", name]].dropna()
        kept = sorted(
            {*range(0, len(have), max(1, len(have) // points)), *([len(have) - 1] if len(have) else [])}
        )
        curves[name] = [[int(s), round(float(v), 5)] for s, v in have.iloc[kept].values]
    return curves


def _run_folder(runs, name) -> Path:
    return Path(runs) / re.sub(r"[^\w.-]+", "-", name)


def compare(
    datas,
    variants: dict,  # label -> (preset, changes of its fields)
    runs,
    out,
    seeds=(0,),
    readings=FREE_AND_FORCED,
    news={"new": dict()},
    num: int = 64,
    num_new: int = 0,
    max_time: str | None = None,
    max_epochs: int = -1,
    steps: int | None = None,
) -> dict:
    """Train models alike, reconstruct the same held-out crystals with each, and write `out` after each.

    What is there already is not done again."""
    out = Path(out)
    result = go_on(
        out,
        dict(
            name=out.stem,
            max_time=max_time,
            max_epochs=max_epochs,
            num_test=num,
            num_new=num_new,
            steps=steps,
            readings=readings,
            news=news,
        ),
        models={},
    )
    for data in datas:
        for seed in seeds:
            for label, (preset, changes) in variants.items():
                name = ", ".join([Path(data).name, label] + [f"seed {seed}"] * (len(seeds) > 1))
                if name in result["models"]:
                    continue
                run = _run_folder(runs, name)
                one = study(
                    data,
                    run,
                    name,
                    preset,
                    max_time,
                    num,
                    num_new,
                    seed,
                    readings,
                    steps,
                    max_epochs,
                    data_seed=0,
                    news=news,
                    **changes,
                )
                result["models"][name] = one | dict(label=label, curves=loss_curves(run))
                atomic_write(out, json.dumps(result, indent=1) + "\n")
    return result


def compare_table(result: dict) -> str:  # markdown
    "Put a comparison, free and with the composition forced, into a table."
    rows = [
        "| data, model | parameters | crystals seen | match, free | match, composition given | its "
        "RMS | composition exact | last validation loss of the coordinates |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label, r in result["models"].items():
        free, forced, curve = (
            r["reconstruction"]["free, mean"],
            r["reconstruction"]["composition forced"],
            r["curves"].get("val/coord", []),
        )
        rows.append(
            f"| {label} | {r['training']['parameters']:,} | {r['training']['crystals_seen']:,} | "
            f"{_rate(free['match_rate'])} | {_rate(forced['match_rate'])} | {_rms(forced['rms'])} | "
            f"{_rate(free['composition_exact'])} | {curve[-1][1] if curve else '–'} |"
        )
    return "\n".join(rows)


_PLAIN = dict(surroundings_kinds=False)
DIFFUSION = {
    "as it is": dict(),
    "Gaussian noise, sigmoid schedule": dict(process="gaussian", schedule="sigmoid"),
    "cartesian frame": dict(frame="cartesian"),
    "recentred Gaussian noise": dict(process="gaussian", schedule="sigmoid", recenter=True),
    "errors weighed as of x0": dict(weighting="x0"),
    "Gaussian noise, errors weighed as of v": dict(process="gaussian", schedule="sigmoid", weighting="v"),
    "Gaussian noise, time as log-SNR": dict(process="gaussian", schedule="sigmoid", time="log_snr"),
    "types re-read at every step": dict(types="argmax"),
    "neighbours without their elements": _PLAIN,
}
SWITCHES = DIFFUSION | {
    "t/1000 to the network": dict(time_scale=1e-3),
    "swap moves": dict(arrange=128),
    "no path for the cell": dict(cell_path=False),
    "no skip connection for the environment": dict(surroundings_path=False, **_PLAIN),
    "no skip connections": dict(short_path=False, cell_path=False, surroundings_path=False, **_PLAIN),
    "minmax scaler, lattice weight 100": dict(scaler="minmax", cost_lattice=100.0),
    "composition weight 1": dict(cost_composition=1.0),
    "KL weight 0.01": dict(cost_kl=0.01),
    "CrystalNN graph": dict(encoder_graph="crystalnn", encoder_neighbors=20),
}
WALKS = {
    "modified": dict(),
    **{
        f"{s}, {n} steps": dict(sampler=s, steps=n)
        for s in ("modified", "ddpm", "ddim")
        for n in (20, 50, 100)
    },
    "boundary not imposed": dict(boundary="never"),
}


def switches(data, runs, out, epochs: int = 8, num: int = 150, seeds=(0, 1, 2)) -> dict:
    """Turn the switches of `gemnet` one by one, those of the diffusion first, then its sampler, and evaluate
    each on held-out crystals. A prior is not needed for that, and atoms stay where they are put
    (arrange=0), which shows the diffusion by itself."""
    for group in (DIFFUSION, SWITCHES):
        result = compare(
            [data],
            {
                label: ("gemnet", dict(prior="standard", arrange=0) | changes)
                for label, changes in group.items()
            },
            runs,
            out,
            seeds,
            num=num,
            max_epochs=epochs,
        )
    forced = {k: v | READINGS["composition forced"] for k, v in WALKS.items()}
    name = next(iter(result["models"]))
    if "samplers" not in result:
        result["samplers"] = study(
            data,
            _run_folder(runs, name),
            "samplers",
            "gemnet",
            None,
            num,
            0,
            seeds[0],
            forced,
            None,
            epochs,
            data_seed=0,
            prior="standard",
            arrange=0,
        )["reconstruction"]
        atomic_write(Path(out), json.dumps(result, indent=1) + "\n")
    return result


def switch_table(path="results/switches.json") -> str:  # markdown
    "Put the switches of `gemnet` into a table, the mean over seeds and the range of each."
    r = json.loads(Path(path).read_text())
    take = lambda label, reading, metric: [
        m["reconstruction"][reading][metric] for m in r["models"].values() if m["label"] == label
    ]

    def spread(found, factor=100, digits=1, unit=" %"):
        v = [factor * f["value"] for f in found if f["value"] is not None]
        return (
            f"{sum(v) / len(v):.{digits}f}{unit}"
            + f" ({min(v):.{digits}f} to {max(v):.{digits}f})" * (min(v) < max(v))
            if v
            else "–"
        )

    labels = list(dict.fromkeys(m["label"] for m in r["models"].values()))
    rows = [
        "| `gemnet`, but | seeds | match, free | composition exact | match, composition given | its RMS |",
        "|---|---|---|---|---|---|",
    ]
    for label in labels:
        free, forced = (
            take(label, "free, mean", "match_rate"),
            take(label, "composition forced", "match_rate"),
        )
        rows.append(
            f"| {label} | {len(free)} | {spread(free)} | "
            f"{spread(take(label, 'free, mean', 'composition_exact'), digits=0)} | {spread(forced)} "
            f"| {spread(take(label, 'composition forced', 'rms'), 1, 3, '')} |"
        )
    one = next(iter(r["models"].values()))
    rows += [
        "",
        f"{one['data']}, {r['num_test']} held-out crystals, {r['max_epochs']} epochs each; atoms "
        f"stay where they are put (arrange=0) except where the row says so. Means over seeds, with "
        f"the least and the most: what lies within them is not decided.",
    ]
    if left := [k for k in SWITCHES if k not in labels] + ["other samplers"] * ("samplers" not in r):
        rows += ["", f"Not measured yet: {', '.join(left)}."]
    if "samplers" in r:
        rows += ["", "| sampler, composition given | match | RMS | seconds a crystal |", "|---|---|---|---|"]
    rows += [
        f"| {label} | {_rate(v['match_rate'])} | {_rms(v['rms'])} | {v['seconds_per_crystal']} |"
        for label, v in r.get("samplers", {}).items()
    ]
    return "\n".join(rows)


COUNTS = (5, 10, 20, 50, 100, 200, 500, 999)


def calls(
    data, run, out, samplers=SAMPLERS, counts=COUNTS, spacings=("uniform",), num: int = 256, seed: int = 0
) -> dict:
    """Reconstruct held-out crystals with each sampler at each number of function evaluations (NFE).

    `out` is written after each; what is there already is not done again."""
    from dpcdvae.evaluation.reconstruction import evaluate_reconstruction

    out, model = Path(out), load_model(run)
    result = go_on(
        out,
        dict(name="calls", data=Path(data).name, run=Path(run).name, num=num, seed=seed),
        card=model.card,
        made_on=circumstances(),
        ways=[],
    )
    test, done = (
        held_out(data, num, seed, graph_for(model)),
        {(w["sampler"], w["spacing"], w["calls"]) for w in result["ways"]},
    )
    if "chance" not in result:
        result["chance"] = chance(test)
        atomic_write(out, json.dumps(result, indent=1) + "\n")
    for n in counts:
        for spacing in spacings:
            for sampler in samplers:
                if (sampler, spacing, n) in done:
                    continue
                found = evaluate_reconstruction(
                    model.reconstruct(
                        test, films=0, seed=seed, sampler=sampler, spacing=spacing, steps=n
                    ).crystals,
                    test,
                    progress=False,
                    workers=1 if num <= 8 else None,
                )[1]["metrics"]
                result["ways"].append(
                    dict(sampler=sampler, spacing=spacing, calls=n)
                    | {k: found[k] for k in ("match_rate", "strict_rate", "rms", "structure_valid")}
                )
                print(n, sampler, spacing, _rate(found["match_rate"]), _rms(found["rms"]), flush=True)
                atomic_write(out, json.dumps(result, indent=1) + "\n")
    return result


def calls_table(result: dict, metric: str = "match_rate") -> str:  # markdown
    "Put rates or RMS into a table: a row a sampler, a column a number of calls."
    counts, show = sorted({w["calls"] for w in result["ways"]}), _rms if metric == "rms" else _rate
    rows = ["| sampler | " + " | ".join(f"{n} calls" for n in counts) + " |", "|---|" + "---|" * len(counts)]
    for way in dict.fromkeys((w["sampler"], w["spacing"]) for w in result["ways"]):
        by = {w["calls"]: w[metric] for w in result["ways"] if (w["sampler"], w["spacing"]) == way}
        rows.append(
            f"| {way[0]}{'' if way[1] == 'uniform' else ', ' + way[1]} | "
            + " | ".join(show(by.get(n)) for n in counts)
            + " |"
        )
    return "\n".join(rows)


def calls_plot(result: dict):  # -> a plotly figure
    "Draw function evaluations (NFE) against match rate and RMS, with 95 % intervals."
    from plotly.subplots import make_subplots

    from dpcdvae.viz.atoms import paper
    from dpcdvae.viz.curves import COLORS

    fig = make_subplots(1, 2, subplot_titles=["match rate (%)", "RMS of the matches"])
    for way, color in zip(dict.fromkeys((w["sampler"], w["spacing"]) for w in result["ways"]), COLORS * 3):
        for col, (metric, factor) in enumerate((("match_rate", 100), ("rms", 1)), 1):
            at = sorted(
                (w["calls"], *(factor * w[metric][k] for k in ("value", "low", "high")))
                for w in result["ways"]
                if (w["sampler"], w["spacing"]) == way and w[metric]["value"] is not None
            )
            x, y, low, high = zip(*at)
            fig.add_scatter(
                x=x,
                y=y,
                mode="lines+markers",
                name=", ".join(way[: 1 + (way[1] != "uniform")]),
                legendgroup=str(way),
                showlegend=col == 1,
                line_color=color,
                row=1,
                col=col,
                error_y=dict(
                    array=[h - v for h, v in zip(high, y)],
                    arrayminus=[v - l for v, l in zip(y, low)],
                    thickness=0.7,
                    width=2,
                ),
            )
    return paper(
        fig.update_xaxes(type="log", title="NFE a crystal"),
        height=380,
        legend=dict(orientation="h", y=-0.35),
    )


def priors(data, run, num: int = 256, seed: int = 0) -> dict:
    "Fit each prior to a trained model, generate and evaluate."

    from dpcdvae.evaluation.generation import evaluate_generation

    model, sets = (
        load_model(run),
        {k: load_crystals(data, split=k, progress=False) for k in ("train", "test")},
    )
    result = dict(
        name="priors",
        run=Path(run).name,
        data=f"{Path(data).name} (num_train {len(sets['train'])})",
        seed=seed,
        num_new=num,
        card=model.card,
        made_on=circumstances(),
        priors={},
    )
    for name in PRIORS:
        model.config = model.config.change(latent=dict(prior=name))
        torch.manual_seed(seed)
        model.prior = make_prior(model.config).to(model.device)
        start = time.time()
        model.fit_prior(sets["train"])
        seconds = time.time() - start
        found = evaluate_generation(
            model.generate(num, films=0, seed=seed).crystals,
            reference=sets["train"],
            test=sets["test"],
            progress=False,
        )[1]["metrics"]
        result["priors"][name] = dict(
            {k: found[k] for k in KEEP if k in found}, seconds_to_fit=round(seconds, 1)
        )
    return result


PRIOR_RATES = ("valid", "composition_valid", "structure_valid", "unique", "novel")


def prior_table(path="results/priors.json") -> str:  # markdown
    "Put the priors into a table."
    r = json.loads(Path(path).read_text())
    rows = [
        "| prior | valid | composition valid | structure valid | unique | novel | Wasserstein, "
        "elements | Wasserstein, density | seconds to fit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, m in r["priors"].items():
        rows.append(
            f"| {name} | "
            f"{' | '.join(_rate(m[k]) for k in PRIOR_RATES)} "
            f"| {_rms(m['wdist_num_elements'])} | {_rms(m['wdist_density'])} g/cm³ | "
            f"{m['seconds_to_fit']} |"
        )
    return "\n".join(
        [
            *rows,
            "",
            f"{r['num_new']} new crystals each; {r['data']}; seed {r['seed']}; "
            f"{r['made_on']['threads']} thread(s) of {r['made_on']['processor']}, "
            f"{r['made_on']['date']}. The distances are to the test set.",
        ]
    )


def generation(
    data, run, num: int = 1000, seed: int = 0, property: str | None = None, workers: int | None = None
) -> dict:
    """Generate crystals with a trained model and evaluate them completely.

    What is there already is not done again."""
    from dpcdvae.data.datasets import source_files
    from dpcdvae.evaluation.evaluate import evaluate

    base = Path(run) if Path(run).is_dir() else Path("runs") / run  # of a pretrained model
    out, files = Path(f"{base}-new{num}"), {k: source_files(data, k)[k][0] for k in ("train", "test")}
    model = load_model(run)
    model.generate(num, out=out, seed=seed)
    found = evaluate(out, files["train"], files["test"], workers, fingerprints=True, property=property)
    return dict(
        name="generation",
        run=Path(run).name,
        data=Path(data).name,
        num_new=num,
        seed=seed,
        property=property,
        card=model.card,
        cutoffs=found["settings"]["cutoffs"],
        made_on=circumstances(),
        seconds=found["seconds"],
        metrics=found["metrics"],
        reasons=found["reasons"],
        space_groups=found["space_groups"],
        space_groups_test=found["space_groups_test"],
        versions=found["versions"],
    )


LEVELS = ("random placement", "ion exchange", "test set")


def levels_of_models(record: dict, data: str) -> dict:  # name of a set -> num, metrics
    "Take the sets without a network from the tables of the models, where they have been evaluated in full."
    arms = next((m["arms"] for m in record["models"].values() if m["data"] == data), {})
    some = {k: arms[k] for k in LEVELS if "num" in arms.get(k, {})}
    rates = lambda a: {k: m for k, m in a.items() if isinstance(m, dict) and "value" in m}
    found = {k: dict(num=a["num"], metrics=rates(a)) for k, a in some.items()}
    for trivial in ("cov_recall", "cov_precision", "METRe"):  # a sample of the test set covers itself
        found.get("test set", dict(metrics={}))["metrics"].pop(trivial, None)
    return found


def stored_levels(path) -> dict:  # name of a set -> num, metrics; empty where none are stored
    "Find the sets without a network that belong to a generation, and the test set."
    r, folder = json.loads(Path(path).read_text()), Path(path).parent
    found, models = folder / f"levels-{r['data']}.json", folder / "models.json"
    sets = json.loads(found.read_text())["levels"] if found.exists() else {}
    if not sets and models.exists():
        sets = levels_of_models(json.loads(models.read_text()), r["data"])
    for s in sets.values():
        if s["num"] != r["num_new"]:
            s["metrics"].pop("cov_recall", None)  # it grows with the number of crystals
    return sets


def generation_table(path) -> str:  # markdown
    "Put all metrics of a generation into a table, each with its meaning and its blind spot."
    from dpcdvae.evaluation.metrics import METRICS
    from dpcdvae.evaluation.summary import show

    r, sets = json.loads(Path(path).read_text()), stored_levels(path)
    of = lambda s, k: show(k, s["metrics"][k], False) if k in s["metrics"] else ""
    known = lambda k: "".join(f" {of(s, k)} |" for s in sets.values())
    rows = [
        f"| metric | value |{''.join(f' {name} |' for name in sets)} what it is | blind spot |",
        f"|---|---|{'---|' * len(sets)}---|---|",
        *(
            f"| {METRICS[k].label} | {show(k, m)} |{known(k)} {METRICS[k].definition} | "
            f"{METRICS[k].weakness} |"
            for k, m in r["metrics"].items()
        ),
    ]
    tops = {
        t: ", ".join(f"{g}: {n}" for g, n in list(r[t]["0.1"].items())[:5])
        for t in ("space_groups", "space_groups_test")
    }
    return "\n".join(
        [
            *rows,
            "",
            f"{r['num_new']} crystals of {r['run']}, seed {r['seed']}; test set: {r['data']}; "
            f"property: {r['property']}; cut-offs of coverage {tuple(r['cutoffs'])}. Most frequent "
            f"space groups at 0.1 Å, new ones: {tops['space_groups']}; test set: "
            f"{tops['space_groups_test']}.",
        ]
    )
