"""Every alternative to learning-rate warmup under one protocol: a workflow, and its report."""
