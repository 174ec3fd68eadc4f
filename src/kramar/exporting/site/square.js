// From an upright picture to what the model takes: `square` of kramar's data/pixels.py.

import { reduce } from "./reduce.js";
import { resize, support } from "./resample.js";

// Pillow's reducing_gap: what is this many times as large is made smaller by means of blocks first.
const GAP = 3;

// The centre square whose side is `crop` times the shorter side, as size x size pixels of RGB.
export function square(picture, { size, crop, filter }) {
  const { width, height } = picture;
  const side = crop * Math.min(width, height);
  const [left, top] = [(width - side) / 2, (height - side) / 2];
  const box = { left, top, right: left + side, bottom: top + side };
  if (size === width && size === height && left === 0 && side === size) return picture.data;
  const factor = Math.trunc((box.right - box.left) / size / GAP) || 1;
  if (factor === 1) return resize(picture, size, box, filter).data;
  const safe = around(box, picture, size, support(filter) - 0.5);
  const smaller = reduce(picture, factor, safe);
  const inside = {
    left: (box.left - safe.left) / factor,
    top: (box.top - safe.top) / factor,
    right: (box.right - safe.left) / factor,
    bottom: (box.bottom - safe.top) / factor,
  };
  return resize(smaller, size, inside, filter).data;
}

// The box and the pixels around it that the filter may look at.
function around({ left, top, right, bottom }, { width, height }, size, reach) {
  const [across, down] = [(reach * (right - left)) / size, (reach * (bottom - top)) / size];
  return {
    left: Math.max(0, Math.trunc(left - across)),
    top: Math.max(0, Math.trunc(top - down)),
    right: Math.min(width, Math.ceil(right + across)),
    bottom: Math.min(height, Math.ceil(bottom + down)),
  };
}
