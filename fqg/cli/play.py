"""`symphony-fqg play`: placeholder"""

import typer


def add_command(app: typer.Typer) -> None:
    """Adds it."""
