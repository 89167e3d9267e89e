"use strict";

// The numbers of the page: decisions, counts and scores, as scikit-learn defines them.

/** 64-bit floats out of the text that Python wrote: no digit is lost. */
function floats(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return new Float64Array(bytes.buffer);
}

/**
 * The class of each row: of two the last where its probability is at least the threshold,
 * of more the one whose probability divided by its threshold is largest, the first of
 * equals. The same operations in the same order as in Python, so that ties agree.
 */
function decide(data, thresholds) {
  const { P, n, K } = data;
  if (K === 2) {
    return Array.from({ length: n }, (_, i) => Number(P[2 * i + 1] >= thresholds[0]));
  }
  const least = Math.min(...thresholds);
  const factors = thresholds.map((t) => least / t);
  return Array.from({ length: n }, (_, i) => {
    const scores = factors.map((factor, k) => P[i * K + k] * factor);
    return scores.indexOf(Math.max(...scores));
  });
}

/** counts[true class][decided class]; rows below the confidence are in column K. */
function count(data, decided, confidence) {
  const { P, n, K, y } = data;
  const counts = Array.from({ length: K }, () => new Array(K + 1).fill(0));
  for (let i = 0; i < n; i++) {
    const sure = P[i * K + decided[i]] >= confidence;
    counts[y[i]][sure ? decided[i] : K] += 1;
  }
  return counts;
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

/** Precision, recall and F1 of a class among the rows that are decided; NaN is 0 / 0. */
function score(counts, k) {
  const K = counts.length;
  const hits = counts[k][k];
  const predicted = sum(counts.map((row) => row[k]));
  const actual = sum(counts[k].slice(0, K));
  return {
    hits, predicted, actual,
    precision: hits / predicted,
    recall: hits / actual,
    f1: (2 * hits) / (predicted + actual),
  };
}

/** Mean over the classes, where 0 / 0 counts as 0. */
function mean(scores, name) {
  return sum(scores.map((s) => s[name] || 0)) / scores.length;
}

/** The share of rows decided, the share of these that are right, and what all costs. */
function overall(counts, costs, rejectCost) {
  const K = counts.length;
  const rejected = sum(counts.map((row) => row[K]));
  const n = sum(counts.map(sum));
  const right = sum(counts.map((row, k) => row[k]));
  const mistakes = sum(counts.map((row, k) => sum(costs[k].map((c, j) => c * row[j]))));
  return {
    n, rejected,
    coverage: (n - rejected) / n,
    accuracy: right / (n - rejected),
    cost: mistakes + rejectCost * rejected,
  };
}

/** Wilson's 95 % interval of a share. */
function wilson(hits, n) {
  const z = 1.959964, share = hits / n, spread = (z * z) / n;
  const middle = share + spread / 2;
  const half = Math.sqrt(spread * (share * (1 - share) + spread / 4));
  return [(middle - half) / (1 + spread), (middle + half) / (1 + spread)];
}

/** True and false positives of "class k where its probability is at least t", all t. */
function operatingPoints(data, k) {
  const { P, n, K, y } = data;
  const order = Array.from({ length: n }, (_, i) => i);
  order.sort((a, b) => P[b * K + k] - P[a * K + k]);
  const points = [];
  let hits = 0;
  order.forEach((i, rank) => {
    hits += y[i] === k;
    const last = rank + 1 === n || P[order[rank + 1] * K + k] < P[i * K + k];
    if (last) points.push({ hits, false: rank + 1 - hits });
  });
  return points;
}

/** How far the decision about a row is from another one: 0 on the threshold. */
function distance(data, thresholds, i) {
  const { P, K } = data;
  if (K === 2) return Math.abs(P[2 * i + 1] - thresholds[0]);
  const ratios = thresholds.map((t, k) => P[i * K + k] / t).sort((a, b) => b - a);
  return 1 - ratios[1] / ratios[0];
}

/** The rows that pass, those with the smallest key first. */
function smallest(n, passes, key, howMany) {
  const rows = [];
  for (let i = 0; i < n; i++) if (passes(i)) rows.push([key(i), i]);
  rows.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return rows.slice(0, howMany).map(([, i]) => i);
}
