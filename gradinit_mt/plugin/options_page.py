"""Prints every option of the plugin with its default and help text, as Markdown.

python -m gradinit_mt.plugin.options_page > docs/options.md
"""

import dataclasses
import enum
from collections.abc import Iterable

from fairseq.dataclass import FairseqDataclass

from gradinit_mt.lr_schedulers.linear import LinearScheduleConfig
from gradinit_mt.models.post_ln_transformer import PostLNTransformerConfig
from gradinit_mt.plugin.options import GradInitTranslationConfig, TranslationConfig


def table(config: type[FairseqDataclass], beyond: Iterable[str] = ()) -> str:
    """One row per option of ``config`` that has a help text and is not in ``beyond``."""
    rows = ["| option | default | |", "|---|---|---|"]
    for field in dataclasses.fields(config):
        text = field.metadata.get("help")
        if text is None or field.name in beyond:
            continue
        default = field.default.value if isinstance(field.default, enum.Enum) else field.default
        shown = "" if default is None or default is False else f"`{default}`"
        rows.append(f"| `--{field.name.replace('_', '-')}` | {shown} | {text} |")
    return "\n".join(rows)


def page() -> str:
    """The whole page."""
    inherited = {field.name for field in dataclasses.fields(TranslationConfig)}
    return "\n\n".join(
        [
            "# Options",
            "Printed by `python -m gradinit_mt.plugin.options_page` from the dataclasses that hold them. On the "
            "command line of fairseq-train they stand beside fairseq's own; under fairseq-hydra-train the same names, "
            "with underscores, are keys of `task`, `model` and `lr_scheduler`.",
            "## `--task gradinit_translation`",
            "All options of fairseq's `translation`, and:",
            table(GradInitTranslationConfig, beyond=inherited),
            "## `--arch post_ln_transformer` and its sizes",
            "Defaults are those of `post_ln_transformer` (the same as `_base`); `_tiny`, `_small` and `_iwslt_de_en` "
            "change the sizes alone.",
            table(PostLNTransformerConfig),
            "## `--lr-scheduler linear`",
            table(LinearScheduleConfig),
        ]
    )


if __name__ == "__main__":
    print(page())
