// Sorting of tables, and opening and closing of what can be. Without it the page has all the same figures.
"use strict";

// A browser takes seconds to lay out ten thousand rows, and so many are seen at once.
const ROWS_AT_ONCE = 120;
const collator = new Intl.Collator("en", { numeric: true });
const announcer = document.getElementById("announcer");

function numberIn(cell) {
  const text = cell.getAttribute("data-value");
  if (text === null) return null;
  if (text === "inf") return Infinity;
  if (text === "-inf") return -Infinity;
  const value = Number(text);
  return Number.isNaN(value) ? null : value;
}

function compare(a, b) {
  if (typeof a === "string") return collator.compare(a, b);
  return a < b ? -1 : Number(a > b);
}

function button(text, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.append(text);
  made.addEventListener("click", onClick);
  return made;
}

class SortableTable {
  constructor(table) {
    this.table = table;
    this.rows = Array.from(table.tBodies[0].rows);
    this.first = 0;
    this.headers = Array.from(table.tHead.rows[0].cells);
    this.buttons = this.headers.map((header, column) => button(header.textContent, () => this.sortBy(column)));
    this.headers.forEach((header, column) => header.replaceChildren(this.buttons[column]));
    if (this.rows.length > ROWS_AT_ONCE) this.addPager();
  }

  sortBy(column) {
    const header = this.headers[column];
    const isNumber = header.dataset.sort === "number";
    // The largest error first; names from A.
    const [first, other] = isNumber ? ["descending", "ascending"] : ["ascending", "descending"];
    const direction = header.getAttribute("aria-sort") === first ? other : first;
    this.headers.forEach((each) => each.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", direction);
    const keyed = this.rows.map((row) => {
      const cell = row.cells[column];
      return [isNumber ? numberIn(cell) : cell.textContent, row];
    });
    const sign = direction === "ascending" ? 1 : -1;
    // What has no figure comes last in either direction.
    keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)));
    this.rows = keyed.map(([, row]) => row);
    this.first = 0;
    this.show();
    announcer.textContent = `${this.table.caption.textContent}: sorted by ${header.textContent}, ${direction}`;
  }

  show(all = false) {
    const rows = all ? this.rows : this.rows.slice(this.first, this.first + ROWS_AT_ONCE);
    this.table.tBodies[0].replaceChildren(...rows);
    if (this.position === undefined) return;
    const last = this.first + rows.length;
    this.position.textContent = ` rows ${this.first + 1} to ${last} of ${this.rows.length} `;
    this.back.disabled = this.first === 0;
    this.forth.disabled = last === this.rows.length;
  }

  // Chromium repeats the headers of a table on each sheet, but not the buttons in them.
  putOnPaper() {
    this.headers.forEach((header) => header.replaceChildren(header.textContent));
    this.show(true);
  }

  takeOffPaper() {
    this.headers.forEach((header, column) => header.replaceChildren(this.buttons[column]));
    this.show();
  }

  addPager() {
    this.position = document.createElement("span");
    this.position.setAttribute("role", "status");
    this.back = button("Before", () => this.turn(-ROWS_AT_ONCE));
    this.forth = button("After", () => this.turn(ROWS_AT_ONCE));
    const pager = document.createElement("div");
    pager.className = "pager";
    pager.append(this.back, this.position, this.forth);
    this.table.parentElement.before(pager);
    this.show();
  }

  turn(by) {
    this.first += by;
    this.show();
  }
}

const tables = Array.from(document.querySelectorAll("table.sortable"), (table) => new SortableTable(table));
const disclosures = Array.from(document.querySelectorAll("details"));
const controls = document.getElementById("controls");
controls.hidden = false;
controls.addEventListener("click", (event) => {
  const wanted = event.target.dataset.open;
  if (wanted !== undefined) disclosures.forEach((each) => { each.open = wanted === "true"; });
});

// On paper nothing can be opened. The tables under charts and drawings stay as they are: they repeat them.
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = disclosures.filter((each) => !each.open && !each.closest("figure"));
  closed.forEach((each) => { each.open = true; });
  tables.forEach((table) => table.putOnPaper());
});
window.addEventListener("afterprint", () => {
  closed.forEach((each) => { each.open = false; });
  tables.forEach((table) => table.takeOffPaper());
});
