// Where image files come from: the gallery, drag and drop, the clipboard.

/**
 * @param {HTMLInputElement[]} inputs file inputs.
 * @param {(file: File | undefined) => void} chosen called with each file; without one where something else was dropped.
 */
export function listen(inputs, chosen) {
  for (const input of inputs) {
    input.addEventListener("change", () => {
      if (input.files.length > 0) chosen(input.files[0]);
      input.value = ""; // so that the same file can be chosen again
    });
  }

  const dragged = (event) => {
    event.preventDefault(); // the browser would open the file in place of the page
    document.body.classList.toggle("dragged", event.type === "dragover");
  };
  for (const type of ["dragover", "dragleave", "drop"]) document.addEventListener(type, dragged);
  document.addEventListener("drop", (event) => chosen(event.dataTransfer.files[0]));

  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length > 0) chosen(event.clipboardData.files[0]);
  });
}
