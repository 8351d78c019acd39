"use strict";
// The list at the left and the facts and verdict at the right. Text from files goes in as text, never as markup.

function made(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

const WORDS = { accept: "✓ accepted", correct: "✎ to correct", reject: "✕ rejected" };
const MOST_CHIPS = 3;

class CaseList {
  constructor(index, store, chosen) {
    this.index = index;
    this.store = store;
    this.filter = "all";
    this.rows = index.map((one, place) => this.#row(one, () => chosen(place)));
    $("cases").replaceChildren(...this.rows.map((row) => row.item));
  }

  #row(one, chosen) {
    const item = made("li"), button = made("button"), chips = made("span", "chips");
    button.type = "button";
    button.title = one.name;
    button.addEventListener("click", chosen);
    const state = made("span", "state");
    for (const [code] of one.flags.slice(0, MOST_CHIPS)) chips.append(made("span", "chip", code.replaceAll("_", " ")));
    if (one.flags.length > MOST_CHIPS) chips.append(made("span", "chip more", `+${one.flags.length - MOST_CHIPS}`));
    button.append(made("span", "name", one.name), made("span", "volume", one.volume), chips, state);
    item.append(button);
    return { item, button, state, text: [one.name, ...one.flags.map(([code]) => code.replaceAll("_", " "))].join("\n").toLowerCase() };
  }

  /** Which cases are listed now; the open one stays until one goes elsewhere. */
  listed(open) {
    const sought = $("search").value.trim().toLowerCase();
    return this.index.map((_, place) => place).filter((place) => {
      const one = this.index[place];
      const fits = this.filter === "all" || (this.filter === "look" ? one.flags.length > 0 : !this.store.entry(one.name).verdict);
      return (fits || (place === open && !sought && this.filter === "open")) && this.rows[place].text.includes(sought);
    });
  }

  draw(open) {
    const listed = new Set(this.listed(open));
    this.rows.forEach(({ item, button, state }, place) => {
      const { verdict } = this.store.entry(this.index[place].name);
      item.hidden = !listed.has(place);
      button.setAttribute("aria-current", String(place === open));
      state.className = `state ${verdict ?? ""}`;
      state.textContent = verdict ? WORDS[verdict] : "open";
    });
    $("nothing").hidden = listed.size > 0 || this.index.length === 0;
    document.querySelectorAll("[data-filter]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.filter === this.filter));
    });
  }
}

class CasePanel {
  constructor(store) {
    this.store = store;
    document.querySelectorAll("[data-verdict]").forEach((button) => {
      const [word, key] = [button.firstChild, button.lastChild];
      button.replaceChildren(made("span", "", word.textContent), key); // dark words on a bright, pressed button
    });
  }

  open(one) {
    $("name").textContent = one.name;
    $("source").textContent = one.source;
    $("flags-title").hidden = one.flags.length === 0;
    $("flags").replaceChildren(...one.flags.map(([, text]) => made("li", "", text)));
    $("measures").replaceChildren(...one.rows.map(([name, value]) => {
      const row = made("tr"), head = made("th", "", name);
      head.scope = "row";
      row.append(head, made("td", "", value));
      return row;
    }));
    document.querySelector(".facts").scrollTop = 0;
    this.draw(one);
  }

  draw(one) {
    const { verdict, comment, reviewer, reviewed_at } = this.store.entry(one.name);
    document.querySelectorAll("[data-verdict]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
    });
    const by = reviewer || this.store.reviewer;
    $("verdict").textContent = verdict ? `${WORDS[verdict]}${by ? ` · ${by}` : ""} · ${reviewed_at.slice(0, 10)}` : "Not reviewed yet";
    $("verdict").title = verdict ? `${by} ${new Date(reviewed_at).toLocaleString()}` : "";
    $("verdict").className = `dim ${verdict ?? ""}`;
    if (document.activeElement !== $("comment")) $("comment").value = comment;
  }
}
