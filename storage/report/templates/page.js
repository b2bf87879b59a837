"use strict";
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement;
  const filters = find("#filters"), viewer = find("#viewer"), cards = all(".card");

  // Light and dark: the system's choice until the button is pressed.
  find("#theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  // The live pages are there where the page came from `dst serve`, not where it was opened from a disk.
  for (const link of all(".served")) link.hidden = location.protocol === "file:";
  if (!filters) return;

  const toggle = (name, on) => {
    document.body.classList.toggle("show-" + name, on);
    filters.elements[name].checked = on;
    find(`[data-toggle="${name}"]`, viewer).checked = on;
  };
  for (const name of ["box2d", "box3d", "axes"]) {
    filters.elements[name].addEventListener("change", (event) => toggle(name, event.target.checked));
    find(`[data-toggle="${name}"]`, viewer).addEventListener("change", (event) => toggle(name, event.target.checked));
  }

  // A card is shown when every filter agrees; a dot of the plot fades with its card.
  const dots = new Map(all(".dot").map((dot) => [dot.dataset.sample, dot]));
  const apply = () => {
    const wanted = Object.fromEntries(new FormData(filters));
    const words = (wanted.text || "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const on = (!wanted.status || card.dataset.status === wanted.status) && (!wanted.cad || card.dataset.cad === wanted.cad) &&
        (!wanted.side || card.dataset.side === wanted.side) && words.every((word) => card.dataset.text.includes(word));
      card.hidden = !on;
      dots.get(card.dataset.sample)?.classList.toggle("faded", !on);
      shown += on;
    }
    find("#shown").value = shown === cards.length ? `${shown} shown` : `${shown} of ${cards.length} shown`;
    for (const section of all("#dropped, #failed, #samples")) section.classList.toggle("nothing", find(".card", section) && !find(".card:not([hidden])", section));
  };
  const sort = () => {
    const name = filters.elements.order.value.replace(/^-/, ""), sign = filters.elements.order.value.startsWith("-") ? -1 : 1;
    // Samples without the value come last, in either direction.
    const score = name.startsWith("scores.") && name.slice("scores.".length), last = Infinity * sign;
    const value = (card) => {
      if (name === "cad") return card.dataset.cad;
      if (score) return JSON.parse(card.dataset.scores)[score] ?? last;
      return card.dataset[name] === "" ? last : Number(card.dataset[name]);
    };
    for (const grid of all(".grid")) {
      const own = all(".card", grid);
      own.sort((a, b) => {
        const x = value(a), y = value(b);
        return x === y ? a.dataset.order - b.dataset.order : (x < y ? -1 : 1) * sign;
      });
      grid.append(...own);
    }
  };
  filters.addEventListener("input", apply);
  filters.elements.order.addEventListener("change", sort);
  filters.addEventListener("submit", (event) => event.preventDefault());

  // The viewer: one sample, large, with its annotation; arrow keys walk through what is shown.
  let current = null;
  const open = (card) => {
    current = card;
    find(".viewer-pictures", viewer).replaceChildren(...all(".pic", card).map((picture) => picture.cloneNode(true)));
    const details = find(".details", card).cloneNode(true);
    details.hidden = false;
    find(".viewer-details", viewer).replaceChildren(details);
    const visible = all(".card:not([hidden])");
    find(".place", viewer).textContent = `${visible.indexOf(card) + 1} / ${visible.length}`;
    if (!viewer.open) viewer.showModal();
  };
  const step = (by) => {
    const visible = all(".card:not([hidden])");
    if (visible.length) open(visible[(visible.indexOf(current) + by + visible.length) % visible.length]);
  };
  document.addEventListener("click", (event) => {
    const strip = event.target.closest(".strip"), pointed = event.target.closest(".dot, .opens");
    if (strip) open(strip.closest(".card"));
    if (pointed) {
      const card = cards.find((one) => one.dataset.sample === pointed.dataset.sample);
      if (card) open(card);
    }
    const button = event.target.closest("[data-step]");
    if (button) step(Number(button.dataset.step));
    if (event.target.closest("[data-close]") || event.target === viewer) viewer.close();
    const command = event.target.closest(".commands code");
    if (command) getSelection().selectAllChildren(command);
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  });
  apply();
})();
