"""Explorers: every trait does what its slider does, linked traits agree, plots hold the numbers, a run stops
on request, and nothing breaks under haste."""

import asyncio
import base64
import math
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import traitlets
from modules import Modules

W = Modules(
    "dpcdvae.viz.player",
    "dpcdvae.viz.structure",
    "dpcdvae.viz.explorer",
    "dpcdvae.viz.scrubber",
    "dpcdvae.viz.forward",
    "dpcdvae.viz.schedule_playground",
    "dpcdvae.viz.run",
    "dpcdvae.viz.live_sampler",
    "dpcdvae.viz.latent",
    "dpcdvae.viz.compare",
    "dpcdvae.viz.browse",
    "dpcdvae.viz.view",
)
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.crystal.lattice import minimum_image
from dpcdvae.diffusion.processes import PROCESSES
from dpcdvae.diffusion.schedules import make_schedule
from dpcdvae.diffusion.trajectory import Trajectory
from dpcdvae.generation.decode import Sampling
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE


def film_of(name="SrTiO3", F=21, sigma=0.3, seed=0, target=True, angles=None, lengths=None):
    "The closed-form film of a toy crystal."
    c = toy(name)
    c = c.replace(
        lengths=c.lengths if lengths is None else torch.tensor([lengths]),
        angles=c.angles if angles is None else torch.tensor([angles]),
    )
    s = torch.linspace(sigma, 0, F)
    eps = torch.randn(c.frac_coords.shape, generator=torch.Generator().manual_seed(seed))
    return Trajectory(
        t=torch.arange(F - 1, -1, -1),
        noise=s,
        alpha_bar=1 / (1 + s**2),
        frac_unwrapped=c.frac_coords + s[:, None, None] * eps,
        atomic_numbers=c.atomic_numbers.expand(F, -1),
        x0=c.frac_coords.expand(F, -1, -1),
        lengths=c.lengths[0],
        angles=c.angles[0],
        meta=dict(sampler="ddim"),
        target=c if target else None,
    )


STRANGE = dict(
    one_frame=film_of(F=1),
    one_atom=film_of("Cu"),
    one_of_each=film_of("Cu", F=1),
    flat=film_of(lengths=[30.0, 30.0, 1.2], angles=[90.0, 90.0, 60.0]),
    skew=film_of(angles=[40.0, 50.0, 60.0]),
    no_target=film_of(target=False),
    long=film_of(F=1000),
)


@pytest.fixture(scope="module")
def toys():
    return CrystalBatch.cat([toy(k) for k in ("SrTiO3", "NaCl", "CsCl", "Si", "Cu")])


@pytest.fixture(scope="module")
def model(toys):
    torch.manual_seed(0)
    made = DPCDVAE(get_config("tiny", num_blocks=1)).eval()
    made.prepare(toys)
    return made


def cursors(figure):
    return [t for t in figure.data if t.name == "cursor"]


def click(figure, trace, x, y=0.0, index=0):
    "What the browser sends when a plot is clicked."
    figure._js2py_pointsCallback = dict(
        event_type="plotly_click",
        points=dict(trace_indexes=[trace], point_indexes=[index], xs=[x], ys=[y]),
        device_state=dict(alt=False, ctrl=False, meta=False, shift=False, button=0, buttons=1),
        selector=None,
    )


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


# ---- the common parts


def test_throttle_keeps_first_and_last_and_never_more_than_allowed():
    seen = []

    async def hurry():
        at = dict(x=0)
        show = W.Throttle(lambda: seen.append(at["x"]), 0.05)
        for at["x"] in range(100):
            show()
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.15)

    asyncio.run(hurry())
    assert seen[0] == 0 and seen[-1] == 99 and 2 <= len(seen) < 30 and seen == sorted(seen)


def test_throttle_without_a_loop_calls_every_time():
    seen = []
    show = W.Throttle(lambda: seen.append(1), 10.0)
    for _ in range(5):
        show()
    assert len(seen) == 5


def test_explorers_show_a_still_picture_where_there_is_no_kernel():
    s = W.TimestepScrubber(film_of())
    bundle = s._repr_mimebundle_()
    assert (
        base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
        and "application/vnd.jupyter.widget-view+json" in bundle
        and len(bundle["image/png"]) < 40_000
        and "text/html" not in bundle  # pages that are not trusted take SVG out of it
    )
    assert bundle["text/plain"].startswith("TimestepScrubber(") and len(bundle["text/plain"]) < 200


@pytest.mark.parametrize("name", ["Cu", "NaCl", "SrTiO3"])
def test_stamp_draws_every_atom_and_escapes(name):
    svg = W.stamp(toy(name))
    assert (
        svg.count("<circle") - svg.count('opacity=".4"') == int(toy(name).num_atoms)
        and svg.count("<path") == 12
        and "nan" not in svg
    )


# ---- the scrubber


def test_scrubber_is_linked_both_ways_and_its_cursor_follows():
    film = film_of()
    s = W.TimestepScrubber(film)
    s.frame = 7
    assert s.player.frame == 7 and [c.x[0] for c in cursors(s.figure)] == [7] * 3
    s.player.frame = 12
    assert s.frame == 12 and [c.x[0] for c in cursors(s.figure)] == [12] * 3
    noise = next(t for t in s.figure.data if t.name == "noise")
    signal = next(t for t in s.figure.data if t.name == "ᾱ")
    assert cursors(s.figure)[0].y[1:3] == pytest.approx((signal.y[12], noise.y[12]))
    s.frame = 10**6
    assert (s.frame, s.player.frame) == (20, 20)
    s.frame = -5
    assert (s.frame, s.player.frame) == (0, 0)


def test_what_a_page_that_is_opened_later_gets_is_complete(model, toys):
    """A figure's first state is what Voila, or a page loaded again, receives.

    Later changes are messages to whoever listens."""
    first = lambda f: (f._widget_layout, f._widget_data)
    s = W.TimestepScrubber(film_of(), frame=10**6)
    assert s.frame == s.player.frame == 20
    layout, data = first(s.figure)
    assert (
        layout["width"] == 430
        and layout["paper_bgcolor"] == "rgba(0,0,0,0)"
        and [d["x"][0] for d in data if d["name"] == "cursor"] == [20] * 3
    )
    f = W.ForwardExplorer(toys[0], t=700)
    assert (
        f.player.frame == 700
        and list(first(f.figure)[1][1]["y"]) == list(f.figure.data[1].y)
        and len(f.figure.data[1].y) == 61
    )
    p = W.SchedulePlayground(schedule="linear")
    data = first(p.figure)[1]
    assert (
        p.t == p.player.frame == 499
        and [d["x"][0] for d in data if d["name"] == "cursor"] == [pytest.approx(499 / 999)] * 3
        and [d["y"][-1] for d in data if d["name"] == "chosen"][1]
        == pytest.approx(float(make_schedule("linear").alpha_bar[-1]), abs=1e-7)
    )
    e = W.LatentExplorer(model, toys, steps=2)
    assert list(first(e.figure)[1][3]["x"]) == list(e.figure.data[3].x) and len(e.figure.data[3].x) == 1
    c = W.FilmCompare([film_of()], position=0.4)
    assert list(first(c.figure)[1][-1]["x"]) == [0.4, 0.4]


def test_a_click_on_the_curves_jumps():
    s = W.TimestepScrubber(film_of())
    click(s.figure, 0, x=15, index=15)
    assert (s.frame, s.player.frame) == (15, 15)


def test_curves_are_the_films_own_numbers():
    film = film_of("SrTiO3", F=5, sigma=0.2)
    curves = W.film_curves(film)
    assert curves["signal and noise"]["noise"] == pytest.approx(film.noise.tolist(), abs=1e-5) and curves[
        "to the target (Å)"
    ]["left"] == pytest.approx(film.distance_to_target().tolist(), abs=1e-5)
    eps = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert curves["step (Å)"]["step"][0] is None and curves["step (Å)"]["step"][1:] == pytest.approx(
        [0.05 * 3.905 * float(eps.square().sum(-1).mean().sqrt())] * 4, abs=1e-4
    )


def test_curves_without_a_fitting_target_measure_the_way_to_the_end():
    film = film_of(F=5)
    for other in (replace(film, target=None), replace(film, target=toy("NaCl"))):
        label, left = W.distance_left(other)
        assert label == "to the end (Å)" and torch.allclose(left, film.distance_to_target(), atol=1e-4)


@pytest.mark.parametrize("name", STRANGE)
def test_scrubber_with_strange_films(name):
    film = STRANGE[name]
    s = W.TimestepScrubber(film)
    for frame in (0, len(film) // 2, len(film) - 1, 3, -1, 10**9):
        s.frame = frame
    assert s.player.frame == len(film) - 1 and all(c.x[0] == len(film) - 1 for c in cursors(s.figure))
    assert s.still().startswith(b"\x89PNG")


def test_another_film_in_the_same_scrubber():
    s = W.TimestepScrubber(film_of(F=50), frame=40)
    s.film = film_of("NaCl", F=10)
    assert (s.frame, s.player.frame, s.player.num_frames) == (9, 9, 10) and len(s.figure.data[0].x) == 10
    s.film = replace(film_of(F=30), alpha_bar=torch.full((30,), math.nan))
    s.frame = 20
    assert "ᾱ" not in [t.name for t in s.figure.data] and [c.x[0] for c in cursors(s.figure)] == [20] * 3


# ---- forwards


@pytest.mark.parametrize("process,schedule", [(p, s) for p, known in W.SCHEDULES.items() for s in known])
def test_forward_film_is_what_add_noise_says(process, schedule):
    law, c = W.make_process(process, schedule), toy("SrTiO3")
    film = W.forward_film(c, law.schedule, W.unit_noise(law, c, seed=4), process == "score")
    assert len(film) == law.schedule.num_steps + 1 and torch.allclose(film.frac_unwrapped[0], c.frac_coords)
    for t in (1, len(film) // 2, len(film) - 1):
        xt = law.add_noise(
            c.frac_coords, torch.full((5,), t), c.batch, 1, torch.Generator().manual_seed(4), c.lattice
        ).xt
        assert minimum_image(film.frac_unwrapped[t] - xt).abs().max() < 2e-5


def test_every_process_is_offered():
    assert set(W.SCHEDULES) == set(PROCESSES)


def test_density_is_a_density_and_becomes_flat():
    d = torch.linspace(-0.5, 0.5, 2001, dtype=torch.float64)
    for sigma in (0.01, 0.1, 0.5, 3.0):
        y = W.displacement_density(d, torch.full((3,), sigma).double())
        assert float(torch.trapezoid(y, d)) == pytest.approx(1, abs=1e-6)
    assert torch.allclose(y, torch.ones_like(y), atol=1e-6)
    free = W.displacement_density(torch.tensor([0.0, 0.5]), torch.full((3,), 0.5).double(), wrapped=False)
    assert free.tolist() == pytest.approx(
        [1 / (0.5 * math.sqrt(2 * math.pi)), math.exp(-0.5) / (0.5 * math.sqrt(2 * math.pi))], rel=1e-6
    )


@pytest.mark.parametrize(
    "process,schedule,t",
    [("gaussian", "sigmoid", 800), ("wrapped", "geometric", 500), ("score", "geometric", 30)],
)
def test_measured_spread_is_the_one_of_theory(process, schedule, t):
    law, c = W.make_process(process, schedule), toy("Si")
    shift = W.noise_shift(c, W.unit_noise(law, c, 0, copies=40000), process == "score") * float(
        law.schedule.sigma[t]
    )
    assert shift.std(0).tolist() == pytest.approx(W.spread(process, law.schedule, c, t).tolist(), rel=0.02)


def test_forward_explorer_follows_its_traits():
    f = W.ForwardExplorer(toy("SrTiO3"), t=300)
    assert f.player.frame == 300
    f.player.frame = 450
    assert f.t == 450 and "t = 450" in f.says.value
    f.wrapped = False
    assert f.player.wrapped is False
    f.player.wrapped = True
    assert f.wrapped is True
    drawn, theory = np.array(f.figure.data[0].y), np.array(f.figure.data[1].y)
    f.t = 999
    assert (
        np.abs(np.array(f.figure.data[1].y) - 1).max() < 0.1 and np.abs(theory - 1).max() > 1
    )  # at the end all places are alike
    assert np.abs(drawn - theory).max() / theory.max() < 0.15
    f.process = "gaussian"
    assert (
        f.schedule == "sigmoid"
        and set(f.choice.options) == set(W.SCHEDULES["gaussian"])
        and f.film.meta["process"] == "gaussian"
    )
    f.choice.value = "cosine"
    assert f.schedule == "cosine" and f.film.alpha_bar[500] == pytest.approx(
        float(make_schedule("cosine").alpha_bar[500]), abs=1e-5
    )
    f.process = "score"
    assert (f.t, f.player.num_frames, f.schedule) == (50, 51, "geometric")
    f.process = "wrapped"
    before = f.film.frac_unwrapped[50].clone()
    f.seed = 9
    assert not torch.allclose(before, f.film.frac_unwrapped[50])
    f.crystal = toy("NaCl")
    assert f.film.formula == "NaCl" and f.film.num_atoms == 2
    with pytest.raises(traitlets.TraitError, match="choose one of"):
        f.schedule = "linear"
    with pytest.raises(traitlets.TraitError):
        f.process = "poisson"


def test_one_atom_without_noise_of_its_own_is_said():
    f = W.ForwardExplorer(toy("Cu"), t=500)
    f.process = "gaussian"
    assert "its own mean" in f.says.value and torch.allclose(
        f.film.frac_unwrapped[999], f.film.frac_unwrapped[0], atol=1e-6
    )
    f.t = 0
    assert "as it is" in f.says.value


def test_typical_distance_is_measured():
    for process, schedule, t in (
        ("wrapped", "geometric", 400),
        ("score", "geometric", 20),
        ("gaussian", "linear", 100),
    ):
        law, c = W.make_process(process, schedule), toy("Si")
        cart = (
            W.noise_shift(c, W.unit_noise(law, c, 0, copies=20000), process == "score")
            * float(law.schedule.sigma[t])
        ) @ c.lattice[0]
        words = W.forward_words(c, law.schedule, t, W.spread(process, law.schedule, c, t), process)
        assert float(words.split("typically gone ")[1].split(" Å")[0]) == pytest.approx(
            float(cart.square().sum(-1).mean().sqrt()),
            abs=0.02 * float(cart.square().sum(-1).mean().sqrt()) + 0.006,
        )


# ---- schedules


def test_playground_draws_what_make_schedule_makes():
    p = W.SchedulePlayground(schedule="linear")
    chosen = [t for t in p.figure.data if t.name == "chosen"]
    p.beta_end = 0.05
    law = make_schedule("linear", beta_end=0.05)
    assert chosen[1].y[-1] == pytest.approx(float(law.alpha_bar[-1]), abs=1e-7) and p.film.noise[
        300
    ] == pytest.approx(float(law.sigma[300]), rel=1e-5)
    p.zero_terminal_snr = True
    assert p.noise.name == "linear+ztsnr" and float(p.noise.scale[-1]) <= 1e-4
    p.num_steps = 100
    assert (p.player.num_frames, len(p.film)) == (101, 101)
    p.t = 30
    assert p.player.frame == 30 and [c.x[0] for c in cursors(p.figure)] == [0.3] * 3
    click(p.figure, 0, x=0.5)
    assert p.t == 50


def test_playground_takes_the_defaults_of_each_schedule_and_hides_what_does_not_belong():
    p = W.SchedulePlayground()
    for name, wanted in W.PARAMETERS.items():
        p.schedule = name
        assert {k for k, s in p.sliders.items() if s.layout.display != "none"} == set(wanted)
        assert torch.allclose(p.noise.sigma, make_schedule(name).sigma)


def test_playground_says_what_is_impossible_and_recovers():
    p = W.SchedulePlayground(schedule="geometric")
    p.sigma_min, p.sigma_max = 0.1, 0.06
    assert "sigma_min" in p.problem and "sigma_min" in p.says.value
    p.sigma_max = 1.0
    assert not p.problem and float(p.noise.sigma[-1]) == pytest.approx(1.0)


# ---- the run


def test_run_steps_goes_on_and_ends_in_order():
    news = []

    def work(watch):
        for i in range(6):
            watch(i=i)
        return 42

    run = W.Run(work, news.extend, paused=True, pace=1e4)
    assert until(lambda: len(news) == 1)
    time.sleep(0.05)
    assert len(news) == 1
    run.change(permits=2)
    assert until(lambda: len(news) == 3)
    time.sleep(0.05)
    assert len(news) == 3
    run.change(paused=False)
    assert run.wait(30)
    assert (
        [k for k, _ in news] == ["frame"] * 6 + ["done"]
        and [w["i"] for k, w in news[:-1]] == list(range(6))
        and news[-1][1] == 42
    )


def test_run_is_paced():
    def work(watch):
        for i in range(6):
            watch()

    t = time.monotonic()
    assert W.Run(work, lambda n: None, pace=50.0).wait(30)
    assert time.monotonic() - t > 0.09


def test_run_waits_for_a_browser_that_is_behind_but_not_for_ever():
    news, slow = [], dict(behind=True)

    def work(watch):
        for i in range(3):
            watch(i=i)

    run = W.Run(work, news.extend, pace=1e4, busy=lambda: slow["behind"])
    time.sleep(0.1)
    assert len(news) == 1
    assert until(lambda: len(news) == 2, 5)
    slow["behind"] = False
    assert run.wait(10) and len(news) == 4


def test_live_sampler_knows_when_the_browser_is_behind(model, toys):
    s = W.LiveSampler(model, toys[0])
    s.rows = [{}] * 10
    assert not s.behind()  # nobody draws
    s.player.drawn = dict(frame=2)
    assert s.behind()
    s.player.drawn = dict(frame=8)
    assert not s.behind()
    s.player.drawn = dict(frame=2)
    s.seen_at -= 5
    assert not s.behind()  # nobody has drawn for a while


def test_run_reports_to_the_loop_that_started_it():
    where = []

    def work(watch):
        for i in range(5):
            watch()

    async def main():
        run = W.Run(work, lambda news: where.extend([threading.current_thread()] * len(news)), pace=1e4)
        while run.alive:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert where == [threading.main_thread()] * 6


def test_run_whose_loop_has_ended_still_ends():
    news = []

    def work(watch):
        for i in range(50):
            watch()

    async def main():
        return W.Run(work, news.extend, pace=500.0)

    run = asyncio.run(main())
    assert run.wait(30) and news[-1][0] == "done" and len(news) == 51


@pytest.mark.parametrize("steps", [1, 7])
def test_live_sampler_makes_what_the_model_makes(model, toys, steps):
    s = W.LiveSampler(model, toys[0], steps=steps, seed=3, pace=1e4)
    s.start()
    assert s.wait(120)
    assert (
        s.state == "idle"
        and s.progress == 1
        and len(s.film) == steps + 1 == s.player.num_frames
        and s.player.frame == steps
    )
    assert torch.equal(
        s.film.frac_unwrapped, model.reconstruct(toys[:1], steps=steps, seed=3)[0].frac_unwrapped
    )
    assert (
        s.figure.data[0].y[-1] == pytest.approx(W.quality(s.film.crystal())["min_distance"], abs=1e-4)
        and len(s.figure.data[0].x) == steps + 1
    )
    assert s.film.target.formulas() == ["SrTiO3"] and "finished" in s.says.value


def test_live_frames_are_the_films_frames(model, toys):
    s = W.LiveSampler(model, toys[0], steps=9, pace=1e4)
    grown = []
    append = s.player.append
    s.player.append = lambda frac, **more: (grown.append(dict(more, frac=frac)), append(frac, **more))
    s.start()
    s.wait(120)
    assert torch.allclose(
        torch.stack([g["frac"] for g in grown]), s.film.frac_unwrapped[1:], atol=1e-6
    ) and torch.allclose(torch.stack([g["x0"] for g in grown]), s.film.x0[1:], atol=1e-5)
    assert [g["t"] for g in grown] == s.film.t[1:].tolist() and all(
        torch.equal(g["numbers"], z) for g, z in zip(grown, s.film.atomic_numbers[1:])
    )


def test_live_sampler_start_pause_step_stop(model, toys):
    s = W.LiveSampler(model, toys[0], steps=300, pace=30)
    s.step()
    assert s.state == "paused" and until(lambda: len(s.rows) == 1)
    for n in (2, 3, 4):
        s.step()
        assert until(lambda: len(s.rows) == n)
        time.sleep(0.08)
        assert len(s.rows) == n  # one step, and no more
    s.start()
    assert s.state == "running" and until(lambda: len(s.rows) > 6)
    with pytest.raises(RuntimeError, match="stop it before"):
        s.start()
    s.pause()
    assert s.state == "paused"
    time.sleep(0.2)
    n = len(s.rows)
    time.sleep(0.2)
    assert len(s.rows) == n
    began = time.monotonic()
    s.stop()
    assert s.wait(30) and time.monotonic() - began < 5
    assert (
        s.state == "idle"
        and 6 < len(s.film) < 300
        and len(s.film) == len(s.rows)
        and "stopped" in s.says.value
    )
    s.steps = 4
    s.start()
    assert s.wait(60) and len(s.film) == 5  # and again
    assert not [t for t in threading.enumerate() if t.name == "dpcdvae sampler"]


def test_start_does_not_block(model, toys):
    s = W.LiveSampler(model, toys[0], steps=100, pace=20)
    t = time.monotonic()
    s.start()
    assert time.monotonic() - t < 0.5 and s.run.alive
    s.close()
    assert s.wait(30)


def test_live_sampler_buttons_follow_the_state(model, toys):
    s = W.LiveSampler(model, toys[0], steps=200, pace=20)
    able = lambda: {k for k, b in s.buttons.items() if not b.disabled}
    assert able() == {"start", "step"}
    s.buttons["start"].click()
    assert able() == {"pause", "step", "stop"} and all(f.disabled for f in s.fields)
    s.buttons["pause"].click()
    assert able() == {"start", "step", "stop"} and s.buttons["start"].description == "Resume"
    s.buttons["stop"].click()
    assert s.wait(30) and able() == {"start", "step"} and s.buttons["start"].description == "Start"


def test_live_sampler_says_what_is_wrong(model, toys):
    s = W.LiveSampler(model)
    s.task = "reconstruct"
    s.buttons["start"].click()
    assert "no crystal to reconstruct" in s.says.value
    s.task, s.formula = "new crystal", "SrTiOx"
    s.buttons["start"].click()
    assert "not a formula" in s.says.value
    s.formula, s.steps = "", 5000
    s.buttons["start"].click()
    assert "from 1 to 999" in s.says.value and s.state == "idle"
    with pytest.raises(traitlets.TraitError, match="choose one of"):
        W.LiveSampler(model, sampler="euler")


def test_live_sampler_survives_a_failing_run(model, toys, monkeypatch):
    s = W.LiveSampler(model, toys[0], steps=3, pace=1e4)
    monkeypatch.setattr(W, "quality", lambda *a: 1 / 0)
    s.start()
    assert s.wait(60) and s.state == "idle" and "ZeroDivisionError" in s.says.value
    monkeypatch.undo()
    s.start()
    assert s.wait(60) and len(s.film) == 4


def test_live_sampler_says_what_a_model_has_not_seen():
    known = DPCDVAE.from_pretrained("perov_mini")
    sampler = W.LiveSampler(known, task="new crystal", formula="CsSiO3", steps=2, pace=1e3)
    for formula, outside in (("CsSiO3", True), ("CsCaF3", False)):
        sampler.formula = formula
        sampler.start()
        assert sampler.wait(60)
        assert ("it has not seen Si" in sampler.says.value) == outside
        assert ("outside what the model" in sampler.says.value) == outside


def test_new_crystal_of_a_formula(model, toys):
    s = W.LiveSampler(model, steps=3, formula="CaTiO3", pace=1e4)
    with pytest.warns(UserWarning, match="never fitted"):
        s.start()
        s.wait(60)
    assert s.film.formula == "CaTiO3" or sorted(s.film.atomic_numbers[-1].tolist()) == [8, 8, 8, 20, 22]


def test_energies_as_it_goes(model, toys):
    s = W.LiveSampler(model, toys[4], calculator="emt", energy=True, steps=2, pace=1e4)
    s.start()
    assert s.wait(120)
    from dpcdvae.energy.relax import relax

    if s.rows[-1]["energy"] is not None:
        assert s.rows[-1]["energy"] == pytest.approx(
            relax(s.film.final, "emt", max_steps=0)["energy"], abs=1e-4
        )
    assert s.figure.layout.yaxis2.visible is True and len(s.figure.data[2].y) == 3
    assert W.quality(toys[4], "emt")["energy"] == pytest.approx(
        relax(toys[4].to_structures()[0], "emt", max_steps=0)["energy"]
    )


def test_energies_by_chgnet_inside_a_run(toys):
    pytest.importorskip("chgnet")
    from dpcdvae.energy.relax import relax

    with torch.no_grad():
        found = W.quality(toys[1], "chgnet")["energy"]
    assert found == pytest.approx(
        relax(toys[1].to_structures()[0], "chgnet", max_steps=0)["energy"], abs=1e-4
    )


def test_unknown_calculator_is_named(model, toys):
    s = W.LiveSampler(model, toys[0], calculator="no.such:Thing", energy=True, steps=2)
    s.start()
    assert s.wait(60) and "no.such" in s.says.value and s.state == "idle"


# ---- the latent space


def test_slerp_keeps_the_radius_and_meets_its_ends():
    g = torch.Generator().manual_seed(0)
    a, b = torch.nn.functional.normalize(torch.randn(2, 50, generator=g, dtype=torch.float64), dim=1)
    for u in (0.0, 0.2, 0.5, 1.0):
        assert float(W.slerp(a, b, u).norm()) == pytest.approx(1, abs=1e-9)
    assert torch.allclose(W.slerp(a, b, 0.0), a) and torch.allclose(W.slerp(a, b, 1.0), b)
    whole = torch.arccos(a @ b)
    assert float(torch.arccos(a @ W.slerp(a, b, 0.3))) == pytest.approx(0.3 * float(whole), abs=1e-7)
    assert (
        torch.allclose(W.slerp(a, 2 * a, 0.5), 1.5 * a)
        and torch.allclose(W.slerp(a, -a, 0.25), 0.5 * a)
        and torch.isfinite(W.slerp(a * 0, a, 0.5)).all()
    )


def test_map_is_that_of_scikit_learn():
    from sklearn.decomposition import PCA

    x = torch.randn(100, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * torch.arange(
        1.0, 8
    )
    plane, known = W.principal_plane(x), PCA(2).fit(x.numpy())
    assert np.abs(
        np.abs(plane(x)) - np.abs(known.transform(x.numpy()))
    ).max() < 1e-8 and plane.share.tolist() == pytest.approx(known.explained_variance_ratio_.tolist())


@pytest.mark.parametrize("strength", [1e-3, 1e-1])
def test_slope_is_that_of_scikit_learn(strength):
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    g = torch.Generator().manual_seed(2)
    x = torch.randn(60, 10, generator=g, dtype=torch.float64)
    y = (
        x @ torch.randn(10, generator=g, dtype=torch.float64)
        + 3
        + torch.randn(60, generator=g, dtype=torch.float64)
    )
    slope = W.fit_slope(x, y, (strength,))
    ridge = Ridge(strength * float(torch.linalg.svdvals(x - x.mean(0))[0]) ** 2)
    known = ridge.fit(x.numpy(), y.numpy())
    assert slope.weight.tolist() == pytest.approx(
        known.coef_.tolist(), abs=1e-8
    ) and slope.offset == pytest.approx(known.intercept_, abs=1e-8)
    left = cross_val_predict(ridge, x.numpy(), y.numpy(), cv=LeaveOneOut())
    assert slope.r2 == pytest.approx(
        1 - ((left - y.numpy()) ** 2).sum() / ((y - y.mean()) ** 2).sum().item(), abs=2e-3
    )


def test_slope_of_holes_and_constants():
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, 0].double().clone()
    y[3] = math.nan
    assert W.fit_slope(x, y).r2 > 0.99
    flat = W.fit_slope(x, torch.full((20,), 5.0))
    assert float(flat(x[:1])) == 5 and math.isnan(flat.r2) and flat.direction.norm() == 0


def test_latent_explorer_goes_where_it_is_sent(model, toys):
    e = W.LatentExplorer(model, toys, "share of O", steps=3)
    e.first, e.second = 0, 3
    for u in (0.0, 0.5, 1.0):
        e.mix = u
        assert torch.allclose(e.z, W.slerp(e.means[0], e.means[3], u), atol=1e-6)
    star = e.figure.data[3]
    assert (star.x[0], star.y[0]) == pytest.approx(tuple(e.points[3]), abs=1e-3)
    assert (
        torch.equal(
            e.film.frac_unwrapped, W.decode(model, e.z[None], Sampling(steps=3).fill(model)).frac_unwrapped
        )
        and e.player.frame == e.player.num_frames - 1
    )
    here = float(e.slope(e.z[None]))
    e.walk = 2.0
    assert float(e.slope(e.z[None])) == pytest.approx(
        here + 2 * e.slope.step * float(e.slope.weight.norm()), rel=1e-4
    )
    e.quantity = "number of atoms"
    assert list(e.figure.data[0].marker.color) == [5, 2, 2, 2, 1] and "number of atoms" in e.says.value
    e.second = -1
    e.walk = 0.0
    assert torch.equal(e.z, e.means[0])


def test_latent_explorer_says_when_it_leaves_the_data(model, toys):
    e = W.LatentExplorer(model, toys, "share of O", steps=2)
    said = "the crystals have share of O from 0 to 0.6"
    e.mix = 0.0
    assert said not in e.says.value and e.nearest()[0] == 0 and e.nearest()[1] < 1e-3
    for walk in (-4.0, 4.0):
        e.walk = walk
        assert "Outside the data" in e.says.value and said in e.says.value
    e.widest = e.widest / 1000
    e.walk = 0.1
    assert "times as far" in e.says.value


def test_two_clicks_choose_two_crystals(model, toys):
    e = W.LatentExplorer(model, toys, steps=2)
    for i in (4, 2, 1):
        click(e.figure, 0, 0.0, index=i)
    assert (e.first, e.second) == (1, 2)


def test_latent_explorer_of_one_crystal(model, toys):
    e = W.LatentExplorer(model, toys[0], steps=2)
    e.mix, e.walk = 1.0, 3.0
    assert torch.allclose(e.z, e.means[0], atol=1e-5)


def test_umap_is_offered_only_where_it_is(model, toys):
    import importlib.util

    if importlib.util.find_spec("umap") is not None:
        pytest.skip("umap-learn is installed here")
    with pytest.raises(ImportError, match="pip install umap-learn"):
        W.LatentExplorer(model, toys, method="umap")


# ---- side by side


def test_compare_keeps_films_of_different_lengths_in_step():
    c = W.FilmCompare([film_of(F=101), film_of("NaCl", F=11), film_of("Cu", F=1)], ["a", "b", "c"])
    c.players[0].frame = 37
    assert [p.frame for p in c.players] == [37, 4, 0] and c.position == pytest.approx(0.37)
    c.players[1].frame = 9
    assert [p.frame for p in c.players] == [90, 9, 0]
    c.position = 7.0
    assert c.position == 1 and [p.frame for p in c.players] == [100, 10, 0]
    c.players[2].frame = 0
    assert c.position == 1
    assert c.figure.data[-1].x == (1.0, 1.0)
    click(c.figure, 0, x=0.2)
    assert [p.frame for p in c.players] == [20, 2, 0]
    assert list(c.pictures()) == ["a, the end", "b, the end", "c, the end"]
    assert c.figure.data[0].y[0] == pytest.approx(
        float(film_of(F=101).distance_to_target()[0]), abs=1e-3
    ) and [p.label for p in c.players] == ["a", "b", "c"]


def test_one_set_of_controls_moves_all():
    c = W.FilmCompare([film_of(), film_of("NaCl", F=5)])
    assert not any(p.controls for p in c.players)
    c.toggles["arrows"].value = True
    c.toggles["wrapped"].value = False
    assert [p.arrows for p in c.players] == [True, True] and [p.wrapped for p in c.players] == [False, False]
    play, slider = c.children[0].children[:2]
    play.value = True
    assert c.players[0].playing and not c.players[1].playing
    slider.value = 0.5
    assert [p.frame for p in c.players] == [10, 2]


def test_only_one_of_the_compared_plays():
    c = W.FilmCompare([film_of(), film_of()])
    c.players[0].playing = True
    c.players[1].playing = True
    assert [p.playing for p in c.players] == [False, True]


# ---- the picker


def test_picker_finds_shows_and_feeds(toys):
    p, f = W.CrystalPicker(toys, per_page=2), W.ForwardExplorer(toys[0])
    traitlets.dlink((p, "selected"), (f, "crystal"))
    p.gallery.chosen = 1
    assert p.index == 1 and p.selected.formulas() == ["NaCl"] and f.film.formula == "NaCl"
    assert (
        p.num_pages == 3
        and [c["key"] for c in p.gallery.cards] == [0, 1]
        and "SrTiO<sub>3</sub>" in p.gallery.cards[0]["html"]
        and "Pm-3m (221)" in p.gallery.cards[0]["html"]
    )
    p.turn(1)
    assert [c["key"] for c in p.gallery.cards] == [2, 3]
    p.turn(99)
    assert p.page == 2
    p.turn(-99)
    assert p.page == 0
    p.page = 2
    p.query = "Cl"
    assert p.found == [1, 2] and p.page == 0 and [c["key"] for c in p.gallery.cards] == [1, 2]
    p.query = "sg:225 Cl"
    assert p.found == [1]
    p.query = "sg:fm-3m"
    assert p.found == [1, 4]
    p.query = "unobtainium"
    assert p.found == [] and "nothing fits" in p.says.value and p.page == 0
    assert len(str(p.gallery.cards)) < 20_000
    with pytest.raises(traitlets.TraitError, match="no crystal 5"):
        p.index = 5


def test_cards_escape_names(toys):
    p = W.CrystalPicker(toys.replace(ids=("<img src=x>",) * 5))
    assert "<img" not in p.gallery.cards[0]["html"] and "&lt;img" in p.gallery.cards[0]["html"]


# ---- one crystal


def test_view_opens_the_player_and_other_viewers_by_name(capsys, monkeypatch):
    assert isinstance(W.view(toy("NaCl")), W.FilmPlayer) and capsys.readouterr().out == ""
    monkeypatch.setattr(W, "can_serve", lambda *a: (False, "this kernel belongs to a hub"))
    with pytest.raises(RuntimeError, match="hub"):
        W.view(toy("NaCl"), viewer="toolkit")
    with pytest.raises(TypeError, match="no option height"):
        W.view(toy("NaCl"), viewer="toolkit", height=100)


def test_explorers_and_models_take_what_holds_crystals(model):
    "A pymatgen Structure, ASE Atoms, a formula; models get reduced cells."
    import ase.build

    atoms, salt = ase.build.bulk("NaCl", "rocksalt", 5.64), toy("NaCl").to_structures()[0]
    assert [W.ForwardExplorer(x, draws=100).crystal.formulas() for x in (salt, "CsCl")] == [
        ["NaCl"],
        ["CsCl"],
    ]
    assert W.SchedulePlayground(atoms).crystal.formulas() == ["NaCl"]
    assert W.CrystalPicker([atoms, "Si"]).selected.formulas() == ["NaCl"]
    assert W.LiveSampler(model, atoms).crystal.formulas() == ["NaCl"]
    assert W.LatentExplorer(model, [atoms, salt, "Cu"]).crystals.formulas() == ["NaCl", "NaCl", "Cu"]
    (made,) = model.reconstruct(atoms, steps=2, seed=0)
    assert len(made.final) == 2


@pytest.mark.parametrize("crystal", [[], toy("Cu")[:0], ["NaCl", "Cu"]])
def test_an_explorer_of_one_crystal_takes_neither_none_nor_two(model, crystal):
    with pytest.raises(ValueError, match="give one or more|one crystal is wanted"):
        W.ForwardExplorer(crystal)
    with pytest.raises(ValueError, match="give one or more|one crystal is wanted"):
        W.SchedulePlayground(crystal)
    with pytest.raises(ValueError, match="give one or more|one crystal is wanted"):
        W.LiveSampler(model, crystal)


def test_an_empty_batch_is_refused_by_what_needs_crystals(model):
    with pytest.raises(ValueError, match="empty batch"):
        W.LatentExplorer(model, toy("Cu")[:0])
    with pytest.raises(ValueError, match="empty batch"):
        model.reconstruct(toy("Cu")[:0], steps=2)


def test_atoms_without_a_cell_are_named():
    import ase.build

    with pytest.raises(ValueError, match=r"crystal 0 \(OH2\) has no cell"):
        W.ForwardExplorer(ase.build.molecule("H2O"))


def test_view_takes_what_holds_crystals(tmp_path):
    import ase.build

    structure = toy("SrTiO3").to_structures()[0]
    structure.to(filename=str(tmp_path / "a.cif"))
    seen = W.view(structure, ase.build.bulk("Cu"), "NaCl", tmp_path / "a.cif", film_of(F=3))
    assert [p.film.formula for p in seen.players] == ["SrTiO3", "Cu", "NaCl", "SrTiO3", "SrTiO3"]
    assert [p.num_frames for p in seen.players] == [1, 1, 1, 1, 3]
    assert isinstance(W.view([toy("Cu")] * 13), W.FilmPlayer)  # too many for side by side


@pytest.mark.parametrize("name", ["JUPYTERHUB_USER", "SSH_CONNECTION", "VOILA_BASE_URL"])
def test_signs_of_another_machine(name):
    assert W.can_serve({name: "x"}, True)[0] is False and W.can_serve({}, True)[0] is True


def test_bonds_of_crystal_toolkit_leave_the_display_of_structures_alone():
    rods = W.bond_rods(W.bond_scene(toy("Si"), outside=False))
    assert rods and all(
        np.linalg.norm(b - a) == pytest.approx(3.84 * math.sqrt(6) / 8, abs=1e-3) for (a, b), _ in rods
    )  # half of 2.351 Å
    assert not hasattr(toy("Si").to_structures()[0], "_ipython_display_")
    assert len(W.bonded(toy("Si")).data) > 3


# ---- haste


def hurry(owner, **values):
    for i in range(10):
        for k, v in values.items():
            setattr(owner, k, v[i % len(v)])


def test_ten_rapid_changes_of_every_control(model, toys):
    hurry(W.TimestepScrubber(film_of()), frame=[0, 20, 7], film=[film_of(F=3), film_of("Cu", F=1), film_of()])
    hurry(
        W.ForwardExplorer(toys[0]),
        process=["gaussian", "score", "wrapped"],
        seed=[1, 2, 5],
        t=[0, 10**6, 40],
        wrapped=[True, False],
        crystal=[toys[4], toys[1]],
    )
    hurry(
        W.SchedulePlayground(),
        schedule=list(W.PARAMETERS),
        beta_start=[1e-10, 1e-2],
        beta_end=[0.06, 1e-3],
        offset=[1e-4, 0.3],
        sigma_min=[1e-3, 0.1],
        sigma_max=[0.05, 2.0],
        num_steps=[2, 999, 50],
        zero_terminal_snr=[True, False],
        t=[0, 10**5],
        crystal=[toys[4], toys[0]],
    )
    hurry(
        W.LatentExplorer(model, toys, steps=1),
        first=[0, 4, 2],
        second=[-1, 1, 4],
        mix=[0.0, 0.5, 1.0],
        walk=[-4.0, 0.0, 4.0],
        quantity=["share of O", "number of atoms", "share of Cu"],
        seed=[0, 1],
        steps=[1, 2],
    )
    hurry(W.FilmCompare([film_of(), film_of(F=1)]), position=[0.0, 1.0, 0.3])
    hurry(
        W.CrystalPicker(toys, per_page=2),
        query=["Cl", "", "sg:221", "zzz"],
        page=[0, 1, 9],
        index=[0, 4],
        per_page=[1, 3],
    )
    s = W.LiveSampler(model, toys[0], steps=50, pace=100)
    for act in ("start", "pause", "step", "start", "pause", "start", "step", "step", "stop", "step"):
        s.buttons[act].click()
    s.stop()
    assert s.wait(60) and s.state == "idle"
