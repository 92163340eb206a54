"""The readings of docs/results/no-warmup as a table and as a picture.

    .venv/bin/python experiments/no_warmup/tables.py docs/results/no-warmup/readings.jsonl --output runs/no-warmup \\
        --settings xavier warmup200 warmup400 hand hand-output paper gradinit --lr 5e-4 1e-3 2e-3 3e-3 --seeds 1 2 3 4 5

A reading is a line of the file: what the run was, its losses by update, and its final measurements. Today's runs are
those of the comparison study, which makes its own report.
"""

import argparse
import itertools
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from matplotlib import pyplot

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # for the package of the study beside this one
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # and for this checkout's gradinit_mt

from comparison.collect import score_of

from gradinit_mt.common import command, journal
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.figures import COLOURS, STYLE, write
from gradinit_mt.common.files import write_text
from gradinit_mt.common.tables import markdown, spread

Column = Callable[[dict], float | None]  # of an outcome

RUN = ("setting", "lr", "seed", "updates", "width", "further")
FIELDS = (*RUN, "training", "validation", "source_gain", "gradinit_seconds", "seconds")


def selected(path: Path, chosen: argparse.Namespace) -> list[dict]:
    """The outcomes in the file that the command selects: per seed, the shortest run that has all readings.

    Raises:
        UserError: a line of the file lacks a field, as those of the comparison study do.
    """
    needed = set(map(str, chosen.readings))
    found: dict[tuple[str, float, int], dict] = {}
    outcomes = journal.load(path)
    for line, outcome in enumerate(outcomes, start=1):
        if missing := [name for name in FIELDS if name not in outcome]:
            raise UserError(
                f"{path}, line {line} has no {missing[0]}: expected readings.jsonl of docs/results/no-warmup"
            )
    for outcome in sorted(outcomes, key=lambda outcome: outcome["updates"]):
        same_options = (outcome["width"], outcome["further"]) == (chosen.width, chosen.further)
        if same_options and needed <= outcome["training"].keys():
            found.setdefault((outcome["setting"], outcome["lr"], outcome["seed"]), outcome)
    named = itertools.product(chosen.lr, chosen.settings, chosen.seeds)
    return [found[setting, lr, seed] for lr, setting, seed in named if (setting, lr, seed) in found]


def grouped(outcomes: list[dict]) -> dict[tuple[str, float], list[dict]]:
    """The outcomes of all seeds by setting and learning rate, in the order of the command."""
    groups = defaultdict(list)
    for outcome in outcomes:
        groups[outcome["setting"], outcome["lr"]].append(outcome)
    return groups


def table(outcomes: list[dict], readings: list[int]) -> str:
    """Mean and standard deviation over seeds, as Markdown; final measurements only of runs that end at that reading."""
    last = readings[-1]

    def ends(outcome: dict) -> bool:
        return list(outcome["training"])[-1] == str(last)

    def validation(outcome: dict) -> float | None:
        losses = outcome["validation"]
        return list(losses.values())[-1] if ends(outcome) else losses.get(str(last))

    def at(update: int) -> Column:
        return lambda outcome: outcome["training"][str(update)]

    def at_the_end(value: Column) -> Column:
        return lambda outcome: value(outcome) if ends(outcome) else None

    columns: dict[str, Column] = {f"training loss after {update}": at(update) for update in readings}
    columns |= {"worst seed": at(last), "validation": validation}
    measured: dict[str, Column] = {
        "source gain": lambda o: o["source_gain"],
        "BLEU": score_of,
        "GradInit's share of the time": lambda o: 100 * o["gradinit_seconds"] / o["seconds"],
    }
    columns |= {name: at_the_end(value) for name, value in measured.items()}
    if all(columns["BLEU"](outcome) is None for outcome in outcomes):
        del columns["BLEU"]
    rows = []
    for (setting, lr), group in grouped(outcomes).items():
        cells = [_cell(name, [value(outcome) for outcome in group]) for name, value in columns.items()]
        rows.append([setting, f"{lr:g}", ", ".join(str(outcome["seed"]) for outcome in group), *cells])
    return markdown(["initialization", "lr", "seeds", *columns], rows)


def _cell(column: str, values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    if column == "worst seed":
        return f"{max(known):.2f}"
    if column.startswith("GradInit"):
        return f"{statistics.mean(known):.1f} %"
    return spread(known) + f" ({len(known)})" * (len(known) < len(values))


def draw(outcomes: list[dict], last: int) -> pyplot.Figure:
    """One panel per learning rate: the training loss up to update ``last``, per seed and as a mean over seeds."""
    groups = grouped(outcomes)
    rates = sorted({lr for _, lr in groups})
    settings = list(dict.fromkeys(setting for setting, _ in groups))
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplots(
            1, len(rates), figsize=(1.5 + 3.5 * len(rates), 3.5), sharey=True, squeeze=False, layout="constrained"
        )
        for axes, rate in zip(panels[0], rates, strict=True):
            for setting, colour in zip(settings, itertools.cycle(COLOURS)):
                group = groups.get((setting, rate), [])
                updates = [int(update) for update in group[0]["training"] if int(update) <= last] if group else []
                losses = [[outcome["training"][str(update)] for update in updates] for outcome in group]
                for loss in losses:
                    axes.plot(updates, loss, color=colour, linewidth=0.5, alpha=0.35)
                if group:
                    mean = [statistics.mean(values) for values in zip(*losses, strict=True)]
                    axes.plot(updates, mean, color=colour, linewidth=1.6, label=setting)
            axes.set_title(f"learning rate {rate:g}")
            axes.set_xlabel("updates")
        panels[0][0].set_ylabel("training loss\n(bits per target token)")
        lines = [line for axes in panels[0] for line in axes.get_lines() if line.get_label() in settings]
        named = {line.get_label(): line for line in lines}  # a setting may be missing from a panel
        figure.legend([named[name] for name in settings], settings, loc="outside right upper", frameon=False)
    return figure


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options; those after ``--`` are the further options of the runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="readings, one per line")
    add("--output", type=Path, required=True, metavar="DIR", help="directory for table.md and curves.png")
    add("--settings", nargs="+", required=True, metavar="NAME", help="in this order")
    add("--lr", nargs="+", type=float, default=[1e-3], metavar="RATE", help="peak learning rates (default: 1e-3)")
    add("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="N", help="(default: 1 2 3)")
    add("--width", type=command.positive_int, default=128, metavar="D", help="model dimension (default: %(default)s)")
    add("--readings", nargs="+", type=int, default=[400, 800], metavar="N", help="updates (default: 400 800)")
    chosen = command.parse_with_further(parser, arguments)
    for name in ("settings", "lr", "seeds", "readings"):
        values = getattr(chosen, name)
        if twice := [value for value in values if values.count(value) > 1]:
            parser.error(f"--{name} names {twice[0]} twice")
    chosen.readings.sort()
    return chosen


def main() -> None:
    chosen = parse_arguments(sys.argv[1:])
    outcomes = selected(chosen.file, chosen)
    if not outcomes:
        updates = ", ".join(map(str, chosen.readings))
        raise UserError(f"{chosen.file} has none of these runs with a loss after {updates} updates; choose others")
    text = table(outcomes, chosen.readings)
    chosen.output.mkdir(parents=True, exist_ok=True)
    write_text(chosen.output / "table.md", text)
    picture = chosen.output / "curves.png"
    picture.unlink(missing_ok=True)  # drawn again from all readings
    write(draw(outcomes, chosen.readings[-1]), picture)
    print(text, end="")


if __name__ == "__main__":
    command.run(main)
