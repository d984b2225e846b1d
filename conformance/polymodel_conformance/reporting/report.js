"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dialog = document.getElementById("drill");
  const body = dialog.querySelector(".body"), title = dialog.querySelector("h2"), back = dialog.querySelector(".back");
  const byId = new Map(data.cases.map(c => [c.id, c]));

  // Builds an element; text is never read as markup.
  function el(tag, attributes, ...children) {
    const found = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) found.setAttribute(name, value);
    found.append(...children.filter(c => c !== null && c !== undefined).map(c => (c instanceof Node ? c : String(c))));
    return found;
  }
  const cell = (...content) => el("td", {}, ...content);
  const chip = verdict => el("span", { class: "chip v-" + verdict.split(" ")[0] }, verdict);
  const number = x => (x === null || x === undefined ? "" : typeof x === "number" ? Number(x.toPrecision(3)).toString() : x);
  const table = (heads, rows) => el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map(h => el("th", {}, h)))), el("tbody", {}, ...rows.map(r => el("tr", {}, ...r)))));
  const score = r => (r.t ? [number(r.t[2]), " ", el("small", {}, "(" + number(r.t[3]) + ")")] : [""]);

  function show(heading, content, from) {
    title.textContent = heading;
    back.hidden = !from;
    back.onclick = from || null;
    body.replaceChildren(...content);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function open(level, what, operator) {
    const cases = data.cases.filter(c => c.level === level && (operator ? c.op === what : c.family === what));
    const rows = cases.map(c => {
      const name = el("button", { class: "link" }, c.id);
      name.onclick = () => one(c.id, () => open(level, what, operator));
      return [cell(name), ...data.backends.map(b => (c.on[b] ? cell(chip(c.on[b].v), " ", ...score(c.on[b])) : cell("")))];
    });
    show(what + ", level " + level, [el("p", { class: "soft" }, cases.length + " cases; score (limit)"), table(["case", ...data.backends], rows)]);
  }

  function histogram(counts) {
    const most = Math.max(1, ...counts);
    const bars = counts.map((n, i) => {
      const bar = el("i", data.decades[i] > 0 ? { class: "over" } : {});
      bar.style.height = (n ? 8 + 70 * Math.log1p(n) / Math.log1p(most) : 0) + "%";
      return el("div", {}, n || "", bar, "1e" + data.decades[i]);
    });
    return el("div", { class: "bars" }, ...bars);
  }

  function tensor(t) {
    const found = [el("h3", {}, t.name + " ", el("small", { class: "soft" }, t.type))];
    if (t.received) return [...found, el("p", {}, "received " + t.received)];
    found.push(el("p", { class: "soft" }, "Number of elements by error in units of the rounding floor:"), histogram(t.histogram));
    if (t.worst.length)
      found.push(table(["element", "received", "expected", "error / floor"],
        t.worst.map(w => [cell("[" + w.at.join(", ") + "]"), cell(w.got), cell(w.expected), cell(w.rho)])));
    return found;
  }

  function evidence(c, b, e) {
    const found = [el("h3", {}, "Inputs on " + b)];
    found.push(table(["name", "type", "values"], e.inputs.map(i =>
      [cell(el("code", {}, i.name)), cell(i.type), cell(i.values.join(", ") + (i.more ? ", … " + i.more + " more" : ""))])));
    e.tensors.forEach(t => found.push(...tensor(t)));
    found.push(el("h3", {}, "Nodes"), el("ol", { class: "nodes" }, ...e.nodes.map(n => el("li", {}, el("b", {}, n.op), " ",
      el("span", { class: "soft" }, n.attributes), el("br"), n.inputs.filter(Boolean).join(", ") + " → " + n.outputs.join(", ")))));
    if (e.more_nodes) found.push(el("p", { class: "soft" }, "and " + e.more_nodes + " more, in model.onnx"));
    found.push(el("h3", {}, "Again"), el("pre", {}, "python " + e.place + "/run.py"));
    return found;
  }

  function one(id, from) {
    const c = byId.get(id), found = [];
    if (!c) return;
    const rows = Object.entries(c.on).map(([b, r]) => [cell(b), cell(chip(r.v)), cell(...score(r)),
      ...[0, 1, 4, 5, 6, 7].map(k => cell(r.t ? number(r.t[k]) : "")), cell(r.s + " s")]);
    found.push(table(["backend", "verdict", "score (limit)", "worst of", "rule", "rho", "ulp", "max abs", "floor", "time"], rows));
    for (const [b, r] of Object.entries(c.on)) {
      if (r.m) found.push(el("p", {}, el("b", {}, b + ": "), r.m));
      if (r.u) found.push(el("p", { class: "soft" }, b + ": " + r.u + " elements nearer to a kink than rounding allows"));
    }
    for (const [b, r] of Object.entries(c.on)) if (r.e) found.push(...evidence(c, b, r.e));
    const wrong = Object.entries(c.on).find(([, r]) => r.e);
    const seed = data.seed ? " --seed " + data.seed : "";
    found.push(el("h3", {}, "Reproduction"), el("pre", {},
      "polymodel conformance --levels " + c.level + " --match " + c.id + " --backends " + (wrong ? wrong[0] : data.backends.join(",")) + seed +
      (wrong ? "\npolymodel reduce " + c.id + " --backend " + wrong[0] + " --output bug" : "")));
    show(c.id, found, from);
  }

  document.addEventListener("click", event => {
    const at = event.target.closest("[data-case], [data-level]");
    if (!at) return;
    if (at.dataset.case !== undefined) one(at.dataset.case);
    else open(Number(at.dataset.level), at.dataset.operator || at.dataset.family, "operator" in at.dataset);
  });
  dialog.querySelector(".close").onclick = () => dialog.close();
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
})();
