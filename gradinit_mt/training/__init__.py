"""Starting, resuming and watching training runs of the stock fairseq-train."""
