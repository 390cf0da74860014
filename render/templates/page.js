"use strict";
// Both sides of a player run at once, sample for sample, and the switch only moves their gains: no gap, no lost place.
(() => {
  const Context = window.AudioContext || window.webkitAudioContext;
  if (!Context) return;
  let context = null;
  let current = null;
  const FADE_S = 0.008;

  const bytes = (audio) => Uint8Array.from(atob(audio.getAttribute("src").split(",")[1]), (c) => c.charCodeAt(0)).buffer;

  class Player {
    constructor(figure) {
      this.figure = figure;
      this.duration = Number(figure.dataset.duration);
      this.audios = [...figure.querySelectorAll("audio")];
      this.sides = [...figure.querySelectorAll(".side")];
      this.heads = [...figure.querySelectorAll(".head")];
      this.switches = [...figure.querySelectorAll(".switch button")];
      this.clock = figure.querySelector(".clock");
      this.button = figure.querySelector(".play");
      this.side = 0;
      this.offset = 0;
      this.voices = null;
      this.buffers = null;
      figure.classList.add("live");
      figure.querySelector(".keys").hidden = false;
      this.button.addEventListener("click", () => this.toggle());
      for (const button of this.switches) button.addEventListener("click", () => this.listen(Number(button.dataset.side)));
      for (const panel of figure.querySelectorAll(".panel")) {
        panel.addEventListener("pointerdown", (event) => {
          const box = panel.getBoundingClientRect();
          current = current || this;
          this.seek(((event.clientX - box.left) / box.width) * this.duration);
        });
      }
      figure.addEventListener("pointerdown", () => { if (!current || !current.voices) current = this; });
      this.draw();
    }

    get position() {
      if (!this.voices) return this.offset;
      return (this.offset + Math.max(0, context.currentTime - this.started)) % this.duration;
    }

    async toggle() {
      if (this.voices) return this.stop();
      if (current && current !== this) current.stop();
      current = this;
      context = context || new Context();
      await context.resume();
      try {
        this.buffers = this.buffers || await Promise.all(this.audios.map((audio) => context.decodeAudioData(bytes(audio))));
      } catch (error) {
        // A browser that cannot decode FLAC here may still play it in its own player.
        this.figure.classList.remove("live");
        this.figure.querySelector(".keys").hidden = true;
        return;
      }
      if (current !== this || this.voices) return;
      this.start();
    }

    start() {
      this.started = context.currentTime + 0.02;
      this.voices = this.buffers.map((buffer, number) => {
        const source = context.createBufferSource();
        const gain = context.createGain();
        source.buffer = buffer;
        source.loop = true;
        gain.gain.value = number === this.side ? 1 : 0;
        source.connect(gain).connect(context.destination);
        source.start(this.started, this.offset);
        return { source, gain };
      });
      this.figure.classList.add("playing");
      this.button.textContent = "■";
      const tick = () => { if (this.voices) { this.draw(); requestAnimationFrame(tick); } };
      tick();
    }

    stop() {
      if (!this.voices) return;
      this.offset = this.position;
      const voices = this.voices;
      this.voices = null;
      for (const { source, gain } of voices) {
        gain.gain.setTargetAtTime(0, context.currentTime, FADE_S);
        source.stop(context.currentTime + 8 * FADE_S);
      }
      this.figure.classList.remove("playing");
      this.button.textContent = "▶";
      this.draw();
    }

    seek(seconds) {
      const playing = Boolean(this.voices);
      this.stop();
      this.offset = Math.min(Math.max(0, seconds), this.duration - 0.01);
      if (playing) this.start();
      this.draw();
    }

    listen(side) {
      if (side >= this.sides.length) return;
      this.side = side;
      if (this.voices) {
        this.voices.forEach(({ gain }, number) => gain.gain.setTargetAtTime(number === side ? 1 : 0, context.currentTime, FADE_S));
      }
      this.sides.forEach((element, number) => element.classList.toggle("heard", number === side));
      this.switches.forEach((button, number) => button.setAttribute("aria-pressed", String(number === side)));
    }

    draw() {
      const position = this.position;
      for (const head of this.heads) head.style.left = `${(100 * position) / this.duration}%`;
      this.clock.textContent = `${position.toFixed(1)} / ${this.duration.toFixed(1)} s`;
    }
  }

  const players = [...document.querySelectorAll(".player")].map((figure) => new Player(figure));
  document.querySelector(".hint").hidden = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !players.length) return;
    const player = current || players[0];
    const key = event.key.toLowerCase();
    if (key === " " && event.target.tagName !== "BUTTON") player.toggle();
    else if (key === "x") player.listen(1 - player.side);
    else if (key === "arrowleft") player.seek(player.position - 1);
    else if (key === "arrowright") player.seek(player.position + 1);
    else return;
    event.preventDefault();
  });
})();
