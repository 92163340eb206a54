"""Tools for every subpackage: files, commands, errors, progress, locks, tables, figures."""
