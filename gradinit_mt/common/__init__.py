"""What every room uses and none owns: files, commands, errors, progress, figures."""
