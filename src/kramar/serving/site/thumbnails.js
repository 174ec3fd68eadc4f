// Small pictures of photos, made where they come into view, one at a time: a phone's photo takes 50 MB while it is
// decoded.

import { make } from "./elements.js";
import { say } from "./language.js";

const WIDTH = 320;
const asked = [];
let isBusy = false;

const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      seen.unobserve(entry.target);
      asked.push(entry.target);
    }
    work();
  },
  { rootMargin: "300px" },
);
const photoOf = new WeakMap();

// An element with the photo's picture, as soon as there is one.
export function thumbnail(photo) {
  const made = make("span", { class: "thumb" });
  if (photo.picture === undefined) {
    photoOf.set(made, photo);
    seen.observe(made);
  } else {
    show(made, photo);
  }
  return made;
}

// Let the memory go that pictures and heat maps of `photos` take.
export function forget(photos) {
  for (const { picture, heat } of photos) for (const one of [picture, heat]) if (one) URL.revokeObjectURL(one);
  asked.length = 0;
}

async function work() {
  if (isBusy) return;
  isBusy = true;
  for (let element; (element = asked.shift()); ) {
    const photo = photoOf.get(element);
    photo.picture ??= await draw(photo.file);
    show(element, photo);
  }
  isBusy = false;
}

function show(element, photo) {
  if (photo.picture) element.replaceChildren(make("img", { src: photo.picture, alt: "", draggable: "false" }));
  else element.replaceChildren(make("span", { class: "unpictured" }, say("noPicture")));
}

// The address of a small picture; empty where the browser cannot read the photo.
async function draw(file) {
  try {
    const bitmap = await createImageBitmap(file, { resizeWidth: WIDTH, resizeQuality: "medium" });
    const canvas = make("canvas", { width: bitmap.width, height: bitmap.height });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    return URL.createObjectURL(await new Promise((done) => canvas.toBlob(done, "image/webp", 0.8)));
  } catch {
    return "";
  }
}
