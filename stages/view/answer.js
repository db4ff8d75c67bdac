"use strict";
// One answer: who writes what, cues where they fire, and facts about it.
class AnswerView {
  constructor(place, name) {
    this.box = document.getElementById("answer").content.cloneNode(true).querySelector("article");
    this.part(".who").textContent = name;
    this.facts = new Map();
    place.append(this.box);
  }
  part(name) { return this.box.querySelector(name); }
  say(text, kind = "") {
    this.part(".state").textContent = text;
    this.part(".state").className = `state ${kind}`;
  }
  fact(name, value) {
    if (!this.facts.has(name)) {
      const [line, term, text] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      term.textContent = name;
      line.append(term, text);
      this.part("dl").append(line);
      this.facts.set(name, text);
    }
    this.facts.get(name).textContent = value;
  }
  // The bar under the facts: [who, weight, what is told of it] from left to right.
  bar(parts, label) {
    const all = parts.reduce((sum, part) => sum + part[1], 0);
    this.part(".bar").setAttribute("aria-label", label);
    this.part(".bar").replaceChildren(...parts.map(([by, weight, title]) => {
      const span = document.createElement("span");
      span.className = by;
      span.style.width = `${100 * weight / all}%`;
      span.title = title;
      return span;
    }));
  }
  write(kind, text, by, cue, took) {
    const place = this.part(kind === "content" ? ".content" : ".reasoning");
    const follow = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
    let last = place.lastElementChild;
    if (!last || last.dataset.by !== by || last.classList.contains("cue")) {
      last = document.createElement("span");
      last.dataset.by = by;
      last.className = by;
      last.title = `the ${by} model`;
      place.append(last);
    }
    last.append(text);
    if (cue) { last.classList.add("cue"); last.title = `the ${by} model; cue: ${cue}`; }
    if (took) {
      const note = document.createElement("small");
      note.className = "took";
      note.textContent = took;
      place.append(note);
    }
    if (follow && !took) place.scrollTop = place.scrollHeight;
  }
}
