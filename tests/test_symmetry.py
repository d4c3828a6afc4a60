"""Neighbours are all neighbours, and no choice that nature does not know (origin, order, image, cell, axes)
changes what the networks say."""

import pytest
import torch

from benchmarks.gpu import awake
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.crystal.lattice import parameters_from_lattice
from dpcdvae.crystal.neighbors import find_neighbors
from dpcdvae.model.config import get_config
from dpcdvae.nn.denoiser import Denoiser
from dpcdvae.nn.encoder import Encoder, bonds_from_neighbors
from dpcdvae.nn.environment import LocalEnvironment
from dpcdvae.nn.gemnet import GemNetT, Geometry

TOL = 1e-8
REAL = torch.float64


def crystal(lengths, angles, frac, z=None, seed=0):
    frac = torch.as_tensor(frac, dtype=REAL)
    z = (
        torch.randint(1, 60, (len(frac),), generator=torch.Generator().manual_seed(seed))
        if z is None
        else torch.as_tensor(z)
    )
    return CrystalBatch(
        z,
        frac,
        torch.tensor([lengths], dtype=REAL),
        torch.tensor([angles], dtype=REAL),
        torch.tensor([len(frac)]),
    )


def random_crystal(seed, n=None, low=3.2, high=7.5):
    "A triclinic crystal with a cell of any handedness of shape, atoms anywhere, some outside the cell."
    g = torch.Generator().manual_seed(seed)
    u = lambda *s: torch.rand(*s, generator=g, dtype=REAL)
    n = n or int(torch.randint(1, 9, (), generator=g))
    while True:
        lengths, angles = low + (high - low) * u(3), 55 + 70 * u(3)
        c = angles.deg2rad().cos()
        if 1 + 2 * c.prod() - c.square().sum() > 0.15:
            break
    return crystal(lengths.tolist(), angles.tolist(), 3 * u(n, 3) - 1, seed=seed)


def ideal(name, push=None):
    """A toy crystal in float64, perhaps with its last but one atom pushed off its site along an axis (so
    that vectors do not vanish)."""
    c = toy(name).to(REAL)
    if push is None:
        return c
    x = c.frac_coords.clone()
    x[min(1, len(x) - 1)] += torch.tensor(push, dtype=REAL)
    return c.replace(frac_coords=x)


def rotation(seed, improper=False):
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=REAL))
    q = q * r.diagonal().sign()
    return q if (torch.linalg.det(q) < 0) == improper else -q


def supercell(c, lattice, n):
    "Repeat a crystal; return (crystal, lattice, atom of the small cell) of the large one."
    n = torch.tensor(n)
    shifts = torch.cartesian_prod(*(torch.arange(int(k)) for k in n))
    frac = ((c.frac_coords[None] + shifts[:, None]) / n).reshape(-1, 3)
    big = lattice * n[None, :, None]
    lengths, angles = parameters_from_lattice(big)
    origin = torch.arange(len(c.frac_coords)).repeat(len(shifts))
    return (
        CrystalBatch(c.atomic_numbers[origin], frac, lengths, angles, torch.tensor([len(frac)])),
        big,
        origin,
    )


CELLS = {
    "flat": ([9.0, 8.5, 1.9], [90.0, 85.0, 95.0], 3),
    "long": ([2.1, 2.4, 24.0], [90.0, 90.0, 120.0], 4),
    "needle": ([2.0, 2.0, 31.0], [78.0, 81.0, 95.0], 2),
    "sheared": ([5.0, 5.0, 5.0], [60.0, 50.0, 100.0], 3),
    "thin one-atom": ([1.6, 1.7, 1.8], [65.0, 80.0, 110.0], 1),
    "wide": ([12.0, 13.0, 14.0], [90.0, 90.0, 90.0], 5),
    "wide pair": ([15.0, 16.0, 17.0], [90.0, 95.0, 100.0], 2),
    "one-atom": ([4.1, 2.9, 3.3], [70.0, 100.0, 85.0], 1),
}


def some_cells():
    for i, (name, (lengths, angles, n)) in enumerate(CELLS.items()):
        g = torch.Generator().manual_seed(i)
        yield pytest.param(
            crystal(lengths, angles, torch.rand(n, 3, generator=g, dtype=REAL) * 4 - 2, seed=i), id=name
        )
    for seed in range(25):
        yield pytest.param(random_crystal(seed), id=f"random{seed}")
    for name in ("Cu", "NaCl", "CsCl", "Si", "SrTiO3"):
        yield pytest.param(ideal(name), id=name)


def brute_force(frac, lattice, cutoff):
    """Every pair over far more images than can matter.

    Rows (i, j, image, vec, dist), the atom itself excluded."""
    height = 1 / torch.linalg.inv(lattice).norm(dim=0)
    spread = frac.max(0).values - frac.min(0).values
    reach = (cutoff / height + spread).ceil().long() + 1
    grid = torch.cartesian_prod(*(torch.arange(-int(r), int(r) + 1) for r in reach))
    diff = frac[None, :, None] - frac[:, None, None] + grid.to(REAL)
    vec = diff @ lattice
    dist = vec.norm(dim=-1)
    i, j, m = ((dist > 1e-9) & (dist < cutoff + 1e-6)).nonzero(as_tuple=True)
    return i, j, grid[m], vec[i, j, m], dist[i, j, m]


@pytest.mark.parametrize("k,cutoff", [(12, 7.0), (20, 5.0), (3, 3.5)])
@pytest.mark.parametrize("c", list(some_cells()))
def test_neighbours_equal_brute_force(c, k, cutoff):
    lattice = c.lattice[0]
    nb = find_neighbors(c, k, cutoff)
    i, j, image, vec, dist = brute_force(c.frac_coords, lattice, cutoff)
    for a in range(len(c.frac_coords)):
        mine = i == a
        d = dist[mine].sort().values
        own = min(cutoff, float(d[k])) if len(d) > k else cutoff
        assert abs(float(nb.cutoff[a]) - own) < TOL
        true = {
            (int(b), *im): v
            for b, im, v, x in zip(j[mine], image[mine].tolist(), vec[mine], dist[mine])
            if x < own - 1e-7
        }
        slots = nb.mask[a].nonzero().squeeze(1)
        found = {
            (int(nb.index[a, s]), *nb.jimage[a, s].tolist()): nb.vec[a, s]
            for s in slots
            if float(nb.dist[a, s]) < own - 1e-7
        }
        assert len(slots) <= k and (nb.dist[a, slots] <= own + 1e-7).all()
        edges = [(int(nb.index[a, s]), *nb.jimage[a, s].tolist()) for s in slots]
        assert len(set(edges)) == len(edges), f"atom {a}: an edge stands in two slots"
        assert set(found) == set(true), f"atom {a}: {len(found)} found, {len(true)} there are"
        assert all((found[e] - true[e]).abs().max() < TOL for e in true)
        assert all(abs(float(nb.dist[a, s] - nb.vec[a, s].norm())) < TOL for s in slots)


def test_neighbours_of_a_batch_are_those_of_its_crystals():
    alone = [random_crystal(s) for s in range(6)] + [
        ideal("Cu"),
        ideal("SrTiO3"),
        crystal(*CELLS["needle"][:2], [[0, 0, 0], [0.1, 0.2, 0.3]]),
    ]
    nb, offset = find_neighbors(CrystalBatch.cat(alone), 10, 6.0), 0
    for c in alone:
        one, rows = find_neighbors(c, 10, 6.0), slice(offset, offset + len(c.frac_coords))
        assert (nb.cutoff[rows] - one.cutoff).abs().max() < TOL
        edges = lambda n, r, o: [
            sorted(
                (round(float(d), 7), int(j) - o)
                for d, j, m in zip(n.dist[a], n.index[a], n.mask[a])
                if m and d < n.cutoff[a] - 1e-7
            )
            for a in range(r.start, r.stop)
        ]
        assert edges(nb, rows, offset) == edges(one, slice(0, len(c.frac_coords)), 0)
        offset += len(c.frac_coords)


@pytest.mark.parametrize("c", list(some_cells()))
def test_reverse_slots_hold_the_reversed_edge(c):
    nb = find_neighbors(c, 12, 7.0)
    vec, image = nb.vec.reshape(-1, 3), nb.jimage.reshape(-1, 3)
    has = nb.has_reverse & nb.mask
    back = nb.reverse[has]
    assert (vec[back] + nb.vec[has]).abs().max() < TOL if has.any() else True
    assert (image[back] == -nb.jimage[has]).all()
    mutual = (
        nb.mask & (nb.dist < nb.cutoff[nb.index] - 1e-7) & (nb.dist < nb.cutoff[:, None] - 1e-7)
    )  # counted from both sides
    assert has[mutual].all()


def test_fcc_copper_keeps_its_132_triplets():
    c = crystal([2.553] * 3, [60.0] * 3, [[0, 0, 0]], z=[29])
    nb = find_neighbors(c, 12, 7.0)
    assert nb.mask.shape == (1, 12) and nb.mask.all() and (nb.index == 0).all() and nb.has_reverse.all()
    assert (nb.dist - 2.553).abs().max() < TOL and abs(float(nb.cutoff[0]) - 2.553 * 2**0.5) < TOL
    bonds = bonds_from_neighbors(nb)
    assert len(bonds.dist) == 12 and len(bonds.kj) == 132 and (bonds.kj != bonds.ji).any()
    angles = sorted({round(float(a)) for a in bonds.angle.rad2deg()})
    assert angles == [60, 90, 120, 180]  # and never 0: that would be the way straight back
    count = torch.stack([(bonds.angle.rad2deg() - a).abs() < 1 for a in angles]).sum(1).tolist()
    assert count == [48, 24, 48, 12]
    g = Geometry(nb, GemNetT(8, 8).double().radial, 1, REAL)  # l = 0 alone: a constant wherever a triplet is
    assert (g.sph.abs() > 1e-12).sum() == 132


# ---- networks


def make_denoiser(preset="gemnet", **kw):
    torch.manual_seed(0)
    c = get_config(preset)
    args = dict(
        latent_dim=c.latent.dim,
        atoms=c.denoiser.atoms,
        atom_dim=c.denoiser.atom_dim,
        edge_dim=c.denoiser.edge_dim,
        num_blocks=c.denoiser.num_blocks,
        num_neighbors=c.denoiser.num_neighbors,
        cutoff=c.denoiser.cutoff,
        num_radial=c.denoiser.num_radial,
        trip_dim=c.denoiser.trip_dim,
        frame=c.denoiser.frame,
        mean_free=c.denoiser.mean_free,
        time_scale=c.denoiser.time_scale,
        type_head=True,
        num_output=c.denoiser.num_output_residuals,
        num_atom=c.denoiser.num_atom_residuals,
        cbf_dim=c.denoiser.cbf_dim,
        network=c.denoiser.network,
    )
    return awake(Denoiser(**args | kw)).double().eval()


@pytest.fixture(scope="module", params=["gemnet", "transformer"])
def denoiser(request):
    return make_denoiser(request.param)


@pytest.fixture(scope="module")
def gemnet():  # its answer does not depend on the choice of the cell; the transformer's does
    return make_denoiser()


@pytest.fixture(scope="module")
def cartesian(denoiser):
    preset = "gemnet" if denoiser.network == "gemnet" else "transformer"
    return make_denoiser(preset, frame="cartesian", mean_free=False)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(1)
    c = get_config("gemnet")
    return (
        Encoder(
            c.latent.dim,
            num_blocks=c.encoder.num_blocks,
            num_neighbors=c.encoder.num_neighbors,
            cutoff=c.denoiser.cutoff,
        )
        .double()
        .eval()
    )


@torch.no_grad()
def say(net, c, lattice=None, t=300):
    z = torch.randn(1, 256, generator=torch.Generator().manual_seed(5), dtype=REAL)
    p = net(c, z, torch.tensor([t]), lattice)
    return p.coords, p.type_logits


def network_cases():
    for seed in (1, 3, 4, 7, 11, 12):
        yield pytest.param(random_crystal(seed, n=2 + seed % 5), id=f"random{seed}")
    yield pytest.param(random_crystal(21, n=1), id="random one atom")
    for name in ("SrTiO3", "Cu", "Si", "NaCl"):
        yield pytest.param(ideal(name), id=name)
    yield pytest.param(ideal("SrTiO3", (0.0, 0.0, 0.04)), id="SrTiO3 pushed")  # four-fold ties remain
    yield pytest.param(ideal("Si", (0.02, 0.02, 0.02)), id="Si pushed")  # three-fold ties remain


cases = lambda: pytest.mark.parametrize("c", list(network_cases()))


def same(a, b, scale=1.0):
    assert a.shape == b.shape and (a - b).abs().max() < TOL * scale, float((a - b).abs().max())


def test_the_test_crystals_are_sensitive(denoiser, encoder):
    """Outputs are far from zero and follow the coordinates.

    And in the ideal crystals K really cuts a shell of equal distances."""
    for seed in (1, 3):
        c = random_crystal(seed, n=4)
        x, logits = say(denoiser, c)
        moved = c.replace(
            frac_coords=c.frac_coords
            + torch.tensor([[0.03, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=REAL)
        )
        assert x.norm(dim=-1).min() > 1e-3 and (say(denoiser, moved)[0] - x).abs().max() > 1e-3
        with torch.no_grad():
            assert (encoder(moved) - encoder(c)).abs().max() > 1e-5
    assert say(denoiser, ideal("SrTiO3", (0.0, 0.0, 0.04)))[0].abs().max() > 1e-3
    for name, k, atom in (("SrTiO3", 12, 1), ("Si", 12, 0), ("Cu", 14, 0), ("SrTiO3", 8, 1)):
        c = ideal(name)
        d = brute_force(c.frac_coords, c.lattice[0], 7.0)
        d = d[4][d[0] == atom].sort().values
        assert abs(float(d[k] - d[k - 1])) < 1e-9 or k == 12 and name == "Si"


@cases()
@pytest.mark.parametrize("improper", [False, True], ids=["rotation", "reflection"])
def test_rotation_of_the_lattice(denoiser, cartesian, c, improper):
    R = rotation(int(c.lengths.sum() * 100), improper)
    x, logits = say(denoiser, c)
    turned, turned_logits = say(denoiser, c, c.lattice @ R)
    same(x, turned), same(logits, turned_logits)  # fractional coordinates do not know the axes
    v, logits = say(cartesian, c)
    turned, turned_logits = say(cartesian, c, c.lattice @ R)
    same(v @ R, turned), same(logits, turned_logits)  # Cartesian ones turn along


@cases()
def test_translation(denoiser, encoder, c):
    moved = c.replace(frac_coords=c.frac_coords + torch.tensor([0.217, -0.381, 0.743], dtype=REAL))
    for a, b in zip(say(denoiser, c), say(denoiser, moved)):
        same(a, b)
    with torch.no_grad():
        same(encoder(c), encoder(moved))


@cases()
def test_permutation(denoiser, encoder, c):
    p = torch.randperm(len(c.frac_coords), generator=torch.Generator().manual_seed(3))
    mixed = c.replace(frac_coords=c.frac_coords[p], atomic_numbers=c.atomic_numbers[p])
    for a, b in zip(say(denoiser, c), say(denoiser, mixed)):
        same(a[p], b)
    with torch.no_grad():
        same(encoder(c), encoder(mixed))


@cases()
def test_whole_cell_shifts_of_single_atoms(denoiser, encoder, c):
    shift = torch.randint(-2, 3, c.frac_coords.shape, generator=torch.Generator().manual_seed(4)).to(REAL)
    moved = c.replace(frac_coords=c.frac_coords + shift)
    for a, b in zip(say(denoiser, c), say(denoiser, moved)):
        same(a, b)
    with torch.no_grad():
        same(encoder(c), encoder(moved))


@cases()
@pytest.mark.parametrize("n", [(2, 1, 1), (2, 2, 1)], ids=["2x1x1", "2x2x1"])
def test_supercells_per_atom(gemnet, encoder, c, n):
    big, lattice, origin = supercell(c, c.lattice, n)
    vectors = []
    with torch.no_grad():
        for one, cell in ((c, c.lattice), (big, lattice)):
            h = gemnet.atoms.element(one.atomic_numbers)
            vectors.append(
                gemnet.gemnet(h, find_neighbors(one, gemnet.num_neighbors, gemnet.cutoff, lattice=cell))
            )
        for small, large in zip(*vectors):
            same(small[origin], large)
        same(encoder(c), encoder(big))


@pytest.fixture(scope="module", params=[False, True], ids=["distances", "kinds"])
def environment(request):
    torch.manual_seed(5)
    net = LocalEnvironment(species_aware=request.param).to(REAL)
    net.fit(CrystalBatch.cat([random_crystal(s) for s in range(8)]))
    return net


@cases()
def test_local_environment_knows_only_the_crystal(environment, c):
    g, n = torch.Generator().manual_seed(6), len(c.frac_coords)
    order = torch.randperm(n, generator=g)
    U = torch.tensor([[0, 1, 0], [1, 1, 0], [-1, 0, 1]], dtype=REAL)
    lengths, angles = parameters_from_lattice(U @ c.lattice)
    with torch.no_grad():
        b = environment(c)
        assert b.abs().max() > 1e-3
        for other in (
            c.replace(frac_coords=c.frac_coords + torch.rand(3, generator=g, dtype=REAL)),
            c.replace(frac_coords=c.frac_coords + torch.randint(-2, 3, (n, 3), generator=g)),
            c.replace(frac_coords=c.frac_coords[order], atomic_numbers=c.atomic_numbers[order]),
            supercell(c, c.lattice, (2, 1, 2))[0],
            c.replace(frac_coords=c.frac_coords @ torch.linalg.inv(U), lengths=lengths, angles=angles),
        ):
            same(b, environment(other))


@cases()
def test_choice_of_cell(encoder, c):
    "Another basis of the same lattice: a' = a + b, c' = c - a, with the axes in another order."
    cartesian = make_denoiser(frame="cartesian", mean_free=False)
    U = torch.tensor([[0, 1, 0], [1, 1, 0], [-1, 0, 1]], dtype=REAL)
    lattice = U @ c.lattice
    lengths, angles = parameters_from_lattice(lattice)
    other = c.replace(frac_coords=c.frac_coords @ torch.linalg.inv(U), lengths=lengths, angles=angles)
    for a, b in zip(say(cartesian, c), say(cartesian, other, lattice)):
        same(a, b)
    with torch.no_grad():
        same(encoder(c), encoder(other))


@pytest.mark.parametrize("k", [5, 8, 13, 14, 17])
def test_a_cut_shell_has_no_say(k):
    """However K cuts the shells of fcc copper, a supercell and a turned lattice say the same, and the site's
    symmetry forbids a vector."""
    net = make_denoiser(num_neighbors=k, frame="cartesian", mean_free=False)
    c = ideal("Cu")
    v, logits = say(net, c)
    turned, turned_logits = say(net, c, c.lattice @ rotation(k))
    big, lattice, origin = supercell(c, c.lattice, (2, 2, 1))
    big_v, big_logits = say(net, big, lattice)
    assert v.abs().max() < TOL and turned.abs().max() < TOL and big_v.abs().max() < TOL
    same(logits, turned_logits), same(logits[origin], big_logits)


@pytest.mark.parametrize(
    "c", [random_crystal(1, n=3), ideal("SrTiO3", (0.0, 0.0, 0.04))], ids=["random", "SrTiO3"]
)
def test_paper_denoiser(c):
    """The released network turns with the lattice and knows no images or order.

    Its Fourier features see the origin, which is why `default` has none."""
    net = make_denoiser("paper")
    R = rotation(9)
    x, logits = say(net, c)
    turned = say(net, c, c.lattice @ R)
    same(x @ R, turned[0]), same(logits, turned[1])
    p = torch.arange(len(x)).flip(0)
    mixed = say(net, c.replace(frac_coords=c.frac_coords[p], atomic_numbers=c.atomic_numbers[p]))
    same(x[p], mixed[0]), same(logits[p], mixed[1])
    image = say(net, c.replace(frac_coords=c.frac_coords + torch.tensor([1.0, -2.0, 0.0], dtype=REAL)))
    same(x, image[0]), same(logits, image[1])
    assert (say(net, c.replace(frac_coords=c.frac_coords + 0.0123))[1] - logits).abs().max() > 1e-3


def test_a_crystal_does_not_see_its_batch(denoiser, encoder):
    alone = [random_crystal(1, n=3), ideal("SrTiO3", (0.0, 0.0, 0.04)), ideal("Cu"), random_crystal(4, n=6)]
    batch = CrystalBatch.cat(alone)
    z = torch.randn(1, 256, generator=torch.Generator().manual_seed(5), dtype=REAL).expand(len(alone), -1)
    with torch.no_grad():
        together, codes = denoiser(batch, z, torch.tensor([300] * len(alone))), encoder(batch)
    for i, (c, x, l) in enumerate(
        zip(
            alone,
            together.coords.split(batch.num_atoms.tolist()),
            together.type_logits.split(batch.num_atoms.tolist()),
        )
    ):
        same(say(denoiser, c)[0], x), same(say(denoiser, c)[1], l)
        with torch.no_grad():
            same(encoder(c)[0], codes[i])


def test_isolated_atom_is_at_rest(denoiser, encoder):
    c = crystal([20.0] * 3, [90.0] * 3, [[0.1, 0.2, 0.3]])
    assert not find_neighbors(c, 12, 7.0).mask.any()
    x, logits = say(denoiser, c)
    assert x.abs().max() == 0 and torch.isfinite(logits).all()
    with torch.no_grad():
        assert torch.isfinite(encoder(c)).all()
