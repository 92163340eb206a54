"""Training settings per corpus, as options of fairseq-train; options after ``--`` override them."""

from dataclasses import dataclass

# option of a preset: the choice it belongs to. With another choice, fairseq-train refuses most of these options.
BELONGS_TO = {
    "adam-betas": "optimizer",
    "label-smoothing": "criterion",
    "total-num-update": "lr-scheduler",
    "encoder-layers": "arch",
    "gradinit-max-tokens": "task",
    "watch-updates": "task",
    "watch-language-model-updates": "task",
    "capture-steps": "task",
}

# fairseq's own counterparts of the choices below, which take the same settings.
COUNTERPARTS = {
    "projected_label_smoothed_cross_entropy": "label_smoothed_cross_entropy",
    "torch_adamw": "adam",
}

COMMON = {
    "task": "gradinit_translation",
    "share-decoder-input-output-embed": True,
    "criterion": "projected_label_smoothed_cross_entropy",
    "label-smoothing": 0.1,
    "optimizer": "torch_adamw",
    "adam-betas": "(0.9, 0.98)",
    "lr-scheduler": "linear",
    "save-interval-updates": 1000,
    "keep-interval-updates": 1,
    "keep-last-epochs": 10,
    "max-tokens-valid": 8000,
    "num-workers": 0,
    # Above 1, fairseq drops a last batch of another size, in validation as well.
    "required-batch-size-multiple": 1,
}

# Chosen on the runs in docs/results/watch. Of those with width 128 that train, the slowest stood at word frequencies
# for 200 updates, and one was a language model for 550. With width 256 one stood for 600, so larger models get more
# time.
WATCH = {"watch-updates": 400, "watch-language-model-updates": 2000}
PATIENT_WATCH = {"watch-updates": 2000, "watch-language-model-updates": 5000}


@dataclass(frozen=True)
class Preset:
    """How one corpus is trained.

    Tokens are counted over all processes, and as fairseq counts them: sentences times the longest side of any sentence.
    """

    about: str
    tokens_per_update: int
    gradinit_tokens: int  # per iteration of GradInit
    options: dict  # beyond COMMON


PRESETS = {
    "sample": Preset(
        about="the bundled sample: minutes on two CPU cores",
        tokens_per_update=1024,
        gradinit_tokens=2048,
        options={
            "arch": "post_ln_transformer_tiny",
            "lr": 2e-3,
            "dropout": 0.1,
            "max-update": 950,
            "log-interval": 50,
            **WATCH,
        },
    ),
    "multi30k": Preset(
        about="Multi30k: 6+6 layers of width 128, 20 epochs, 25 to 40 minutes on one CPU core with native bfloat16",
        tokens_per_update=2048,
        gradinit_tokens=2048,
        options={
            "arch": "post_ln_transformer_tiny",
            "encoder-layers": 6,
            "lr": 1e-3,
            "dropout": 0.1,
            "max-update": 4920,
            "total-num-update": 10_000,
            "log-interval": 50,
            **WATCH,
        },
    ),
    "iwslt14.de-en": Preset(
        about="IWSLT'14 De-En as the GradInit paper trains it: 100,000 updates on a GPU",
        tokens_per_update=4096,
        gradinit_tokens=6000,
        options={
            "arch": "post_ln_transformer_iwslt_de_en",
            "lr": 5e-4,
            "dropout": 0.3,
            "attention-dropout": 0.1,
            "activation-dropout": 0.1,
            "weight-decay": 1e-4,
            "max-update": 100_000,
            "save-interval-updates": 2000,
            "log-interval": 100,
            **PATIENT_WATCH,
        },
    ),
    "other": Preset(
        about="any other corpus: a mid-sized model, to be tuned",
        tokens_per_update=4096,
        gradinit_tokens=4096,
        options={
            "arch": "post_ln_transformer_small",
            "lr": 5e-4,
            "dropout": 0.2,
            "max-update": 20_000,
            "log-interval": 100,
            **PATIENT_WATCH,
        },
    ),
}


def preset_for(corpus_name: str) -> str:
    """The preset of the corpus's name if there is one, else ``other``."""
    return corpus_name if corpus_name in PRESETS else "other"
