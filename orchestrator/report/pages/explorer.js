/* The explorer: what a network answers at a budget. `explorer.py` says what its numbers are. */
{
  const { lines, classes } = JSON.parse(document.querySelector("#explored").textContent);
  const part = document.querySelector("#explorer .explorer");
  const find = (selector) => part.querySelector(selector);
  const selects = [...part.querySelectorAll("select")];
  const slider = find("input");
  let line;
  let highest;

  /* Where an axis ends on whose half there is a round number, too. */
  function top(value) {
    const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
    return [1, 2, 4, 6, 8, 10].map((times) => times * power).find((end) => end >= value);
  }

  function scale(chart, end) {
    const labels = [end, end / 2, 0].map((value) => made("span", value));
    find(`${chart} .scale`).replaceChildren(...labels);
  }

  function made(tag, text, name = "") {
    const element = document.createElement(tag);
    element.textContent = text;
    element.className = name;
    return element;
  }

  /* The first cell of a row is its heading. */
  function fill(table, rows, kind = () => "number") {
    const cell = (text, index) => made(index ? "td" : "th", text, kind(index));
    const filled = rows.map((row) => {
      const element = document.createElement("tr");
      element.append(...row.map(cell));
      element.cells[0].scope = "row";
      return element;
    });
    find(table).tBodies[0].replaceChildren(...filled);
    return filled;
  }

  /* Each choice offers what there is for those before it, and keeps what was chosen where that is offered. */
  function choose() {
    let left = lines;
    for (const select of selects) {
      const names = [...new Set(left.map((each) => each[select.name]))];
      const chosen = names.includes(select.value) ? select.value : names[0];
      select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
      left = left.filter((each) => each[select.name] === chosen);
    }
    line = left[0];
    slider.min = Math.floor(line.costs[0]);
    const drawable = lines.filter((each) => each.dataset === line.dataset);
    highest = top(drawable.flatMap(errors).reduce((most, error) => Math.max(most, error)));
    drawCurves();
    tellLine();
    show();
  }

  /* With their spreads, so that all lines of a data set fit into one axis. */
  const errors = (each) => each.errors.map((error, index) => Math.min(error + (each.spreads?.[index] ?? 0), 100));

  function drawCurves() {
    const point = (cost, error) => `${cost} ${100 - (100 * Math.min(Math.max(error, 0), highest)) / highest}`;
    const path = ({ costs, errors }) => "M" + costs.map((cost, index) => point(cost, errors[index])).join("L");
    const { dataset, network, costs, errors, spreads } = line;
    const others = lines.filter((each) => each !== line && each.dataset === dataset && each.network === network);
    const edge = (sign) => costs.map((cost, index) => point(cost, errors[index] + sign * spreads[index]));
    scale(".curve", highest);
    find(".drawn").setAttribute("d", path(line));
    find(".others").replaceChildren(...others.map((other) => named(path(other), other.method)));
    find(".band").setAttribute("d", spreads ? `M${[...edge(1), ...edge(-1).reverse()].join("L")}Z` : "");
    find(".rest").hidden = !others.length;
  }

  /* A path that tells its name to who points at it. */
  function named(drawn, name) {
    const [element, title] = ["path", "title"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    element.setAttribute("d", drawn);
    title.textContent = name;
    element.append(title);
    return element;
  }

  /* What does not change with the budget. */
  function tellLine() {
    const seeds = line.seeds === line.of ? `${line.seeds} seeds` : `${line.seeds} of ${line.of} seeds`;
    const few = line.of > 1 ? `${seeds}. ` : "";
    const many = `Errors: means ± standard deviations of ${seeds} at the same cost; mistakes: sums over them. `;
    find(".about").textContent =
      `${line.images.toLocaleString("en")} test images. ${line.seeds > 1 ? many : few}Between ${line.costs.length} ` +
      "budgets the curve is straight; mistakes are those at the nearest of them.";
    const spreads = (index) => (line.spreads ? ` ±${line.spreads[index].toFixed(2)}` : "");
    const rows = line.costs.map((cost, index) => [cost.toFixed(2), line.errors[index].toFixed(2) + spreads(index)]);
    fill(".settings", rows);
    find(".leaving .last").textContent = line.at.length;
  }

  /* The line's budgets on both sides of this one, and how far it is from the first to the second. */
  function around(budget) {
    const before = line.costs.findLastIndex((cost) => cost <= budget);
    const after = Math.min(before + 1, line.costs.length - 1);
    const gap = line.costs[after] - line.costs[before];
    return [before, after, gap && (budget - line.costs[before]) / gap];
  }

  function show() {
    const budget = Math.max(slider.valueAsNumber, line.costs[0]);
    const [before, after, share] = around(budget);
    const between = (values) => values[before] + share * (values[after] - values[before]);
    const leave = line.left[before].map((first, k) => (first + share * (line.left[after][k] - first)) / 10);
    say(budget, between(line.errors), line.spreads && between(line.spreads), leave);
    showLeaving(leave);
    showMistakes(share < 0.5 ? before : after);
  }

  function say(budget, error, spread, leave) {
    const cost = `${Number.isInteger(budget) ? budget : budget.toFixed(1)} %`;
    const left = sums(leave);
    const half = left.findIndex((share) => share >= 50);
    find("output").textContent = cost;
    slider.setAttribute("aria-valuetext", `${cost} of the cost`);
    find(".summary").textContent =
      `At ${cost} of the cost: error ${error.toFixed(2)} %${spread === null ? "" : ` ±${spread.toFixed(2)}`}; ` +
      `${left[half].toFixed(1)} % of images leave at or before prediction ${half + 1} of ${left.length}.`;
    find(".marker").style.left = `${budget}%`;
    find(".marker").style.top = `${100 - (100 * error) / highest}%`;
  }

  function sums(values) {
    let sum = 0;
    return values.map((value) => (sum += value));
  }

  function showLeaving(leave) {
    const end = top(Math.max(...leave, 4));
    const left = sums(leave);
    const bars = leave.map((share, index) => {
      const bar = made("i", "");
      bar.style.height = `${(100 * share) / end}%`;
      bar.title = `prediction ${index + 1}: ${share.toFixed(1)} %`;
      return bar;
    });
    scale(".leaving", end);
    find(".bars").style.setProperty("--count", leave.length);
    find(".bars").replaceChildren(...bars);
    const numbers = (k) => [line.at[k], leave[k], left[k]].map((value) => value.toFixed(1));
    fill(".predictions", leave.map((_, k) => [k + 1, ...numbers(k)]));
  }

  function showMistakes(nearest) {
    const found = line.mistakes[nearest];
    const name = (index) => classes[line.dataset][index] ?? index;
    const rows = found.map(([truth, answer, count]) => [name(truth), name(answer), count.toLocaleString("en")]);
    const filled = fill(".mistakes table", rows, (index) => (index === 2 ? "number" : ""));
    const length = (index) => `${(100 * found[index][2]) / found[0][2]}%`;
    filled.forEach((row, index) => row.cells[2].style.setProperty("--part", length(index)));
    const cost = line.costs[nearest].toFixed(1);
    find(".mistakes h3").textContent = found.length ? `Commonest mistakes at ${cost} %` : `No mistakes at ${cost} %`;
    find(".mistakes table").hidden = !found.length;
  }

  for (const select of selects) select.addEventListener("change", choose);
  slider.addEventListener("input", show);
  part.hidden = false;
  choose();
}
