"""The far end of a chain: an extension that answers with what it was given."""

from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("bench.echo/1")
def echo(_: Context, data: bytes) -> bytes:
    return data


ext.run()
