"use strict";
// Verdicts: kept in localStorage where the browser has one, saved as JSON or CSV, loaded again, undone.
// Each is kept under its case's digest (name, source, grid, contours): another report with the case finds it again.

const FORMAT = "prostate-uda-review/1";
const VERDICTS = ["accept", "correct", "reject"];

function csvCell(value) {
  let text = String(value ?? "");
  if (/^[=+\-@\t\r]/.test(text)) text = "'" + text; // a spreadsheet would run it as a formula
  return /[",\r\n]/.test(text) || text !== text.trim() ? '"' + text.replaceAll('"', '""') + '"' : text;
}

const NOTHING = { verdict: null, comment: "", reviewer: "", reviewed_at: "", unsaved: false };

function entryOf(row) {
  const entry = { ...NOTHING, verdict: VERDICTS.includes(row?.verdict) ? row.verdict : null };
  for (const name of ["comment", "reviewer", "reviewed_at"]) if (typeof row?.[name] === "string") entry[name] = row[name];
  return entry;
}

class Store {
  constructor(report, index) {
    this.report = report;
    this.index = index;
    this.names = new Map(index.map((one) => [one.digest, one.name]));
    this.keys = new Map(index.map((one) => [one.name, `${FORMAT}:case:${one.digest}`]));
    this.reviewerKey = `${FORMAT}:reviewer:${report.id}`;
    this.entries = new Map(); // case name -> {verdict, comment, reviewer, reviewed_at, unsaved}
    this.reviewer = "";
    this.past = []; // each step: [[name, entry before], ...]
    this.changed = () => {};
    this.remembers = true;
    this.#recall();
    window.addEventListener("storage", (event) => {
      if (event.key !== null && event.key !== this.reviewerKey && ![...this.keys.values()].includes(event.key)) return;
      this.#recall(); // another tab
      this.past = [];
      this.changed();
    });
  }

  entry(name) {
    return this.entries.get(name) ?? NOTHING;
  }

  get unsaved() {
    return [...this.entries.values()].some((entry) => entry.unsaved);
  }

  get reviewed() {
    return this.index.filter((one) => this.entry(one.name).verdict).length;
  }

  judge(name, change) {
    const before = this.entry(name), stamp = { reviewer: this.reviewer, reviewed_at: new Date().toISOString() };
    this.past.push([[name, before]]);
    this.#keep([[name, { ...before, ...change, ...stamp, unsaved: true }]]);
  }

  name(reviewer) {
    const nameless = [...this.entries].filter(([, entry]) => entry.reviewed_at && !entry.reviewer);
    const changed = reviewer.trim() !== this.reviewer;
    this.reviewer = reviewer.trim();
    this.#keep(changed ? nameless.map(([name, entry]) => [name, { ...entry, unsaved: true }]) : []);
  }

  undo() {
    const step = this.past.pop();
    if (!step) return null;
    this.#keep(step.map(([name, before]) => [name, { ...before, unsaved: true }]));
    return step[0][0];
  }

  rows() {
    return this.index.map((one) => {
      const { verdict, comment, reviewer, reviewed_at } = this.entry(one.name);
      const by = reviewed_at ? reviewer || this.reviewer : "";
      return { case: one.name, verdict, comment, reviewer: by, reviewed_at, flags: one.flags.map(([code]) => code), digest: one.digest };
    });
  }

  json() {
    const { id, title, provenance } = this.report;
    const saved = { format: FORMAT, report: { id, title, provenance }, reviewer: this.reviewer, saved_at: new Date().toISOString() };
    return JSON.stringify({ ...saved, cases: this.rows() }, null, 1) + "\n";
  }

  csv() {
    const columns = ["case", "verdict", "comment", "reviewer", "reviewed_at", "flags", "digest"];
    const lines = this.rows().map((row) => columns.map((name) => csvCell(name === "flags" ? row.flags.join("; ") : row[name])));
    return [columns, ...lines].map((line) => line.join(",") + "\r\n").join("");
  }

  saved() {
    this.#keep([...this.entries].map(([name, entry]) => [name, { ...entry, unsaved: false }]));
  }

  /** Take the verdicts of a saved JSON on cases of this page, whatever page they were on; a later verdict wins. */
  load(text) {
    const file = JSON.parse(text);
    if (file?.format !== FORMAT || !Array.isArray(file.cases)) throw new Error("not a review saved by this page");
    const taken = new Map(), told = { taken: 0, older: 0, other: 0 };
    for (const row of file.cases) {
      const entry = entryOf(row);
      if (!entry.verdict && !entry.comment) continue;
      const name = this.names.get(row.digest), mine = taken.get(name) ?? this.entry(name);
      if (name === undefined) told.other += 1;
      else if (mine.reviewed_at >= entry.reviewed_at && mine.reviewed_at) told.older += 1;
      else taken.set(name, { ...entry, unsaved: true });
    }
    told.taken = taken.size;
    if (!this.reviewer && typeof file.reviewer === "string") this.reviewer = file.reviewer.trim();
    if (taken.size) this.past.push([...taken.keys()].map((name) => [name, this.entry(name)]));
    this.#keep([...taken]);
    return told;
  }

  #recall() {
    try {
      const kept = [...this.keys].map(([name, key]) => [name, JSON.parse(window.localStorage.getItem(key) ?? "null")]);
      this.entries = new Map(kept.filter(([, row]) => row).map(([name, row]) => [name, { ...entryOf(row), unsaved: row.unsaved === true }]));
      this.reviewer = window.localStorage.getItem(this.reviewerKey) ?? this.#latest();
    } catch {
      this.remembers = false; // blocked, or not ours: verdicts live as long as the page
    }
  }

  /** Who judged last, where this report has no name yet: it was made anew, and its cases are the same. */
  #latest() {
    const entries = [...this.entries.values()].sort((one, other) => (one.reviewed_at < other.reviewed_at ? 1 : -1));
    return entries[0]?.reviewer ?? "";
  }

  #keep(changes) {
    for (const [name, entry] of changes) this.entries.set(name, entry);
    try {
      for (const [name, entry] of changes) window.localStorage.setItem(this.keys.get(name), JSON.stringify(entry));
      window.localStorage.setItem(this.reviewerKey, this.reviewer);
      this.remembers = true;
    } catch {
      this.remembers = false;
    }
    this.changed();
  }
}
