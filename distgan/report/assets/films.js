"use strict";
// Clips that play: without a script they do so by themselves, and stand still for who asks for less
// motion; here they also stop and go on at a press.
document.addEventListener("DOMContentLoaded", () => {
  const less = matchMedia("(prefers-reduced-motion: reduce)");
  for (const film of document.querySelectorAll(".film")) {
    const still = film.querySelector("source");
    if (!still) continue;
    const button = film.querySelector("button");
    let plays;

    function set(value) {
      plays = value;
      still.media = plays ? "not all" : "all";
      button.textContent = plays ? "Stop" : "Play";
    }

    for (const pressed of [button, film.querySelector("picture")]) {
      pressed.addEventListener("click", () => set(!plays));
    }
    less.addEventListener("change", () => set(!less.matches));
    set(!less.matches);
    button.hidden = false;
  }
});
