"""What GradInit learned in one run: kept on disk, placed in the network, printed and drawn."""
