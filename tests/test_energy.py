"Energies: against the calculators called directly, interrupted and shared, and what cannot be relaxed."

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT
from modules import Modules
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

E = Modules("dpcdvae.energy.relax")
from dpcdvae.cli.main import main
from dpcdvae.evaluation.validity import MetricsError

pytestmark = pytest.mark.filterwarnings("ignore")
quiet = dict(workers=1, progress=False)


def copper(strain=0.0, push=0.0):
    s = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])
    s.apply_strain(strain)
    s.translate_sites([0], [push, push / 2, 0])
    return s


def folder(path, structures):
    for i, s in enumerate(structures):
        s.to(filename=str(path / f"c{i}.cif"))
    return path


def alike(one, other):
    "Rows but for the time; a calculator's neighbour list remembers earlier crystals, so the last bits depend on the order."
    pick = lambda rows: [
        [
            r[k] if isinstance(r[k], str) else pytest.approx(r[k], rel=1e-5, abs=1e-8)
            for k in (
                "index",
                "material_id",
                "energy",
                "relaxed_energy",
                "displacement",
                "volume_change",
                "reason",
            )
        ]
        + [r["steps"]]
        for r in rows
    ]
    plain = [
        [
            r[k]
            for k in (
                "index",
                "material_id",
                "energy",
                "relaxed_energy",
                "displacement",
                "volume_change",
                "reason",
                "steps",
            )
        ]
        for r in one
    ]
    return plain == pick(other)


def test_energy_is_the_calculators():
    atoms = AseAtomsAdaptor.get_atoms(copper(0.02, 0.03))
    atoms.calc = EMT()
    row = E.relax(copper(0.02, 0.03), "emt", max_steps=0)
    assert row["energy"] == pytest.approx(atoms.get_potential_energy() / 4) and row["force"] == pytest.approx(
        np.linalg.norm(atoms.get_forces(), axis=1).max()
    )


def test_energy_to_the_relaxed_state_is_in_mev_per_atom():
    row = E.relax(copper(0.03, 0.02), "emt", fmax=0.01)
    before, after = (AseAtomsAdaptor.get_atoms(s) for s in (copper(0.03, 0.02), row["structure"]))
    for a in (before, after):
        a.calc = EMT()
    assert (
        row["to_relaxed"]
        == pytest.approx(1000 * (before.get_potential_energy() - after.get_potential_energy()) / 4, rel=1e-6)
        and row["to_relaxed"] > 1
    )
    assert (
        row["volume_change"] == pytest.approx(row["structure"].volume / copper(0.03, 0.02).volume - 1)
        and row["relaxed_force"] < 0.01
    )


def test_a_fixed_cell_stays():
    row = E.relax(copper(0.03, 0.02), "emt", cell=False)
    assert (
        row["structure"].lattice.matrix == pytest.approx(copper(0.03, 0.02).lattice.matrix)
        and row["converged"]
        and row["volume_change"] == 0
    )


def test_chgnet_is_the_default_and_named_with_its_weights():
    pytest.importorskip("chgnet")
    from chgnet.model import CHGNet

    s = Structure(
        Lattice.cubic(3.9),
        ["Sr", "Ti", "O", "O", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    )
    row = E.relax(s, max_steps=0)
    assert row["energy"] == pytest.approx(
        float(CHGNet.load(verbose=False).predict_structure(s)["e"]), abs=1e-4
    )
    assert E.calculator_version("chgnet").startswith(
        "chgnet, chgnet 0."
    ) and "weights" in E.calculator_version("chgnet")


def test_a_cell_that_runs_away_is_told(monkeypatch):
    monkeypatch.setattr(E, "RUNAWAY", 1.01)
    assert E.relax(copper(0.05), "emt")["reason"] == "the cell ran away"


def test_no_finite_energy_is_told():
    class Blind(EMT):
        def get_potential_energy(self, *a, **k):
            return float("nan")

    assert E.relax(copper(), Blind())["reason"] == "no finite energy"


def test_summary_counts_only_what_rests_and_explains_the_rest():
    rows = [
        dict(converged=True, energy=-1.0, to_relaxed=10.0, reason=""),
        dict(converged=True, energy=-3.0, to_relaxed=40.0, reason=""),
        dict(converged=True, energy=-2.0, to_relaxed=1.0, reason=""),
        dict(converged=False, energy=-9.0, to_relaxed=900.0, reason="not converged"),
    ]
    m = E.summarise_energies(rows)
    assert (
        m["to_relaxed"]["value"],
        m["to_relaxed"]["median"],
        m["to_relaxed"]["count"],
        m["to_relaxed"]["unit"],
    ) == (17, 10, 3, "meV/atom") and m["to_relaxed"]["low"] <= 17 <= m["to_relaxed"]["high"]


def test_workers_do_not_change_energies(tmp_path):
    made = folder(tmp_path, [copper(0.01 * i, 0.02) for i in range(4)])
    alone, shared = (E.energies(made, None, "emt", progress=False, workers=w)[0] for w in (1, 2))
    assert alike(alone, shared)


PROGRAM = """
import os, signal, sys
E = Modules('dpcdvae.energy.relax')
real, done = E.relax_many, []
def relax(*a, **k):
    if len(done)==2: os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return real(*a, **k)
E.relax_many = relax
E.energies(sys.argv[1], sys.argv[1], "emt", workers=1, progress=False)
"""


def test_a_killed_relaxation_goes_on(tmp_path, monkeypatch):
    made = folder(tmp_path, [copper(0.01 * i, 0.02) for i in range(4)])
    assert (
        subprocess.run([sys.executable, "-c", PROGRAM, str(made)], capture_output=True).returncode == -9
        and not (made / "relaxed.csv").exists()
    )
    real, calls = E.relax_many, []
    monkeypatch.setattr(E, "relax_many", lambda *a, **k: calls.append(1) or real(*a, **k))
    rows, summary = E.energies(made, made, "emt", **quiet)
    assert len(calls) == 2 and summary["num_converged"] == 4 and not (made / ".relaxing.jsonl").exists()
    assert alike(rows, E.energies(made, None, "emt", **quiet)[0])


def test_what_is_done_is_read_back_and_not_done_again(tmp_path, monkeypatch):
    made = folder(tmp_path, [copper(0.01 * i, 0.02) for i in range(3)])
    (made / "c9.cif").write_text("no crystal")
    rows, said = E.energies(made, made, "emt", **quiet)
    monkeypatch.setattr(E, "relax_entries", lambda task: pytest.fail("relaxed again"))
    again, heard = E.energies(made, made, "emt", **quiet)
    told = lambda rows: [{k: v for k, v in r.items() if v not in ("", None)} for r in rows]
    assert (
        heard == said
        and said["reasons"]
        and told(again) == told(rows)
        and not (made / ".relaxing.jsonl").exists()
    )
    monkeypatch.undo()
    assert (
        E.energies(made, made, "emt", fmax=0.01, **quiet)[1]["settings"]["fmax"] == 0.01
    )  # another question
    (made / "c0.cif").unlink()
    assert E.energies(made, made, "emt", **quiet)[1]["num_crystals"] == 3


def test_another_calculator_starts_anew(tmp_path, monkeypatch):
    made, calls = folder(tmp_path, [copper(0.01, 0.02)] * 2), []
    real = E.relax_many
    monkeypatch.setattr(
        E,
        "relax",
        lambda *a, **k: (
            calls.append(k["fmax"]) or (_ for _ in ()).throw(KeyboardInterrupt)
            if len(calls) == 1
            else calls.append(k["fmax"]) or real(*a, **k)
        ),
    )
    with pytest.raises(KeyboardInterrupt):
        E.energies(made, made, "emt", **quiet)
    E.energies(made, made, "emt", fmax=0.2, **quiet)
    assert calls == [0.05, 0.05, 0.2, 0.2]


def test_commands(tmp_path, capsys):
    made = folder(tmp_path, [copper(0.02, 0.02), copper()])
    assert main(["relax", str(made), "--calculator", "emt", "--workers", "1", "--fixed-cell"]) == 0
    told = capsys.readouterr().out
    kept = json.loads((made / "energies.json").read_text())
    assert (
        "2 of 2 converged, 2 of them to a plausible crystal; emt, ase " in told
        and "meV/atom" in told
        and kept["settings"]["cell"] is False
        and kept["calculator"].startswith("emt, ase ")
    )
    with open(made / "relaxed.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 2 and all(float(r["to_relaxed"]) >= -1e-6 and r["cif"] for r in rows)
    assert (
        main(["energy", str(made), "--calculator", "emt", "--workers", "1"]) == 0
        and (made / "energies.csv").exists()
    )
    for wrong, words in (
        ("magic", "choose one of"),
        ("no.such:Thing", "pip install no"),
        ("ase.calculators.emt:EMT(1)", "only keyword"),
    ):
        assert main(["relax", str(made), "--calculator", wrong]) == 2 and words in capsys.readouterr().err


def test_dask_shares_the_work(tmp_path):
    distributed = pytest.importorskip("distributed")
    made = folder(tmp_path, [copper(0.01 * i, 0.02) for i in range(3)])
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        shared = E.energies(made, None, "emt", progress=False, scheduler=cluster.scheduler_address)[0]
    assert alike(shared, E.energies(made, None, "emt", **quiet)[0])


# ---- DFT, where GPAW is installed ----

HAS_GPAW = (
    subprocess.run(["/usr/bin/python3", "-c", "import gpaw"], capture_output=True).returncode == 0
    if Path("/usr/bin/python3").exists()
    else False
)
DFT = "dpcdvae.energy.dft:GPAW(ecut=250, kdensity=1.0)"


def test_without_gpaw_a_sentence_says_how_to_get_it():
    with pytest.raises(MetricsError, match="apt install gpaw"):
        E.energies([], None, f"dpcdvae.energy.dft:GPAW(python='{sys.executable}')", **quiet)


@pytest.mark.skipif(
    not HAS_GPAW, reason="GPAW is not installed for /usr/bin/python3 (apt install gpaw gpaw-data)"
)
def test_dft_is_gpaws_own(tmp_path):
    diamond = Structure.from_spacegroup(
        "Fd-3m", Lattice.cubic(3.57), ["C"], [[0, 0, 0]]
    ).get_primitive_structure()
    rows, summary = E.energies(folder(tmp_path, [diamond]), None, DFT, max_steps=0, **quiet)
    direct = (
        "from ase import Atoms; from gpaw import GPAW, PW, FermiDirac\n"
        f"a = Atoms('C2', positions={diamond.cart_coords.tolist()}, cell={diamond.lattice.matrix.tolist()}, pbc=True)\n"
        "a.calc = GPAW(mode=PW(250), xc='PBE', kpts=dict(density=1.0, gamma=True), occupations=FermiDirac(0.1), convergence=dict(energy=1e-4), txt=None)\nprint(a.get_potential_energy() / 2)"
    )
    said = subprocess.run(["/usr/bin/python3", "-c", direct], capture_output=True, text=True, timeout=300)
    assert (
        rows[0]["energy"] == pytest.approx(float(said.stdout.split()[-1]), abs=2e-3)
        and "GPAW" in summary["calculator"]
        and "ecut 250" in summary["calculator"]
    )


@pytest.mark.skipif(
    not HAS_GPAW, reason="GPAW is not installed for /usr/bin/python3 (apt install gpaw gpaw-data)"
)
def test_dft_goes_on_after_a_crystal_that_it_cannot_do(tmp_path):
    good = Structure.from_spacegroup(
        "Fd-3m", Lattice.cubic(3.57), ["C"], [[0, 0, 0]]
    ).get_primitive_structure()
    bad = Structure(Lattice.cubic(3), ["Fm"], [[0, 0, 0]])  # no setup for fermium
    rows, _ = E.energies(folder(tmp_path, [bad, good]), None, DFT, max_steps=0, **quiet)
    assert rows[0]["reason"] == "failed while relaxed" and "energy" in rows[1]


def test_relaxing_after_sampling_keeps_rows_and_what_cannot_be_relaxed(tmp_path):
    "As `generate --relax N` does it: same rows, same order; a crystal that the calculator cannot take stays as it was made."
    from types import SimpleNamespace

    from dpcdvae.cli.commands import relax_after
    from dpcdvae.generation.jobs import HEADER, csv_text

    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])
    pushed, strange = copper.copy(), Structure(Lattice.cubic(5), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    pushed.apply_strain(0.03)
    pushed.translate_sites([0], [0.02, 0.01, 0])
    made = [s.to(fmt="cif") for s in (pushed, strange)]
    (tmp_path / "crystals.csv").write_text(
        csv_text([HEADER, [0, "new-0", made[0], ""], [1, "new-1", "", "no atoms"], [2, "new-2", made[1], ""]])
    )
    (tmp_path / "truth.csv").write_text("kept")
    relax_after(SimpleNamespace(out=tmp_path, calculator="emt", relax=4, workers=1))
    with open(tmp_path / "relaxed" / "crystals.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert (
        [r["material_id"] for r in rows] == ["new-0", "new-1", "new-2"]
        and [r["error"] for r in rows] == ["", "no atoms", ""]
        and rows[1]["cif"] == ""
    )
    assert rows[2]["cif"] == made[1] and (tmp_path / "relaxed" / "truth.csv").read_text() == "kept"
    volume = lambda text: Structure.from_str(text, fmt="cif").volume
    assert volume(rows[0]["cif"]) < 0.97 * volume(made[0]), (
        "four steps must already take back a part of the stretch"
    )


# ---- the studies, as commands ----


def test_the_carbon_study_is_one_command(monkeypatch, tmp_path, capsys):
    "`python -m benchmarks ground` alone: the embedded set, few crystals, minutes of training; another set keeps its own file."
    bench = Modules(
        "benchmarks.studies",
        "benchmarks.energies",
        "benchmarks.steering",
        "benchmarks.anatomy",
        "benchmarks.player",
        "benchmarks.labs",
        "benchmarks.page",
        "benchmarks.__main__",
    )
    asked = []
    monkeypatch.setattr(bench, "ground", lambda data, runs, out, **how: asked.append((data, out, how)))
    monkeypatch.setattr(bench, "ground_table", lambda result: "")
    bench.main(["ground"])
    bench.main(["ground", "--data", str(tmp_path / "carbon_24"), "--num", "100"])
    (data, out, how), (_, other, more) = asked
    assert (
        (data, out.name) == ("carbon_mini", "ground-carbon_mini.json")
        and {k: how[k] for k in bench.SMALL_GROUND} == bench.SMALL_GROUND
        and how["calculator"] == "chgnet"
        and how["max_steps"] == 300
    )
    assert (other.name, more["num"], more["max_time"]) == ("ground-carbon_24.json", 100, "00:02:00")


def test_dft_study_says_what_is_missing_before_it_makes_anything(monkeypatch, tmp_path):
    bench = Modules(
        "benchmarks.studies",
        "benchmarks.energies",
        "benchmarks.steering",
        "benchmarks.anatomy",
        "benchmarks.player",
        "benchmarks.labs",
        "benchmarks.page",
        "benchmarks.__main__",
    )
    monkeypatch.setattr(
        bench,
        "relaxed_samples",
        lambda *a, **k: pytest.fail("made crystals for a calculator that is not there"),
    )
    with pytest.raises(MetricsError, match="apt install gpaw"):
        bench.trust(
            [],
            tmp_path / "trust.json",
            calculator=f"dpcdvae.energy.dft:GPAW(python='{sys.executable}')",
            runs=tmp_path,
        )


def test_ends_and_starts_are_compared_in_pairs():
    "A crystal without an energy, or one that does not rest, takes its pair with it."
    from benchmarks.steering import compared

    starts = [
        dict(energy=-1.0, relaxed_energy=-2.0, converged=True),
        dict(energy=-5.0, relaxed_energy=-5.0, converged=True),
        dict(reason="timeout", converged=False),
    ]
    ends = [
        dict(energy=-2.0, relaxed_energy=-2.5, converged=True),
        dict(energy=-4.0, relaxed_energy=-9.0, converged=False),
        dict(energy=-7.0, relaxed_energy=-7.0, converged=True),
    ]
    as_made, relaxed = compared(ends, starts, "energy"), compared(ends, starts, "relaxed_energy")
    assert (
        as_made["change"]["value"],
        as_made["change"]["count"],
        as_made["change"]["unit"],
        as_made["lower"]["count"],
    ) == (0.0, 2, "eV/atom", 1)
    assert (relaxed["change"]["value"], relaxed["change"]["count"]) == (-0.5, 1)
