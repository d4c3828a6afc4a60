"""Make the embedded data set `perov_mini`: small ABX3 perovskites relaxed with CHGNet.

    python data/perov_mini/make.py --out data/perov_mini --workers 1 --limit 1200

Needs `chgnet` and `pymatgen`; runs on CPU without a network. Candidates come from charge balance and Shannon
radii alone, in an order fixed by the seed, and are relaxed in chunks of fixed content, so that neither the
number of workers nor an interruption changes the result. Finished chunks are appended to
`WORK/relaxed.jsonl`; the same command goes on from there.
"""

import argparse
import csv
import gzip
import hashlib
import io
import itertools
import json
import os
import re
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

# ----------------------------------------------------------------------------------------------------------
# ----- what is made
ANIONS = {"O": -2, "F": -1, "S": -2, "Cl": -1, "Br": -1, "Se": -2, "I": -1, "N": -3, "Te": -2}
SHARE = {
    "O": 10,
    "F": 4,
    "S": 2,
    "Cl": 3,
    "Br": 2,
    "Se": 1,
    "I": 2,
    "N": 1,
    "Te": 1,
}  # picks of each anion in a round
TOLERANCE, OCTAHEDRAL = (0.80, 1.13), (0.38, 0.95)
NOT_A_CATION = {"H", "C", "N", "O", "F", "Cl", "Br", "S", "Se", "P", "B", "Be", "Tc", "Pm", "Po", "At"}
TO_XII = {
    "VIII": 0.17,
    "IX": 0.12,
    "X": 0.07,
    "XI": 0.03,
    "XII": 0.0,
}  # added to a radius known at a lower coordination, Å
SITES = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])  # A, B, X, X, X
STRAIN, SHIFT = 0.03, 0.10  # width of the random strain and of the random displacement (Å)
CHUNK = 24  # crystals relaxed side by side
HESSIAN, STRETCH, STEP = (
    20.0,
    2.0,
    0.12,
)  # first guess of the curvature (eV/Å²), Å a unit strain, longest step (Å)
MAX_STRESS = 0.1  # GPa
VOLUME = (0.60, 1.60)  # allowed final volume over the volume of the ideal starting cell
CLOSEST = 0.70  # smallest allowed distance over the sum of ionic radii (B-X for A-X too)
X_X = 0.65  # smallest allowed X-X distance over twice the anion's radius
LONGEST_BOND = 1.45  # B keeps six X within this factor of its own shortest B-X distance
ANGLES, ASPECT = (60.0, 120.0), 1.5  # allowed cell angles (degrees) and longest over shortest axis
COLUMNS = ["material_id", "cif", "formula", "energy_per_atom", "spacegroup"]
GPA = 160.21766208  # eV/Å³ in GPa


@dataclass(frozen=True)
class Candidate:
    "One charge-balanced composition and the radii (Å) it was checked by."

    rank: int
    a: str
    b: str
    x: str
    charges: tuple
    radii: tuple
    tolerance: float
    octahedral: float

    @property
    def formula(self):
        return f"{self.a}{self.b}{self.x}3"

    @property
    def material_id(self):
        return f"pmini-{self.rank:05d}"

    @property
    def elements(self):
        return [self.a, self.b] + 3 * [self.x]

    @property
    def edge(self):  # ideal cubic edge, Å: mean of what the two bonds ask for
        ra, rb, rx = self.radii
        return 0.5 * (2 * (rb + rx) + 2**0.5 * (ra + rx))


# ----------------------------------------------------------------------------------------------------------
# ---- enumeration
def draw(seed, *words):
    "Return a number in [0,1) that depends on nothing but the seed and the words."
    digest = hashlib.sha256("|".join(map(str, (seed, *words))).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def shannon(element, charge, coordination):
    "Return Shannon's ionic radius (high spin where both are listed), or None."
    table = element.data.get("Shannon radii")
    if not isinstance(table, dict):
        return None
    spins = table.get(str(charge), {}).get(coordination, {})
    spin = next((s for s in ("", "High Spin", "Low Spin") if s in spins), None)
    return None if spin is None else spins[spin]["ionic_radius"]


def radius_a(element, charge):
    "Return the twelve-fold radius, extrapolated from the highest coordination that is listed."
    for coordination in ("XII", "XI", "X", "IX", "VIII"):
        r = shannon(element, charge, coordination)
        if r is not None:
            return r + TO_XII[coordination]


def cations(site):
    "List (symbol, charge, radius) of the cations that can take the A or the B site."
    from pymatgen.core import Element

    found = []
    for el in sorted(Element, key=lambda e: e.Z):
        if el.symbol in NOT_A_CATION or el.Z > 83 or el.is_noble_gas:
            continue
        charges = set(el.common_oxidation_states) | set(el.icsd_oxidation_states)
        for charge in sorted(c for c in charges if 1 <= c <= (3 if site == "A" else 8)):
            r = radius_a(el, charge) if site == "A" else shannon(el, charge, "VI")
            if r is not None and r > 0.3:
                found.append((el.symbol, charge, r))
    return found


def anion_radius(x):
    "Return the anion's radius: six-fold, or four-fold for nitride."
    from pymatgen.core import Element

    return shannon(Element(x), ANIONS[x], "VI") or shannon(Element(x), ANIONS[x], "IV")


def allowed(x):
    "Yield every charge-balanced composition of an anion whose two radius ratios are in range."
    rx = anion_radius(x)
    for (a, qa, ra), (b, qb, rb) in itertools.product(cations("A"), cations("B")):
        if a == b or x in (a, b) or qa + qb + 3 * ANIONS[x]:
            continue
        t, mu = (ra + rx) / (2**0.5 * (rb + rx)), rb / rx
        if TOLERANCE[0] <= t <= TOLERANCE[1] and OCTAHEDRAL[0] <= mu <= OCTAHEDRAL[1]:
            yield dict(
                a=a, b=b, x=x, charges=(qa, qb, ANIONS[x]), radii=(ra, rb, rx), tolerance=t, octahedral=mu
            )


def queue_of(x, seed):
    "Return an anion's compositions, once each, shuffled by the seed."
    best = {}
    for c in allowed(x):  # one set of charges a composition: the one nearest to t = 0.95
        key = (c["a"], c["b"])
        if key not in best or abs(c["tolerance"] - 0.95) < abs(best[key]["tolerance"] - 0.95):
            best[key] = c
    return sorted(best.values(), key=lambda c: draw(seed, "order", c["a"], c["b"], x))


def candidates(seed):
    "List all candidates, anions interleaved by their shares, numbered in that order."
    queues, order = {x: queue_of(x, seed) for x in ANIONS}, []
    while any(queues.values()):
        for x, n in SHARE.items():
            order += queues[x][:n]
            queues[x] = queues[x][n:]
    return [Candidate(rank=i, **c) for i, c in enumerate(order)]


def start_cell(c, seed):
    """Return the distorted cubic cell that a candidate's relaxation begins from.

    Lattice (3,3) Å, positions (5,3) Å."""
    rng = np.random.default_rng(int(draw(seed, "start", c.formula) * 2**53))
    strain = rng.normal(0, STRAIN, (3, 3))
    lattice = c.edge * (np.eye(3) + 0.5 * (strain + strain.T))
    return lattice, SITES @ lattice + rng.normal(0, SHIFT, (5, 3))


# ----------------------------------------------------------------------------------------------------------
# ----- relaxation
@lru_cache(1)
def chgnet():
    "Load CHGNet once a process, on one thread."
    import torch
    from chgnet.model import CHGNet

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    return CHGNet.load(use_device="cpu", verbose=False).requires_grad_(False)


def graph_of(elements, lattice, positions):
    "Return CHGNet's graph of a cell, or None where an atom has no neighbour at all."
    from pymatgen.core import Structure

    try:
        return chgnet().graph_converter(Structure(lattice, elements, positions, coords_are_cartesian=True))
    except ValueError:
        return None


def evaluate(graphs):
    """Return energy an atom (B,), forces (B,n,3) eV/Å and strain derivative (B,3,3) eV of five-atom cells in
    ONE backward pass."""
    import torch
    from chgnet.model.model import BatchedGraph

    m, n = chgnet(), 5
    g = BatchedGraph.from_graphs(graphs, m.bond_basis_expansion, m.angle_basis_expansion, compute_stress=True)
    energy = m._compute(g)["e"]
    grads = torch.autograd.grad(n * energy.sum(), [*g.atom_positions, *g.strains])
    total = energy.detach() + m.composition_model(graphs)
    forces, virial = -torch.stack(grads[: len(graphs)]), torch.stack(grads[len(graphs) :])
    return total.double().numpy(), forces.double().numpy(), virial.double().numpy()


def cell_at(q, lattice0):
    "Turn coordinates (24,) into lattice and positions: reference positions, then a symmetric strain."
    deform = np.eye(3) + q[15:].reshape(3, 3) / STRETCH
    return lattice0 @ deform, q[:15].reshape(5, 3) @ deform, deform


def gradient(forces, virial, deform):
    "Return dE/dq (24,): chain rule of `cell_at`."
    cell = np.linalg.solve(deform.T, virial)  # dE/dF = F^-T W
    return np.concatenate([-(forces @ deform.T).ravel(), (0.5 * (cell + cell.T) / STRETCH).ravel()])


def quasi_newton(hessian, grad):
    "Return a descent step that treats negative curvature as positive and is cut at `STEP`."
    w, v = np.linalg.eigh(hessian)
    step = -v @ ((v.T @ grad) / np.maximum(np.abs(w), 1.0))
    atoms = np.linalg.norm(step[:15].reshape(5, 3), axis=1).max()
    return step * min(1.0, STEP / max(atoms, np.abs(step[15:]).max(), 1e-12))


def bfgs(hessian, dq, dg):
    "Update a Hessian (24,24) with one step (Nocedal & Wright 2006 eq. 6.19)."
    hq, curvature = hessian @ dq, dq @ dg
    if abs(curvature) < 1e-8 or np.abs(dq).max() < 1e-7:
        return hessian
    return hessian + np.outer(dg, dg) / curvature - np.outer(hq, hq) / (dq @ hq)


class Relaxation:
    "One crystal on its way down; `q` holds reference positions (15) and strain times `STRETCH` (9)."

    def __init__(self, c, seed):
        self.c, (self.lattice0, pos) = c, start_cell(c, seed)
        self.q, self.hessian = np.concatenate([pos.ravel(), np.zeros(9)]), HESSIAN * np.eye(24)
        self.grad, self.steps, self.reason, self.done = None, 0, "", False

    def stop(self, reason=""):
        self.done, self.reason = True, reason

    def graph(self):
        "Return the graph of the present cell; stop where the cell has burst or shrunk beyond sense."
        lattice, pos, _ = cell_at(self.q, self.lattice0)
        ratio = np.linalg.det(lattice) / self.c.edge**3
        if not 0.4 < ratio < 2.5:
            return self.stop(f"volume ratio {ratio:.2f} during relaxation")
        g = graph_of(self.c.elements, lattice, pos)
        if g is None:
            self.stop("isolated atom")
        return g

    def update(self, energy, forces, virial, fmax, max_steps):
        "Take what CHGNet says of the present cell, test for convergence, and step."
        lattice, _, deform = cell_at(self.q, self.lattice0)
        self.energy, self.force = float(energy), float(np.linalg.norm(forces, axis=1).max())
        self.stress = float(np.abs(virial).max() / np.linalg.det(lattice) * GPA)
        if not np.isfinite([self.energy, self.force, self.stress]).all():
            return self.stop("energy not finite")
        if self.force <= fmax and self.stress <= MAX_STRESS:
            return self.stop()
        if self.steps >= max_steps:
            return self.stop("not converged")
        g = gradient(forces, virial, deform)
        if self.grad is not None:
            self.hessian = bfgs(self.hessian, self.dq, g - self.grad)
        self.grad, self.dq, self.steps = g, quasi_newton(self.hessian, g), self.steps + 1
        self.q = self.q + self.dq

    def record(self):
        "Return the JSON row of a finished relaxation, with the reason if it is rejected."
        lattice, pos, _ = cell_at(self.q, self.lattice0)
        frac = np.linalg.solve(lattice.T, pos.T).T
        frac = (frac - frac[0]) % 1.0  # the A atom at the origin
        reason = self.reason or check(self.c, lattice, frac)
        row = dict(asdict(self.c), formula=self.c.formula, reason=reason, steps=self.steps)
        if not self.reason:
            row.update(
                energy=self.energy,
                force=self.force,
                stress=self.stress,
                lattice=lattice.tolist(),
                frac=frac.tolist(),
            )
        return row


def distances(lattice, frac):
    "Return all distances (5,5,27) Å between atoms and the images of atoms in the 27 cells around."
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    d = np.linalg.norm((frac[None, :, None] + images - frac[:, None, None]) @ lattice, axis=-1)
    return np.where(d < 1e-6, np.inf, d)


def check(c, lattice, frac):
    "Return why a relaxed cell is not a sound perovskite, or an empty string."
    lengths, d = np.linalg.norm(lattice, axis=1), distances(lattice, frac)
    cosines = [lattice[i] @ lattice[j] / lengths[i] / lengths[j] for i, j in ((1, 2), (0, 2), (0, 1))]
    angles, ratio = np.degrees(np.arccos(cosines)), np.linalg.det(lattice) / c.edge**3
    shells = np.sort(d[1, 2:].ravel())[:6]
    ra, rb, rx = c.radii
    if not VOLUME[0] <= ratio <= VOLUME[1]:
        return f"volume ratio {ratio:.2f}"
    if angles.min() < ANGLES[0] or angles.max() > ANGLES[1]:
        return f"cell angle {angles.min():.0f} to {angles.max():.0f}"
    if lengths.max() / lengths.min() > ASPECT:
        return f"axis ratio {lengths.max() / lengths.min():.2f}"
    if shells[0] < CLOSEST * (rb + rx) or d[0, 2:].min() < CLOSEST * (rb + rx):
        return "cation-anion distance too short"
    if d[2:, 2:].min() < X_X * 2 * rx or d[:2, :2].min() < 2.0:
        return "like ions too close"
    if shells[5] > LONGEST_BOND * shells[0]:
        return f"octahedron opened: B-X {shells[0]:.2f} to {shells[5]:.2f} Å"
    return ""


def relax_chunk(job):
    "Relax one chunk of candidates side by side and return its rows."
    chunk, seed, fmax, max_steps = job
    runs, start = [Relaxation(c, seed) for c in chunk], time.time()
    while live := [r for r in runs if not r.done]:
        pairs = [(r, g) for r in live if (g := r.graph()) is not None]
        if not pairs:
            continue
        for (r, _), e, f, w in zip(pairs, *evaluate([g for _, g in pairs])):
            r.update(e, f, w, fmax, max_steps)
    return [dict(r.record(), seconds=round((time.time() - start) / len(runs), 3)) for r in runs]


# ----------------------------------------------------------------------------------------------------------
# -- cache and run
def settings(args):
    "Return what the cached rows depend on; another value asks for another cache."
    return dict(
        seed=args.seed, fmax=args.fmax, max_steps=args.max_steps, chunk=CHUNK, chgnet=version("chgnet")
    )


def read_cache(path, wanted):
    "Return rows by rank; a line cut off by an interruption is dropped from the file."
    if not path.exists():
        path.write_text(json.dumps(wanted) + "\n")
    lines = path.read_text().split("\n")
    if json.loads(lines[0]) != wanted:
        raise SystemExit(
            f"{path} was made with {lines[0]}, not {json.dumps(wanted)}: give another --work folder."
        )
    if lines[-1]:
        path.write_text("\n".join(lines[:-1]) + "\n")
    return {row["rank"]: row for row in map(json.loads, lines[1:-1])}


def append(path, rows):
    "Append rows to the cache in one write."
    with open(path, "a") as f:
        f.write("".join(json.dumps(r) + "\n" for r in rows))
        f.flush()
        os.fsync(f.fileno())


def chunk_rows(chunks, args, path):
    "Yield each chunk's rows in order, from the cache or freshly relaxed."
    rows = read_cache(path, settings(args))
    missing = [c for c in chunks if any(x.rank not in rows for x in c)]
    jobs = ((c, args.seed, args.fmax, args.max_steps) for c in missing)
    fresh = fresh_rows(jobs, args.workers)
    for c in chunks:
        if c in missing:
            if args.cached:
                return
            new = next(fresh)
            append(path, new)
            yield new
        else:
            yield [rows[x.rank] for x in c]


def fresh_rows(jobs, workers):
    "Relax chunks in this process, or in `workers` of them, keeping their order."
    if workers == 1:
        yield from map(relax_chunk, jobs)
        return
    from multiprocessing import get_context

    with get_context("spawn").Pool(workers) as pool:
        pending = [pool.apply_async(relax_chunk, (j,)) for j in itertools.islice(jobs, 2 * workers)]
        while pending:
            yield pending.pop(0).get()
            pending += [pool.apply_async(relax_chunk, (j,)) for j in itertools.islice(jobs, 1)]


def run(args):
    "Relax until `limit` crystals are accepted; return all rows up to the last one needed."
    pool = candidates(args.seed)
    chunks = [pool[i : i + CHUNK] for i in range(0, len(pool), CHUNK)]
    path, start, rows, accepted = Path(args.work) / "relaxed.jsonl", time.time(), [], 0
    path.parent.mkdir(parents=True, exist_ok=True)
    for new in chunk_rows(chunks, args, path):
        for row in new:
            if accepted < args.limit:
                rows.append(row)
                accepted += not row["reason"]
        print(
            f"{accepted} accepted of {len(rows)} tried ({len(pool)} candidates), {time.time() - start:.0f} s",
            flush=True,
        )
        if accepted >= args.limit:
            break
    return rows, len(pool)


# ----------------------------------------------------------------------------------------------------------
# --------- output
def split_of(row, seed):
    "Return the split of an UNORDERED composition, so that twins with A and B swapped stay together."
    u = draw(seed, "split", *sorted([row["a"], row["b"]]), row["x"])
    return "test" if u < 0.15 else "val" if u < 0.20 else "train"


def table_row(row):
    "Return the CSV row of an accepted crystal."
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifWriter

    s = Structure(row["lattice"], [row["a"], row["b"]] + 3 * [row["x"]], row["frac"])
    number = s.get_space_group_info(symprec=0.1)[1]
    return dict(
        material_id=f"pmini-{row['rank']:05d}",
        cif=str(CifWriter(s, significant_figures=6)),
        formula=row["formula"],
        energy_per_atom=f"{row['energy']:.5f}",
        spacegroup=number,
    )


def replace(path, data):
    "Write bytes to a file in one move."
    tmp = path.with_name(path.name + ".part")
    tmp.write_bytes(data)
    os.replace(tmp, path)


def csv_bytes(rows, columns):
    "Return rows as CSV text in bytes."
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def write(rows, num_candidates, args):
    "Write the three splits, the rejected list and the README."
    out, splits = Path(args.out), {"train": [], "val": [], "test": []}
    out.mkdir(parents=True, exist_ok=True)
    good, bad = [r for r in rows if not r["reason"]], [r for r in rows if r["reason"]]
    for r in good:
        splits[split_of(r, args.seed)].append(table_row(r))
    for name, table in splits.items():
        replace(out / f"{name}.csv.gz", gzip.compress(csv_bytes(table, COLUMNS), 9, mtime=0))
    bad = [dict(r, material_id=f"pmini-{r['rank']:05d}") for r in bad]
    replace(out / "rejected.csv", csv_bytes(bad, ["material_id", "formula", "reason"]))
    replace(out / "README.md", readme(good, bad, splits, num_candidates, args).encode())
    print(
        {k: len(v) for k, v in splits.items()},
        "rejected",
        len(bad),
        "bytes",
        sum(p.stat().st_size for p in out.glob("*.gz")),
    )


def quartiles(values, digits=2):
    "Return minimum, quartiles and maximum as one line of text."
    return " / ".join(f"{v:.{digits}f}" for v in np.percentile(values, [0, 25, 50, 75, 100]))


def facts(good):
    "Return the figures of the accepted crystals that the README states."
    cells = [np.array(r["lattice"]) for r in good]
    lengths = np.array([np.linalg.norm(c, axis=1) for c in cells])
    nearest = [distances(c, np.array(r["frac"])).min() for c, r in zip(cells, good)]
    elements = {e for r in good for e in (r["a"], r["b"], r["x"])}
    return dict(
        anions=", ".join(f"{x} {n}" for x, n in Counter(r["x"] for r in good).most_common()),
        num_elements=len(elements),
        volume=quartiles([abs(np.linalg.det(c)) / 5 for c in cells], 1),
        nearest=quartiles(nearest),
        aspect=quartiles(lengths.max(1) / lengths.min(1), 3),
        tolerance=quartiles([r["tolerance"] for r in good]),
        energy=quartiles([r["energy"] for r in good]),
        steps=quartiles([r["steps"] for r in good], 0),
    )


def reason_of(row):
    "Return a rejection's reason without its figures."
    return re.split(r"[:\d]", row["reason"])[0].strip()


README = """# perov_mini

{num_good} relaxed ABX3 crystals of five atoms, small enough to ship with the code: the set that examples,
tests and the demo run on.

| file | crystals |
|---|---|
| `train.csv.gz` | {train} |
| `val.csv.gz` | {val} |
| `test.csv.gz` | {test} |
| `rejected.csv` | {num_bad} compositions that were tried and not kept, each with its reason |

Columns of the splits: `material_id`, `cif` (P1, the A atom at the origin), `formula` (A, B, X in that
order), `energy_per_atom` (eV, CHGNet), `spacegroup` (number; spglib, tolerance 0.1 Å).

## Where it comes from
Everything is computed; nothing is copied from a database. `make.py` in this folder made it:

    python data/perov_mini/make.py --out data/perov_mini --limit {limit} --seed {seed}

It took {minutes:.0f} minutes on one core, goes on where it was stopped (`--work` names the folder of its
cache), and stops early where the candidates run out before the limit.

1. **Compositions.** A, B and X with balanced charges (X3 being {anion_list}), oxidation states and Shannon
   ionic radii from pymatgen {pymatgen}; the radius of A is twelve-fold (extrapolated from eight-fold or
   higher where Shannon lists none), of B six-fold, high spin where there is a choice. Kept: Goldschmidt
   tolerance factor {t0} to {t1}, octahedral factor {m0} to {m1}. The {num_candidates} candidates are ordered
   by a hash of the seed and the composition, the anions interleaved.
2. **Start.** The ideal cubic cell of the radii, with a random symmetric strain (standard deviation
   {strain}) and random displacements ({shift} Å), seeded by the composition.
3. **Relaxation.** Atoms and cell under CHGNet {chgnet} (model {model}, weights in its wheel), BFGS, until
   no force exceeds {fmax} eV/Å and no stress component {stress} GPa; at most {max_steps} steps.
4. **Selection.** Rejected: not converged in that number of steps; volume outside {v0} to {v1} of the ideal
   cell; axes in a ratio above {aspect_max}; cell angles outside {a0:.0f} to {a1:.0f} degrees; ions too
   close; B without six X in reach (within {bond} of its shortest bond).
5. **Splits.** By a hash of the seed and the *unordered* composition, 80/5/15 in expectation: a crystal and
   its twin with A and B swapped would always be in the same split. No composition occurs twice{twins}.

Tried {num_tried}, kept {num_good}. Rejections: {reasons}.

## What is in it
Minimum / quartiles / maximum over all three splits:

| | |
|---|---|
| crystals by anion | {anions} |
| elements | {num_elements} |
| volume an atom (Å³) | {volume} |
| shortest distance in the crystal (Å) | {nearest} |
| longest over shortest axis | {aspect} |
| tolerance factor | {tolerance} |
| energy (eV/atom) | {energy} |
| relaxation steps | {steps} |
| space group | {groups} |

## Limits
- Energies and shapes are those of a surrogate. CHGNet's authors report some 0.03 eV/atom against DFT on
  their own test data; nothing here was checked against DFT, and many of these compounds have never been
  made.
- A cell of five atoms cannot hold tilted octahedra (they need a doubled cell), and tilts are what most real
  perovskites below a tolerance factor of 0.95 do. Such crystals appear here cubic, sheared or polar
  instead.
- One start a composition: the minimum that was found need not be the lowest, and its symmetry is what the
  relaxation left, nothing was symmetrised. No comparison with competing phases was made: the energies are
  not energies above a hull.
- A different processor or torch version may change last digits (single precision); the files here are the
  record.

## Licence
The data are dedicated to the public domain under CC0 1.0. They were computed with CHGNet, whose code and
weights are under a modified BSD licence (Deng et al., Nature Machine Intelligence 5, 1031, 2023); none of
its code or weights is here.
"""


def readme(good, bad, splits, num_candidates, args):
    "Return the README's text, its figures taken from the rows themselves."
    groups = Counter(int(r["spacegroup"]) for table in splits.values() for r in table).most_common()
    reasons = Counter(map(reason_of, bad)).most_common()
    twins = len(good) - len({(frozenset((r["a"], r["b"])), r["x"]) for r in good})
    return README.format(
        num_good=len(good),
        num_bad=len(bad),
        num_tried=len(good) + len(bad),
        num_candidates=num_candidates,
        limit=args.limit,
        seed=args.seed,
        anion_list=", ".join(ANIONS),
        pymatgen=version("pymatgen"),
        chgnet=version("chgnet"),
        model=chgnet().version,
        fmax=args.fmax,
        stress=MAX_STRESS,
        minutes=sum(r["seconds"] for r in good + bad) / 60,
        max_steps=args.max_steps,
        t0=TOLERANCE[0],
        t1=TOLERANCE[1],
        m0=OCTAHEDRAL[0],
        m1=OCTAHEDRAL[1],
        strain=STRAIN,
        shift=SHIFT,
        v0=VOLUME[0],
        v1=VOLUME[1],
        aspect_max=ASPECT,
        a0=ANGLES[0],
        a1=ANGLES[1],
        bond=LONGEST_BOND,
        twins=f", {twins or 'no'} swapped pairs are in it",
        reasons=", ".join(f"{k} {n}" for k, n in reasons),
        groups=", ".join(f"{g}: {n}" for g, n in groups[:10])
        + f", {len(groups) - 10} more: {sum(n for _, n in groups[10:])}" * (len(groups) > 10),
        **{k: len(v) for k, v in splits.items()},
        **facts(good),
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", default="data/perov_mini", help="folder of the splits")
    p.add_argument(
        "--work",
        default=os.path.join(tempfile.gettempdir(), "perov_mini"),
        help="folder of the append-only cache",
    )
    p.add_argument("--workers", type=int, default=1, help="processes, one thread each")
    p.add_argument("--limit", type=int, default=1200, help="stop at this many accepted crystals")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--fmax", type=float, default=0.02, help="largest force on an atom, eV/Å")
    p.add_argument(
        "--max-steps", type=int, default=150, help="steps before a relaxation counts as not converged"
    )
    p.add_argument("--cached", action="store_true", help="relax nothing: write what the cache holds so far")
    args = p.parse_args()
    write(*run(args), args)


if __name__ == "__main__":
    main()
