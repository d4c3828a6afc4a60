"""Make the embedded data set `carbon_mini`: carbon from random structure search, relaxed with CHGNet.

    python data/carbon_mini/make.py --out data/carbon_mini --keep 200 --seed 0

Needs `chgnet`; runs on CPU without a network. A candidate is decided by the seed and its number alone;
candidates are made, a block at a time, until enough is kept. Finished relaxations stay in WORK, and the same
command goes on from there. What is made and not kept is listed with its reason in `rejected.csv`.
"""

import argparse
import csv
import gzip
import hashlib
import io
import time
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.symmetry.groups import SpaceGroup, sg_symbol_from_int_number

from dpcdvae.data.files import atomic_write
from dpcdvae.energy.relax import energies
from dpcdvae.evaluation.compare import space_group
from dpcdvae.evaluation.entries import Entry

MAX_ATOMS, MIN_ATOMS = 12, 2
VOLUME = 5.0, 9.5  # Å³ an atom at the start: from below diamond (5.7) to above graphite (8.8)
MIN_DISTANCE = 1.20  # Å, smallest distance at the start
DENSITY = 1.2, 4.2  # g/cm³ of what is kept
SHORTEST = 1.15  # Å, smallest distance of what is kept
HIGHEST = 1.5  # eV/atom above the best of all
SPECIAL = np.array([0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4])
FMAX, MAX_STEPS = 0.03, 400  # eV/Å, steps
BLOCK = 50  # tries between two looks at what is kept
SHARES = (("train", 0.6), ("val", 0.7), ("test", 1.0))


def cell(rng, number, volume):
    "Draw a conventional cell that fits the crystal system of a space group."
    a, b, c = np.exp(rng.normal(0, 0.3, 3))
    angles = rng.uniform(65, 115, 3)
    if number >= 195:
        a = b = c
        angles[:] = 90
    elif number >= 143:
        b = a
        angles[:] = 90, 90, 120
    elif number >= 75:
        b = a
        angles[:] = 90
    elif number >= 16:
        angles[:] = 90
    elif number >= 3:
        angles[[0, 2]] = 90
    return Lattice.from_parameters(a, b, c, *angles).scale(volume)


def attempt(seed, k, tries=200):
    "Draw a symmetric arrangement of atoms that keep apart; the k-th one of a seed."
    rng = np.random.default_rng([seed, k])
    for _ in range(tries):
        number = int(rng.integers(1, 231))
        group = SpaceGroup(sg_symbol_from_int_number(number, hexagonal=True))
        orbits, want = [], int(rng.integers(MIN_ATOMS, 4 * MAX_ATOMS + 1))
        while sum(map(len, orbits)) < want and len(orbits) < 4:
            point = np.where(rng.random(3) < 0.6, rng.choice(SPECIAL, 3), rng.random(3))
            orbits.append(group.get_orbit(point))
        frac = np.concatenate(orbits)
        if len(frac) > 4 * MAX_ATOMS:
            continue
        s = (
            Structure(cell(rng, number, len(frac) * rng.uniform(*VOLUME)), ["C"] * len(frac), frac)
            .get_primitive_structure()
            .get_reduced_structure()
        )
        if not MIN_ATOMS <= len(s) <= MAX_ATOMS:
            continue
        apart = s.distance_matrix + np.diag([min(s.lattice.abc)] * len(s))
        if apart.min() >= MIN_DISTANCE:
            return s
    return None


def reason_against(row, structure, lowest, kept, matcher):
    "Say why a relaxed crystal is not kept, or nothing."
    if not row.get("converged"):
        return row["reason"]
    apart = structure.distance_matrix + np.diag([min(structure.lattice.abc)] * len(structure))
    if not DENSITY[0] <= structure.density <= DENSITY[1]:
        return "density"
    if apart.min() < SHORTEST:
        return "atoms too close"
    if row["relaxed_energy"] - lowest > HIGHEST:
        return "energy too high"
    if len(structure) > MAX_ATOMS:
        return "too many atoms"
    if any(matcher.fit(structure, k) for k in kept if abs(k.density - structure.density) < 0.15):
        return "found before"
    return ""


def table(columns, rows):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([columns, *rows])
    return out.getvalue()


def select(rows):
    "Tell what is kept, in the order of the tries, from what is not and why."
    lowest, matcher, kept, rejected = (
        min((r["relaxed_energy"] for r in rows if r.get("converged")), default=0.0),
        StructureMatcher(),
        [],
        [],
    )
    for row in rows:
        s = (
            Structure.from_str(row["cif"], fmt="cif").get_primitive_structure().get_reduced_structure()
            if row.get("cif")
            else None
        )
        if why := reason_against(row, s, lowest, [k for k, _ in kept], matcher):
            rejected.append([row["material_id"], row.get("num_atoms", ""), why, row.get("detail", "")])
        else:
            kept.append((s, row))
    return kept, rejected, lowest


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    (
        p.add_argument("--out", type=Path, required=True),
        p.add_argument("--keep", type=int, default=200),
        p.add_argument("--seed", type=int, default=0),
    )
    (
        p.add_argument("--workers", type=int),
        p.add_argument("--work", type=Path, default=Path("runs/carbon_mini")),
    )
    a = p.parse_args()
    warnings.filterwarnings("ignore")
    start, rows, kept = time.time(), [], []
    while len(kept) < a.keep:
        first = len(rows) and int(rows[-1]["material_id"][6:]) // BLOCK * BLOCK + BLOCK
        tried = [(k, s) for k in range(first, first + BLOCK) if (s := attempt(a.seed, k)) is not None]
        new, summary = energies(
            [Entry(k, f"cmini-{k:05d}", s) for k, s in tried],
            a.work / f"{first:05d}",
            "chgnet",
            FMAX,
            MAX_STEPS,
            workers=a.workers,
            timeout=300,
            progress=False,
        )
        rows += new
        kept, rejected, lowest = select(rows)
        print(f"tried {len(rows)}, kept {len(kept)}, {time.time() - start:.0f} s", flush=True)
    out = {name: [] for name, _ in SHARES}
    for s, row in kept:
        u = (
            int.from_bytes(hashlib.sha256(f"{a.seed}|{row['material_id']}".encode()).digest()[:8], "big")
            / 2**64
        )
        split = next(name for name, end in SHARES if u < end)
        out[split].append(
            [row["material_id"], str(CifWriter(s)), round(row["relaxed_energy"], 5), space_group(s), len(s)]
        )
    a.out.mkdir(parents=True, exist_ok=True)
    for name, lines in out.items():
        atomic_write(
            a.out / f"{name}.csv.gz",
            gzip.compress(
                table(["material_id", "cif", "energy_per_atom", "spacegroup", "num_atoms"], lines).encode(),
                mtime=0,
            ),
        )
    atomic_write(a.out / "rejected.csv", table(["material_id", "num_atoms", "reason", "detail"], rejected))
    print(
        f"tried {len(rows)}, kept {len(kept)} "
        f"({', '.join(f'{k} {len(v)}' for k, v in out.items())}); rejected: "
        f"{dict(Counter(r[2] for r in rejected).most_common())}"
    )
    lines = [line for split in out.values() for line in split]
    quartiles = np.quantile([line[2] - lowest for line in lines], [0, 0.25, 0.5, 0.75, 1])
    print(
        f"energies above the best ({lowest:.4f} eV/atom): "
        f"quartiles {np.round(quartiles, 3).tolist()} eV/atom; "
        f"space groups {dict(Counter(line[3] for line in lines).most_common(8))}; "
        f"{summary['calculator']}; pymatgen {version('pymatgen')}; {time.time() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
