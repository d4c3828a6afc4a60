"""The samplers' arithmetic, proven with denoisers that know the answer, against formulas written out here a
second time."""

import numpy as np
import pytest
import torch

from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.crystal.lattice import minimum_image
from dpcdvae.diffusion.processes import GaussianVP, WrappedNormal, mean_free
from dpcdvae.diffusion.samplers import BOUNDARIES, SAMPLERS, STEPS, Prediction, sample, time_grid
from dpcdvae.diffusion.schedules import make_schedule

REAL = torch.float64
CRYSTALS = CrystalBatch.cat([toy(k) for k in ("SrTiO3", "NaCl", "Si", "CsCl")]).to(REAL)
IDS = torch.arange(len(CRYSTALS))


def released_schedule():
    """alpha_bar and beta of the released sigmoid schedule, in numpy.

    Beta_t = sigmoid(-10 + 16 t/999)(0.01 - 1e-10) + 1e-10, products from t=1."""
    beta = (0.01 - 1e-10) / (1 + np.exp(10 - 16 * np.arange(1000) / 999)) + 1e-10
    beta[0] = 0
    return np.cumprod(1 - beta), beta


def test_sigmoid_schedule_is_the_released_one():
    s, (alpha_bar, beta) = make_schedule("sigmoid"), released_schedule()
    assert np.allclose(s.alpha_bar, alpha_bar, rtol=1e-7, atol=0) and np.allclose(
        s.beta[1:], beta[1:], rtol=1e-7, atol=0
    )
    one_minus = {
        1: 4.6140781e-07,
        2: 9.3026285e-07,
        10: 4.9640450e-06,
        100: 1.1316978e-04,
        250: 1.5346779e-03,
        500: 7.7295977e-02,
        750: 7.3892606e-01,
        900: 9.3793004e-01,
        999: 9.7691332e-01,
    }
    for t, value in one_minus.items():
        assert float(s.sigma[t]) ** 2 == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize("t,s", [(999, 998), (500, 499), (500, 400), (2, 1), (1, 0)])
@pytest.mark.parametrize("name", STEPS)
def test_step_equals_its_formula(name, t, s):
    schedule, (ab, _) = make_schedule("sigmoid"), released_schedule()
    x0, eps, noise = torch.randn(3, 5, 3, dtype=REAL, generator=torch.Generator().manual_seed(t))
    ab_t, ab_s = ab[t], ab[s] if s else 1.0
    beta = 1 - ab_t / ab_s  # of the jump from s to t
    tilde = np.sqrt((1 - ab_s) / (1 - ab_t) * beta)
    xt = np.sqrt(ab_t) * x0 + np.sqrt(1 - ab_t) * eps
    expected = dict(
        ddpm=np.sqrt(ab_s) * beta / (1 - ab_t) * x0
        + np.sqrt(ab_t / ab_s) * (1 - ab_s) / (1 - ab_t) * xt
        + tilde * noise,  # Ho 2020 eq. 7
        ddim=np.sqrt(ab_s) * x0 + np.sqrt(1 - ab_s) * eps,  # Song 2020 eq. 12, eta = 0
        modified=(xt - np.sqrt(1 - ab_t) * eps) / np.sqrt(ab_t) + tilde * noise,
    )[name]  # Pakornchote 2023
    assert (STEPS[name](schedule, t, s, x0, eps, noise) - expected).abs().max() < 1e-7


def ideal(process, truth):
    "A denoiser that knows the clean coordinates."

    def denoiser(x, t, z):
        a, s = float(process.schedule.scale[t]), float(process.schedule.sigma[t])
        return Prediction(
            (x - a * truth) / s
            if isinstance(process, GaussianVP)
            else minimum_image(x - truth) / s / float(process.rms[t])
        )

    return denoiser


def known(process):
    return (
        mean_free(CRYSTALS.frac_coords, CRYSTALS.batch, len(CRYSTALS))
        if isinstance(process, GaussianVP)
        else CRYSTALS.frac_coords
    )


@pytest.mark.parametrize("steps", [1, 10, 50, 999])
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    "process",
    [GaussianVP(), GaussianVP(make_schedule("linear")), GaussianVP(make_schedule("cosine")), WrappedNormal()],
    ids=["sigmoid", "linear", "cosine", "torus"],
)
def test_crystals_are_recovered(process, name, steps):
    x, _ = sample(
        ideal(process, known(process)),
        process,
        CRYSTALS.atomic_numbers,
        CRYSTALS.batch,
        len(CRYSTALS),
        IDS,
        name,
        steps,
        boundary="never" if isinstance(process, GaussianVP) else "every",
        dtype=REAL,
    )
    assert minimum_image(x - known(process)).abs().max() < 1e-7


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
def test_a_denoiser_that_knows_two_crystals_lands_on_one_of_them(name):
    "The posterior mean over two arrangements: each sample must end on one of them, and not always the same."
    process, B, n = GaussianVP(make_schedule("linear")), 200, 2
    batch = torch.arange(B).repeat_interleave(n)
    members = torch.tensor(
        [[[0.15, 0, 0], [-0.15, 0, 0]], [[0, 0.1, 0.05], [0, -0.1, -0.05]]], dtype=REAL
    )  # (2,n,3), mean-free

    def denoiser(x, t, z):
        a, s = float(process.schedule.scale[t]), float(process.schedule.sigma[t])
        log_weight = -(x.view(B, 1, n, 3) - a * members).square().sum((2, 3)) / (2 * s * s)
        x0 = torch.einsum("bk,knx->bnx", log_weight.softmax(-1), members).reshape(-1, 3)
        return Prediction((x - a * x0) / s)

    x, _ = sample(
        denoiser,
        process,
        torch.ones(B * n, dtype=torch.long),
        batch,
        B,
        torch.arange(B),
        name,
        200,
        boundary="never",
        dtype=REAL,
    )
    off = (x.view(B, 1, n, 3) - members).flatten(2).norm(dim=-1)
    assert off.min(1).values.max() < 1e-3
    share = (off.argmin(1) == 0).double().mean()
    assert 0.3 < share < 0.7


def test_boundaries():
    process, seen = WrappedNormal(), {}
    for boundary in BOUNDARIES:
        states = []
        x, _ = sample(
            ideal(process, CRYSTALS.frac_coords + 2),
            process,
            CRYSTALS.atomic_numbers,
            CRYSTALS.batch,
            len(CRYSTALS),
            IDS,
            "ddpm",
            30,
            boundary=boundary,
            callback=lambda s: states.append(s.x),
            dtype=REAL,
        )
        seen[boundary] = torch.stack(states)
        assert minimum_image(x - CRYSTALS.frac_coords).abs().max() < 1e-7
        if boundary != "never":
            assert 0 <= x.min() and x.max() < 1
    assert 0 <= seen["every"].min() and seen["every"].max() < 1
    assert seen["network"].min() < 0 or seen["network"].max() >= 1  # its state keeps its history


def periodic(process, places):
    "A denoiser that knows the clean coordinates and is a periodic function of the noisy ones."

    def denoiser(x, t, z):
        off = minimum_image(x - float(process.schedule.scale[t]) * places) / float(process.schedule.sigma[t])
        return Prediction(off if isinstance(process, GaussianVP) else off / float(process.rms[t]))

    return denoiser


WITHOUT_GROWTH = [  # the released step on Gaussian noise multiplies a shift by 1/a, again and again
    (GaussianVP(), "ddim"),
    (GaussianVP(), "ddpm"),
    *((WrappedNormal(), sampler) for sampler in ("ddim", "ddpm", "modified")),
]


@pytest.mark.parametrize("process, sampler", WITHOUT_GROWTH)
def test_a_periodic_network_makes_never_and_only_at_the_end_one_experiment(process, sampler):
    shared = CRYSTALS.atomic_numbers, CRYSTALS.batch, len(CRYSTALS), IDS, sampler
    network = periodic(process, CRYSTALS.frac_coords)
    end, never, fiftieth = (
        sample(network, process, *shared, 50, boundary=b, dtype=REAL)[0] for b in ("network", "never", 50)
    )
    assert minimum_image(end - never).abs().max() < 1e-9
    wrapped_last = 20 * float(1 / process.schedule.scale[1] - 1)  # a wrap at t = 1 moves by n (1/a - 1) cells
    assert minimum_image(end - fiftieth).abs().max() < 1e-9 + wrapped_last


def test_noise_belongs_to_the_crystal_not_to_the_batch():
    process, ids = WrappedNormal(), torch.tensor([7, 3, 900])
    chosen = CRYSTALS[[0, 1, 2]]

    def draw(rows, seed):
        part = chosen[rows]

        def denoiser(x, t, z):
            return Prediction(torch.zeros_like(x))

        x, _ = sample(
            denoiser,
            process,
            part.atomic_numbers,
            part.batch,
            len(part),
            ids[rows],
            "ddpm",
            5,
            seed,
            dtype=REAL,
        )
        return x.split(part.num_atoms.tolist())

    together, alone, turned = draw([0, 1, 2], 0), [draw([i], 0)[0] for i in range(3)], draw([2, 0, 1], 0)
    for i in range(3):
        assert torch.equal(together[i], alone[i]) and torch.equal(together[i], turned[[1, 2, 0][i]])
    assert not torch.allclose(draw([0], 1)[0], together[0])


def test_types_are_kept_or_read_at_every_step():
    logits = torch.zeros(len(CRYSTALS.batch), 100)
    logits[:, 25] = 1
    run = lambda types: sample(
        lambda x, t, z: Prediction(torch.zeros_like(x), logits),
        WrappedNormal(),
        CRYSTALS.atomic_numbers,
        CRYSTALS.batch,
        len(CRYSTALS),
        IDS,
        steps=2,
        types=types,
        dtype=REAL,
    )[1]
    assert torch.equal(run("fixed"), CRYSTALS.atomic_numbers) and run("argmax").unique().tolist() == [26]


def test_last_noise_is_that_of_the_release():
    process = GaussianVP()
    quiet, noisy = (
        sample(
            ideal(process, known(process)),
            process,
            CRYSTALS.atomic_numbers,
            CRYSTALS.batch,
            len(CRYSTALS),
            IDS,
            "modified",
            3,
            boundary="never",
            last_noise=n,
            dtype=REAL,
        )[0]
        for n in (False, True)
    )
    size = (noisy - quiet).square().mean().sqrt()
    assert 0.3 < float(size / process.schedule.sigma[1]) < 1.5 and (quiet - known(process)).abs().max() < 1e-9


@pytest.mark.parametrize(
    "bad,words",
    [
        (dict(sampler="euler"), "modified, ddpm, ddim"),
        (dict(boundary="sometimes"), "every, network, never"),
        (dict(steps=0), "from 1 to 999"),
        (dict(steps=1000), "from 1 to 999"),
    ],
)
def test_wrong_choices_get_a_sentence(bad, words):
    with pytest.raises(ValueError, match=words):
        sample(None, WrappedNormal(), CRYSTALS.atomic_numbers, CRYSTALS.batch, len(CRYSTALS), IDS, **bad)


def test_time_grid_ends_clean():
    assert time_grid(999, 999) == [*range(999, 0, -1), 0] and time_grid(999, 2) == [999, 1, 0]


@pytest.mark.parametrize(
    "process",
    [GaussianVP(), GaussianVP(recenter=True), WrappedNormal()],
    ids=["gaussian", "recentred", "torus"],
)
@pytest.mark.parametrize("start", [40, 300, 999])
def test_a_walk_that_begins_on_the_way_begins_with_the_noise_of_its_time(process, start):
    many, seen = CrystalBatch.cat([toy("SrTiO3")] * 400).to(REAL), []
    given = many.frac_coords + 0.2
    sample(
        lambda x, t, z: Prediction(torch.zeros_like(x)),
        process,
        many.atomic_numbers,
        many.batch,
        400,
        torch.arange(400),
        "ddim",
        5,
        boundary="never",
        dtype=REAL,
        x_init=given,
        t_init=start,
        callback=seen.append,
    )
    noise = seen[0].x - float(process.schedule.scale[start]) * (
        mean_free(given, many.batch, 400) if process.recenter else given
    )
    assert seen[0].t == start and float(noise.std()) == pytest.approx(
        float(process.schedule.sigma[start]) * (1 - 1 / 5) ** 0.5, rel=0.03
    )
    assert float(mean_free(noise, many.batch, 400).sub(noise).abs().max()) < 1e-12, (
        "the crystal must not drift"
    )


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("process", [GaussianVP(), WrappedNormal()], ids=["gaussian", "torus"])
def test_the_last_step_adds_no_noise(process, name):
    """Two seeds differ at every time but not in what the last look says the crystal is.

    What comes out is that."""
    seen, off = (
        [],
        0.1 * torch.randn(CRYSTALS.frac_coords.shape, dtype=REAL, generator=torch.Generator().manual_seed(0)),
    )
    denoiser = ideal(process, known(process) + off)
    x, _ = sample(
        denoiser,
        process,
        CRYSTALS.atomic_numbers,
        CRYSTALS.batch,
        len(CRYSTALS),
        IDS,
        name,
        12,
        boundary="never" if isinstance(process, GaussianVP) else "every",
        dtype=REAL,
        callback=seen.append,
    )
    assert (
        minimum_image(x - seen[-1].x0).abs().max() < 1e-12
        and minimum_image(seen[-2].x - seen[-1].x0).abs().max() > 1e-4
    )


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("boundary", ["every", "network"])
def test_a_whole_cell_more_or_less_changes_nothing_on_the_torus(name, boundary):
    "At the start, for single atoms, with a denoiser whose answer changes on the way."
    process = WrappedNormal()
    lean = lambda x, t, z: Prediction(
        minimum_image(x - CRYSTALS.frac_coords)
        * (1 - 0.4 * t / 999)
        / float(process.schedule.sigma[t])
        / float(process.rms[t])
    )
    cells = torch.randint(-3, 4, CRYSTALS.frac_coords.shape, generator=torch.Generator().manual_seed(1))
    run = lambda given: sample(
        lean,
        process,
        CRYSTALS.atomic_numbers,
        CRYSTALS.batch,
        len(CRYSTALS),
        IDS,
        name,
        9,
        boundary=boundary,
        dtype=REAL,
        x_init=given,
        t_init=600,
    )[0]
    here, there = run(CRYSTALS.frac_coords + 0.3), run(CRYSTALS.frac_coords + 0.3 + cells)
    assert minimum_image(here - there).abs().max() < 1e-9 and (here >= 0).all() and (here < 1).all()


def test_a_start_needs_both_and_fits_the_grid():
    where = (
        lambda x, t, z: Prediction(torch.zeros_like(x)),
        WrappedNormal(),
        CRYSTALS.atomic_numbers,
        CRYSTALS.batch,
        len(CRYSTALS),
        IDS,
    )
    with pytest.raises(ValueError, match="give both"):
        sample(*where, "ddim", 5, t_init=10)
    with pytest.raises(ValueError, match="from 1 to 4"):
        sample(*where, "ddim", 5, x_init=CRYSTALS.frac_coords, t_init=4)
    assert time_grid(300, 4, "logsnr", make_schedule("geometric"))[0] == 300
