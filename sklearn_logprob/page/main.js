"use strict";

// The page itself: controls on top, and everything that follows from where they stand.

const data = JSON.parse(document.getElementById("data").textContent);
data.P = floats(data.P);
data.n = data.y.length;
data.K = data.classes.length;
const names = data.classes.map((c) => c.name);
const binary = data.K === 2;
const state = {
  thresholds: data.thresholds,
  confidence: data.confidence,
  costs: data.costs,
  rejectCost: data.reject_cost,
  shown: binary ? 1 : 0,
};
const EDITABLE = 6; // classes up to which the costs of all mistakes can be typed in
const LISTED = 8; // texts in a list, and probabilities of a text
const charts = {};
let speaking;

const byId = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const digits = (value) => (Number.isFinite(value) ? value.toFixed(3) : "–");
const whole = (value) => value.toLocaleString("en");
const quoted = (name) => `“${name}”`;
/** A class in the title of an axis, which has little room. */
const briefly = (name) => quoted(name.length > 16 ? `${name.slice(0, 15)}…` : name);

/** An HTML element; texts become text nodes, never markup. */
function element(tag, attributes = {}, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

/** A field for a number; only what the browser finds valid arrives. */
function field(label, value, change, { min = "", max = "" } = {}) {
  const input = element("input", { type: "number", step: "any", min, max, value });
  input.setAttribute("aria-label", label);
  input.addEventListener("input", () => {
    if (input.value !== "" && input.validity.valid) change(Number(input.value));
  });
  return input;
}

/** A slider with a field beside it for values between its steps. */
function slider(id, label, value, change, { least = 0, most = 1 } = {}) {
  const limits = { min: least && 0.01, max: most };
  const range = element("input", { type: "range", id, step: 0.01, ...limits, value });
  const exact = field(`${label}, exact`, value, (typed) => {
    range.value = typed;
    change(typed);
  }, { min: least, max: most });
  range.addEventListener("input", () => {
    exact.value = range.value;
    change(Number(range.value));
  });
  const name = element("label", { htmlFor: id }, label);
  return element("div", { className: "slider" }, name, range, exact);
}

function controls() {
  const most = binary ? 1 : Math.max(1, ...state.thresholds);
  const limits = { least: binary ? 0 : 1e-9, most };
  state.thresholds.forEach((value, k) => {
    const label = `Threshold for ${quoted(names[binary ? 1 : k])}`;
    byId("sliders").append(slider(`threshold-${k}`, label, value, (moved) => {
      state.thresholds[k] = moved;
      update();
    }, limits));
  });
  const label = "Leave to people below probability";
  byId("sliders").append(slider("confidence", label, state.confidence, (moved) => {
    state.confidence = moved;
    update();
  }));
  byId("controls").classList.toggle("sticks", binary);
  byId("copy").addEventListener("click", copy);
}

/** The table of counts, with a field for the cost of each decision. */
function countsTable() {
  const columns = [...names, "left to people"].map((name) => heading(name, "col"));
  const top = element("tr", {}, heading("true ↓ decided →", "col"), ...columns);
  byId("counts").append(element("thead", {}, top));
  const body = element("tbody");
  names.forEach((name, k) => {
    const row = element("tr", {}, heading(name, "row"));
    for (let j = 0; j <= data.K; j++) {
      const cell = element("td", { id: `count-${k}-${j}` }, element("b"));
      cell.classList.toggle("right", k === j);
      if (j < data.K && data.K <= EDITABLE) cell.append(costField(k, j));
      row.append(cell);
    }
    body.append(row);
  });
  byId("counts").append(body);
  byId("caption-counts").textContent = data.K <= EDITABLE
    ? "Texts, and what each such decision costs (edit it; a gain is a negative cost)."
    : "Texts. Costs can be edited for six classes or fewer.";
  byId("rejecting").append("Leaving a text to people costs ", field(
    "Cost of leaving a text to people", state.rejectCost, (typed) => {
      state.rejectCost = typed;
      update();
    }));
}

function heading(name, scope) {
  return element("th", { scope }, name);
}

function costField(k, j) {
  const label = `Cost of deciding ${quoted(names[j])} where ${quoted(names[k])} is true`;
  const input = field(label, state.costs[k][j], (typed) => {
    state.costs[k][j] = typed;
    update();
  });
  return element("span", { className: "cost" }, "cost ", input);
}

/** For more than two classes: which one the curves and lists are about. */
function chooser() {
  if (binary) return;
  const select = element("select", { id: "shown" });
  select.append(...names.map((name, k) => element("option", { value: k }, name)));
  select.addEventListener("change", () => {
    state.shown = Number(select.value);
    draw();
    update();
  });
  const label = element("label", { htmlFor: "shown" }, "Curves and texts are about class ");
  byId("choosing").append(label, select);
}

/** All that does not move with the threshold. */
function draw() {
  const k = state.shown, shown = data.classes[k], name = briefly(shown.name);
  const others = binary ? briefly(names[0]) : "other classes";
  const points = operatingPoints(data, k);
  const rest = data.n - shown.n;
  const about = `probability of ${name}`;
  drawHistogram(shown, name, others, about);

  charts.roc = new Chart(byId("roc"), {
    name: `ROC curve of ${name}`,
    x: `false positive rate (share of ${others})`, y: `recall (share of ${name} found)`,
  });
  charts.roc.line([[0, 0], [1, 1]], "chance");
  charts.roc.line([[0, 0], ...points.map((p) => [p.false / rest, p.hits / shown.n])], "curve");
  byId("caption-roc").textContent =
    `Area under the curve ${digits(shown.roc_auc ?? NaN)}; the dashed line is guessing. `
    + pointSays();

  charts.pr = new Chart(byId("pr"), {
    name: `Precision and recall of ${name}`,
    x: `recall (share of ${name} found)`, y: "precision (share)",
  });
  charts.pr.line([[0, shown.n / data.n], [1, shown.n / data.n]], "chance");
  charts.pr.line(steps(points, shown.n), "curve");
  byId("caption-pr").textContent =
    `Average precision ${digits(shown.average_precision ?? NaN)}; the dashed line is the `
    + `share of ${name}, ${percent(shown.n / data.n)}. ` + pointSays();

  drawReliability(shown, name, about);
}

function pointSays() {
  return binary ? "The point is the threshold, with all texts decided."
    : "The curve is one class against the rest; the point is what the thresholds decide, "
      + "with all texts decided, and need not lie on it.";
}

/** Precision holds from one recall to the next, as in average_precision_score. */
function steps(points, n) {
  const path = [];
  let before = 0;
  for (const p of points) {
    const precision = p.hits / (p.hits + p.false);
    path.push([before, precision], [p.hits / n, precision]);
    before = p.hits / n;
  }
  return path;
}

function drawHistogram(shown, name, others, about) {
  const most = Math.max(1, ...shown.own), least = -Math.max(1, ...shown.others);
  const room = 0.13 * (most - least); // for the names of the classes
  const yRange = [least - room, most + room];
  const chart = charts.histogram = new Chart(byId("histogram"), {
    name: `Histogram of the ${about}, by true class`,
    x: about, y: "texts (count)", yRange, yText: (value) => whole(Math.abs(value)),
  });
  const width = 1 / shown.own.length;
  shown.own.forEach((height, i) => chart.bar(i * width, (i + 1) * width, height, "own"));
  shown.others.forEach((height, i) => chart.bar(i * width, (i + 1) * width, -height, "rest"));
  chart.note(0.02, most + 0.3 * room, `▲ truly ${name}: ${whole(shown.n)}`, "own");
  const below = `▼ truly ${others}: ${whole(data.n - shown.n)}`;
  chart.note(0.98, least - 0.75 * room, below, "rest", "end");
  byId("caption-histogram").textContent = binary
    ? `From the vertical line on the decision is ${name}.`
    : "Decisions compare classes, so there is no single line between them.";
}

function drawReliability(shown, name, about) {
  const chart = charts.reliability = new Chart(byId("reliability"), {
    name: `Reliability of the ${about}`, x: `mean ${about}`, y: `share that is ${name}`,
  });
  chart.line([[0, 0], [1, 1]], "chance");
  for (const [p, hits, n] of shown.reliability) {
    const interval = wilson(hits, n), share = digits(hits / n);
    const said = `${n} texts: probability ${digits(p)} on average, true for ${share}`;
    chart.dot(p, hits / n, interval, said);
  }
  byId("caption-reliability").textContent =
    "Each point holds about as many texts; lines are 95 % intervals. On the dashed line, "
    + "probabilities are as often right as they say.";
}

/** Label mass and other tokens, which no threshold changes. */
function drawMass() {
  const { histogram, median, low } = data.label_mass, width = 1 / histogram.length;
  const chart = new Chart(byId("mass"), {
    name: "Histogram of the label mass", x: "label mass (share of the model's probability)",
    y: "texts (count)", yRange: [0, Math.max(1, ...histogram) * 1.1], yText: whole,
  });
  histogram.forEach((height, i) => chart.bar(i * width, (i + 1) * width, height, "own"));
  byId("caption-mass").textContent =
    `The labels hold ${percent(median)} of the model's probability (median); under 10 % in `
    + `${whole(low)} of ${whole(data.n)} texts. `
    + (data.other_tokens.length ? "It would otherwise say, with mean probabilities:" : "");
  byId("others").append(...data.other_tokens.map(([token, probability]) => {
    const code = element("code", {}, JSON.stringify(token));
    return element("li", {}, code, ` ${percent(probability)}`);
  }));
}

/** Everything that moves. */
function update() {
  const decided = decide(data, state.thresholds);
  const counts = count(data, decided, state.confidence);
  const scores = names.map((_, k) => score(counts, k));
  const total = overall(counts, state.costs, state.rejectCost);
  showTiles(scores, total);
  counts.forEach((row, k) => row.forEach((value, j) => {
    byId(`count-${k}-${j}`).firstChild.textContent = whole(value);
  }));
  if (!binary) showByClass(scores);
  movePoint(decided);
  showTexts(decided);
  byId("setting").textContent = setting();
  byId("copied").textContent = "";
  clearTimeout(speaking); // else a screen reader would read out every step of a drag
  speaking = setTimeout(() => {
    const parts = [...byId("tiles").children].map((tile) =>
      `${tile.children[0].textContent} ${tile.children[1].textContent}`);
    byId("spoken").textContent = `${setting()}: ${parts.join(", ")}`;
  }, 500);
}

function showTiles(scores, total) {
  const one = scores[state.shown];
  const among = (hits, n) => {
    if (!n) return "0 of 0 texts";
    const [low, high] = wilson(hits, n).map((bound) => bound.toFixed(2));
    return `${whole(hits)}/${whole(n)}, 95 %: ${low}–${high}`;
  };
  const each = "mean over classes";
  const tiles = binary ? [
    ["Precision", one.precision, digits, among(one.hits, one.predicted)],
    ["Recall", one.recall, digits, among(one.hits, one.actual)],
    ["F1", one.f1, digits, quoted(names[1])],
  ] : [
    ["Precision", mean(scores, "precision"), digits, each],
    ["Recall", mean(scores, "recall"), digits, each],
    ["F1", mean(scores, "f1"), digits, each],
  ];
  tiles.push(
    ["Accuracy", total.accuracy, digits, "of the texts decided"],
    ["Coverage", total.coverage, digits, `${whole(total.rejected)} left to people`],
    ["Cost", total.cost, shortly, `${shortly(total.cost / total.n)} a text`],
  );
  byId("tiles").replaceChildren(...tiles.map(([name, value, show, detail]) => {
    const number = element("dd", { id: name.toLowerCase() }, show(value));
    number.dataset.value = value;
    const small = element("dd", { className: "detail" }, detail);
    return element("div", {}, element("dt", {}, name), number, small);
  }));
}

function showByClass(scores) {
  const titles = ["class", "precision", "recall", "F1", "texts decided"];
  const top = element("tr", {}, ...titles.map((title) => heading(title, "col")));
  const rows = scores.map((s, k) => {
    const cells = [digits(s.precision), digits(s.recall), digits(s.f1), whole(s.actual)];
    return element("tr", {}, heading(names[k], "row"),
      ...cells.map((text) => element("td", {}, text)));
  });
  byId("by-class").replaceChildren(
    element("thead", {}, top), element("tbody", {}, ...rows));
}

function movePoint(decided) {
  const k = state.shown, all = score(count(data, decided, 0), k);
  const rate = (all.predicted - all.hits) / (data.n - all.actual);
  const at = binary ? state.thresholds[0] : undefined;
  charts.roc.mark({ point: [rate, all.recall] });
  // where nothing is predicted, scikit-learn's curve ends at a precision of 1
  charts.pr.mark({ point: [all.recall, all.predicted ? all.precision : 1] });
  charts.histogram.mark({ at });
  charts.reliability.mark({ at });
}

function showTexts(decided) {
  const { P, n, K, y } = data, k = state.shown, name = quoted(names[k]);
  const sure = (i) => P[i * K + decided[i]] >= state.confidence;
  const p = (i) => P[i * K + k];
  const lists = {
    near: [() => true, (i) => distance(data, state.thresholds, i)],
    positives: [(i) => decided[i] === k && y[i] !== k && sure(i), (i) => -p(i)],
    negatives: [(i) => decided[i] !== k && y[i] === k && sure(i), p],
  };
  byId("title-positives").textContent = `Worst false positives: decided ${name}, and are not`;
  byId("title-negatives").textContent = `Worst false negatives: are ${name}, decided otherwise`;
  for (const [id, [passes, key]] of Object.entries(lists)) {
    const rows = smallest(n, passes, key, LISTED);
    const none = element("li", {}, "None at this setting.");
    byId(id).replaceChildren(...(rows.length ? rows.map((i) => item(i, decided[i])) : [none]));
  }
}

/** A text with its probabilities, most probable class first. */
function item(i, decided) {
  const order = names.map((_, k) => k);
  const p = (k) => data.P[i * data.K + k];
  order.sort((a, b) => p(b) - p(a));
  const shares = order.slice(0, LISTED).map((k) => `${names[k]} ${digits(p(k))}`).join(", ");
  const right = decided === data.y[i];
  const verdict = right ? `decided ${quoted(names[decided])}, rightly`
    : `decided ${quoted(names[decided])}, true ${quoted(names[data.y[i]])}`;
  const mass = `label mass ${data.label_mass.rows[i].toFixed(2)}`;
  return element("li", { className: right ? "" : "wrong" },
    element("p", { className: "meta" }, element("b", {}, shares), ` · ${verdict} · ${mass}`),
    element("p", { className: "text" }, data.texts[i]));
}

/** What to write into the classifier. */
function setting() {
  const t = state.thresholds;
  const threshold = `threshold=${binary ? t[0] : `[${t.join(", ")}]`}`;
  if (!state.confidence) return threshold;
  return `${threshold}, reject=ChowRule(${shortly(1 - state.confidence)})`;
}

async function copy() {
  const text = setting();
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // in a frame, or not on a secure page
    const selection = getSelection();
    selection.selectAllChildren(byId("setting"));
    done = document.execCommand("copy");
  }
  byId("copied").textContent = done ? "Copied." : "Select the text and copy it.";
}

byId("notes").append(...data.notes.map(({ text, warns }) =>
  element("li", { className: warns ? "warns" : "" }, text)));
controls();
countsTable();
chooser();
draw();
drawMass();
update();
