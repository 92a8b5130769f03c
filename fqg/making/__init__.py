"""Makers of levels: infinite, seeded, with dials; every level that leaves them can be won."""
