"""The fake for authors of extensions: what works on it works on the bus, and what fails fails."""

import doctest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from symphony.bus import testing, wire
from symphony.bus.context import Context
from symphony.bus.errors import BusError
from symphony.bus.extension import Extension
from symphony.bus.heard import Event
from symphony.bus.messages import Progress
from symphony.bus.testing import FakeConductor

ext = Extension()


@ext.provides("text.count/1")
def count(ctx: Context, text: str, unit: str = "words") -> dict[str, Any]:
    ctx.progress(1, 2, unit)
    words = text.split()
    ctx.progress(2, 2)
    return {"count": len(words) if unit == "words" else len(text), "who": ctx.config.get("who")}


@ext.provides("text.count/1", "report")
def report(ctx: Context, source: Path) -> Path:
    place = ctx.outbox / "report.txt"
    place.write_text(source.read_text(encoding="utf-8").upper(), encoding="utf-8")
    return place


@ext.provides("text.ask/1")
def ask(ctx: Context, key: str) -> list[object]:
    return [ctx.call("test.store/1", "get", key=key), ctx.run, ctx.attempt, ctx.params]


@ext.provides("text.spend/1")
def spend(ctx: Context, amounts: list[int]) -> None:
    ctx.progress(1, message="asked")
    for amount in amounts:
        ctx.spend(tokens=amount, images=1)


@ext.provides("text.fail/1")
def fail(ctx: Context, how: str) -> object:
    match how:
        case "raise":
            raise ValueError("no good")
        case "typed":
            raise BusError("not-found", "no such text", where="how")
        case "outside":
            return Path("/etc/hostname")
        case "unsendable":
            return object()
    return None


def test_the_example_of_the_documentation_works() -> None:
    results = doctest.testmod(testing, raise_on_error=True)
    assert results.attempted >= 4


def test_a_function_is_called_with_arguments_configuration_and_progress() -> None:
    with FakeConductor(ext, config={"who": "me"}) as bus:
        assert bus.call("text.count/1", text="a b c") == {"count": 3, "who": "me"}
        assert bus.progress == [Progress(1, 2, "words"), Progress(2, 2)]
        assert bus.call("text.count/1", text="abc", unit="letters")["count"] == 3
        assert bus.progress[0].message == "letters"


def test_what_a_call_spends_adds_up_beside_its_progress() -> None:
    with FakeConductor(ext) as bus:
        bus.call("text.spend/1", amounts=[70, 50])
        assert bus.progress == [
            Progress(1, message="asked"),
            Progress(1, message="asked", spent={"tokens": 70, "images": 1}),
            Progress(1, message="asked", spent={"tokens": 120, "images": 2}),
        ]
        with pytest.raises(BusError, match="a whole number from 0"):
            bus.call("text.spend/1", amounts=[-1])


def test_files_go_in_and_out_by_reference_in_the_folder_of_the_call() -> None:
    with FakeConductor(ext) as bus:
        folder = bus.inbox / "step-1"
        folder.mkdir()
        (folder / "a.txt").write_text("é", encoding="utf-8")
        answer = bus.call(
            "text.count/1", "report", source={"$file": "a.txt"}, context={"folder": "step-1"}
        )
        assert answer == {"$file": "report.txt"}
        assert (bus.outbox / "step-1" / "report.txt").read_text(encoding="utf-8") == "É"
        inbox = bus.inbox
    assert not inbox.exists()


def test_what_the_extension_calls_is_answered_by_the_functions_given() -> None:
    def store(method: str, key: str) -> object:
        if key == "none":
            raise BusError("not-found", "no such key", where=key)
        return [method, key]

    with FakeConductor(ext, {"test.store/1": store}, params={"a": 1, "b": 1}) as bus:
        context = {"run": "r", "attempt": 2, "params": {"b": 2}}
        answer = bus.call("text.ask/1", key="k", context=context)
        assert answer == [["get", "k"], "r", 2, {"a": 1, "b": 2}]
        with pytest.raises(BusError) as caught:
            bus.call("text.ask/1", key="none")
        assert (caught.value.code, caught.value.where) == ("not-found", "none")


def test_that_another_s_call_may_be_repeated_says_nothing_of_the_one_that_made_it() -> None:
    def store(method: str, key: str) -> object:
        raise BusError("crashed", f"{method} {key} ended", repeatable=True)

    with FakeConductor(ext, {"test.store/1": store}) as bus, pytest.raises(BusError) as caught:
        bus.call("text.ask/1", key="k")
    assert (caught.value.code, caught.value.repeatable) == ("crashed", False)


def test_an_undeclared_call_of_the_extension_is_refused_as_by_the_kernel() -> None:
    with FakeConductor(ext) as bus, pytest.raises(BusError) as caught:
        bus.call("text.ask/1", key="k")
    assert (caught.value.code, caught.value.where) == ("refused", "permissions.calls")


@pytest.mark.parametrize(
    ("capability", "args", "code", "where"),
    [
        ("text.count/1", {}, "bad-request", "text"),
        ("text.count/1", {"text": 1}, "bad-request", "text"),
        ("text.count/1", {"text": "a", "more": 1}, "bad-request", "more"),
        ("text.count/1", {"text": {"$file": "../a"}}, "bad-request", "text"),
        ("text.count/1", {"text": object()}, "bad-request", None),
        ("text.fail/1", {"how": "typed"}, "not-found", "how"),
        ("text.fail/1", {"how": "outside"}, "wrong-output", "result"),
        ("text.fail/1", {"how": "unsendable"}, "wrong-output", None),
        ("text.none/1", {}, "unavailable", None),
    ],
)
def test_errors_are_those_of_the_bus(
    capability: str, args: dict[str, Any], code: str, where: str | None
) -> None:
    with FakeConductor(ext) as bus:
        with pytest.raises(BusError) as caught:
            bus.call(capability, **args)
        assert (caught.value.code, caught.value.where) == (code, where)
        assert bus.call("text.count/1", text="still here")["count"] == 2


def test_an_exception_of_the_function_is_failed_and_names_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeConductor(ext) as bus, pytest.raises(BusError) as caught:
        bus.call("text.fail/1", how="raise")
    error = caught.value
    assert (error.code, error.cls, error.message) == ("failed", "ValueError", "no good")
    assert error.where is not None
    assert error.where.startswith("test_fake.py:")
    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_method_is_a_bad_request() -> None:
    with FakeConductor(ext) as bus, pytest.raises(BusError, match="no method other"):
        bus.call("text.count/1", "other")


class Listening:
    """An extension that takes another one's stream, publishes, and listens to `t.opic`."""

    def __init__(self) -> None:
        self.ext = Extension()
        self.heard: list[Event] = []
        self.told: list[float] = []
        self.ext.subscribes("t.opic")(self.heard.append)
        self.ext.provides("test.take/1")(self.take)
        self.ext.provides("test.take/1", "first")(self.first)
        self.ext.provides("test.take/1", "parts")(self.parts)
        self.ext.provides("test.take/1", "publish")(self.publish)

    def take(self, ctx: Context, credit: int) -> list[object]:
        stream = ctx.stream(
            "test.parts/1",
            None,
            {"number": 5},
            credit=credit,
            on_progress=lambda progress: self.told.append(progress.done),
        )
        return [*stream, stream.result()]

    def first(self, ctx: Context) -> int:
        return int(next(ctx.stream("test.parts/1", None, {"number": 5}, credit=1)))

    def parts(self, ctx: Context) -> Iterator[object]:
        ctx.publish("t.opic", "meanwhile")
        yield from ctx.stream("test.parts/1", None, {"number": 5}, type=str)

    def publish(self, ctx: Context, number: int) -> int:
        for n in range(number):
            ctx.publish("t.opic", n)
        return len(self.heard)


class Parts:
    """Stands in for `test.parts/1`."""

    def __init__(self) -> None:
        self.ended = 0

    def __call__(self, method: str, number: int) -> Iterator[object]:
        try:
            yield Progress(0, number)
            yield from range(number)
        finally:
            self.ended += 1
        return "all"


@pytest.mark.parametrize("credit", [1, 2, 16])
def test_the_extension_takes_a_stream_of_a_function_given(credit: int) -> None:
    listening, parts = Listening(), Parts()
    with FakeConductor(listening.ext, {"test.parts/1": parts}) as bus:
        assert bus.call("test.take/1", credit=credit) == [0, 1, 2, 3, 4, "all"]
        assert listening.told == [0]
        assert bus.call("test.take/1", "first") == 0
        assert parts.ended == 2
        with pytest.raises(BusError, match="credit is 1 to 1,024"):
            bus.call("test.take/1", credit=0)


def test_the_extension_asks_with_a_key_a_type_and_a_time() -> None:
    ext, made = Extension(), [0]

    @ext.provides("test.ask/1")
    def ask(ctx: Context) -> list[int]:
        return [ctx.ask("test.count/1", type=int, idem="k", ttl_ms=1_000) for _ in range(2)]

    @ext.provides("test.ask/1", "wrong")
    def wrong(ctx: Context) -> str:
        return str(ctx.ask("test.count/1", type=str))

    def count(method: str) -> int:
        made[0] += 1
        return made[0]

    with FakeConductor(ext, {"test.count/1": count}) as bus:
        assert bus.call("test.ask/1") == [1, 1]
        with pytest.raises(BusError, match="wrong-output"):
            bus.call("test.ask/1", "wrong")


def test_events_are_handled_between_the_calls_of_the_extension() -> None:
    listening = Listening()
    with FakeConductor(listening.ext, {"test.parts/1": Parts()}) as bus:
        bus.publish("t.opic", "first")
        assert [event.value for event in listening.heard] == ["first"]
        assert bus.call("test.take/1", "publish", number=2) == 1
        assert [event.value for event in listening.heard] == ["first", 0, 1]
        stream = bus.stream("test.take/1", "parts", credit=1)
        assert next(stream) == 0
        assert len(listening.heard) == 3
        assert list(stream) == [1, 2, 3, 4]
        assert listening.heard[-1].value == "meanwhile"


def test_events_that_find_no_room_are_a_gap() -> None:
    listening, most = Listening(), wire.MAX_QUEUED_EVENTS
    with FakeConductor(listening.ext) as bus:
        bus.call("test.take/1", "publish", number=most + 44)
        assert [event.value for event in listening.heard] == list(range(most))
        bus.publish("t.opic", "next")
        assert (listening.heard[-1].value, listening.heard[-1].gap) == ("next", 44)


def test_what_the_extension_publishes_is_heard() -> None:
    heard: list[Event] = []
    listening = Listening()
    with FakeConductor(listening.ext) as bus:
        bus.subscribe("t.opic", heard.append)
        bus.call("test.take/1", "publish", number=1)
        assert [event.value for event in heard] == [0]


def test_a_topic_that_cannot_be_had_ends_the_activation() -> None:
    ext = Extension()
    ext.subscribes("no topic!")(print)
    with pytest.raises(BusError) as caught, FakeConductor(ext):
        pass
    assert caught.value.code == "bad-request"
