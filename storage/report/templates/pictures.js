"use strict";
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children.filter((child) => child !== null && child !== ""));
    return element;
  };
  const root = document.documentElement, token = document.body.dataset.token, TAGS = ["good", "bad", "doubtful"];
  const EVERY_MS = 3000, SEEN_EVERY = 4;
  const filters = find("#filters"), shots = find("#shots"), viewer = find("#viewer"), pulse = find("#pulse"), alarm = find("#alert");

  find("#theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const spoken = (text) => text.replaceAll("_", " ");
  const ago = (moment) => {
    const seconds = Math.max((Date.now() - Date.parse(moment)) / 1000, 0);
    if (seconds < 99) return `${Math.round(seconds)} s ago`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
    return seconds < 129600 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
  };
  const time = (moment) => make("time", { dateTime: moment, title: new Date(moment).toLocaleString(), textContent: ago(moment) });
  const figure = (name, address, small, alt) => {
    const image = make("img", { src: small ? `thumbnails/${address}` : `../artifacts/${address}`, alt, loading: "lazy", decoding: "async" });
    return make("figure", { className: `pic pic-${name.split(":")[0]}` }, image, make("figcaption", { textContent: name }));
  };
  const buttons = (shot) => TAGS.map((tag) => {
    const button = make("button", { type: "button", ariaPressed: String(shot.tag === tag) }, tag, " ", make("kbd", { textContent: tag[0] }));
    button.dataset.tag = tag;
    return button;
  });
  const chip = (shot) => (shot.verdict ? make("span", { className: `chip ${shot.verdict}`, textContent: shot.verdict === "unjudged" ? "not judged" : shot.verdict, title: [spoken(shot.reason), shot.words].filter(Boolean).join(": ") }) : "");
  const measured = (shot, digits) => Object.entries(shot.scores).map(([name, value]) => `${name} ${value.toFixed(digits)}`);

  // Shots by key, and their keys, the newest first.
  const known = new Map(), later = new Map(), inSight = new Set();
  let order = [], current = null, more = null, loading = null, generation = 0, tags = {}, ready = false;
  const newer = (a, b) => (a.created_at === b.created_at ? (a.key < b.key ? 1 : -1) : a.created_at < b.created_at ? 1 : -1);
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) inSight[isIntersecting ? "add" : "delete"](target.dataset.key);
  });

  const card = (shot) => {
    const strip = make("span", { className: "shot-strip" }, ...shot.strip.map(([name, address]) => figure(name, address, true, name)));
    const line = make("p", { className: "line" }, chip(shot), ...measured(shot, 2).slice(0, 2).map((textContent) => make("span", { className: "score", textContent })));
    const pose = shot.azimuth_deg === null ? "" : `az ${Math.round(shot.azimuth_deg)}° el ${Math.round(shot.elevation_deg)}°`;
    const element = make("article", { className: "shot", tabIndex: -1 },
      make("button", { type: "button", className: "shot-pictures", tabIndex: -1, ariaLabel: `Open ${shot.sample_id}` }, figure("image", shot.image, true, shot.caption || shot.sample_id), strip),
      make("div", { className: "facts" }, line, make("p", { className: "caption", textContent: shot.caption, title: shot.caption }),
        make("p", { className: "where" }, make("b", { textContent: shot.class_name }), shot.recipe, make("span", { textContent: shot.cad_name }), make("span", { textContent: pose })),
        make("div", { className: "tags", role: "group", ariaLabel: "Tag" }, ...buttons(shot)), make("div", { className: "said" })));
    element.dataset.key = shot.key;
    return element;
  };
  const said = (shot) => {
    const box = find(".said", shot.element);
    box.replaceChildren();
    if (!shot.tag) {
      box.append("landed ", time(shot.created_at));
      return;
    }
    const note = make("input", { type: "text", placeholder: "note", maxLength: 1000, value: shot.note });
    note.setAttribute("aria-label", `Note on ${shot.sample_id}`);
    box.append(make("span", { textContent: `by ${shot.tagged_by || "you"}`, title: shot.tagged_at && new Date(shot.tagged_at).toLocaleString() }), note);
  };
  const mark = (shot) => {
    for (const button of shot.element.querySelectorAll("[data-tag]")) button.ariaPressed = String(button.dataset.tag === shot.tag);
    if (!find(".said input", shot.element)?.matches(":focus")) said(shot);
    if (viewer.open && current === shot.key) press(shot);
  };
  const changed = (shot, fresh) => ["verdict", "reason", "words", "run_id"].some((name) => shot[name] !== fresh[name]) || JSON.stringify(shot.scores) !== JSON.stringify(fresh.scores);
  const take = (fresh) => {
    const shot = known.get(fresh.key);
    // Nobody's half-written note is taken away.
    if (!shot || shot.saving || find(".said input", shot.element)?.matches(":focus")) return;
    const judged = changed(shot, fresh), tagged = ["tag", "note", "tagged_by"].some((name) => shot[name] !== fresh[name]);
    Object.assign(shot, fresh);
    if (judged) {
      const element = card(shot), focused = shot.element.contains(document.activeElement);
      element.classList.toggle("current", current === shot.key);
      sight.unobserve(shot.element);
      shot.element.replaceWith(element);
      shot.element = element;
      sight.observe(element);
      if (focused) element.focus({ preventScroll: true });
    }
    if (judged || tagged) mark(shot);
  };
  const insert = (found) => {
    for (const fresh of found) {
      if (known.has(fresh.key)) { take(fresh); continue; }
      const shot = { ...fresh };
      shot.element = card(shot);
      known.set(shot.key, shot);
      const place = order.findIndex((key) => newer(shot, known.get(key)) < 0);
      if (place < 0) { order.push(shot.key); shots.append(shot.element); } else { shots.insertBefore(shot.element, known.get(order[place]).element); order.splice(place, 0, shot.key); }
      said(shot);
      sight.observe(shot.element);
    }
    tell();
  };
  const tell = () => {
    const counted = TAGS.filter((tag) => tags[tag]).map((tag) => `${tags[tag]} ${tag}`).join(", ");
    find("#shown").textContent = `${order.length}${more ? "+" : ""} shown${counted ? ` · tagged: ${counted}` : ""}`;
    find("#nothing").hidden = order.length > 0 || !ready;
    const narrowed = [...new FormData(filters).values()].some(Boolean);
    find("#nothing").replaceChildren(narrowed ? "No picture like this." : "No picture yet. They appear here as they land; start a run: ", narrowed ? "" : make("code", { textContent: "dst run CLASS" }));
    find("#newer").hidden = !later.size;
    find("#newer").textContent = `${later.size === 1 ? "1 new picture" : `${later.size} new pictures`} ↑`;
    find("#more").textContent = more ? "loading older ones …" : "";
  };
  const offer = (select, names) => {
    const wanted = select.value || new URLSearchParams(location.search).get(select.name) || "";
    if (names.join("\n") === [...select.options].slice(1).map((option) => option.value).join("\n")) return;
    select.replaceChildren(select.options[0], ...names.map((name) => make("option", { value: name, textContent: name })));
    select.value = names.includes(wanted) ? wanted : "";
  };
  const making = (runs) => {
    const list = find("#making");
    list.hidden = !runs.length;
    list.replaceChildren(...runs.map((run) => {
      const done = make("i", { className: "done" });
      done.style.width = `${(100 * run.made) / Math.max(run.samples, 1)}%`;
      return make("li", {}, make("span", {}, make("b", { textContent: run.class_name }), ` ${run.recipe}: ${run.made} of ${run.samples} images`), make("span", { className: "bar" }, done));
    }));
  };

  // Asking. What was asked for before the filters changed is not shown any more.
  const query = (extra = {}) => {
    const wanted = new URLSearchParams(location.search), all = {};
    for (const name of ["class", "recipe", "tag"]) all[name] = filters.elements[name].value || (ready ? "" : wanted.get(name)) || "";
    return new URLSearchParams(Object.entries({ ...all, ...extra }).filter(([, value]) => value));
  };
  const ask = async (extra) => {
    const answer = await fetch(`pictures.json?${query(extra)}`, { cache: "no-cache" });
    if (!answer.ok) throw new Error((await answer.text()).trim() || `the server says ${answer.status}`);
    return answer.json();
  };
  let since = null;
  const well = () => { since = null; pulse.textContent = "live"; pulse.className = "pulse"; };
  const away = (error) => {
    since ||= new Date();
    pulse.className = "pulse away";
    pulse.textContent = `${error instanceof TypeError ? "no answer from dst serve" : error.message}, since ${since.toLocaleTimeString()}`;
  };
  const reload = async () => {
    const mine = ++generation;
    try {
      const page = await ask();
      if (mine !== generation) return;
      ready = true;
      known.clear();
      later.clear();
      inSight.clear();
      sight.disconnect();
      order = [];
      current = loading = null;
      shots.replaceChildren();
      more = page.more;
      settle(page);
      insert(page.pictures);
      well();
      older();
    } catch (error) { away(error); }
  };
  const settle = (page) => {
    tags = page.tags;
    offer(filters.elements.class, page.classes);
    offer(filters.elements.recipe, page.recipes);
    making(page.going);
  };
  const older = async () => {
    if (!more || loading || find("#more").getBoundingClientRect().top > innerHeight + 1500) return;
    const mine = generation;
    loading = ask({ before: more.join("~") });
    try {
      const page = await loading;
      if (mine !== generation) return;
      more = page.more;
      insert(page.pictures);
    } catch (error) { away(error); return; } finally { if (mine === generation) loading = null; }
    older();
  };
  let looks = 0;
  const look = async () => {
    const mine = generation;
    try {
      const page = await ask();
      if (mine !== generation) return;
      settle(page);
      const fresh = page.pictures.filter((shot) => !known.has(shot.key) && !later.has(shot.key));
      page.pictures.filter((shot) => known.has(shot.key)).forEach(take);
      // Who is at the top sees them land; whoever looks at others is told, and nothing moves.
      const gap = order.length > 0 && page.more && fresh.length === page.pictures.length;
      if (!gap && !viewer.open && scrollY < 200 && (current === null || current === order[0])) insert(fresh);
      else for (const shot of fresh) later.set(shot.key, shot);
      if (++looks % SEEN_EVERY === 0) {
        const first = new Set(page.pictures.map((shot) => shot.key)), keys = [...inSight].filter((key) => !first.has(key));
        if (keys.length) (await ask({ keys: keys.join(",") })).pictures.forEach(take);
      }
      tell();
      well();
    } catch (error) { away(error); }
    for (const element of document.querySelectorAll("time")) element.textContent = ago(element.dateTime);
  };
  const go = async () => {
    if (!document.hidden) await (ready ? look() : reload());
    setTimeout(go, EVERY_MS);
  };
  find("#newer").addEventListener("click", () => { scrollTo({ top: 0 }); reload(); });
  filters.addEventListener("input", () => {
    history.replaceState(null, "", `?${query()}`.replace(/\?$/, location.pathname));
    reload();
  });
  filters.addEventListener("submit", (event) => event.preventDefault());
  new IntersectionObserver(older, { rootMargin: "1500px" }).observe(find("#more"));

  // Tagging: shown at once, sent in order, taken back if it was not written.
  const undone = [];
  let sending = Promise.resolve();
  const say = (shot, tag, note, undoing = false) => {
    const before = { tag: shot.tag, note: shot.note, tagged_by: shot.tagged_by, tagged_at: shot.tagged_at };
    if (!undoing) undone.push({ key: shot.key, tag: before.tag, note: before.note });
    for (const [name, count] of [[before.tag, -1], [tag, 1]]) if (name) tags[name] = (tags[name] || 0) + count;
    tell();
    Object.assign(shot, { tag, note, tagged_by: "", tagged_at: "" });
    shot.saving = (shot.saving || 0) + 1;
    shot.element.classList.add("saving");
    mark(shot);
    sending = sending.then(async () => {
      try {
        const answer = await fetch("tag", { method: "POST", headers: { "content-type": "application/json", "x-dst-token": token }, body: JSON.stringify({ image: shot.key, tag, note }) });
        if (!answer.ok) throw new Error((await answer.text()).trim() || `the server says ${answer.status}`);
        const now = await answer.json();
        if (shot.saving === 1) Object.assign(shot, now);
        alarm.hidden = true;
      } catch (error) {
        Object.assign(shot, before);
        alarm.hidden = false;
        alarm.textContent = `Not written: ${error instanceof TypeError ? "no answer from dst serve" : error.message}`;
      }
      shot.saving -= 1;
      shot.element.classList.toggle("saving", shot.saving > 0);
      mark(shot);
    });
    return sending;
  };
  const undo = () => {
    const last = undone.pop();
    const shot = last && known.get(last.key);
    if (!shot) return;
    say(shot, last.tag, last.note, true);
    select(shot.key);
  };
  const tagCurrent = (tag) => {
    const shot = known.get(current);
    if (!shot) { select(order[0]); return; }
    if (shot.tag !== tag) say(shot, tag, shot.note);
    walk(1);
  };

  // One shot is the current one.
  const select = (key, focus = true) => {
    if (!known.has(key)) return;
    known.get(current)?.element.classList.remove("current");
    current = key;
    const shot = known.get(key);
    shot.element.classList.add("current");
    if (viewer.open) enlarge(shot);
    else if (focus) { shot.element.focus({ preventScroll: true }); shot.element.scrollIntoView({ block: "nearest" }); }
    if (order.indexOf(key) > order.length - 12) older();
  };
  const walk = (by) => {
    const place = order.indexOf(current);
    select(order[place < 0 ? 0 : Math.min(Math.max(place + by, 0), order.length - 1)]);
  };
  const columns = () => getComputedStyle(shots).gridTemplateColumns.split(" ").length;
  const enlarge = (shot) => {
    find(".viewer-pictures", viewer).replaceChildren(...[...shot.strip, ["image", shot.image]].map(([name, address]) => figure(name, address, false, name)));
    find(".place", viewer).textContent = `${order.indexOf(shot.key) + 1} / ${order.length}${more ? "+" : ""}`;
    press(shot);
    if (!viewer.open) viewer.showModal();
  };
  // The buttons stay the same ones: a click between pressing and letting go is not lost.
  find(".tags", viewer).append(...buttons({ tag: null }));
  const press = (shot) => {
    for (const button of viewer.querySelectorAll("[data-tag]")) button.ariaPressed = String(button.dataset.tag === shot.tag);
    const facts = [["class", shot.class_name], ["recipe", shot.recipe], ["CAD model", shot.cad_name],
      ["pose", shot.azimuth_deg === null ? "" : `azimuth ${shot.azimuth_deg.toFixed(1)}°, elevation ${shot.elevation_deg.toFixed(1)}°`], ["seed", shot.seed],
      ["verdict", shot.verdict ? [shot.verdict === "unjudged" ? "not judged" : shot.verdict, spoken(shot.reason), shot.words].filter(Boolean).join(": ") : "its run is not that far yet"],
      ["scores", measured(shot, 3).join(", ")], ["tag", shot.tag ? `${shot.tag} by ${shot.tagged_by || "you"}${shot.note ? `: ${shot.note}` : ""}` : ""],
      ["made", new Date(shot.created_at).toLocaleString()]].filter(([, value]) => value);
    find(".viewer-details", viewer).replaceChildren(make("h3", { textContent: shot.sample_id }), make("blockquote", { textContent: shot.caption }),
      make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })])),
      make("p", { className: "commands" }, make("code", { textContent: `dst show ${shot.sample_id}` })));
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-tag]"), element = event.target.closest(".shot");
    if (element) select(element.dataset.key, !event.target.matches("input"));
    const shot = known.get(current);
    if (button && shot) say(shot, shot.tag === button.dataset.tag ? null : button.dataset.tag, shot.tag === button.dataset.tag ? "" : shot.note);
    else if (event.target.closest(".shot-pictures") && shot) enlarge(shot);
    const step = event.target.closest("[data-step]");
    if (step) walk(Number(step.dataset.step));
    if (event.target.closest("[data-close]") || event.target === viewer) viewer.close();
    const command = event.target.closest(".commands code");
    if (command) getSelection().selectAllChildren(command);
  });
  viewer.addEventListener("close", () => select(current));
  document.addEventListener("focusin", (event) => {
    const key = event.target.closest?.(".shot")?.dataset.key;
    if (key && key !== current && !event.target.matches(".shot")) select(key, false);
  });
  shots.addEventListener("change", (event) => {
    const shot = known.get(event.target.closest(".shot")?.dataset.key);
    if (shot && event.target.matches(".said input") && event.target.value.trim() !== shot.note) say(shot, shot.tag, event.target.value.trim());
  });
  document.addEventListener("keydown", (event) => {
    const writing = event.target.matches("input[type=text], select");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (writing) {
      if (event.target.matches(".said input") && ["Enter", "Escape"].includes(event.key)) {
        if (event.key === "Escape") event.target.value = known.get(current)?.note || "";
        event.preventDefault();
        event.target.blur();
        known.get(current)?.element.focus({ preventScroll: true });
      }
      return;
    }
    const inSegments = event.target.matches("input[type=radio]");
    const steps = { ArrowRight: 1, ArrowLeft: -1, ...(viewer.open ? {} : { ArrowDown: columns(), ArrowUp: -columns() }) };
    const acts = { g: () => tagCurrent("good"), b: () => tagCurrent("bad"), d: () => tagCurrent("doubtful"), u: undo,
      n: () => find(".said input", known.get(current)?.element)?.focus(),
      Enter: () => (event.target.matches("button, a") || viewer.open ? null : known.get(current) && enlarge(known.get(current))) };
    const step = inSegments ? undefined : steps[event.key], act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (step !== undefined) walk(step);
    else if (act && !(event.key === "Enter" && event.target.matches("button, a"))) act();
    else return;
    event.preventDefault();
  });
  for (const radio of filters.elements.tag) radio.checked = radio.value === (new URLSearchParams(location.search).get("tag") || "");
  go();
})();
