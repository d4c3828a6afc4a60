"""What a crystal costs: in training, in sampling, in evaluation, and when it grows"""

import math
import statistics

RELEASED = dict(
    source="the released code (trachote/dp-cdvae, bb2c819), measured on 2 CPU cores with torch 2.13 in "
    "float32 on Perov-5",
    training_64=51.0,
    peak_gib_512=12.9,
    reverse_step_64_ms=500.0,
    calls=999,
    seconds_per_crystal=7.8,
    reading_per_s=1 / 23.5e-3,
    again="another machine (AMD EPYC with bf16 in AVX-512, 2 threads, torch 2.13, 2026-11-26): 44.4 "
    "crystals/s at batch 64, the median of 8 steps of 1.36 to 1.56 s, and 0.494 s a call of its "
    "denoiser; between these steps, one of this package's preset `gemnet` took 0.275 s (232 "
    "crystals/s) in bf16 and 0.400 s (160) in float32",
)


def _against(value, released, unit: str, more_is_better: bool = True) -> str:
    return f"{released:.3g} {unit} | {(value / released if more_is_better else released / value):.1f} ×"


def bench_table(result: dict) -> str:  # markdown
    "Put a benchmark into tables, compared with the released code where it was measured."
    if "sets" not in result:
        return (
            f"The file of {result.get('date')} was written by an older benchmark: `make bench` makes a "
            f"new one."
        )
    R, rows, none = RELEASED, [f"**{result['warning']}**\n"] if result["warning"] else [], "– | –"
    rate = lambda m, released, known: (
        _against(m["crystals_per_s"], R[released], "crystals/s") if known else none
    )
    rows += ["| | here | released | ratio |", "|---|---|---|---|"]
    for name, s in result["sets"].items():
        known = s["mean_atoms"] == 5  # the release was measured on perovskites
        for size, m in s["training"].items():
            rows.append(
                f"| training, {name}, batch {size} | {m['crystals_per_s']:.0f} crystals/s | "
                f"{rate(m, 'training_64', known and size == '64')} |"
            )
        for key, what in (
            ("compiled", "networks compiled (`--compile`, {start:.0f} s at the start)"),
            ("paper", "the release's network (preset `paper`, float32)"),
        ):
            if (p := result.get(key, {})).get("data") == name:
                rows.append(
                    f"| training, {name}, batch {p['batch']}, {what.format_map(p)} | "
                    f"{p['crystals_per_s']:.0f} crystals/s | {rate(p, 'training_64', known)} |"
                )
        less = lambda value, released, unit: _against(value, R[released], unit, more_is_better=False)
        memory = less(s["peak_gib"], "peak_gib_512", "GiB") if known and s["largest_batch"] == 512 else none
        step = less(s["reverse_step_64_ms"], "reverse_step_64_ms", "ms") if known else none
        rows += [
            f"| peak memory, {name}, batch {s['largest_batch']} | {s['peak_gib']:.2f} GiB | {memory} |",
            f"| one reverse step of 64, {name} | {s['reverse_step_64_ms']:.0f} ms | {step} |",
            f"| neighbours of 512, {name} | {s['neighbors_512_ms']:.1f} ms | {none} |",
        ]
    if said := result.get("compiled", {}).get("missing"):
        rows.append(f"| training, networks compiled | {said} | {none} |")
    for name, m in result["reading"].items():
        rows.append(
            f"| reading and checking, one process, {name} | {m['crystals_per_s']:.0f} crystals/s | "
            f"{rate(m, 'reading_per_s', result['sets'][name]['mean_atoms'] == 5)} |"
        )
    for name, m in result["matching"].items():
        rows.append(f"| matching, one process, {name} | {m['crystals_per_s']:.0f} crystals/s | {none} |")
    for name, m in result["relaxation"].items():
        rows.append(f"| relaxing, all cores, {name} | {_relaxed(m)} | {none} |")
    yardstick = []
    if (p := result.get("paper")) and (own := result["sets"][p["data"]]["training"].get(str(p["batch"]))):
        yardstick = [
            f"In the same run a step of preset {result['preset']} is "
            f"{own['crystals_per_s'] / p['crystals_per_s']:.1f} times as fast as one of the "
            f"release's network in this package.",
            "",
        ]
    return "\n".join(
        [
            *rows,
            "",
            *yardstick,
            sampling_table(result),
            "",
            _made_on(result),
            f"Released: {R['source']}; its reading includes a graph of bonds (CrystalNN), which the "
            f"preset `gemnet` does without. Measured again by hand on {R['again']}.",
        ]
    )


def _relaxed(m) -> str:
    return (
        m.get("missing")
        or f"{m['crystals_per_hour']:.0f} crystals/h ({m['calculator']}; {m['at_rest']} of "
        f"{m['crystals']} converged, {m['mean_steps']:.0f} steps, {m['mean_atoms']:.1f} atoms each)"
    )


def sampling_table(result: dict) -> str:  # markdown
    "Put the seconds a crystal into a table: a row a sampler, a column a number of calls."
    counts, by = (
        sorted({s["calls"] for s in result["sampling"]}),
        {(s["sampler"], s["calls"]): s["seconds_per_crystal"] for s in result["sampling"]},
    )
    show = lambda k: f"{by[k]:.3f} s, {RELEASED['seconds_per_crystal'] / by[k]:.0f} ×" if k in by else "–"
    return "\n".join(
        [
            f"Seconds a crystal of {next(iter(result['sets']))}, from crystal to CIF, and how many "
            f"times as fast as the release's {RELEASED['seconds_per_crystal']} s with "
            f"{RELEASED['calls']} calls:\n",
            "| sampler | " + " | ".join(f"{n} calls" for n in counts) + " |",
            "|---|" + "---|" * len(counts),
            *(
                f"| {name} | " + " | ".join(show((name, n)) for n in counts) + " |"
                for name in dict.fromkeys(s["sampler"] for s in result["sampling"])
            ),
        ]
    )


def _made_on(r) -> str:
    unit = f" with bf16 in {r['bf16_unit']}" if r.get("bf16_unit") else ""
    gpu = f", {r['gpu']}" if r["gpu"] else ""
    return (
        f"{r['threads']} thread(s) of {r['processor']}{unit}{gpu}; "
        f"torch {r['torch']}, Python {r['python']}; preset {r['preset']}, "
        f"{'bf16' if r['bf16'] else 'float32'}; medians of {r['repeats']}; load {r['load']:.2f} before; "
        f"{r['date']}; {r['seconds']:.0f} s in all."
    )


def profile_table(result: dict) -> str:  # markdown
    "Say what limits a training step."
    if "profile" not in result:
        return ""
    p, times = (
        result["profile"],
        {int(n): m["seconds"] for n, m in next(iter(result["sets"].values()))["training"].items()},
    )
    step, said = times.get(64), []
    if step and "products" in result:
        alone = ", ".join(f"{v / 1e9:.0f} billion a second as {k}" for k, v in result["products"].items())
        last = list(result["products"].values())[-1]
        said.append(
            f"By themselves matrix products reach {alone}: at the rate of the last, the step's own "
            f"would take {1e3 * p['flops'] / last:.0f} ms of its {1e3 * step:.0f} ms, and with "
            f"nothing else to do {64 * last / p['flops']:.0f} crystals a second would be the end"
            + (
                "; what lies between the last two is the way to memory, which every other operation "
                "goes, too."
                if len(result["products"]) > 2
                else "."
            )
        )
    if step and 16 in times:
        said.append(
            f"Read off the batches of 16 and 64, {1e3 * (times[16] - (step - times[16]) / 3):.0f} ms "
            f"of every step do not depend on the batch: the thousands of small operations of which "
            f"it is made."
        )
    rate = (
        f"; {p['flops'] / 1e9:.1f} billion operations in matrix products a step of 64, "
        f"{p['flops'] / step / 1e9:.0f} billion a second"
        if step
        else ""
    )
    return "\n".join(
        [
            "| share of a training step | |",
            "|---|---|",
            *(f"| {k} | {100 * v:.0f} % |" for k, v in p["shares"].items()),
            "",
            f"The largest single operations: "
            f"{', '.join(f'`{k}` {100 * v:.0f} %' for k, v in list(p['top'].items())[:6])}{rate}.",
            *[x for s in said for x in ("", s)],
        ]
    )


def growth_plot(result: dict):  # -> a plotly figure
    "Plot cost against crystals in a batch and against atoms a cell, with the fitted power laws."
    from plotly.subplots import make_subplots

    overs = ("crystals in a batch", "atoms a cell")
    fig = make_subplots(1, 2, subplot_titles=[f"seconds against {o}" for o in overs])
    for name, g in result.get("growth", {}).items():
        (x, y), col = zip(*g["points"]), overs.index(g["over"]) + 1
        middle = [math.exp(statistics.fmean(map(math.log, v))) for v in (x, y)]
        fig.add_scatter(
            x=x,
            y=y,
            mode="markers",
            name=f"{name}: exponent {g['exponent']:.2f}",
            legendgroup=name,
            row=1,
            col=col,
        )
        fig.add_scatter(
            x=x,
            y=[middle[1] * (v / middle[0]) ** g["exponent"] for v in x],
            mode="lines",
            line=dict(width=1),
            showlegend=False,
            legendgroup=name,
            hoverinfo="skip",
            row=1,
            col=col,
        )
    return (
        fig.update_xaxes(type="log")
        .update_yaxes(type="log")
        .update_layout(
            height=380,
            margin=dict(l=50, r=10, t=40, b=40),
            legend=dict(orientation="h", y=-0.15),
            template="plotly_white",
            colorway=["#3366aa", "#cc6633", "#338855", "#885599"],
        )
    )
