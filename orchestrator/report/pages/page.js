"use strict";

/* Text as it is searched: words alone, each after a space, so that "ann" does not find "aann". */
const plain = (text) => " " + text.toLowerCase().replace(/[^\p{L}\p{N}.]+/gu, " ").trim();

/* What a row is sorted by: null where there is nothing. "<0.001" counts as 0.001. */
function keyOf(cell, numeric) {
  if (cell.classList.contains("missing")) return null;
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (!numeric) return text;
  const number = parseFloat(text.replace(/^[<>≤≥]\s*/, ""));
  return Number.isNaN(number) ? null : number;
}

const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));

/* What is missing comes last both ways; ties keep their order. */
function sorted(rows, column, numeric, sign) {
  return rows
    .map((row) => [keyOf(row.cells[column], numeric), row])
    .sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)))
    .map(([, row]) => row);
}

/* Up, down, and back to the order of the report. */
function makeSortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  for (const button of table.tHead.querySelectorAll("button")) {
    const heading = button.parentElement;
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[heading.ariaSort];
      for (const other of heading.parentElement.cells) other.ariaSort = "none";
      heading.ariaSort = next;
      table.classList.toggle("sorted", next !== "none");
      const numeric = heading.classList.contains("number");
      const sign = next === "ascending" ? 1 : -1;
      body.append(...(next === "none" ? original : sorted(original, heading.cellIndex, numeric, sign)));
    });
  }
}

/* A row stays if it has a word beginning with each of those given. */
function makeFilter(table, input, count) {
  const rows = [...table.tBodies[0].rows];
  const texts = rows.map((row) => plain([...row.cells].map((cell) => cell.textContent).join(" ")));
  input.addEventListener("input", () => {
    const words = input.value.trim().split(/\s+/).map(plain);
    rows.forEach((row, index) => (row.hidden = !words.every((word) => texts[index].includes(word))));
    const left = rows.filter((row) => !row.hidden).length;
    count.textContent = left === rows.length ? `${left} rows` : `${left} of ${rows.length} rows`;
  });
}

/* The rows as they are shown, numbers with all their digits, a spread in a column of its own. */
function csv(table) {
  const headings = [...table.tHead.rows].at(-1).cells;
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
  const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const columns = [...headings].flatMap((heading, index) => {
    const cells = rows.map((row) => row.cells[index]);
    const values = [heading.dataset.name, ...cells.map((cell) => cell.dataset.value ?? cell.textContent.trim())];
    const spreads = [`${heading.dataset.name} ±`, ...cells.map((cell) => cell.dataset.spread ?? "")];
    return cells.some((cell) => cell.dataset.spread) ? [values, spreads] : [values];
  });
  return columns[0].map((_, line) => columns.map((column) => quoted(column[line])).join(",") + "\n").join("");
}

async function copy(text, button) {
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  button.textContent = done ? "Copied" : "Not allowed here";
  setTimeout(() => (button.textContent = "Copy CSV"), 2000);
}

/* The second column that says what a row is stays in sight too, where that leaves most of the room to the others. */
function pin(table, box) {
  const [first, second] = table.tHead.querySelectorAll("tr:last-child .lead");
  new ResizeObserver(() => {
    const both = first.offsetWidth + (second?.offsetWidth ?? 0);
    const pinned = both < box.clientWidth * 0.6;
    table.classList.toggle("pinned", pinned);
    table.style.setProperty("--first", `${first.offsetWidth}px`);
    table.style.setProperty("--leads", `${pinned ? both : first.offsetWidth}px`);
  }).observe(box);
  box.addEventListener("scroll", () => table.classList.toggle("scrolled", box.scrollLeft > 0), { passive: true });
}

for (const grid of document.querySelectorAll(".grid")) {
  const table = grid.querySelector("table");
  const input = grid.querySelector("input");
  makeSortable(table);
  if (input) makeFilter(table, input, grid.querySelector(".count"));
  pin(table, grid.querySelector(".box"));
  const button = grid.querySelector(".copy");
  button.addEventListener("click", () => copy(csv(table), button));
}

/* What is folded opens when it is linked to. */
for (const link of document.querySelectorAll("nav a")) {
  link.addEventListener("click", () => document.querySelector(`${link.hash} details`)?.setAttribute("open", ""));
}

document.querySelector("#theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
