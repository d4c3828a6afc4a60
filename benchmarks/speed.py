"""What a crystal costs: in training, in sampling, in evaluation, and when it grows"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.crystal.lattice import parameters_from_lattice
from dpcdvae.crystal.neighbors import find_neighbors
from dpcdvae.data.datasets import load_crystals, read_source
from dpcdvae.diffusion.samplers import SAMPLERS
from dpcdvae.generation.generate import reconstruct
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE, tune_malloc
from dpcdvae.model.module import make_optimizer, microbatches
from dpcdvae.model.training import fuse, has_bf16, machine


def median_seconds(f, repeats: int = 9, warmup: int = 2) -> float:
    "Call f a few times and take the median; a GPU is waited for."
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    times = []
    for _ in range(warmup + repeats):
        wait()
        start = time.perf_counter()
        f()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times[warmup:])


def circumstances() -> dict:
    "Say where and when, and how busy the machine was."
    import dpcdvae

    return dict(
        **machine(),
        dpcdvae=dpcdvae.__version__,
        date=time.strftime("%Y-%m-%d"),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def disturbed(
    load: float | None,  # of the last minute, before the measurement
    quiet: float = 0.5,
) -> str | None:  # a warning
    "Warn of a machine that did something else."
    if load is None or load <= quiet:
        return None
    return (
        f"NOT QUIET: the load average was {load:.2f} before the measurement began (below {quiet} is "
        f"quiet), so that these timings may be too slow"
    )


def take(crystals: CrystalBatch, num: int) -> CrystalBatch:
    "Take crystals in order, and again from the first where there are too few."
    return crystals[torch.arange(num) % len(crystals)]


def training_step(
    crystals: CrystalBatch, preset: str = "transformer", bf16: bool = True, compiled: bool = False, **changes
):
    "Make a function that takes one optimiser step."
    tune_malloc()
    torch.manual_seed(0)
    model = DPCDVAE(get_config(preset, **changes)).to(crystals.device)
    model.prepare(crystals)
    model.bf16 = bf16
    if compiled:
        fuse(model)
    settings = model.config.training
    optimizer = make_optimizer(model, settings.optimizer, settings.learning_rate)

    def step():
        optimizer.zero_grad()
        for piece in microbatches(crystals):
            (model.losses(piece).total.sum() / len(crystals)).backward()
        optimizer.step()

    return step


def reverse_step(crystals: CrystalBatch, preset: str = "transformer", bf16: bool = True, **changes):
    "Make a function that calls the denoiser once, neighbour lists included."
    tune_malloc()
    torch.manual_seed(0)
    model = DPCDVAE(get_config(preset, **changes)).to(crystals.device).eval()
    t, z = (
        torch.full((len(crystals),), 500, device=crystals.device),
        torch.randn(len(crystals), model.config.latent.dim, device=crystals.device),
    )

    def step():
        with torch.no_grad():
            model.denoiser(crystals, z, t, bf16=bf16)

    return step


PEAK = """
import resource
import torch
from benchmarks.speed import has_bf16, load_crystals, take, training_step

gpu = torch.cuda.is_available()
crystals = take(load_crystals({data!r}, split="train", progress=False), {batch_size})
step = training_step(crystals.to("cuda" if gpu else "cpu"), {preset!r}, has_bf16())
for _ in range(3):
    step()
resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(torch.cuda.max_memory_allocated() / 2**30 if gpu else resident / 2**20)
"""


def peak_memory(data, batch_size: int, preset: str = "transformer") -> float:  # GiB
    "Take three training steps in a fresh process and read its largest resident set, or the GPU's."
    code = PEAK.format(data=str(data), batch_size=batch_size, preset=preset)
    return float(
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=dict(os.environ, OMP_NUM_THREADS=str(torch.get_num_threads())),
            cwd=Path(__file__).resolve().parents[1],
        ).stdout.split()[-1]
    )


def time_step(step, size: int, repeats: int, warmup: int = 2) -> dict:
    "Time the step of a batch; as long a look at every size."
    seconds = median_seconds(step, repeats * max(1, 256 // size), warmup)
    return dict(seconds=seconds, crystals_per_s=size / seconds)


def time_training(crystals: CrystalBatch, size: int, preset: str, bf16: bool, repeats: int) -> dict:
    "Time the training step of a batch."
    return time_step(training_step(take(crystals, size), preset, bf16), size, repeats)


def measure_set(data, preset: str, bf16: bool, sizes, repeats: int, device) -> dict:
    "Measure neighbour lists, training and reverse steps, and memory on one data set."
    crystals = load_crystals(data, split="train", progress=False).to(device)
    found = dict(
        crystals=len(crystals),
        mean_atoms=round(float(crystals.num_atoms.float().mean()), 2),
        training={},
        largest_batch=max(sizes),
    )
    for size in sizes:
        found["training"][str(size)] = time_training(crystals, size, preset, bf16, repeats)
    found["reverse_step_64_ms"] = 1e3 * median_seconds(
        reverse_step(take(crystals, 64), preset, bf16), repeats
    )
    found["neighbors_512_ms"] = 1e3 * median_seconds(
        lambda: find_neighbors(take(crystals, 512), get_config(preset).num_neighbors), repeats
    )
    return found | dict(peak_gib=peak_memory(data, max(sizes), preset))


def measure_compiled(data, preset: str, bf16: bool, repeats: int, device, size: int = 64) -> dict:
    """Measure the training step with compiled networks, and what compiling takes.

    Or say why it could not be done."""
    crystals = take(load_crystals(data, split="train", progress=False).to(device), size)
    try:
        step = training_step(crystals, preset, bf16, compiled=True)
    except ValueError as e:
        return dict(missing=str(e))
    begun = time.perf_counter()
    for _ in range(2):
        step()
    start = time.perf_counter() - begun
    return dict(data=Path(data).name, batch=size, start=start, **time_step(step, size, repeats, 1))


def measure_paper(data, repeats: int, device, size: int = 64) -> dict:
    """Measure the training step of the release's network in its precision.

    Preset `paper`, its graph made beforehand, in float32."""
    crystals = load_crystals(data, split="train", graph="crystalnn", limit=size, progress=False).to(device)
    return dict(data=Path(data).name, batch=size, **time_training(crystals, size, "paper", False, repeats))


CALLS_TIMED = (20, 50, 100)


def measure_sampling(
    data, preset: str, bf16: bool, device, calls=CALLS_TIMED, long=(("modified", 999),), num: int = 64
) -> list[dict]:
    "Measure the seconds a crystal of each sampler, from crystals in memory to crystals.csv."
    crystals = take(load_crystals(data, split="test", progress=False), num)
    torch.manual_seed(0)
    model = DPCDVAE(get_config(preset, prior="standard")).eval()
    model.prepare(crystals), model.fit_prior(crystals)
    model, model.bf16, found = model.to(device), bf16, []
    for sampler, steps in [
        ("modified", 2),
        *((s, n) for n in calls for s in SAMPLERS),
        *long,
    ]:  # the first warms up
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            reconstruct(
                model,
                crystals,
                out=folder,
                sampler=sampler,
                steps=steps,
                force=("num_atoms", "composition", "lattice"),
            )
            found.append(
                dict(sampler=sampler, calls=steps, seconds_per_crystal=(time.perf_counter() - start) / num)
            )
    return found[1:]


def shaken(
    crystals: CrystalBatch, by: float = 0.1, seed: int = 0
) -> CrystalBatch:  # by: Å, standard deviation
    "Push every atom a little."
    push = by * torch.randn(
        crystals.frac_coords.shape,
        generator=torch.Generator().manual_seed(seed),
        dtype=crystals.frac_coords.dtype,
    )
    return crystals.replace(
        frac_coords=crystals.frac_coords
        + (push[:, None] @ torch.linalg.inv(crystals.lattice)[crystals.batch]).squeeze(1)
    )


def measure_reading(data, num: int = 200) -> dict:
    "Read rows of a set from its source, past the cache."
    start = time.perf_counter()
    crystals, bad = read_source(data, split="train", cache=False, workers=1, limit=num, progress=False)
    seconds = time.perf_counter() - start
    return dict(
        crystals=len(crystals), rejected=len(bad), crystals_per_s=(len(crystals) + len(bad)) / seconds
    )


def measure_matching(data, num: int = 100) -> dict:
    "Match crystals with their shaken selves."
    from dpcdvae.evaluation.compare import match

    crystals = take(load_crystals(data, split="test", progress=False), num)
    pairs, start = list(zip(crystals.to_structures(), shaken(crystals).to_structures())), time.perf_counter()
    matched = sum(match(a, b) is not None for a, b in pairs)
    return dict(crystals=num, matched=matched, crystals_per_s=num / (time.perf_counter() - start))


def measure_relaxation(data, num: int = 12, calculator: str = "chgnet", max_steps: int = 100) -> dict:
    "Relax shaken crystals on all cores; a calculator that is not installed is named."
    from dpcdvae.energy.relax import calculator_version, energies
    from dpcdvae.evaluation.validity import MetricsError

    crystals = shaken(take(load_crystals(data, split="test", progress=False), num))
    try:
        version = calculator_version(calculator)
    except MetricsError as e:
        return dict(missing=str(e))
    start = time.perf_counter()
    rows, summary = energies(crystals.to_structures(), None, calculator, max_steps=max_steps, progress=False)
    seconds = time.perf_counter() - start
    return dict(
        calculator=version,
        crystals=num,
        at_rest=summary["num_converged"],
        max_steps=max_steps,
        mean_steps=sum(r.get("steps", 0) for r in rows) / num,
        mean_atoms=float(crystals.num_atoms.float().mean()),
        seconds=seconds,
        crystals_per_hour=3600 * num / seconds,
    )


REPEATS = (5, 10, 20, 40, 60, 90, 120, 160, 200)  # atoms a cell
COPIES = {
    5: (1, 1, 1),
    10: (2, 1, 1),
    20: (2, 2, 1),
    40: (2, 2, 2),
    60: (3, 2, 2),
    90: (3, 3, 2),
    120: (4, 3, 2),
    160: (4, 4, 2),
    200: (5, 4, 2),
}


def large_cell(num_atoms: int, seed: int = 0) -> CrystalBatch:
    "Make a shaken supercell of strontium titanate."
    one, copies = toy("SrTiO3"), torch.tensor(COPIES[num_atoms])
    shifts = torch.cartesian_prod(*(torch.arange(int(k)) for k in copies))
    frac = ((one.frac_coords[None] + shifts[:, None]) / copies).reshape(-1, 3).to(one.frac_coords.dtype)
    lengths, angles = parameters_from_lattice(one.lattice * copies[None, :, None])
    return shaken(
        CrystalBatch(
            one.atomic_numbers.repeat(len(shifts)), frac, lengths, angles, torch.tensor([num_atoms])
        ),
        seed=seed,
    )


def power(points) -> dict:  # exponent of y = c x^p and its R^2
    "Fit a straight line to the logarithms."
    x, y = torch.tensor(points, dtype=torch.float64).log().T
    x, y = x - x.mean(), y - y.mean()
    slope = (x * y).sum() / x.square().sum()
    return dict(
        exponent=float(slope),
        r2=float(1 - (y - slope * x).square().sum() / y.square().sum().clamp_min(1e-300)),
    )


def line(points) -> dict:  # y = fixed + slope x and its R^2
    "Fit a straight line."
    x, y = torch.tensor(points, dtype=torch.float64).T
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    fixed = y.mean() - slope * x.mean()
    return dict(
        fixed=float(fixed),
        slope=float(slope),
        r2=float(1 - (y - fixed - slope * x).square().sum() / (y - y.mean()).square().sum()),
    )


def measure_growth(
    data,
    preset: str,
    bf16: bool,
    repeats: int,
    device,
    batches=(8, 16, 32, 64, 128, 256, 512),
    sizes=REPEATS,
    atoms: int = 400,
) -> dict:
    """Measure a training step and a reverse step against crystals in a batch, and a crystal's reverse step
    and neighbours against its atoms."""
    crystals = load_crystals(data, split="train", progress=False).to(device)
    step = lambda make, n: median_seconds(make(take(crystals, n), preset, bf16), repeats, 1)
    curves = {
        "training step": [[n, step(training_step, n)] for n in batches],
        "reverse step": [[n, step(reverse_step, n)] for n in batches],
        "reverse step, a crystal": [],
        "its neighbour list": [],
    }
    for n in sizes:
        many = CrystalBatch.cat([large_cell(n, k) for k in range(max(1, atoms // n))]).to(device)
        curves["reverse step, a crystal"].append(
            [n, median_seconds(reverse_step(many, preset, bf16), repeats, 1) / len(many)]
        )
        curves["its neighbour list"].append(
            [
                n,
                median_seconds(lambda: find_neighbors(many, get_config(preset).num_neighbors), repeats, 1)
                / len(many),
            ]
        )
    return {
        k: dict(
            points=v,
            over="crystals in a batch" if len(v) == len(batches) and k.endswith("step") else "atoms a cell",
            **power(v),
            line=line(v),
        )
        for k, v in curves.items()
    }


KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "mkldnn_linear", "_linear_pointwise", "linear"),
    "element by element": (
        "add",
        "mul",
        "silu",
        "silu_backward",
        "sub",
        "div",
        "exp",
        "neg",
        "pow",
        "sqrt",
        "where",
        "clamp",
        "fill_",
        "zero_",
        "relu",
        "threshold_backward",
        "square",
        "cos",
        "sin",
        "sigmoid",
        "softplus",
        "log",
        "clamp_min",
        "rsqrt",
        "reciprocal",
        "sigmoid_backward",
    ),
    "copies and casts": ("copy_", "clone", "cat", "contiguous", "_to_copy"),
    "gathers and scatters": (
        "index",
        "_index_put_impl_",
        "index_put_",
        "index_add_",
        "index_select",
        "gather",
        "scatter",
        "scatter_",
        "scatter_add_",
        "embedding",
        "embedding_dense_backward",
        "_unsafe_index",
        "_unsafe_masked_index",
        "topk",
        "sort",
        "nonzero",
        "index_copy_",
    ),
    "sums": ("sum", "mean", "cumsum", "norm", "linalg_vector_norm"),
    "optimiser": ("_fused_adam_", "_foreach_add_", "_foreach_mul_"),
}


def kind_of(name: str) -> str:
    "Sort an operation by name."
    plain = name.split("::")[-1]
    return next((k for k, names in KINDS.items() if plain in names or plain.rstrip("_") in names), "other")


def profile_step(
    step, warmup: int = 2
) -> dict:  # shares of the time, operations of the matrix products, seconds
    "Profile one step."
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or it writes to stderr when it starts and stops
    for _ in range(warmup):
        step()
    gpu = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as p:
        step()
    own = {
        e.key: e.self_device_time_total if gpu else e.self_cpu_time_total
        for e in p.key_averages()
        if e.key.startswith(("aten::", "mkldnn::"))
    }
    total, shares = sum(own.values()), {}
    for name, t in own.items():
        shares[kind_of(name)] = shares.get(kind_of(name), 0) + t / total
    with FlopCounterMode(display=False) as counter:
        step()
    top = sorted(own, key=own.get, reverse=True)[:12]
    return dict(
        shares=dict(sorted(shares.items(), key=lambda kv: -kv[1])),
        top={k: own[k] / total for k in top},
        flops=counter.get_total_flops(),
    )


def measure_products(
    bf16: bool, device="cpu", repeats: int = 20, apart: int = 128
) -> dict:  # what -> operations a second
    """Measure what matrix products reach by themselves.

    Large ones, those of a step's own shape, and these again with operands that the cache has long
    forgotten, as in a step."""
    dtype, (n, k, m) = (
        torch.bfloat16 if bf16 else torch.float32,
        (3840, 128, 128),
    )  # 64 perovskites of 5 atoms with 12 neighbours
    make = lambda *shape: torch.randn(*shape, dtype=dtype, device=device)
    large, weight, far = make(2048, 2048), make(k, m), [(make(n, k), make(n, m)) for _ in range(apart)]

    def cold():
        for a, out in far:
            torch.mm(a, weight, out=out)

    rate, own = lambda f, ops: ops / median_seconds(f, repeats, 3), 2 * n * k * m
    return {
        "2,048 × 2,048 × 2,048": rate(lambda: large @ large, 2 * 2048**3),
        f"{n:,} × {k} × {m}": rate(lambda: far[0][0] @ weight, own),
        f"{n:,} × {k} × {m} from memory": rate(cold, own * apart),
    }


BENCH_DATA = ("perov_mini", "carbon_mini")


def children_seconds() -> float:
    "Processor seconds of the child processes that have ended."
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def go_on(out: Path, head: dict, **begin) -> dict:
    "Read the results that are there already, which must have been made in the same way, or begin."
    head = json.loads(json.dumps(head))
    result = json.loads(out.read_text()) if out.exists() else head | begin
    if differ := [k for k, v in head.items() if result.get(k) != v]:
        raise ValueError(
            f"{out} holds something else (what differs: {', '.join(differ)}): choose another file"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    return result


def rounded(x, digits: int = 4):
    "Round the numbers of a tree to significant digits."
    if isinstance(x, float):
        return float(f"{x:.{digits}g}")
    if isinstance(x, dict):
        return {k: rounded(v, digits) for k, v in x.items()}
    return [rounded(v, digits) for v in x] if isinstance(x, (list, tuple)) else x


def bench(
    data=BENCH_DATA,
    preset: str = "transformer",
    repeats: int = 5,
    sizes=(16, 64, 256, 512),
    say=print,
    relaxed: int = 12,
    calls=CALLS_TIMED,
    long=(("modified", 999),),
    growth: dict | None = None,
    compiled: bool = True,
) -> dict:
    """Measure training, sampling, neighbours, memory, reading, matching, relaxation, growth and profile.

    On the GPU where there is one."""
    made_on, start, device, bf16 = (
        circumstances(),
        time.perf_counter(),
        "cuda" if torch.cuda.is_available() else "cpu",
        has_bf16(),
    )
    if warning := disturbed(made_on["load"]):
        say(warning)
    result, data = (
        dict(made_on, warning=warning, preset=preset, bf16=bf16, repeats=repeats, sets={}),
        [data] if isinstance(data, (str, Path)) else list(data),
    )

    def part(name, f):
        begun = time.perf_counter()
        found = f()
        say(f"{name}: {time.perf_counter() - begun:.0f} s")
        return found

    for d in data:
        result["sets"][Path(d).name] = part(
            f"training on {Path(d).name}", lambda: measure_set(d, preset, bf16, sizes, repeats, device)
        )
    if compiled:
        result["compiled"] = part(
            "compiled networks", lambda: measure_compiled(data[0], preset, bf16, repeats, device)
        )
    result["paper"] = part("the release's network", lambda: measure_paper(data[0], repeats, device))
    result["sampling"] = part(
        "sampling", lambda: measure_sampling(data[0], preset, bf16, device, calls, long)
    )
    for name, measure in dict(reading=measure_reading, matching=measure_matching).items():
        result[name] = part(name, lambda: {Path(d).name: measure(d) for d in data})
    result["relaxation"] = part(
        "relaxation", lambda: {Path(data[-1]).name: measure_relaxation(data[-1], relaxed)}
    )
    result["growth"] = part(
        "growth", lambda: measure_growth(data[0], preset, bf16, repeats, device, **growth or {})
    )
    result["profile"] = part(
        "profile",
        lambda: profile_step(
            training_step(
                take(load_crystals(data[0], split="train", progress=False).to(device), 64), preset, bf16
            )
        ),
    )
    result["products"] = part("products", lambda: measure_products(bf16, device))
    return rounded(result | dict(seconds=time.perf_counter() - start))
