"""The report in a real browser without a screen: pictures are drawn, A and B are heard, and nobody is asked."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from engine import audio
from presets.library import Library
from render import batch, handover, page, planner
from render.choices import Choices
from render.delivery import Wish
from render.events import Event
from render.page import Content, Exhibit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RATE = 16_000
LOW_HZ, HIGH_HZ = 400.0, 3_000.0
# Puts a spectrum analyser on whatever goes to the loudspeakers, and keeps the players that the page makes.
EAR = """
(() => {
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) {
      if (!window.ear) {
        window.ear = this.context.createAnalyser();
        window.ear.fftSize = 4096;
        window.ear.smoothingTimeConstant = 0;
        connect.call(window.ear, target);
      }
      return connect.call(this, window.ear);
    }
    return connect.call(this, target, ...rest);
  };
  window.heard_hz = () => {
    const bins = new Float32Array(window.ear.frequencyBinCount);
    window.ear.getFloatFrequencyData(bins);
    const top = bins.indexOf(Math.max(...bins));
    return bins[top] > -60 ? (top * window.ear.context.sampleRate) / window.ear.fftSize : 0;
  };
  const Plain = window.Audio;
  window.media = [];
  window.Audio = function (place) { const made = new Plain(place); window.media.push(made); return made; };
})();
"""


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium, driven by Playwright; skipped where one of them is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    binary = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    if not binary:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=binary, args=["--no-sandbox", "--mute-audio"])
        yield found
        found.close()


class Visit:
    """A page that was opened without a network, what it asked for and what it complained of."""

    def __init__(self, browser: "Browser", path: Path) -> None:
        context = browser.new_context(viewport={"width": 1100, "height": 900}, offline=True)
        self.page: Page = context.new_page()
        self.page.add_init_script(EAR)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())

    def foreign(self, path: Path) -> list[str]:
        """What was asked for besides the page itself and what lies inside it."""
        return [url for url in self.asked if url != path.as_uri() and not url.startswith("data:")]

    def until(self, expression: str, timeout_s: float = 20.0) -> None:
        """Wait for a JavaScript ``expression`` to be true; the machine may be busy, and the page allows no eval."""
        end = time.monotonic() + timeout_s
        while not self.page.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"not within {timeout_s} s: {expression}"
            self.page.wait_for_timeout(50)

    def hears(self, hz: float) -> None:
        """Wait until the strongest tone is ``hz``, to 20 Hz (two bins of the analyser)."""
        self.until(f"window.ear && Math.abs(window.heard_hz() - {hz}) < 20")


def _tone(path: Path, hz: float, seconds: float) -> Path:
    t = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    samples = (0.5 * torch.sin(2 * torch.pi * hz * t)).float().expand(2, -1)
    audio.write(path, samples, RATE, audio.Format("WAV", "PCM_24"))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a short pair and a long one, of which a second is inside; A is low and B is high."""
    folder = tmp_path_factory.mktemp("page")
    pairs = []
    for name, seconds in (("short", 0.75), ("it's long & <odd>#", 4.0)):
        before = _tone(folder / f"{name}.wav", LOW_HZ, seconds)
        pairs.append(Exhibit(name, before, _tone(folder / f"{name} styled.wav", HIGH_HZ, seconds)))
    path = folder / "page.html"
    path.write_text(page.html(Content("Tones", [], pairs), longest_s=1.0, folder=folder), encoding="utf-8")
    return path


def _pictures(visit: Visit) -> list[dict[str, Any]]:
    """Of each picture its size, its spread of brightness and whether it is shown."""
    found: list[dict[str, Any]] = (
        visit.page.evaluate("""async () => Promise.all([...document.images].map(async (image) => {
      await image.decode();
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
      let low = 255, high = 0;
      for (let i = 0; i < data.length; i += 4) { low = Math.min(low, data[i]); high = Math.max(high, data[i]); }
      const box = image.getBoundingClientRect();
      const shown = box.width > 300 && box.height > 80;
      return { width: canvas.width, height: canvas.height, spread: high - low, shown };
    }))""")
    )
    return found


def test_a_real_report(browser: "Browser", shelf: Library, tmp_path: Path) -> None:
    """A render's own report: two pictures and a live player for each stem, no request, no complaint of the console."""
    stems = [_tone(tmp_path / f"{name}.wav", hz, 1.0) for name, hz in (("vox", HIGH_HZ), ("bass", LOW_HZ))]
    choices = Choices(preset="tape")
    plan = planner.plan_stems(stems, library=shelf, choices=choices, out=tmp_path / "out", wish=Wish(report=True))
    events: list[Event] = []
    handover.run(plan, events, batch.run(plan, on_event=events.append), on_event=events.append)
    assert plan.delivery is not None
    path = plan.delivery.paths["report"]
    visit = Visit(browser, path)
    pictures = _pictures(visit)
    assert len(pictures) == 4
    assert [p for p in pictures if not p["shown"] or p["spread"] < 50 or p["width"] < 20 or p["height"] < 100] == []
    assert visit.page.locator(".player.live .play").count() == 2
    assert visit.page.locator("tbody tr").count() == 2
    visit.page.click("#track-2 .play")
    visit.until("document.querySelector('#track-2 .player').classList.contains('playing')")
    assert visit.foreign(path) == []
    assert visit.complaints == []


def test_a_and_b_are_heard(browser: "Browser", made: Path) -> None:
    """Played is what the switch says: the low tone, the high one, and the low one again by key, without a stop."""
    visit = Visit(browser, made)
    visit.page.click("#track-1 .play")
    visit.hears(LOW_HZ)
    visit.page.click("#track-1 .switch button >> nth=1")
    visit.hears(HIGH_HZ)
    assert visit.page.get_attribute("#track-1 .switch button >> nth=1", "aria-pressed") == "true"
    visit.page.keyboard.press("x")
    visit.hears(LOW_HZ)
    assert "playing" in (visit.page.get_attribute("#track-1 .player", "class") or "")
    visit.page.click("#track-1 .play")
    visit.until("window.heard_hz() === 0")
    assert visit.foreign(made) == []
    assert visit.complaints == []


def test_another_player_stops_the_first(browser: "Browser", made: Path) -> None:
    """Only one player plays at a time."""
    visit = Visit(browser, made)
    visit.page.click("#track-1 .play")
    visit.hears(LOW_HZ)
    visit.page.click("#track-2 .play")
    visit.until("document.querySelector('#track-2 .player').classList.contains('playing')")
    assert visit.page.locator(".playing").count() == 1


def test_a_click_on_the_picture_goes_there(browser: "Browser", made: Path) -> None:
    """The clock stands where the picture was clicked, to 0.1 s; outside of what is inside the page at its border."""
    visit = Visit(browser, made)
    assert visit.page.locator("#track-2 .panel u").count() == 4
    visit.page.click("#track-1 .panel >> nth=0", position={"x": 10, "y": 20})
    box = visit.page.locator("#track-1 .panel").first.bounding_box()
    assert box is not None
    visit.page.click("#track-1 .panel >> nth=1", position={"x": box["width"] * 2 / 3, "y": 20})
    assert visit.page.inner_text("#track-1 .clock") == "0.5 / 0.8 s"
    visit.page.click("#track-2 .panel >> nth=0", position={"x": box["width"] - 5, "y": 20})
    begin = float(visit.page.get_attribute("#track-2 .player", "data-begin") or "nan")
    assert float(visit.page.inner_text("#track-2 .clock").split()[0]) == pytest.approx(begin + 1.0, abs=0.11)


def test_long_files_are_played_whole(browser: "Browser", made: Path) -> None:
    """The files beside the page play together, one of them muted, and the switch changes which."""
    visit = Visit(browser, made)
    visit.page.click("#track-2 .whole")
    visit.page.click("#track-2 .play")
    visit.until("window.media.length === 2 && window.media.every((one) => one.currentTime > 0.2 && !one.paused)")
    assert visit.page.evaluate("window.media.map((one) => one.muted)") == [False, True]
    assert visit.page.evaluate("window.media.map((one) => one.duration)") == [4, 4]
    visit.page.click("#track-2 .switch button >> nth=1")
    assert visit.page.evaluate("window.media.map((one) => one.muted)") == [True, False]
    visit.until("Math.abs(window.media[0].currentTime - window.media[1].currentTime) < 0.1")
    names = {url.rpartition("/")[2] for url in visit.foreign(made)}
    assert names == {"it%27s%20long%20%26%20%3Codd%3E%23.wav", "it%27s%20long%20%26%20%3Codd%3E%23%20styled.wav"}
    assert visit.page.locator(".excuse:visible").count() == 0
    assert visit.complaints == []


def test_a_page_that_was_sent_away_still_plays(browser: "Browser", made: Path, tmp_path: Path) -> None:
    """Without the files beside it the page says so when they are asked for, and plays what is inside."""
    alone = tmp_path / "alone.html"
    shutil.copyfile(made, alone)
    visit = Visit(browser, alone)
    visit.page.click("#track-2 .whole")
    visit.page.click("#track-2 .play")
    visit.page.wait_for_selector("#track-2 .excuse:visible")
    visit.page.click("#track-2 .play")
    visit.hears(LOW_HZ)


def test_without_scripts_the_browsers_own_players_remain(browser: "Browser", made: Path) -> None:
    """With JavaScript off every side has a player of the browser's own, and every picture is there."""
    context = browser.new_context(java_script_enabled=False, offline=True)
    opened = context.new_page()
    opened.goto(made.as_uri())
    assert opened.locator("audio:visible").count() == 4
    assert opened.locator(".keys:visible").count() == 0
    assert opened.locator("img:visible").count() == 4
