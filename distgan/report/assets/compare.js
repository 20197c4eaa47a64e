"use strict";
// Of runs that make images of images: every picture of a grid, with a line between what went in on
// the left and what came out on the right. Without scripts the grid shows them one above the other.
document.addEventListener("DOMContentLoaded", () => {
  const finals = [...document.querySelectorAll(".sheet.final img")];
  const moving = [...document.querySelectorAll(".sheet.moving")];

  for (const section of document.querySelectorAll(".compare")) {
    const rows = section.dataset.rows.split(",");
    const across = Number(section.dataset.across);
    const [lineX, lineY] = section.dataset.line.split(",").map(Number);
    const tiles = section.querySelector(".tiles");
    const range = section.querySelector("input[type=range]");
    const ends = section.querySelector(".ends");
    const after = rows.indexOf("output");
    let before = rows.indexOf("input");
    let picture = null;

    function layer(tile, name) {
      const canvas = document.createElement("canvas");
      canvas.className = name;
      tile.append(canvas);
    }
    for (let n = 0; n < across; n++) {
      const tile = document.createElement("div");
      tile.className = "tile";
      tile.setAttribute("role", "img");
      layer(tile, "right");
      layer(tile, "left");
      tiles.append(tile);
    }

    // Image of a row and column of the grid; lines of one width are between its images.
    function draw(canvas, row, column) {
      const wide = picture.naturalWidth, high = picture.naturalHeight;
      const stepX = (1 + lineX) / across, stepY = (1 + lineY) / rows.length;
      const width = (stepX - lineX) * wide, height = (stepY - lineY) * high;
      canvas.width = Math.max(1, Math.round(width));
      canvas.height = Math.max(1, Math.round(height));
      canvas.getContext("2d").drawImage(
        picture, column * stepX * wide, row * stepY * high, width, height, 0, 0, canvas.width, canvas.height);
    }

    function redraw() {
      [...tiles.children].forEach((tile, column) => {
        draw(tile.querySelector(".right"), after, column);
        draw(tile.querySelector(".left"), before, column);
        tile.setAttribute("aria-label", `Image ${column + 1}: ${rows[before]} left, output right`);
      });
      section.querySelector(".before").textContent = "the " + rows[before];
      const seen = Number(picture.dataset.images).toLocaleString("en");
      section.querySelector(".moment").textContent = "after " + seen + " images";
    }

    function show(one) {
      one.decode().then(() => { picture = one; redraw(); section.hidden = false; });
    }

    function cut() {
      tiles.style.setProperty("--cut", range.value + "%");
      range.setAttribute("aria-valuetext", range.value + "% " + rows[before]);
    }

    // What may stand on the left: the input, and the target where it is known.
    rows.forEach((name, row) => {
      if (row === after) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.setAttribute("aria-pressed", row === before);
      button.addEventListener("click", () => {
        before = row;
        for (const one of ends.children) one.setAttribute("aria-pressed", one === button);
        redraw();
        cut();
      });
      ends.append(button);
    });

    // A finger or a pressed button on a picture moves the line there.
    tiles.addEventListener("pointermove", (event) => {
      const tile = event.target.closest(".tile");
      if (!tile || (event.pointerType === "mouse" && event.buttons === 0)) return;
      const box = tile.getBoundingClientRect();
      range.value = Math.round(100 * (event.clientX - box.left) / box.width);
      cut();
    });
    range.addEventListener("input", cut);
    cut();

    const number = Number(section.dataset.run);
    const sheet = moving.find((one) => one.dataset.run === String(number));
    if (sheet) sheet.addEventListener("shown", (event) => show(event.detail));
    show(finals.find((one) => one.dataset.run === String(number)));
  }
});
