"""A plugin's parameters by the texts it shows for them: what is understood of them, and what setting one comes to."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from render import dials


@dataclass
class Fake:
    """A parameter that shows ``text(raw)``; ``parse`` is how it reads a text, badly unless said otherwise."""

    text: Callable[[float], str]
    name: str = "Level"
    label: str = ""
    num_steps: int = 2**31 - 1
    raw_value: float = 0.0
    is_automatable: bool = True
    parse: Callable[[str], float] = lambda text: 0.0
    asked: int = 0

    @property
    def string_value(self) -> str:
        """The text now."""
        return self.text(self.raw_value)

    def get_text_for_raw_value(self, raw_value: float) -> str:
        """The text elsewhere."""
        self.asked += 1
        return self.text(raw_value)

    def get_raw_value_for_text(self, text: str) -> float:
        """What the plugin reads in it."""
        return self.parse(text)


def _dial(fake: Fake) -> dials.Dial:
    found = dials.describe("level", fake)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "low", "high", "unit", "words"),
    [
        (lambda raw: f"{raw * 60 - 60:.1f} dB", -60, 0, "dB", ()),
        (lambda raw: f"{1 - raw:.3f}", 0, 1, "", ()),
        (lambda raw: "-inf dB" if raw == 0 else f"{raw * 66 - 60:.2f} dB", -57.94, 6, "dB", ("-inf dB",)),
        (lambda raw: "Off" if raw < 0.02 else f"{20 * 1000**raw:.0f} Hz", 25, 20_000, "Hz", ("Off",)),
        (lambda raw: f"{f:.0f} Hz" if (f := 20 * 1000**raw) < 1000 else f"{f / 1000:.2f} kHz", 20, 20_000, "Hz", ()),
        (lambda raw: f"{s * 1000:.0f} ms" if (s := 10 * raw) < 1 else f"{s:.1f} s", 0, 10_000, "ms", ()),
        (lambda raw: f"{raw * 2:.2f}".replace(".", ","), 0, 2, "", ()),
        (lambda raw: f"−{raw * 4:.1f} st", -4, 0, "st", ()),
    ],
)
def test_numbers_are_read_with_their_units(
    text: Callable[[float], str], low: float, high: float, unit: str, words: tuple[str, ...]
) -> None:
    """Units of one family become one, words at the ends stay words, and commas and minus signs of all kinds count."""
    dial = _dial(Fake(text))
    assert (dial.kind, dial.unit, dial.words) == ("number", unit, words)
    assert dial.low == pytest.approx(low, abs=0.01)
    assert dial.high == pytest.approx(high, abs=0.01)


def test_a_frequency_is_set_to_the_nearest_of_what_the_plugin_shows() -> None:
    """A logarithmic range that the plugin cannot parse: 1 kHz is found by bisection, within 0.1 %."""
    fake = Fake(lambda raw: f"{f:.0f} Hz" if (f := 20 * 1000**raw) < 1000 else f"{f / 1000:.2f} kHz")
    dials.turn(_dial(fake), fake, 1_000.0)
    assert 20 * 1000**fake.raw_value == pytest.approx(1000, rel=0.006)
    dials.turn(_dial(fake), fake, 440.0)
    assert 20 * 1000**fake.raw_value == pytest.approx(440, rel=0.0015)


@given(st.floats(-60, 24), st.booleans())
def test_what_a_plugin_reads_itself_is_exact(value: float, falls: bool) -> None:
    """A text of one decimal does not round what is set, when the plugin reads the value in full."""

    def gain(raw: float) -> float:
        return 24 - 84 * raw if falls else 84 * raw - 60

    fake = Fake(
        lambda raw: f"{gain(raw):.1f} dB",
        parse=lambda text: (24 - float(text)) / 84 if falls else (float(text) + 60) / 84,
    )
    dials.turn(_dial(fake), fake, value)
    assert gain(fake.raw_value) == pytest.approx(value, abs=1e-6)


@given(st.floats(-60, 24), st.booleans())
def test_what_it_cannot_read_is_good_to_the_last_digit_it_shows(value: float, falls: bool) -> None:
    """Rising or falling, without the plugin's help, the value is within one step of its text: 0.1 dB."""

    def gain(raw: float) -> float:
        return 24 - 84 * raw if falls else 84 * raw - 60

    fake = Fake(lambda raw: f"{gain(raw):.1f} dB", parse=lambda text: 7.0)
    dials.turn(_dial(fake), fake, value)
    assert gain(fake.raw_value) == pytest.approx(value, abs=0.1)


def test_steps_switches_and_choices_are_told_apart() -> None:
    """Two texts that mean off and on are a flag, other words a choice, few numbers are steps."""
    switch = Fake(lambda raw: "On" if raw >= 0.5 else "Off", num_steps=2)
    assert _dial(switch).kind == "flag"
    dials.turn(_dial(switch), switch, True)
    assert switch.raw_value == 1
    shapes = ("Sine", "Saw", "1/4 Square")
    choice = Fake(lambda raw: shapes[min(2, int(raw * 3))])
    assert (_dial(choice).kind, _dial(choice).words) == ("choice", shapes)
    dials.turn(_dial(choice), choice, "Saw")
    assert 1 / 3 < choice.raw_value < 2 / 3
    rooms = Fake(lambda raw: f"{round(raw * 6)}", num_steps=7)
    assert _dial(rooms).steps == (0, 1, 2, 3, 4, 5, 6)
    assert _dial(rooms).takes(3)
    assert not _dial(rooms).takes(2.5)
    dials.turn(_dial(rooms), rooms, 5)
    assert rooms.raw_value == pytest.approx(5 / 6)


def test_texts_that_say_nothing_leave_the_bare_value() -> None:
    """Hundreds of words, or a text that only follows a value that is set: a number from 0 to 1."""
    words = Fake(lambda raw: f"x{raw}y")
    assert _dial(words).kind == "raw"

    @dataclass
    class Slow(Fake):
        def get_text_for_raw_value(self, raw_value: float) -> str:
            return "?"

    slow = Slow(lambda raw: f"{raw:.2f}", raw_value=0.25)
    assert _dial(slow).kind == "raw"
    assert slow.raw_value == 0.25
    dials.turn(_dial(slow), slow, 0.75)
    assert slow.raw_value == 0.75


def test_a_parameter_with_one_value_is_none_and_costs_little() -> None:
    """A single program is nothing to choose; it is set three times at most, where pedalboard sets it a thousand."""
    sets: list[float] = []

    class Program(Fake):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "raw_value" and isinstance(value, float):
                sets.append(value)
            super().__setattr__(name, value)

    program = Program(lambda raw: "Default")
    sets.clear()
    assert dials.describe("program", program) is None
    assert len(sets) <= 4


def test_numbers_that_differ_are_asked_for_few_times() -> None:
    """A plain number takes 33 texts and not a thousand, so that hundreds of parameters are read at once."""
    fake = Fake(lambda raw: f"{raw:.3f}")
    dials.describe("level", fake)
    assert fake.asked <= 40


def test_a_value_that_does_not_stay_is_an_error() -> None:
    """A plugin that goes back to where it was is told, with what was asked of it."""

    class Stubborn(Fake):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, 0.0 if name == "raw_value" else value)

    stubborn = Stubborn(lambda raw: f"{raw * 10:.1f}", parse=lambda text: float(text) / 10)
    with pytest.raises(ValueError, match="level does not stay at 5"):
        dials.turn(_dial(stubborn), stubborn, 5.0)


def test_names_are_unique_and_leave_out_what_is_not_the_plugin_s() -> None:
    """Snake case with the unit, equal names numbered; MIDI controllers and a host's own numbers are left out."""
    given_names = [("Gain", "dB"), ("Gain", "dB"), ("MIDI Ch. 1 CC 7", ""), ("MIDI CC 0|1", ""), ("P001", "")]
    given_names += [("Latency", "frames"), ("Latency", "ms"), ("Boost/Cut #1", " "), ("!", "")]
    found = dials.names([Fake(str, name, label) for name, label in given_names])
    assert [name for name, _ in found] == ["gain_db", "gain_db_2", "latency_ms", "boost_cut_sharp1"]


@given(st.lists(st.text(max_size=12), min_size=1, max_size=40), st.integers(0, 2**31 - 1))
def test_no_text_a_plugin_shows_makes_it_fail(texts: list[str], steps: int) -> None:
    """Whatever a plugin shows, its parameter is described or left out, and what it is at can be set again."""
    fake = Fake(lambda raw: texts[min(len(texts) - 1, int(raw * len(texts)))], num_steps=steps)
    dial = dials.describe("level", fake)
    if dial is not None and dial.kind in ("raw", "choice", "flag"):
        dials.turn(dial, fake, dial.value)
    if dial is not None:
        assert dial.allowed
        assert dials.of_json(dials.as_json(dial)) == dial
        assert math.isfinite(dial.low)
        assert math.isfinite(dial.high)
