// The list of the classes in an image.

import { isColored } from "./overlay.js";

/**
 * Fill a list with a line for each class: color, name, share.
 *
 * @param {HTMLElement} list
 * @param {{name: string, color: number[], share: number}[]} shares as of classShares.
 */
export function fillLegend(list, shares) {
  list.replaceChildren(
    ...shares.map(({ name, color, share }) => {
      const line = document.createElement("li");
      line.style.setProperty("--share", share);
      if (isColored(color)) line.style.setProperty("--color", `rgb(${color})`);
      line.append(part("swatch"), part("name", name), part("share", percent(share)), part("bar"));
      return line;
    }),
  );
}

function part(kind, text = "") {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}

function percent(share) {
  return share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}
