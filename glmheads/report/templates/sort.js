"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, index) => row.cells[index].textContent;
  const number = (text) => text === "NaN" ? NaN : Number(text.replace(/,/g, "").replace("−", "-").replace("∞", "Infinity"));
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("n") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const rows = [...body.rows], sign = order === "ascending" ? 1 : -1;
      const keys = new Map(rows.map((row) => [row, value(row, index)]));
      const compare = (a, b) => {
        const p = number(keys.get(a)), q = number(keys.get(b));
        if (!isNaN(p) && !isNaN(q)) return sign * (p < q ? -1 : p > q ? 1 : 0);
        if (head.classList.contains("n")) return isNaN(p) - isNaN(q);
        return sign * keys.get(a).localeCompare(keys.get(b));
      };
      body.append(...rows.sort(compare));
    });
  });
}
