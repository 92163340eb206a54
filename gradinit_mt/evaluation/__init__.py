"""From a checkpoint to reported scores; translation itself is the command ``fairseq-generate``."""
