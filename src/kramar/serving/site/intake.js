// Photos come in: dropped, pasted or chosen, alone or in folders.

import { notice } from "./announcing.js";
import { find } from "./elements.js";
import { say } from "./language.js";

const SUFFIXES = /\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|avif|heic|heif)$/i;
const inOrder = new Intl.Collator(undefined, { numeric: true }).compare;
let pasted = 0;

// `take` is given what came in, as a list of { file, name }.
export function start(take) {
  const took = (found) => {
    const good = found.filter(isPhoto).sort((a, b) => inOrder(a.name, b.name));
    const others = found.filter((one) => !isPhoto(one) && !isHidden(one)).length;
    const texts = others ? [["leftOut", { n: others }]] : [];
    notice(...texts, ...(good.length ? [] : [["noPhotos"]]));
    if (good.length) take(good);
  };
  pick(find("pick"), find("files"), took);
  pick(find("pick-folder"), find("folder"), took);
  // Phones have no folders to choose from.
  find("pick-folder").hidden = matchMedia("(pointer: coarse)").matches || !("webkitdirectory" in find("folder"));
  drop(took);
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (!files.length) return;
    event.preventDefault();
    took(files.map((file) => ({ file, name: nameOfPasted(file) })));
  });
}

function pick(button, input, took) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const found = [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
    // Emptied, so that choosing the same again is a choice.
    input.value = "";
    if (found.length) took(found);
  });
}

function drop(took) {
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (change) => {
    depth = Math.max(0, depth + change);
    find("overlay").hidden = depth === 0;
  };
  document.addEventListener("dragenter", (event) => hasFiles(event) && show(1));
  document.addEventListener("dragleave", (event) => hasFiles(event) && show(-1));
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(-depth);
    // Entries are there only now, before anything is waited for.
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const given = items.map((item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
    const found = given.map(([entry, file]) => (entry?.isDirectory ? inside(entry, "") : [{ file, name: file.name }]));
    took((await Promise.all(found)).flat());
  });
}

// All files in a folder that was dropped; those that cannot be opened are left out.
async function inside(entry, above) {
  const name = above + entry.name;
  if (entry.isFile) {
    const file = await new Promise((done) => entry.file(done, () => done(null)));
    return file ? [{ file, name }] : [];
  }
  const reader = entry.createReader();
  const found = [];
  // A reader gives a hundred entries at a time, and none at the end.
  for (;;) {
    const some = await new Promise((done) => reader.readEntries(done, () => done([])));
    if (!some.length) break;
    for (const one of some) found.push(...(await inside(one, `${name}/`)));
  }
  return found;
}

function isHidden({ name }) {
  return /^(\.|(thumbs\.db|ehthumbs\.db|desktop\.ini)$)/i.test(name.split("/").at(-1));
}

function isPhoto(one) {
  return !isHidden(one) && (one.file.type.startsWith("image/") || SUFFIXES.test(one.name));
}

function nameOfPasted(file) {
  // What was copied as a file has its own name; a picture without one is always called so.
  if (file.name !== "image.png") return file.name;
  pasted += 1;
  return `${say("pasted", { n: pasted })}.png`;
}
