// Pillow's resize of 8-bit pictures, to the last bit (its Resample.c): a canvas resizes otherwise, and a model sees that.
// A picture is { width, height, data }, data being a Uint8Array of RGB.

const BITS = 22; // of a weight, as a whole number
const FILTERS = {
  bilinear: { support: 1, weigh: (x) => (Math.abs(x) < 1 ? 1 - Math.abs(x) : 0) },
  bicubic: { support: 2, weigh: bicubic },
};

// Catmull and Rom's, a = -0.5, in the order in which Pillow multiplies.
function bicubic(given) {
  const a = -0.5;
  const x = Math.abs(given);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

export function support(filter) {
  return FILTERS[filter].support;
}

// The pixels from `from` to `to` of `length`, stretched to `size`: of each, the first that counts and all weights.
function weights(length, from, to, size, filter) {
  const { support, weigh } = FILTERS[filter];
  // Pillow keeps the ends of a box as float32.
  const start = Math.fround(from);
  const scale = Math.fround(Math.fround(to) - start) / size;
  const wide = Math.max(scale, 1);
  const reach = support * wide;
  return Array.from({ length: size }, (_, place) => {
    const center = start + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const last = Math.min(length, Math.trunc(center + reach + 0.5));
    const found = Array.from({ length: last - first }, (_, i) => weigh((i + first - center + 0.5) * (1 / wide)));
    const sum = found.reduce((all, one) => all + one, 0);
    const whole = found.map((one) => {
      const share = sum === 0 ? one : one / sum;
      return Math.trunc((share < 0 ? -0.5 : 0.5) + share * 2 ** BITS);
    });
    return { first, whole };
  });
}

function clipped(sum) {
  return Math.min(255, Math.max(0, sum >> BITS));
}

// The box { left, top, right, bottom } of a picture, as size x size pixels.
export function resize({ width, height, data }, size, box, filter) {
  const across = weights(width, box.left, box.right, size, filter);
  const down = weights(height, box.top, box.bottom, size, filter);
  const top = down[0].first;
  const rows = down[size - 1].first + down[size - 1].whole.length - top;
  const narrow = new Uint8Array(rows * size * 3);
  for (let y = 0, to = 0; y < rows; y++) {
    for (const { first, whole } of across) {
      let [r, g, b] = [1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)];
      let from = ((y + top) * width + first) * 3;
      for (const weight of whole) {
        r += data[from++] * weight;
        g += data[from++] * weight;
        b += data[from++] * weight;
      }
      narrow[to++] = clipped(r);
      narrow[to++] = clipped(g);
      narrow[to++] = clipped(b);
    }
  }
  const made = new Uint8Array(size * size * 3);
  const line = size * 3;
  for (let y = 0, to = 0; y < size; y++) {
    const { first, whole } = down[y];
    for (let x = 0; x < line; x++) {
      let sum = 1 << (BITS - 1);
      let from = (first - top) * line + x;
      for (const weight of whole) {
        sum += narrow[from] * weight;
        from += line;
      }
      made[to++] = clipped(sum);
    }
  }
  return { width: size, height: size, data: made };
}
