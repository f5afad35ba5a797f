"""Draws the results of scripts/bench: one PNG for each question.

    plot.py <results.json> <directory>
"""
import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)

COLOURS = {"floor": "#9aa0a6", "threadcast": "#0b6e4f", "threadcast-bare": "#5fb49c",
           "nchan": "#3c6e9f", "webdis": "#b5651d", "mercure": "#7a4fa3",
           "mercure-local": "#b79ad1", "centrifuge": "#d1495b", "node": "#c9a227", "fastapi": "#a23b72"}
LATENCY = (200, 1000, 5000)
READERS = (100, 1000, 5000, 20000)
THREADS = (1, 10, 100, 1000, 10000)


class Results:
    def __init__(self, path):
        self.all = json.loads(pathlib.Path(path).read_text())
        self.peers = [p for p in self.all["peers"] if p["name"] in COLOURS]

    def value(self, peer, scenario, metric):
        """The median over the rounds, or None."""
        found = [metric(row["result"]) for row in self.all["rows"]
                 if row["peer"] == peer and row["scenario"] == scenario and "result" in row]
        return statistics.median(found) if found else None


def cpu(r):
    return r["server"]["us_per_event"]


def rate(r):
    return r["events_per_s"]


def user_kb(r):
    return max(0, r["user_bytes"]["open"] - r["user_bytes"]["start"]) / r["readers"] / 1024


def kernel_kb(r):
    """Half of it: both ends of each connection are on the machine."""
    k = r["kernel_bytes"]
    grown = k["slab_open"] - k["slab_start"] + k["tcp_open"] - k["tcp_start"]
    return max(0, grown) / 2 / r["readers"] / 1024


def bars(axes, results, scenario, metric, title, log=False):
    pairs = [(p, results.value(p["name"], scenario, metric)) for p in results.peers]
    pairs = [(p, v) for p, v in pairs if v is not None]
    drawn = axes.barh([p["title"] for p, _ in pairs], [v for _, v in pairs],
                      color=[COLOURS[p["name"]] for p, _ in pairs])
    axes.bar_label(drawn, [f" {v:,.3g}" if v < 1000 else f" {v:,.0f}" for _, v in pairs], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    if log:
        axes.set_xscale("log")
    axes.set_title(title, fontsize=10)


def lines(axes, results, points, scenario, metric, title, x, y):
    for peer in results.peers:
        found = [(n, results.value(peer["name"], scenario.format(n), metric)) for n in points]
        found = [(n, v) for n, v in found if v is not None]
        if found:
            axes.plot(*zip(*found), marker="o", label=peer["title"], color=COLOURS[peer["name"]])
    axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)


def figure(columns, height=3.2):
    return plt.subplots(1, columns, figsize=(5 * columns, height), constrained_layout=True, squeeze=False)


def draw_cpu(results):
    drawn, [axes] = figure(2)
    bars(axes[0], results, "fanout", cpu, "µs of CPU an event: 1 thread × 1,000 readers")
    bars(axes[1], results, "many", cpu, "µs of CPU an event: 1,000 threads × 1 reader")
    return drawn


def draw_throughput(results):
    drawn, [axes] = figure(2)
    bars(axes[0], results, "flat-one", rate, "events/s, flat out, 1 thread × 500 readers", log=True)
    bars(axes[1], results, "flat-many", rate, "events/s, flat out, 200 threads × 1 reader", log=True)
    return drawn


def draw_memory(results):
    drawn, [axes] = figure(2)
    bars(axes[0], results, "idle", user_kb, "KB of user memory per idle reader", log=True)
    bars(axes[1], results, "idle", kernel_kb, "KB of kernel memory per idle reader")
    return drawn


def draw_latency(results):
    drawn, [axes] = figure(2, 4)
    for i, share in enumerate(("p50", "p99")):
        lines(axes[i], results, LATENCY, "latency-{}", lambda r: r["latency_ms"][share],
              f"publish to reader, {share}", "events/s", "ms")
    axes[0].legend(fontsize=8)
    return drawn


def draw_resume(results):
    drawn, [axes] = figure(3, 2.2)
    bars(axes[0], results, "resume", lambda r: r["wall_s"], "s: 5,000 readers of 500 threads resume")
    bars(axes[1], results, "resume-one", lambda r: r["wall_s"], "s: 5,000 readers of one thread resume")
    bars(axes[2], results, "replay", rate, "events/s replayed to 200 readers")
    return drawn


def draw_growth(results):
    drawn, [axes] = figure(3, 4)
    lines(axes[0], results, READERS, "readers-{}", cpu, "one thread", "readers", "µs of CPU an event")
    lines(axes[1], results, THREADS, "threads-{}", cpu, "a reader each", "threads", "µs of CPU an event")
    lines(axes[2], results, THREADS[2:], "threads-{}", lambda r: max(user_kb(r), 0.01), "a reader each",
          "threads", "KB of user memory a reader")
    axes[0].legend(fontsize=8)
    return drawn


def main():
    results, directory = Results(sys.argv[1]), pathlib.Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    for draw in (draw_cpu, draw_throughput, draw_memory, draw_latency, draw_resume, draw_growth):
        draw(results).savefig(directory / f"bench-{draw.__name__[len('draw_'):]}.png", dpi=110)


if __name__ == "__main__":
    main()
