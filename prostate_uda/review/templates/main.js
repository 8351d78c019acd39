"use strict";
// Wires the page: buttons, sliders, wheel, drag and keys.

class Page {
  constructor() {
    const read = (node) => JSON.parse(node.textContent);
    this.report = read($("report"));
    this.index = read($("index"));
    this.data = [...document.querySelectorAll(".case-data")].map((node) => () => read(node)); // read when it is opened
    this.store = new Store(this.report, this.index);
    this.viewer = new Viewer();
    this.list = new CaseList(this.index, this.store, (place) => this.open(place));
    this.panel = new CasePanel(this.store);
    this.place = -1;
    this.store.changed = () => this.draw();
    this.viewer.moved = () => this.follow();
    $("reviewer").value = this.store.reviewer;
    this.#buttons();
    this.#pointer();
    this.#files();
    document.addEventListener("keydown", (event) => this.#key(event));
    if (this.index.length) this.open(0);
    else this.#disable();
    this.draw();
    if (!this.store.remembers) this.say("This browser keeps nothing for this page: save your verdicts before you close it.");
  }

  get case() { return this.index[this.place]; }

  say(words) { $("message").textContent = words; }

  open(place) {
    if (!this.index[place] || place === this.place) return;
    this.comment();
    this.place = place;
    $("comment").blur();
    this.panel.open(this.case);
    this.#profile(this.data[place]());
    this.draw();
    this.list.rows[place].item.scrollIntoView({ block: "nearest" });
  }

  move(step) {
    const listed = this.list.listed(this.place), here = listed.indexOf(this.place);
    const place = here < 0 ? listed[0] : listed[here + step];
    if (place === undefined) this.say(step > 0 ? "This is the last case of the list." : "This is the first case of the list.");
    else {
      this.say("");
      this.open(place);
    }
  }

  judge(verdict) {
    if (!this.case) return;
    this.comment();
    this.store.judge(this.case.name, { verdict });
    const anonymous = !this.store.reviewer;
    $("reviewer").classList.toggle("wanted", anonymous);
    this.say(`${anonymous ? "Add your name at the top. " : ""}${WORDS[verdict]}: ${this.case.name}`);
    if ($("advance").checked) this.move(1);
  }

  comment() {
    if (this.case && $("comment").value !== this.store.entry(this.case.name).comment) {
      this.store.judge(this.case.name, { comment: $("comment").value });
    }
  }

  undo() {
    this.comment();
    const name = this.store.undo();
    if (name === null) return;
    $("comment").value = this.store.entry(this.case.name).comment;
    this.open(this.index.findIndex((one) => one.name === name));
    this.say(`Undone: ${name}`);
  }

  draw() {
    const count = this.index.length, done = this.store.reviewed;
    $("progress").textContent = `${done} of ${count} reviewed`;
    Object.assign($("done"), { max: Math.max(1, count), value: done });
    $("save-json").classList.toggle("wanted", this.store.unsaved);
    $("undo").disabled = this.store.past.length === 0;
    if (document.activeElement !== $("reviewer")) $("reviewer").value = this.store.reviewer;
    this.list.draw(this.place);
    if (this.case) this.panel.draw(this.case);
  }

  /** Bring the controls to where the viewer is. */
  follow() {
    const { viewer } = this, press = (node, on) => node.setAttribute("aria-pressed", String(on));
    Object.assign($("slice"), { max: viewer.case.slices.length, value: viewer.slice + 1, disabled: viewer.case.slices.length < 2 });
    $("slice").setAttribute("aria-valuetext", `${viewer.slice + 1} of ${viewer.case.slices.length}`);
    $("level").value = Math.round(1000 * viewer.level);
    $("width").value = Math.round(1000 * viewer.width);
    $("opacity").value = Math.round(100 * viewer.opacity);
    document.querySelectorAll("[data-toggle]").forEach((node) => press(node, viewer.shows[node.dataset.toggle]));
    document.querySelectorAll("[data-zoom]").forEach((node) => press(node, viewer.zoom === node.dataset.zoom));
    $("profile").querySelector(".here")?.setAttribute("x", viewer.slice);
  }

  toggle(what) {
    if (what === "uncertainty" && !this.viewer.case?.slices.some((slice) => slice.uncertainty)) {
      this.say("No uncertainty is kept for this case.");
      return;
    }
    this.viewer.shows[what] = !this.viewer.shows[what];
    this.viewer.hidden = false;
    this.viewer.draw();
  }

  #profile(one) {
    const most = Math.max(1, ...one.slices.map(({ area }) => area[0] + area[1])), bars = [];
    const bar = (className, x, y, height) => {
      const rect = document.createElementNS(SVG, "rect");
      for (const [name, value] of Object.entries({ class: className, x, y, width: 1, height })) rect.setAttribute(name, value);
      bars.push(rect);
    };
    one.slices.forEach(({ area: [pz, tz] }, place) => {
      bar("tz", place, 1 - tz / most, tz / most);
      bar("pz", place, 1 - (pz + tz) / most, pz / most);
    });
    bar("here", one.first, 0, 1);
    $("profile").setAttribute("viewBox", `0 0 ${one.slices.length} 1`);
    $("profile").replaceChildren(...bars);
    const doubt = one.slices.some((slice) => slice.uncertainty);
    document.querySelector("[data-toggle='uncertainty']").disabled = !doubt;
    this.viewer.open(one);
  }

  #buttons() {
    const on = (id, act, kind = "click") => $(id).addEventListener(kind, act);
    const each = (name, act) => document.querySelectorAll(`[data-${name}]`).forEach((node) => node.addEventListener("click", () => act(node.dataset[name])));
    each("toggle", (what) => this.toggle(what));
    each("verdict", (verdict) => this.judge(verdict));
    each("zoom", (zoom) => this.viewer.fit(zoom));
    each("filter", (filter) => this.refilter(filter));
    on("slice", () => this.viewer.go(Number($("slice").value) - 1), "input");
    on("opacity", () => { Object.assign(this.viewer, { opacity: $("opacity").value / 100, hidden: false }); this.viewer.draw(); }, "input");
    for (const id of ["level", "width"]) on(id, () => this.viewer.windowed($("level").value / 1000, $("width").value / 1000), "input");
    on("reset", () => this.reset());
    on("zoom-in", () => this.viewer.scaled(0.8));
    on("zoom-out", () => this.viewer.scaled(1.25));
    on("previous", () => this.move(-1));
    on("next", () => this.move(1));
    on("undo", () => this.undo());
    on("search", () => this.list.draw(this.place), "input");
    on("comment", () => this.comment(), "change");
    on("reviewer", () => { this.store.name($("reviewer").value); $("reviewer").classList.remove("wanted"); }, "change");
    for (const id of ["keys", "about", "failures"]) $(`${id}-open`)?.addEventListener("click", () => $(id).showModal());
    document.querySelector(".judge").addEventListener("submit", (event) => event.preventDefault());
  }

  refilter(filter) {
    this.list.filter = filter;
    this.list.draw(this.place);
  }

  reset() {
    const { viewer } = this;
    if (!viewer.case) return;
    [viewer.low, viewer.high] = viewer.case.window;
    viewer.fit("gland");
  }

  #pointer() {
    const { viewer } = this, stage = viewer.stage;
    let turned = 0, from = null;
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (!viewer.case) return;
      if (event.ctrlKey) {
        viewer.scaled(event.deltaY > 0 ? 1.1 : 1 / 1.1);
        return;
      }
      turned += event.deltaMode ? 40 * event.deltaY : event.deltaY; // a touchpad sends many small turns
      const steps = Math.trunc(turned / 40);
      if (!steps) return;
      turned = Math.abs(event.deltaY) >= 40 ? 0 : turned - 40 * steps;
      viewer.go(viewer.slice - Math.sign(steps));
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => {
      if (!viewer.case) return;
      stage.setPointerCapture(event.pointerId);
      from = { x: event.clientX, y: event.clientY, pan: event.shiftKey || event.button === 1 };
    });
    stage.addEventListener("pointermove", (event) => {
      if (!from) return;
      const across = event.clientX - from.x, down = event.clientY - from.y;
      Object.assign(from, { x: event.clientX, y: event.clientY });
      if (from.pan) viewer.panned(across, down);
      else viewer.windowed(viewer.level + down / 800, viewer.width + across / 400);
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { from = null; });
    stage.addEventListener("dblclick", () => this.reset());
    // After the mouse has pressed a button or let go of a slider, keys belong to the slices again.
    const back = () => stage.focus({ preventScroll: true });
    document.querySelector("main").addEventListener("click", (event) => {
      if (event.detail && event.target.closest("button, input[type='checkbox']")) back();
    });
    document.querySelectorAll("input[type='range']").forEach((node) => node.addEventListener("pointerup", () => setTimeout(back)));
  }

  #files() {
    const save = (text, kind, type) => {
      const link = made("a");
      link.href = URL.createObjectURL(new Blob([text], { type }));
      link.download = `${this.report.stem}_review.${kind}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      this.store.saved();
      this.say(`Saved ${link.download}: ${this.store.reviewed} of ${this.index.length} reviewed.`);
    };
    const text = (kind) => { this.comment(); this.store.name($("reviewer").value); return this.store[kind](); };
    $("save-json").addEventListener("click", () => save(text("json"), "json", "application/json"));
    $("save-csv").addEventListener("click", () => save(text("csv"), "csv", "text/csv"));
    $("load").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", async () => {
      const [file] = $("file").files;
      $("file").value = "";
      if (file) this.#load(file.name, await file.text());
    });
    window.addEventListener("pagehide", () => this.comment());
    window.addEventListener("beforeunload", (event) => {
      this.comment();
      if (this.store.unsaved) event.preventDefault();
    });
  }

  #load(name, text) {
    try {
      const told = this.store.load(text);
      const left = [[told.older, "older than yours"], [told.other, "of other pages or of other contours"]]
        .filter(([count]) => count).map(([count, why]) => `; ${count} ${count === 1 ? "is" : "are"} ${why}`);
      this.say(`${name}: ${told.taken} ${told.taken === 1 ? "verdict" : "verdicts"} taken${left.join("")}.`);
    } catch (error) {
      this.say(`${name} cannot be loaded: ${error.message}.`);
    }
    if (this.case) $("comment").value = this.store.entry(this.case.name).comment;
  }

  #disable() {
    $("empty").hidden = false;
    document.querySelectorAll(".controls button, .controls input, .judge button, .judge textarea, .edge, .scale").forEach((node) => {
      if ("disabled" in node) node.disabled = true;
      else node.hidden = true;
    });
  }

  #key(event) {
    const target = event.target, typing = target.matches("textarea, input:not([type='range'], [type='checkbox'])");
    if (document.querySelector("dialog[open]")) return;
    if (typing) {
      if (event.key === "Escape" || (event.key === "Enter" && target.matches("input"))) target.blur();
      return;
    }
    if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      event.preventDefault();
      this.undo();
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches("input[type='range']") && /^(Arrow|Home|End|Page)/.test(event.key)) return;
    if (event.key === " " && target.matches("button, input, a")) return;
    const act = this.#acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #acts = {
    a: () => this.judge("accept"), c: () => this.judge("correct"), r: () => this.judge("reject"),
    j: () => this.move(1), n: () => this.move(1), k: () => this.move(-1), p: () => this.move(-1),
    ArrowUp: () => this.viewer.go(this.viewer.slice + 1), ArrowDown: () => this.viewer.go(this.viewer.slice - 1),
    Home: () => this.viewer.go(Infinity), End: () => this.viewer.go(0), g: () => this.viewer.go(this.viewer.case?.first),
    1: () => this.toggle("PZ"), 2: () => this.toggle("TZ"), 3: () => this.toggle("WP"),
    o: () => this.toggle("outline"), f: () => this.toggle("fill"), e: () => this.toggle("uncertainty"),
    " ": () => this.hide(), z: () => this.viewer.case && this.viewer.fit(this.viewer.zoom === "gland" ? "whole" : "gland"),
    "+": () => this.viewer.case && this.viewer.scaled(0.8), "=": () => this.viewer.case && this.viewer.scaled(0.8),
    "-": () => this.viewer.case && this.viewer.scaled(1.25), w: () => this.reset(),
    m: () => $("comment").focus(), "/": () => $("search").focus(), u: () => this.undo(), "?": () => $("keys").showModal(),
  };

  hide() {
    this.viewer.hidden = !this.viewer.hidden;
    this.viewer.draw();
  }
}

new Page();
