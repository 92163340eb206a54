"""Arguments of the short runs."""

MODEL = [
    *("--arch", "post_ln_transformer_tiny", "--encoder-layers", "2", "--encoder-embed-dim", "32"),
    *("--encoder-ffn-embed-dim", "64", "--encoder-attention-heads", "2", "--share-decoder-input-output-embed"),
]
TRAINING = [
    *("--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1", "--max-tokens", "400"),
    *("--lr-scheduler", "linear", "--num-workers", "0", "--cpu", "--log-format", "json", "--log-interval", "1"),
    *("--no-epoch-checkpoints", "--seed", "7"),
]
ADAM = ["--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--lr", "1e-3"]
GRADINIT = ["--task", "gradinit_translation", "--gradinit-iterations", "6", "--gradinit-tau", "0.02"]
