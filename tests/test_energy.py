"Energies: against the calculators called directly, interrupted and shared, and what cannot be relaxed."

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT
from modules import Modules, group
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

E = Modules("dpcdvae.energy.relax")
from dpcdvae.cli.app import main
from dpcdvae.energy import descent
from dpcdvae.energy.calculators import ASEPotential
from dpcdvae.energy.hull import make_hull, read_hull
from dpcdvae.energy.stability import add_stability, place, stability, stability_levels
from dpcdvae.evaluation.compare import space_group
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
    """Rows but for the time.

    A calculator's neighbour list remembers earlier crystals, so the last bits depend on the order."""
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


def test_a_cell_that_runs_away_is_reported(monkeypatch):
    monkeypatch.setattr(descent, "RUNAWAY", 1.01)
    monkeypatch.setattr(descent, "ROOMY", 1.0)
    row = E.relax(copper(-0.05), "emt")
    assert (
        row["reason"] == "the cell ran away" and not row["converged"] and "times what it was" in row["detail"]
    )


def test_no_finite_energy_is_reported():
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
from dpcdvae.energy import relax as E
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
    filled = lambda rows: [{k: v for k, v in r.items() if v not in ("", None)} for r in rows]
    assert (
        heard == said
        and said["reasons"]
        and filled(again) == filled(rows)
        and not (made / ".relaxing.jsonl").exists()
    )
    monkeypatch.undo()
    assert (
        E.energies(made, made, "emt", fmax=0.01, **quiet)[1]["settings"]["fmax"] == 0.01
    )  # another question
    (made / "c0.cif").unlink()
    assert E.energies(made, made, "emt", **quiet)[1]["num_crystals"] == 3


def test_energies_as_they_are_leave_a_relaxation_alone(tmp_path, monkeypatch):
    made = folder(tmp_path, [copper(0.01 * i, 0.02) for i in range(3)])
    E.energies(made, made, "emt", **quiet)
    before = {n: (made / n).read_bytes() for n in ("energies.json", "relaxed.csv")}
    still = E.energies(made, made, "emt", max_steps=0, **quiet)[1]
    assert before == {n: (made / n).read_bytes() for n in before} and (made / "energies.csv").exists()
    monkeypatch.setattr(E, "relax_entries", lambda task: pytest.fail("computed again"))
    assert E.energies(made, made, "emt", **quiet)[1]["kind"] == "relax"
    assert E.energies(made, made, "emt", max_steps=0, **quiet)[1] == still
    (made / "energy.json").rename(made / "energies.json")  # where it was until version 0.1
    assert E.energies(made, made, "emt", max_steps=0, **quiet)[1] == still


def test_energies_as_they_are_leave_the_journal_of_a_relaxation_alone(tmp_path, monkeypatch):
    made, calls = folder(tmp_path, [copper(0.01 * i, 0.02) for i in range(3)]), []
    real = E.relax_many

    def stopping(*a, **k):
        calls.append(k["max_steps"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*a, **k)

    monkeypatch.setattr(E, "relax_many", stopping)
    with pytest.raises(KeyboardInterrupt):
        E.energies(made, made, "emt", **quiet)
    E.energies(made, made, "emt", max_steps=0, **quiet)
    E.energies(made, made, "emt", **quiet)
    assert calls == [500, 500, 0, 0, 0, 500, 500]  # the first crystal is not relaxed again


def test_relax_replaces_results_of_other_settings_only_when_asked(tmp_path, capsys):
    made = folder(tmp_path, [copper(0.02, 0.02)])
    words = ["relax", str(made), "--calculator", "emt", "--workers", "1"]
    assert main(words) == 0 and main(words) == 0
    before = (made / "relaxed.csv").read_bytes()
    other = [*words, "--max-steps", "1"]
    assert main(other) == 2 and "relaxed.csv is of other crystals or settings" in capsys.readouterr().err
    assert (made / "relaxed.csv").read_bytes() == before
    assert main([*other, "--overwrite"]) == 0 and (made / "relaxed.csv").read_bytes() != before
    assert main(["energy", *words[1:]]) == 0  # it has files of its own
    (made / "relaxed.csv").unlink()
    (made / ".relaxing.jsonl").write_text("another input\n[]\n")
    assert main(other) == 2 and ".relaxing.jsonl is of other crystals" in capsys.readouterr().err


def test_another_calculator_starts_anew(tmp_path, monkeypatch):
    made, calls = folder(tmp_path, [copper(0.01, 0.02)] * 2), []
    real = E.relax_many
    monkeypatch.setattr(
        E,
        "relax_many",
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
    printed = capsys.readouterr().out
    kept = json.loads((made / "energies.json").read_text())
    assert (
        "2 of 2 converged, 2 of them to a plausible crystal; emt, ase " in printed
        and "meV/atom" in printed
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
        f"a = Atoms('C2', positions={diamond.cart_coords.tolist()}, "
        f"cell={diamond.lattice.matrix.tolist()}, pbc=True)\n"
        "a.calc = GPAW(mode=PW(250), xc='PBE', kpts=dict(density=1.0, gamma=True), "
        "occupations=FermiDirac(0.1), convergence=dict(energy=1e-4), txt=None)\n"
        "print(a.get_potential_energy() / 2)"
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
    """As `generate --relax N` does it.

    Same rows, same order; a crystal that the calculator cannot take stays as it was made."""
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
    """`python -m benchmarks ground` alone.

    The embedded set, few crystals, minutes of training; another set keeps its own file."""
    bench = group("bench")
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
    bench = group("bench")
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


# ---- downhill only ----

DATA = Path(__file__).resolve().parents[1].parent / "shared/data"
FCC = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]


def salt(scale=1.0):
    kinds, places = ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64 * scale), kinds, places)


def diamond(scale=1.0):
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.57 * scale), ["C"], [[0, 0, 0]])


def test_nothing_converges_above_its_start():
    """Rock salt at twice its lattice constant and squeezed diamond.

    L-BFGS without a check ends above the start."""
    pytest.importorskip("chgnet")
    rows = E.relax_many([salt(2.0), diamond(0.6), diamond(0.8), salt(0.9)])
    assert all(r["relaxed_energy"] <= r["energy"] for r in rows)
    good = [r for r in rows if r["converged"] and r["plausible"]]
    assert len(good) == 4 and rows[0]["relaxed_energy"] == pytest.approx(-3.67, abs=0.05)
    assert [round(r["structure"].lattice.a, 1) for r in rows] == pytest.approx([5.6, 3.6, 3.6, 5.6], abs=0.11)
    assert [r["relaxed_space_group"] for r in rows] == [225, 227, 227, 225]


def test_what_is_no_crystal_has_a_reason_and_no_energy():
    pytest.importorskip("chgnet")
    alone = Structure(Lattice.cubic(12.0), ["C"], [[0, 0, 0]])
    fermium = Structure(Lattice.cubic(3.4), ["Fm"], [[0, 0, 0]])
    flat = Structure(Lattice.from_parameters(3, 3, 0.01, 90, 90, 90), ["C"], [[0, 0, 0]])
    gas = Structure(Lattice.cubic(16.0), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    rows = E.relax_many([alone, fermium, flat, gas, salt()])
    assert all("energy" not in r and not r["converged"] and r["reason"] and r["detail"] for r in rows[:4])
    assert (
        "no neighbour within 6" in rows[0]["detail"]
        and "Z = 94" in rows[1]["detail"]
        and rows[4]["converged"]
    )
    assert "energy" not in E.relax_many([alone], max_steps=0)[0]
    assert E.relax(alone, "emt")["reason"] == "isolated atoms"


def test_a_collapsed_cell_is_implausible_even_when_forces_vanish():
    class Nothing(EMT):
        "No forces anywhere: whatever starts has converged."

        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            n = len(atoms)
            self.results = dict(energy=0.0, free_energy=0.0, forces=np.zeros((n, 3)), stress=np.zeros(6))

    row = E.relax(diamond(0.57), Nothing())
    assert row["converged"] and not row["plausible"] and row["reason"] == "implausible"
    assert E.relax(diamond(), Nothing())["reason"] == "" and E.relax(diamond(1.6), Nothing())["plausible"]
    assert E.summarise_energies([row]) == {}, "what is implausible is in no mean"


@pytest.mark.parametrize(
    "share, ok", [(0.59, False), (0.61, True)], ids=["closer than any known pair", "as close as known pairs"]
)
def test_closest_pair_is_decided_by_covalent_radii(share, ok):
    a, far = share * 2 * 1.32, 3.2
    pair = Structure(Lattice.from_parameters(a, far * 1.2, far * 1.2, 90, 90, 90), ["Cu"], [[0, 0, 0]])
    assert (E.plausible(pair) == "") is ok


def test_loneliest_and_emptiest():
    lone = lambda a: Structure(Lattice.cubic(a), ["H"], [[0, 0, 0]])
    assert E.plausible(lone(2.1 * 0.62)) == "" and "no neighbour" in E.plausible(lone(2.3 * 0.62))
    dimer = lambda a: Structure(Lattice.cubic(a), ["H", "H"], [[0, 0, 0], [0.7 / a, 0, 0]])
    assert "fill 0.01" in E.plausible(dimer(2.6)) and E.plausible(dimer(2.2)) == ""
    assert "fill 1.6" in E.plausible(diamond(0.583)) and E.plausible(diamond(0.62)) == ""


def test_a_step_that_rises_is_taken_back():
    "A calculator whose forces point uphill: nothing moves, and the reason says so."

    class Uphill(EMT):
        def calculate(self, *a, **k):
            super().calculate(*a, **k)
            self.results["forces"] = -self.results["forces"]
            self.results["stress"] = -self.results["stress"]

    row = E.relax(copper(0.03, 0.02), Uphill())
    assert row["reason"] == "no way down" and not row["converged"] and row["steps"] == descent.GIVE_UP
    assert row["relaxed_energy"] == row["energy"] and row["displacement"] == pytest.approx(0.0, abs=1e-9)


def test_a_step_needs_to_fall_by_its_share_of_the_slope():
    import torch

    before, slope, n = torch.tensor([-1.0]).double(), torch.tensor([-100.0]).double(), torch.tensor([1])
    falls = lambda e: bool(descent.falls(torch.tensor([e]).double(), before, slope, n))
    assert not falls(-1.009) and falls(-1.011) and not falls(float("nan")) and not falls(-float("inf"))
    assert not falls(-1.0)
    flat = lambda e: bool(descent.falls(torch.tensor([e]).double(), before, 0 * slope, n))
    assert flat(-1.0 + 1e-6) and not flat(-1.0 + 1e-5)


def test_batches_change_nothing():
    "Alone, together and refilled: the same minima; the order of the list is kept."
    pytest.importorskip("chgnet")
    start = [salt(0.95), diamond(0.9), salt(1.06), diamond(1.05)]
    together, alone = E.relax_many(start), [E.relax(s) for s in start]
    for a, b in zip(together, alone):
        assert a["relaxed_energy"] == pytest.approx(b["relaxed_energy"], abs=1e-4) and a["num_atoms"] == 8


def test_energies_forces_and_stress_are_chgnets_own():
    chgnet = pytest.importorskip("chgnet.model")
    from dpcdvae.energy.chgnet import load_chgnet
    from dpcdvae.energy.relax import _tensors

    library = chgnet.CHGNet.load(verbose=False, use_device="cpu")
    skew = Structure(
        Lattice.from_parameters(3.1, 4.2, 9.7, 70, 105, 118),
        ["Li", "Fe", "O", "O"],
        np.random.default_rng(0).random((4, 3)),
    )
    crystals = [
        skew,
        salt().perturb(0.1),
        Structure(Lattice([[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]), ["Cu"], [[0, 0, 0]]),
    ]
    for s in crystals:
        numbers, frac, lattice = _tensors(s)
        energy, force, virial = load_chgnet()(numbers, frac, lattice[None], numbers.new_tensor([len(s)]))
        own = library.predict_structure(s, task="efs")
        assert float(energy[0]) / len(s) == pytest.approx(float(own["e"]), abs=2e-5)
        assert force.numpy() == pytest.approx(own["f"], abs=5e-3, rel=1e-4)
        assert -virial[0].numpy() / s.volume * 160.21766 == pytest.approx(own["s"], abs=2e-2, rel=1e-4)


def test_cell_gradient_is_the_derivative_of_the_energy():
    import torch

    potential, rng = ASEPotential(EMT()), torch.Generator().manual_seed(0)
    s = copper(0.04, 0.05)
    crystal = (torch.full((4,), 29), torch.tensor(s.frac_coords), torch.tensor(s.lattice.matrix))
    state = descent.start(potential, [crystal], [0], 6, True)
    x = (
        state["x"]
        + 0.1
        * torch.randn(state["x"].shape, generator=rng).double()
        * torch.tensor([1.0] * 4 + [0] * 2 + [1] * 3)[:, None]
    )
    way = torch.randn(x.shape, generator=rng).double()
    way[0, 4:6] = 0
    here = descent.evaluate_at(potential, state, x, True)
    ends = [descent.evaluate_at(potential, state, x + h * way, True).energy for h in (1e-4, -1e-4)]
    assert float((here.grad * way).sum()) == pytest.approx(float(ends[0] - ends[1]) / 2e-4, rel=1e-4)


def test_space_groups_follow_the_distance_alone():
    skewed = Structure(Lattice.from_parameters(3.6, 3.6, 3.6, 90, 90, 92), ["Cu"], [[0, 0, 0]])
    assert E.space_group_number(skewed) == 65 and E.space_group_number(skewed, 0.5) == 221


def test_relaxed_crystals_are_kept_with_their_energies(tmp_path):
    from ase.io import read

    made = folder(tmp_path, [copper(0.03, 0.02), copper()])
    rows, summary = E.energies(made, made, "emt", **quiet)
    kept = read(made / "relaxed.extxyz", ":")
    assert [a.info["relaxed_energy"] for a in kept] == pytest.approx([r["relaxed_energy"] for r in rows])
    assert [a.info["material_id"] for a in kept] == ["c0", "c1"] and summary["num_plausible"] == 2
    assert {"rmsd", "space_group", "relaxed_space_group", "plausible"} <= set(rows[0])


# ---- the hull, and what is stable, unique and novel ----


def test_hull_by_hand():
    """A and B at 0, AB at -0.4, A3B at -0.25 (a vertex.

    The line from A to AB passes at -0.2), AB3 at -0.1 (not one)."""
    hull = make_hull(
        ["A", "B", "AB", "A3B", "AB3", "A2B2"], [0, 0, -0.4, -0.25, -0.1, 0.7], dict(A=-2.0, B=-4.0)
    )
    at = {f: hull.energy_at(f) for f in ("A", "AB", "A3B", "AB3", "A7B", "A2B3")}
    assert at == pytest.approx(dict(A=0, AB=-0.4, A3B=-0.25, AB3=-0.2, A7B=-0.125, A2B3=-0.32))
    assert hull.above("AB3", -0.1) == pytest.approx(0.1) and hull.above("AB3", -0.3) == pytest.approx(-0.1)
    assert hull.formation_energy("AB3", -3.6) == pytest.approx(-0.1) and hull.above("AC", 0.0) is None
    assert len(hull) == 5, "of one composition the lowest"


def test_ternary_hull_by_hand():
    "At ABC the best mixture is AB with C, two thirds of -0.6."
    hull = make_hull(["A", "B", "C", "AB", "BC"], [0, 0, 0, -0.6, -0.3])
    assert hull.energy_at("ABC") == pytest.approx(-0.4) and hull.energy_at("AB2C") == pytest.approx(-0.45)


@pytest.mark.skipif(not (DATA / "mp_hull").is_dir(), reason="../shared/data/mp_hull is not there")
def test_hull_is_pymatgens():
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    hull = read_hull(DATA / "mp_hull")
    for formula, energy in (
        ("NaCl", -2.0),
        ("SrTiO3", -3.4),
        ("Fe3O4", -1.7),
        ("LiFePO4", -2.5),
        ("Cu3Au", 0.1),
    ):
        mine = {Composition(formula).elements[i].symbol for i in range(len(Composition(formula)))}
        phases = [
            PDEntry(Composition(x), e) for s, found in hull.systems.items() if s <= mine for x, e in found
        ]
        diagram = PhaseDiagram(phases)
        below = diagram.get_hull_energy_per_atom(Composition(formula))
        assert hull.above(formula, energy) == pytest.approx(energy - below, abs=1e-6)


def test_a_hull_of_what_converged_counts_from_the_lowest_form_of_an_element(monkeypatch, tmp_path):
    from dpcdvae.energy import hull

    found = [("Cu", -3.5, True), ("Cu", -9.0, False), ("Cu", -3.0, True), ("Cu", -8.0, True)]
    rows = [dict(formula=f, relaxed_energy=e, converged=c, plausible=e > -8) for f, e, c in found]
    monkeypatch.setattr(hull, "energies", lambda *a, **k: (rows, dict(calculator="emt", settings={})))
    made = hull.hull_from_crystals([], tmp_path, "emt", max_steps=5)
    assert made.elements == dict(Cu=-3.5) and made.about["num_failed"] == 2


def test_sun_by_hand():
    new = dict(relaxed_unique=True, relaxed_novel=True)
    above = [-0.2, 0.0, 0.005, 0.08, 0.0801, 0.1, 0.1001, None]
    found = [stability_levels(new | dict(energy_above_hull=a)) for a in above]
    assert [f["sun"] for f in found] == [f["stable"] for f in found] == [True] * 2 + [False] * 6
    assert [f["msun_08"] for f in found] == [True] * 4 + [False] * 4 and [f["msun"] for f in found] == [
        True
    ] * 6 + [False] * 2
    for old in (
        dict(relaxed_unique=False, relaxed_novel=True),
        dict(relaxed_unique=True, relaxed_novel=False),
    ):
        assert not any(
            stability_levels(old | dict(energy_above_hull=-1.0))[k] for k in ("sun", "msun", "msun_08")
        )
    assert "sun" not in stability_levels(dict(relaxed_unique=True, energy_above_hull=-1.0)), (
        "without a reference nothing is novel"
    )


def test_p1_is_group_1_before_and_after():
    from dpcdvae.energy.stability import summarise_stability

    groups = [(1, 1), (1, 2), (2, 225), (None, 1)]
    found = summarise_stability([dict(space_group=a, relaxed_space_group=b) for a, b in groups])
    assert [found[k]["count"] for k in ("p1_before", "p1_after")] == [2, 2]
    assert [found[k]["total"] for k in ("p1_before", "p1_after")] == [3, 4]


def test_only_what_converged_to_a_plausible_crystal_is_placed():
    hull, row = make_hull(["Cu"], [0.0], dict(Cu=-1.0)), dict(formula="Cu", energy=-1.2, relaxed_energy=-1.3)
    placed = lambda **how: place(row | how, hull)
    assert placed(converged=True, plausible=True)["energy_above_hull"] == pytest.approx(-0.3)
    assert placed(converged=True, plausible=False) == dict(hull_reason="implausible")
    assert placed(converged=False, plausible=True) == dict(hull_reason="not relaxed")


def test_a_crystal_is_no_repetition_of_one_that_did_not_converge():
    from dpcdvae.energy.stability import _compare

    cif = copper().to(fmt="cif")
    ends = [(False, True), (True, False), (True, True), (True, True)]  # converged, plausible
    rows = [dict(cif=cif, converged=c, plausible=p) for c, p in ends]
    _compare(rows, [Structure(Lattice.cubic(4.0), ["Au"], [[0, 0, 0]])], **quiet)
    assert [r["relaxed_unique"] for r in rows] == [False, False, True, False]
    assert [r["relaxed_novel"] for r in rows] == [False, False, True, True]


def test_whatever_fails_stays_in_the_denominator(tmp_path):
    hull = make_hull(["Cu", "Au"], [0.0, 0.0], dict(Cu=-0.007, Au=0.0))
    overlap = Structure(Lattice.cubic(3), ["Cu", "Cu"], [[0, 0, 0], [0.05, 0, 0]])
    nickel = Structure(Lattice.cubic(3.5), ["Ni"] * 4, FCC)
    made = [copper(0.02), copper(0.01), overlap, "no crystal", nickel]
    rows, summary = stability(made, hull, tmp_path, [copper()], "emt", **quiet)
    m = summary["metrics"]
    assert {k: (m[k]["count"], m[k]["total"]) for k in ("metastable", "msun", "relaxed")} == dict(
        metastable=(2, 5), msun=(0, 5), relaxed=(3, 5)
    )
    assert rows[4]["hull_reason"] == "the hull holds no Ni" and rows[2]["reason"] == "atoms too close"
    assert [r["relaxed_unique"] for r in rows[:2]] == [True, False] and rows[0]["relaxed_novel"] is False
    assert (
        (tmp_path / "stability.json").exists()
        and summary["calculator"].startswith("emt")
        and summary["hull"]["num_phases"] == 2
    )
    again = stability(made, hull, tmp_path, [copper()], "emt", **quiet)
    assert again[1]["metrics"] == m
    with pytest.raises(MetricsError, match="must be the same"):
        add_stability(rows[:2], dict(metrics={}), (rows, summary))


def test_hull_commands(tmp_path, capsys):
    (tmp_path / "entries.csv").write_text("formula,formation_energy_per_atom\nCu,0\nAu,0\nCuAu,-0.1\n")
    (tmp_path / "elements.csv").write_text("element,energy_per_atom\nCu,-0.007\nAu,0.0\n")
    assert main(["hull", str(tmp_path), "--at", "CuAu=-0.05", "CuAu3=-0.2", "NaCl=-2"]) == 0
    printed = capsys.readouterr().out
    assert (
        "3 phases" in printed
        and "CuAu: +0.0500" in printed
        and "CuAu3: -0.1500" in printed
        and "no mixture" in printed
    )
    new = tmp_path / "new"
    new.mkdir()
    folder(new, [copper(0.02), copper(0.01)])
    known = tmp_path / "known"
    known.mkdir()
    folder(known, [copper()])
    code = main(
        [
            "evaluate",
            str(new),
            "--reference",
            str(known),
            "--quick",
            "--hull",
            str(tmp_path),
            "--calculator",
            "emt",
            "--workers",
            "1",
            "--test",
            str(known),
        ]
    )
    text = capsys.readouterr().out
    assert code == 0 and "S.U.N." in text and "in the second column the test set" in text
    kept = json.loads(next(tmp_path.rglob("metrics.json")).read_text())
    assert kept["metrics"]["metastable"]["count"] == 2 and kept["metrics"]["sun"]["count"] == 0
    assert (
        kept["stability"]["hull"]["num_phases"] == 3 and kept["stability"]["test"]["metastable"]["count"] == 1
    )
    with open(next(tmp_path.rglob("per_crystal.csv")), newline="") as f:
        assert [r["relaxed_space_group"] for r in csv.DictReader(f)] == ["225", "225"]
    assert (
        main(["hull", str(known), "--out", str(tmp_path / "own"), "--calculator", "emt", "--workers", "1"])
        == 0
    )
    assert read_hull(tmp_path / "own").energy_at("Cu") == pytest.approx(0.0)
    assert main(["hull", str(known)]) == 2 and "--out" in capsys.readouterr().err


def test_a_relaxed_crystal_in_left_handed_axes_is_no_mirror_image():
    places = [[0.4697, 0, 1 / 3], [0.4135, 0.2669, 0.4524]]
    crystal = Structure.from_spacegroup(152, Lattice.hexagonal(6.4, 7.0), ["Cu", "Au"], places)
    crystal.make_supercell([[0, 1, 0], [1, 0, 0], [0, 0, 1]])  # the same atoms, a and b exchanged
    rows, _ = E.energies([crystal], calculator="emt", max_steps=1, **quiet)
    written = Structure.from_str(rows[0]["cif"], fmt="cif")
    assert [space_group(s, 0.01) for s in (crystal, written)] == [152, 152]
