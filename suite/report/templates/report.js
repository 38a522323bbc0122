"use strict";
// Sorting, filtering and drawing. Without it the page holds every number all the same.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const byId = new Map(data.cases.map(item => [item.id, item]));
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const SVG = "http://www.w3.org/2000/svg";
  const short = value => value >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));

  // --- light and dark ---
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    theme.setAttribute("aria-label", dark ? "Switch to dark colours" : "Switch to light colours");
  });

  // --- sorting ---
  const key = cell => {
    const value = cell ? (cell.dataset.sort ?? cell.textContent.trim()) : "";
    return value !== "" && isFinite(value) ? +value : value;
  };
  const before = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
  };
  for (const table of all("table.sortable")) {
    all("thead tr:last-child th", table).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        all("thead tr:last-child th", table).forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = all("tbody tr", table).map(row => [key(row.cells[column]), row]);
        rows.sort(([a], [b]) => a === "" || b === "" ? before(a, b) : down ? before(b, a) : before(a, b));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }

  // --- filters ---
  const text = document.getElementById("filter-text"), status = document.getElementById("filter-status");
  const variant = document.getElementById("filter-variant"), shown = document.getElementById("filter-shown");
  const every = document.getElementById("every-variant");
  const passes = item => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const name = `${item.model}/${item.variant}/${item.target}`.toLowerCase();
    return words.every(word => name.includes(word)) && (!status.value || item.status === status.value) &&
      (!variant.value || item.variant === variant.value);
  };
  const filter = () => {
    const kept = new Set(data.cases.filter(passes).map(item => item.id));
    for (const element of all("[data-case]")) element.hidden = !kept.has(element.dataset.case);
    const models = new Set();  // behind a camera: one row a model, its quickest variant of those that pass
    for (const row of all("#cameras tbody tr").sort((a, b) => a.dataset.rank - b.dataset.rank)) {
      const item = byId.get(row.dataset.case), name = `${item.model}/${item.target}`;
      row.hidden ||= models.has(name) && !every.checked;
      if (kept.has(item.id)) models.add(name);
    }
    for (const row of all("[data-cases]")) row.hidden = !row.dataset.cases.split(" ").some(id => kept.has(id));
    shown.textContent = `${kept.size} of ${data.cases.length} cases shown`;
    explore();
  };

  // --- drawing ---
  const make = (name, attributes, ...children) => {
    const element = document.createElementNS(SVG, name);
    for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
    element.append(...children);
    return element;
  };
  const titled = (element, words) => { element.append(make("title", {}, words)); return element; };
  const label = (x, y, words, anchor = "start", kind = "muted") =>
    make("text", { x, y, "text-anchor": anchor, class: kind }, words);
  const picture = (width, height, alt) => make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": alt });
  const scale = (low, high, from, to) => value => from + (to - from) * (high > low ? (value - low) / (high - low) : 0.5);
  const ticks = (low, high, count = 4) => {
    const rough = (high - low || Math.abs(high) || 1) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, index) => +((first + index) * step).toPrecision(12));
  };
  const figure = (title, svg, caption) => {
    const element = document.createElement("figure");
    const heading = document.createElement("h4"), words = document.createElement("figcaption");
    heading.textContent = title;
    words.textContent = caption;
    element.append(heading, svg, words);
    return element;
  };

  const W = 520, L = 58, R = 12, B = 30;
  const xAxis = (svg, at, values, unit, height) => {
    for (const value of values) {
      svg.append(make("line", { x1: at(value), x2: at(value), y1: 8, y2: height - B, class: "grid" }));
      svg.append(label(at(value), height - B + 14, short(value), "middle"));
    }
    svg.append(label(W - R, height - 2, unit, "end"));
  };

  const distribution = item => {
    const samples = item.latency, height = 110, bins = 24;
    const low = samples[0], high = samples[samples.length - 1];
    const svg = picture(W, height, `Latency from ${short(low)} to ${short(high)} ms, half of it below ${short(item.p50 ?? samples[samples.length >> 1])} ms`);
    const at = scale(low, high, L, W - R), counts = Array(bins).fill(0);
    for (const sample of samples) counts[Math.min(bins - 1, Math.floor(bins * (high > low ? (sample - low) / (high - low) : 0)))] += 1;
    const tall = scale(0, Math.max(...counts), 0, height - B - 12);
    xAxis(svg, at, ticks(low, high), "ms", height);
    counts.forEach((count, index) => {
      const from = low + (high - low) * index / bins, x = at(from), width = (W - R - L) / bins - 1;
      if (count) svg.append(titled(make("rect", { x, y: height - B - tall(count), width, height: tall(count), class: "bar" }),
        `${short(from)} to ${short(from + (high - low) / bins)} ms: ${Math.round(100 * count / samples.length)} %`));
    });
    const middle = at(item.p50 ?? samples[samples.length >> 1]);
    svg.append(make("line", { x1: middle, x2: middle, y1: 4, y2: height - B, class: "mark" }), label(middle + 4, 12, "p50", "start", "ink"));
    return figure("Latency distribution", svg, "Share of inferences by duration, all cores.");
  };

  const threads = item => {
    const rows = item.threads, height = 24 * rows.length + B + 8, most = Math.max(...rows.map(row => row[2]));
    const best = rows.reduce((a, b) => b[1] < a[1] ? b : a);
    const svg = picture(W, height, rows.map(([count, p50]) => `${count} threads: p50 ${short(p50)} ms`).join("; "));
    const at = scale(0, most, L, W - R);
    xAxis(svg, at, ticks(0, most), "ms", height);
    rows.forEach(([count, p50, p95], index) => {
      const y = 10 + 24 * index;
      svg.append(label(L - 6, y + 11, String(count), "end", "ink"));
      svg.append(titled(make("rect", { x: L, y, width: Math.max(1, at(p50) - L), height: 14, class: count === best[0] ? "bar best" : "bar" }), `p50 ${short(p50)} ms, p95 ${short(p95)} ms`));
      svg.append(make("line", { x1: at(p50), x2: at(p95), y1: y + 7, y2: y + 7, class: "mark" }));
    });
    return figure("Threads", svg, `Median by thread count, tail to p95. Quickest with ${best[0]}.`);
  };

  const timeline = item => {
    const lane = 46, window_ = Math.min(1000, ...item.camera.map(stream => 1000 * stream.offered / stream.fps));
    const height = lane * item.camera.length + B + 6, at = scale(0, window_, L, W - R);
    const svg = picture(W, height, "The first second behind the camera: which frames were answered, when, and for how long each stage took; the table has the numbers");
    xAxis(svg, at, ticks(0, window_, 5), "ms", height);
    item.camera.forEach((stream, index) => {
      const y = 8 + lane * index;
      svg.append(label(L - 6, y + 20, stream.threaded ? "threads" : "callback", "end", "ink"));
      for (let k = 0; k < stream.offered && 1000 * k / stream.fps < window_; k += 1) {
        const x = at(1000 * k / stream.fps);
        svg.append(make("line", { x1: x, x2: x, y1: y, y2: y + 6, class: "mark" }));
      }
      for (const [frame, begun, ...stages] of stream.taken) {
        let start = begun / 10;
        ["preprocess", "infer", "postprocess"].forEach((name, stage) => {
          const end = Math.min(window_, start + stages[stage] / 10);
          if (start < window_) svg.append(titled(make("rect", { x: at(start), y: y + 10, width: Math.max(0.8, at(end) - at(start)), height: 16, class: `stage${stage}` }), `frame ${frame}, ${name}: ${short(stages[stage] / 10)} ms`));
          start += stages[stage] / 10;
        });
      }
    });
    return figure("Behind a camera", svg, "The first second. Ticks: frames; blocks: preprocess, infer, postprocess.");
  };

  const line = (points, names, unit, alt, title, caption) => {
    const height = 120, values = points.map(point => point[1]);
    const low = Math.min(...values), high = Math.max(...values), room = (high - low) * 0.1 || Math.abs(high) * 0.05 || 1;
    const x = scale(0, Math.max(1, points.length - 1), L, W - R), y = scale(low - room, high + room, height - B, 8);
    const svg = picture(W, height, alt);
    for (const value of ticks(low - room, high + room, 3)) {
      svg.append(make("line", { x1: L, x2: W - R, y1: y(value), y2: y(value), class: "grid" }), label(L - 6, y(value) + 4, short(value), "end"));
    }
    svg.append(make("polyline", { points: points.map(([, value], index) => `${x(index)},${y(value)}`).join(" "), class: "path" }));
    points.forEach(([name, value], index) => svg.append(titled(make("circle", { cx: x(index), cy: y(value), r: 3.5, class: "dot" }), `${name}: ${short(value)} ${unit}`)));
    svg.append(label(L, height - 6, names[0]), label(W - R, height - 6, names[1], "end"));
    return figure(title, svg, caption);
  };
  const history = (item, field, title, unit) => {
    const points = item.history.filter(entry => entry[field] != null).map(entry => [entry.run, entry[field]]);
    if (points.length < 2) return null;
    const first = points[0], last = points[points.length - 1];
    return line(points, [first[0], last[0]], unit, `${title} over ${points.length} runs, from ${short(first[1])} to ${short(last[1])} ${unit}`, title, `${points.length} runs on this machine.`);
  };
  const sustained = item => {
    const { seconds, rates, sensor, temperatures, clocks } = item.sustained;
    const over = (values, unit, title, caption) => {
      if (!values.length) return null;
      const points = values.map((value, index) => [`${short(seconds * (index + 1) / 60)} min`, value]);
      const alt = `${title} over ${points[points.length - 1][0]}, from ${short(values[0])} to ${short(values[values.length - 1])} ${unit}`;
      return line(points, ["start", points[points.length - 1][0]], unit, alt, title, caption);
    };
    return [
      over(rates, "a second", "Sustained throughput", "Inferences a second, window by window."),
      over(temperatures, "°C", "Temperature meanwhile", `${sensor}, in °C: the sensor that got warmest.`),
      over(clocks, "MHz", "Clock meanwhile", "Mean of the cores, in MHz."),
    ];
  };

  // Details of very many cases are packed, and unpacked when the first is opened.
  const packed = document.getElementById("cards");
  const unpack = async () => {
    const bytes = Uint8Array.from(atob(packed.textContent), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  };
  let cards;
  const fill = async details => {
    const place = details.querySelector(".packed");
    if (!packed || !place) return;
    cards ??= unpack();
    const card = (await cards)[details.dataset.case];
    if (place.isConnected) place.outerHTML = card;  // escaped when it was made, as all of the page
  };

  const draw = details => {
    fill(details);
    const place = details.querySelector(".drawn"), item = byId.get(details.dataset.case);
    if (!place || place.childElementCount || !item) return;
    const drawn = [];
    if (item.latency) drawn.push(distribution(item));
    if (item.threads && item.threads.length > 1) drawn.push(threads(item));
    if (item.camera) drawn.push(timeline(item));
    if (item.sustained) drawn.push(...sustained(item));
    if (item.history) for (const [field, title, unit] of [["p50", "p50 over runs", "ms"], ["top1", "Top-1 over runs", "%"], ["sqnr", "SQNR over runs", "dB"], ["size", "Size over runs", "MB"], ["fps", "Processed fps over runs", "fps"]]) drawn.push(history(item, field, title, unit));
    place.append(...drawn.filter(Boolean));
  };
  for (const details of all("details[data-case]")) details.addEventListener("toggle", () => details.open && draw(details));
  const open = id => {
    const details = document.querySelector(`details[data-case="${CSS.escape(id)}"]`);
    if (details) { details.hidden = false; details.open = true; draw(details); details.scrollIntoView(); }
  };

  // --- trade-offs ---
  const AXES = { size: "size, MB", p50: "p50 latency, ms", memory: "peak memory, MB", top1: "top-1 accuracy, %", sqnr: "SQNR, dB", fps: "processed fps" };
  const LOGARITHMIC = new Set(["size", "p50", "memory"]);
  const across = document.getElementById("explore-x"), up = document.getElementById("explore-y"), place = document.getElementById("explore");
  const explore = () => {
    if (!place) return;
    const fx = across.value, fy = up.value;
    const items = data.cases.filter(item => item[fx] != null && item[fy] != null && passes(item));
    const height = 340, width = Math.max(340, Math.min(760, place.clientWidth || 760)), left = 62;
    const move = (field, value) => LOGARITHMIC.has(field) ? Math.log10(Math.max(value, 1e-9)) : value;
    const svg = picture(width, height, `${items.length} cases, ${AXES[fy]} against ${AXES[fx]}; the table below has the numbers`);
    if (!items.length) { place.replaceChildren(document.createTextNode("No case has both of these numbers.")); return; }
    const axis = (field, from, to) => {
      const values = items.map(item => move(field, item[field]));
      const low = Math.min(...values), high = Math.max(...values), room = (high - low) * 0.06 || 0.1;
      const at = scale(low - room, high + room, from, to);
      let marks = ticks(low - room, high + room, 5).map(value => [value, value]);
      if (LOGARITHMIC.has(field)) {
        const round = [];
        for (let power = Math.floor(low - room); power <= high + room; power += 1) for (const digit of [1, 2, 5]) round.push(digit * 10 ** power);
        marks = round.map(value => [Math.log10(value), value]).filter(([value]) => value >= low - room && value <= high + room);
      }
      return [value => at(move(field, value)), marks.map(([value, name]) => [at(value), name])];
    };
    const [x, xs] = axis(fx, left, width - R), [y, ys] = axis(fy, height - 44, 10);
    for (const [at, name] of xs) svg.append(make("line", { x1: at, x2: at, y1: 10, y2: height - 44, class: "grid" }), label(at, height - 28, short(name), "middle"));
    for (const [at, name] of ys) svg.append(make("line", { x1: left, x2: width - R, y1: at, y2: at, class: "grid" }), label(left - 6, at + 4, short(name), "end"));
    svg.append(label(width - R, height - 8, AXES[fx], "end", "ink"), label(4, 10, AXES[fy], "start", "ink"));
    for (const item of items) {
      const [series, path] = data.marks[item.variant];
      const point = make("path", { d: path, transform: `translate(${x(item[fx])} ${y(item[fy])}) scale(6)`, class: "point", style: `fill: var(--series-${series})`, tabindex: 0, role: "link" });
      const words = `${item.model}/${item.variant}: ${AXES[fx]} ${short(item[fx])}; ${AXES[fy]} ${short(item[fy])}`;
      point.setAttribute("aria-label", words);
      titled(point, words);
      point.addEventListener("click", () => open(item.id));
      point.addEventListener("keydown", event => { if (event.key === "Enter") open(item.id); });
      svg.append(point);
    }
    place.replaceChildren(svg);
  };
  for (const select of [across, up]) if (select) select.addEventListener("change", explore);
  for (const control of [text, status, variant, every]) if (control) control.addEventListener("input", filter);
  const follow = () => { if (location.hash.startsWith("#case-")) open(location.hash.slice(1)); };
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => all("details[open]").forEach(draw));
  all(".script-only").forEach(element => { element.hidden = false; });
  if (text) filter();
  follow();
})();
