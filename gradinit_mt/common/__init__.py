"""Tools for all rooms: files, commands, errors, progress, figures."""
