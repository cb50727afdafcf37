// Sorting of tables, and opening and closing of what can be. Without it the page has all the same figures.
"use strict";

const collator = new Intl.Collator("en", { numeric: true });
const announcer = document.getElementById("announcer");

function numberIn(cell) {
  const text = cell.dataset.value;
  if (text === undefined) return null;
  if (text === "inf") return Infinity;
  if (text === "-inf") return -Infinity;
  const value = Number(text);
  return Number.isNaN(value) ? null : value;
}

function compare(a, b) {
  return typeof a === "number" ? a - b || 0 : collator.compare(a, b);
}

function sort(table, column, kind, direction) {
  const body = table.tBodies[0];
  const keyed = Array.from(body.rows, (row) => {
    const cell = row.cells[column];
    return [kind === "number" ? numberIn(cell) : cell.textContent, row];
  });
  const sign = direction === "ascending" ? 1 : -1;
  // What has no figure comes last in either direction.
  keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)));
  body.replaceChildren(...keyed.map(([, row]) => row));
}

function makeSortable(table) {
  const headers = Array.from(table.tHead.rows[0].cells);
  headers.forEach((header, column) => {
    const kind = header.dataset.sort;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const before = header.getAttribute("aria-sort");
      // The largest error first; names from A.
      const first = kind === "number" ? "descending" : "ascending";
      const other = first === "descending" ? "ascending" : "descending";
      const direction = before === first ? other : first;
      headers.forEach((each) => each.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", direction);
      sort(table, column, kind, direction);
      announcer.textContent = `${table.caption.textContent}: sorted by ${button.textContent}, ${direction}`;
    });
  });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);

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
});
window.addEventListener("afterprint", () => {
  closed.forEach((each) => { each.open = false; });
});
