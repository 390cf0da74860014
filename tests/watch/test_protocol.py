"""Records come through a line as they were, and what is no record is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watch import protocol
from watch.protocol import (
    Answer,
    Failed,
    Incomplete,
    ProtocolError,
    Published,
    Ready,
    Recall,
    Rendered,
    Returned,
    Started,
    Stem,
    Waiting,
)

# Any name that a file system gives, bytes that are no UTF-8 included.
NAMES = st.binary(min_size=1, max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
STEMS = st.builds(
    Stem,
    id=st.integers(0, 2**62),
    path=NAMES,
    size=st.integers(0, 2**62),
    mtime_ns=st.integers(-(2**62), 2**62),
    inode=st.integers(0, 2**64 - 1),
    out=NAMES,
    place=NAMES,
    base=NAMES,
    choices=st.dictionaries(st.sampled_from(["preset", "quality"]), NAMES),
    chain=st.none() | st.lists(st.dictionaries(NAMES, st.integers() | NAMES, max_size=2), max_size=2).map(tuple),
    mine=st.none() | NAMES,
)
ANSWERS: list[Answer] = [
    Ready("cpu"),
    Started(1, 2.5, 0.125),
    Rendered(1, "out/\udcff.wav"),
    Published(2, "out/\udcff.wav", "ab" * 32, 48_000, already=True, outputs=("a", "b")),
    Incomplete(3, "is cut off\nreally", changed=True),
    Failed(4, "no", retry=True),
    Waiting(5, "disk full", "output"),
    Returned(6),
]


@given(STEMS)
def test_a_request_comes_through_as_it_was(stem: Stem) -> None:
    """Every stem, however its file is called, is the same after the line; the line is ASCII and one line."""
    line = protocol.line(stem)
    assert protocol.request(line) == stem
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


def test_a_recall_comes_through() -> None:
    """The request that has nothing in it is a request all the same."""
    assert protocol.request(protocol.line(Recall())) == Recall()


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_an_answer_comes_through_as_it_was(answer: Answer) -> None:
    """Every kind of answer is the same after the line, tuples and odd names included."""
    assert protocol.answer(protocol.line(answer)) == answer


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello from a plugin\n",
        b"[]\n",
        b'["Stem"]\n',
        b'["Ready", {}]\n',
        b'["Ready", {"device": "cpu", "more": 1}]\n',
        b'["Exec", {"command": "rm"}]\n',
        b'["Ready", 3]\n',
        b"\xff\xfe\n",
        b"[" * 10_000,
    ],
)
def test_what_is_no_record_is_refused(line: bytes) -> None:
    """Text, half a record, unknown kinds and fields too many are a `ProtocolError` that says what was expected."""
    with pytest.raises(ProtocolError, match="expected a record of"):
        protocol.answer(line)


def test_a_request_is_no_answer() -> None:
    """Each side takes only what is meant for it."""
    with pytest.raises(ProtocolError):
        protocol.answer(protocol.line(Recall()))
    with pytest.raises(ProtocolError):
        protocol.request(protocol.line(Ready("cpu")))


def test_lines_hold_nothing_that_is_not_json() -> None:
    """A line is JSON for other programs as well: its kind and its fields."""
    assert json.loads(protocol.line(Returned(7))) == ["Returned", {"id": 7}]
