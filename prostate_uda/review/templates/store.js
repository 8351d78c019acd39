"use strict";
// Verdicts of one report: kept in localStorage where the browser has one, saved as JSON or CSV, loaded again, undone.

const FORMAT = "prostate-uda-review/1";
const VERDICTS = ["accept", "correct", "reject"];

function csvCell(value) {
  let text = String(value ?? "");
  if (/^[=+\-@\t\r]/.test(text)) text = "'" + text; // a spreadsheet would run it as a formula
  return /[",\r\n]/.test(text) || text !== text.trim() ? '"' + text.replaceAll('"', '""') + '"' : text;
}

class Store {
  constructor(report, index) {
    this.report = report;
    this.index = index;
    this.key = `${FORMAT}:${report.id}`;
    this.known = new Map(index.map((one) => [one.name, one]));
    this.entries = new Map(); // case name -> {verdict, comment, reviewer, reviewed_at}
    this.reviewer = "";
    this.unsaved = false;
    this.past = []; // each step: [[name, entry before], ...]
    this.changed = () => {};
    this.remembers = true;
    this.#recall();
    window.addEventListener("storage", (event) => {
      if (event.key !== this.key) return; // the same report in another tab
      this.#recall();
      this.past = [];
      this.changed();
    });
  }

  entry(name) {
    return this.entries.get(name) ?? { verdict: null, comment: "", reviewer: "", reviewed_at: "" };
  }

  get reviewed() {
    return this.index.filter((one) => this.entry(one.name).verdict).length;
  }

  judge(name, change) {
    const before = this.entries.get(name);
    const after = { ...this.entry(name), ...change, reviewer: this.reviewer, reviewed_at: new Date().toISOString() };
    this.past.push([[name, before]]);
    this.entries.set(name, after);
    this.#keep(true);
  }

  name(reviewer) {
    this.reviewer = reviewer.trim();
    this.#keep(this.unsaved || this.entries.size > 0);
  }

  undo() {
    const step = this.past.pop();
    if (!step) return null;
    for (const [name, before] of step) {
      if (before) this.entries.set(name, before);
      else this.entries.delete(name);
    }
    this.#keep(true);
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
    const columns = ["case", "verdict", "comment", "reviewer", "reviewed_at", "flags"];
    const lines = this.rows().map((row) => columns.map((name) => csvCell(name === "flags" ? row.flags.join("; ") : row[name])));
    return [columns, ...lines].map((line) => line.join(",") + "\r\n").join("");
  }

  saved() {
    this.#keep(false);
  }

  /** Take the verdicts of a saved JSON; a case's later verdict wins, other contours than these are left out. */
  load(text) {
    const file = JSON.parse(text);
    if (file?.format !== FORMAT || !Array.isArray(file.cases)) throw new Error("not a review saved by this page");
    const step = [], told = { taken: 0, older: 0, other: 0, unknown: 0 };
    for (const row of file.cases) {
      const entry = { verdict: VERDICTS.includes(row?.verdict) ? row.verdict : null };
      for (const name of ["comment", "reviewer", "reviewed_at"]) entry[name] = typeof row?.[name] === "string" ? row[name] : "";
      if (!entry.verdict && !entry.comment) continue;
      const known = this.known.get(row.case), mine = this.entry(row.case);
      if (!known) told.unknown += 1;
      else if (known.digest !== row.digest) told.other += 1;
      else if (mine.reviewed_at >= entry.reviewed_at && mine.reviewed_at) told.older += 1;
      else {
        step.push([row.case, this.entries.get(row.case)]);
        this.entries.set(row.case, entry);
        told.taken += 1;
      }
    }
    if (!this.reviewer && typeof file.reviewer === "string") this.reviewer = file.reviewer.trim();
    if (step.length) this.past.push(step);
    this.#keep(this.unsaved || step.length > 0);
    return told;
  }

  #recall() {
    try {
      const kept = JSON.parse(window.localStorage.getItem(this.key) ?? "null");
      this.entries = new Map(Object.entries(kept?.entries ?? {}));
      this.reviewer = kept?.reviewer ?? "";
      this.unsaved = kept?.unsaved ?? false;
    } catch {
      this.remembers = false; // blocked, or not ours: verdicts live as long as the page
    }
  }

  #keep(unsaved) {
    this.unsaved = unsaved;
    try {
      const kept = { entries: Object.fromEntries(this.entries), reviewer: this.reviewer, unsaved };
      window.localStorage.setItem(this.key, JSON.stringify(kept));
      this.remembers = true;
    } catch {
      this.remembers = false;
    }
    this.changed();
  }
}
