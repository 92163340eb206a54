"""Starting, continuing and watching a training run of the stock fairseq-train."""
