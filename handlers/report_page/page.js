"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const made = (tag, name, text) => {
    const one = document.createElement(tag);
    if (name) one.className = name;
    if (text !== undefined) one.textContent = text;
    return one;
  };

  // ---- colours: those of the system, until somebody asks for others
  const root = document.documentElement;
  const toggle = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const remembered = (value) => {
    try { // a page from the disk may have no storage
      if (value) localStorage.setItem("footplate-theme", value);
      return localStorage.getItem("footplate-theme");
    } catch { return value; }
  };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const name = () => { toggle.textContent = isDark() ? "light" : "dark"; };
  const before = remembered();
  if (before === "dark" || before === "light") root.dataset.theme = before;
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    name();
  });
  dark.addEventListener("change", name);
  name();

  // ---- charts: a line to read the values at, moved by pointer or arrow keys
  const nearest = (points, step) => {
    let low = 0, high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < step) low = middle + 1; else high = middle;
    }
    return low && step - points[low - 1][0] < points[low][0] - step ? low - 1 : low;
  };
  const ends = JSON.parse(document.getElementById("epochs")?.textContent ?? "[]");
  const where = (step) => {
    const epoch = ends.find(([end]) => step <= end);
    return `iteration ${step.toLocaleString("en")}${epoch ? ` · epoch ${epoch[1]}` : ""}`;
  };
  for (const chart of all(".chart")) {
    const area = chart.querySelector(".area");
    const [cross, tip] = [chart.querySelector(".cross"), chart.querySelector(".tip")];
    const { x, lines } = JSON.parse(chart.querySelector("script").textContent);
    const known = lines.filter((line) => line.points.length);
    const steps = [...new Set(known.flatMap((line) => line.points.map((p) => p[0])))].sort((a, b) => a - b);
    let at = -1;
    const show = (place) => {
      if (!steps.length) return;
      at = Math.max(0, Math.min(place, steps.length - 1));
      const step = steps[at];
      const across = (step - x[0]) / (x[1] - x[0]);
      cross.style.left = `${100 * across}%`;
      cross.replaceChildren();
      tip.replaceChildren(made("p", "", where(step)));
      for (const line of known) {
        const point = line.points[nearest(line.points, step)];
        if (Math.abs(point[0] - step) > (x[1] - x[0]) / 40) continue;
        const row = made("p", line.colour);
        row.append(made("i", "key"), made("span", "", line.label), made("b", "", point[0] === step ? point[1] : `${point[1]} at ${point[0].toLocaleString("en")}`));
        tip.append(row);
        const dot = made("i", line.colour);
        dot.style.top = `${100 * point[2]}%`;
        if (point[0] === step) cross.append(dot);
      }
      tip.style.left = across < 0.5 ? `calc(${100 * across}% + 12px)` : "auto";
      tip.style.right = across < 0.5 ? "auto" : `calc(${100 * (1 - across)}% + 12px)`;
      cross.hidden = tip.hidden = false;
    };
    const hide = () => { cross.hidden = tip.hidden = true; };
    const follow = (event) => {
      const box = area.getBoundingClientRect();
      const step = x[0] + ((event.clientX - box.left) / box.width) * (x[1] - x[0]);
      show(nearest(steps.map((one) => [one]), step));
    };
    area.addEventListener("pointermove", follow);
    area.addEventListener("pointerdown", follow);
    area.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });
    addEventListener("pointerdown", (event) => { if (!area.contains(event.target)) hide(); });
    area.addEventListener("blur", hide);
    area.addEventListener("keydown", (event) => {
      const far = Math.max(1, Math.round(steps.length / 10));
      const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: far, PageDown: -far };
      if (event.key in moves) show(at < 0 ? steps.length - 1 : at + moves[event.key]);
      else if (event.key === "Home") show(0);
      else if (event.key === "End") show(steps.length - 1);
      else if (event.key === "Escape") hide();
      else return;
      event.preventDefault();
    });
  }

  // ---- samples: all of them, or the mistakes
  for (const figure of all(".predictions")) {
    const buttons = all("button[data-show]", figure);
    for (const button of buttons) {
      button.addEventListener("click", () => {
        for (const one of buttons) one.setAttribute("aria-pressed", one === button);
        const kind = button.dataset.show;
        for (const one of all(".sample", figure)) one.hidden = kind !== "all" && !one.classList.contains(kind);
      });
    }
  }

  // ---- the event plan, filtered
  for (const input of all(".filter")) {
    const rows = all("tbody tr", input.parentElement);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }

  // ---- where in the page one is
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = links.get(target.id);
      link.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const id of links.keys()) seen.observe(document.getElementById(id));

  // ---- on paper all is open
  addEventListener("beforeprint", () => { for (const one of all("details.fold")) one.open = true; });
})();
