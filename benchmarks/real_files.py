"""CIFs that come inside installed packages, read by this one and by gemmi alone; what differs, one by one.

    python -m benchmarks.real_files --out results/real_files.json [FOLDER ...]

Without a folder, the one where packages are installed is searched."""

import argparse
import json
import sysconfig
from collections import Counter
from pathlib import Path

import gemmi

from dpcdvae.data.cif import cif_crystals
from dpcdvae.data.files import RowError, atomic_write, file_text


def by_gemmi(text: str) -> Counter | str:  # elements of the cell, or why there are none
    "Count the atoms of the last block with sites by gemmi's own small-structure reader."
    try:
        found = "no sites"
        for block in gemmi.cif.read_string(text):
            small = gemmi.make_small_structure_from_block(block)
            if small.sites:
                found = Counter(s.element.name for s in small.get_all_unit_cell_sites())
        return found
    except (RuntimeError, ValueError) as e:
        return " ".join(str(e).split())[:120]


def by_us(text: str) -> Counter | str:  # elements of the cell, or the reason
    "Count the atoms of the last crystal of a CIF."
    crystal = cif_crystals(text)[0][-1][1]
    if isinstance(crystal, RowError):
        return str(crystal)
    return Counter(gemmi.Element(int(z)).name for z in crystal.numbers)


def compare(path: Path) -> dict | None:  # what differs; None where nothing does
    "Read one file both ways."
    text = file_text(path, path.read_bytes())
    ours, theirs = by_us(text), by_gemmi(text)
    if isinstance(theirs, Counter) and "D" in theirs:
        theirs["H"] += theirs.pop("D")
    if ours == theirs:
        return None
    show = lambda x: x if isinstance(x, str) else " ".join(f"{k}{v}" for k, v in sorted(x.items()))
    return dict(file="/".join(path.parts[-3:]), ours=show(ours), gemmi=show(theirs))


def survey(folders: list[Path]) -> dict:
    "Compare all CIFs below some folders."
    files = sorted(p for f in folders for p in f.rglob("*.cif") if p.is_file())
    found = [d for d in map(compare, files) if d]
    return dict(files=len(files), same=len(files) - len(found), differences=found)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("folders", type=Path, nargs="*", default=[Path(sysconfig.get_paths()["purelib"])])
    p.add_argument("--out", type=Path)
    a = p.parse_args()
    text = json.dumps(survey(a.folders), indent=1, ensure_ascii=False) + "\n"
    print(text)
    if a.out:
        atomic_write(a.out, text)
