"use strict";
// Both sides of a player run at once, sample for sample, and the switch only moves their gains: no gap, no lost place.
(() => {
  const Context = window.AudioContext || window.webkitAudioContext;
  if (!Context) return;
  let context = null;
  let current = null;
  const FADE_S = 0.008;
  const APART_S = 0.03;

  const bytes = (audio) => Uint8Array.from(atob(audio.getAttribute("src").split(",")[1]), (c) => c.charCodeAt(0)).buffer;

  // What is inside the page: from `begin` seconds of the file on, in a loop.
  class Inside {
    constructor(audios, begin, length) {
      this.audios = audios;
      this.begin = begin;
      this.length = length;
      this.voices = null;
      this.buffers = null;
    }

    async ready() {
      context = context || new Context();
      await context.resume();
      this.buffers = this.buffers || await Promise.all(this.audios.map((audio) => context.decodeAudioData(bytes(audio))));
    }

    get position() {
      return this.begin + (this.offset + Math.max(0, context.currentTime - this.started)) % this.length;
    }

    play(position, side) {
      this.offset = position - this.begin;
      this.started = context.currentTime + 0.02;
      this.voices = this.buffers.map((buffer, number) => {
        const source = context.createBufferSource();
        const gain = context.createGain();
        source.buffer = buffer;
        source.loop = true;
        gain.gain.value = number === side ? 1 : 0;
        source.connect(gain).connect(context.destination);
        source.start(this.started, this.offset);
        return { source, gain };
      });
    }

    listen(side) {
      this.voices.forEach(({ gain }, number) => gain.gain.setTargetAtTime(number === side ? 1 : 0, context.currentTime, FADE_S));
    }

    stop() {
      for (const { source, gain } of this.voices) {
        gain.gain.setTargetAtTime(0, context.currentTime, FADE_S);
        source.stop(context.currentTime + 8 * FADE_S);
      }
    }
  }

  // The files beside the page, whole, in the browser's own players; the silent one is kept with the other.
  class Beside {
    constructor(places, length) {
      this.places = places;
      this.begin = 0;
      this.length = length;
      this.media = null;
    }

    async ready() {
      this.media = this.media || this.places.map((place) => new Audio(place));
      await Promise.all(this.media.map((audio) => new Promise((resolve, reject) => {
        audio.loop = true;
        if (audio.error) reject(audio.error);
        if (audio.readyState >= 2) resolve();
        audio.addEventListener("canplay", resolve, { once: true });
        audio.addEventListener("error", () => reject(audio.error), { once: true });
      })));
    }

    get position() {
      return this.media[this.side].currentTime;
    }

    play(position, side) {
      this.media.forEach((audio) => { audio.currentTime = Math.min(position, audio.duration || position); });
      this.listen(side);
      this.media.forEach((audio) => audio.play());
      this.keeper = setInterval(() => {
        const heard = this.media[this.side];
        for (const audio of this.media) {
          if (audio !== heard && Math.abs(audio.currentTime - heard.currentTime) > APART_S) audio.currentTime = heard.currentTime;
        }
      }, 500);
    }

    listen(side) {
      this.side = side;
      this.media.forEach((audio, number) => { audio.muted = number !== side; });
    }

    stop() {
      clearInterval(this.keeper);
      this.media.forEach((audio) => audio.pause());
    }
  }

  class Player {
    constructor(figure) {
      this.figure = figure;
      this.total = Number(figure.dataset.total);
      this.audios = [...figure.querySelectorAll("audio[src]")];
      this.sides = [...figure.querySelectorAll(".side")];
      this.heads = [...figure.querySelectorAll(".head")];
      this.switches = [...figure.querySelectorAll(".switch button")];
      this.clock = figure.querySelector(".clock");
      this.button = figure.querySelector(".play");
      this.excuse = figure.querySelector(".excuse");
      this.whole = figure.querySelector(".whole");
      const places = this.sides.map((side) => side.dataset.place).filter(Boolean);
      this.beside = places.length ? new Beside(places, this.total) : null;
      this.inside = this.audios.length ? new Inside(this.audios, Number(figure.dataset.begin), Number(figure.dataset.length)) : null;
      this.deck = this.inside || this.beside;
      this.side = 0;
      this.playing = false;
      if (!this.deck) return;
      this.place = this.deck.begin;
      figure.classList.add("live");
      figure.querySelector(".keys").hidden = false;
      this.button.addEventListener("click", () => this.toggle());
      for (const button of this.switches) button.addEventListener("click", () => this.listen(Number(button.dataset.side)));
      if (this.whole && this.inside) this.whole.addEventListener("click", () => this.swap(this.deck === this.inside ? this.beside : this.inside));
      else if (this.whole) this.whole.hidden = true;
      for (const panel of figure.querySelectorAll(".panel")) {
        panel.addEventListener("pointerdown", (event) => {
          const box = panel.getBoundingClientRect();
          current = current || this;
          this.seek(((event.clientX - box.left) / box.width) * this.total);
        });
      }
      figure.addEventListener("pointerdown", () => { if (!current || !current.playing) current = this; });
      this.draw();
    }

    get position() {
      return this.playing ? this.deck.position : this.place;
    }

    async toggle() {
      if (this.playing) return this.stop();
      if (current && current !== this) current.stop();
      current = this;
      const deck = this.deck;
      try {
        await deck.ready();
      } catch (error) {
        this.fail(deck);
        return;
      }
      if (current !== this || this.playing || deck !== this.deck) return;
      this.start();
    }

    // The files are not where they were, or the browser cannot decode what is inside; its own players may.
    fail(deck) {
      if (deck === this.beside) {
        this.excuse.hidden = false;
        if (this.inside) this.swap(this.inside);
        return;
      }
      this.figure.classList.remove("live");
      this.figure.querySelector(".keys").hidden = true;
    }

    start() {
      this.deck.play(this.place, this.side);
      this.playing = true;
      this.figure.classList.add("playing");
      this.button.textContent = "■";
      const tick = () => { if (this.playing) { this.draw(); requestAnimationFrame(tick); } };
      tick();
    }

    stop() {
      if (!this.playing) return;
      this.place = this.position;
      this.playing = false;
      this.deck.stop();
      this.figure.classList.remove("playing");
      this.button.textContent = "▶";
      this.draw();
    }

    seek(seconds) {
      const playing = this.playing;
      this.stop();
      this.place = Math.min(Math.max(this.deck.begin, seconds), this.deck.begin + this.deck.length - 0.01);
      if (playing) this.start();
      this.draw();
    }

    swap(deck) {
      const playing = this.playing;
      this.stop();
      this.deck = deck;
      this.whole.setAttribute("aria-pressed", String(deck === this.beside));
      this.figure.classList.toggle("all", deck === this.beside);
      this.seek(this.place);
      if (playing) this.toggle();
    }

    listen(side) {
      if (side >= this.sides.length) return;
      this.side = side;
      if (this.playing) this.deck.listen(side);
      this.sides.forEach((element, number) => element.classList.toggle("heard", number === side));
      this.switches.forEach((button, number) => button.setAttribute("aria-pressed", String(number === side)));
    }

    draw() {
      const position = this.position;
      for (const head of this.heads) head.style.left = `${(100 * position) / this.total}%`;
      this.clock.textContent = `${position.toFixed(1)} / ${this.total.toFixed(1)} s`;
    }
  }

  const players = [...document.querySelectorAll(".player")].map((figure) => new Player(figure)).filter((player) => player.deck);
  document.querySelector(".hint").hidden = !players.length;
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
