"""Films: what goes into the file comes out of it, whatever is wrong is said in one sentence, and a drift is
no distance."""

import json
import math
import os
import struct
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.diffusion.trajectory import FIELDS, KEY, VERSION, Trajectory, TrajectoryError


def make(F=7, n=4, seed=0, lengths=(3.0, 4.0, 5.0), angles=(80.0, 95.0, 110.0), target=None, **meta):
    "A film of random numbers."
    g = torch.Generator().manual_seed(seed)
    return Trajectory(
        t=torch.arange(F - 1, -1, -1),
        noise=torch.linspace(1, 0, F),
        alpha_bar=torch.full((F,), math.nan),
        frac_unwrapped=3 * torch.randn(F, n, 3, generator=g),
        atomic_numbers=torch.randint(1, 90, (F, n), generator=g),
        x0=torch.rand(F, n, 3, generator=g),
        lengths=torch.tensor(lengths),
        angles=torch.tensor(angles),
        meta=meta,
        target=target,
    )


def as_target(film, frac):
    "A crystal with the film's cell."
    return CrystalBatch(
        atomic_numbers=film.atomic_numbers[-1],
        frac_coords=frac,
        lengths=film.lengths[None],
        angles=film.angles[None],
        num_atoms=torch.tensor([film.num_atoms]),
        ids=("truth",),
        properties=dict(energy=torch.tensor([-1.5])),
    )


def rewrite(path, words=None, drop=None, change=None):
    "Write the film at `path` again with other metadata or tensors."
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, "pt") as f:
        tensors, meta = {k: f.get_tensor(k) for k in f.keys() if k != drop}, f.metadata()
    save_file(tensors | (change or {}), path, metadata=meta if words is None else words)


@pytest.mark.parametrize("F,n", [(1, 1), (1, 5), (7, 4), (100, 1)])
def test_round_trip_is_exact(tmp_path, F, n):
    film = make(F, n, model="m", steps=F, nested=dict(a=[1, 2.5, None]))
    film = replace(film, target=as_target(film, film.frac_coords[-1]))
    again = Trajectory.load(film.save(tmp_path / "a.safetensors"))
    for k, v in film.tensors.items():
        assert again.tensors[k].dtype == v.dtype and torch.equal(
            torch.nan_to_num(again.tensors[k]), torch.nan_to_num(v)
        ), k
    assert torch.isnan(again.alpha_bar).all() and again.meta == film.meta
    assert (
        torch.equal(again.target.frac_coords, film.target.frac_coords)
        and again.target.ids == ("truth",)
        and float(again.target.properties["energy"]) == -1.5
    )
    assert again.final.matches(film.final) or n == 1


def test_shared_strided_and_grad_tensors_are_saved(tmp_path):
    film = make(5, 3)
    x = torch.rand(3, 5, 3, requires_grad=True).transpose(0, 1)
    again = Trajectory.load(
        replace(film, frac_unwrapped=x, x0=x, atomic_numbers=film.atomic_numbers[:1].expand(5, -1)).save(
            tmp_path / "a.safetensors"
        )
    )
    assert torch.equal(again.x0, x) and torch.equal(again.frac_unwrapped, x)


def test_numbers_and_paths_in_meta_become_plain(tmp_path):
    film = make(seed=1, loss=torch.tensor(2.5), folder=tmp_path, tags={"b", "a"})
    assert Trajectory.load(film.save(tmp_path / "a.safetensors")).meta == dict(
        loss=2.5, folder=str(tmp_path), tags=["a", "b"]
    )


def test_every_truncation_is_refused_in_one_sentence(tmp_path):
    whole = make().save(tmp_path / "a.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    for n in [0, 1, 7, 8, 9, 50, len(whole) // 2, len(whole) - 1]:
        cut.write_bytes(whole[:n])
        with pytest.raises(TrajectoryError, match="cut.safetensors") as e:
            Trajectory.load(cut)
        assert "\n" not in str(e.value)


def test_flipped_bytes_give_a_film_or_a_film_error(tmp_path):
    film = make(2, 2)
    film = replace(film, target=as_target(film, film.frac_coords[-1]))
    whole = bytearray(film.save(tmp_path / "a.safetensors").read_bytes())
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    for i in range(0, header, 3):
        bad = bytearray(whole)
        bad[i] ^= 0x15
        (tmp_path / "bad.safetensors").write_bytes(bad)
        try:
            Trajectory.load(tmp_path / "bad.safetensors")
        except TrajectoryError:
            pass


@pytest.mark.parametrize(
    "words,said",
    [
        ({}, "no trajectory"),
        ({"format": "pt"}, "no trajectory"),
        ({KEY: "{"}, "damaged"),
        ({KEY: "[]"}, "damaged"),
        ({KEY: '{"meta": {}}'}, "damaged"),
        ({KEY: json.dumps(dict(version=VERSION + 1, meta={}))}, "update dpcdvae"),
        ({KEY: json.dumps(dict(version=VERSION, meta={}, target=3))}, "damaged"),
        ({KEY: json.dumps(dict(version=VERSION, meta=3))}, "damaged"),
    ],
)
def test_foreign_and_newer_metadata(tmp_path, words, said):
    path = make().save(tmp_path / "a.safetensors")
    rewrite(path, words)
    with pytest.raises(TrajectoryError, match=said):
        Trajectory.load(path)


@pytest.mark.parametrize("name", FIELDS)
def test_missing_and_misshapen_tensors_are_named(tmp_path, name):
    path = make().save(tmp_path / "a.safetensors")
    rewrite(path, drop=name)
    with pytest.raises(TrajectoryError, match=name):
        Trajectory.load(path)
    rewrite(path, change={name: torch.zeros(2, 2, 2, 2)})
    with pytest.raises(TrajectoryError, match=name):
        Trajectory.load(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.safetensors"):
        Trajectory.load(tmp_path / "nothing.safetensors")
    with pytest.raises(TrajectoryError, match="readable"):
        Trajectory.load(tmp_path)


def test_failed_save_leaves_the_old_film(tmp_path, monkeypatch):
    path = make(seed=1).save(tmp_path / "a.safetensors")
    before = path.read_bytes()

    def full(*a):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises((OSError, ValueError), match="No space left"):
        make(seed=2).save(path)
    assert path.read_bytes() == before


def test_film_is_opened_without_pickle(tmp_path):
    raw = make().save(tmp_path / "a.safetensors").read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    assert set(json.loads(raw[8 : 8 + n])) == {"__metadata__", *FIELDS}


def test_distance_in_a_skew_cell_equals_the_definition():
    """One atom of four displaced by d.

    RMS about the common drift is |d| sqrt(3)/4; the drift and whole turns do not count."""
    film = make(3, 4, lengths=(3.0, 3.0, 5.0), angles=(90.0, 90.0, 120.0))
    true = torch.rand(4, 3, generator=torch.Generator().manual_seed(5))
    d = torch.zeros(3, 4, 3)
    d[1, 0] = torch.tensor([0.1, 0.0, 0.0])
    d[2, 0] = torch.tensor([0.1, 0.1, 0.1])
    drift, turns = torch.tensor([[0.0], [0.49], [-7.3]])[:, None], torch.randint(-3, 4, (3, 4, 3))
    film = replace(film, frac_unwrapped=true + d + drift + turns, target=as_target(film, true))
    length = [0.0, 0.3, math.sqrt(0.3**2 + 0.5**2)]  # a and b at 120 degrees: |a+b| = |a|
    assert torch.allclose(
        film.distance_to_target(), torch.tensor([x * math.sqrt(3) / 4 for x in length]).double(), atol=1e-5
    )


def test_distance_needs_the_same_atoms():
    with pytest.raises(TrajectoryError, match="no target"):
        make().distance_to_target()
    with pytest.raises(TrajectoryError, match="4 atoms and its target 5"):
        make(target=toy("SrTiO3")).distance_to_target()
    with pytest.raises(TrajectoryError, match="holds 2"):
        make(target=CrystalBatch.cat([toy("Cu"), toy("Cu")]))


@pytest.mark.parametrize("F", [1, 2, 3, 10, 101])
@pytest.mark.parametrize("num", [2, 3, 7, 100, 500])
def test_thin_keeps_both_ends_and_even_steps(F, num):
    t = make(F, 2).thin(num).t
    assert t[0] == F - 1 and t[-1] == 0 and len(t) == min(F, num)
    if len(t) > 2:
        steps = -t.diff()
        assert steps.min() > 0 and steps.max() - steps.min() <= 1


def test_selection_of_frames():
    film = make(6, 2)
    assert (
        film[-1].t.tolist() == [0]
        and film[1:3].t.tolist() == [4, 3]
        and film[[0, 5]].t.tolist() == [5, 0]
        and film[torch.tensor([2])].t.tolist() == [3]
    )
    assert [int(f.t) for f in film] == [5, 4, 3, 2, 1, 0]
    assert torch.equal(film[2:4].x0, film.x0[2:4]) and torch.equal(film[2:4].lengths, film.lengths)
    with pytest.raises(IndexError):
        film[6]


def test_files_for_other_programs_agree_with_the_film(tmp_path):
    from ase.io import read
    from pymatgen.core import Structure

    film = make(5, 6)
    film = replace(film, atomic_numbers=film.atomic_numbers[-1:].expand(5, -1))
    frames = read(film.to_extxyz(tmp_path / "a.xyz"), ":")
    for i, a in enumerate(frames):
        dx = torch.tensor(a.get_scaled_positions(wrap=False)) - film.frac_coords[i]
        assert (
            (dx - dx.round()).abs().max() < 1e-5
            and a.info["t"] == int(film.t[i])
            and abs(a.info["noise"] - float(film.noise[i])) < 1e-6
        )
        assert a.numbers.tolist() == film.atomic_numbers[i].tolist() and a.pbc.all()
    for i in (0, -1):
        s = Structure.from_file(film.to_cif(tmp_path / "a.cif", frame=i))
        assert abs(s.volume - film.final.volume) < 1e-2 and sorted(s.atomic_numbers) == sorted(
            film.atomic_numbers[i].tolist()
        )
        assert s.lattice.get_all_distances(film.structure(i).frac_coords, s.frac_coords).min(1).max() < 1e-3


def test_card_escapes_and_stays_light():
    film = make(2000, 3, id="<img src=x>", sampler="a&b")
    html = film._repr_html_()
    assert "<img" not in html and "a&amp;b" in html and len(html) < 5000 and "2000" in html
    assert "Trajectory(" in repr(make(1, 1)) and "svg" in make(1, 1)._repr_html_()


def test_import_needs_torch_alone():
    heavy = ("pymatgen", "ase", "plotly", "pandas", "lightning", "safetensors", "torch_geometric", "IPython")
    code = f"import sys, dpcdvae.diffusion.trajectory; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.parametrize("seed", range(6))
def test_distance_agrees_with_the_structure_matcher(seed):
    """A distorted crystal with its axes chosen anew, at another origin and a little off, is as far as
    pymatgen says."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    g = torch.Generator().manual_seed(seed)
    target = toy(("SrTiO3", "NaCl", "CsCl")[seed % 3])
    n = len(target.frac_coords)
    target = target.replace(frac_coords=target.frac_coords + 0.03 * torch.randn(n, 3, generator=g))
    axes, hand = torch.randperm(3, generator=g), 1 - 2 * (seed % 2)
    moved = (
        hand * target.frac_coords[:, axes]
        + torch.rand(3, generator=g)
        + 0.01 * torch.randn(n, 3, generator=g)
    )
    f = one_frame(target, moved)
    matcher = StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10, scale=False, primitive_cell=False)
    theirs = matcher.get_rms_dist(f.final, target.to_structures()[0])[0] * (f.final.volume / n) ** (1 / 3)
    assert float(f.distance_to_target()) == pytest.approx(theirs, abs=2e-3)


def one_frame(target, frac):
    "A film that ends with these places."
    z = torch.zeros(1)
    return Trajectory(
        t=z.long(),
        noise=z,
        alpha_bar=z + 1,
        frac_unwrapped=frac[None],
        atomic_numbers=target.atomic_numbers[None],
        x0=frac[None],
        lengths=target.lengths[0],
        angles=target.angles[0],
        target=target,
    )
