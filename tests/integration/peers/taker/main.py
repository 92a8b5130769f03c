"""Consumes what the peer source gives, in every way that there is."""

import threading
from typing import Any

from symphony.bus.extension import BusError, Context, Event, Extension, Retry

SOURCE = "test.source/1"
PATIENT = Retry(attempts=20, backoff_ms=20)

ext = Extension()
heard: list[dict[str, Any]] = []


@ext.subscribes("test.words")
def hear(event: Event) -> None:
    if event.value["word"] == "bad":
        raise ValueError("not that word")
    main = threading.current_thread() is threading.main_thread()
    heard.append({**event.value, "snapshot": event.snapshot, "main": main})


@ext.provides("test.take/1")
def take(ctx: Context, how: str) -> dict[str, Any]:
    return {"answer": WAYS[how](ctx)}


def all_parts(ctx: Context) -> Any:
    told: list[float] = []
    stream = ctx.stream(
        SOURCE,
        "parts",
        {"number": 50},
        credit=4,
        type=str,
        chunk_type=int,
        on_progress=lambda progress: told.append(progress.done),
    )
    parts = list(stream)
    return {"parts": parts, "told": told, "trace": stream.result(), "own": ctx.trace}


def left(ctx: Context) -> Any:
    """Goes without a word: the end of the call ends the stream."""
    return next(ctx.stream(SOURCE, "parts", {"number": 1_000}, credit=2))


def keyed(ctx: Context) -> Any:
    return [ctx.ask(SOURCE, "count", idem="key") for _ in range(2)]


def late(ctx: Context) -> Any:
    told = []
    try:
        ctx.ask(SOURCE, "wait", ttl_ms=500, on_progress=lambda news: told.append(news.message))
    except BusError as error:
        return {"code": error.code, "told": told}


def given_up(ctx: Context) -> Any:
    """What progress leads to ends the call."""

    def stop(_: object) -> None:
        raise ValueError("enough")

    try:
        ctx.ask(SOURCE, "wait", on_progress=stop)
    except ValueError as error:
        return str(error)


def patient(ctx: Context) -> Any:
    return [ctx.ask(SOURCE, "count", type=int, retry=PATIENT) > 0 for _ in range(10)]


def stuck(ctx: Context) -> Any:
    return next(ctx.stream(SOURCE, "wait"))


def no_credit(ctx: Context) -> Any:
    errors = []
    for credit in (0, -1, 1_025):
        try:
            ctx.stream(SOURCE, "parts", {"number": 1}, credit=credit)
        except BusError as error:
            errors.append(f"{error.code} {error.where}")
    return errors


def own(ctx: Context) -> Any:
    """An event that has come while a call runs is handled after it."""
    ctx.publish("test.words", {"word": "mine"})
    for _ in range(3):
        ctx.ask(SOURCE, "count", retry=PATIENT)
    return [event["word"] for event in heard]


WAYS = {
    "all parts": all_parts,
    "left": left,
    "keyed": keyed,
    "late": late,
    "given up": given_up,
    "patient": patient,
    "stuck": stuck,
    "no credit": no_credit,
    "own": own,
    "heard": lambda ctx: heard,
}

if __name__ == "__main__":
    ext.run()
