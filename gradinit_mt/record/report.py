"""What GradInit learned in one run, printed and drawn from its record.

    scripts/report.sh SAVE_DIR [--output FILE.png]

Prints the scales by layer and role, and how the loss and the gradient norm changed. ``--output`` also draws them.
Biases are left out; they are in ``gradinit.json``.
"""

import argparse
import statistics
from pathlib import Path

from gradinit_mt.common import command
from gradinit_mt.common.figures import write
from gradinit_mt.record import picture
from gradinit_mt.record.layers import OUTSIDE, Scale, by_stack, placed
from gradinit_mt.record.record import Record, RecordError

AT_EACH_END = 20  # iterations averaged, at most, for the first and the last value


def text(record: Record) -> str:
    """The report of one record.

    Raises:
        RecordError: nothing was learned yet, or the settings or the history lack what is shown.
    """
    record.require_iterations()
    try:
        return _text(record)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"the record lacks facts that the report shows ({error!r}); learn it again") from error


def _text(record: Record) -> str:
    scales = placed(record)
    outside = [f"  {scale.name:25}{scale.value:8.3f}" for scale in scales if scale.stack is None]
    lines = [*_course(record, scales), "", *_tables(scales), *([OUTSIDE, *outside] if outside else [])]
    return "\n".join(lines) + "\n"


def _course(record: Record, scales: list[Scale]) -> list[str]:
    settings, state = record.settings, record.state
    total = "" if record.complete else f" of {settings['iterations']}"
    steps = f"{settings['look_ahead']} look-ahead step{'s' * (settings['look_ahead'] > 1)} of {settings['step']}"
    gamma = "none" if settings["gamma"] is None else f"{settings['gamma']:g}"
    norm = "L1" if settings["step"] == "adam" else "L2"
    values = sorted(scale.value for scale in scales)
    summary = f"{values[0]:.3g} lowest, {statistics.median(values):.3g} median, {values[-1]:.3g} highest"
    return [
        f"{state.iteration}{total} iterations in {state.seconds:.1f} s: {state.steps[0]} objective, "
        f"{state.steps[1]} constraint steps",
        f"{steps}, eta {settings['eta']:g}, gamma {gamma}, signal weight {settings['signal_weight']:g}; "
        f"{settings['update']}, tau {settings['tau']:g}",
        _from_to("loss on S, nats per token", [entry["loss"] for entry in state.history]),
        _from_to("objective ahead, on S~", [entry["ahead"] for entry in state.history if entry["ahead"] is not None]),
        _from_to(f"{norm} norm of the gradient", [entry["norm"] for entry in state.history]),
        "; ".join([f"{'scales, biases left out':27}{summary}", *_at_bounds(record, scales)]),
    ]


def _at_bounds(record: Record, scales: list[Scale]) -> list[str]:
    """For each bound that a scale has reached, how many have."""
    lines = []
    for prefix, kind in (("", "matrices"), ("vector_", "vectors")):
        values = [s.value for s in scales if (len(record.blocks[s.index]["shape"]) > 1) == (kind == "matrices")]
        for end in ("lower", "upper"):
            bound = record.settings[f"{prefix}{end}_bound"]
            if bound in values:
                lines.append(f"{values.count(bound)} of {len(values)} {kind} at their {end} bound {bound:g}")
        bound = record.settings.get("embedding_upper_bound")  # records of earlier versions have none
        # at a bound that all matrices have, embeddings cannot be told apart
        shared = (record.settings["lower_bound"], record.settings["upper_bound"])
        if kind == "matrices" and bound in values and bound not in shared:
            lines.append(f"{values.count(bound)} at the upper bound {bound:g} of embeddings")
    return lines


def _from_to(title: str, values: list[float]) -> str:
    if not values:
        return f"{title:27}no such step was taken"
    count = min(AT_EACH_END, -(-len(values) // 2))
    first, last = statistics.mean(values[:count]), statistics.mean(values[-count:])
    return f"{title:27}{first:.4g} -> {last:.4g} (means of the first and the last {count})"


def _tables(scales: list[Scale]) -> list[str]:
    lines = []
    for stack, families in by_stack(scales).items():
        layers = sorted({scale.layer for scale in scales if scale.stack == stack and scale.layer is not None})
        lines.append(f"{stack:27}" + "".join(f"{layer:8}" for layer in layers))
        for family, roles in families.items():
            lines.append(f"  {family}")
            for role, values in roles.items():
                cells = "".join(f"{values[layer]:8.3f}" if layer in values else f"{'':8}" for layer in layers)
                lines.append(f"    {role:23}{cells}".rstrip())
        lines.append("")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/report.sh", description=__doc__.splitlines()[0])
    parser.add_argument("save_dir", type=Path, metavar="SAVE_DIR", help="save dir of a run, or a gradinit.safetensors")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a picture to draw: .png, .svg or .pdf")
    options = parser.parse_args()
    record = Record.load(options.save_dir)
    print(text(record), end="")
    if options.output is not None:
        write(picture.draw(record), options.output)
        print(f"\n{options.output}")


if __name__ == "__main__":
    command.run(main)
