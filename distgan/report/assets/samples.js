"use strict";
// The slider over the samples of all runs, and a large view of any of them.
document.addEventListener("DOMContentLoaded", () => {
  const sheets = [...document.querySelectorAll(".sheet.moving")];
  const finals = [...document.querySelectorAll(".sheet.final")];

  const large = document.getElementById("large");
  for (const sheet of [...finals, ...sheets]) {
    sheet.querySelector(".pictures").addEventListener("click", () => {
      const copy = sheet.querySelector("img:not([hidden])").cloneNode();
      large.replaceChildren(copy);
      large.showModal();
    });
  }
  large.addEventListener("click", () => large.close());

  const slider = document.getElementById("moment");
  if (!slider) return;
  const moments = JSON.parse(document.getElementById("moments").textContent);
  const said = document.getElementById("moment-said");
  const play = document.getElementById("play");
  let timer = null;
  // Runs of images and of clips may stand side by side.
  const units = new Set(sheets.map((sheet) => sheet.dataset.counted));
  const unit = units.size === 1 ? [...units][0] : "images";

  // The page holds the last picture of a run once, in the run's own card.
  sheets.forEach((sheet, n) => {
    sheet.querySelector("img:last-of-type").src = finals[n].querySelector("img").src;
  });

  function show() {
    const images = moments[slider.valueAsNumber];
    said.textContent = images.toLocaleString("en") + " " + unit;
    slider.setAttribute("aria-valuetext", said.textContent);
    for (const sheet of sheets) {
      // The newest that was drawn by then; before the first, the first.
      const pictures = [...sheet.querySelectorAll("img")];
      const past = pictures.filter((one) => Number(one.dataset.images) <= images);
      const now = past.length ? past[past.length - 1] : pictures[0];
      for (const one of pictures) one.hidden = one !== now;
      sheet.dispatchEvent(new CustomEvent("shown", { bubbles: true, detail: now }));
      const seen = Number(now.dataset.images).toLocaleString("en");
      document.querySelectorAll("#strip button").forEach((one, place) => {
        one.toggleAttribute("aria-current", place === slider.valueAsNumber);
      });
      sheet.querySelector(".when").textContent = "after " + seen + " " + sheet.dataset.counted;
    }
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  function start() {
    if (slider.valueAsNumber >= moments.length - 1) slider.value = 0;
    show();
    play.textContent = "Pause";
    timer = setInterval(() => {
      slider.value = slider.valueAsNumber + 1;
      show();
      if (slider.valueAsNumber >= moments.length - 1) stop();
    }, 450);
  }

  // Of one run there is room for all moments at a glance.
  const strip = document.getElementById("strip");
  if (strip) {
    sheets[0].querySelectorAll("img").forEach((picture, place) => {
      const button = document.createElement("button");
      const small = picture.cloneNode();
      button.type = "button";
      button.title = small.alt;
      small.hidden = false;
      small.className = "";
      button.append(small);
      button.addEventListener("click", () => { stop(); slider.value = place; show(); });
      strip.append(button);
    });
  }

  slider.addEventListener("input", () => { stop(); show(); });
  play.addEventListener("click", () => (timer === null ? start() : stop()));
  show();
});
