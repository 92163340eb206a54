"""Checkpoints: written whole, resumed exactly, and read without running anything."""
