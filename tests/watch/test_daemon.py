"""The daemon as a whole: what is dropped is styled, once, and everything stays true whatever happens meanwhile."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.watch.conftest import Daemon


def test_a_stem_dropped_in_appears_styled(daemon: "Daemon") -> None:
    """A stem copied into a folder named after a preset comes back under its own name, with no command typed."""
    daemon.start()
    daemon.drop("tape/vox.wav")
    daemon.until_states(tape__vox="done")
    assert daemon.outputs() == ["tape/vox.wav"]
    daemon.check()
    assert daemon.stop() == 0
