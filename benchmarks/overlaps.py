"""Which atoms of generated crystals overlap, and is it the cell? python -m benchmarks.overlaps FOLDER ..."""

import argparse
import json
from pathlib import Path
from statistics import median

import numpy as np

from dpcdvae.data.files import MIN_DISTANCE, atomic_write

COLLAPSED = 0.1  # Å: closer than any two atoms that merely came too near


def closest(structure) -> dict:  # pymatgen Structure
    "Find the closest pair of a crystal, and how much of the cell covalent spheres fill."
    from ase.data import covalent_radii

    distances = structure.distance_matrix.copy()
    np.fill_diagonal(distances, np.inf)
    i, j = np.unravel_index(np.argmin(distances), distances.shape)
    radii = covalent_radii[np.array(structure.atomic_numbers)]
    return dict(
        distance=float(distances[i, j]),  # Å; infinite with one atom in the cell
        ratio=float((distances / (radii[:, None] + radii)).min()),  # to the sum of covalent radii
        same_element=structure[int(i)].specie == structure[int(j)].specie,
        volume=structure.volume / len(structure),  # Å³ an atom
        filling=float((4 / 3 * np.pi * radii**3).sum() / structure.volume),
    )


def count_overlaps(pairs: list[dict]) -> dict:
    "Count overlaps and collapses, and compare the cells of crystals with and without them."
    near = [p for p in pairs if p["distance"] < MIN_DISTANCE]
    apart = [p for p in pairs if p["distance"] >= MIN_DISTANCE]
    middle = lambda rows, key: median(r[key] for r in rows) if rows else None
    cells = lambda rows: dict(volume=middle(rows, "volume"), filling=middle(rows, "filling"))
    return dict(
        total=len(pairs),
        overlapping=len(near),
        collapsed=sum(p["distance"] < COLLAPSED for p in near),
        same_element=sum(p["same_element"] for p in near),
        below_ratio={f"{r:g}": sum(p["ratio"] < r for p in pairs) for r in (0.3, 0.4, 0.5, 0.6)},
        cells=dict(overlapping=cells(near), apart=cells(apart)),
    )


def main(argv=None) -> None:
    "Count the overlaps in folders of generated crystals."
    from benchmarks.symmetry import structures

    p = argparse.ArgumentParser("python -m benchmarks.overlaps", description=main.__doc__)
    p.add_argument("folders", nargs="+", type=Path, help="of generated crystals; the name is the arm's")
    p.add_argument("--out", type=Path, default=Path("results/overlaps-mp-20.json"))
    a = p.parse_args(argv)
    arms = {f.name: count_overlaps([closest(s) for s in structures(f) if s is not None]) for f in a.folders}
    atomic_write(a.out, json.dumps(dict(kind="overlaps", limit=MIN_DISTANCE, arms=arms), indent=1) + "\n")
    print(json.dumps(arms, indent=1))


if __name__ == "__main__":
    main()
