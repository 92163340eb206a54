"""Prints every option of the plugin with its default and help text, as Markdown.

.venv/bin/python docs/options_page.py > docs/options.md
"""

import dataclasses
import enum
from collections.abc import Iterable

from fairseq.dataclass import FairseqDataclass

from gradinit_mt.common.tables import markdown
from gradinit_mt.lr_schedulers.linear import LinearScheduleConfig
from gradinit_mt.models.post_ln_transformer import PostLNTransformerConfig
from gradinit_mt.optim.novograd import NovoGradConfig
from gradinit_mt.optim.torch_optimizers import TorchAdamConfig, TorchSGDConfig
from gradinit_mt.plugin.options import GradInitTranslationConfig, TranslationConfig


def table(config: type[FairseqDataclass], omitted: Iterable[str] = ()) -> str:
    """One row per option of ``config`` with a help text, except those in ``omitted``."""
    rows = []
    for field in dataclasses.fields(config):
        text = field.metadata.get("help")
        if text is None or field.name in omitted:
            continue
        default = field.default.value if isinstance(field.default, enum.Enum) else field.default
        shown = "" if default is None or default is False else f"`{default}`"
        rows.append([f"`--{field.name.replace('_', '-')}`", shown, text])
    return markdown(["option", "default", ""], rows).rstrip("\n")


def page() -> str:
    """The whole page."""
    inherited = {field.name for field in dataclasses.fields(TranslationConfig)}
    return "\n\n".join(
        [
            "# Options",
            "Printed by `.venv/bin/python docs/options_page.py > docs/options.md` from the dataclasses that define the "
            "options. On the command line, fairseq-train takes them along with its own. In a configuration of "
            "fairseq-hydra-train the same names, with underscores, are keys of `task`, `model`, `criterion`, "
            "`optimizer` and `lr_scheduler`.",
            "## `--task gradinit_translation`",
            "All options of fairseq's `translation` task, and:",
            table(GradInitTranslationConfig, omitted=inherited),
            "## `--arch post_ln_transformer` and its sizes",
            "The defaults are those of `post_ln_transformer`, which equals `post_ln_transformer_base`. The "
            "architectures with `_tiny`, `_small` and `_iwslt_de_en` differ in their sizes only.",
            table(PostLNTransformerConfig),
            "## `--criterion projected_label_smoothed_cross_entropy`",
            "The options of fairseq's `label_smoothed_cross_entropy`.",
            "## `--optimizer torch_adam`, `torch_adamw`, `torch_radam` and `gi_adam`",
            table(TorchAdamConfig),
            "## `--optimizer novograd`",
            table(NovoGradConfig),
            "## `--optimizer torch_sgd`",
            table(TorchSGDConfig),
            "## `--lr-scheduler linear`",
            table(LinearScheduleConfig),
        ]
    )


if __name__ == "__main__":
    print(page())
