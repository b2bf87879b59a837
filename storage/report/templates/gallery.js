"use strict";
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const root = document.documentElement, page = document.body, filters = find("#filters"), viewer = find("#viewer");
  const files = page.dataset.files, store = page.dataset.store;

  find("#theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // The rows, unpacked: numbers lead to texts that many samples share.
  const { rows, texts, scores, limits } = JSON.parse(find("#data").textContent);
  const names = ["sample_id", "verdict", "azimuth_deg", "elevation_deg", "inplane_deg", "distance", "prompt", "seed", "pictures", "scores", "class_name",
    "cad_id", "cad_name", "licence", "recipe", "model_id", "model_revision", "captioner", "captioner_revision", "run_id", "flow_run_url", "drop_reason", "drop_words"];
  const shared = new Set(["prompt", ...names.slice(10)]);
  const spoken = (verdict) => (verdict === "unjudged" ? "not judged" : verdict);
  const samples = rows.map((row, order) => {
    const sample = { order };
    names.forEach((name, i) => { sample[name] = shared.has(name) ? texts[row[i]] : row[i]; });
    sample.pictures = sample.pictures.map(([name, key, stage, file]) => ({ name: texts[name], key, address: `${texts[stage]}/${key.slice(0, 2)}/${key}/${texts[file]}` }));
    const azimuth = ((sample.azimuth_deg % 360) + 360) % 360;
    sample.bin = sample.azimuth_deg === null ? "" : `${Math.floor(azimuth / 30) * 30},${Math.min(Math.floor((sample.elevation_deg + 90) / 30) * 30 - 90, 60)}`;
    sample.words = [sample.sample_id, sample.prompt, sample.seed, sample.cad_name, sample.drop_reason, sample.drop_words, sample.class_name].join(" ").toLowerCase();
    return sample;
  });

  const verdicts = ["kept", "dropped", "unjudged"].filter((one) => samples.some((sample) => sample.verdict === one));
  for (const value of ["", ...verdicts]) {
    const radio = make("input", { type: "radio", name: "verdict", value, checked: value === "" });
    find("#verdicts").append(make("label", {}, radio, make("span", { textContent: spoken(value) || "all" })));
  }
  const reasons = [...new Set(samples.map((sample) => sample.drop_reason).filter(Boolean))].sort();
  for (const reason of reasons) filters.elements.reason.append(make("option", { value: reason, textContent: reason }));
  find("#reasons").hidden = !reasons.length;
  // Scores by the names that are there: to order by, and to filter by.
  scores.forEach((name, i) => {
    filters.elements.order.append(make("option", { value: `-scores.${i}`, textContent: `${name}, highest first` }), make("option", { value: `scores.${i}`, textContent: `${name}, lowest first` }));
    filters.elements.score.append(make("option", { value: String(i), textContent: name }));
  });
  find("#range").hidden = !scores.length;
  const fill = (select, options) => {
    const before = select.value;
    select.replaceChildren(select.options[0], ...options.map(([value, text]) => make("option", { value, textContent: text })));
    select.value = options.some(([value]) => value === before) ? before : "";
  };
  fill(filters.elements.class, [...new Set(samples.map((sample) => sample.class_name))].sort().map((name) => [name, name]));
  const offer = () => {
    const of = filters.elements.class.value;
    const models = new Map(samples.filter((sample) => !of || sample.class_name === of).map((sample) => [sample.cad_id, sample.cad_name || sample.cad_id.slice(0, 12)]));
    fill(filters.elements.cad, [...models].sort((a, b) => (a[1] < b[1] ? -1 : 1)));
  };

  // The bins: a row of elevations, a column of azimuths, each cell a switch.
  const chosen = new Set(), cells = new Map();
  const azimuths = [...Array(12).keys()].map((i) => i * 30), elevations = [60, 30, 0, -30, -60, -90];
  const sides = { 0: "front", 90: "its left", 180: "rear", 270: "its right" };
  find("#bins thead").append(make("tr", {}, make("th"), ...azimuths.map((azimuth) => make("th", { scope: "col", textContent: sides[azimuth] ? `${azimuth}° ${sides[azimuth]}` : `${azimuth}°` }))));
  for (const elevation of elevations) {
    const line = make("tr", {}, make("th", { scope: "row", textContent: `${elevation}° to ${elevation + 30}°` }));
    for (const azimuth of azimuths) {
      const button = make("button", { type: "button", ariaPressed: "false" });
      button.dataset.bin = `${azimuth},${elevation}`;
      button.setAttribute("aria-label", `azimuth ${azimuth} to ${azimuth + 30}, elevation ${elevation} to ${elevation + 30} degrees`);
      cells.set(button.dataset.bin, button);
      line.append(make("td", {}, button));
    }
    find("#bins tbody").append(line);
  }

  // What is shown: all that every filter agrees on. Only what comes into sight is put on the page.
  const pictures = find("#pictures"), step = 120;
  let shown = [], drawn = 0;
  const source = (key) => `${files}/${key.slice(0, 2)}/${key}.webp`;
  const tile = (sample) => {
    const rendered = filters.elements.render.checked && sample.pictures.find((picture) => picture.name === "render");
    const image = make("img", { src: source((rendered || sample.pictures[0]).key), loading: "lazy", decoding: "async", alt: sample.prompt });
    const label = make("span", { className: `chip ${sample.verdict}`, textContent: spoken(sample.verdict) });
    const pose = sample.azimuth_deg === null ? "" : `${Math.round(sample.azimuth_deg)}° ${Math.round(sample.elevation_deg)}°`;
    const link = make("a", { className: "tile", href: `#${sample.sample_id}`, title: [sample.sample_id, sample.prompt, sample.drop_words].filter(Boolean).join("\n") }, image,
      make("span", { className: "tile-line" }, label, make("span", { textContent: pose, className: "tile-pose" })));
    link.dataset.sample = sample.sample_id;
    return link;
  };
  const draw = () => {
    pictures.append(...shown.slice(drawn, drawn + step).map(tile));
    drawn = Math.min(drawn + step, shown.length);
  };
  // The chosen score: its values by verdict, with the thresholds of the rules; a click on a bar keeps the pictures in it.
  const shape = (name, attributes, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  const show = (value) => Number(value.toPrecision(3)).toString();
  const distribute = (pool, place) => {
    const plot = find("#distribution svg"), width = 960, left = 40, right = width - 12, top = 34, floor = 140, bins = 48;
    find("#distribution").hidden = place === "";
    if (place === "") return;
    const name = scores[Number(place)], value = (sample) => sample.scores[Number(place)] ?? null;
    const judged = pool.filter((sample) => value(sample) !== null), values = judged.map(value).sort((a, b) => a - b);
    const kinds = new Set(pool.map((sample) => `${sample.class_name}\n${sample.recipe}`));
    const own = limits.filter((limit) => limit[2] === Number(place) && kinds.has(`${limit[0]}\n${limit[1]}`));
    find("#distribution .note").textContent = `${name}: ${judged.length} of ${pool.length} pictures have a value${judged.length < pool.length ? `, ${pool.length - judged.length} were not judged` : ""}. ` +
      `${own.length ? `${[...new Set(own.map((limit) => limit[4]))].join("; ")}.` : "No rule looks at it."} Click a bar to see its pictures.`;
    plot.replaceChildren();
    plot.setAttribute("aria-label", `distribution of ${name}`);
    if (!values.length) return;
    // A few values far out would squeeze all others into one bar: they go into the outer ones.
    const thresholds = [...new Set(own.map((limit) => limit[3]))];
    let low = Math.min(values[Math.floor(0.02 * (values.length - 1))], ...thresholds), high = Math.max(values[Math.floor(0.97 * (values.length - 1))], ...thresholds);
    const margin = (high - low) * 0.05 || 0.5;
    low -= margin; high += margin;
    const step = (high - low) / bins, x = (v) => left + ((v - low) / (high - low)) * (right - left);
    const counts = [...Array(bins)].map(() => ({ kept: 0, dropped: 0, unjudged: 0 }));
    for (const sample of judged) counts[Math.min(Math.max(Math.floor((value(sample) - low) / step), 0), bins - 1)][sample.verdict] += 1;
    const most = Math.max(...counts.map((count) => count.kept + count.dropped + count.unjudged));
    counts.forEach((count, i) => {
      let y = floor;
      for (const verdict of ["kept", "dropped", "unjudged"]) {
        if (!count[verdict]) continue;
        const tall = (floor - top) * count[verdict] / most, from = low + i * step;
        y -= tall;
        const bar = shape("rect", { x: x(from) + 1, y, width: (right - left) / bins - 2, height: tall, class: `bar ${verdict}` });
        bar.dataset.from = i === 0 ? "" : from;
        bar.dataset.to = i === bins - 1 ? "" : from + step;
        bar.append(shape("title", {}, `${show(from)} to ${show(from + step)}: ${count[verdict]} ${spoken(verdict)}`));
        plot.append(bar);
      }
    });
    plot.append(shape("line", { x1: left, x2: right, y1: floor, y2: floor, class: "axis" }), shape("text", { x: left - 6, y: top + 4, class: "tick end" }, String(most)));
    for (let i = 0; i <= 6; i += 1) plot.append(shape("text", { x: left + (right - left) * i / 6, y: floor + 16, class: "tick middle" }, show(low + (high - low) * i / 6)));
    thresholds.forEach((threshold, i) => plot.append(shape("line", { x1: x(threshold), x2: x(threshold), y1: top - 14, y2: floor, class: "threshold" }),
      shape("text", { x: x(threshold) + 5, y: top - 6 - 12 * (i % 2), class: "threshold-label" }, `threshold ${show(threshold)}`)));
  };
  find("#distribution svg").addEventListener("click", (event) => {
    const bar = event.target.closest(".bar");
    if (!bar) return;
    filters.elements.least.value = bar.dataset.from;
    filters.elements.most.value = bar.dataset.to;
    apply();
  });
  const apply = () => {
    const wanted = Object.fromEntries(new FormData(filters));
    const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
    const bounded = wanted.score !== "" && (wanted.least !== "" || wanted.most !== "");
    const within = (sample) => {
      const value = sample.scores[wanted.score] ?? null;
      return !bounded || (value !== null && (wanted.least === "" || value >= Number(wanted.least)) && (wanted.most === "" || value <= Number(wanted.most)));
    };
    const pool = samples.filter((sample) => (!wanted.reason || sample.drop_reason === wanted.reason) && (!wanted.verdict || sample.verdict === wanted.verdict) && (!wanted.class || sample.class_name === wanted.class) &&
      (!wanted.cad || sample.cad_id === wanted.cad) && words.every((word) => sample.words.includes(word)));
    const here = pool.filter(within);
    distribute(pool, wanted.score);
    const counts = new Map();
    for (const sample of here) counts.set(sample.bin, (counts.get(sample.bin) || 0) + 1);
    const most = Math.max(1, ...counts.values());
    for (const [bin, button] of cells) {
      const count = counts.get(bin) || 0;
      button.textContent = count || "";
      button.disabled = !count && !chosen.has(bin);
      button.ariaPressed = String(chosen.has(bin));
      button.style.setProperty("--share", (count / most).toFixed(2));
    }
    find("#all-views").hidden = !chosen.size;
    shown = chosen.size ? here.filter((sample) => chosen.has(sample.bin)) : here;
    const by = wanted.order.replace(/^-/, ""), sign = wanted.order.startsWith("-") ? -1 : 1;
    // Samples without the value come last, in either direction.
    const value = (sample) => (by.startsWith("scores.") ? sample.scores[Number(by.slice(7))] : sample[by]) ?? Infinity * sign;
    if (by) shown = [...shown].sort((a, b) => (value(a) === value(b) ? a.order - b.order : (value(a) < value(b) ? -1 : 1) * sign));
    find("#shown").value = shown.length === samples.length ? `${shown.length} pictures` : `${shown.length} of ${samples.length} pictures`;
    find("#nothing").hidden = shown.length > 0;
    pictures.replaceChildren();
    drawn = 0;
    draw();
  };
  filters.addEventListener("input", (event) => {
    if (event.target === filters.elements.class) offer();
    apply();
  });
  filters.addEventListener("submit", (event) => event.preventDefault());
  find("#bins").addEventListener("click", (event) => {
    const bin = event.target.closest("button")?.dataset.bin;
    if (!bin) return;
    if (!chosen.delete(bin)) chosen.add(bin);
    apply();
  });
  find("#all-views").addEventListener("click", () => { chosen.clear(); apply(); });
  new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting) && drawn < shown.length) draw(); }, { rootMargin: "1200px" })
    .observe(find("#more"));

  // One picture, large, with the text of where it comes from; its address can be sent to somebody.
  const provenance = (sample) => [
    ["sample", sample.sample_id], ["class", sample.class_name], ["CAD model", `${sample.cad_name}  ${sample.cad_id}`], ["licence", sample.licence || "not stated"],
    ["pose", `azimuth ${sample.azimuth_deg}°, elevation ${sample.elevation_deg}°, in-plane ${sample.inplane_deg}°, distance ${sample.distance}`],
    ["caption", sample.prompt], ["captioner", `${sample.captioner} ${sample.captioner_revision}`], ["seed", sample.seed],
    ["generator", `${sample.model_id} @ ${sample.model_revision}`], ["recipe", sample.recipe],
    ["run", sample.run_id + (sample.flow_run_url ? `  ${sample.flow_run_url}` : "")],
    ["verdict", [spoken(sample.verdict), sample.drop_reason, sample.drop_words].filter(Boolean).join(": ")],
    ["scores", scores.map((name, i) => `${name} ${sample.scores[i] ?? "not judged"}`).join(", ") || "not judged"],
    ...sample.pictures.map((picture) => [picture.name, picture.key]),
  ].map(([name, value]) => `${name.padEnd(18)} ${value}`).join("\n");
  let current = null;
  const open = (sample) => {
    current = sample;
    const figure = ({ name, key, address }) => make("figure", { className: `pic pic-${name.split(":")[0]}` }, make("a", { href: `${store}/${address}`, target: "_blank", rel: "noreferrer" },
      make("img", { src: source(key), alt: name })), make("figcaption", { textContent: name }));
    find(".viewer-pictures", viewer).replaceChildren(...sample.pictures.map(figure));
    find("h3", viewer).textContent = sample.sample_id;
    find("#provenance").textContent = provenance(sample);
    find(".commands", viewer).replaceChildren(make("code", { textContent: `dst show ${sample.sample_id}` }), " ", make("code", { textContent: `dst reproduce ${sample.sample_id}` }));
    const place = shown.indexOf(sample);
    find(".place", viewer).textContent = place < 0 ? "" : `${place + 1} / ${shown.length}`;
    if (!viewer.open) viewer.showModal();
  };
  const walk = (by) => {
    if (!shown.length) return;
    const next = shown[(shown.indexOf(current) + by + shown.length) % shown.length];
    location.replace(`#${next.sample_id}`);
  };
  const byName = new Map(samples.map((sample) => [sample.sample_id, sample]));
  const follow = () => {
    const sample = byName.get(decodeURIComponent(location.hash.slice(1)));
    if (sample) open(sample);
    else if (viewer.open) viewer.close();
  };
  addEventListener("hashchange", follow);
  viewer.addEventListener("close", () => { if (location.hash.length > 1) history.replaceState(null, "", location.pathname + location.search); });
  viewer.addEventListener("click", (event) => {
    const button = event.target.closest("[data-step]");
    if (button) walk(Number(button.dataset.step));
    if (event.target.closest("[data-close]") || event.target === viewer) viewer.close();
    const command = event.target.closest(".commands code");
    if (command) getSelection().selectAllChildren(command);
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") walk(1);
    if (event.key === "ArrowLeft") walk(-1);
  });
  offer();
  apply();
  follow();
})();
