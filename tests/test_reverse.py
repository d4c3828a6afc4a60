"""The way back, call by call.

The release's tables and its loop written out, the path and its noise at every time, mixtures, gauge,
boundary and addresses."""

import math

import numpy as np
import pytest
import torch

from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.crystal.lattice import minimum_image
from dpcdvae.crystal.rng import counter_normal
from dpcdvae.diffusion.processes import CartesianScore, GaussianVP, WrappedNormal, mean_free
from dpcdvae.diffusion.samplers import STEPS, Prediction, ddim_step, ddpm_step, langevin, sample, time_grid
from dpcdvae.diffusion.schedules import NoiseSchedule, make_schedule, variance_exploding, variance_preserving

REAL = torch.float64
TOYS = CrystalBatch.cat([toy(k) for k in ("SrTiO3", "NaCl", "Si", "CsCl", "Cu")]).to(REAL)
FIRST = TOYS.offsets[:-1][TOYS.batch]  # the first atom of each atom's crystal
SCHEDULES = dict(
    sigmoid=make_schedule("sigmoid"),
    linear=make_schedule("linear"),
    cosine=make_schedule("cosine"),
    geometric=make_schedule("geometric"),
)


def released():
    "beta and alpha_bar of the released schedule: the product starts at t=1."
    beta = 1e-10 + (0.01 - 1e-10) / (1 + np.exp(10 - 16 * np.arange(1000) / 999))
    return beta, np.exp(np.concatenate([[0], np.cumsum(np.log1p(-beta[1:]))]))


def run(denoiser, process, crystals=TOYS, sampler="ddpm", steps=50, ids=None, **kw):
    ids = torch.arange(len(crystals)) if ids is None else ids
    return sample(
        denoiser,
        process,
        crystals.atomic_numbers,
        crystals.batch,
        len(crystals),
        ids,
        sampler,
        steps,
        dtype=REAL,
        **kw,
    )


def draws(crystals, seed, i):
    "The mean-free noise of one step, by its address."
    atom = torch.cat([torch.arange(n) for n in crystals.num_atoms.tolist()])
    return mean_free(counter_normal(seed, crystals.batch, atom, i), crystals.batch, len(crystals))


def ideal(process, truth, gauge=None):
    "A denoiser that knows the clean coordinates; with a gauge, only up to a translation."

    def denoiser(x, t, z):
        a, s = float(process.schedule.scale[t]), float(process.schedule.sigma[t])
        d = x - a * truth
        if gauge is not None:
            d = d - d[gauge]  # as seen from the first atom of each crystal
        d = minimum_image(d) if isinstance(process, WrappedNormal) else d
        if gauge is not None:
            d = mean_free(d, TOYS.batch, len(TOYS))
        return Prediction(d / s / (float(process.rms[t]) if isinstance(process, WrappedNormal) else 1))

    return denoiser


def wavy(x, t, z):
    "A periodic denoiser that is far from the target: what came before is not forgotten."
    types = torch.nn.functional.one_hot((z + t) % 100, 100).to(REAL)
    return Prediction(
        0.7 * torch.sin(2 * math.pi * x)
        + 0.2 * torch.cos(2 * math.pi * x.roll(1, 1)) * t / 1000
        + 0.01 * (z[:, None] % 7 - 3),
        types,
    )


# ---- tables ----

TABLE = {
    1: (4.6140781e-07, 0.9999995386),
    2: (4.6885526e-07, 0.9999990697),
    10: (5.3293005e-07, 0.9999950360),
    100: (2.2518704e-06, 0.9998868302),
    250: (2.4825287e-05, 0.9984653221),
    500: (1.2004629e-03, 0.9227040227),
    750: (8.8205251e-03, 0.2610739393),
    900: (9.8804306e-03, 0.0620699621),
    999: (9.9752738e-03, 0.0230866847),
}


@pytest.mark.parametrize("t", TABLE)
def test_beta_and_alpha_bar_of_the_release(t):
    s, (beta, alpha_bar) = SCHEDULES["sigmoid"], released()
    for mine, known, table in (
        (s.beta[t], beta[t], TABLE[t][0]),
        (s.alpha_bar[t], alpha_bar[t], TABLE[t][1]),
    ):
        assert float(mine) == pytest.approx(known, rel=1e-7) and float(mine) == pytest.approx(table, rel=1e-7)


@pytest.mark.parametrize(
    "t,a,b,sigma,marginal",
    [
        (999, 6.5814157, -6.5050006, 0.0998644, 0.9882716),
        (500, 1.0410433, -0.28943244, 0.0343982, 0.2760198),
        (100, 1.0000568, -0.01064525, 0.00148555, 0.0105377),
    ],
)
def test_coefficients_of_the_released_step(t, a, b, sigma, marginal):
    "x0 = a x_t + b eps, the posterior's noise, and the noise that the marginal has there."
    process, x, eps = GaussianVP(), torch.ones(1, 3, dtype=REAL), torch.ones(1, 3, dtype=REAL)
    assert float(process.to_x0(x, 0 * eps, t)[0, 0]) == pytest.approx(a, rel=1e-6)
    assert float(process.to_x0(0 * x, eps, t)[0, 0]) == pytest.approx(
        b, rel=1e-3
    )  # the release's 1 - alpha_bar is in float32
    assert float(process.schedule.posterior_sigma(t, t - 1)) == pytest.approx(sigma, rel=1e-3) and float(
        process.schedule.sigma[t - 1]
    ) == pytest.approx(marginal, rel=1e-3)


def test_cosine_and_linear_schedules_are_the_published_ones():
    f = np.cos((np.arange(1000) / 999 + 0.008) / 1.008 * np.pi / 2) ** 2  # Nichol 2021 eq. 17
    assert np.allclose(SCHEDULES["cosine"].alpha_bar[:990], (f / f[0])[:990], rtol=1e-7, atol=0)
    ho = variance_preserving(
        torch.cat([torch.zeros(1, dtype=REAL), torch.linspace(1e-4, 0.02, 1000, dtype=REAL)])
    )
    assert float(ho.alpha_bar[-1]) == pytest.approx(4.0358e-05, rel=1e-4)  # Ho 2020, T = 1000
    assert float(SCHEDULES["linear"].alpha_bar[-1]) == pytest.approx(
        4.0358e-05, rel=0.02
    )  # the same, at T = 999


def test_geometric_schedule_is_a_geometric_series():
    s = variance_exploding(0.005, 0.5, 999)
    assert (
        np.allclose(s.sigma[1:], 0.005 * 100 ** (np.arange(999) / 998), rtol=1e-7, atol=0)
        and (s.scale == 1).all()
        and s.sigma[0] == 0
    )


@pytest.mark.parametrize("base", ["linear", "cosine", "sigmoid"])
def test_zero_terminal_snr_is_algorithm_1(base):
    "Lin 2023: sqrt(alpha_bar) is shifted to end at zero and stretched to begin where it did."
    plain, s = make_schedule(base), make_schedule(base + "+ztsnr")
    root = np.sqrt(plain.alpha_bar.numpy())
    expected = (root - root[-1]) / (1 - root[-1])
    assert (
        np.allclose(s.scale[:-1], expected[:-1], rtol=1e-7, atol=1e-4)
        and float(s.scale[-1]) <= 1e-4
        and np.allclose(s.sigma[1:] ** 2, 1 - expected[1:] ** 2, rtol=1e-7)
    )


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.25, 0.5])
def test_size_of_the_wrapped_score_against_draws(sigma):
    "E[eps | x_t]: over 200,000 draws, with images written out."
    process = WrappedNormal(NoiseSchedule(torch.ones(2, dtype=REAL), torch.tensor([0.0, sigma], dtype=REAL)))
    d = np.random.RandomState(0).normal(0, sigma, 200_000)
    d = d - np.round(d)
    k = d[:, None] + np.arange(-6, 7)
    w = np.exp(-(k**2) / 2 / sigma**2)
    eps = (w * k).sum(1) / w.sum(1) / sigma
    assert float(process.rms[1]) == pytest.approx(np.sqrt((eps**2).mean()), rel=0.01)


# ---- one step ----


@pytest.mark.parametrize("t,s", [(999, 998), (999, 500), (500, 499), (700, 100), (2, 1), (1, 0)])
@pytest.mark.parametrize("name", SCHEDULES)
def test_ddpm_step_conditions_a_gaussian(name, t, s):
    "x_s and x_t are jointly normal given x0: the step is the mean and deviation of x_s where x_t is known."
    schedule = SCHEDULES[name]
    x0, eps, noise = torch.randn(3, 6, 3, dtype=REAL, generator=torch.Generator().manual_seed(t + s))
    a_t, a_s, v_t, v_s = (
        float(schedule.scale[t]),
        float(schedule.scale[s]),
        float(schedule.sigma[t]) ** 2,
        float(schedule.sigma[s]) ** 2,
    )
    cov = a_t / a_s * v_s
    xt = a_t * x0 + v_t**0.5 * eps
    expected = a_s * x0 + cov / v_t * (xt - a_t * x0) + max(v_s - cov**2 / v_t, 0) ** 0.5 * noise
    assert (ddpm_step(schedule, t, s, x0, eps, noise) - expected).abs().max() < 1e-9


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_step_with_any_share_of_noise(eta):
    "Song 2020 eq. 12 and 16."
    (_, ab), t, s = released(), 700, 400
    x0, eps, noise = torch.randn(3, 6, 3, dtype=REAL, generator=torch.Generator().manual_seed(1))
    sigma = eta * np.sqrt((1 - ab[s]) / (1 - ab[t])) * np.sqrt(1 - ab[t] / ab[s])
    expected = np.sqrt(ab[s]) * x0 + np.sqrt(1 - ab[s] - sigma**2) * eps + sigma * noise
    assert (ddim_step(SCHEDULES["sigmoid"], t, s, x0, eps, noise, eta) - expected).abs().max() < 1e-9


# ---- the loop ----


def nearly_ideal(gauge):
    """A periodic denoiser with a small wave on the true noise.

    A wilder one would amplify rounding where alpha_bar is small."""
    schedule = SCHEDULES["sigmoid"]

    def denoiser(x, t, z):
        d = x - float(schedule.scale[t]) * TOYS.frac_coords
        if gauge:
            d = d - d[FIRST]
        eps = minimum_image(d) / float(schedule.sigma[t]) + 0.01 * torch.sin(2 * math.pi * x)
        return Prediction(
            mean_free(eps, TOYS.batch, len(TOYS)) if gauge else eps,
            torch.nn.functional.one_hot((z + t) % 100, 100).to(REAL),
        )

    return denoiser


@pytest.mark.parametrize("recenter", [False, True], ids=["plain", "recentred"])
def test_modified_is_the_loop_of_the_release(recenter):
    """rf wrapped (and, in the base model, recentred), r not.

    R = a rf + b eps + sigma noise at every t, noise at the last one too; types read each time."""
    (beta, ab), denoiser = released(), nearly_ideal(recenter)
    r, z = draws(TOYS, 4, 0), TOYS.atomic_numbers
    rf, frames, seen = r % 1, [], []
    for i, t in enumerate(range(999, 0, -1), 1):
        said = denoiser(r, t, z)
        if recenter:
            rf = mean_free(rf, TOYS.batch, len(TOYS))
        sigma = (
            np.sqrt(beta[t] * (1 - ab[t - 1]) / (1 - ab[t])) if t > 1 else 6.7927e-4
        )  # the last as in its float32 table
        r = (
            rf / np.sqrt(ab[t])
            - np.sqrt(1 - ab[t]) / np.sqrt(ab[t]) * said.coords
            + sigma * draws(TOYS, 4, i)
        )
        rf, z = r % 1, said.type_logits.argmax(-1) + 1
        frames.append(rf)
    x, types = run(
        denoiser,
        GaussianVP(recenter=recenter),
        sampler="modified",
        steps=999,
        seed=4,
        boundary="every",
        types="argmax",
        last_noise=True,
        callback=lambda f: seen.append(f.x),
    )
    assert torch.equal(types, z) and torch.equal(x, seen[-1])
    assert minimum_image(torch.stack(seen[1:]) - torch.stack(frames)).abs().max() < 1e-6


@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_loop_written_out(sampler, steps):
    "The published updates over a grid of times, history kept unwrapped."
    _, ab = released()
    x, times = draws(TOYS, 2, 0), [*np.round(np.linspace(999, 1, steps)).astype(int), 0]
    for i, (t, s) in enumerate(zip(times, times[1:]), 1):
        eps, noise, beta = wavy(x % 1, t, TOYS.atomic_numbers).coords, draws(TOYS, 2, i), 1 - ab[t] / ab[s]
        if sampler == "ddpm":
            x = (x - beta / np.sqrt(1 - ab[t]) * eps) / np.sqrt(1 - beta) + (
                np.sqrt(beta * (1 - ab[s]) / (1 - ab[t])) * noise if s else 0
            )  # Ho 2020 algorithm 2
        else:
            x = (
                np.sqrt(ab[s]) * (x - np.sqrt(1 - ab[t]) * eps) / np.sqrt(ab[t]) + np.sqrt(1 - ab[s]) * eps
            )  # Song 2020 eq. 12
    mine, _ = run(wavy, GaussianVP(), sampler=sampler, steps=steps, seed=2, boundary="never")
    assert (mine - x).abs().max() < 1e-6


# ---- on the way ----


def path(denoiser, process, crystals, sampler, **kw):
    seen = []
    run(denoiser, process, crystals, sampler, callback=seen.append, **kw)
    return seen


@pytest.mark.parametrize("steps", [10, 50, 999])
@pytest.mark.parametrize(
    "process",
    [GaussianVP(), GaussianVP(make_schedule("linear")), WrappedNormal()],
    ids=["sigmoid", "linear", "torus"],
)
def test_ddim_keeps_its_noise(process, steps):
    "With the true x0 the path is x_t = scale x0 + sigma eps, with one eps from the first call to the last."
    s, truth = process.schedule, TOYS.frac_coords - (0 if isinstance(process, WrappedNormal) else 0.5)
    seen = path(
        ideal(process, truth),
        process,
        TOYS,
        "ddim",
        steps=steps,
        boundary="network" if isinstance(process, WrappedNormal) else "never",
    )
    assert [f.t for f in seen] == time_grid(999, steps)
    first = seen[0].x - float(s.scale[999]) * truth
    eps = (minimum_image(first) if isinstance(process, WrappedNormal) else first) / float(s.sigma[999])
    for f in seen:
        off = f.x - float(s.scale[f.t]) * truth - float(s.sigma[f.t]) * eps
        assert (minimum_image(off) if isinstance(process, WrappedNormal) else off).abs().max() < 1e-9


@pytest.mark.parametrize(
    "process",
    [GaussianVP(), GaussianVP(make_schedule("cosine")), WrappedNormal()],
    ids=["sigmoid", "cosine", "torus"],
)
def test_noise_on_the_way_has_the_size_that_theory_says(process):
    """Over 400 perovskites.

    DDPM keeps the marginal's noise at every time, `modified` has only the posterior's."""
    many, s, share = CrystalBatch.cat([toy("SrTiO3")] * 400).to(REAL), process.schedule, 1 - 1 / 5
    torus = isinstance(process, WrappedNormal)
    truth = many.frac_coords if torus else mean_free(many.frac_coords, many.batch, 400)
    boundary = "network" if torus else "never"
    size = lambda off: float((minimum_image(off) if torus else off).square().mean().sqrt())
    frames = path(ideal(process, truth), process, many, "ddpm", steps=50, boundary=boundary)
    for f in frames:
        if 0 < f.t and (not torus or s.sigma[f.t] < 0.05):
            assert size(f.x - float(s.scale[f.t]) * truth) == pytest.approx(
                float(s.sigma[f.t]) * share**0.5, rel=0.05
            ), f.t
    frames = path(ideal(process, truth), process, many, "modified", steps=50, boundary=boundary)
    for before, f in zip(frames, frames[1:]):
        tilde = float(s.posterior_sigma(before.t, f.t))
        if f.t > 0 and tilde < 0.1:
            assert size(f.x - truth) == pytest.approx(tilde * share**0.5, rel=0.05), f.t


def test_callback_sees_every_frame():
    seen = path(wavy, GaussianVP(), TOYS, "ddpm", steps=7, boundary="every")
    assert [f.t for f in seen] == time_grid(999, 7) and len(seen) == 8
    assert torch.equal(seen[0].x, seen[0].x0) and torch.equal(
        seen[-1].x, run(wavy, GaussianVP(), steps=7, boundary="every")[0]
    )
    p = GaussianVP()
    for before, f in zip(seen, seen[1:]):
        assert (
            f.x0 - p.to_x0(before.x, wavy(before.x, before.t, TOYS.atomic_numbers).coords, before.t)
        ).abs().max() < 1e-12


# ---- several crystals possible ----

MEMBERS = torch.tensor(
    [
        [[0.15, 0, 0], [-0.15, 0, 0]],
        [[0, 0.1, 0.05], [0, -0.1, -0.05]],
        [[0.05, -0.2, 0.1], [-0.05, 0.2, -0.1]],
    ],
    dtype=REAL,
)  # (3,n,3), mean-free
WEIGHTS = torch.tensor([0.6, 0.3, 0.1], dtype=REAL)


def mixture(process, members=MEMBERS, weights=WEIGHTS):
    "The posterior mean of the noise over a set of crystals, on the torus over their images too."

    def denoiser(x, t, z):
        a, s = float(process.schedule.scale[t]), float(process.schedule.sigma[t])
        d = x.view(-1, 1, *members.shape[1:]) - a * members  # (B,k,n,3)
        if isinstance(process, WrappedNormal):
            d = (d - d.round())[..., None] + torch.arange(-5, 6, dtype=REAL)
        else:
            d = d[..., None]
        log = -d.square() / (2 * s * s)
        eps = (log.softmax(-1) * d).sum(-1) / s
        p = (weights.log() + log.logsumexp(-1).sum((2, 3))).softmax(1)
        eps = torch.einsum("bk,bknx->bnx", p, eps).reshape(-1, 3)
        return Prediction(eps / (float(process.rms[t]) if isinstance(process, WrappedNormal) else 1))

    return denoiser


def pairs(num):
    return CrystalBatch(
        torch.ones(2 * num, dtype=torch.long),
        torch.zeros(2 * num, 3, dtype=REAL),
        torch.full((num, 3), 5.0, dtype=REAL),
        torch.full((num, 3), 90.0, dtype=REAL),
        torch.full((num,), 2),
    )


@pytest.mark.parametrize("sampler", STEPS)
@pytest.mark.parametrize(
    "process", [GaussianVP(make_schedule("linear")), WrappedNormal()], ids=["gaussian", "torus"]
)
def test_samples_land_on_a_member_of_the_set(process, sampler):
    """DDPM and DDIM reach them all, and on the Gaussian keep the shares of the set.

    `modified` may always take the commonest."""
    torus = isinstance(process, WrappedNormal)
    x, _ = run(mixture(process), process, pairs(600), sampler, 200, boundary="every" if torus else "never")
    off = x.view(600, 1, 2, 3) - MEMBERS
    off = (off - off.round()) if torus else off
    distance = off.flatten(2).norm(dim=-1)
    assert distance.min(1).values.max() < 1e-3
    found = torch.bincount(distance.argmin(1), minlength=3) / 600
    if sampler != "modified":
        assert found.min() > 0.01
    if not torus and sampler != "modified":
        assert (found - WEIGHTS).abs().max() < 0.07, found


# ---- gauge ----


@pytest.mark.parametrize("steps", [10, 50, 999])
@pytest.mark.parametrize("sampler", STEPS)
@pytest.mark.parametrize("process", [GaussianVP(), WrappedNormal()], ids=["gaussian", "torus"])
def test_crystals_are_recovered_up_to_a_translation(process, sampler, steps):
    "A mean-free denoiser that sees no origin."
    x, _ = run(
        ideal(process, TOYS.frac_coords, FIRST),
        process,
        sampler=sampler,
        steps=steps,
        boundary="every" if isinstance(process, WrappedNormal) else "never",
    )
    shift = x - TOYS.frac_coords
    assert minimum_image(shift - shift[FIRST]).abs().max() < 1e-7


@pytest.mark.parametrize("sampler", STEPS)
def test_mean_free_steps_leave_the_centre_where_it_is(sampler):
    process = WrappedNormal()
    centres = [
        torch.stack([c.mean(0) for c in f.x.split(TOYS.num_atoms.tolist())])
        for f in path(ideal(process, TOYS.frac_coords, FIRST), process, TOYS, sampler, boundary="network")
    ]
    assert max(float((c - centres[0]).abs().max()) for c in centres) < 1e-9


# ---- boundary ----


def spied(denoiser, seen):
    def spy(x, t, z):
        seen.append(x)
        return denoiser(x, t, z)

    return spy


@pytest.mark.parametrize("process", [GaussianVP(), WrappedNormal()], ids=["gaussian", "torus"])
def test_boundary_says_who_sees_what(process):
    "every: all frames in the cell; network: only what the denoiser and the result are; never: nothing."
    inside = lambda x: bool((x >= 0).all() and (x < 1).all())
    ends = {}
    for boundary in ("every", "network", "never"):
        frames, inputs = [], []
        ends[boundary], _ = run(
            spied(wavy, inputs), process, boundary=boundary, callback=lambda f: frames.append(f.x)
        )
        states, inputs = torch.stack(frames), torch.stack(inputs)
        assert inside(states) == (boundary == "every") and inside(inputs) == (boundary != "never")
        assert inside(ends[boundary]) or boundary == "never"
    assert (ends["never"] - ends["network"]).abs().max() > 0.5 and minimum_image(
        ends["never"] - ends["network"]
    ).abs().max() < 1e-6
    same = minimum_image(ends["every"] - ends["network"]).abs().max() < 1e-6
    assert same == isinstance(process, WrappedNormal)  # wrapping before scaling is another process


@pytest.mark.parametrize("process", [GaussianVP(), WrappedNormal()], ids=["gaussian", "torus"])
def test_boundary_every_few_steps(process):
    inside = lambda x: bool((x >= 0).all() and (x < 1).all())
    far = lambda x, t, z: Prediction(wavy(x, t, z).coords * 0 + 3.0)  # drives every state out of the cell
    frames = path(far, process, TOYS, "ddim", steps=9, boundary=3)
    assert [inside(f.x) for f in frames] == [i % 3 == 0 for i in range(10)]
    one, every = (run(wavy, process, steps=7, boundary=b)[0] for b in (1, "every"))
    assert torch.equal(one, every)
    late, network = (run(wavy, process, steps=7, boundary=b)[0] for b in (100, "network"))
    moved = float(minimum_image(late - network).abs().max())  # both wrap the start, or what is seen of it
    assert (moved < 1e-6) == isinstance(process, WrappedNormal)
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="or a number of steps"):
            run(wavy, process, boundary=bad)


# ---- types, last step ----


def test_argmax_types_reach_the_next_call_and_fixed_ones_stay():
    given = []

    def denoiser(x, t, z):
        given.append(z)
        return Prediction(
            0 * x, torch.nn.functional.one_hot(z % 100, 100).to(REAL)
        )  # each type becomes the next one

    _, z = run(denoiser, GaussianVP(), steps=3, types="argmax")
    assert all(torch.equal(a, TOYS.atomic_numbers + i) for i, a in enumerate(given)) and torch.equal(
        z, TOYS.atomic_numbers + 3
    )
    _, z = run(denoiser, GaussianVP(), steps=3, types="fixed")
    assert torch.equal(z, TOYS.atomic_numbers) and all(torch.equal(a, z) for a in given[3:])


@pytest.mark.parametrize("sampler", STEPS)
def test_last_noise_is_one_known_number_times_one_known_draw(sampler):
    truth, process = TOYS.frac_coords - 0.5, GaussianVP()
    quiet, noisy = (
        run(ideal(process, truth), process, sampler=sampler, steps=3, seed=8, boundary="never", last_noise=n)[
            0
        ]
        for n in (False, True)
    )
    assert (quiet - truth).abs().max() < 1e-9 and (
        noisy - truth - 6.7927e-4 * draws(TOYS, 8, 3)
    ).abs().max() < 1e-7


# ---- addresses ----


def test_addressed_noise_is_normal_and_independent():
    n = torch.arange(2000)
    x = (
        torch.stack(
            [
                counter_normal(0, n, torch.zeros_like(n), 0),
                counter_normal(0, n, torch.ones_like(n), 0),
                counter_normal(0, n, torch.zeros_like(n), 1),
                counter_normal(1, n, torch.zeros_like(n), 0),
            ]
        )
        .permute(1, 0, 2)
        .reshape(2000, 12)
    )
    assert (
        (torch.cov(x.T) - torch.eye(12)).abs().max() < 0.12
        and x.mean(0).abs().max() < 0.1
        and float(x.pow(4).mean()) == pytest.approx(3, rel=0.1)
    )


@pytest.mark.parametrize("process", [GaussianVP(), WrappedNormal()], ids=["gaussian", "torus"])
@pytest.mark.parametrize("sampler", ["modified", "ddpm"])
def test_same_seed_same_crystals_in_any_order_and_company(process, sampler):
    def made(rows, seed=3):
        part = TOYS[rows]
        x, _ = run(wavy, process, part, sampler, 12, torch.tensor(rows) * 1000 + 17, seed=seed)
        return dict(zip(rows, x.split(part.num_atoms.tolist())))

    whole = made([0, 1, 2, 3, 4])
    for rows in ([4, 2, 0, 1, 3], [3, 1], [0], [2, 4]):
        for k, x in made(rows).items():
            assert torch.equal(x, whole[k])
    other = made([0, 1, 2, 3, 4], seed=4)
    for k in (0, 1, 2, 3):
        assert (other[k] - whole[k]).abs().max() > 1e-3


# ---- Langevin ----


def walk(denoiser, crystals=TOYS, ids=None, **kw):
    ids = torch.arange(len(crystals)) if ids is None else ids
    return langevin(
        denoiser,
        CartesianScore(),
        crystals.atomic_numbers,
        crystals.batch,
        len(crystals),
        ids,
        crystals.lattice,
        dtype=REAL,
        **dict(dict(types="fixed"), **kw),
    )[0]


def test_langevin_steps_written_out():
    "x <- x + a s / sigma + sqrt(2 a) noise in ångström, a = 1e-4 (sigma / sigma_min)^2, from 10 Å to 0.01 Å."
    say = lambda x, t: (
        0.02 * torch.sin(2 * math.pi * x) + 0.01 * t
    )  # gentle: a steep one would amplify rounding
    atom = torch.cat([torch.arange(n) for n in TOYS.num_atoms.tolist()])
    noise = lambda i: counter_normal(6, TOYS.batch, atom, i)
    x, i = torch.special.ndtr(noise(0)), 0
    for sigma, t in zip(np.geomspace(10, 0.01, 50), range(50, 0, -1)):
        for _ in range(2):
            i, a = i + 1, 1e-4 * (sigma / 0.01) ** 2
            move = a * say(x % 1, t) / sigma + np.sqrt(2 * a) * noise(i)
            x = x + torch.einsum("ni,nij->nj", move, torch.linalg.inv(TOYS.lattice)[TOYS.batch])
    mine = walk(lambda x, t, z: Prediction(say(x, t)), steps=100, seed=6, boundary="network")
    assert minimum_image(mine - x).abs().max() < 1e-6


def test_langevin_with_the_true_score_ends_beside_the_crystal():
    "A walker that jumps to the target each time keeps sqrt(2) of the smallest level: 0.014 Å."
    many = CrystalBatch.cat([TOYS] * 30)

    def denoiser(x, t, z):
        return Prediction(
            torch.einsum("ni,nij->nj", minimum_image(many.frac_coords - x), many.lattice[many.batch])
            / float(CartesianScore().schedule.sigma[t])
        )

    x = walk(denoiser, many, steps=100)
    off = torch.einsum("ni,nij->nj", minimum_image(x - many.frac_coords), many.lattice[many.batch])
    assert float(off.square().mean().sqrt()) == pytest.approx(0.01 * 2**0.5, rel=0.06)


def test_langevin_noise_belongs_to_the_crystal():
    def made(rows):
        return dict(
            zip(
                rows,
                walk(
                    lambda x, t, z: Prediction(torch.sin(2 * math.pi * x)),
                    TOYS[rows],
                    torch.tensor(rows),
                    steps=50,
                ).split(TOYS.num_atoms[rows].tolist()),
            )
        )

    whole = made([0, 1, 2, 3, 4])
    for rows in ([4, 1], [2]):
        for k, x in made(rows).items():
            assert torch.equal(x, whole[k])
