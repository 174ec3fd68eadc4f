// Keeps the page's files, so that it works without a network once it was loaded. VERSION and FILES are written above
// this by kramar: another model or page is another version, which takes over when no page of the older one is open.

// Other folders of the same host may hold other models.
const OURS = `kramar ${registration.scope} `;
const KEPT = OURS + VERSION;

addEventListener("install", (event) => {
  // What the browser has is asked for again only where it has changed.
  const files = FILES.map((file) => new Request(file, { cache: "no-cache" }));
  event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll(files)));
});

addEventListener("activate", (event) => {
  const older = (name) => name.startsWith(OURS) && name !== KEPT;
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter(older).map((name) => caches.delete(name))))
      .then(() => clients.claim()),
  );
});

addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  const kept = caches.open(KEPT).then((cache) => cache.match(request, { ignoreSearch: true }));
  event.respondWith(kept.then((found) => found ?? fetch(request)));
});
