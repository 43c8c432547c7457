"""Backups: a whole gallery in one file, and a gallery made of one again."""
