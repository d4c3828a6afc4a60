#!/bin/bash
# Writers and reducers that keep only lengths, angles and fractional coordinates turn a crystal in a left-handed cell into its mirror image.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q pymatgen-core==2026.10.16 spglib==2.8.0 ase==3.29.0
cd "$T" && "$T/v/bin/python" -W ignore - <<'P'
from importlib.metadata import version
import ase.io
import spglib
from ase.build import niggli_reduce
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

print("ase", version("ase"), "pymatgen-core", version("pymatgen-core"))
places = [[0.4697, 0, 1 / 3], [0.4135, 0.2669, 0.4524]]
quartz = Structure.from_spacegroup(152, Lattice.hexagonal(4.916, 5.405), ["Si", "O"], places)
quartz.make_supercell([[0, 1, 0], [1, 0, 0], [0, 0, 1]])  # the same atoms; a and b exchanged: a left-handed cell
atoms = AseAtomsAdaptor.get_atoms(quartz, msonable=False)
number = lambda a: spglib.get_symmetry_dataset((a.cell[:], a.get_scaled_positions(), a.numbers), symprec=0.02).number
back = lambda s: number(AseAtomsAdaptor.get_atoms(s, msonable=False))
seen = {"as given": number(atoms)}
for fmt in ("cif", "poscar", "json"):
    seen[f"pymatgen to {fmt}"] = back(Structure.from_str(quartz.to(fmt=fmt), fmt=fmt))
for fmt in ("cif", "vasp", "extxyz", "res", "lammps-data", "v-sim", "rmc6f"):
    more = dict(specorder=["Si", "O"], masses=True) if fmt == "lammps-data" else {}
    ase.io.write("x." + fmt, atoms, format=fmt, **more)
    seen[f"ase to {fmt}"] = number(ase.io.read("x." + fmt, format=fmt))
reduced = atoms.copy()
niggli_reduce(reduced)
seen["ase niggli_reduce"] = number(reduced)
for what, group in seen.items():
    print(f"{what:22s} {group} {'P3_121' if group == 152 else 'P3_221: the mirror image'}")
kept = {"as given", "pymatgen to json", "ase to vasp", "ase to extxyz"}
assert all(group == (152 if what in kept else 154) for what, group in seen.items()), "the behaviour has changed"
P
