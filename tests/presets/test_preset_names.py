"""What a preset may be called."""

import doctest
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets import names, resolve
from presets.errors import PresetError


@pytest.mark.parametrize("name", ["tape", "Tape 2", "rain_v1.5", "choir-å", "雨", "x" * 80, "7"])
def test_ordinary_names_pass_unchanged(name: str) -> None:
    """A name of letters, digits, space, dash, underscore and dot is a preset's name."""
    assert names.validated(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("a/b", "'/'"),
        ("a\\b", r"'\\\\'"),
        ("..", "starts with"),
        (".hidden", "starts with"),
        ("-rf", "starts with"),
        (" tape", "starts with"),
        ("tape.", "ends with"),
        ("tape ", "ends with"),
        ("x" * 81, "81 characters"),
        ("雨" * 70, "210 bytes"),
        ("tape:0.7", "':'"),
        ("a,b", "','"),
        ("a\x00b", "x00"),
        ("a\x1b[31m", "x1b"),
        ("\udcff", "udcff"),
        ("CON", "Windows"),
        ("nul.loud", "Windows"),
        ("com1", "Windows"),
        ("tape.gram.safetensors", "ends like"),
    ],
)
def test_impossible_names_say_why(name: str, reason: str) -> None:
    """A name some file system, shell or blend could not hold is refused with what is wrong about it."""
    with pytest.raises(PresetError, match=reason):
        names.validated(name)


def test_decomposed_names_are_composed() -> None:
    """The two ways Unicode writes é name one preset."""
    assert names.validated("cafe\u0301") == "caf\u00e9"


@given(st.text(max_size=120))
def test_a_path_always_gives_a_possible_name(stem: str) -> None:
    """Whatever a preset file is called, the name it gives is one a preset may have."""
    name = names.from_path(Path(f"{stem.replace('/', '')}.gram.safetensors"))
    assert names.validated(name) == name


def test_a_fitting_file_name_is_the_presets_name() -> None:
    """A file that was named by the library gives back the very name."""
    assert names.from_path(Path("somewhere/Tape 2.gram.safetensors")) == "Tape 2"
    assert names.from_path(Path("rain.SAFETENSORS")) == "rain"


def test_the_nearest_name_ignores_case() -> None:
    """A slip of the finger or of the shift key finds the name that was meant; nonsense finds none."""
    assert names.nearest("TPAE", ["choir", "tape"]) == "tape"
    assert names.nearest("zzz", ["choir", "tape"]) is None


@pytest.mark.parametrize("module", [names, resolve])
def test_the_examples_in_the_docstrings_are_true(module: ModuleType) -> None:
    """Every example is run and gives what it says."""
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0
