"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const DASH = "–";
  const KINDS = ["none", "class", "attributes", "cluster", "instance", "latent"];
  const SVG = "http://www.w3.org/2000/svg";

  // ---- elements -----------------------------------------------------------------------------------------------------

  // Texts become text nodes and attributes are set one by one, so that nothing from a record is read as HTML.
  function el(name, attributes = {}, ...children) {
    const made = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  }
  function fill(element, ...children) {
    element.replaceChildren(...children.flat().filter((child) => child !== null && child !== ""));
  }
  function brief(value) {
    for (const [power, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (Math.abs(value) >= power && (letter !== "k" || Math.abs(value) >= 1e4 || value % 100 === 0)) {
        return Number((value / power).toPrecision(3)) + letter;
      }
    }
    return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));
  }
  function valueText(value) {
    if (value === null || value === undefined) return DASH;
    const size = Math.abs(value);
    return size >= 0.01 && size < 100 ? value.toFixed(2) : String(Number(value.toPrecision(3)));
  }
  const chip = (kind) => el("span", { class: `chip k-${KINDS.includes(kind) ? kind : "other"}` }, kind);
  function picture(index, alt, caption, kind) {
    if (index === null || index === undefined || !data.images[index]) return null;
    const [src, width, height] = data.images[index];
    if (!src.startsWith("data:image/webp;base64,")) return null;
    return el("figure", { class: kind || "" }, el("img", { class: "grid", src, width, height, alt }),
      el("figcaption", {}, caption));
  }
  function choose(select, values, chosen) {
    fill(select, values.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
    select.value = chosen;
  }
  function chooseBoard(select, boards, chosen) {
    const groups = [["Methods", boards.filter((b) => !b.ablation)], ["Ablations", boards.filter((b) => b.ablation)]];
    fill(select, groups.filter(([, of]) => of.length).map(([label, of]) =>
      el("optgroup", { label }, of.map((b) => el("option", { value: b.id }, b.budget)))));
    select.value = chosen;
  }

  // ---- ranking ------------------------------------------------------------------------------------------------------

  const as = ([row, rank, mean, low, high, n, onScale, text, test]) =>
    ({ row, rank, mean, low, high, n, onScale, text, test });

  // The rows that the filters leave, the best first. Of all rows the tests are those against the leader; of some of
  // them, those of all pairs as one family.
  function ranking(board, column, keep) {
    const all = column.values.map(as);
    const sign = column.better === "lower" ? 1 : -1;
    const shown = all.filter((place) => keep(board.rows[place.row]));
    if (shown.length === all.length) return { places: all, leader: column.leader, whole: true };
    const pairs = new Map(column.pairs.map(([a, b, ...test]) => [`${a},${b}`, test]));
    const ranked = shown.filter((place) => place.rank !== null);
    const tested = ranked.filter((place) => column.pairs.some(([a, b]) => a === place.row || b === place.row));
    tested.sort((a, b) => sign * (a.onScale - b.onScale));
    const leader = tested.length > 1 ? tested[0].row : null;
    ranked.forEach((place, i) => {
      place.rank = i + 1;
      place.test = leader === null || place.row === leader ? null : against(pairs, place.row, leader);
    });
    shown.filter((place) => place.rank === null).forEach((place) => { place.test = null; });
    return { places: shown, leader, whole: false };
  }
  const OPPOSITE = { better: "worse", worse: "better" };
  function against(pairs, a, b) {
    const found = pairs.get(`${a},${b}`);
    if (found) return found;
    const other = pairs.get(`${b},${a}`);
    return other ? [OPPOSITE[other[0]] || other[0], other[1], null, other[3]] : null;
  }

  function trackOf(board, column) {
    const all = column.values.map(as);
    const values = all.flatMap((p) => [p.mean, p.low, p.high]).filter((v) => v !== null);
    const means = all.map((p) => p.mean);
    if (column.real) values.push(column.real[1]);
    let low = Math.min(...values), high = Math.max(...values), log = false;
    if (column.log && Math.min(...means) > 0) {
      const floor = Math.min(...means, ...(column.real && column.real[1] > 0 ? [column.real[1]] : [])) * 0.7;
      [low, high, log] = [floor, high * 1.05, true];
    } else if (column.share) {
      [low, high] = [0, 1];
    } else {
      const room = 0.04 * (high - low) || Math.abs(high) * 0.1 || 1;
      [low, high] = [low - room, high + room];
    }
    const f = log ? (v) => Math.log(Math.max(v, 1e-12)) : (v) => v;
    const at = (v) => Math.round(1e4 * Math.min(1, Math.max(0, (f(v) - f(low)) / (f(high) - f(low))))) / 100;
    let ticks = [low, (low + high) / 2, high];
    if (log) {
      ticks = [];
      for (let k = -9; k < 10; k++) for (const m of [1, 3]) {
        const v = m * 10 ** k;
        if (low <= v && v <= high) ticks.push(v);
      }
      if (ticks.length >= 5) ticks = ticks.filter((_, i) => i % (Math.floor(ticks.length / 4) + 1) === 0);
    }
    return { at, ticks };
  }

  // ---- the front page -----------------------------------------------------------------------------------------------

  const front = $("filters");
  if (front) {
    const [fDataset, fBoard, fCond, fSup, fMetric, fSearch] =
      ["f-dataset", "f-board", "f-cond", "f-sup", "f-metric", "f-search"].map($);
    const state = { key: null, down: false, picked: new Set(), shown: [] };
    const boardOf = () => data.boards.find((b) => b.id === fBoard.value);
    const columnOf = () => boardOf().columns[Number(fMetric.value)];

    function setBoards() {
      const mine = data.boards.filter((b) => b.dataset === fDataset.value);
      chooseBoard(fBoard, mine, mine[0].id);
      setFilters();
    }
    function setFilters() {
      const board = boardOf();
      const values = (key) => [["", "all"], ...[...new Set(board.rows.map((r) => r[key]))].sort().map((v) => [v, v])];
      choose(fCond, values("cond"), "");
      choose(fSup, values("sup"), "");
      const names = board.columns.map((column, i) => [String(i), column.name]);
      choose(fMetric, names, String(board.main));
      state.picked.clear();
      state.key = null;
    }

    const kept = () => (row) => (!fCond.value || row.cond === fCond.value) && (!fSup.value || row.sup === fSup.value);
    function sought(board) {
      const text = fSearch.value.trim().toLowerCase();
      return (place) => !text || `${board.rows[place.row].name} ${board.rows[place.row].method}`.toLowerCase().includes(text);
    }

    function draw() {
      const board = boardOf(), column = columnOf();
      const found = ranking(board, column, kept());
      state.shown = found.places;
      drawAnswer(board, column, found);
      drawTable(board, column, found, sought(board));
      drawSamples(board, found.places);
      $("to-dataset").href = board.page;
      $("to-dataset").textContent = `Plots and control rows of ${board.dataset}`;
      pickChanged();
    }

    function drawAnswer(board, column, { places, leader, whole }) {
      const first = places[0];
      if (!first) {
        fill($("answer"), el("p", { class: "open", id: "sure" }, "No row matches these filters."));
        fill($("thumbs"));
        return;
      }
      const row = board.rows[first.row];
      const tests = places.filter((p) => p.test);
      const better = tests.filter((p) => p.test[0] === "worse").length;
      const open = tests.filter((p) => p.test[0] !== "worse");
      const among = whole ? "" : " among the rows shown";
      const interval = first.low === null ? "" : `, 95 % interval ${valueText(first.low)} to ${valueText(first.high)}`;
      const from = leader !== null && leader !== first.row ? `, measured from ${board.rows[leader].name}` : "";
      const facts = [`Seeds ${row.seeds}`, row.cost ? `training ${row.costText} a run` : "",
        column.real ? `${column.real[0]}: ${valueText(column.real[1])}` : ""].filter(Boolean).join(" · ");
      fill($("answer"),
        el("p", { class: "kicker" }, `Best on ${board.dataset}, ${board.budget.split(": ")[0]}${among}`),
        el("p", { class: "who", id: "who" }, row.name, " ", el("b", {}, first.text), " ",
          el("span", {}, column.name + interval)),
        tests.length
          ? el("p", { class: better === tests.length ? "sure" : "open", id: "sure" },
            `Significantly better than ${better} of ${tests.length} (adjusted p < 0.05)${from}`)
          : el("p", { class: "open", id: "sure" }, "No test: it takes two methods with two seeds each."),
        open.length ? el("p", {}, `Not significantly worse: ${open.map((p) => board.rows[p.row].name).join(", ")}.`) : null,
        el("p", { class: "soft" }, facts));
      const withSamples = places.filter((p) => board.rows[p.row].sample !== null).slice(0, 3);
      fill($("thumbs"), picture(board.real, `Real images of ${board.dataset}`, "real", "real"),
        withSamples.map((p) => picture(board.rows[p.row].sample, `Samples of ${board.rows[p.row].name}`, board.rows[p.row].name)));
    }

    const HEADS = [["#", "rank"], ["Method", "name", true], ["Conditioning", "cond", true], ["", "value", true], null,
      ["Recall", "recall", true], ["Coverage", "coverage", true], ["Seeds", "seeds"], ["vs best", "verdict"], ["Training", "cost", true]];
    const NUMERIC = new Set(["rank", "value", "recall", "coverage", "seeds", "cost"]);
    const LOW_FIRST = new Set(["name", "cond", "cost"]);

    function sorted(board, column, places) {
      const key = state.key;
      if (!key || key === "value") return state.down ? [...places].reverse() : places;
      const of = (place) => {
        const row = board.rows[place.row];
        if (key === "name" || key === "cond") return row[key].toLowerCase();
        if (key === "cost") return row.cost;
        return column[key] ? column[key][place.row] : null;
      };
      const sign = LOW_FIRST.has(key) !== state.down ? 1 : -1;
      return [...places].sort((a, b) => {
        const [x, y] = [of(a), of(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (x < y ? -1 : x > y ? 1 : 0);
      });
    }

    function drawTable(board, column, { places, leader }, sought) {
      const track = trackOf(board, column);
      const table = $("board");
      const key = state.key || "value";
      const heads = HEADS.map((head) => {
        if (head === null) {
          return el("th", { scope: "col", role: "columnheader", class: "ci" }, el("span", { class: "hidden" }, "95 % interval"),
            el("span", { class: "axis", "aria-hidden": "true" }, track.ticks.map((v) => el("span", { style: `left:${track.at(v)}%` }, brief(v)))));
        }
        const [name, of, sorts] = head;
        const text = of === "value" ? column.name : name;
        const low = of === "value" ? column.better === "lower" : LOW_FIRST.has(of);
        const order = sorts && of === key ? (low !== state.down ? "ascending" : "descending") : null;
        return el("th", { scope: "col", role: "columnheader", class: NUMERIC.has(of) ? "num" : "", "aria-sort": order },
          sorts ? el("button", { type: "button", "data-key": of }, text) : text);
      });
      heads.push(el("th", { scope: "col", role: "columnheader", class: "pick" }, el("span", { class: "hidden" }, "Select for comparison")));
      const ordered = sorted(board, column, places);
      const lines = ordered.filter(sought).map((place) => line(board, column, track, place, leader));
      const byValue = key === "value";
      if (column.real && byValue) {
        const sign = (column.better === "lower") !== state.down ? 1 : -1;
        const before = ordered.filter(sought).filter((p) => p.rank !== null && sign * p.mean <= sign * column.real[1]).length;
        lines.splice(before, 0, reference(column, track));
      }
      fill(table,
        el("caption", {}, `${board.title}: ${board.dataset}, ${board.budget.split(": ")[0]}, ranked by ${column.name} (${column.better} is better)`),
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)),
        el("tbody", { role: "rowgroup" }, lines));
    }

    const cell = (attributes, ...children) => el("td", { role: "cell", ...attributes }, ...children);
    const label = (text) => el("span", { class: "label" }, text);

    function reference(column, track) {
      const at = track.at(column.real[1]);
      return el("tr", { class: "reference", role: "row" }, cell({ class: "rank" }),
        el("th", { scope: "row", role: "rowheader" }, column.real[0]), cell({ class: "cond" }),
        cell({ class: "num value" }, valueText(column.real[1])),
        cell({ class: "ci" }, el("span", { class: "track" }, el("i", { class: "real", style: `left:${at}%` }))),
        cell({ class: "num" }), cell({ class: "num" }), cell({ class: "num" }), cell({}), cell({ class: "num" }), cell({ class: "pick" }));
    }

    function line(board, column, track, place, leader) {
      const row = board.rows[place.row];
      const [low, high] = [place.low ?? place.mean, place.high ?? place.mean].map(track.at);
      const verdict = place.row === leader ? "best" : place.rank === null ? "not ranked"
        : place.test ? el("span", { class: `v-${place.test[0]}` }, place.test[0]) : "not tested";
      const p = place.test ? el("small", {}, `p ${place.test[1].startsWith("<") ? "" : "= "}${place.test[1]}`) : null;
      const further = (key) => column[key] ? valueText(column[key][place.row]) : DASH;
      return el("tr", { role: "row", "data-row": place.row, class: place.row === leader ? "best" : "" },
        cell({ class: "num rank" }, place.rank === null ? DASH : String(place.rank)),
        el("th", { scope: "row", role: "rowheader" }, el("a", { href: row.href }, row.name),
          el("small", {}, row.sup === "none" ? "no supervision" : row.sup)),
        cell({ class: "cond" }, chip(row.cond)),
        cell({ class: "num value" }, place.text),
        cell({ class: "ci" }, el("span", { class: "track" },
          column.real ? el("i", { class: "real", style: `left:${track.at(column.real[1])}%` }) : null,
          el("i", { class: "bar", style: `left:${low}%;width:${Math.round(100 * (high - low)) / 100}%` }),
          el("i", { class: "dot", style: `left:${track.at(place.mean)}%` }))),
        cell({ class: "num" }, label("recall"), further("recall")),
        cell({ class: "num" }, label("coverage"), further("coverage")),
        cell({ class: "num" }, label("seeds"), row.seeds),
        cell({ class: "verdict" }, label("vs best"), verdict, p),
        cell({ class: "num", title: row.costTitle }, label("training"), row.costText),
        cell({ class: "pick" }, el("label", {}, el("input", { type: "checkbox", value: place.row,
          "aria-label": `Compare ${row.name}`, checked: state.picked.has(place.row) }))));
    }

    function drawSamples(board, places) {
      const shown = places.filter((p) => board.rows[p.row].sample !== null);
      fill($("samples"), shown.length
        ? [picture(board.real, `Real images of ${board.dataset}`, "real images", "real"),
          ...shown.map((p) => picture(board.rows[p.row].sample, `Samples of ${board.rows[p.row].name}`,
            `${board.rows[p.row].name}, seed ${board.rows[p.row].sampleSeed}`))]
        : el("p", { class: "soft" }, "No sample grids are kept with these records."));
    }

    function pickChanged() {
      const n = state.picked.size;
      $("compare").disabled = n !== 2;
      $("compare").textContent = n === 2 ? "Compare selected" : `Compare selected (${n} of 2)`;
    }

    function visible() {
      return sorted(boardOf(), columnOf(), state.shown).filter(sought(boardOf()));
    }
    function download(type, ending, text) {
      el("a", { href: `data:${type};charset=utf-8,${encodeURIComponent(text)}`, download: `${boardOf().id}.${ending}` }).click();
    }

    function csv() {
      const board = boardOf(), column = columnOf();
      const quote = (value) => {
        const text = String(value ?? "");
        return `"${(/^[=+@]|^-[A-Za-z(]/.test(text) ? "'" + text : text).replaceAll('"', '""')}"`;
      };
      const lines = [["rank", "method", "conditioning", "supervision", column.name, "low", "high", "seeds", "verdict", "p", "training_s"],
        ...visible().map((p) => [p.rank, board.rows[p.row].name, board.rows[p.row].cond, board.rows[p.row].sup,
          p.mean, p.low, p.high, p.n, p.test ? p.test[0] : "", p.test ? p.test[1] : "", board.rows[p.row].cost])];
      download("text/csv", "csv", lines.map((l) => l.map(quote).join(",")).join("\r\n"));
    }

    // Every character that LaTeX reads as a command is escaped; after a line's end a bracket or star would be an option.
    const TEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}",
      ">": "\\textgreater{}", "|": "\\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", "±": "$\\pm$", "×": "$\\times$", "–": "--",
      "↓": "$\\downarrow$", "↑": "$\\uparrow$", "\n": " " };
    for (const sign of "{}$&#%_") TEX[sign] = `\\${sign}`;
    const letter = (sign) => sign >= " " && sign < "\u0180" && !(sign >= "\u007f" && sign <= "\u009f") ? sign
      : `{[}U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}{]}`;
    const tex = (value) => [...String(value)].map((sign) => TEX[sign] || letter(sign)).join("");
    const comment = (text) => `% ${text.replace(/[\s\u0000-\u001f]+/g, " ")}`;

    function latex() {
      const board = boardOf(), column = columnOf();
      const { leader } = ranking(board, column, kept());
      const row = (cells) => cells.join(" & ") + " \\\\";
      const further = (key, place) => column[key] ? valueText(column[key][place.row]) : DASH;
      const lines = visible().map((p) => {
        const value = p.row === leader ? `\\textbf{${tex(p.text)}}` : tex(p.text);
        const verdict = p.row === leader ? "best" : p.rank === null ? "not ranked" : p.test ? p.test[0] : "not tested";
        return row([tex(p.rank ?? DASH), tex(board.rows[p.row].name), tex(board.rows[p.row].cond), value, tex(further("recall", p)),
          tex(further("coverage", p)), tex(board.rows[p.row].seeds), tex(verdict), tex(p.test ? p.test[1] : "")]);
      });
      const real = column.real
        ? ["\\midrule", row(["", tex(column.real[0]), "", tex(valueText(column.real[1])), "", "", "", "", ""])] : [];
      const arrow = column.better === "lower" ? "↓" : "↑";
      download("application/x-tex", "tex", [
        comment(`${board.title}: ${board.dataset}, ${board.budget}. Means over seeds, with half the 95 % interval.`),
        comment("Bold: the best row. vs best: test against it, adjusted for all comparisons of this table."),
        "% Needs \\usepackage{booktabs}.", "\\begin{tabular}{rllrrrlll}", "\\toprule",
        row(["\\#", "Method", "Conditioning", tex(`${column.name} ${arrow}`), "Recall", "Coverage", "Seeds", "vs best", "p"]),
        "\\midrule", ...lines, ...real, "\\bottomrule", "\\end{tabular}", ""].join("\n"));
    }

    fDataset.addEventListener("change", () => { setBoards(); draw(); });
    fBoard.addEventListener("change", () => { setFilters(); draw(); });
    fMetric.addEventListener("change", () => { state.key = null; state.down = false; draw(); });
    for (const filter of [fCond, fSup]) filter.addEventListener("change", draw);
    fSearch.addEventListener("input", draw);
    $("board").addEventListener("click", (event) => {
      const button = event.target.closest("button[data-key]");
      if (!button) return;
      const key = button.dataset.key;
      state.down = (state.key || "value") === key ? !state.down : false;
      state.key = key;
      draw();
      $("board").querySelector(`button[data-key="${key}"]`).focus();
    });
    $("board").addEventListener("change", (event) => {
      const row = Number(event.target.value);
      if (event.target.checked) state.picked.add(row); else state.picked.delete(row);
      if (state.picked.size > 2) {
        const oldest = [...state.picked][0];
        state.picked.delete(oldest);
        const box = $("board").querySelector(`input[value="${oldest}"]`);
        if (box) box.checked = false;
      }
      pickChanged();
    });
    $("compare").addEventListener("click", () => {
      const places = state.shown.map((p) => p.row);
      const [a, b] = [...state.picked].sort((x, y) => places.indexOf(x) - places.indexOf(y));
      const wanted = new URLSearchParams({ board: fBoard.value, a, b, metric: fMetric.value });
      location.href = `${boardOf().compare}#${wanted}`;
    });
    $("csv").addEventListener("click", csv);
    $("latex").addEventListener("click", latex);
    state.shown = ranking(boardOf(), columnOf(), () => true).places;  // the page came with this ranking drawn
    window.addEventListener("pageshow", () => {  // a browser may restore earlier choices without an event
      if (fBoard.value !== data.boards[0].id || fCond.value || fSup.value || fSearch.value) draw();
      pickChanged();
    });
  }

  // ---- the page that compares two -----------------------------------------------------------------------------------

  const pick = $("pick");
  if (pick) {
    const [cBoard, cA, cB, cMetric] = ["c-board", "c-a", "c-b", "c-metric"].map($);
    const boardOf = () => data.boards.find((b) => b.id === cBoard.value);

    function setRows(a, b, metric) {
      const board = boardOf();
      const rows = board.rows.map((row, i) => [String(i), row.name]);
      const known = (value, other) => rows.some(([v]) => v === value) ? value : String(Math.min(other, rows.length - 1));
      choose(cA, rows, known(a, board.columns[board.main].values[0][0]));
      const second = (board.columns[board.main].values[1] || [0])[0];
      choose(cB, rows, known(b, second));
      choose(cMetric, board.columns.map((c, i) => [String(i), c.name]), board.columns[metric] ? metric : String(board.main));
    }
    function fromHash() {
      const wanted = new URLSearchParams(location.hash.slice(1));
      const board = data.boards.find((b) => b.id === wanted.get("board")) || data.boards[0];
      chooseBoard(cBoard, data.boards, board.id);
      setRows(wanted.get("a"), wanted.get("b"), wanted.get("metric"));
      draw();
    }
    function draw() {
      const board = boardOf(), column = board.columns[Number(cMetric.value)];
      const at = [Number(cA.value), Number(cB.value)];
      const rows = at.map((i) => board.rows[i]);
      fill($("compared"), say(board, column, at, rows), sides(board, column, at, rows), seedPlot(column, at, rows),
        curvePlots(rows), difference("Configuration", rows, "config", "Both rows have the same configuration."),
        difference("Environment", rows, "environment", "Both rows ran in the same environment."));
    }
    function say(board, column, at, rows) {
      if (at[0] === at[1]) return el("p", {}, "Choose two different rows.");
      const pairs = new Map(column.pairs.map(([a, b, ...test]) => [`${a},${b}`, test]));
      let test = pairs.get(at.join(",")), from = 0;
      if (!test) { test = pairs.get([at[1], at[0]].join(",")); from = 1; }
      if (!test) {
        return el("section", { class: "card answer" }, el("div", { class: "say" },
          el("p", { class: "who", id: "verdict" }, "Not comparable"),
          el("p", {}, `It takes two rows with at least two seeds each in ${column.name}, neither trained against its extractor.`)));
      }
      const [verdict, p, effect, needed] = test;
      const names = [rows[from].name, rows[1 - from].name];
      const words = {
        better: [`${names[0]} is significantly better than ${names[1]}`, "sure"],
        worse: [`${names[1]} is significantly better than ${names[0]}`, "sure"],
        equal: [`${names[0]} and ${names[1]} are equal within the margin`, "sure"],
        inconclusive: [`Inconclusive: ${names[0]} and ${names[1]} are not significantly different`, "open"],
      }[verdict];
      const what = column.log ? "ratio" : column.share ? "ratio of odds" : "difference";
      return el("section", { class: "card answer" }, el("div", { class: "say" },
        el("p", { class: "kicker" }, `${column.name} (${column.better} is better), ${board.budget}`),
        el("p", { class: `who ${words[1]}`, id: "verdict" }, words[0]),
        el("p", {}, `${names[0]} to ${names[1]}, ${what} with 95 % interval: `, el("b", { id: "effect" }, effect),
          `, p ${p.startsWith("<") ? p : "= " + p}`),
        verdict === "inconclusive" ? el("p", {}, needed ? `About ${needed} seeds of each would probably decide it.` : "More than 50 seeds of each would be needed to decide it.") : null,
        el("p", { class: "soft" }, "Interval and p are adjusted for all pairs of this table.")));
    }
    function sides(board, column, at, rows) {
      return el("div", { class: "pair keep" }, rows.map((row, i) => {
        const place = column.values.map(as).find((p) => p.row === at[i]);
        const facts = [[column.name, place ? place.text : DASH], ["Rank", place && place.rank !== null ? `${place.rank} of ${column.values.length}` : DASH],
          ["Conditioning", row.cond], ["Supervision", row.sup], ["Seeds", row.seeds], ["Training", `${row.costText} a run`],
          ["Parameters", row.costs.Parameters === null ? DASH : brief(row.costs.Parameters)],
          ["Images seen", row.costs["Images seen by D"] === null ? DASH : brief(row.costs["Images seen by D"])]];
        return el("section", { class: `card side ${"ab"[i]}` }, el("h2", {}, el("a", { href: row.href }, row.name)),
          el("div", { class: "gallery" }, picture(row.sample, `Samples of ${row.name}`, `${row.name}, seed ${row.sampleSeed}`),
            i === 0 ? picture(board.real, `Real images of ${board.dataset}`, "real images", "real") : null),
          el("dl", { class: "facts" }, facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])));
      }));
    }

    const W = 640, LEFT = 62;
    function scale(values, start, end, mayBeLog) {
      let low = Math.min(...values), high = Math.max(...values);
      const log = mayBeLog && low > 0 && high / low >= 4;
      if (log) [low, high] = [low / 1.1, high * 1.1];
      else { const room = 0.06 * (high - low) || Math.abs(high) * 0.1 || 1; [low, high] = [low >= 0 && low - room < 0 ? 0 : low - room, high + room]; }
      const f = log ? Math.log : (v) => v;
      const at = (v) => Math.round(10 * (start + (f(v) - f(low)) / (f(high) - f(low)) * (end - start))) / 10;
      let ticks = [];
      if (log) {
        for (let k = -12; k < 13; k++) for (const m of [1, 2, 5]) if (low <= m * 10 ** k && m * 10 ** k <= high) ticks.push(m * 10 ** k);
        if (ticks.length > 8) ticks = ticks.filter((v) => /^1(e|0*$)|^0\.0*1$/.test(String(v)));
      } else {
        const power = 10 ** Math.floor(Math.log10((high - low) / 6));
        const step = power * [1, 2, 5, 10, 20].find((k) => (high - low) / (power * k) <= 6);
        for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push(Number((i * step).toPrecision(12)));
      }
      return { at, ticks, log };
    }
    const line = (attributes) => el("svg:line", { class: "grid", ...attributes });
    const text = (x, y, anchor, kind, words) => el("svg:text", { x, y, "text-anchor": anchor, class: kind }, words);

    function seedPlot(column, at, rows) {
      const seeds = at.map((i) => column.seeds[i]);
      const values = seeds.flat().map(([, value]) => value);
      if (!values.length) return null;
      const extra = column.real ? [column.real[1]] : [];
      const x = scale([...values, ...extra.filter((v) => v > 0 || !column.log)], 150, W - 20, column.log), H = 150;
      const parts = [...x.ticks.flatMap((v) => [line({ x1: x.at(v), x2: x.at(v), y1: 10, y2: H - 34 }), text(x.at(v), H - 20, "middle", "tick", brief(v))]),
        text((W + 150) / 2, H - 4, "middle", "axis", column.name + (x.log ? " (log)" : ""))];
      seeds.forEach((mine, i) => {
        const y = 38 + 46 * i;
        parts.push(text(142, y + 4, "end", "name", rows[i].name.length > 20 ? rows[i].name.slice(0, 19) + "…" : rows[i].name));
        for (const [seed, value] of mine) {
          parts.push(el("svg:circle", { class: `seed c${i}`, cx: x.at(value), cy: y, r: 6, "fill-opacity": 0.75 }, el("svg:title", {}, `seed ${seed}: ${valueText(value)}`)));
        }
      });
      return el("section", {}, el("h2", {}, "Every seed"), el("figure", { class: "card side", style: "padding:.6rem .8rem" },
        el("svg:svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${column.name} of every seed` }, parts),
        el("figcaption", {}, "A dot is a training run.")));
    }
    function curvePlots(rows) {
      const names = [...new Set(rows.flatMap((row) => Object.keys(row.curves)))].filter((name) => rows.every((row) => row.curves[name]));
      if (!names.length) return null;
      return el("section", {}, el("h2", {}, "During training"), el("div", { class: "plots" }, names.map((name) => {
        const all = rows.map((row) => row.curves[name]), H = 300;
        const x = scale(all.flat().map((p) => p[0]), LEFT, W - 20, false), y = scale(all.flat().flatMap((p) => p.slice(1)), H - 46, 16, true);
        const parts = [...x.ticks.flatMap((v) => [line({ x1: x.at(v), x2: x.at(v), y1: 16, y2: H - 46 }), text(x.at(v), H - 30, "middle", "tick", brief(v))]),
          ...y.ticks.flatMap((v) => [line({ x1: LEFT, x2: W - 20, y1: y.at(v), y2: y.at(v) }), text(LEFT - 6, y.at(v) + 4, "end", "tick", brief(v))]),
          text((W + LEFT) / 2, H - 8, "middle", "axis", "images seen")];
        const title = name.replace(/ \[[0-9a-f]+\]$/, "");
        all.forEach((points, i) => {
          const band = [...points.map((p) => [p[0], p[2]]), ...[...points].reverse().map((p) => [p[0], p[3]])];
          const path = (of) => of.map(([a, b]) => `${x.at(a)},${y.at(b)}`).join(" ");
          parts.push(el("svg:polygon", { class: `band c${i}`, points: path(band) }),
            el("svg:polyline", { class: `line c${i}`, points: path(points.map((p) => [p[0], p[1]])) }, el("svg:title", {}, rows[i].name)));
        });
        return el("figure", { class: "card" }, el("h3", {}, title + (y.log ? " (log)" : "")),
          el("svg:svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title} during training` }, parts),
          el("figcaption", {}, rows.map((row, i) => el("span", { class: `key k${i}` }, row.name)), "Mean of the seeds with their range."));
      })));
    }
    function difference(title, rows, key, same) {
      const keys = [...new Set(rows.flatMap((row) => Object.keys(row[key])))].sort();
      const differing = keys.filter((name) => rows[0][key][name] !== rows[1][key][name]);
      const of = (row, name) => el("td", {}, el("code", {}, row[key][name] === undefined ? DASH : row[key][name]));
      return el("section", {}, el("h2", {}, `${title}: ${differing.length ? `${differing.length} of ${keys.length} differ` : "no differences"}`),
        differing.length
          ? el("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": title }, el("table", {},
            el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Setting"), rows.map((row) => el("th", { scope: "col" }, row.name)))),
            el("tbody", {}, differing.map((name) => el("tr", {}, el("th", { scope: "row" }, el("code", {}, name)), rows.map((row) => of(row, name)))))))
          : el("p", {}, same));
    }
    function toHash() {
      history.replaceState(null, "", `#${new URLSearchParams({ board: cBoard.value, a: cA.value, b: cB.value, metric: cMetric.value })}`);
      draw();
    }
    cBoard.addEventListener("change", () => { setRows(null, null, null); toHash(); });
    for (const select of [cA, cB, cMetric]) select.addEventListener("change", toHash);
    window.addEventListener("hashchange", fromHash);
    fromHash();
  }
})();
