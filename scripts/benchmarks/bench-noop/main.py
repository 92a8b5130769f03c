"""A player that does nothing: what is left of a step is what the kernel does for it."""

from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("bench.noop/1")
def noop(ctx: Context) -> None:
    """Nothing in, nothing out."""


if __name__ == "__main__":
    ext.run()
