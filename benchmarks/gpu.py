"""Checked against the processor, timed against the card's peak, trained, all in one command"""

import json
import math
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks.speed import (
    circumstances,
    go_on,
    median_seconds,
    profile_step,
    reverse_step,
    rounded,
    take,
    training_step,
)
from dpcdvae.crystal.batch import CrystalBatch
from dpcdvae.crystal.neighbors import find_neighbors
from dpcdvae.crystal.rng import CounterRNG
from dpcdvae.data.cache import save_crystals
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.nn.denoiser import Denoiser


def relative(a: torch.Tensor, b: torch.Tensor) -> float:  # ||a - b|| / ||b||
    "Say how far a tensor is from the one it should be."
    b = b.double().cpu()
    return float((a.double().cpu() - b).norm() / b.norm().clamp_min(1e-30))


def observe(model: DPCDVAE, crystals: CrystalBatch) -> dict:  # name -> tensor
    "Compute what a training step and a reverse step compute."
    model.zero_grad()
    losses = model.losses(
        crystals, CounterRNG(crystals, torch.arange(len(crystals), device=crystals.device), 1, 2)
    )
    losses.total.mean().backward()
    seen = {f"loss, {k}": v.detach() for k, v in vars(losses).items() if float(v.detach().abs().sum()) != 0}
    seen["gradient"] = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    with torch.no_grad():
        nb = find_neighbors(crystals, model.config.denoiser.num_neighbors)
        z, t = (
            model.encode(crystals)[0],
            torch.full((len(crystals),), model.config.diffusion.num_steps // 2, device=crystals.device),
        )
        seen |= {
            "distances": nb.dist[nb.mask],
            "latent vectors": z,
            "denoiser": model.denoiser(crystals, z, t, bf16=model.bf16).coords,
        }
    return seen


def awake(net: Denoiser) -> Denoiser:
    """Let a network that says nothing yet say something, so that there is something to compare: what is zero
    at the start (readouts, and the transformer's steps of its features) gets random weights."""
    if net.network == "gemnet":
        zero = [out.read for out in net.gemnet.outputs]
    else:
        zero = [net.transformer.read]
        zero += [layer for b in net.transformer.blocks for layer in (b.modulation, b.out, b.down)]
    for layer in zero:
        nn.init.normal_(layer.weight, std=0.1)
    return net


def agreement_with_double(
    crystals: CrystalBatch, device, preset: str = "transformer"
) -> dict:  # precision -> name -> relative difference
    "Compare a device with the processor in double precision."
    torch.manual_seed(0)
    model = DPCDVAE(get_config(preset, **{"latent.prior": "standard"}))
    torch.manual_seed(1)
    awake(model.denoiser)
    model.prepare(crystals)
    start = {k: v.clone() for k, v in model.state_dict().items()}
    truth, found = observe(model.double(), crystals.to(torch.float64)), {}
    for name, bf16 in (("float32", False), ("bfloat16", True)):
        there = DPCDVAE(model.config)
        there.load_state_dict(start)
        there.to(device).bf16 = bf16
        seen = observe(there, crystals.to(device))
        found[name] = {k: relative(seen[k], v) for k, v in truth.items()}
    return found


PEAKS = {
    "H200 NVL": 835e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "V100": 125e12,
}  # dense bfloat16 (V100: float16) operations a second, NVIDIA's data sheets; the more special name first
PROTOCOL = dict(crystals=11_356, epochs=3_000)  # the paper's Perov-5: training crystals, epochs


def peak_of(card: str | None) -> float | None:
    "Look up a card's peak by its name."
    words = set((card or "").replace("-", " ").split())
    return next((v for k, v in PEAKS.items() if set(k.split()) <= words), None)


def protocol_minutes(crystals_per_s: float) -> float:
    "Say how long the paper's whole training on Perov-5 would take."
    return PROTOCOL["crystals"] * PROTOCOL["epochs"] / crystals_per_s / 60


def measure_training(
    crystals: CrystalBatch, size: int, preset: str = "transformer", repeats: int = 5, compiled: bool = False
) -> dict:
    "Time a training step and compare it with the card's peak; or say why it could not be compiled."
    crystals = take(crystals, size)
    step = training_step(crystals, preset, True)
    flops, peak = profile_step(step)["flops"], peak_of(circumstances()["gpu"])
    if compiled:
        try:
            step = training_step(crystals, preset, True, compiled=True)
            step()  # which compiles
        except (ValueError, RuntimeError) as e:
            return dict(missing=str(e).splitlines()[0][:300])
    seconds = median_seconds(step, repeats)
    return dict(
        seconds=seconds,
        crystals_per_s=size / seconds,
        tflops=flops / seconds / 1e12,
        share_of_peak=peak and flops / seconds / peak,
        protocol_minutes=protocol_minutes(size / seconds),
    )


def measure_card(
    data,
    out,
    preset: str = "transformer",
    sizes=(64, 512, 2048, 8192),
    max_time: str | None = None,
    num: int = 512,
    seed: int = 0,
    repeats: int = 5,
    device=None,
) -> dict:
    "Check, time and train on a graphics card, writing `out` after each part."
    from dpcdvae.model.training import is_finished, train

    out, device, sets = (
        Path(out),
        device or ("cuda" if torch.cuda.is_available() else "cpu"),
        {k: load_crystals(data, split=k, progress=False) for k in ("train", "val", "test")},
    )
    on = circumstances() | ({} if device == "cuda" else dict(gpu=None))
    result = go_on(
        out,
        dict(name="gpu", data=Path(data).name, preset=preset, seed=seed, gpu=on["gpu"]),
        made_on=on,
        parts={},
    )

    def part(name, f):
        if name in result["parts"]:
            return
        start = time.perf_counter()
        result["parts"][name] = f() | dict(part_seconds=time.perf_counter() - start)
        atomic_write(out, json.dumps(rounded(result), indent=1) + "\n")
        print(name, json.dumps(rounded(result["parts"][name]))[:400], flush=True)

    here = sets["train"].to(device)
    part("agreement", lambda: agreement_with_double(sets["test"][:32], device, preset))
    for size in sizes:
        part(f"training, batch {size}", lambda: measure_training(here, size, preset, repeats))
        part(
            f"reverse step, batch {size}",
            lambda: dict(
                seconds=(s := median_seconds(reverse_step(take(here, size), preset), repeats)),
                crystals_per_s=size / s,
            ),
        )
    if device == "cuda":
        for size in sizes:
            part(f"compiled, batch {size}", lambda: measure_training(here, size, preset, repeats, True))
    if max_time is None:
        return result
    if device == "cpu" and torch.cuda.is_available():
        raise ValueError(
            "training takes the card where there is one: leave max_time out to measure the "
            "processor, or hide the card with CUDA_VISIBLE_DEVICES="
        )
    run = out.with_name(f"{out.stem}-run")

    def trained():
        if not is_finished(run) or json.loads((run / "run.json").read_text())["preset"] != preset:
            train(
                sets,
                run,
                preset,
                max_time,
                seed=seed,
                resume=(run / "checkpoint.safetensors").exists(),
                batch_size=512,
            )
        return {
            k: json.loads((run / "run.json").read_text())[k]
            for k in ("steps", "crystals_seen", "crystals_per_second", "seconds", "best_val_loss")
        }

    def reconstructed():
        model, test = DPCDVAE.from_pretrained(run).to(device), sets["test"][:num]
        model.bf16, start = True, time.perf_counter()
        save_crystals(
            model.reconstruct(test.to(device), films=0, seed=seed).crystals.to("cpu"),
            out.with_name(f"{out.stem}-reconstructed.safetensors"),
        )
        return dict(crystals=len(test), seconds_per_crystal=(time.perf_counter() - start) / len(test))

    part("training", trained), part("reconstruction", reconstructed)
    return result


def gpu_table(result: dict) -> str:  # markdown
    "Put what a card did into tables."
    p, card = result["parts"], result["made_on"]["gpu"] or f"no card: {result['made_on']['processor']}"
    share = lambda m: "–" if not m.get("share_of_peak") else f"{100 * m['share_of_peak']:.1f} %"
    rows = [
        f"{card}, preset `{result['preset']}`, {result['data']}.",
        "",
        "| batch | training | matrix products | share of the peak | the paper's Perov-5 training | "
        "reverse step |",
        "|---|---|---|---|---|---|",
    ]
    for name, m in p.items():
        if not name.startswith(("training, batch", "compiled, batch")):
            continue
        if "missing" in m:
            rows.append(f"| {name.split()[-1]}, compiled | {m['missing']} | – | – | – | – |")
            continue
        size, back = (
            name.split()[-1] + ", compiled" * name.startswith("compiled"),
            p.get(name.replace("training", "reverse step"), {}),
        )
        rows.append(
            f"| {size} | {m['crystals_per_s']:,.0f} crystals/s | {m['tflops']:.1f} TFLOP/s | "
            f"{share(m)} | {m['protocol_minutes']:.0f} min | {1e3 * back['seconds']:.1f} ms |"
            if back
            else f"| {size} | {m['crystals_per_s']:,.0f} crystals/s | {m['tflops']:.1f} TFLOP/s | "
            f"{share(m)} | {m['protocol_minutes']:.0f} min | – |"
        )
    if a := p.get("agreement"):
        rows += [
            "",
            "Largest relative difference from double precision: "
            + ", ".join(
                f"{k} {v[w]:.0e} ({w})"
                for k, v in a.items()
                if isinstance(v, dict)
                for w in [max(v, key=lambda x: math.inf if math.isnan(v[x]) else v[x])]
            )
            + ".",
        ]
    if t := p.get("training"):
        rows += [
            "",
            f"Trained for {t['seconds'] / 60:.0f} min: {t['steps']:,} steps, {t['crystals_seen']:,} "
            f"crystals, {t['crystals_per_second']:,.0f} a second.",
        ]
    if r := p.get("reconstruction"):
        rows += ["", f"{r['crystals']} crystals reconstructed, {r['seconds_per_crystal']:.4f} s each."]
    return "\n".join(rows)
