"""Runs fairseq-train, then writes a checksum of this rank's parameters to REPORT_DIR/rank<N>."""

import hashlib
import os
from pathlib import Path

from fairseq import trainer
from fairseq_cli.train import cli_main

trainers = []


class Remembered(trainer.Trainer):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        trainers.append(self)


if __name__ == "__main__":
    import fairseq_cli.train

    fairseq_cli.train.Trainer = Remembered
    cli_main()
    digest = hashlib.sha256()
    for name, value in trainers[0].get_model().state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    Path(os.environ["REPORT_DIR"], f"rank{os.environ['RANK']}").write_text(digest.hexdigest())
