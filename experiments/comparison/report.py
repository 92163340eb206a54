"""The report of the comparison study, from its readings alone: tables, pictures, and one page with all of it.

    .venv/bin/python experiments/comparison/report.py runs/comparison --output docs/results/comparison

It takes the readings of finished cells, and those that the output has already in ``readings.jsonl``. Without a run it
makes the report again from that file. A study of which little is finished is reported as far as it goes.
"""

import argparse
import base64
import logging
import sys
from pathlib import Path

import jinja2
from matplotlib import pyplot
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT), str(ROOT / "experiments")]  # instead of this folder: the modules are comparison.NAME

from comparison import measures, pictures, tables  # noqa: E402 - needs the path above
from comparison.collect import collect  # noqa: E402
from comparison.groups import Group, Part, by_part, rates_of  # noqa: E402
from comparison.plan import TRAINS  # noqa: E402
from gradinit_mt.common import command  # noqa: E402
from gradinit_mt.common.errors import UserError  # noqa: E402
from gradinit_mt.common.figures import write  # noqa: E402
from gradinit_mt.common.files import write_text  # noqa: E402

PIXELS = 110  # of the page, per inch of a figure
VALIDATIONS = 10  # of a run, from which on they make a curve
TITLE = "Alternatives to learning-rate warmup under one protocol"
ABOUT = (
    "Mean ± standard deviation over seeds; a single number is one seed. Losses are in bits per target token, without "
    "label smoothing; the source gain is the rise of the validation loss, with label smoothing, when each target is "
    f"scored with another sentence's source. A run failed if it diverged, or if its source gain is at most {TRAINS:g}. "
    "In the maps, failed settings are crossed out, with the share of seeds that failed, and grey was not run; a cross "
    "ends the curve of a setting of which a run diverged. "
    "BLEU is detokenized sacreBLEU on the test set. It, tokenized lowercase BLEU and chrF2 are of the checkpoint with "
    "the higher BLEU on the validation set. Differences are to a run of the same seed, with the two-sided p-value of a "
    "paired bootstrap. Seconds are wall-clock, with other runs beside."
)


def make(readings: list[dict], output: Path, baselines: list[str]) -> None:
    """Writes the tables, the pictures and the page into ``output``.

    Args:
        readings: of finished cells.
        output: a directory.
        baselines: the settings to which scores are compared; curves show the first one in every panel.
    """
    found = by_part(readings)
    if not found:
        raise UserError(f"no finished cell: run study.py first, or name a directory that holds some, beside {output}")
    sections = [section(part, groups, output, baselines) for part, groups in found.items()]
    moments = [embed(*drawn, output) for drawn in pictures.over_moments(found)]
    settings = {group.setting for groups in found.values() for group in groups}
    sections.append({"title": "Learning rate and moment", "pictures": moments, "tables": []})
    sections.append({"title": "Settings", "pictures": [], "tables": [tables.legend(settings)]})
    sections.append({"title": "Conditions", "pictures": [], "tables": [tables.conditions(found)]})
    signatures = tables.signatures(readings)
    shown = [table.markdown() for entry in sections for table in entry["tables"]]
    text = "\n".join([f"# {TITLE}\n\n{ABOUT}\n", *shown])
    text += "".join(f"\n- `{signature}`" for signature in signatures) + "\n" * bool(signatures)
    write_text(output / "tables.md", text)
    write_text(output / "runs.csv", tables.runs_csv(readings, baselines))
    write_text(output / "settings.csv", tables.settings_csv(found))
    filled = [entry for entry in sections if entry["pictures"] or entry["tables"]]
    write_text(output / "report.html", page(title=TITLE, about=ABOUT, sections=filled, signatures=signatures))


def section(part: Part, groups: list[Group], output: Path, baselines: list[str]) -> dict:
    """The pictures and tables of one part: by rate where there are several, and everything that was measured."""
    measured = {
        "training loss": measures.training,
        "validation loss": measures.validation,
        "source gain": measures.gain,
    }
    measured["validation loss with label smoothing"] = measures.smoothed
    several = measured if len(rates_of(groups)) > 1 else {}
    by_rate = [tables.by_rate(part, groups, name, value) for name, value in several.items()]
    drawn = [
        (f"rates-{part.name}", "Source gain", pictures.over_settings(groups)),
        (f"curves-{part.name}", "Training loss", pictures.curves(groups, baselines[0])),
    ]
    if max(len(reading["validation"]) for group in groups for reading in group.readings) >= VALIDATIONS:
        drawn.append(
            (f"validation-{part.name}", "Validation loss", pictures.curves(groups, baselines[0], "validation"))
        )
    return {
        "title": part.title,
        "pictures": [embed(*entry, output) for entry in drawn],
        "tables": [*by_rate, tables.details(part, groups, baselines)],
    }


def page(**shown: object) -> str:
    """The page as HTML."""
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True).from_string(template).render(**shown)


def embed(name: str, title: str, figure: Figure, output: Path) -> dict:
    """Saves a figure beside the page, and returns what the page needs of it."""
    path = output / f"{name}.png"
    path.unlink(missing_ok=True)  # drawn again from all readings
    write(figure, path)
    pyplot.close(figure)
    width = round(figure.get_figwidth() * PIXELS)
    return {"title": title, "width": width, "data": base64.b64encode(path.read_bytes()).decode()}


def main() -> None:
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # fairseq makes the root logger verbose
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="outputs of study.py")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory of readings and report")
    parser.add_argument(
        "--baselines",
        nargs="+",
        default=["warmup-tuned", "t-fixup"],
        metavar="SETTING",
        help="to which scores are compared; the curves show the first (default: warmup-tuned t-fixup)",
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.baselines) - set(tables.SETTINGS):
        parser.error(f"--baselines {' '.join(sorted(unknown))}: expected settings of settings.py")
    make(collect(chosen.runs, chosen.output, chosen.baselines), chosen.output, chosen.baselines)
    print(chosen.output / "report.html")


if __name__ == "__main__":
    command.run(main)
