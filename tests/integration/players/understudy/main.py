"""Stands in for `trouble`."""

from typing import Any

from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("test.act/1")
def act(ctx: Context, plan: list[Any]) -> dict[str, Any]:
    return {"answer": "understudy", "score": 0.9}


if __name__ == "__main__":
    ext.run()
