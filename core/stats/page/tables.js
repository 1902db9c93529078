"use strict";

// Tables are made anew only where their text changed, so that a screen reader's place, a selection and a scroll position
// stay. The roles are told, since the narrow layout takes a table's display away.
const tables = (() => {
  // fill shows rows of cells under columns: {name, get, kind, show}. get returns the text, show may make more of the cell.
  function fill(id, columns, rows, empty) {
    const table = document.getElementById(id);
    if (!table.tHead) {
      table.setAttribute("role", "table");
      const row = table.createTHead().insertRow();
      row.setAttribute("role", "row");
      for (const c of columns) {
        const th = document.createElement("th");
        th.scope = "col";
        th.setAttribute("role", "columnheader");
        th.className = c.kind || "";
        th.textContent = c.name;
        row.append(th);
      }
      table.tHead.setAttribute("role", "rowgroup");
      table.createTBody().setAttribute("role", "rowgroup");
      if (columns.length > 3) table.classList.add("wide");
    }
    const body = table.tBodies[0];
    if (rows.length === 0) {
      if (body.dataset.empty !== empty) {
        body.replaceChildren();
        const row = body.insertRow();
        row.setAttribute("role", "row");
        const cell = row.insertCell();
        cell.setAttribute("role", "cell");
        cell.colSpan = columns.length;
        cell.className = "empty wholeline";
        cell.textContent = empty;
        body.dataset.empty = empty;
      }
      return;
    }
    if (body.dataset.empty !== undefined) {
      body.replaceChildren();
      delete body.dataset.empty;
    }
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((r, n) => {
      const row = body.rows[n] || newRow(body, columns);
      columns.forEach((c, i) => put(row.cells[i], c, r));
    });
  }

  function newRow(body, columns) {
    const row = body.insertRow();
    row.setAttribute("role", "row");
    columns.forEach((c, i) => {
      const cell = document.createElement(i === 0 ? "th" : "td");
      if (i === 0) cell.scope = "row";
      cell.setAttribute("role", i === 0 ? "rowheader" : "cell");
      cell.dataset.label = c.name;
      row.append(cell);
    });
    return row;
  }

  function put(cell, column, r) {
    const text = column.get(r);
    const state = column.mark ? column.mark(r) : "";
    if (cell.dataset.text === text + state) return;
    cell.dataset.text = text + state;
    cell.className = [column.kind, state].filter(Boolean).join(" ");
    if (column.show) cell.replaceChildren(column.show(r, text));
    else cell.textContent = text;
  }

  // bar shows a part of 1 as a number and a bar.
  function bar(part, text) {
    const e = document.createElement("span");
    e.className = part >= 0.995 ? "use full" : "use";
    const number = document.createElement("b"), track = document.createElement("i");
    number.textContent = text;
    track.style.setProperty("--used", Math.round(part * 100) + "%");
    track.setAttribute("aria-hidden", "true");
    e.append(number, track);
    return e;
  }

  const some = (name, field) => (r) => (r[field] > 0 ? name : "");
  const count = (name, field, mark) => ({ name, get: (r) => words.count(r[field]), mark: mark && some(mark, field) });
  const planOf = (r) => r.policy + (r.plan && r.plan !== r.policy ? " · " + r.plan : "");
  const part = (name, field) => ({
    name, kind: "wholeline", get: (r) => words.percent(r[field]), show: (r, text) => bar(r[field], text),
  });

  const policies = [
    { name: "Policy", kind: "words", get: planOf },
    { name: "Limit", kind: "words wholeline", get: words.limit },
    count("Allowed", "allowed"),
    count("Refused", "refused", "refused"),
    count("Blocked", "blocked", "refused"),
    count("Shadow", "shadow_refused", "shadow"),
    count("Failed", "errors", "failed"),
    count("Cost", "cost"),
    { name: "Refused/s", get: (r) => words.rate(r.rates.refused) },
    part("Used", "utilisation_mean"),
    part("Peak", "utilisation_peak"),
  ];
  const keys = (what) => [
    { name: "Key", kind: "words break", get: (r) => r.key },
    { name: "Policy", kind: "words wholeline", get: planOf },
    { name: what, get: (r) => words.count(r.count) },
    { name: "Error at most", get: (r) => words.count(r.error) },
  ];
  const routes = [
    { name: "Route", kind: "words break", get: (r) => r.route },
    count("Allowed", "allowed"), count("Refused", "refused", "refused"),
    count("Shadow", "shadow_refused", "shadow"), count("Failed", "errors", "failed"),
  ];
  const plans = [
    { name: "Plan", kind: "words break", get: (r) => r.plan || "none" },
    count("Allowed", "allowed"), count("Refused", "refused", "refused"),
    count("Shadow", "shadow_refused", "shadow"), count("Cost", "cost"),
  ];
  const latency = [
    { name: "Over", kind: "words", get: (r) => r.over },
    ...["p50", "p90", "p99", "max"].map((f) => ({ name: f, get: (r) => (r.measured ? words.duration(r[f]) : "–") })),
  ];
  const open = [
    { name: "From", kind: "words", get: (r) => words.time(r.from) },
    { name: "To", kind: "words", get: (r) => (r.ongoing ? "ongoing" : words.time(r.to)), mark: (r) => (r.ongoing ? "refused" : "") },
    count("Let through", "decisions"),
  ];

  function note(id, top) {
    const hidden = top.shown ? "" : " Keys are hidden: each has a name of its own here, and another after a restart.";
    document.getElementById(id).textContent =
      `Of ${words.count(top.total)} in all. A count can be too high, by the error; a key that was forgotten has at most ` +
      `${words.count(top.unlisted_at_most)}.` + hidden;
  }

  function update(s) {
    fill("policies-table", policies, s.policies, "Nothing was decided yet.");
    fill("routes-table", routes, s.routes, "No decision came with a route.");
    fill("plans-table", plans, s.plans, "Nothing was decided yet.");
    fill("refused-table", keys("Refused"), s.top_refused.keys, "Nobody was refused.");
    fill("spending-table", keys("Cost"), s.top_spending.keys, "Nobody has spent anything.");
    note("refused-note", s.top_refused);
    note("spending-note", s.top_spending);
    fill("latency-table", latency, [
      { over: "last minute", ...s.latency }, { over: "since the start", ...s.latency_ever },
    ], "");
    fill("open-table", open, s.failing_open, "None: every decision that was let through was decided.");
  }
  return { update };
})();
