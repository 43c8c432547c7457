// Marks the page while the server does not answer: what it drew last may be true no longer, and it cannot
// say so itself. style.css says what a marked page shows.

const ASK_EVERY = 3_000; // ms
const PATIENCE = 3_000;

const mark = document.documentElement.dataset;
let timer;

async function answers() {
  try {
    const address = new URL("/_stcore/health", location.origin);
    return (await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) })).ok;
  } catch {
    return false;
  }
}

async function ask() {
  if (!document.hidden) {
    if (await answers()) delete mark.robiServer;
    else mark.robiServer = "silent";
  }
  timer = setTimeout(ask, ASK_EVERY);
}

export default function heartbeat() {
  if (timer === undefined) ask(); // one for the whole page, however often this part of it is drawn anew
}
