"""Which models come pretrained, how good it is, what limits it, and how to make it again"""

import json
import shlex
from importlib.resources import files
from pathlib import Path

from dpcdvae.cli.cards import lineage, minutes_trained, read_card, split_of, with_chance
from dpcdvae.data.datasets import plain_name
from dpcdvae.data.files import atomic_write
from dpcdvae.data.splits import read_record, save_seen
from dpcdvae.evaluation.matching import ONLY_BACK, ONLY_GIVEN
from dpcdvae.evaluation.summary import show
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.model.pretrained import ModelError, model_folder

_OFFICIAL = "the **official split** for training and validation, and half of the official test file"
_STAND_IN = (
    "the **stand-in split**: the official validation file, divided 90/10 into training and validation, "
    "and half of the official test file; the official training file ({}) was not used"
)
_PEROV = "Perov-5 (Castelli 2012, Computational Materials Repository)"
DATA = dict(
    perov_5=f"{_PEROV}, {_STAND_IN.format('11,356 crystals')}",
    carbon_24="Carbon-24 (Pickard 2020, Materials Cloud 2020.0026, CC BY 4.0), a **stand-in split**: 2,445 "
    "of the 6,091 official training crystals and nine tenths of the official validation file for training, "
    "the rest of it for validation, and half of the official test file",
    mp_20="MP-20 (Materials Project, CC BY 4.0), the **stand-in split**: a part of the official training "
    "and validation files and half of the official test file",
    perov_mini="`perov_mini`, the computed perovskites that come with the package (`data/perov_mini`)",
    carbon_mini="`carbon_mini`, carbon crystals from a random structure search with CHGNet that come "
    "with the package (`data/carbon_mini`)",
)
DATA_OFFICIAL = dict(perov_5=f"{_PEROV}, {_OFFICIAL}")
DATA_LIMITS = dict(
    carbon_24="All crystals are carbon: composition costs nothing, and validity by charges says nothing.",
    perov_mini="The crystals are relaxed with CHGNet, not with DFT: they are there to learn with.",
    carbon_mini="A hundred training crystals, relaxed with CHGNet, not with DFT: they are there to "
    "learn with.",
)
EMBEDDED = ("perov_mini", "carbon_mini")
GIVEN_BY_FINETUNE = ("max_atoms", "latent.environment_dim")  # settings that it takes from the parent
# on the official splits: match rates from tables of CDVAE and DP-CDVAE, new crystals from table 2 of CDVAE
# (arXiv 2110.06197)
PUBLISHED = dict(
    perov_5=dict(
        match="CDVAE 97.5 % (RMS 0.0156), DP-CDVAE 90.0 %",
        structure_valid="100 %",
        composition_valid="98.59 %",
        cov_recall="99.45 %",
        cov_precision="98.46 %",
        wdist_density="0.1258",
        wdist_num_elements="0.0628",
    ),
    carbon_24=dict(match="CDVAE 55.2 % (RMS 0.1251), DP-CDVAE 45.6 %"),
    mp_20=dict(
        match="CDVAE 45.4 % (RMS 0.0356), DP-CDVAE 32.4 %",
        structure_valid="100 %",
        composition_valid="86.70 %",
        cov_recall="99.15 %",
        cov_precision="99.49 %",
        wdist_density="0.688",
        wdist_num_elements="1.43",
    ),
)


RULES = {"by the field's rule": "match", "strictly (`fit`, stol 0.1)": "strict"}
PARTS = dict(
    m="match",
    n="number of atoms differs",
    c="composition differs",
    l="lattice out of tolerance",
    s="right places, wrong species",
    x="atoms out of place",
    g=ONLY_GIVEN,  # the reduction to primitive cells splits the pair
    b=ONLY_BACK,
    f="could not be evaluated",
)


def letters(rows: list) -> str:  # one of PARTS a crystal
    "Write what became of each crystal."
    code = {words: k for k, words in PARTS.items()}
    return "".join("m" if r.get("matched") else code.get(r.get("reason"), "f") for r in rows)


def outcome_counts(outcome: str) -> dict:  # part -> crystals
    "Count what became of the crystals."
    return {words: n for k, words in PARTS.items() if (n := outcome.count(k))}


def train_command(
    run: dict,  # run.json of a training
    out: str,
) -> str:
    "Write the command that repeats a training, or what followed one."
    data = Path(run["data"]).name
    source = data if data in EMBEDDED or data not in DATA else f"DIR/{data}"
    limit = (
        ["--max-time", run["max_time"]]
        if run["max_time"] != "None"
        else ["--max-epochs", str(run["max_epochs"])]
    )
    first, more, inherited = ["train"], [], ()
    if "parent" in run:
        first, more = ["finetune", "--model", run["parent_name"]], ["--parts", run["parts"]]
        inherited = GIVEN_BY_FINETUNE
    else:
        more = ["--preset", run["preset"]]
    more += [x for k, v in run["changes"].items() if k not in inherited for x in ("--set", f"{k}={v}")]
    where = ["--data", source, "--out", out, *limit]
    how = ["--seed", str(run["seed"]), "--threads", str(run["machine"]["threads"])]
    return shlex.join(["dpcdvae", *first, *where, *how, *more])


def _table(head, rows) -> str:
    return "\n".join(
        [
            f"| {' | '.join(head)} |",
            "|" + "---|" * len(head),
            *(f"| {' | '.join(map(str, r))} |" for r in rows),
        ]
    )


RATES = (
    "match_rate",
    "rms",
    "match_rate_valid",
    "match_rate_twin_free",
    "composition_exact",
    "num_atoms_exact",
    "length_error",
    "angle_error",
    "valid",
    "truth_valid",
)
NEW = (
    "valid",
    "composition_valid",
    "structure_valid",
    "unique",
    "novel",
    "symmetric",
    "cov_recall",
    "cov_precision",
    "wdist_density",
    "wdist_num_elements",
    "wdist_property",
)


def data_of(training: dict) -> str:
    "Say what a model was trained on."
    name = training["data"]
    return (DATA_OFFICIAL if split_of(training) == "official" else DATA).get(name, name)


def training_facts(card: dict) -> str:  # markdown
    "Say how a model was trained."
    t, m = card["training"], card["training"]["machine"]
    rows = [
        ("data", f"{data_of(t)}; digest {t['data_digest']}"),
        ("crystals", f"{t['num_train']:,} for training, {t['num_val']:,} for validation"),
        (
            "training",
            f"{t['seconds'] / 60:.0f} minutes, {t['steps']:,} steps, {t['epochs']} epochs, "
            f"{t['crystals_seen']:,} crystals seen, seed {t['seed']}",
        ),
        ("machine", f"{m['threads']} thread(s) of {m['gpu'] or m['processor']}, torch {m['torch']}"),
        (
            "model",
            f"preset `{t['preset']}`{''.join(f', {k}={v}' for k, v in t['changes'].items())}; "
            f"{t['parameters']:,} parameters trained, and a prior for new crystals",
        ),
        ("file", f"{card['bytes'] / 1e6:.1f} MB, weights in float16, loaded as float32"),
        ("made with", f"`{card['command']}`"),
    ]
    rows += [("before that", before_text(before)) for before in lineage(card)[1:]]
    return _table(("", ""), rows)


def before_text(parent: dict) -> str:
    "Say how the weights were made from which a training began."
    t = parent["training"]
    return (
        f"{t['num_train']:,} crystals, {t['seconds'] / 60:.0f} minutes, {t['crystals_seen']:,} crystals "
        f"seen, with `{parent['command']}`"
    )


def reconstruction_facts(card: dict) -> str:  # markdown
    "Say how well held-out crystals come back."
    from dpcdvae.evaluation.metrics import METRICS

    free, about = card["reconstruction"]["free"], card["measured"]
    rows = [
        [METRICS[k].label, *(show(k, r["metrics"][k]) for r in free)]
        for k in RATES
        if all(r["metrics"].get(k, {}).get("value") is not None for r in free)
    ]
    text = [_table(["free decoding", *(f"seed {r['seed']}" for r in free)], rows), ""]
    if others := [(k, rs) for k, rs in card["reconstruction"].items() if k != "free"]:
        text += [
            "With parts of the target given, which shows what each of them costs:",
            "",
            _table(
                ["decoded", "match", "RMS of matches", "seed"],
                [
                    [
                        k,
                        show("match_rate", r["metrics"]["match_rate"]),
                        show("rms", r["metrics"]["rms"]),
                        r["seed"],
                    ]
                    for k, rs in others
                    for r in rs
                ],
            ),
            "",
        ]
    if same := card["as_free"]:
        text += [f"Nothing changes with {' or '.join(same)}: that was exact in all of them.", ""]
    if said := PUBLISHED.get(card["training"]["data"]):
        text += [f"Published, on the official split: {said['match']}.", ""]
    if strict := card.get("strict"):
        both = (f"{title} {with_chance(strict['metrics'], k)}" for title, k in RULES.items())
        text += [f"Next to chance (random coordinates in the true cell): {'; '.join(both)}.", ""]
    m = about["made_on"]
    return "\n".join(
        [
            *text,
            f"{about['num']} of the test "
            f"crystals{', ' + str(about['steps']) + ' steps' if about['steps'] else ''}, 95 % "
            f"intervals (Wilson, bootstrap); StructureMatcher with stol 0.5, angle 10°, ltol 0.3; "
            f"RMS over the matches in units of (V/n)^⅓; {m['threads']} thread(s) of "
            f"{m['gpu'] or m['processor']}, {m['date']}.",
        ]
    )


def failure_facts(card: dict) -> str:  # markdown
    "Say what fails, in words and shares."
    parts = card["failures"]
    total = sum(parts.values())
    return _table(
        ("what became of the crystals, all seeds", "share"),
        [(k, f"{100 * n / total:.1f} %") for k, n in parts.items()],
    )


def new_facts(card: dict) -> str:  # markdown
    "Say how good new crystals are."
    from dpcdvae.evaluation.metrics import METRICS

    g, said = card["generation"], PUBLISHED.get(card["training"]["data"], {})
    before = "" if g["run"] == card["name"] else "; measured before the weights were halved"
    return "\n".join(
        [
            _table(
                ("new crystals", "", *["CDVAE, official split"] * (len(said) > 1), "blind spot"),
                [
                    (
                        METRICS[k].label,
                        show(k, g["metrics"][k]),
                        *[said.get(k, "")] * (len(said) > 1),
                        METRICS[k].weakness,
                    )
                    for k in NEW
                    if k in g["metrics"]
                ],
            ),
            "",
            f"{g['num_new']:,} crystals, seed {g['seed']}, compared with the test crystals of the same "
            f"split{'; property ' + g['property'] if g['property'] else ''}; cut-offs of coverage "
            f"{tuple(g['cutoffs'])}{before}.",
        ]
    )


TWINS = dict(perov_5=", most of them a twin with A and B exchanged")


def known_formulas(card: dict) -> list[str]:  # a sentence, or none
    "Say how many test crystals have a formula that the model was trained on."
    [first, *_] = card.get("reconstruction", {}).get("free") or [dict(metrics={})]
    m = first["metrics"]
    if "match_rate_twin_free" not in m:
        return []
    share = 1 - m["match_rate_twin_free"]["total"] / m["match_rate"]["total"]
    return [
        f"Of the test crystals {100 * share:.0f} % have a formula of the training set"
        f"{TWINS.get(card['training']['data'], '')}: the twin-free rate leaves them out."
    ] * (0 < share < 1)


def limits(card: dict) -> list[str]:
    "Say what the model cannot do."
    t = card["training"]
    said = [
        f"It saw {t['num_train']:,} crystals for {minutes_trained(card)} minutes on "
        f"{'a GPU' if t['machine']['gpu'] else 'processor cores'}. Published models saw the official "
        f"splits for days; their figures are not to be compared with these without that remark."
        if t["data"] not in EMBEDDED
        else f"It saw {t['num_train']:,} crystals for {minutes_trained(card)} minutes."
    ]
    if get_config(t["preset"]).denoiser.network == "transformer":
        said.append(
            "Its denoiser is a transformer on pairs of atoms, not the papers' GemNet-T "
            "(chapter `nn/06_transformer`)."
        )
    if t["data"] in DATA_LIMITS:
        said.append(DATA_LIMITS[t["data"]])
    said += known_formulas(card)
    return said + [
        f"Cells of up to {card['max_atoms']} atoms, ordered, with elements like those of the training set.",
        "Composition, cell, number of atoms and each element's local environment reach the latent vector "
        "by skip connections (chapter `nn/03_heads`): reconstruction is easier for this model than for one "
        "that learns all of it through its graph network.",
        "A match forgives volume and small displacements, and valid is not stable: relax new "
        "crystals (`dpcdvae relax`) before believing in them.",
    ]


def page(card: dict) -> str:  # markdown
    "Write a model's card for people."
    name = card["name"]
    text = [
        f"# {name}",
        f"> A DP-CDVAE, trained on {data_of(card['training']).split(' (')[0].split(', ')[0]}",
        "",
        "```python",
        f'model = DPCDVAE.from_pretrained("{name}")',
        "```",
        f"`dpcdvae generate --model {name} --num 64 --out new`",
        "",
        "## How it was made",
        training_facts(card),
    ]
    if "DIR/" in card["command"]:
        text += [
            "",
            f"`DIR` holds the folder of that split; `--data {name}` downloads the official one and trains on "
            f"that.",
        ]
    if "reconstruction" in card:
        text += [
            "",
            "## How well held-out crystals come back",
            reconstruction_facts(card),
            "",
            failure_facts(card),
        ]
    if f := card.get("full_precision"):
        text += [
            "",
            f"Before the weights were halved, {show('match_rate', f['match_rate'])} of {f['num']} "
            f"test crystals matched (seed {f['seed']}, RMS {show('rms', f['rms'])}).",
        ]
    if "generation" in card:
        text += ["", "## New crystals", new_facts(card)]
    return "\n".join([*text, "", "## Limits", *(f"- {s}" for s in limits(card)), ""])


def read_results(
    name: str,  # of the model
    paths,
) -> dict:  # entries of a card
    """Collect what files of results say of a model.

    Its anatomy, its generation, its study before the weights were halved."""
    found = {}
    for path in map(Path, paths):
        r = json.loads(path.read_text())
        of = r["training"]["data"] if "training" in r else r.get("run", "")
        if r.get("name") == "strict":
            if plain_name(name) in (models := {plain_name(k): m for k, m in r["models"].items()}):
                found["strict"] = models[plain_name(name)]
            continue
        if plain_name(of) != plain_name(name):
            raise ModelError(
                f"{path} tells of {of or 'no model'}, not of {name}: its figures do not belong on this card"
            )
        if r.get("name") == "anatomy":
            found |= dict(
                reconstruction={
                    k: [
                        {x: y for x, y in one.items() if x in ("seed", "metrics", "seconds_per_crystal")}
                        for one in rs
                    ]
                    for k, rs in r["readings"].items()
                    if rs and "same_as" not in rs[0]
                },
                as_free=[k for k, rs in r["readings"].items() if rs and rs[0].get("same_as") == "free"],
                failures=outcome_counts("".join(one["outcome"] for one in r["readings"]["free"])),
                measured={k: r[k] for k in ("num", "steps", "made_on")},
            )
        elif "free, mean" in r.get("reconstruction", {}):
            found["full_precision"] = dict(
                num=r["num_test"],
                seed=r["seed"],
                **{k: r["reconstruction"]["free, mean"][k] for k in ("match_rate", "rms")},
            )
        elif r.get("name") == "generation":
            found["generation"] = {
                k: r[k] for k in ("run", "num_new", "seed", "property", "cutoffs", "made_on")
            } | dict(metrics={k: r["metrics"][k] for k in NEW if k in r["metrics"]})
        else:
            raise ModelError(
                f"{path} holds no results of {name} that a card knows: give those of `python -m "
                f"benchmarks anatomy`, `generation` or `study`"
            )
    return found


def pack(
    run,  # folder of a finished training
    name: str,  # of the model
    results=(),  # files that `python -m benchmarks` wrote
    folder=None,  # None: dpcdvae/weights
) -> Path:
    "Make a model that ships: half precision, with a card."
    folder = Path(folder) if folder else Path(str(files("dpcdvae"))) / "weights" / name
    training = json.loads((Path(run) / "run.json").read_text()) if (Path(run) / "run.json").exists() else {}
    if "steps" not in training:
        raise ModelError(
            f"{run} is not the folder of a finished training: its run.json with steps is missing"
        )
    training |= dict(data=Path(training["data"]).name)
    found = read_results(name, results)
    if "parent" in training:  # its card may be written over below
        card = read_card(training["parent_name"])
        found["parent"] = {k: card[k] for k in ("command", "training", "sha256", "parent") if k in card}
    model = DPCDVAE.from_pretrained(run)
    model.save(
        folder,
        half=True,
        name=name,
        **{k: v for k, v in model.card.items() if k != "name"},
        data=training["data"],
        trained=f"{training['seconds'] / 60:.0f} minutes, seed {training['seed']}",
    )
    if record := read_record(run):
        save_seen(folder, record.used(), record.about)
    weights = folder / "model.safetensors"
    card = dict(
        name=name,
        command=train_command(training, f"runs/{name}"),
        training=training,
        max_atoms=model.config.max_atoms,
        bytes=weights.stat().st_size,
        sha256=json.loads((folder / "config.json").read_text())["sha256"],
        **found,
    )
    return write_card(folder, card)


def write_card(folder: Path, card: dict) -> Path:  # the same folder
    "Write a card for programs and for people."
    atomic_write(folder / "card.json", json.dumps(card, indent=1) + "\n")
    atomic_write(folder / "README.md", page(card))
    return folder


def add_results(
    name,  # of a packed model: pretrained, or a folder
    results,  # files that `python -m benchmarks` wrote
) -> Path:
    "Bring the card of a packed model up to date; its weights stay as they are."
    card = read_card(name)
    return write_card(model_folder(name), card | read_results(card["name"], results))


def pack_or_update(run, name: str, results=(), folder=None) -> Path:
    "Pack a finished run; without one, only bring the card of a packed model up to date."
    if run:
        return pack(run, name, results, folder)
    known = read_card(folder or name)["name"]
    if known != name:
        raise ModelError(f"the model in {folder or name} is called {known}, not {name}")
    return add_results(folder or name, results)
