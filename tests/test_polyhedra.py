"Coordination polyhedra: counted in Python, drawn by the player, and the same in both."

import math

import numpy as np
import pytest
from conftest import until
from hand import pixels, player, settled
from pymatgen.core import Lattice, Structure
from scipy.spatial import ConvexHull
from test_browser import make

from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.viz.page import film_html
from dpcdvae.viz.player import FilmPlayer, still
from dpcdvae.viz.polyhedra import coordination_polyhedra
from dpcdvae.viz.view import view

PLAYER = player()


def crystal(group, lattice, species, sites):
    return CrystalBatch.from_structures([Structure.from_spacegroup(group, lattice, species, sites)])


KNOWN = dict(
    perovskite=(toy("SrTiO3"), [("Ti", 6, 8)]),
    halide=(
        crystal(221, Lattice.cubic(6.29), ["Cs", "Pb", "I"], [[0.5] * 3, [0] * 3, [0.5, 0, 0]]),
        [("Pb", 6, 8)],
    ),
    fluorite=(crystal(225, Lattice.cubic(5.46), ["Ca", "F"], [[0] * 3, [0.25] * 3]), [("Ca", 8, 6)] * 4),
    rutile=(
        crystal(136, Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0] * 3, [0.305, 0.305, 0]]),
        [("Ti", 6, 8)] * 2,
    ),
    quartz=(
        crystal(
            154,
            Lattice.hexagonal(4.913, 5.405),
            ["Si", "O"],
            [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]],
        ),
        [("Si", 4, 4)] * 3,
    ),
    copper=(toy("Cu"), []),
    silicon=(toy("Si"), []),
)


@pytest.mark.parametrize("name", KNOWN)
def test_known_crystals_have_their_polyhedra(name):
    made, wanted = KNOWN[name]
    found = coordination_polyhedra(made)
    assert [(p.element, len(p.corners), p.num_faces) for p in found] == wanted


def test_large_polyhedra_do_not_hide_small_ones():
    made = crystal(221, Lattice.cubic(3.9), ["La", "Mn", "O"], [[0.5] * 3, [0] * 3, [0.5, 0, 0]])
    assert [p.element for p in coordination_polyhedra(made)] == ["Mn"]


def test_flat_coordination_is_no_polyhedron():
    made = crystal(123, Lattice.tetragonal(4.0, 8.0), ["Cu", "O"], [[0] * 3, [0.5, 0, 0]])
    assert coordination_polyhedra(made) == []


def test_polyhedra_do_not_depend_on_the_choice_of_cell():
    one = KNOWN["rutile"][0].to_structures()[0]
    moved = one.copy()
    moved.translate_sites(range(len(moved)), [0.31, 0.77, 0.05])
    volume = lambda s: sorted(p.volume for p in coordination_polyhedra(CrystalBatch.from_structures([s])))
    assert np.allclose(volume(moved), volume(one), atol=1e-3)
    assert np.allclose(volume(one * (2, 1, 1)), volume(one) * 2, atol=1e-3)


def test_view_show_and_page_take_the_option(tmp_path):
    assert view(toy("SrTiO3"), polyhedra=True).polyhedra is True
    assert FilmPlayer(toy("SrTiO3")).show(toy("NaCl"), polyhedra=True).polyhedra is True
    page = FilmPlayer(toy("SrTiO3"), polyhedra=True).to_html(tmp_path / "film.html")
    assert '"polyhedra":true' in page.read_text()


def drawn(page):
    "What the player draws around each atom of the cell: corners, and volume in Å^3."
    read = f"{PLAYER}.picture.solids.map(s => [s.atom, s.corners.length, s.faces.length, s.volume])"
    return {atom: rest for atom, *rest in page.evaluate(read)}


def agree(found, made):
    wanted = {p.atom: p for p in coordination_polyhedra(made)}
    assert set(found) == set(wanted)
    for atom, (corners, _, volume) in found.items():
        assert corners == len(wanted[atom].corners)
        assert math.isclose(volume, wanted[atom].volume, rel_tol=1e-3, abs_tol=1e-2)
    return len(wanted)


def test_the_player_draws_the_same_polyhedra(page, tmp_path):
    made = [c for c, _ in KNOWN.values()]
    page.goto(film_html([still(c) for c in made], tmp_path / "films.html", polyhedra=True).as_uri())
    for i, (c, wanted) in enumerate(KNOWN.values()):
        until(page, f"{PLAYER}.session.drawn.crystal === {i}")
        found = drawn(page)
        agree(found, c)
        assert sorted((n, faces) for n, faces, _ in found.values()) == sorted((n, f) for _, n, f in wanted)
        page.click("[aria-label='next crystal']")


def test_polyhedra_follow_the_frames_of_a_film(page, tmp_path):
    film = make(F=41, sigma=0.25, seed=3)
    page.goto(film.to_html(tmp_path / "film.html", polyhedra=True).as_uri())
    met = 0
    for frame in (0, 8, 16, 24, 32, 40):
        page.evaluate(f"{PLAYER}.session.seek({frame})")
        settled(page, frame)
        met += agree(drawn(page), film.crystal(frame))
    assert met >= 4


SILHOUETTE = f"""(() => {{
  const p = {PLAYER}, s = p.picture.solids[0];
  const at = c => p.picture.project(c.v.map((x, k) => x + s.at[k]), p.width, p.height);
  return s.corners.map(at);
}})()"""


def inside(corners, shape):
    "Mark the pixels inside the outline of projected corners."
    outline = ConvexHull(corners).equations
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (np.stack([x, y, np.ones_like(x)], -1) @ outline.T <= 0).all(-1)


def test_the_key_draws_a_translucent_octahedron(page, tmp_path):
    page.goto(film_html([still(toy("SrTiO3"))], tmp_path / "one.html", bonds=False).as_uri())
    settled(page, 0)
    page.keyboard.press("Tab")
    page.wait_for_timeout(600)  # the picture is smoothed once nothing moves
    before = pixels(page, ".dpv-canvas").astype(int)
    page.keyboard.press("h")
    until(page, f"{PLAYER}.picture.solids.length === 1 && !{PLAYER}.dirty")
    page.wait_for_timeout(600)
    after = pixels(page, ".dpv-canvas").astype(int)
    assert page.get_attribute("[data-toggle=polyhedra]", "aria-pressed") == "true"
    body = inside(page.evaluate(SILHOUETTE), before.shape)
    changed = np.abs(after - before).max(-1) > 6
    assert 0.02 < body.mean() < 0.4
    assert changed[body].mean() > 0.5 and changed[~body].mean() < 0.005
    spread = lambda image: image[body].std(0).mean()
    assert spread(after) > 0.25 * spread(before)  # what lies inside and behind is still seen
    page.click("[data-toggle=polyhedra]")
    until(page, f"{PLAYER}.picture.solids.length === 0 && !{PLAYER}.dirty")
