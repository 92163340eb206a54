"""Every remedy for learning-rate warmup under one protocol: a workflow, and its report."""
