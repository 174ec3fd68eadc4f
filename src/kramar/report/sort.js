"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    // Not a <button>: Chromium leaves those out where it repeats a table's head on the next printed page.
    const button = document.createElement("span");
    button.tabIndex = 0;
    button.setAttribute("role", "button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("keydown", (pressed) => {
      if (pressed.key !== "Enter" && pressed.key !== " ") return;
      pressed.preventDefault();
      button.click();
    });
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => {
        const { dataset, textContent } = row.cells[column];
        return dataset.v ?? (textContent.trim() === "–" ? "" : textContent.trim());
      };
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (column === 0) return x.localeCompare(y) * (up ? 1 : -1);
        if (x === "" || y === "") return (x === "") - (y === "");
        const between = parseFloat(x) - parseFloat(y);
        return (Number.isNaN(between) ? x.localeCompare(y) : between) * (up ? 1 : -1);
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
const unfolded = [];
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details[data-print]:not([open])")) {
    folded.open = true;
    unfolded.push(folded);
  }
});
addEventListener("afterprint", () => {
  for (const folded of unfolded.splice(0)) folded.open = false;
});
