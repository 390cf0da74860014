"""The preset file: what goes in comes out, and what is not a preset says so."""

import contextlib
import json
import os
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from engine.style import Target
from presets import preset as presets
from presets import tensorfile
from presets.cards import Card
from presets.errors import PresetError
from presets.library import Library
from presets.preset import Preset

MakePreset = Callable[..., Preset]


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a preset file with two tensors."""
    path = tmp_path_factory.mktemp("pristine") / "tape.gram.safetensors"
    tensors = {"magnitude.512": torch.rand(3, 4, generator=torch.Generator().manual_seed(0)), "weights": torch.ones(5)}
    target = Target("identity", {"width": 11}, 44_100, tensors)
    presets.save(presets.new("tape", target, amount=0.5, chain=[{"plugin": "reverb"}]), path)
    return path.read_bytes()


@pytest.fixture
def saved(tmp_path: Path, blob: bytes) -> Path:
    """A preset file of ``blob``, to be damaged."""
    path = tmp_path / "tape.gram.safetensors"
    path.write_bytes(blob)
    return path


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Let ``change`` edit the header of the file at ``path`` as a dict."""
    blob = path.read_bytes()
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob[8 + length :])


def with_card(path: Path, **changes: Any) -> None:
    """Set fields of the card in the file at ``path``."""

    def change(header: dict[str, Any]) -> None:
        card = json.loads(header["__metadata__"]["gramophone"]) | changes
        header["__metadata__"]["gramophone"] = json.dumps(card)

    rewritten(path, change)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool]
)
def test_tensors_come_back_bit_for_bit(tmp_path: Path, make_preset: MakePreset, dtype: torch.dtype) -> None:
    """Every type of tensor, also scalar, empty, strided and shared ones, is read as it was written."""
    whole = torch.arange(24).reshape(4, 6).to(dtype)
    tensors = {"whole": whole, "strided": whole[:, ::2], "turned": whole.T, "scalar": whole[1, 1], "none": whole[:0]}
    path = tmp_path / "x.gram.safetensors"
    presets.save(make_preset("x", tensors=tensors), path)
    back = presets.load(path).target.tensors
    assert list(back) == sorted(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == dtype
        assert torch.equal(back[name], tensor)


def test_the_card_comes_back_whole(tmp_path: Path, make_preset: MakePreset) -> None:
    """Name, target and every field of the card survive the file."""
    made = make_preset(
        "Tape 2",
        params={"hop_s": 0.023, "deep": {"list": [1, 2.5, None, "π"]}},
        amount=0.25,
        chain=[{"plugin": "compressor", "threshold_db": -18, "on": True}],
        licence="CC-BY 4.0, someone",
        loudness_dbfs=-20.5,
        clock=lambda: datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC),
    )
    path = tmp_path / "Tape 2.gram.safetensors"
    presets.save(made, path)
    back = presets.load(path)
    assert (back.name, back.card, back.content_hash) == (made.name, made.card, made.content_hash)
    assert back.card.created == "2031-05-06T07:08:09+00:00"
    assert (back.target.recipe, back.target.params, back.target.rate) == ("identity", made.target.params, 44_100)


def test_the_file_is_plain_safetensors(saved: Path) -> None:
    """Any reader of the format opens a preset, finds one JSON record, and tensors aligned to eight bytes."""
    with safe_open(saved, framework="pt") as file:
        assert set(file.metadata()) == {"gramophone"}
        assert json.loads(file.metadata()["gramophone"])["format"] == 1
        assert torch.equal(file.get_tensor("weights"), torch.ones(5))
    assert int.from_bytes(saved.read_bytes()[:8], "little") % 8 == 0


def test_the_content_hash_is_of_the_sound_alone(make_preset: MakePreset) -> None:
    """Name, amount, chain and time leave it as it is; a tensor's value, type, shape or name, recipe, rate change it."""
    plain = {"a": torch.ones(4)}
    base = make_preset(tensors=plain).content_hash
    assert make_preset("other", tensors=plain, amount=0.1, chain=[{"plugin": "gain"}]).content_hash == base
    for tensors in (
        {"a": torch.ones(4) * 2},
        {"a": torch.ones(2, 2)},
        {"b": torch.ones(4)},
        {"a": torch.ones(4).int()},
    ):
        assert make_preset(tensors=tensors).content_hash != base
    assert make_preset(tensors=plain, rate=48_000).content_hash != base
    assert make_preset(tensors=plain, recipe="kernel").content_hash != base
    assert make_preset(tensors=plain, params={"width": 12}).content_hash != base


def test_a_newer_format_names_itself_and_its_maker(saved: Path) -> None:
    """A file of a later Gramophone says which format it is, who wrote it and what to do."""
    with_card(saved, format=2, created_by="9.1.0", surprise=True)
    with pytest.raises(PresetError, match=r"format 2, written by Gramophone 9\.1\.0.*reads format 1.*update"):
        presets.load(saved)


@pytest.mark.parametrize("found", [0, -1, "1", 1.0, True, None, [1]])
def test_an_unknown_format_is_refused(saved: Path, found: Any) -> None:
    """A format that is no version at all is not taken for this one."""
    with_card(saved, format=found)
    with pytest.raises(PresetError, match="unknown preset format"):
        presets.load(saved)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"surprise": 1}, "surprise"),
        ({"amount": 1.5}, "amount"),
        ({"amount": "0.5"}, "amount"),
        ({"rate": 10}, "rate"),
        ({"chain": [{"threshold_db": 3}]}, "plugin"),
        ({"licence": "red \x1b[31m"}, "cannot be printed"),
        ({"tensors_sha256": "0" * 64}, "corrupt tensor: expected sha256 000000000000"),
        ({"params": {"deep": [float("inf")]}}, "params: Out of range float"),
        ({"recipe": "deepmix-1", "params": {"iterations": "x"}}, "iterations is 'x'; expected a whole number from 1"),
        ({"recipe": "deepmix-1", "params": {"filters": 10**12}}, "filters is 1000000000000; expected"),
        ({"chain": [{"plugin": "gain", "gain_db": float("nan")}]}, "chain: Out of range float"),
        ({"recipe": "kernal"}, "did you mean 'kernel'"),
    ],
)
def test_a_wrong_card_says_which_field(saved: Path, changes: dict[str, Any], reason: str) -> None:
    """Unknown and impossible fields are refused by name; none is ignored."""
    with_card(saved, **changes)
    with pytest.raises(PresetError, match=reason) as caught:
        presets.load(saved)
    assert str(saved) in str(caught.value)


def test_one_flipped_bit_in_any_tensor_is_found(saved: Path) -> None:
    """The card's digest covers every byte of the tensors."""
    blob = saved.read_bytes()
    start = tensorfile.read_header(saved).data_start
    for position in range(start, len(blob)):
        saved.write_bytes(blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1 :])
        with pytest.raises(PresetError, match="corrupt tensor"):
            presets.load(saved)


def test_every_truncation_is_found(saved: Path) -> None:
    """A file cut anywhere is refused, as is one with bytes too many."""
    blob = saved.read_bytes()
    for length in [*range(20), *range(20, len(blob), 11), len(blob) - 1]:
        saved.write_bytes(blob[:length])
        with pytest.raises(PresetError, match=r"truncated|not a preset file"):
            presets.load(saved)
    saved.write_bytes(blob + b"\0")
    with pytest.raises(PresetError, match="1 bytes after its last tensor"):
        presets.load(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, make_preset: MakePreset, value: float) -> None:
    """Neither a new preset nor one from disk, digest and all, may hold NaN or infinity."""
    bad = torch.tensor([0.0, value])
    with pytest.raises(PresetError, match="1 values in tensor 'a' that are NaN or infinite"):
        make_preset(tensors={"a": bad})
    path = tmp_path / "x.gram.safetensors"
    presets.save(make_preset(tensors={"a": torch.tensor([0.0, 1.0])}), path)
    blob = path.read_bytes()[:-8] + struct.pack("<2f", 0.0, value)
    path.write_bytes(blob)
    with_card(path, tensors_sha256=tensorfile.sha256(tensorfile.parse(blob), blob))
    with pytest.raises(PresetError, match="NaN or infinite"):
        presets.load(path)


def _overlap(header: dict[str, Any]) -> None:
    header["weights"]["data_offsets"] = [0, 20]


def _huge(header: dict[str, Any]) -> None:
    header["weights"] |= {"shape": [1 << 29, 1], "data_offsets": [48, 48 + (1 << 31)]}


def _negative(header: dict[str, Any]) -> None:
    header["weights"]["shape"] = [-5]


def _boolean(header: dict[str, Any]) -> None:
    header["weights"] |= {"shape": [True], "data_offsets": [48, 52]}


def _pickled(header: dict[str, Any]) -> None:
    header["weights"]["dtype"] = "OBJECT"


def _crowded(header: dict[str, Any]) -> None:
    header |= {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [68, 68]} for i in range(1100)}


def _anonymous(header: dict[str, Any]) -> None:
    del header["__metadata__"]


def _mixed(header: dict[str, Any]) -> None:
    header["__metadata__"]["format"] = "pt"


def _numeric(header: dict[str, Any]) -> None:
    header["__metadata__"]["gramophone"] = 7


def _nested(header: dict[str, Any]) -> None:
    header["__metadata__"]["gramophone"] = "[" * 100_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_overlap, "starts at byte 0"),
        (_huge, "impossible shape|do not fill|truncated"),
        (_negative, "impossible shape"),
        (_boolean, "impossible shape"),
        (_pickled, "type 'OBJECT'"),
        (_crowded, "1102 tensors"),
        (_anonymous, "no Gramophone card"),
        (_mixed, "unknown metadata 'format'"),
        (_numeric, "metadata is not text"),
        (_nested, "corrupt card"),
    ],
)
def test_a_header_that_lies_is_caught(saved: Path, change: Callable[[dict[str, Any]], None], reason: str) -> None:
    """Offsets, shapes, types, counts and metadata are checked before a byte of the tensors is believed."""
    rewritten(saved, change)
    with pytest.raises(PresetError, match=reason):
        presets.load(saved)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{" + b" " * 50, "corrupt header"),
        (b"[]", "corrupt header: not an object"),
        (b'{"a":{},"a":{}}', "appears twice"),
        (b'{"__metadata__":{"gramophone":"\\ud800"}}', "corrupt header"),
        (b"[" * 200_000, "corrupt header"),
        (b'{"a":' + b"9" * 5000 + b"}", "corrupt header"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b"\xff\xfe{\0}\0", "corrupt header"),
    ],
)
def test_a_header_that_is_not_json_is_caught(tmp_path: Path, text: bytes, reason: str) -> None:
    """Broken, nested, doubled and wrongly encoded JSON all end as the one error."""
    path = tmp_path / "x.gram.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(PresetError, match=reason):
        presets.load(path)


def test_an_enormous_header_is_not_even_read(tmp_path: Path) -> None:
    """A header length of exabytes, or over the limit in a file that large, costs no memory."""
    path = tmp_path / "x.gram.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(PresetError, match="over the limit"):
        presets.load(path)
    with path.open("wb") as file:
        file.truncate(tensorfile.MAX_FILE_BYTES + 1)  # sparse: takes no room on the disk
    with pytest.raises(PresetError, match="at most 1,073,741,824"):
        presets.load(path)


def test_things_that_are_no_files_are_refused(tmp_path: Path) -> None:
    """A folder, a missing file, a pipe nobody writes to and an impossible path are errors, never a hang."""
    with pytest.raises(PresetError, match="not a regular file"):
        presets.load(tmp_path)
    with pytest.raises(PresetError, match="No such file"):
        presets.load(tmp_path / "none.safetensors")
    with pytest.raises(PresetError, match="cannot be read"):
        presets.load(tmp_path / ("x" * 300 + ".safetensors"))
    with pytest.raises(PresetError, match="cannot be read"):
        presets.load(tmp_path / "a\0b.safetensors")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.safetensors")
        with pytest.raises(PresetError, match="not a regular file"):
            presets.load(tmp_path / "pipe.safetensors")


def test_foreign_safetensors_and_pickles_are_refused(tmp_path: Path) -> None:
    """Somebody's model weights and a torch pickle are told from a preset, and no pickle is ever run."""
    save_file({"w": torch.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(PresetError, match="no Gramophone card"):
        presets.load(tmp_path / "model.safetensors")
    torch.save({"w": torch.ones(3)}, tmp_path / "evil.gram.safetensors")
    with pytest.raises(PresetError, match="not a preset"):
        presets.load(tmp_path / "evil.gram.safetensors")


def test_saving_never_overwrites_unless_told(saved: Path, make_preset: MakePreset) -> None:
    """A taken name stays as it is; with replace the new preset takes its place."""
    before = saved.read_bytes()
    with pytest.raises(PresetError, match="exists"):
        presets.save(make_preset(), saved)
    assert saved.read_bytes() == before
    presets.save(make_preset(amount=0.125), saved, replace=True)
    assert presets.load(saved).card.amount == 0.125
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("replace", [False, True])
def test_a_disk_that_fails_leaves_nothing_half_written(
    saved: Path, make_preset: MakePreset, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """When the disk fills up before the rename, the old file is untouched, no other is there, and the error says so."""
    before = saved.read_bytes()
    target = saved if replace else saved.with_name("new.gram.safetensors")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PresetError, match="No space left"):
        presets.save(make_preset(), target, replace=replace)
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
    assert saved.read_bytes() == before


def test_saving_works_without_hard_links(
    tmp_path: Path, make_preset: MakePreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system such as FAT a look at the name replaces the link, and still nothing is overwritten."""

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "x.gram.safetensors"
    presets.save(make_preset("x"), path)
    assert presets.load(path).name == "x"
    with pytest.raises(PresetError, match="exists"):
        presets.save(make_preset("x", amount=0.1), path)


def test_a_target_changed_after_its_card_is_not_saved(tmp_path: Path, make_preset: MakePreset) -> None:
    """A preset whose tensors no longer match its card is refused rather than written broken."""
    made = make_preset()
    made.target.tensors["magnitude.512"].add_(1)
    with pytest.raises(PresetError, match="changed after"):
        presets.save(made, tmp_path / "x.gram.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [{"amount": 2.0}, {"chain": [{"x": 1}]}, {"licence": "a\nb"}, {"rate": 4000}, {"params": {"a": float("nan")}}],
)
def test_a_new_preset_must_fit_its_card(make_preset: MakePreset, wrong: dict[str, Any]) -> None:
    """What could not be read back is refused when the preset is made."""
    with pytest.raises(PresetError, match="card cannot hold"):
        make_preset(**wrong)


EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS, keep=st.just(1.0) | st.floats(0, 1), tail=st.binary(max_size=16), in_header=st.booleans())
def test_mutated_bytes_load_or_raise_the_one_error(
    saved: Path, blob: bytes, edits: list[tuple[float, int]], keep: float, tail: bytes, in_header: bool
) -> None:
    """However a file is damaged, loading and listing give a preset or a `PresetError`: nothing else ever escapes."""
    damaged = bytearray(blob)
    reach = 8 + int.from_bytes(blob[:8], "little") if in_header else len(blob)
    for place, value in edits:
        damaged[int(place * reach)] = value
    saved.write_bytes(damaged[: int(len(blob) * keep)] + tail)
    with contextlib.suppress(PresetError):
        presets.load(saved)
    assert len(Library(saved.parent).list()) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(sorted(Card.model_fields)), value=JSON)
def test_any_value_in_any_field_of_the_card_is_safe(saved: Path, blob: bytes, field: str, value: Any) -> None:
    """A card with any JSON in any field loads as that very value or raises the one error, and its listing is made."""
    saved.write_bytes(blob)
    with_card(saved, **{field: value})
    with contextlib.suppress(PresetError):
        assert json.loads(presets.load(saved).card.model_dump_json())[field] == value
    entry = Library(saved.parent).list()[0]
    assert (entry.card is None) == (entry.problem is not None)
