"""Turns a file into a louder one and a folder of its lines."""

from pathlib import Path

from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("test.shout/1")
def shout(ctx: Context, source: Path) -> dict[str, Path]:
    text = source.read_text()
    shouted = ctx.outbox / "shouted.txt"
    shouted.write_text(text.upper())
    pages = ctx.outbox / "pages"
    (pages / "deep").mkdir(parents=True)
    for number, line in enumerate(text.splitlines()):
        (pages / "deep" / f"{number}.txt").write_text(line)
    return {"shouted": shouted, "folder": pages}


if __name__ == "__main__":
    ext.run()
