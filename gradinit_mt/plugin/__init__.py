"""Between fairseq and the core: options, batches, precision, the facts that identify a run, and repairs of fairseq."""
