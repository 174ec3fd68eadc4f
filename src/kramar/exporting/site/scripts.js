// The scripts that run beside the page. Its policy (Trusted Types) asks who says that an address is one of a script.

const OURS = ["page/worker.js", "offline.js"];

const policy = globalThis.trustedTypes?.createPolicy("kramar", {
  createScriptURL(address) {
    if (!OURS.includes(address)) throw new TypeError(`${address}: no script of this page`);
    return address;
  },
});

export function script(address) {
  return policy ? policy.createScriptURL(address) : address;
}
