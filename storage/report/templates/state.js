"use strict";
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children.filter((child) => child !== null && child !== ""));
    return element;
  };
  const root = document.documentElement, EVERY_MS = 3000;

  find("#theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // Words for numbers and moments.
  const duration = (seconds) => {
    if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
    if (seconds < 99.5) return `${Math.round(seconds)} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  };
  const several = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
  const ago = (moment) => {
    const seconds = (Date.now() - Date.parse(moment)) / 1000;
    if (seconds < -172800) return `in ${Math.round(-seconds / 86400)} days`;
    if (seconds < 0) return `in ${duration(-seconds)}`;
    if (seconds < 86400) return `${duration(Math.max(seconds, 1))} ago`;
    return several(Math.floor(seconds / 86400), "day") + " ago";
  };
  const when = (moment) => (moment ? make("time", { dateTime: moment, title: new Date(moment).toLocaleString(), textContent: ago(moment) }) : "");
  const bar = (parts, total) => {
    const line = make("span", { className: "bar" });
    for (const [name, count] of parts) if (count) {
      const part = make("i", { className: name, title: `${count} ${name === "unjudged" ? "not judged" : name}` });
      part.style.width = `${(100 * count) / Math.max(total, 1)}%`;
      line.append(part);
    }
    return line;
  };
  const pill = (text, kind) => make("span", { className: `pill ${kind}`, textContent: text });
  const kindOf = (status) => (status === "complete" ? "good" : status === "running" ? "running" : ["invalid", "stopped", "failed", "crashed"].includes(status) ? "bad" : "");
  const cell = (name, ...children) => {
    const element = make("td", {}, ...children);
    if (name) element.dataset.name = name;
    return element;
  };

  const row = (one) => {
    const line = make("tr", { className: one.last ? "" : "earlier" });
    const models = [several(one.cad_models, "CAD model"), ...(one.rejected ? [`${one.rejected} rejected`] : [])].join(", ");
    line.append(make("th", { scope: "row" }, one.class_name, make("small", { textContent: [one.recipe, models].filter(Boolean).join(" · ") })));
    const standing = cell("", pill(one.standing, one.standing.replace(" ", "-")));
    standing.className = "standing";
    if (one.why.length) standing.append(make("ul", { className: "why" }, ...one.why.map((text) => make("li", { textContent: text }))));
    line.append(standing);
    const left = [...(one.pending ? [`${one.pending} pending`] : []), ...(one.failed ? [`${one.failed} failed`] : [])].join(", ");
    const samples = cell("samples", one.recipe ? `${one.made} of ${one.samples} made` : "–", make("small", { textContent: left }));
    if (one.stages.length) samples.append(details(one));
    line.append(samples);
    const yields = cell("yield");
    yields.classList.add("yield");
    if (one.kept_share === null) yields.append(one.not_judged ? `${one.not_judged} not judged` : "–");
    else {
      const judged = [`${one.kept} kept`, `${one.dropped} dropped`, ...(one.not_judged ? [`${one.not_judged} not judged`] : [])].join(", ");
      yields.append(make("b", { textContent: `${Math.round(100 * one.kept_share)} %` }), make("small", { textContent: judged }),
        bar([["kept", one.kept], ["dropped", one.dropped], ["unjudged", one.not_judged], ["failed", one.failed]], one.kept + one.dropped + one.not_judged + one.failed));
    }
    line.append(yields);
    const last = cell("last run");
    if (!one.run) last.append("none yet");
    else {
      last.append(pill(one.run.status, kindOf(one.run.status)), " ", when(one.run.finished_at || one.run.started_at));
      if (one.run.reason && !one.why.some((text) => text.includes(one.run.reason))) last.append(make("small", { textContent: one.run.reason }));
      const links = make("small");
      if (one.run.report) links.append(make("a", { href: `../${one.run.report}`, textContent: "report" }));
      links.append(links.childNodes.length ? " · " : "", make("a", { href: `pictures?${new URLSearchParams({ class: one.class_name, recipe: one.recipe })}`, textContent: "pictures" }));
      if (/^https?:/.test(one.run.url)) links.append(" · ", make("a", { href: one.run.url, textContent: "Prefect", rel: "noreferrer" }));
      last.append(links);
    }
    line.append(last);
    line.append(cell("cost", one.cost_s ? duration(one.cost_s) : "–", make("small", { textContent: one.cost_each_s ? `${duration(one.cost_each_s)} a kept image` : "" })));
    return line;
  };
  const details = (one) => {
    const counts = make("div", { className: "counts" }, make("span"), make("span", { textContent: "done" }), make("span", { textContent: "pending" }), make("span", { textContent: "failed" }));
    const number = (value, kind = "") => make("b", { textContent: value, className: value ? kind : "none" });
    for (const stage of one.stages) counts.append(make("span", { textContent: stage.stage }), number(stage.done), number(stage.pending), number(stage.failed, "failed"));
    const box = make("details", {}, make("summary", { textContent: "by stage" }), counts);
    for (const failed of one.failures) {
      box.append(make("small", { textContent: `${failed.samples} failed at ${failed.stage}: ${failed.reason}` }));
      if (failed.retry) box.append(make("p", { className: "commands" }, make("code", { textContent: failed.retry })));
    }
    return box;
  };
  const card = (run) => {
    const share = run.done === null ? 0 : run.done;
    return make("div", { className: "panel" },
      make("h3", {}, make("a", { href: `pictures?${new URLSearchParams({ class: run.class_name, recipe: run.recipe })}`, textContent: run.class_name }), make("small", { textContent: ` ${run.recipe}${run.kind === "generate" ? "" : `, ${run.kind}`}` })),
      bar([["done", share]], run.samples),
      make("p", {}, make("span", { textContent: run.done === null ? several(run.samples, "sample") : `${run.done} of ${run.samples} images` }), make("span", { textContent: run.to_go_s === null ? "" : `about ${duration(run.to_go_s)} to go` })),
      make("p", {}, make("span", {}, "since ", when(run.since)), make("span", { textContent: `heard of ${run.heartbeat}` })));
  };

  // What has not changed stays as it is: an opened detail stays open, a selection stays selected.
  const shown = new Map();
  const fill = (body, items, keyOf, build) => {
    const before = shown.get(body) || new Map(), now = new Map();
    for (const item of items) {
      const key = keyOf(item), text = JSON.stringify(item), known = before.get(key);
      const element = known && known.text === text ? known.element : build(item);
      if (known && known.element !== element) element.querySelectorAll("details").forEach((box, i) => { box.open = known.element.querySelectorAll("details")[i]?.open || false; });
      now.set(key, { text, element });
    }
    const elements = [...now.values()].map(({ element }) => element);
    if (elements.length !== body.children.length || elements.some((element, i) => body.children[i] !== element)) body.replaceChildren(...elements);
    shown.set(body, now);
  };
  const show = (state) => {
    const last = state.classes.filter((one) => one.last), of = (standing) => last.filter((one) => one.standing === standing).length;
    const sum = (name) => state.classes.reduce((total, one) => total + one[name], 0);
    fill(find("#totals"), [["classes", last.length, ""], ["running", of("running"), "running"], ["fresh", of("fresh"), "fresh"], ["stale", of("stale"), "stale"], ["images", sum("made"), ""], ["kept", sum("kept"), "kept"]],
      ([name]) => name, ([name, value, kind]) => make("div", { className: value ? kind : "" }, make("dt", { textContent: name }), make("dd", { textContent: value.toLocaleString("en") })));
    find("#count").textContent = last.length || "";
    find("#nothing").hidden = last.length > 0;
    find(".classes table").hidden = !last.length;
    fill(find("#classes"), state.classes, (one) => `${one.class_name}\n${one.recipe}`, row);
    find("#running").hidden = !state.going.length;
    fill(find("#going"), state.going, (run) => run.run_id, card);
    find("#scheduled").hidden = !state.scheduled.length;
    fill(find("#scheduled tbody"), state.scheduled, (run) => run.flow_run, (run) => make("tr", {}, make("th", { scope: "row", textContent: run.name }), cell("", run.state), cell("", when(run.when))));
    find("#silence").hidden = !state.silence;
    find("#silence").textContent = state.silence;
    find("#ended").hidden = !state.ended.length;
    fill(find("#ended tbody"), state.ended, (run) => run.run_id, (run) => make("tr", {}, make("th", { scope: "row" }, run.class_name, make("small", { textContent: run.recipe })),
      make("td", { className: "wide", textContent: run.kind }), make("td", { className: "wide n", textContent: run.samples }), cell("", pill(run.status, kindOf(run.status)), make("small", { textContent: run.reason })), cell("", when(run.finished_at))));
    find("#refused").hidden = !state.refused;
    find("#refused").textContent = `${several(state.refused, "file")} refused; see: dst cad list --rejected`;
  };

  const pulse = find("#pulse");
  let since = null;
  const look = async () => {
    try {
      const answer = await fetch("state.json", { cache: "no-cache" });
      if (!answer.ok) throw new Error((await answer.text()).trim() || `the server says ${answer.status}`);
      show(await answer.json());
      since = null;
      pulse.textContent = "live";
      pulse.className = "pulse";
    } catch (error) {
      since ||= new Date();
      pulse.className = "pulse away";
      pulse.textContent = `${error instanceof TypeError ? "no answer from dst serve" : error.message}, since ${since.toLocaleTimeString()}`;
    }
    for (const time of document.querySelectorAll("time")) time.textContent = ago(time.dateTime);
  };
  const go = async () => {
    if (!document.hidden) await look();
    setTimeout(go, EVERY_MS);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  document.addEventListener("click", (event) => {
    const command = event.target.closest(".commands code");
    if (command) getSelection().selectAllChildren(command);
  });
  go();
})();
