"""Where both commands begin: signals first, then the imports that take a while."""

from __future__ import annotations

from . import signals


def kernel() -> None:
    """`symphony-kernel`."""
    signals.install()
    from .kernel import main

    main()


def ext() -> None:
    """`symphony-ext`."""
    signals.install()
    from .ext import main

    main()
