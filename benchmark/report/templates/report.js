"use strict";
// A column's head sorts the rows of results: the best first, then reversed. Rows of real images stay below.
for (const button of document.querySelectorAll("table.sortable thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
    const column = head.cellIndex, first = head.dataset.better === "higher" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first, sign = order === "ascending" ? 1 : -1;
    const numeric = head.classList.contains("num");
    const key = (row) => {
      const cell = row.cells[column];
      if (!numeric) return cell.textContent.trim();
      return cell.dataset.sort === undefined ? NaN : Number(cell.dataset.sort);
    };
    const compare = (a, b) => {
      if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
      if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b); // what has no value comes last, in both orders
      return sign * (a - b);
    };
    const rows = Array.from(body.rows, (row) => [key(row), row]).sort((a, b) => compare(a[0], b[0]));
    body.append(...rows.map(([, row]) => row));
    for (const sibling of head.parentNode.cells) sibling.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
  });
}

// A link to a card on the page opens it, and everything around it.
const open = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let box = target; box; box = box.parentElement) if (box.tagName === "DETAILS") box.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", open);
for (const link of document.querySelectorAll("a.behind")) link.addEventListener("click", () => setTimeout(open));
addEventListener("DOMContentLoaded", open);
open();
