"The player's Python half: films as bytes, traits, films that grow, and the JavaScript of the package."

import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets

from benchmarks.player import player_memory
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.crystal.lattice import wrap
from dpcdvae.diffusion.trajectory import Trajectory, TrajectoryError
from dpcdvae.viz.page import PLAYER, STEPS, pack, quantise, restore, unpack
from dpcdvae.viz.player import OPTIONS, FilmPlayer, as_trajectories, still

ROOT = Path(__file__).resolve().parents[1]


def make(F=21, n=None, name="SrTiO3", sigma=0.5, seed=0, target=True, cell=None):
    "A film that walks away from a toy crystal, or of n atoms at random."
    c, g = toy(name), torch.Generator().manual_seed(seed)
    frac = c.frac_coords if n is None else torch.rand((n, 3), generator=g)
    numbers = c.atomic_numbers if n is None else torch.randint(1, 90, (n,), generator=g)
    path = frac + sigma * torch.randn((F, len(frac), 3), generator=g)
    return Trajectory(
        t=torch.arange(F - 1, -1, -1),
        noise=torch.linspace(1, 0, F),
        alpha_bar=torch.linspace(0, 1, F),
        frac_unwrapped=path,
        atomic_numbers=numbers.expand(F, -1),
        x0=path + 0.1,
        lengths=torch.tensor(cell or c.lengths[0].tolist()),
        angles=c.angles[0],
        meta=dict(id="x"),
        target=c if target and n is None else None,
    )


@pytest.mark.parametrize("sigma", [0.1, 3.0, 50.0, 1e4])
def test_packing_is_precise_however_far_an_atom_walks(sigma):
    film = make(F=100, n=24, sigma=sigma, cell=[25.0, 30.0, 28.0])
    back = unpack(*pack(film))[0]
    off = back["frac"] - film.frac_unwrapped.double().numpy()
    assert np.abs(off).max() <= 0.5 / STEPS + 1e-9
    assert np.linalg.norm(off @ film.crystal().lattice[0].double().numpy(), axis=-1).max() < 1e-3  # Å
    x0 = back["x0"] - wrap(film.x0.double()).numpy()
    assert np.abs(x0 - np.round(x0)).max() <= 0.5 / STEPS + 1e-9
    assert (back["numbers"] == film.atomic_numbers[:1].numpy()).all() and (back["t"] == film.t.numpy()).all()


def test_packing_at_the_faces_and_of_holes():
    x = np.array([[0.0, 1 - 1e-9, -1e-9], [math.nan, 0.5, 0.5], [1.0, -1.0, 127.0], [0.25, 1e40, 0]])
    back = restore(*quantise(x))
    assert np.isnan(back[[1, 3]]).all() and np.abs(back[[0, 2]] - x[[0, 2]]).max() < 1e-8
    assert (quantise(x)[0][[0, 2]] < STEPS).all()


@pytest.mark.parametrize("film,most", [(lambda: make(F=1000, n=24), 16), (lambda: make(F=1, n=1), 60)])
def test_packing_is_compact(film, most):
    f = film()
    header, data = pack(f)
    assert len(data) <= most * len(f) * f.num_atoms + 16 * len(f) + 8 and len(json.dumps(header)) < 12000


def test_header_and_bytes_fit_each_other():
    films = [make(F=3), make(F=1, name="Cu"), make(F=4, n=7)]
    header, data = pack(films)
    assert json.loads(json.dumps(header, allow_nan=False))["films"][2]["atoms"] == 7
    ends = [
        a["offset"] + np.dtype("<" + a["dtype"]).itemsize * math.prod(a["shape"])
        for f in header["films"]
        for a in f["arrays"].values()
    ]
    assert max(ends) <= len(data) < max(ends) + 4 and all(
        a["offset"] % np.dtype(a["dtype"]).itemsize == 0
        for f in header["films"]
        for a in f["arrays"].values()
    )
    for film, back in zip(films, unpack(header, data)):
        assert np.abs(back["frac"] - film.frac_unwrapped.numpy()).max() < 1e-5
    assert "distance" in header["films"][0]["arrays"] and "distance" not in header["films"][2]["arrays"]
    with pytest.raises(TrajectoryError, match="no film"):
        pack([])


def test_types_that_change_and_target_of_another_size():
    film = make()
    z = film.atomic_numbers.clone()
    z[:5, 0] = 0
    header, data = pack(replace(film, atomic_numbers=z, target=toy("Si")))
    assert (unpack(header, data)[0]["numbers"] == z.numpy()).all() and {
        e["symbol"] for e in header["films"][0]["elements"]
    } == {"Sr", "Ti", "O", "?", "Si"}
    assert {e["symbol"]: e["metal"] for e in header["films"][0]["elements"]} == {
        "Sr": True,
        "Ti": True,
        "O": False,
        "?": False,
        "Si": False,
    }


def test_traits_are_clamped_and_checked():
    p = FilmPlayer([make(F=21), make(F=3)], frame=99)
    assert (p.frame, p.num_frames, p.num_crystals) == (20, 21, 2) and abs(p.speed - 3.5) < 1e-9
    p.frame = -1
    assert p.frame == 0
    p.frame = 15
    p.crystal = 7
    assert (p.crystal, p.num_frames, p.frame) == (1, 3, 2)
    p.speed = 1e9
    assert p.speed == 1000
    for k, bad in dict(
        supercell=4, projection="fisheye", theme="pink", palette="rainbow", height=3, playing="yes", frame="1"
    ).items():
        with pytest.raises(traitlets.TraitError):
            setattr(p, k, bad)
    with pytest.raises(TypeError, match="no option spped"):
        FilmPlayer(make(), spped=3)
    with pytest.raises(TrajectoryError, match="empty"):
        FilmPlayer([])
    with pytest.raises(TrajectoryError, match="dict"):
        FilmPlayer({})


def test_options_are_those_of_the_browser():
    "What Python offers and what the player knows are the same names with the same defaults."
    source = (ROOT / "js/src/session.js").read_text()
    defaults = re.search(r"DEFAULTS = \{(.*?)\};", source, re.S)[1]
    known = dict(re.findall(r"(\w+): ([^,]+)", defaults))
    assert set(known) == set(OPTIONS) | {"picked"}
    p = FilmPlayer(make())
    for k, v in known.items():
        if k not in ("speed", "picked"):
            assert json.loads(v) == getattr(p, k), k


def test_crystals_are_films_of_one_frame():
    batch = CrystalBatch.cat([toy("SrTiO3"), toy("Cu")])
    p = FilmPlayer(batch, crystal=1)
    assert (p.num_crystals, p.num_frames, p.film.formula) == (2, 1, "Cu") and len(
        as_trajectories([batch, make()])
    ) == 3
    assert torch.equal(still(toy("Si")).frac_unwrapped[0], toy("Si").frac_coords)


def test_showing_another_film_keeps_the_toggles():
    p = FilmPlayer(make(), bonds=True, wrapped=False, frame=12, playing=True)
    assert p.show([make(F=4), make(F=5)], crystal=1) is p
    assert (p.bonds, p.wrapped, p.frame, p.num_frames, p.num_crystals, p.crystal, p.playing) == (
        True,
        False,
        0,
        5,
        2,
        1,
        False,
    )
    assert len(p.header["films"]) == 2


class Spy(FilmPlayer):
    "A player that notes what it sends."

    def send(self, content, buffers=None):
        self.__dict__.setdefault("sent", []).append((content, buffers))


def test_a_film_that_grows():
    film = make(F=6, sigma=0.1)
    p = Spy(film[:1])
    for i in range(1, 6):
        p.append(film.frac_coords[i], x0=film.x0[i], t=5 - i, noise=0.5)
    assert p.num_frames == 6 and p.frame == 5 and len(p.header["films"]) == 1
    jump = p.film.frac_unwrapped - film.frac_unwrapped
    assert (jump - jump.round()).abs().max() < 1e-5
    assert (p.film.frac_unwrapped.diff(dim=0).abs() <= 0.5).all() and torch.equal(p.film.t, film.t.float())
    words, buffers = p.sent[2]
    assert (words["type"], words["index"], words["t"], words["alpha_bar"], words["atoms"]) == (
        "append",
        3,
        2.0,
        None,
        5,
    ) and len(buffers[0]) == 25 * 5
    place, cell = np.frombuffer(buffers[0], "<u2", 15), np.frombuffer(buffers[0], "<i4", 15, 60)
    assert np.abs(restore(place, cell).reshape(5, 3) - p.film.frac_unwrapped[3].numpy()).max() < 1e-5
    p.follow = False
    p.frame = 2
    p.append(film.frac_coords[0])
    assert (p.frame, p.num_frames) == (2, 7)
    with pytest.raises(TrajectoryError, match="5 atoms"):
        p.append(torch.zeros(4, 3))


def test_a_browser_that_missed_frames_gets_all():
    p = Spy(make(F=3))
    p.append(p.film.frac_coords[-1])
    before = p.header["films"][0]["frames"]
    p._answer(p, dict(type="have", frames=[4]), [])
    assert p.header["films"][0]["frames"] == before == 3  # it has all
    p._answer(p, dict(type="have", frames=[3]), [])
    assert p.header["films"][0]["frames"] == 4


def test_a_thousand_appends_are_quick_and_small():
    import time

    p = Spy(make(F=1, n=24))
    x = p.film.frac_coords[-1]
    t = time.process_time()
    for i in range(1000):
        p.append(x)
    assert time.process_time() - t < 10 and len(p.film) == 1001


def test_snapshot_arrives_in_the_file(tmp_path):
    p = Spy(make())
    p.snapshot(tmp_path / "a.png")
    assert p.sent == [(dict(type="snapshot"), None)]
    p._answer(p, dict(type="snapshot"), [memoryview(b"\x89PNG")])
    assert p.png == b"\x89PNG" == (tmp_path / "a.png").read_bytes()


def test_page_of_a_player_has_its_toggles(tmp_path):
    p = FilmPlayer(make(F=41), arrows=True, frame=20, theme="dark")
    text = p.to_html(tmp_path / "a.html", max_frames=21).read_text()
    header = json.loads(re.search(r'id="film-header">(.*?)</script>', text)[1])
    assert (
        header["films"][0]["frames"] == 21
        and header["state"] | dict(arrows=True, frame=10, theme="dark", curves=True) == header["state"]
    )


def test_scrub_is_the_player():
    p = make().scrub(bonds=True)
    assert isinstance(p, FilmPlayer) and p.bonds


def test_memory_of_a_long_film():
    pytest.importorskip("psutil")
    grown = player_memory(24, 1000)
    print(f"\nkernel memory of a player of 1,000 frames and 24 atoms: {grown:.1f} MB")
    assert 1 < grown < 20  # the film itself takes a megabyte


# ---- the bundle


def sources():
    js = ROOT / "js"
    return [
        *sorted(js.glob("src/*"), key=lambda p: p.name),
        js / "build.mjs",
        js / "package-lock.json",
        js / "package.json",
    ]


def digest():
    h = hashlib.sha256()
    for p in sources():
        h.update(f"{p.relative_to(ROOT / 'js').as_posix()}\n".encode())
        h.update(p.read_bytes())
    return h.hexdigest()


def test_bundle_is_built_from_these_sources():
    first = PLAYER.read_text(encoding="utf-8").splitlines()[0]
    assert f"sources {digest()} " in first, "run npm ci && npm run build in js/"
    assert "three.js" in first and "MIT" in first


def test_bundle_is_one_module_that_asks_for_nothing():
    text = PLAYER.read_text(encoding="utf-8")
    assert len(text) < 900_000 and "</script" not in text and "export default" in text
    assert not re.search(r"\bimport\s*[({\"']", text) and not re.search(
        r"\b(?:fetch|XMLHttpRequest|WebSocket|EventSource)\(\s*[\"']", text
    )
    assert not re.search(r"https?://(?!www\.w3\.org|jcgt\.org|github\.com|threejs\.org)[\w.]+", text)


def test_lock_file_pins_and_names_no_registry():
    lock = json.loads((ROOT / "js/package-lock.json").read_text())
    package = json.loads((ROOT / "js/package.json").read_text())
    assert all(re.fullmatch(r"[\d.]+", v) for v in package["devDependencies"].values())
    assert not any("resolved" in p for p in lock["packages"].values()) and all(
        "integrity" in p for k, p in lock["packages"].items() if k
    )
    assert "http" not in (ROOT / "js/package-lock.json").read_text()


@pytest.mark.skipif(
    not shutil.which("node") or not (ROOT / "js/node_modules/three").exists(),
    reason="node or js/node_modules is not there: npm ci in js/",
)
def test_bundle_can_be_built_again(tmp_path):
    copy = tmp_path / "copy"
    (copy / "dpcdvae/static").mkdir(parents=True)
    shutil.copytree(ROOT / "js", copy / "js", ignore=shutil.ignore_patterns("node_modules"))
    (copy / "js/node_modules").symlink_to(ROOT / "js/node_modules")
    done = subprocess.run(["node", "build.mjs"], cwd=copy / "js", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (copy / "dpcdvae/static/player.js").read_bytes() == PLAYER.read_bytes()


@pytest.mark.skipif(not shutil.which("node"), reason="node is not there")
def test_geometry_of_the_browser():
    done = subprocess.run(
        ["node", "--test", "test/"], cwd=ROOT / "js", capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_wheel_holds_the_player(tmp_path):
    pytest.importorskip("setuptools")
    copy = tmp_path / "copy"
    copy.mkdir()
    for f in ("setup.py", "settings.ini", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / f, copy)
    shutil.copytree(ROOT / "dpcdvae", copy / "dpcdvae", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-lib", str(tmp_path / "lib")],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-1500:]
    assert (tmp_path / "lib/dpcdvae/static/player.js").read_bytes() == PLAYER.read_bytes()
