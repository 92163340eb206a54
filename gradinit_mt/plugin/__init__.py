"""Between fairseq and the core: options, batches, precision, what a record says of a run, and what fairseq lacks."""
