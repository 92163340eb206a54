"""What the tables and pictures show of one reading."""

from comparison.collect import score_of


def training(reading: dict) -> float | None:
    """The training loss over the last logged updates; None for a run that diverged."""
    losses = list(reading["training"].values())
    return losses[-1] if losses and reading["end"] == "complete" else None


def validation(reading: dict) -> float | None:
    """The validation loss at the end; None for a run that diverged."""
    losses = list(reading["validation"].values())
    return losses[-1] if losses and reading["end"] == "complete" else None


def smoothed(reading: dict) -> float | None:
    """The validation loss of the last checkpoint with label smoothing, as trained."""
    return reading["smoothed"]


def gain(reading: dict) -> float | None:
    """The source gain at the end."""
    return reading["source_gain"]


def seconds(reading: dict) -> float | None:
    """The time of the run, with the initialization."""
    return reading["seconds"]


def training_seconds(reading: dict) -> float | None:
    """The time of the run, without the initialization."""
    return None if reading["seconds"] is None else reading["seconds"] - reading["initialization_seconds"]


def initialization_seconds(reading: dict) -> float | None:
    """The time of the initialization."""
    return reading["initialization_seconds"]


def bleu(reading: dict) -> float | None:
    """Detokenized sacreBLEU on the test set, if the run was scored."""
    return score_of(reading)


def tokenized_bleu(reading: dict) -> float | None:
    """Tokenized lowercase BLEU on the test set, if the run was scored."""
    return score_of(reading, "tokenized_lowercase_bleu")


def chrf(reading: dict) -> float | None:
    """Detokenized chrF2 on the test set, if the run was scored."""
    return score_of(reading, "detokenized_chrf")
