"""A default chain from a TOML file."""

from pathlib import Path

import pytest

from presets import chainfile
from presets.errors import PresetError


def test_tables_become_plain_dicts(tmp_path: Path) -> None:
    """Order, types and nesting of the tables are kept."""
    path = tmp_path / "chain.toml"
    path.write_text(
        '[[chain]]\nplugin = "compressor"\nratio = 3\n[[chain]]\nplugin = "x.vst3"\nparameters = { a = 1.5 }\n'
    )
    assert chainfile.read(path) == [
        {"plugin": "compressor", "ratio": 3},
        {"plugin": "x.vst3", "parameters": {"a": 1.5}},
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "holds no chain"),
        (b"chain = 3", "holds no chain"),
        (b"chain = [1]", "entry 1 is 1"),
        (b"[[chain]]\nratio = 3", "entry 1 has plugin None"),
        (b'[[chain]]\nplugin = "a"\n[[chain]]\nplugin = 3', "entry 2 has plugin 3"),
        (b'[[chian]]\nplugin = "a"', "'chian'"),
        (b"[[chain]\n", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b'[[chain]]\nplugin = "a"\nratio = nan', "cannot keep"),
        (b'[[chain]]\nplugin = "a"\nday = 2031-01-01', "cannot keep"),
        (b"#" * 1_000_001, "larger than"),
    ],
)
def test_mistakes_say_where_they_are(tmp_path: Path, text: bytes, reason: str) -> None:
    """Each error names the file and the entry."""
    path = tmp_path / "chain.toml"
    path.write_bytes(text)
    with pytest.raises(PresetError, match=reason) as caught:
        chainfile.read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """A folder or nothing where the file should be is an error of this house."""
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(PresetError, match="cannot be read"):
            chainfile.read(path)
