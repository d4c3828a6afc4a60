"""Crystals whose lattice constants and heats of formation were measured

    python -m benchmarks.known --data DIR --runs runs/known

DIR holds mp_20, carbon_24 and mp_hull. Each crystal is built as it was measured, reconstructed by a
pretrained model from eight noises, and relaxed with CHGNet, as it was and as it came back. It writes
results/known.json; what was relaxed already is not done again.

Ten compounds of the test split of MP-20 (formula and space group), and four forms of carbon. Constants are
those of room temperature, rounded to 0.01 Å, by which tables differ (R. W. G. Wyckoff, Crystal Structures,
1963 and after; of BaTiO3, Fe2O3, MoS2, C60, lonsdaleite: Kwei 1993, Blake 1966, Bronsema 1986, Heiney 1991,
Bundy and Kasper 1967). Enthalpies of formation at 298 K come from the tables of NIST-JANAF, Kubaschewski and
the CRC handbook. They differ most for MoS2 (-235 to -276 kJ/mol), which takes the same place with either. Of
InN and lonsdaleite none is taken: the values for InN lie between -18 and -143 kJ/mol, lonsdaleite's was not
measured. C60 has more atoms than the model of carbon holds, so it is relaxed and not reconstructed. Its
molecules turn at room temperature (space group 225); it is built with one orientation (202).

Plan, committed before the first result (20 minutes of one core). Compared are, by a bootstrap over crystals,
the mean error of the lattice constants of what was built and relaxed, and of the reconstruction of lowest
energy; by Kendall's rank correlation with its exact p, the order of the heats of formation of compounds with
measured ones and with those of the calculator, as built, as reconstructed (the first noise), and as
reconstructed and relaxed (the lowest of eight). Of carbon, with three measured forms, the order is stated and
not tested.

Prediction: CHGNet errs by less than 2 % but for the distance of graphite's layers and of C60 molecules, for
its DFT has no dispersion. What comes back relaxes to the same constants within 0.2 %. Orders agree (tau above
0.8), and AgBr and CdTe are exchanged, as in DFT. Unrelaxed reconstructions order worse. Graphite lies below
diamond, diamond below C60. Our mind would change: constants of reconstructions that differ from those of the
crystal as built, or an order that relaxing does not mend.

Changed after a first run, in which none of 24 reconstructions of carbon matched: Structures are read in
primitive cells, of 2 and 4 atoms for carbon, and Carbon-24 has none below 6. The crystals of carbon are now
handed over as a batch of cells of 8 atoms, which stay as they are: supercells whose shape lies nearest to a
cell of the training set. Columns on space groups were added, too, for the structure of lowest energy is not
always the measured one, by the calculator's own account."""

import argparse
import itertools
import json
from functools import cache
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from benchmarks.speed import circumstances, rounded
from benchmarks.studies import chance
from benchmarks.tables import by_chance, table
from dpcdvae.cli.commands import load_model
from dpcdvae.crystal.batch import CrystalBatch
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.energy.hull import read_hull
from dpcdvae.energy.relax import energies
from dpcdvae.evaluation.compare import STOL, STOLS, space_group
from dpcdvae.evaluation.entries import Entry
from dpcdvae.evaluation.matching import best_matches, match_rows
from dpcdvae.evaluation.reduction import reduce_crystals
from dpcdvae.evaluation.statistics import mean

NOISES = 8
EV = 96.485  # kJ/mol
OUT = Path("results/known.json")
# name, formula, space group, constants (Å), sites, enthalpy of formation (kJ/mol of formula)
COMPOUNDS = (
    ("lithium fluoride", "LiF", 225, dict(a=4.03), dict(Li=[0, 0, 0], F=[0.5, 0.5, 0.5]), -616.0),
    ("lithium chloride", "LiCl", 225, dict(a=5.13), dict(Li=[0, 0, 0], Cl=[0.5, 0.5, 0.5]), -408.6),
    ("silver bromide", "AgBr", 225, dict(a=5.77), dict(Ag=[0, 0, 0], Br=[0.5, 0.5, 0.5]), -100.4),
    ("cadmium telluride", "CdTe", 216, dict(a=6.48), dict(Cd=[0, 0, 0], Te=[0.25, 0.25, 0.25]), -92.5),
    ("potassium oxide", "K2O", 225, dict(a=6.44), dict(O=[0, 0, 0], K=[0.25, 0.25, 0.25]), -361.5),
    ("beta brass", "CuZn", 221, dict(a=2.95), dict(Cu=[0, 0, 0], Zn=[0.5, 0.5, 0.5]), -24.0),
    (
        "barium titanate",
        "BaTiO3",
        99,
        dict(a=3.99, c=4.04),
        dict(Ba=[0, 0, 0], Ti=[0.5, 0.5, 0.522], O=[[0.5, 0.5, -0.024], [0.5, 0, 0.489]]),
        -1659.8,
    ),
    (
        "indium nitride",
        "InN",
        186,
        dict(a=3.54, c=5.70),
        dict(In=[1 / 3, 2 / 3, 0], N=[1 / 3, 2 / 3, 0.376]),
        None,
    ),
    (
        "molybdenite",
        "MoS2",
        194,
        dict(a=3.16, c=12.29),
        dict(Mo=[1 / 3, 2 / 3, 0.25], S=[1 / 3, 2 / 3, 0.621]),
        -276.1,
    ),
    (
        "hematite",
        "Fe2O3",
        167,
        dict(a=5.04, c=13.77),
        dict(Fe=[0, 0, 0.355], O=[0.306, 0, 0.25]),
        -824.2,
    ),
)
CARBON = (
    ("diamond", "C", 227, dict(a=3.57), dict(C=[0, 0, 0]), 1.9),
    ("graphite", "C", 194, dict(a=2.46, c=6.71), dict(C=[[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]]), 0.0),
    ("lonsdaleite", "C", 194, dict(a=2.52, c=4.12), dict(C=[1 / 3, 2 / 3, 0.0625]), None),
)
CELLS = dict(  # supercells of 8 atoms, of the primitive cells
    diamond=[[1, 0, 0], [0, 2, 0], [0, 1, 2]],
    graphite=[[1, 0, 0], [0, 2, 0], [0, 0, 1]],
    lonsdaleite=[[1, 0, 0], [0, 1, 0], [0, 0, 2]],
)
C60 = ("C60", "C", 202, dict(a=14.17), None, 38.8)


def lattice_of(group: int, constants: dict) -> Lattice:
    "Make the conventional lattice of a space group."
    a, c = constants["a"], constants.get("c", constants["a"])
    hexagonal = 143 <= group <= 194
    return Lattice.hexagonal(a, c) if hexagonal else Lattice.tetragonal(a, c)


def fullerite(a: float = 14.17, bond: float = 1.43) -> Structure:  # primitive cell, 60 atoms
    "Put C60 molecules, twofold axes along the edges, at the places of a face-centred cubic crystal."
    golden = (1 + 5**0.5) / 2
    corners = set()
    for x in ((0, 1, 3 * golden), (1, 2 + golden, 2 * golden), (2, 1 + 2 * golden, golden)):
        for signs in itertools.product((1, -1), repeat=3):
            y = [s * v for s, v in zip(signs, x)]
            corners |= {tuple(y[(i + k) % 3] for i in range(3)) for k in range(3)}
    cell = Lattice(a / 2 * (1 - np.eye(3)))
    coords = np.array(sorted(corners)) * bond / 2
    return Structure(cell, ["C"] * len(coords), coords, coords_are_cartesian=True)


def built(known: tuple) -> Structure:
    "Build a crystal as it was measured: a reduced primitive cell, of carbon one of 8 atoms."
    name, _, group, constants, sites, _ = known
    if sites is None:
        return fullerite(constants["a"])
    pairs = [(e, x) for e, xs in sites.items() for x in np.atleast_2d(xs).tolist()]
    species, coords = zip(*pairs)
    cell = Structure.from_spacegroup(group, lattice_of(group, constants), species, coords)
    cell = cell.get_primitive_structure()
    if name in CELLS:
        cell.make_supercell(CELLS[name])
    return cell.get_reduced_structure("niggli")


def measured_like(structure, known: tuple) -> dict | None:  # constants (Å); None: another structure
    "Take the constants of the conventional cell, where space group and primitive cell are the measured ones."
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    if space_group(structure) != known[2]:
        return None
    found = SpacegroupAnalyzer(structure, symprec=0.1)
    if len(found.find_primitive()) != primitive_size(known[0]):
        return None
    cell = found.get_conventional_standard_structure().lattice
    return {k: float(getattr(cell, k)) for k in known[3]}


@cache
def primitive_size(name: str) -> int:  # atoms
    "Count the atoms of a measured crystal's primitive cell."
    (known,) = (k for k in (*COMPOUNDS, *CARBON, C60) if k[0] == name)
    return len(built(known).get_primitive_structure())


def relaxed(structures: list, names: list, folder: Path) -> list[dict]:
    "Relax crystals, or take what is there."
    entries = [Entry(i, n, s) for i, (n, s) in enumerate(zip(names, structures))]
    return energies(entries, folder, workers=1, progress=False)[0]


def outcome(row: dict, known: tuple) -> dict:
    "Keep the energies of a relaxed crystal, its space group and its constants."
    if not row.get("converged"):
        return dict(reason=row.get("reason") or "not converged", energy=row.get("energy"))
    end = row.get("structure") or Structure.from_str(row["cif"], fmt="cif")
    kept = dict(energy=row["energy"], relaxed_energy=row["relaxed_energy"], group=space_group(end))
    return kept | dict(constants=measured_like(end, known))


def study_set(known: tuple, model_name: str, train: Path, folder: Path, seed: int) -> list[dict]:
    "Reconstruct and relax crystals of one model."
    model, crystals = load_model(model_name), [built(k) for k in known]
    names = [k[0] for k in known]
    truth = [s for s in crystals for _ in range(NOISES)]
    batch = CrystalBatch.from_structures(truth)  # stays in its cells
    placed = model.reconstruct(batch, seed=seed, progress=False).crystals.to_structures()
    found = match_rows(placed, truth)
    reference = load_crystals(train, split="train", progress=False)
    as_train = reduce_crystals(reference.to_structures())
    rms, best, _ = best_matches(reduce_crystals(crystals), as_train)
    rows = relaxed(crystals, names, folder / f"{model_name}-built")
    labels = [f"{n}, noise {i}" for n in names for i in range(NOISES)]
    ends = relaxed(placed, labels, folder / f"{model_name}-placed")
    out = []
    for i, k in enumerate(known):
        mine = slice(NOISES * i, NOISES * (i + 1))
        each = zip(ends[mine], found.field_rms[mine], found.matches.max_dist[mine])
        placements = [
            outcome(row, k) | dict(match=bool(field < STOL), strict=bool(far < STOLS[-1]))
            for row, field, far in each
        ]
        seen = reference.name(int(best[i])) if np.isfinite(rms[i]) else None
        out.append(described(k, crystals[i], rows[i]) | dict(seen=seen, model=model_name, placed=placements))
    return out


def described(known: tuple, crystal, row: dict) -> dict:
    "Write what was measured of a crystal, and what the calculator makes of it."
    name, formula, group, constants, _, enthalpy = known
    about = dict(name=name, formula=formula, group=group, num_atoms=len(crystal), measured=constants)
    return about | dict(enthalpy=enthalpy, built=outcome(row, known))


def lowest(row: dict) -> dict | None:  # outcome
    "Take the relaxed reconstruction of lowest energy."
    ended = [p for p in row.get("placed", ()) if "relaxed_energy" in p]
    return min(ended, key=lambda p: p["relaxed_energy"]) if ended else None


def num_back(placed: list) -> int:
    "Count the reconstructions that relax to the measured structure."
    return sum(p.get("constants") is not None for p in placed)


def error_of(constants: dict | None, measured: dict) -> float | None:  # mean of the absolute relative errors
    "Compare lattice constants."
    if constants is None:
        return None
    return float(np.mean([abs(constants[k] / v - 1) for k, v in measured.items()]))


def errors(crystals: list, seed: int = 0) -> dict:  # what -> mean, low, high, count
    "Average the errors of lattice constants over crystals."
    kinds = dict(
        built=[error_of(r["built"].get("constants"), r["measured"]) for r in crystals],
        placed=[error_of((lowest(r) or {}).get("constants"), r["measured"]) for r in crystals],
        between=[_between(r) for r in crystals],
    )
    return {k: mean([e for e in v if e is not None], seed) for k, v in kinds.items()}


def _between(row: dict) -> float | None:
    "Compare the constants of a reconstruction with those of the crystal as built, both relaxed."
    one, other = (lowest(row) or {}).get("constants"), row["built"].get("constants")
    return error_of(one, other) if one and other else None


def per_atom(row: dict) -> float | None:  # eV
    "Turn a measured enthalpy of formation into one an atom."
    from pymatgen.core import Composition

    enthalpy = row["enthalpy"]
    return None if enthalpy is None else enthalpy / EV / Composition(row["formula"]).num_atoms


def heats(crystals: list, hull) -> list[dict]:  # of crystals with a measured heat, the lowest first; eV/atom
    "Put measured heats of formation next to those of the calculator."
    of = lambda row, energy: None if energy is None else hull.formation_energy(row["formula"], energy)
    rows = []
    for r in crystals:
        if r["enthalpy"] is None:
            continue
        first = r["placed"][0].get("energy") if "placed" in r else None
        found = dict(built=r["built"].get("relaxed_energy"), first=first)
        found |= dict(placed=(lowest(r) or {}).get("relaxed_energy"))
        rows.append(dict(name=r["name"], measured=per_atom(r)) | {k: of(r, e) for k, e in found.items()})
    return sorted(rows, key=lambda r: r["measured"])


def order(rows: list, kind: str) -> dict:  # tau, p, pairs in the measured order, pairs, the exchanged ones
    "Compare an order with the measured one."
    from scipy.stats import kendalltau

    both = [(r["name"], r["measured"], r[kind]) for r in rows if r[kind] is not None]
    wrong = [
        f"{a[0]} and {b[0]}" for a, b in itertools.combinations(both, 2) if (a[1] - b[1]) * (a[2] - b[2]) <= 0
    ]
    pairs = len(both) * (len(both) - 1) // 2
    tau, p = kendalltau([b[1] for b in both], [b[2] for b in both], method="exact")
    return dict(tau=float(tau), p=float(p), right=pairs - len(wrong), pairs=pairs, exchanged=wrong)


KINDS = dict(built="as built, relaxed", placed="reconstructed and relaxed", first="reconstructed")


def known_table(r: dict) -> str:  # markdown
    "Put measured and computed constants side by side."
    head = ["crystal", "constant", "measured, Å", "built and relaxed", "reconstructed and relaxed", "strict"]
    head += ["match", "relax back", "lowest, meV/atom", "in training"]
    rows = []
    for c in r["crystals"]:
        ends = c["built"].get("constants"), (lowest(c) or {}).get("constants")
        for k, v in c["measured"].items():
            cells = [_beside(e and e[k], v) for e in ends]
            rows.append([f"{c['name']} ({c['formula']})", k, f"{v:.2f}", *cells, *_counted(c)])
    about = (
        f"{r['calculator']}. Reconstructed and relaxed: the lowest of {r['noises']} noises in energy; how "
        "far it lies above the crystal as built and relaxed, and its space group. – : another structure, by "
        "space group and primitive cell, or none. In training: the crystal of the training split that "
        "matches. Measured at room temperature; the calculator knows no motion of atoms."
    )
    return f"{table(head, rows)}\n\n{about}\n\n{heat_table(r)}"


def _beside(value: float | None, measured: float) -> str:
    return "–" if value is None else f"{value:.3f} ({100 * (value / measured - 1):+.1f} %)"


def _counted(c: dict) -> list[str]:
    if "placed" not in c:
        return ["–"] * 5
    n, best, ended = len(c["placed"]), lowest(c), c["built"].get("relaxed_energy")
    counts = [*(sum(p[k] for p in c["placed"]) for k in ("strict", "match")), num_back(c["placed"])]
    above = "–"
    if best and ended is not None:
        above = f"{1e3 * (best['relaxed_energy'] - ended):+.0f} ({best['group']})"
    return [*(f"{k} of {n}" for k in counts), above, c["seen"] or "no"]


def heat_table(r: dict) -> str:  # markdown
    "Put measured and computed heats of formation side by side."
    show = lambda x: "–" if x is None else f"{x:.3f}"
    head = ["heat of formation, eV/atom", "measured", *KINDS.values()]
    rows = [[h["name"], *(show(h[k]) for k in ("measured", *KINDS))] for h in r["heats"] + r["carbon_heats"]]
    return table(head, rows)


def answer(r: dict) -> str:  # markdown
    "Say what became of constants and order."
    said = [_constants_sentence(r["errors"], r["crystals"]), _farthest(r["crystals"]), _counts(r["crystals"])]
    said[-1] += " " + by_chance(r["chance"].items())
    for kind, words in KINDS.items():
        said.append(_order_sentence(words, order(r["heats"], kind)))
    for kind in ("built", "placed"):
        rows = [h for h in r["carbon_heats"] if h[kind] is not None]
        names = [h["name"] for h in sorted(rows, key=lambda h: h[kind])]
        right = [h["name"] for h in rows]
        against = "as measured" if names == right else f"measured is {' < '.join(right)}"
        said.append(f"Carbon, {KINDS[kind]}: {' < '.join(names)}, {against}.")
    return "\n".join(f"- {s}" for s in said)


def heats_figure(r: dict):
    "Draw computed heats of formation against measured ones."
    import plotly.graph_objects as go

    from dpcdvae.viz.atoms import paper, pretty

    rows = r["heats"] + r["carbon_heats"]
    ends = [f(h["measured"] for h in rows) for f in (min, max)]
    fig = go.Figure(go.Scatter(x=ends, y=ends, mode="lines", line=dict(color="#868e96", dash="dot")))
    fig.data[0].update(showlegend=False, hoverinfo="skip")
    short = {c["name"]: c["name"] if c["formula"] == "C" else pretty(c["formula"]) for c in r["crystals"]}
    for (kind, words), symbol in zip(KINDS.items(), ("circle-open", "cross", "x-thin-open")):
        some = [h for h in rows if h[kind] is not None]
        fig.add_scatter(x=[h["measured"] for h in some], y=[h[kind] for h in some], name=words)
        fig.data[-1].update(
            mode="markers", marker=dict(size=9, symbol=symbol), text=[h["name"] for h in some]
        )
    built = [h for h in rows if h["built"] is not None]
    for k, h in enumerate(built):  # by turns on either side, so that neighbours do not touch
        side = dict(ax=-44, ay=-16) if k % 2 else dict(ax=44, ay=16)
        arrow = dict(arrowhead=0, arrowwidth=0.6, font_size=11)
        fig.add_annotation(x=h["measured"], y=h["built"], text=short[h["name"]], **side, **arrow)
    fig.update_xaxes(title="measured (eV/atom)").update_yaxes(title="computed (eV/atom)")
    return paper(fig, height=420, margin=dict(t=10))


def _constants_sentence(found: dict, crystals: list) -> str:
    share = lambda m: f"{100 * m['value']:.1f} % [{100 * m['low']:.1f}, {100 * m['high']:.1f}]"
    b, p, d = (found[k] for k in ("built", "placed", "between"))
    other = sum("placed" in c for c in crystals) - p["count"]
    return (
        f"Lattice constants differ from the measured ones by {share(b)} for the {b['count']} crystals that "
        f"keep their structure when they are relaxed as built, by {share(p)} for the {p['count']} whose "
        f"reconstruction relaxes to it; between the two lie {share(d)} ({d['count']} crystals). "
        f"The lowest reconstruction of {other} more has another structure, and other constants with it."
    )


def _farthest(crystals: list) -> str:
    "Name the constant that relaxing as built changes most."
    found = [
        (100 * (ends[k] / v - 1), f"{k} of {c['name']}")
        for c in crystals
        if (ends := c["built"].get("constants"))
        for k, v in c["measured"].items()
    ]
    far = sorted(found, key=lambda x: -abs(x[0]))[:3]
    return "Farthest off as built and relaxed: " + ", ".join(f"{n} ({e:+.1f} %)" for e, n in far) + "."


def _counts(crystals: list, gap: float = 1e-3) -> str:
    "Count what comes back, and name the crystals of which the calculator prefers another structure."
    some = [c for c in crystals if "placed" in c]
    every = [p for c in some for p in c["placed"]]
    strict, field = (sum(p[k] for p in every) for k in ("strict", "match"))
    pairs = [(c, best, c["built"]["relaxed_energy"]) for c in some if (best := lowest(c))]
    lower = [
        f"{c['name']} (space group {best['group']}, {1e3 * (ended - best['relaxed_energy']):.0f})"
        for c, best, ended in pairs
        if best["relaxed_energy"] < ended - gap
    ]
    other = f" Below the measured structure, by so many meV/atom, relax: {', '.join(lower)}." if lower else ""
    return (
        f"Of {len(every)} reconstructions {strict} match strictly, {field} by the field's rule, and "
        f"{num_back(every)} relax to the measured structure (its space group and primitive cell).{other}"
    )


def _order_sentence(words: str, o: dict) -> str:
    wrong = f"; the wrong way: {', '.join(o['exchanged'])}" if o["exchanged"] else ""
    said = "follow the measured order" if o["tau"] > 0 else "run against the measured order"
    if o["p"] >= 0.05:
        said = "leave undecided whether they follow the measured order"
    predicted = f"tau = {o['tau']:.2f}, above 0.8 was predicted, p = {o['p']:.1g}"
    return (
        f"Heats of formation, {words}, **{said}**: {o['right']} of {o['pairs']} pairs ({predicted}{wrong})."
    )


def run(data: Path, runs: Path, seed: int) -> dict:
    "Study compounds and carbon."
    hull = read_hull(data / "mp_hull")
    compounds = study_set(COMPOUNDS, "mp-20", data / "mp_20", runs, seed)
    carbon = study_set(CARBON, "carbon-24", data / "carbon_24", runs, seed)
    ball = built(C60)
    carbon.append(described(C60, ball, relaxed([ball], ["C60"], runs / "C60")[0]))
    summary = json.loads((runs / "C60" / "energies.json").read_text())
    crystals = compounds + carbon
    levels = {
        name: chance(CrystalBatch.from_structures([built(k) for k in known for _ in range(NOISES)]))
        for name, known in (("compounds", COMPOUNDS), ("carbon", CARBON))
    }
    about = dict(name="known", seed=seed, noises=NOISES, calculator=summary["calculator"])
    found = dict(crystals=crystals, errors=errors(crystals, seed), heats=heats(compounds, hull))
    found |= dict(carbon_heats=heats(carbon, hull), chance=levels)
    return about | rounded(found, 6) | dict(made_on=circumstances())


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.known", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder with mp_20, carbon_24, mp_hull")
    p.add_argument("--runs", type=Path, default=Path("runs/known"), help="where relaxed crystals are kept")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=OUT)
    a = p.parse_args()
    result = run(a.data, a.runs, a.seed)
    atomic_write(a.out, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(answer(result))


if __name__ == "__main__":
    main()
